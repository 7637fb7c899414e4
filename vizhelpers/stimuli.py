"""What texture or shape is tested with: cut-outs on white, silhouettes, line drawings, textures (lesson 12)."""
from __future__ import annotations

import numpy as np
from PIL import Image

from .images import cut_out
from .pictures import load_image

SIDE = 224

def on_white(source) -> Image.Image:
    """A cut-out in the middle of a white square.

    Args:
        source: a cut-out of the library ("objects/mammals/zebra" or "mammals/zebra"), or any RGBA picture.

    Returns:
        A PIL picture, RGB, 224 x 224; the cut-out's longer side takes 92 % of it.

    Raises:
        ValueError: the picture has no transparency.

    Example:
        >>> vh.on_white("mammals/zebra").size
        (224, 224)

    Source: Geirhos et al. 2019, appendix A.1 (objects on white).
    Taught in: 12_texture_vs_shape.
    """
    return _pasted(_centred(source))


def silhouette(source) -> Image.Image:
    """A cut-out's black silhouette on a white square: shape without anything else.

    Args:
        source: as `on_white`.

    Returns:
        A PIL picture, RGB, 224 x 224.

    Raises:
        ValueError: the picture has no transparency.

    Example:
        >>> vh.silhouette("mammals/zebra").getpixel((0, 0))
        (255, 255, 255)

    Source: Geirhos et al. 2019, section 2.
    Taught in: 12_texture_vs_shape.
    """
    centred = _centred(source)
    black = Image.new("RGBA", centred.size, "black")
    black.putalpha(centred.getchannel("A"))
    return _pasted(black)


def greyscale(image) -> Image.Image:
    """A picture without its colours.

    Args:
        image: anything `load_image` takes.

    Returns:
        A PIL picture, RGB with three equal channels.

    Example:
        >>> vh.greyscale("koala").mode
        'RGB'

    Taught in: 12_texture_vs_shape.
    """
    return load_image(image).convert("L").convert("RGB")


def edges(image, *, low: float = 80, high: float = 160) -> Image.Image:
    """A line drawing: Canny's edges, black on white.

    Args:
        image: anything `load_image` takes.
        low: gradient above which a line goes on.
        high: gradient at which a line begins.

    Returns:
        A PIL picture, RGB, only black and white.

    Example:
        >>> vh.edges(vh.on_white("mammals/zebra")).size
        (224, 224)

    Source: Canny 1986, by OpenCV; Geirhos et al. 2019, section 2.
    Taught in: 12_texture_vs_shape.
    """
    import cv2  # loaded when needed: it takes a while

    grey = cv2.GaussianBlur(np.asarray(load_image(image).convert("L")), (0, 0), 1.0)
    return Image.fromarray(255 - cv2.Canny(grey, low, high, L2gradient=True)).convert("RGB")


def skin_texture(source, left: int, top: int, side: int, tile: int = SIDE) -> Image.Image:
    """A texture from a square of fur, skin or peel: enlarged, and mirrored at its borders until 224 px are full.

    Args:
        source: a cut-out or any picture.
        left: of the square, in pixels of the cut-out without its empty margins.
        top: likewise.
        side: of the square.
        tile: side of one copy in the texture.

    Returns:
        A PIL picture, RGB, 224 x 224.

    Example:
        >>> vh.skin_texture("mammals/zebra", 63, 36, 52).size
        (224, 224)

    Source: Geirhos et al. 2019, appendix A.1 (texture pictures).
    Taught in: 12_texture_vs_shape.
    """
    square = cut_out(source)[1].convert("RGB").crop((left, top, left + side, top + side))
    one = np.asarray(square.resize((tile, tile), Image.Resampling.LANCZOS))
    four = np.concatenate([np.concatenate([one, one[:, ::-1]], 1), np.concatenate([one[::-1], one[::-1, ::-1]], 1)])
    times = -(-SIDE // len(four))
    return Image.fromarray(np.ascontiguousarray(np.tile(four, (times, times, 1))[:SIDE, :SIDE]))


def heap_texture(source, size: int = 100, layers: float = 2, seed: int = 0) -> Image.Image:
    """A texture from many small copies of an object, turned and thrown on one another.

    Args:
        source: a cut-out.
        size: of a copy's longer side in pixels.
        layers: how often the copies' area covers the picture.
        seed: of the throws.

    Returns:
        A PIL picture, RGB, 224 x 224.

    Example:
        >>> vh.heap_texture("fruit/lemon").size
        (224, 224)

    Source: Geirhos et al. 2019, appendix A.1 (textures of man-made objects).
    Taught in: 12_texture_vs_shape.
    """
    rng = np.random.default_rng(seed)
    one = _scaled(cut_out(source)[1], size)
    picture = Image.new("RGBA", (SIDE, SIDE), "white")
    area = np.asarray(one.getchannel("A")).sum() / 255
    for _ in range(int(layers * (SIDE + size) ** 2 / area)):
        copy = one.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else one
        copy = copy.rotate(rng.uniform(-25, 25), expand=True, resample=Image.Resampling.BICUBIC)
        left, top = (int(n) for n in rng.integers(-size, SIDE, 2))
        layer = Image.new("RGBA", picture.size)
        layer.paste(copy, (left, top))
        picture = Image.alpha_composite(picture, layer)
    return picture.convert("RGB")


def _scaled(image: Image.Image, side: float) -> Image.Image:
    scale = side / max(image.size)
    return image.resize([max(1, round(s * scale)) for s in image.size], Image.Resampling.LANCZOS)


def _centred(source) -> Image.Image:
    one = _scaled(cut_out(source)[1], 0.92 * SIDE)
    square = Image.new("RGBA", (SIDE, SIDE), (255, 255, 255, 0))
    square.paste(one, ((SIDE - one.width) // 2, (SIDE - one.height) // 2))
    return square


def _pasted(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
