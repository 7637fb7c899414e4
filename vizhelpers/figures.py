"""Figures of single lessons: collections of pictures (03), shape bias (12), the scoreboard (13). They take results.
`points` are `(N,2)` from `tsne`, `thumbs` `(N,3,h,w)` in 0..1 such as `Embedding.thumbs`; `ax` as in `show`."""
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from PIL import Image, ImageDraw

from .render import numbers, to_picture
from .show import axes, panels, picture_on, plain

GROUP_COLOURS = "#1f77b4 #ff7f0e #2ca02c #d62728 #9467bd #8c564b #e377c2 #17becf #bcbd22 #4d4d4d".split()
SHAPES = "o^sD"  # with the ten colours they tell forty groups apart
COLOURS, HUMAN = ("tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:brown", "tab:cyan"), "tab:red"
UNITS = {"pointing game": "hits", "energy inside": "share of the map",  # the others': rank correlation
         "insertion": "area, share of the score", "deletion": "area, share of the score"}  # fmt: skip


def group_colours(groups: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Group -> its colour "#rrggbb" and matplotlib marker, in alphabetical order."""
    names = sorted({str(group) for group in groups})
    return {name: (GROUP_COLOURS[n % 10], SHAPES[n // 10 % 4]) for n, name in enumerate(names)}


def place(points, size: int, margin: int = 24) -> np.ndarray:
    """Where map points lie in a square picture, int `(N,2)`, column and row: one scale for both axes, y up, centred."""
    p = numbers(points)
    if p.ndim != 2 or p.shape[1] != 2 or not np.isfinite(p).all():
        raise ValueError(f"Map points are (N,2), finite, not {p.shape}: they come from vh.tsne.")
    span = float(np.ptp(p, axis=0).max()) or 1.0
    p = (p - (p.max(0) + p.min(0)) / 2) / span * (size - 1 - 2 * margin)
    return np.rint(p * [1, -1] + (size - 1) / 2).astype(int)


def thumbnail_map(points, thumbs, *, size: int = 900, side: int = 40) -> np.ndarray:
    """Each picture, `side` pixels small, at its point, uint8 `(size,size,3)`; later ones lie on top."""
    corners = place(points, size, side // 2 + 2) - side // 2
    return _pasted(thumbs, corners[:, ::-1], side, size, size)


def grid_picture(cells, thumbs, *, side: int = 40) -> np.ndarray:
    """The pictures in their cells (row, column), a white pixel apart, uint8 `(rows*(side+1), columns*(side+1), 3)`."""
    cells = torch.as_tensor(cells).cpu().numpy()
    if cells.dtype.kind != "i":
        raise ValueError("The cells are rows and columns, whole numbers: vh.grid(points) finds them.")
    return _pasted(thumbs, cells * (side + 1), side, *(cells.max(0) + 1) * (side + 1))


def _pasted(thumbs, corners: np.ndarray, side: int, height: int, width: int) -> np.ndarray:
    """Thumbnails as squares with their top left corners at (row, column), on white."""
    if len(thumbs) != len(corners):
        raise ValueError(f"There are {len(corners)} places for {len(thumbs)} pictures: give one for each.")
    page = Image.new("RGB", (width, height), "white")
    for (row, column), one in zip(corners.tolist(), thumbs, strict=True):
        page.paste(to_picture(one).resize((side, side)), (column, row))
    return np.asarray(page)


def dot_map(points, groups: Sequence[str], *, size: int = 900, radius: int = 5) -> np.ndarray:
    """A dot at each point in the colour of its group, uint8 `(size,size,3)`."""
    page, colours = Image.new("RGB", (size, size), "white"), group_colours(groups)
    draw = ImageDraw.Draw(page)
    for (x, y), group in zip(place(points, size).tolist(), groups, strict=True):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colours[str(group)][0])
    return np.asarray(page)


def show_points(points, groups: Sequence[str], *, title="", ax: Axes | None = None, legend: bool = True) -> Axes:
    """Draw a map as points, a colour and a shape for each group; the axes have no unit, so none is drawn. Lesson 03."""
    p, names = numbers(points), np.array([str(group) for group in groups])
    if p.ndim != 2 or p.shape[1] != 2 or len(p) != len(names):
        raise ValueError(f"show_points got points {p.shape} and {len(names)} groups: (N,2) and one group for each.")
    ax = axes(ax, 8.775 if legend else 6.5, 6.5)
    for name, (colour, shape) in group_colours(groups).items():
        at = p[names == name]
        ax.scatter(at[:, 0], at[:, 1], s=26, c=colour, marker=shape, label=f"{name} ({len(at)})", linewidths=0)
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_color("0.8")
    ax.set_title(title, fontsize=10)
    if legend:
        ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.2)
    return ax


def show_thumbnails(points, thumbs, *, title: str = "", ax: Axes | None = None, side: int = 44) -> Axes:
    """Draw each picture, small, at its point on the map; `side` of each in 1/100 inch of a new figure. Lesson 03."""
    picture = thumbnail_map(points, thumbs, size=1000, side=side)
    return picture_on(axes(ax, 10, 10 + 0.3 * bool(title)), picture, title, 10).axes


def show_grid(cells, thumbs, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw all pictures in the cells `(N,2)` that `grid(points)` gave: no gaps, neighbours side by side. Lesson 03."""
    side = max(16, 1000 // (int(torch.as_tensor(cells)[:, 1].max()) + 1))
    picture = grid_picture(cells, thumbs, side=side)
    ax = axes(ax, 10, 10 * picture.shape[0] / picture.shape[1] + 0.3 * bool(title))
    return picture_on(ax, picture, title, 10).axes


def _colours(names) -> dict[str, str]:
    """People in red; the nets' colours stay the same whoever is drawn beside them."""
    nets = [name for name in names if not name.lower().startswith(("you", "human"))]
    return {name: COLOURS[nets.index(name) % len(COLOURS)] if name in nets else HUMAN for name in names}


def show_shape_bias(found: Mapping, *, published: Mapping | None = None, ax: Axes | None = None, title="") -> Axes:
    """Draw shape bias, 0 (all by texture) to 1: a dot for each category, a line with its interval for the whole.
    `found` is name -> `shape_bias(...)`; names that begin with "you" or "human" are red. `published` is name -> shape
    bias of others on other stimuli: small marks on top. Geirhos et al. 2019, figure 4; lesson 12."""
    if not found:
        raise ValueError("show_shape_bias needs at least one result, such as {'SqueezeNet': vh.shape_bias(net)}.")
    classes = sorted({name for one in found.values() for name in one.per_class}, reverse=True)
    others = sorted((published or {}).items(), key=lambda other: other[1])
    ax = axes(ax, 8.0, 0.27 * (len(classes) + len(others)) + 1.2)
    top, colours = len(classes) - 0.5, _colours(found)
    for name, one in found.items():
        label = f"{name}: {one.bias:.0%} [{one.ci95[0]:.0%} to {one.ci95[1]:.0%}]"
        colour, dot = colours[name], "D" if colours[name] == HUMAN else "o"
        rows = [classes.index(c) for c in one.per_class]
        ax.plot([*one.per_class.values()], rows, dot, color=colour, alpha=0.85, label=label)
        ax.plot([one.bias] * 2, [-0.6, top], color=colour, linewidth=1.5)
        ax.fill_between(one.ci95, -0.6, top, color=colour, alpha=0.12, linewidth=0)
    for n, (name, bias) in enumerate(others):
        height, left = top + 0.6 + 0.85 * n, bias > 0.7
        ax.plot(bias, height, "|", color=HUMAN if name.startswith("human") else "0.35", markersize=9)
        ax.text(bias + (-0.01 if left else 0.01), height, f"{name} {bias:.0%}", fontsize=8, va="center",
                ha="right" if left else "left", color="0.25")  # fmt: skip
    if others:
        ax.axhline(top, color="0.8", linewidth=0.8)
        ax.text(-0.02, top + 0.6 + 0.425 * (len(others) - 1), "published,\nother stimuli", ha="right", va="center",
                fontsize=8, color="0.25")  # fmt: skip
    ax.set_yticks(range(len(classes)), classes, fontsize=9)
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.6, top + (0.85 * len(others) + 0.4 if others else 0)))
    ax.set_xlabel("shape bias: share of shape among shape and texture decisions")
    below = -0.5 / (0.27 * (len(classes) + len(others)))  # half an inch, whatever the height
    ax.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, below), ncols=min(3, len(found)), frameon=False)
    return plain(ax, title, 10, ("top", "right", "left"), rows=True)


def show_conditions(found: Mapping, *, ax: Axes | None = None, title="", chance: float | None = None) -> Axes:
    """Draw the accuracy in the five conditions as groups of bars; `chance` is the accuracy of guessing, a dotted line.
    `found` is name -> `condition_accuracy(...)`; "you" and "human" in red. Geirhos et al. 2019, figure 2; lesson 12."""
    if not found:
        raise ValueError("show_conditions needs at least one result, such as {'net': vh.condition_accuracy(net)}.")
    ax, width, colours = axes(ax, 8.0, 2.8), 0.82 / len(found), _colours(found)
    conditions = list(next(iter(found.values())))
    for number, (name, accuracy) in enumerate(found.items()):
        values = [accuracy[condition] for condition in conditions]
        places = [n - 0.41 + width * (number + 0.5) for n in range(len(conditions))]
        bars = ax.bar(places, values, 0.92 * width, label=name, color=colours[name])
        ax.bar_label(bars, [f"{100 * v:.0f}" for v in values], fontsize=8 if len(found) < 6 else 6, padding=1)
    if chance is not None:
        ax.axhline(chance, color="0.4", linestyle=":", linewidth=1)
    ax.set_xticks(range(len(conditions)), conditions)
    ax.set(ylabel="right answers (%)", ylim=(0, 1.12), yticks=[0, 0.5, 1], yticklabels=["0", "50", "100"])
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return plain(ax, title, 10)


def show_scoreboard(board, *, title: str = "") -> np.ndarray:
    """Draw a `scoreboard`: a panel a measure, dot and 95 % interval of each method; baselines grey. Lesson 13."""
    count = len(board.methods)
    grid = panels(2, 3, 11, 1.2 + 0.46 * count, sharey=True)
    for k, (ax, measure) in enumerate(zip(grid.flat, board.measures, strict=True)):
        mean, low, high = (part[:, k].numpy() for part in (board.mean, board.low, board.high))
        for n, name in enumerate(board.methods):
            colour = "0.55" if name in board.baselines else "tab:blue"
            ax.plot([low[n], high[n]], [n, n], color=colour, linewidth=1.6, alpha=0.6)
            ax.plot(mean[n], n, "o", color=colour, markersize=5)
        if measure in UNITS:
            ax.set_xlim(0, 1.04 if np.nanmax(high) > 0.9 else None)
        else:
            ax.set_xlim(min(-0.05, float(np.nanmin(low)) - 0.03), 1.05)
        ax.set_xlabel(UNITS.get(measure, "rank correlation"), fontsize=9)
        better = "right" if measure in board.better_high else "left"
        plain(ax, f"{measure}: {better} is better", 10, rows=True)
    for ax in grid[:, 0]:
        ax.set_yticks(range(count), board.methods, fontsize=9)
        ax.set_ylim(count - 0.5, -0.5)
    grid[0, 0].figure.suptitle(title, fontsize=11)
    return grid
