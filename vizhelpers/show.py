"""Figures: pictures, maps, mosaics, bars and curves on matplotlib Axes. Nothing else in the package plots."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from torch import Tensor

from .render import Picture, mosaic, numbers, to_picture

if TYPE_CHECKING:  # matplotlib is imported when the first figure is drawn: `import vizhelpers` stays quick
    from matplotlib.axes import Axes


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    import matplotlib.pyplot as plt

    return ax if ax is not None else plt.subplots(figsize=size, layout="constrained")[1]


def panels(rows: int, columns: int, size: tuple[float, float], **options) -> np.ndarray:
    """A new figure's Axes in a grid `(rows, columns)`."""
    import matplotlib.pyplot as plt

    return plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, **options)[1]


def show_images(
    images: Picture | Sequence[Picture], titles: Sequence[str] | str | None = None, *, columns: int | None = None,
    height: float = 2.4,
) -> np.ndarray:
    """Draw pictures in a grid, each as it is, without stretching its values.

    Args:
        images: one picture, a list, or a batch `(N,3,H,W)`; see `to_picture` for what a picture is.
        titles: a text for each; long ones are cut.
        columns: pictures in a row; by default what fits a page.
        height: of one picture in inches.

    Returns:
        A flat array of Axes, one per picture.

    Raises:
        ValueError: no picture, or as many titles as not fit the pictures.

    Example:
        >>> vh.show_images([vh.load_image("koala"), vh.load_image("coffee")], ["koala", "coffee"]);

    Taught in: 00_start_here.
    """
    if isinstance(images, Image.Image) or (isinstance(images, (Tensor, np.ndarray)) and images.ndim < 4):
        images = [images]
    pictures = [to_picture(image) for image in images]
    names = [titles] if isinstance(titles, str) else list(titles or [""] * len(pictures))
    if not pictures or len(names) != len(pictures):
        raise ValueError(f"show_images got {len(pictures)} pictures and {len(names)} titles: give one for each.")
    columns = min(columns or 6, len(pictures))
    rows = -(-len(pictures) // columns)
    wide = max(p.width / p.height for p in pictures)
    size = (min(columns * height * min(wide, 1.6), 15), rows * (height + 0.3 * any(names)))
    axes = panels(rows, columns, size)
    for ax in axes.flat:
        ax.axis("off")
    for ax, picture, name in zip(axes.flat, pictures, names, strict=False):
        ax.imshow(picture)
        ax.set_title(str(name), fontsize=9)
    return axes.flatten()[: len(pictures)]


def show_map(
    values, *, ax: Axes | None = None, title: str = "", colours: str | None = None, limit: float | None = None,
    bar: bool = True,
) -> Axes:
    """Draw one map of numbers with its scale: signed maps in red (+) and blue (-) around white, others in viridis.

    Args:
        values: `(h,w)`, any range; not changed.
        ax: where to draw; by default a new figure.
        title: above the map.
        colours: a matplotlib colour map instead of the default.
        limit: value of the strongest colour; by default the map's own largest magnitude.
        bar: draw the scale beside it.

    Returns:
        The Axes.

    Raises:
        ValueError: not a single map.

    Example:
        >>> vh.show_map(vh.activations(net, x, "features.0")[0, 5], title="channel 5");

    Taught in: 00_start_here.
    """
    a = numbers(values)
    if a.ndim != 2:
        raise ValueError(f"show_map draws one map (h,w), not {a.shape}: index it, or use show_mosaic.")
    ax = _axes(ax, (3.6, 3.0))
    signed = bool((a < 0).any())
    top = limit or float(np.abs(a).max()) or 1.0
    drawn = ax.imshow(a, cmap=colours or ("RdBu_r" if signed else "viridis"), vmin=-top if signed else 0, vmax=top,
                      interpolation="nearest")  # fmt: skip
    ax.set_title(title, fontsize=9)
    ax.axis("off")
    if bar:
        ax.figure.colorbar(drawn, ax=ax, shrink=0.8)
    return ax


def show_mosaic(
    maps, *, columns: int = 8, shared: bool = False, title: str = "", ax: Axes | None = None, width: float = 6.0
) -> Axes:
    """Draw many maps, or many RGB filters, as one mosaic; see `mosaic` for the scales.

    Args:
        maps: `(N,h,w)` or `(N,3,h,w)`; filters smaller than 12 pixels are enlarged, weight by weight.
        columns: maps in a row.
        shared: one scale for all, so that weak ones look weak.
        title: above the mosaic.
        ax: where to draw; by default a new figure.
        width: of the new figure, in inches.

    Returns:
        The Axes.

    Raises:
        ValueError: as `mosaic`.

    Example:
        >>> vh.show_mosaic(vh.first_layer_filters(net), shared=True);

    Taught in: 01_first_layer_filters.
    """
    shape = numbers(maps).shape  # small filters are enlarged: a gap as wide as a weight would take much of the figure
    scale = max(1, 24 // max(shape[-2:])) if len(shape) == 4 else 1
    picture = mosaic(maps, columns=columns, shared=shared, scale=scale)
    ax = _axes(ax, (width, width * picture.shape[0] / picture.shape[1] + 0.3))
    ax.imshow(picture, cmap="viridis", vmin=0, vmax=255, interpolation="nearest")
    if picture.ndim == 2:  # white lines: between dark maps the gap would not show
        for draw, length, step in zip((ax.axhline, ax.axvline), picture.shape, numbers(maps).shape[1:], strict=True):
            for at in range(step, length - 1, step + 1):
                draw(at, color="white", linewidth=1)
    ax.set_title(title, fontsize=9)
    ax.axis("off")
    return ax


def show_bars(values, *, top: int = 3, ax: Axes | None = None, title: str = "", colour: str = "tab:blue") -> Axes:
    """Draw one value per channel as a bar plot and write the number of the highest channels on their spikes.

    Args:
        values: `(K,)`.
        top: how many spikes to name.
        ax: where to draw; by default a new figure.
        title: above the plot.
        colour: of the bars.

    Returns:
        The Axes.

    Raises:
        ValueError: not one value per channel.

    Example:
        >>> vh.show_bars(vh.channel_response(net, x, "features.12")[0], title="koala");

    Taught in: 02_inside_the_layers.
    """
    a = numbers(values)
    if a.ndim != 1:
        raise ValueError(f"show_bars draws one value per channel (K,), not {a.shape}: take one picture's row.")
    ax = _axes(ax, (9.0, 2.2))
    ax.vlines(np.arange(len(a)), 0, a, color=colour, linewidth=1.2)
    for channel in np.argsort(-a, kind="stable")[:top]:
        ax.annotate(str(channel), (channel, a[channel]), ha="center", va="bottom", fontsize=9, color="tab:red")
    ax.set(xlabel="channel", ylabel="mean response", xlim=(-1, len(a)))
    ax.margins(y=0.18)
    ax.set_ylim(bottom=min(0, float(a.min())))
    ax.set_title(title, fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def show_predictions(predictions: Sequence, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw what `predict` returned for one picture as bars of probability.

    Args:
        predictions: `Prediction`s, strongest first.
        ax: where to draw; by default a new figure.
        title: above the bars.

    Returns:
        The Axes.

    Example:
        >>> vh.show_predictions(vh.predict(net, vh.to_input("koala", net)));

    Taught in: 00_start_here.
    """
    ax = _axes(ax, (5.0, 0.35 * len(predictions) + 0.6))
    names = [p.label for p in predictions]
    bars = ax.barh(range(len(names)), [p.probability for p in predictions], color="tab:blue")
    ax.bar_label(bars, [f"{p.probability:.1%}" for p in predictions], padding=3, fontsize=9)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1.15), xticks=[])
    ax.set_title(title, fontsize=9)
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    return ax


def show_curves(
    x, curves: Mapping[str, Sequence[float]], *, xlabel: str = "", ylabel: str = "", title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw several curves over a common axis, each with its name at its end or in a legend.

    Args:
        x: `(n,)`.
        curves: name -> `(n,)`.
        xlabel: with its unit.
        ylabel: with its unit.
        title: above the plot.
        ax: where to draw; by default a new figure.

    Returns:
        The Axes.

    Example:
        >>> vh.show_curves(frequency, {"alexnet": share.mean(0)}, xlabel="cycles per pixel");

    Taught in: 01_first_layer_filters.
    """
    ax = _axes(ax, (6.0, 3.2))
    for name, values in curves.items():
        ax.plot(numbers(x), numbers(values), marker=".", label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.set_title(title, fontsize=10)
    ax.legend(frameon=False, fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
