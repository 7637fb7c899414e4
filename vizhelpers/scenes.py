"""Scenes composed of cut-outs, with true masks; cut-outs on white; skin textures."""
import math
import random
from collections import namedtuple
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from .images import check_size, eight_bit, find_picture, load_image, read_any

MAX_ZOOM = 2  # a 45-pixel raspberry filling the scene would be a mosaic of its pixels
SIDE = 224  # of what stands on white and of textures, in pixels
Scene = namedtuple("Scene", "image masks names")


def compose_scene(objects, *, background=None, size=(224, 224), boxes=None, scale=0.9, jitter=0.0, seed=0) -> Scene:
    """Cut-outs pasted on a photograph, a colour or mid grey: `(image, masks, names)`, the masks (M,H,W) bool and true.
    `objects` are names ("koala" means the cut-out here) or pictures with transparency, later ones on top. Each fills
    `scale` of a grid's cell, or of its box (left, top, width, height) in fractions of the scene, up to `jitter` (0..1)
    of the room off its middle. A mask is what is seen of it, alpha at least 128. Lessons 05, 08, 09, 13."""
    height, width = size = tuple(size)
    if not all(isinstance(side, int) for side in size) or not (0 < scale <= 1 and 0 <= jitter <= 1):
        raise ValueError(f"give size=(H, W) in pixels, 0 < scale <= 1, 0 <= jitter <= 1, not {size}, {scale}, {jitter}")
    check_size((width, height), "the scene")
    objects = list(objects) if isinstance(objects, list | tuple) else [objects]
    if not objects:
        raise ValueError("compose_scene got no objects; name at least one cut-out, such as 'koala'")
    names, cut_outs = zip(*(cut_out(one, number) for number, one in enumerate(objects, 1)), strict=True)
    if background is None or isinstance(background, tuple | list):
        colour = (128, 128, 128) if background is None else tuple(background)
        if len(colour) != 3 or not all(c in range(256) for c in colour):
            raise ValueError(f"a background colour is three numbers 0..255, not {background!r}")
        image = Image.new("RGB", (width, height), colour)
    else:
        image = ImageOps.fit(load_image(background), (width, height), Image.Resampling.BICUBIC)
    cells = _cells([c.size for c in cut_outs], width, height) if boxes is None else _pixel_boxes(boxes, names, size)
    chance, masks = random.Random(seed), np.zeros((len(cut_outs), height, width), bool)
    for number, (one, (x0, y0, x1, y1)) in enumerate(zip(cut_outs, cells, strict=True)):
        zoom = scale * min((x1 - x0) / one.width, (y1 - y0) / one.height)
        zoom = min(zoom, MAX_ZOOM) if boxes is None else zoom
        # PIL resizes RGBA with the colour weighted by alpha, so hidden colours make no halo
        one = one.resize([max(1, int(side * zoom + 1e-9)) for side in one.size], Image.Resampling.BICUBIC)
        room = x1 - x0 - one.width, y1 - y0 - one.height
        left, top = (int(free / 2 * (1 + jitter * chance.uniform(-1, 1))) for free in room)
        place, alpha, layer = (x0 + left, y0 + top), one.getchannel("A"), Image.new("L", (width, height))
        image.paste(one.convert("RGB"), place, alpha)
        layer.paste(alpha, place)
        masks[number] = np.asarray(layer) >= 128
        masks[:number] &= ~masks[number]
    for name, mask in zip(names, masks, strict=True):
        if not mask.any():
            raise ValueError(f"{name!r} cannot be seen: it lies outside the scene or under later objects; change boxes")
    return Scene(image, torch.from_numpy(masks), names)


def cut_out(source, number: int = 0) -> tuple[str, Image.Image]:
    """The name of a cut-out and its RGBA picture without empty margins, which would shrink the object in its box."""
    source = find_picture(source, ("objects",)) or source if isinstance(source, str) else source
    name = Path(source).stem if isinstance(source, str | Path) else getattr(source, "subject", f"object {number}")
    image = eight_bit(read_any(source))
    if image.mode != "RGBA":
        raise ValueError(f"{name!r} has no transparency; a cut-out is RGBA, like those of vh.library(kind='objects')")
    if not (box := image.getchannel("A").getbbox()):
        raise ValueError(f"{name!r} is completely transparent; choose another cut-out")
    return name, image.crop(box)


def _cells(sizes, width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Cells (x0, y0, x1, y1) in pixels, as many columns as make the objects largest, a short last row centred."""
    def area(columns):
        cell = width / columns, height / math.ceil(len(sizes) / columns)
        return sum(w * h * min(cell[0] / w, cell[1] / h) ** 2 for w, h in sizes)

    columns = max(range(len(sizes), 0, -1), key=area)  # the first of equals has most columns: side by side
    w, h, cells = width / columns, height / math.ceil(len(sizes) / columns), []
    for number in range(len(sizes)):
        row, column = divmod(number, columns)
        left = (width - w * min(columns, len(sizes) - row * columns)) / 2 + w * column
        cells.append(tuple(round(edge) for edge in (left, row * h, left + w, row * h + h)))
    return cells


def _pixel_boxes(boxes, names, size) -> list[list[int]]:
    """The same of boxes (left, top, width, height) in fractions of the scene."""
    height, width = size
    if np.shape(boxes) == (len(names), 4) and np.abs(boxes).max() <= 2:
        cells = np.rint([(x * width, y * height, (x + w) * width, (y + h) * height) for x, y, w, h in boxes])
        if (cells[:, 2:] > cells[:, :2]).all():
            return cells.astype(int).tolist()
    raise ValueError("boxes are one (left, top, width, height) in fractions of the scene, a pixel or more, for each of "
                     f"{', '.join(names)}, not {boxes!r}")  # fmt: skip


def on_white(source) -> Image.Image:
    """A cut-out on a white square of 224 pixels, 92 % long: Geirhos et al. 2019, appendix A.1 (objects); lesson 12."""
    one, square = cut_out(source)[1], Image.new("RGBA", (SIDE, SIDE), "white")
    scale = 0.92 * SIDE / max(one.size)
    one = one.resize([max(1, round(side * scale)) for side in one.size], Image.Resampling.LANCZOS)
    square.alpha_composite(one, ((SIDE - one.width) // 2, (SIDE - one.height) // 2))
    return square.convert("RGB")


def skin_texture(source, left: int, top: int, side: int, tile: int = SIDE) -> Image.Image:
    """A texture of 224 x 224 from a square of fur, skin or peel, enlarged to `tile` pixels and mirrored at its edges.
    The square is in pixels of the cut-out without its empty margins. Geirhos et al. 2019, appendix A.1; lesson 12."""
    square = cut_out(source)[1].convert("RGB").crop((left, top, left + side, top + side))
    one = np.asarray(square.resize((tile, tile), Image.Resampling.LANCZOS))
    more = 0, max(0, SIDE - tile)
    return Image.fromarray(np.pad(one, (more, more, (0, 0)), "symmetric")[:SIDE, :SIDE].copy())
