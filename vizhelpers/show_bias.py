"""Figures of lesson 12: shape bias per category with intervals, accuracy per condition."""
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .cue_conflict import ShapeBias
from .cue_set import CONDITIONS
from .show import _axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:brown", "tab:cyan")
HUMAN = "tab:red"


def _colours(names) -> dict[str, str]:
    """People in red; the nets' colours stay the same whoever is drawn beside them."""
    nets = [name for name in names if not name.lower().startswith(("you", "human"))]
    return {name: COLOURS[nets.index(name) % len(COLOURS)] if name in nets else HUMAN for name in names}


def show_shape_bias(
    found: Mapping[str, ShapeBias], *, published: Mapping[str, float] | None = None, ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Draw the shape bias of nets and people: a dot for each category, a line with its interval for the whole.

    Args:
        found: name -> what `shape_bias` or `count_decisions` gave; names that begin with "you" or "human" are red.
        published: name -> shape bias 0..1 of others, measured on other stimuli: small marks in the top row.
        ax: where to draw; by default a new figure.
        title: above the plot.

    Returns:
        The Axes; 0 (left) means every decision by texture, 1 (right) every decision by shape.

    Raises:
        ValueError: nothing to draw.

    Example:
        >>> vh.show_shape_bias({"SqueezeNet": vh.shape_bias(net)}, published=vh.PUBLISHED_BIAS);

    Source: Geirhos et al. 2019, figure 4.
    Taught in: 12_texture_vs_shape.
    """
    if not found:
        raise ValueError("show_shape_bias needs at least one result, such as {'SqueezeNet': vh.shape_bias(net)}.")
    classes = sorted({name for one in found.values() for name in one.per_class})
    rows = {name: row for row, name in enumerate(reversed(classes))}
    places = _apart(published or {})
    floors = 1 + max((floor for _, _, floor in places), default=-1)
    ax = _axes(ax, (8.0, 0.27 * (len(classes) + floors) + 1.2))
    top = len(classes) - 0.5
    colours = _colours(found)
    for name, one in found.items():
        human, colour = colours[name] == HUMAN, colours[name]
        known = [(one.per_class[c], rows[c]) for c in one.per_class if not math.isnan(one.per_class[c])]
        ax.plot(*(zip(*known, strict=True) if known else ((), ())), "D" if human else "o", color=colour, alpha=0.85,
                label=f"{name}: {one.bias:.0%} [{one.ci95[0]:.0%} to {one.ci95[1]:.0%}]")  # fmt: skip
        ax.plot([one.bias] * 2, [-0.6, top], color=colour, linewidth=1.5)
        ax.fill_between(one.ci95, -0.6, top, color=colour, alpha=0.12, linewidth=0)
    for name, bias, floor in places:
        height, left = top + 0.6 + 0.85 * floor, bias > 0.7
        ax.plot(bias, height, "|", color=HUMAN if name.startswith("human") else "0.35", markersize=9)
        ax.text(bias + (-0.01 if left else 0.01), height, f"{name} {bias:.0%}", fontsize=8, va="center",
                ha="right" if left else "left", color="0.25")  # fmt: skip
    if published:
        ax.axhline(top, color="0.8", linewidth=0.8)
        middle = top + 0.6 + 0.85 * (floors - 1) / 2
        ax.text(-0.02, middle, "published,\nother stimuli", ha="right", va="center", fontsize=8, color="0.25")
    ax.set_yticks(list(rows.values()), list(rows), fontsize=9)
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.6, top + (0.85 * floors + 0.4 if published else 0)))
    ax.set_xlabel("shape bias: share of shape among shape and texture decisions")
    ax.set_title(title, fontsize=10)
    ax.grid(axis="y", color="0.92")
    ax.set_axisbelow(True)
    below = -0.5 / (0.27 * (len(classes) + floors))  # half an inch, whatever the height
    ax.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, below), ncols=min(3, len(found)), frameon=False)
    ax.spines[["top", "right", "left"]].set_visible(False)
    return ax


def _apart(published: Mapping[str, float]) -> list[tuple[str, float, int]]:
    """(name, bias, floor): on each floor the labels, written right of their marks, leave each other room."""
    ends, found = [], []
    for name, bias in sorted(published.items(), key=lambda item: item[1]):
        width = 0.014 * (len(name) + 6)
        begin = bias - width if bias > 0.7 else bias
        floor = next((n for n, end in enumerate(ends) if end <= begin), len(ends))
        ends[floor:floor + 1] = [max(begin + width, bias)]
        found.append((name, bias, floor))
    return found


def show_conditions(
    found: Mapping[str, Mapping[str, float]], *, ax: Axes | None = None, title: str = "", chance: float | None = None
) -> Axes:
    """Draw the accuracy in the five conditions as groups of bars.

    Args:
        found: name -> (condition -> accuracy 0..1), as `condition_accuracy` gives; names that begin with "you" or
            "human" are red.
        ax: where to draw; by default a new figure.
        title: above the plot.
        chance: accuracy of guessing, drawn as a dotted line.

    Returns:
        The Axes.

    Raises:
        ValueError: nothing to draw.

    Example:
        >>> vh.show_conditions({"SqueezeNet": vh.condition_accuracy(net)}, chance=1 / 16);

    Source: Geirhos et al. 2019, figure 2.
    Taught in: 12_texture_vs_shape.
    """
    if not found:
        raise ValueError("show_conditions needs at least one result, such as {'net': vh.condition_accuracy(net)}.")
    ax = _axes(ax, (8.0, 2.8))
    width = 0.82 / len(found)
    colours = _colours(found)
    for number, (name, accuracy) in enumerate(found.items()):
        places = [n - 0.41 + width * (number + 0.5) for n in range(len(CONDITIONS))]
        bars = ax.bar(places, [accuracy[c] for c in CONDITIONS], 0.92 * width, label=name, color=colours[name])
        numbers = [f"{100 * accuracy[c]:.0f}" for c in CONDITIONS]
        ax.bar_label(bars, numbers, fontsize=8 if len(found) < 6 else 6, padding=1)
    if chance is not None:
        ax.axhline(chance, color="0.4", linestyle=":", linewidth=1)
    ax.set_xticks(range(len(CONDITIONS)), CONDITIONS)
    ax.set(ylabel="right answers (%)", ylim=(0, 1.12), yticks=[0, 0.5, 1], yticklabels=["0", "50", "100"])
    ax.set_title(title, fontsize=10)
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def bias_picture(found: Mapping[str, ShapeBias]) -> np.ndarray:
    """`show_shape_bias` as pixels `(H,W,3)` uint8 for an explorer, without touching the notebook's own figures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    classes = {name for one in found.values() for name in one.per_class}
    figure = Figure(figsize=(8.0, 0.27 * len(classes) + 1.2), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    show_shape_bias(found, ax=figure.subplots())
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
