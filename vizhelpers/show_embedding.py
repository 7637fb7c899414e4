"""Figures of a collection of pictures: points by group, thumbnails at their points, grids (lesson 03)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .layout import grid
from .picture_map import grid_picture, group_colours, thumbnail_map
from .render import numbers
from .show import _axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def show_points(
    points, groups: Sequence[str], *, title: str = "", ax: Axes | None = None, size: float = 6.5, legend: bool = True
) -> Axes:
    """Draw a map as points, a colour and a shape for each group; the axes have no unit, so none is drawn.

    Args:
        points: `(N,2)`.
        groups: one text per point.
        title: above the map: say whose features these are.
        ax: where to draw; by default a new figure.
        size: height of the new figure in inches.
        legend: name the groups beside the map.

    Returns:
        The Axes.

    Raises:
        ValueError: as many groups as not fit the points.

    Example:
        >>> vh.show_points(vh.tsne(e.features), e.groups, title=e.label);

    Taught in: 03_tsne_of_fc7.
    """
    p, names = numbers(points), np.array([str(group) for group in groups])
    if p.ndim != 2 or p.shape[1] != 2 or len(p) != len(names):
        raise ValueError(f"show_points got points {p.shape} and {len(names)} groups: (N,2) and one group for each.")
    ax = _axes(ax, (size * 1.35 if legend else size, size))
    for name, (colour, shape) in group_colours(groups).items():
        at = p[names == name]
        ax.scatter(at[:, 0], at[:, 1], s=26, c=colour, marker=shape, label=f"{name} ({len(at)})", linewidths=0)
    _plain(ax, title)
    if legend:
        ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.2)
    return ax


def show_thumbnails(
    points, thumbs, *, title: str = "", ax: Axes | None = None, size: float = 10.0, side: int = 44
) -> Axes:
    """Draw each picture, small, at its point on the map.

    Args:
        points: `(N,2)`.
        thumbs: `(N,3,h,w)`, 0..1, such as `Embedding.thumbs`.
        title: above the map.
        ax: where to draw; by default a new figure.
        size: of the new figure in inches.
        side: of each picture, in 1/100 inch of the default size.

    Returns:
        The Axes.

    Raises:
        ValueError: as many points as not fit the pictures.

    Example:
        >>> vh.show_thumbnails(vh.tsne(e.features), e.thumbs, title=e.label);

    Taught in: 03_tsne_of_fc7.
    """
    picture = thumbnail_map(points, thumbs, size=1000, side=side)
    return _drawn(picture, title, ax, size)


def show_grid(
    points, thumbs, *, shape: tuple[int, int] | None = None, title: str = "", ax: Axes | None = None, size: float = 10.0
) -> Axes:
    """Draw all pictures in a grid without gaps, neighbours on the map near one another.

    Args:
        points: `(N,2)`; `grid` finds the cells.
        thumbs: `(N,3,h,w)`, 0..1.
        shape: (rows, columns); by default nearly square.
        title: above the grid.
        ax: where to draw; by default a new figure.
        size: width of the new figure in inches.

    Returns:
        The Axes.

    Raises:
        ValueError: too few cells, or as many points as not fit the pictures.

    Example:
        >>> vh.show_grid(vh.tsne(e.features), e.thumbs);

    Taught in: 03_tsne_of_fc7.
    """
    cells = grid(points, shape)
    side = max(16, 1000 // (int(cells[:, 1].max()) + 1))
    return _drawn(grid_picture(cells, thumbs, side=side), title, ax, size)


def _drawn(picture: np.ndarray, title: str, ax: Axes | None, size: float) -> Axes:
    ax = _axes(ax, (size, size * picture.shape[0] / picture.shape[1] + 0.3 * bool(title)))
    ax.imshow(picture)
    ax.axis("off")
    ax.set_title(title, fontsize=10)
    return ax


def _plain(ax: Axes, title: str) -> None:
    ax.set(xticks=[], yticks=[], aspect="equal")
    for spine in ax.spines.values():
        spine.set_color("0.8")
    ax.set_title(title, fontsize=10)
