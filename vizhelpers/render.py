"""From numbers to pixels: any picture as PIL, maps in colour, mosaics, sheets of tiles, PNG bytes. No figures here."""
import io
import textwrap
from collections.abc import Callable, Sequence
from functools import cache

import matplotlib
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor
from torch.nn.functional import avg_pool2d

from .device import warn

Drawable = Image.Image | np.ndarray | Tensor


def to_picture(image: Drawable, side: int | None = None) -> Image.Image:
    """Any picture as PIL RGB, without stretching its values; `side` is the height in pixels that it is resized to.
    Takes PIL, or a tensor or array `(3,H,W)`, `(1,3,H,W)`, `(H,W,3)` or `(H,W)`, uint8 or float 0..1. Lesson 00."""
    if isinstance(image, Tensor):
        image = image.cpu().numpy() if image.dtype == torch.uint8 else numbers(image)
    if not isinstance(image, Image.Image):
        a = np.asarray(image)
        a = a[0] if a.ndim == 4 and len(a) == 1 else a
        a = np.moveaxis(a, 0, -1) if a.ndim == 3 and a.shape[-1] not in (1, 3) else a
        if a.ndim < 2 or a.shape[2:] not in ((), (1,), (3,)):
            raise ValueError(f"A picture is (3,H,W), (H,W,3) or (H,W), not {np.shape(image)}; show_images draws many.")
        if a.dtype != np.uint8:
            a = (np.nan_to_num(a.astype(np.float32)).clip(0, 1) * 255 + 0.5).astype(np.uint8)
        image = Image.fromarray(a[..., 0] if a.shape[2:] == (1,) else a)
    image = image.convert("RGB")
    return image.resize((max(1, round(side * image.width / image.height)), side)) if side else image


def numbers(values) -> np.ndarray:
    """A tensor on any device, an array, or a list of either, as a float32 array."""
    if isinstance(values, Tensor):
        return values.detach().float().cpu().numpy()
    return np.asarray([numbers(v) for v in values] if isinstance(values, list | tuple) else values, np.float32)


@cache
def palette(name: str = "viridis") -> np.ndarray:
    """A matplotlib colour map as 256 RGB rows of uint8."""
    return (matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255 + 0.5).astype(np.uint8)


def coloured(values, colours="viridis", side: int | None = None, *, scale=None, blocks: int = 1) -> Image.Image:
    """One map `(h,w)` in colours: from 0 up, or around 0 with "RdBu_r" (red +, blue -); NaN is light grey.
    `scale` is what the strongest colour stands for: a number, a pair (lowest, highest), or maps (default: this one):
    the magnitude that half a per cent of them exceed. `blocks` adds up squares of so many values, as pixels of plus and
    minus look grey. `side` is the height in pixels: enlarged without smoothing, or reduced smoothly."""
    given, a = isinstance(scale, (tuple, int, float)), summed(values, blocks)
    top = scale if given else strongest(values if scale is None else scale, blocks)
    low, high = top if isinstance(top, tuple) else (-top if colours == "RdBu_r" else 0, top)
    share = np.nan_to_num((a - low) / max(high - low, 1e-30)).clip(0, 1)
    picture = palette(colours)[(share * 255).astype(np.uint8)]
    picture[np.isnan(a)] = 235
    image, side = Image.fromarray(picture), side or len(a)
    smooth = Image.Resampling.BILINEAR if side < len(a) else Image.Resampling.NEAREST
    return image.resize((max(1, round(side * image.width / image.height)), side), smooth)


def summed(values, blocks: int = 1) -> np.ndarray:
    """Maps as sums over squares of so many values."""
    return numbers(avg_pool2d(torch.as_tensor(numbers(values))[None], blocks)[0] * blocks**2)


def strongest(values, blocks: int = 1) -> float:
    """The magnitude that half a per cent of the values of maps exceed: what the strongest colour stands for."""
    sizes = np.abs(summed(values, blocks))
    return float(np.quantile(sizes, 0.995)) or float(sizes.max()) or 1.0


def overlay(image: Drawable, heat, *, opacity: float = 0.55, top: float | None = None) -> Image.Image:
    """A map `(h,w)` laid over its picture, bright where it is large relative to its own maximum; 0 and less stay dark.
    `top` is another brightest value. The map is stretched bilinearly; `opacity` is 0 (picture only) to 1. Lesson 02."""
    picture, a = to_picture(image), np.nan_to_num(numbers(heat))
    a = a[0] if a.ndim == 3 and len(a) == 1 else a
    if a.ndim != 2:
        raise ValueError(f"overlay takes one map (h,w), not {a.shape}: index it.")
    (h, w), (width, height) = a.shape, picture.size
    if abs(h * width - w * height) > 0.6 * (height + width):
        warn(f"A map {h}x{w} is stretched over a picture of another shape, {height}x{width}: lay it over what the net "
             "saw, vh.to_display(x, net).")  # fmt: skip
    a = np.asarray(Image.fromarray(a).resize(picture.size, Image.Resampling.BILINEAR))
    share = a / max(float(a.max()) if top is None else top, 1e-12)
    colour = palette("inferno")[(share.clip(0, 1) * 255 + 0.5).astype(np.uint8)]
    return Image.fromarray(((1 - opacity) * np.asarray(picture, np.float32) + opacity * colour + 0.5).astype(np.uint8))


def gradient_picture(g: Tensor, *, part: str = "all", grey: bool = False, limit: float | None = None) -> Tensor:
    """A gradient `(3,H,W)` or `(N,3,H,W)` as a picture in 0..1: all of it around mid grey, or one sign of it on black.
    `part` is "all", "positive" or "negative" (drawn as its size); `grey` makes one luminance of it, `(1,H,W)`. `limit`
    is the value of the strongest colour, by default the 99.5th percentile of what is not 0 in each. Lesson 07."""
    if g.ndim not in (3, 4) or g.shape[-3] != 3:
        raise ValueError(f"A gradient of pictures is (N,3,H,W) or (3,H,W), not {tuple(g.shape)}.")
    if part not in ("all", "positive", "negative"):
        raise ValueError(f"The parts are 'all', 'positive' and 'negative', not {part!r}.")
    if g.ndim == 4:
        return torch.stack([gradient_picture(one, part=part, grey=grey, limit=limit) for one in g])
    g = g.detach().float().cpu()
    g = {"all": g, "positive": g.relu(), "negative": (-g).relu()}[part]
    g = (g * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0, keepdim=True) if grey else g
    there = g.abs()[g != 0]
    top = limit or (float(np.quantile(there.numpy(), 0.995)) if len(there) else 1.0)
    return ((g / top + 1) / 2 if part == "all" else g / top).clamp(0, 1)


def mosaic(maps, *, columns: int = 8, scale: int = 1, shared: bool = False) -> np.ndarray:
    """Maps `(N,h,w)`, or signed weights `(N,3,h,w)`, side by side in one uint8 array, a pixel apart.
    Each map is stretched to 0..255 by itself (a constant one is 0), or by the common range when `shared`; weights get a
    symmetric scale, 0 is mid grey. Each value becomes a square of `scale` pixels. Lesson 01."""
    a = numbers(maps)
    axes = None if shared else tuple(range(1, a.ndim))
    if a.ndim == 3:
        low, high = a.min(axis=axes, keepdims=True), a.max(axis=axes, keepdims=True)
        a, ground = (a - low) / np.where(high > low, high - low, 1) * 255, 0
    elif a.ndim == 4 and a.shape[1] == 3:
        top = np.abs(a).max(axis=axes, keepdims=True)
        a, ground = (a.transpose(0, 2, 3, 1) / np.where(top > 0, top, 1) / 2 + 0.5) * 255 + 0.5, 255
    else:
        raise ValueError(f"mosaic takes maps (N,h,w) or RGB pictures (N,3,h,w), not {a.shape}.")
    return _in_rows(a.astype(np.uint8).repeat(scale, 1).repeat(scale, 2), columns, 1, ground)


def _in_rows(tiles: np.ndarray, columns: int, gap: int, ground: int) -> np.ndarray:
    """Tiles `(N,h,w)` or `(N,h,w,3)` in rows, with `gap` pixels of `ground` right of each and below it."""
    around = [(0, -len(tiles) % columns), (0, gap), (0, gap), (0, 0)]
    tiles = np.pad(tiles, around[: tiles.ndim], constant_values=ground)
    page = tiles.reshape(-1, columns, *tiles.shape[1:]).swapaxes(1, 2)
    return page.reshape(page.shape[0] * page.shape[1], -1, *page.shape[4:])


def marked_mosaic(maps: Tensor, chosen: int) -> Image.Image:
    """`mosaic` of small maps `(N,h,w)` in viridis, each about 56 pixels wide, with a red frame around one of them."""
    scale = max(1, 56 // max(maps.shape[1:]))
    height, width = (n * scale + 1 for n in maps.shape[1:])
    page = Image.fromarray(mosaic(maps, scale=scale).clip(max=254))
    page.putpalette([*palette()[:255].flat, 255, 60, 60])
    top, left = chosen // 8 * height, chosen % 8 * width
    ImageDraw.Draw(page).rectangle((left, top, left + width - 2, top + height - 2), outline=255, width=2)
    return page


def sheet(tiles: Sequence[Drawable], columns: int = 3, *, side: int | None = None, ground: int = 255) -> Image.Image:
    """Tiles of one size in rows; with `side`, tiles of any shape, each fitted into a square on `ground`, 4 px apart."""
    tiles = [to_picture(tile) for tile in tiles]
    if side:  # a picture cut by the border keeps its shape
        tiles = [ImageOps.pad(tile, (side, side), Image.Resampling.BICUBIC, color=(ground,) * 3) for tile in tiles]
    return Image.fromarray(_in_rows(np.stack(tiles), columns, 4 if side else 0, 255))


def titled(tile: Drawable | str, title: str, side: int) -> Image.Image:
    """A picture, or a text in its place, as a square with a title above it: `(side + 8, side + 28)`, for `sheet`."""
    page = Image.new("RGB", (side + 8, side + 28), "white")
    page.paste(note(tile, side) if isinstance(tile, str) else to_picture(tile).resize((side, side)), (0, 22))
    ImageDraw.Draw(page).text((2, 3), title, "black", ImageFont.load_default(14))
    return page


def note(text: str, side: int) -> Image.Image:
    """A grey square with a text, where there is no picture."""
    page = Image.new("RGB", (side, side), (235, 235, 235))
    lines = textwrap.wrap(text, side // 7)[: side // 16 - 1]
    ImageDraw.Draw(page).multiline_text((6, 6), "\n".join(lines), (60, 60, 60), ImageFont.load_default(12))
    return page


def row(pictures: Sequence[Drawable]) -> Image.Image:
    """Pictures of any size side by side on white, 8 pixels apart."""
    pictures = [to_picture(picture) for picture in pictures]
    height = max(picture.height for picture in pictures)
    padded = [np.pad(p, ((0, height - p.height), (0, 8), (0, 0)), constant_values=255) for p in pictures]
    return Image.fromarray(np.hstack(padded)[:, :-8])


def draw_box(image: Drawable, box: tuple[int, int, int, int], *, colour="red", width: int = 2) -> Image.Image:
    """A copy of a picture with a frame inside a box (top, left, bottom, right), the last two excluded. Lesson 02."""
    picture = to_picture(image)
    top, left, bottom, right = box
    ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), outline=colour, width=width)
    return picture


def probability_bars(labels: Sequence[str], probabilities: Sequence[float], *, width: int = 440) -> np.ndarray:
    """Labels, bars and percentages as a picture, uint8 `(26 * bars, width, 3)`; long labels are cut."""
    font, middle, picture = ImageFont.load_default(14), 170, Image.new("RGB", (width, 26 * len(labels)), "white")
    draw = ImageDraw.Draw(picture)
    for n, (label, p) in enumerate(zip(labels, probabilities, strict=True)):
        y, end = 26 * n + 13, middle + round((width - middle - 60) * p)
        draw.text((middle - 8, y), label if len(label) <= 22 else label[:21] + "…", "black", font, anchor="rm")
        draw.rectangle((middle, y - 8, end, y + 8), fill=(31, 119, 180))
        draw.text((end + 6, y), f"{p:.1%}", "black", font, anchor="lm")
    return np.asarray(picture)


def figure_pixels(draw: Callable, width: float, height: float) -> np.ndarray:
    """What `draw(ax)` draws with matplotlib, as uint8 `(H,W,3)`, without touching the notebook's own figures."""
    canvas = FigureCanvasAgg(Figure(figsize=(width, height), dpi=80, layout="constrained"))
    draw(canvas.figure.subplots())
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def to_png(picture: Drawable) -> bytes:
    """PNG bytes of a picture; PIL images in their own mode: one with a palette is three times less to compress."""
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else to_picture(picture)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
