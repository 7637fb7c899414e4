"""From numbers to pixels: any picture as PIL, maps over pictures, mosaics, PNG bytes. No figures here."""
from __future__ import annotations

import io
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Picture = Image.Image | np.ndarray | Tensor


def to_picture(image: Picture) -> Image.Image:
    """Any picture as PIL RGB, without stretching its values.

    Args:
        image: PIL; or a tensor or array `(3,H,W)`, `(1,3,H,W)`, `(H,W,3)` or `(H,W)`: uint8, or float in 0..1
            (values outside are clipped).

    Returns:
        A PIL picture, mode RGB.

    Raises:
        ValueError: a shape that is no picture; a batch of several pictures belongs in `show_images`.

    Example:
        >>> vh.to_picture(torch.zeros(3, 4, 6)).size
        (6, 4)

    Taught in: 00_start_here.
    """
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    a = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    a = a[0] if a.ndim == 4 and len(a) == 1 else a
    if a.ndim == 3 and a.shape[0] in (1, 3) and a.shape[-1] not in (1, 3):
        a = a.transpose(1, 2, 0)
    a = a[..., 0] if a.ndim == 3 and a.shape[-1] == 1 else a
    if a.ndim not in (2, 3) or (a.ndim == 3 and a.shape[-1] != 3):
        raise ValueError(f"A picture is (3,H,W), (H,W,3) or (H,W), not {tuple(a.shape)}; show_images draws many.")
    if a.dtype != np.uint8:
        a = (np.nan_to_num(a.astype(np.float32)).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(a).convert("RGB")


def numbers(values) -> np.ndarray:
    """A tensor on any device, an array, or a list of either, as a float32 array."""
    if isinstance(values, (list, tuple)) and values and isinstance(values[0], Tensor):
        values = torch.stack(list(values))
    return values.detach().float().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values, np.float32)


def overlay(image: Picture, heat, *, opacity: float = 0.55, colours: str = "inferno") -> Image.Image:
    """A map laid over its picture, bright where the map is large; values of 0 or less leave the picture dark.

    Args:
        image: any picture; see `to_picture`.
        heat: `(h,w)` or `(1,h,w)`, any range; stretched bilinearly (`align_corners=False`) to the picture and drawn
            relative to its own maximum.
        opacity: 0 (only the picture) to 1 (only the map).
        colours: a matplotlib colour map.

    Returns:
        A PIL picture of the picture's size.

    Raises:
        ValueError: not a single map.

    Example:
        >>> vh.overlay(vh.load_image("koala"), torch.rand(7, 7)).size == vh.load_image("koala").size
        True

    Taught in: 02_inside_the_layers.
    """
    picture = to_picture(image)
    a = numbers(heat)
    a = a[0] if a.ndim == 3 and len(a) == 1 else a
    if a.ndim != 2:
        raise ValueError(f"overlay takes one map (h,w), not {a.shape}: index it.")
    a = np.asarray(Image.fromarray(a).resize(picture.size, Image.Resampling.BILINEAR))
    a = (a / max(float(a.max()), 1e-12)).clip(0, 1)
    colour = palette(colours)[(a * 255 + 0.5).astype(np.uint8)]
    mixed = (1 - opacity) * np.asarray(picture, np.float32) + opacity * colour
    return Image.fromarray((mixed + 0.5).astype(np.uint8))


def gradient_picture(g: Tensor, *, part: str = "all", grey: bool = False, limit: float | None = None) -> Tensor:
    """A gradient with respect to a picture, as a picture: all of it around mid grey, or one sign of it on black.

    Args:
        g: `(3,H,W)` or `(N,3,H,W)`, signed, any range; not changed.
        part: "all" (0 is mid grey), "positive" or "negative" (0 is black; the negative part is drawn as its size).
        grey: the three colours as one luminance, weights 0.299, 0.587, 0.114.
        limit: the value of the strongest colour; by default, for each picture, the 99.5th percentile of what is there:
            a few glaring pixels would darken the rest. Give a number to compare pictures.

    Returns:
        `(3,H,W)` or `(1,H,W)` in 0..1, with N in front if g had it; on the CPU.

    Raises:
        ValueError: not a gradient of pictures, or an unknown part.

    Example:
        >>> vh.show_images(vh.gradient_picture(vh.guided_backprop(net, x), part="positive"));

    Taught in: 07_guided_backprop.
    """
    if g.ndim not in (3, 4) or g.shape[-3] != 3:
        raise ValueError(f"A gradient of pictures is (N,3,H,W) or (3,H,W), not {tuple(g.shape)}.")
    if part not in ("all", "positive", "negative"):
        raise ValueError(f"The parts are 'all', 'positive' and 'negative', not {part!r}.")
    if g.ndim == 4:
        return torch.stack([gradient_picture(one, part=part, grey=grey, limit=limit) for one in g])
    g = g.detach().float().cpu()
    g = g if part == "all" else g.clamp(min=0) if part == "positive" else (-g).clamp(min=0)
    if grey:
        g = (g * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0, keepdim=True)
    there = g.abs()[g != 0]
    top = limit or (float(np.quantile(there.numpy(), 0.995)) if len(there) else 1.0)
    return ((g / top + 1) / 2 if part == "all" else g / top).clamp(0, 1)


@cache
def palette(name: str = "viridis") -> np.ndarray:
    """A matplotlib colour map as 256 RGB rows of uint8."""
    import matplotlib

    return (matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255 + 0.5).astype(np.uint8)


def mosaic(maps, *, columns: int = 8, scale: int = 1, limit: float | None = None, shared: bool = False) -> np.ndarray:
    """Many maps, or many small RGB pictures, side by side in one array, one pixel apart.

    Args:
        maps: `(N,h,w)`, any range: each is stretched to 0..255 by itself (a constant map is 0), or, when `shared`, all
            by the common minimum and maximum. Or `(N,3,h,w)`, signed weights: 0 becomes mid grey; a symmetric scale of
            its own for each, or one for all when `shared`.
        columns: maps in a row.
        scale: each value becomes a square of this many pixels.
        limit: the value that becomes white (0 becomes black, or -limit for RGB), in place of the maps' own range.
        shared: one scale for all.

    Returns:
        uint8 `(rows*(h*scale+1), columns*(w*scale+1))`, with a last dimension of 3 for RGB.

    Raises:
        ValueError: any other shape.

    Example:
        >>> vh.mosaic(torch.rand(10, 4, 4), columns=5).shape
        (10, 25)

    Taught in: 01_first_layer_filters.
    """
    a = numbers(maps)
    colour = a.ndim == 4 and a.shape[1] == 3
    if not (a.ndim == 3 or colour):
        raise ValueError(f"mosaic takes maps (N,h,w) or RGB pictures (N,3,h,w), not {a.shape}.")
    axes = None if shared else tuple(range(1, a.ndim))
    if colour:
        top = np.abs(a).max(axis=axes, keepdims=True) if limit is None else np.float32(limit)
        a = a.transpose(0, 2, 3, 1) / np.where(top > 0, top, 1) / 2 + 0.5
    else:
        low = a.min(axis=axes, keepdims=True) if limit is None else np.float32(0)
        span = a.max(axis=axes, keepdims=True) - low if limit is None else np.float32(limit)
        a = (a - low) / np.where(span > 0, span, 1)
    a = (a.clip(0, 1) * 255 + (0.5 if colour else 0)).astype(np.uint8)
    a = a.repeat(scale, 1).repeat(scale, 2)
    count, height, width, *rest = a.shape
    rows = -(-count // columns)
    out = np.full((rows * columns, height + 1, width + 1, *rest), 255 if colour else 0, np.uint8)
    out[:count, :height, :width] = a
    out = out.reshape(rows, columns, height + 1, width + 1, *rest).swapaxes(1, 2)
    return out.reshape(rows * (height + 1), columns * (width + 1), *rest)


def to_png(picture: np.ndarray, *, colours: str | np.ndarray = "viridis") -> bytes:
    """PNG bytes of an array: RGB as it is, single values through a colour table (three times less to compress).

    Args:
        picture: uint8 `(H,W)` or `(H,W,3)`.
        colours: a matplotlib colour map for `(H,W)`, or its 256 RGB rows.

    Returns:
        The file's bytes.

    Example:
        >>> vh.to_png(vh.mosaic(torch.rand(4, 8, 8)))[:4]
        b'\\x89PNG'

    Taught in: 02_inside_the_layers.
    """
    image = Image.fromarray(picture)
    if picture.ndim == 2:
        image.putpalette((palette(colours) if isinstance(colours, str) else colours).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def draw_box(image: Picture, box: tuple[int, int, int, int], *, colour: str = "red", width: int = 2) -> Image.Image:
    """A copy of a picture with a frame around a box.

    Args:
        image: any picture; see `to_picture`.
        box: (top, left, bottom, right) in pixels, bottom and right excluded, as `top_patches` gives it.
        colour: of the frame.
        width: of the frame in pixels, drawn inwards.

    Returns:
        A PIL picture.

    Example:
        >>> vh.draw_box(vh.load_image("koala"), (10, 20, 60, 90));

    Taught in: 02_inside_the_layers.
    """
    picture = to_picture(image).copy()
    top, left, bottom, right = box
    ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), outline=colour, width=width)
    return picture


def probability_bars(labels: list[str], probabilities: list[float], *, width: int = 440) -> np.ndarray:
    """Labels, bars and percentages as a picture: what an explorer shows beside a photograph.

    Args:
        labels: one for each bar; long ones are cut.
        probabilities: 0..1, as many.
        width: of the picture in pixels.

    Returns:
        uint8 `(26 * bars, width, 3)`.

    Example:
        >>> probability_bars(["koala"], [0.99]).shape
        (26, 440, 3)
    """
    font, middle, room = ImageFont.load_default(14), 170, width - 170 - 60
    picture = Image.new("RGB", (width, 26 * len(labels)), "white")
    draw = ImageDraw.Draw(picture)
    for n, (label, p) in enumerate(zip(labels, probabilities, strict=True)):
        y = 26 * n + 13
        draw.text((middle - 8, y), label if len(label) <= 22 else label[:21] + "…", "black", font, anchor="rm")
        draw.rectangle((middle, y - 8, middle + round(room * p), y + 8), fill=(31, 119, 180))
        draw.text((middle + round(room * p) + 6, y), f"{p:.1%}", "black", font, anchor="lm")
    return np.asarray(picture)
