"""Figures that several lessons draw: pictures, maps, mosaics, bars and curves on matplotlib Axes, which come back.
They take tensors on any device, arrays or PIL; `ax` is where to draw, by default a new figure."""
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from .render import Drawable, mosaic, numbers, to_picture


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """The Axes that was given, or that of a new figure, `width` by `height` inches."""
    return panels(1, 1, width, height)[0, 0] if ax is None else ax


def panels(rows: int, columns: int, width: float, height: float, **options) -> np.ndarray:
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", squeeze=False, **options)[1]


def picture_on(ax: Axes, picture, title: str = "", size: int = 9, **options):
    """A picture without axes around it, under its title; returns what matplotlib calls the image."""
    ax.axis("off")
    ax.set_title(title, fontsize=size)
    return ax.imshow(picture, **options)


def plain(ax: Axes, title: str, size: int = 9, sides=("top", "right"), rows: bool = False) -> Axes:
    """The plot's title, no line at these sides of it, and pale lines along its rows if it has some."""
    ax.set_title(title, fontsize=size)
    ax.spines[list(sides)].set_visible(False)
    if rows:
        ax.grid(axis="y", color="0.92")
        ax.set_axisbelow(True)
    return ax


def show_images(images, titles: Sequence[str] | str | None = None, *, columns: int = 6, height=2.4) -> np.ndarray:
    """Draw pictures in a grid, each as it is, without stretching its values; returns one Axes for each.
    `images` is one picture, a list, or a batch `(N,3,H,W)` in 0..1; `height` of one is in inches. Lesson 00."""
    if isinstance(images, Image.Image) or getattr(images, "ndim", 4) < 4:
        images = [images]
    pictures = [to_picture(image) for image in images]
    names = [titles] if isinstance(titles, str) else list(titles or [""] * len(pictures))
    if not pictures or len(names) != len(pictures):
        raise ValueError(f"show_images got {len(pictures)} pictures and {len(names)} titles: give one for each.")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    wide = max(p.width / p.height for p in pictures)
    grid = panels(rows, columns, min(columns * height * min(wide, 1.6), 15), rows * (height + 0.3 * any(names))).ravel()
    for ax, picture, name in zip(grid, pictures, names, strict=False):
        picture_on(ax, picture, str(name))
    for ax in grid[len(pictures) :]:
        ax.axis("off")
    return grid[: len(pictures)]


def show_map(values, *, ax: Axes | None = None, title="", colours=None, limit: float | None = None, bar=True) -> Axes:
    """Draw one map `(h,w)` with its scale: a signed one in red (+) and blue (-) around white, others in viridis.
    `limit` is the value of the strongest colour, by default the largest magnitude; `bar` draws the scale. Lesson 00."""
    a = numbers(values)
    if a.ndim != 2:
        raise ValueError(f"show_map draws one map (h,w), not {a.shape}: index it, or use show_mosaic.")
    ax, signed = axes(ax, 3.6, 3.0), bool((a < 0).any())
    top = limit or float(np.abs(a).max()) or 1.0
    drawn = picture_on(ax, a, title, cmap=colours or ("RdBu_r" if signed else "viridis"), vmin=-top if signed else 0,
                       vmax=top, interpolation="nearest")  # fmt: skip
    if bar:
        ax.figure.colorbar(drawn, ax=ax, shrink=0.8)
    return ax


def show_mosaic(maps, *, columns=8, shared=False, title: str = "", ax: Axes | None = None, width=6.0) -> Axes:
    """Draw maps `(N,h,w)` or RGB filters `(N,3,h,w)` as a mosaic, each on its own scale unless `shared`. Lesson 01."""
    a = numbers(maps)  # small filters are enlarged: a gap as wide as a weight would take much of the figure
    picture = mosaic(a, columns=columns, shared=shared, scale=max(1, 24 // max(a.shape[-2:])) if a.ndim == 4 else 1)
    ax = axes(ax, width, width * picture.shape[0] / picture.shape[1] + 0.3)
    picture_on(ax, picture, title, cmap="viridis", vmin=0, vmax=255, interpolation="nearest")
    if picture.ndim == 2:  # white lines: between dark maps the gap would not show
        for draw, length, step in zip((ax.axhline, ax.axvline), picture.shape, a.shape[1:], strict=True):
            for at in range(step, length - 1, step + 1):
                draw(at, color="white", linewidth=1)
    return ax


def show_bars(values, *, top: int = 3, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw one value per channel `(K,)` as spikes, and the numbers of the `top` highest on them. Lesson 02."""
    a = numbers(values)
    if a.ndim != 1:
        raise ValueError(f"show_bars draws one value per channel (K,), not {a.shape}: take one picture's row.")
    ax = axes(ax, 9.0, 2.2)
    ax.vlines(np.arange(len(a)), 0, a, color="tab:blue", linewidth=1.2)
    for channel in np.argsort(-a, kind="stable")[:top]:
        ax.annotate(str(channel), (channel, a[channel]), ha="center", va="bottom", fontsize=9, color="tab:red")
    ax.set(xlabel="channel", ylabel="mean response", xlim=(-1, len(a)))
    ax.margins(y=0.18)
    ax.set_ylim(bottom=min(0, float(a.min())))
    return plain(ax, title)


def show_predictions(predictions: Sequence, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw what `predict` returned for one picture as bars of probability. Lesson 00."""
    ax = axes(ax, 5.0, 0.35 * len(predictions) + 0.6)
    bars = ax.barh(range(len(predictions)), [p.probability for p in predictions], color="tab:blue")
    ax.bar_label(bars, [f"{p.probability:.1%}" for p in predictions], padding=3, fontsize=9)
    ax.set_yticks(range(len(predictions)), [p.label for p in predictions])
    ax.invert_yaxis()
    ax.set(xlim=(0, 1.15), xticks=[])
    return plain(ax, title, sides=("top", "right", "bottom"))


def show_curves(x, curves: Mapping, *, xlabel="", ylabel="", title="", ax: Axes | None = None) -> Axes:
    """Draw curves, name -> `(n,)`, over a common axis `x` `(n,)`, with a legend. Lesson 01."""
    ax = axes(ax, 6.0, 3.2)
    for name, values in curves.items():
        ax.plot(numbers(x), numbers(values), marker=".", label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend(frameon=False, fontsize=9)
    return plain(ax, title, 10)


def show_strip(rows: Mapping[str, Sequence[Drawable]], columns: Sequence[str], *, height: float = 1.1) -> np.ndarray:
    """Draw a table of pictures, rows name -> pictures under the columns' names, each `height` inches. Lesson 13."""
    if not rows or any(len(pictures) != len(columns) for pictures in rows.values()):
        counts = {name: len(pictures) for name, pictures in rows.items()}
        raise ValueError(f"show_strip wants {len(columns)} pictures in each row, one for each column, not {counts}.")
    table = panels(len(rows), len(columns), 1.5 + height * len(columns), 0.35 + height * len(rows))
    for line, (name, pictures) in zip(table, rows.items(), strict=True):
        for ax, picture in zip(line, pictures, strict=True):
            ax.imshow(to_picture(picture))
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    for ax, name in zip(table[0], columns, strict=True):
        ax.set_title(name, fontsize=9)
    return table
