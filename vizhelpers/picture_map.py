"""Collections of pictures as one picture: thumbnails at their coordinates, in a grid, coloured dots (lesson 03)."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from .render import numbers

# Ten colours and four shapes tell forty groups apart; colours alone would end at ten.
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#4d4d4d")
SHAPES = ("o", "^", "s", "D")


def group_colours(groups: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a shape for every group, in alphabetical order.

    Args:
        groups: one text per picture.

    Returns:
        group -> (colour as "#rrggbb", matplotlib marker).

    Example:
        >>> vh.group_colours(["b", "a", "b"])["a"]
        ('#1f77b4', 'o')

    Taught in: 03_tsne_of_fc7.
    """
    names = sorted({str(group) for group in groups})
    return {name: (COLOURS[n % 10], SHAPES[n // 10 % 4]) for n, name in enumerate(names)}


def place(points, size: int, margin: int = 24) -> np.ndarray:
    """Where map points come to lie in a square picture: one scale for both axes, y up, centred.

    Args:
        points: `(N,2)`, any range.
        size: of the picture in pixels.
        margin: pixels left free on each side.

    Returns:
        int `(N,2)`: column and row of each point.

    Raises:
        ValueError: not `(N,2)`.

    Example:
        >>> vh.place([[0, 0], [1, 1]], 100, 10).tolist()
        [[10, 89], [89, 10]]

    Taught in: 03_tsne_of_fc7.
    """
    p = numbers(points)
    if p.ndim != 2 or p.shape[1] != 2 or not np.isfinite(p).all():
        raise ValueError(f"Map points are (N,2), finite, not {p.shape}: they come from vh.tsne.")
    span = float(np.ptp(p, axis=0).max()) or 1.0
    p = (p - (p.max(0) + p.min(0)) / 2) / span * (size - 1 - 2 * margin)
    return np.rint(p * [1, -1] + (size - 1) / 2).astype(int)


def thumbnail_map(points, thumbs, *, size: int = 900, side: int = 40) -> np.ndarray:
    """Each picture, small, at its point; where they overlap the later one lies on top.

    Args:
        points: `(N,2)`.
        thumbs: `(N,3,h,w)`, 0..1, such as `Embedding.thumbs`.
        size: of the whole in pixels.
        side: of each picture in pixels.

    Returns:
        uint8 `(size,size,3)`, white where there is nothing.

    Raises:
        ValueError: as many points as not fit the pictures.

    Example:
        >>> vh.thumbnail_map(torch.rand(4, 2), torch.rand(4, 3, 64, 64), size=200).shape
        (200, 200, 3)

    Taught in: 03_tsne_of_fc7.
    """
    small = _small(thumbs, side)
    if len(small) != len(points):
        raise ValueError(f"There are {len(points)} points for {len(small)} pictures: give one for each.")
    sheet = np.full((size, size, 3), 255, np.uint8)
    for (x, y), thumb in zip(place(points, size, side // 2 + 2) - side // 2, small, strict=True):
        sheet[y : y + side, x : x + side] = thumb
    return sheet


def grid_picture(cells, thumbs, *, side: int = 40, gap: int = 1) -> np.ndarray:
    """The pictures in the cells that `grid` gave them.

    Args:
        cells: long `(N,2)`, row and column.
        thumbs: `(N,3,h,w)`, 0..1.
        side: of each picture in pixels.
        gap: white pixels between them.

    Returns:
        uint8 `(rows*(side+gap), columns*(side+gap), 3)`.

    Raises:
        ValueError: as many cells as not fit the pictures.

    Example:
        >>> vh.grid_picture([[0, 0], [0, 1]], torch.rand(2, 3, 64, 64)).shape
        (41, 82, 3)

    Taught in: 03_tsne_of_fc7.
    """
    at, small = numbers(cells).astype(int), _small(thumbs, side)
    if len(at) != len(small):
        raise ValueError(f"There are {len(at)} cells for {len(small)} pictures: give one for each.")
    rows, columns = at.max(0) + 1
    step = side + gap
    sheet = np.full((rows * step, columns * step, 3), 255, np.uint8)
    for (row, column), thumb in zip(at * step, small, strict=True):
        sheet[row : row + side, column : column + side] = thumb
    return sheet


def dot_map(points, groups: Sequence[str], *, size: int = 900, radius: int = 5) -> np.ndarray:
    """A dot at each point, in the colour of its group.

    Args:
        points: `(N,2)`.
        groups: one text per point; see `group_colours`.
        size: of the whole in pixels.
        radius: of a dot in pixels.

    Returns:
        uint8 `(size,size,3)`.

    Raises:
        ValueError: as many points as not fit the groups.

    Example:
        >>> vh.dot_map(torch.rand(2, 2), ["a", "b"], size=100).shape
        (100, 100, 3)

    Taught in: 03_tsne_of_fc7.
    """
    if len(points) != len(groups):
        raise ValueError(f"There are {len(points)} points for {len(groups)} groups: give one for each.")
    colours = group_colours(groups)
    sheet = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(sheet)
    for (x, y), group in zip(place(points, size).tolist(), groups, strict=True):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colours[str(group)][0])
    return np.asarray(sheet)


def framed(picture: np.ndarray, centre, half: int, colour: str, width: int = 3) -> np.ndarray:
    """A copy with a square frame around a place, drawn outwards."""
    sheet = Image.fromarray(picture)
    x, y = (int(v) for v in centre)
    box = (x - half - width, y - half - width, x + half + width, y + half + width)
    ImageDraw.Draw(sheet).rectangle(box, outline=colour, width=width)
    return np.asarray(sheet)


def _small(thumbs, side: int) -> np.ndarray:
    """uint8 `(N,side,side,3)`."""
    t = torch.from_numpy(np.ascontiguousarray(numbers(thumbs)))
    if t.ndim != 4 or t.shape[1] != 3:
        raise ValueError(f"Thumbnails are (N,3,h,w) in 0..1, not {tuple(t.shape)}: Embedding.thumbs has them.")
    if t.shape[2:] != (side, side):
        t = F.interpolate(t, (side, side), mode="bilinear", antialias=True)
    return (t.clamp(0, 1) * 255 + 0.5).byte().permute(0, 2, 3, 1).numpy()
