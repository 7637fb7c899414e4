"""From numbers to pixels: any picture as PIL, maps in colour, mosaics, sheets of tiles, PNG bytes. No figures here."""
import io
import textwrap
from collections.abc import Callable, Sequence
from functools import cache

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

Drawable = Image.Image | np.ndarray | Tensor


def to_picture(image: Drawable, side: int | None = None) -> Image.Image:
    """Any picture as PIL RGB, without stretching its values; `side` is the height in pixels that it is resized to.
    Takes PIL, or a tensor or array `(3,H,W)`, `(1,3,H,W)`, `(H,W,3)` or `(H,W)`, uint8 or float 0..1. Lesson 00."""
    if isinstance(image, Image.Image):
        picture = image.convert("RGB")
    else:
        a = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
        a = a[0] if a.ndim == 4 and len(a) == 1 else a
        if a.ndim == 3 and a.shape[0] in (1, 3) and a.shape[-1] not in (1, 3):
            a = a.transpose(1, 2, 0)
        a = a[..., 0] if a.ndim == 3 and a.shape[-1] == 1 else a
        if a.ndim not in (2, 3) or (a.ndim == 3 and a.shape[-1] != 3):
            raise ValueError(f"A picture is (3,H,W), (H,W,3) or (H,W), not {tuple(a.shape)}; show_images draws many.")
        if a.dtype != np.uint8:
            a = (np.nan_to_num(a.astype(np.float32)).clip(0, 1) * 255 + 0.5).astype(np.uint8)
        picture = Image.fromarray(a).convert("RGB")
    return picture.resize((max(1, round(side * picture.width / picture.height)), side)) if side else picture


def numbers(values) -> np.ndarray:
    """A tensor on any device, an array, or a list of either, as a float32 array."""
    if isinstance(values, (list, tuple)) and values and isinstance(values[0], Tensor):
        values = torch.stack(list(values))
    return values.detach().float().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values, np.float32)


@cache
def palette(name: str = "viridis") -> np.ndarray:
    """A matplotlib colour map as 256 RGB rows of uint8."""
    return (matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255 + 0.5).astype(np.uint8)


def enlarged(picture: Drawable, side: int) -> Image.Image:
    """A small picture with every pixel as a square of whole pixels, as many as fit into `side`."""
    picture = to_picture(picture)
    return ImageOps.scale(picture, max(1, side // max(picture.size)), Image.Resampling.NEAREST)


def coloured(values, colours="viridis", side: int | None = None, *, scale=None, blocks: int = 1) -> Image.Image:
    """One map `(h,w)` in colours: from 0 up, or around 0 with "RdBu_r" (red +, blue -); NaN is light grey.
    `scale` says what the strongest colour stands for: a number, a pair (lowest, highest), or maps, by default this one:
    the magnitude that half a per cent of their values exceed. `blocks` adds up squares of so many values, as single
    pixels of plus and minus look grey. `side` is the height in pixels: enlarged without smoothing, or reduced smoothly.
    """
    a, top = _in_blocks(values, blocks), scale
    if not isinstance(scale, (tuple, int, float)):
        size = np.abs(a if scale is None else _in_blocks(scale, blocks))
        top = float(np.quantile(size, 0.995)) or float(size.max()) or 1.0
    low, high = top if isinstance(top, tuple) else (-top if colours == "RdBu_r" else 0, top)
    share = (a - low) / max(high - low, 1e-30)
    picture = palette(colours)[(np.nan_to_num(share).clip(0, 1) * 255).astype(np.uint8)]
    picture[np.isnan(a)] = 235
    image = Image.fromarray(picture)
    if side is None:
        return image
    smooth = Image.Resampling.BILINEAR if side < image.height else Image.Resampling.NEAREST
    return image.resize((max(1, round(side * image.width / image.height)), side), smooth)


def _in_blocks(maps, side: int) -> np.ndarray:
    a = torch.as_tensor(numbers(maps))
    return (side**2 * F.avg_pool2d(a[None], side)[0]).numpy() if side > 1 else a.numpy()


def overlay(image: Drawable, heat, *, opacity: float = 0.55) -> Image.Image:
    """A map `(h,w)` laid over its picture, bright where it is large relative to its own maximum; 0 and less stay dark.
    The map is stretched bilinearly; `opacity` is 0 (picture only) to 1 (map only). Lesson 02."""
    picture, a = to_picture(image), numbers(heat)
    a = a[0] if a.ndim == 3 and len(a) == 1 else a
    if a.ndim != 2:
        raise ValueError(f"overlay takes one map (h,w), not {a.shape}: index it.")
    a = np.asarray(Image.fromarray(a).resize(picture.size, Image.Resampling.BILINEAR))
    colour = palette("inferno")[((a / max(float(a.max()), 1e-12)).clip(0, 1) * 255 + 0.5).astype(np.uint8)]
    mixed = (1 - opacity) * np.asarray(picture, np.float32) + opacity * colour
    return Image.fromarray((mixed + 0.5).astype(np.uint8))


def gradient_picture(g: Tensor, *, part: str = "all", grey: bool = False, limit: float | None = None) -> Tensor:
    """A gradient `(3,H,W)` or `(N,3,H,W)` as a picture in 0..1: all of it around mid grey, or one sign of it on black.
    `part` is "all", "positive" or "negative" (drawn as its size). `grey` makes the three colours one luminance,
    `(1,H,W)`. `limit` is the value of the strongest colour, to compare pictures; by default, for each, the 99.5th
    percentile of what is not 0: a few glaring pixels would darken the rest. Lesson 07."""
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


def mosaic(maps, *, columns: int = 8, scale: int = 1, shared: bool = False) -> np.ndarray:
    """Maps `(N,h,w)`, or signed weights `(N,3,h,w)`, side by side in one uint8 array, a pixel apart.
    Each map is stretched to 0..255 by itself (a constant one is 0), or by the common range when `shared`; weights get a
    symmetric scale, 0 is mid grey. Each value becomes a square of `scale` pixels. Lesson 01."""
    a = numbers(maps)
    colour = a.ndim == 4 and a.shape[1] == 3
    if not (a.ndim == 3 or colour):
        raise ValueError(f"mosaic takes maps (N,h,w) or RGB pictures (N,3,h,w), not {a.shape}.")
    axes = None if shared else tuple(range(1, a.ndim))
    if colour:
        top = np.abs(a).max(axis=axes, keepdims=True)
        a = a.transpose(0, 2, 3, 1) / np.where(top > 0, top, 1) / 2 + 0.5
    else:
        low, high = a.min(axis=axes, keepdims=True), a.max(axis=axes, keepdims=True)
        a = (a - low) / np.where(high > low, high - low, 1)
    a = (a.clip(0, 1) * 255 + (0.5 if colour else 0)).astype(np.uint8).repeat(scale, 1).repeat(scale, 2)
    count, height, width, *rest = a.shape
    rows = -(-count // columns)
    out = np.full((rows * columns, height + 1, width + 1, *rest), 255 if colour else 0, np.uint8)
    out[:count, :height, :width] = a
    out = out.reshape(rows, columns, height + 1, width + 1, *rest).swapaxes(1, 2)
    return out.reshape(rows * (height + 1), columns * (width + 1), *rest)


def marked_mosaic(maps: Tensor, chosen: int, *, tile: int = 56) -> Image.Image:
    """`mosaic` of maps `(N,h,w)` in viridis, each about `tile` pixels wide, with a red frame around one of them."""
    if (shrink := -(-max(maps.shape[1:]) // 64)) > 1:
        maps = F.avg_pool2d(maps[None], shrink, ceil_mode=True)[0]
    scale = max(1, tile // max(maps.shape[1:]))
    height, width = (n * scale + 1 for n in maps.shape[1:])
    page = Image.fromarray(mosaic(maps, scale=scale).clip(max=254))
    page.putpalette(np.concatenate([palette()[:255], [(255, 60, 60)]]).astype(np.uint8).tobytes())
    top, left = chosen // 8 * height, chosen % 8 * width
    ImageDraw.Draw(page).rectangle((left, top, left + width - 2, top + height - 2), outline=255, width=2)
    return page


def sheet(tiles: Sequence[Drawable], columns: int = 3, *, side: int | None = None, ground: int = 255) -> Image.Image:
    """Tiles of one size in rows; with `side`, tiles of any shape, each fitted into a square on `ground`, 4 px apart."""
    tiles, gap = [to_picture(tile) for tile in tiles], 4 if side else 0
    if side:  # a picture cut by the border keeps its shape
        tiles = [ImageOps.pad(tile, (side, side), Image.Resampling.BICUBIC, color=(ground,) * 3) for tile in tiles]
    width, height = tiles[0].width + gap, tiles[0].height + gap
    page = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), "white")
    for n, tile in enumerate(tiles):
        page.paste(tile, (n % columns * width, n // columns * height))
    return page


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
    pictures, left = [to_picture(picture) for picture in pictures], 0
    page = Image.new("RGB", (sum(p.width + 8 for p in pictures) - 8, max(p.height for p in pictures)), "white")
    for picture in pictures:
        page.paste(picture, (left, 0))
        left += picture.width + 8
    return page


def draw_box(image: Drawable, box: tuple[int, int, int, int], *, colour="red", width: int = 2) -> Image.Image:
    """A copy of a picture with a frame inside a box (top, left, bottom, right), the last two excluded. Lesson 02."""
    picture = to_picture(image).copy()
    top, left, bottom, right = box
    ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), outline=colour, width=width)
    return picture


def probability_bars(labels: Sequence[str], probabilities: Sequence[float], *, width: int = 440) -> np.ndarray:
    """Labels, bars and percentages as a picture, uint8 `(26 * bars, width, 3)`; long labels are cut."""
    font, middle, room = ImageFont.load_default(14), 170, width - 170 - 60
    picture = Image.new("RGB", (width, 26 * len(labels)), "white")
    draw = ImageDraw.Draw(picture)
    for n, (label, p) in enumerate(zip(labels, probabilities, strict=True)):
        y, end = 26 * n + 13, middle + round(room * p)
        draw.text((middle - 8, y), label if len(label) <= 22 else label[:21] + "…", "black", font, anchor="rm")
        draw.rectangle((middle, y - 8, end, y + 8), fill=(31, 119, 180))
        draw.text((end + 6, y), f"{p:.1%}", "black", font, anchor="lm")
    return np.asarray(picture)


def figure_pixels(draw: Callable, width: float, height: float, *, dpi: int = 80) -> np.ndarray:
    """What `draw(ax)` draws with matplotlib, as uint8 `(H,W,3)`, without touching the notebook's own figures."""
    canvas = FigureCanvasAgg(Figure(figsize=(width, height), dpi=dpi, layout="constrained"))
    draw(canvas.figure.subplots())
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def curve_picture(other, curve, at: int) -> np.ndarray:
    """Two curves over the share of the pixels deleted, uint8 `(224, 260, 3)`: grey, blue with a dot at step `at`."""
    share = np.linspace(0, 1, len(curve))

    def draw(ax):
        ax.plot(share, numbers(other), color="0.67", linewidth=2)
        ax.plot(share, numbers(curve), color="tab:blue", linewidth=2)
        ax.plot(share[at], float(curve[at]), "o", color="tab:red", clip_on=False)
        ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="of the pixels deleted")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_ticks([0, 0.5, 1], ["0%", "50%", "100%"])
        ax.spines[["top", "right"]].set_visible(False)

    return figure_pixels(draw, 3.25, 2.8)


def to_png(picture: Drawable) -> bytes:
    """PNG bytes of a picture; uint8 `(H,W)` goes through viridis as a colour table (three times less to compress)."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture))
    if image.mode == "L":
        image.putpalette(palette().tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
