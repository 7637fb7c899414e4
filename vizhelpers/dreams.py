"""The shipped gallery of pictures that filters and classes want (lesson 10); data/dreams/make.py makes it."""
from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from .images import DATA


class Dream(NamedTuple):
    """One picture of the gallery."""

    path: Path
    net: str
    name: str  # "conv3_2", or "class"
    layer: str  # "features.12", or ""
    channel: int  # of the layer, or the class's number
    label: str  # of the class, or ""
    score: float  # mean of the channel's map, or the logit, for this file
    library_score: float  # the highest of any library picture
    library_picture: str  # which


def dreams(name: str | None = None) -> list[Dream]:
    """The shipped pictures that VGG16's filters and SqueezeNet's classes want most.

    Args:
        name: "conv2_2", "conv3_2", "conv4_1", "conv5_3" or "class"; by default all.

    Returns:
        A list of `Dream`, in the gallery's order; `show_images([d.path for d in dreams])` draws them.

    Raises:
        ValueError: there is no such name.

    Example:
        >>> vh.dreams("conv5_3")[0].layer
        'features.28'

    Taught in: 10_activation_maximization.
    """
    with open(DATA / "dreams" / "dreams.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if name is not None and name not in {row["name"] for row in rows}:
        raise ValueError(f"The gallery has {', '.join(sorted({row['name'] for row in rows}))}, not {name!r}.")
    found = [row for row in rows if name in (None, row["name"])]
    return [
        Dream(DATA / "dreams" / row["file"], row["net"], row["name"], row["layer"], int(row["channel"]), row["label"],
              float(row["score"]), float(row["library_score"]), row["library_picture"])
        for row in found
    ]  # fmt: skip
