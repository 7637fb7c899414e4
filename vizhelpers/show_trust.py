"""Figures of lesson 13: strips of pictures with a name for each row and column, the scoreboard as dots."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .evidence import BASELINES
from .render import Picture, to_picture
from .scoreboard import HIGH, Scoreboard
from .show import panels

AXES = {
    "pointing game": "hits", "energy inside": "share of the map", "insertion": "area, share of the score",
    "deletion": "area, share of the score", "two classes alike": "rank correlation",
    "random weights alike": "rank correlation",
}  # fmt: skip


def show_strip(rows: Mapping[str, Sequence[Picture]], columns: Sequence[str], *, height: float = 1.1) -> np.ndarray:
    """Draw a table of pictures: a name at the left of each row and above each column.

    Args:
        rows: name -> its pictures, one for each column; see `to_picture` for what a picture is.
        columns: names.
        height: of one picture in inches.

    Returns:
        The Axes, `(rows, columns)`.

    Raises:
        ValueError: a row with another number of pictures than there are columns.

    Example:
        >>> vh.show_strip({"koala": [a, b], "coffee": [c, d]}, ["saliency", "Grad-CAM"]);

    Taught in: 13_can_we_trust_these_maps.
    """
    if not rows or any(len(pictures) != len(columns) for pictures in rows.values()):
        counts = {name: len(pictures) for name, pictures in rows.items()}
        raise ValueError(f"show_strip wants {len(columns)} pictures in each row, one for each column, not {counts}.")
    axes = panels(len(rows), len(columns), (1.5 + height * len(columns), 0.35 + height * len(rows)))
    for row, (name, pictures) in zip(axes, rows.items(), strict=True):
        for ax, picture in zip(row, pictures, strict=True):
            ax.imshow(to_picture(picture))
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    for ax, name in zip(axes[0], columns, strict=True):
        ax.set_title(name, fontsize=9)
    return axes


def show_scoreboard(board: Scoreboard, *, title: str = "") -> np.ndarray:
    """Draw a scoreboard: a panel for each measure, a dot and its 95 % interval for each method, baselines in grey.

    Args:
        board: what `scoreboard` returned.
        title: above the figure: say whose maps, on how many scenes.

    Returns:
        The Axes, `(2, 3)`.

    Example:
        >>> vh.show_scoreboard(board, title="squeezenet1_1, 14 scenes");

    Taught in: 13_can_we_trust_these_maps.
    """
    count = len(board.methods)
    axes = panels(2, 3, (11, 1.2 + 0.46 * count), sharey=True)
    y = np.arange(count)
    for k, (ax, measure) in enumerate(zip(axes.flat, board.measures, strict=True)):
        mean, low, high = (part[:, k].numpy() for part in (board.mean, board.low, board.high))
        good = measure in HIGH
        for n, name in enumerate(board.methods):
            colour = "0.55" if name in BASELINES else "tab:blue"
            ax.plot([low[n], high[n]], [n, n], color=colour, linewidth=1.6, alpha=0.6)
            ax.plot(mean[n], n, "o", color=colour, markersize=5)
        ax.set_title(f"{measure}: {'right' if good else 'left'} is better", fontsize=10)
        ax.set_xlabel(AXES[measure], fontsize=9)
        ax.grid(axis="y", color="0.92")
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        if k >= 4:
            ax.set_xlim(min(-0.05, float(np.nanmin(low)) - 0.03), 1.05)
        else:
            ax.set_xlim(0, 1.04 if np.nanmax(high) > 0.9 else None)
    for ax in axes[:, 0]:
        ax.set_yticks(y, board.methods, fontsize=9)
        ax.set_ylim(count - 0.5, -0.5)
    axes[0, 0].figure.suptitle(title, fontsize=11)
    return axes
