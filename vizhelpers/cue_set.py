"""The stimulus sets of lesson 12: categories as sets of ImageNet classes, pictures that tell shape and texture."""
from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .pictures import DATA

CONDITIONS = ("original", "greyscale", "silhouette", "edges", "texture")
ENDINGS = (".png", ".webp", ".jpg", ".jpeg")
# The 16 entry-level categories of Geirhos et al. as ImageNet class numbers, 207 in all (their human_categories.py).
AUTHORS = {
    "airplane": "404", "bear": "294-297", "bicycle": "444 671",
    "bird": "8 10-16 18-20 22-24 80-83 87-96 98-100 127-133 135-145", "boat": "472 554 625 814 914",
    "bottle": "440 720 737 898 899 901 907", "car": "436 511 817", "cat": "281-286", "chair": "423 559 765 857",
    "clock": "409 530 892",
    "dog": "152-191 193-203 205-226 228-241 243-250 252-257 259 261-263 265-268",
    "elephant": "385 386", "keyboard": "508 878", "knife": "499", "oven": "766",
    "truck": "555 569 656 675 717 734 864 867",
}  # fmt: skip


class Stimulus(NamedTuple):
    """One picture of a stimulus set; shape and texture are the same word where its cues do not conflict."""

    path: Path
    shape: str
    texture: str


def cue_categories(source: str | Path = "embedded") -> dict[str, tuple[int, ...]]:
    """The categories of a forced choice, each a set of ImageNet class numbers.

    Args:
        source: "embedded" (those of data/cue_conflict), "authors" (the 16 of the paper, 207 classes), or a table with
            the columns category and index.

    Returns:
        Category -> class numbers, categories in alphabetical order.

    Raises:
        FileNotFoundError: there is no such table.

    Example:
        >>> vh.cue_categories()["zebra"]
        (340,)

    Source: Geirhos et al. 2019, section 2 and their human_categories.py.
    Taught in: 12_texture_vs_shape.
    """
    if source == "authors":
        return {name: tuple(_numbers(ranges)) for name, ranges in AUTHORS.items()}
    path = DATA / "cue_conflict" / "categories.csv" if source == "embedded" else Path(source)
    if not path.is_file():
        raise FileNotFoundError(f'There is no table {str(path)!r}; say "embedded", "authors" or a CSV file.')
    found: dict[str, list[int]] = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["category"], []).append(int(row["index"]))
    return {name: tuple(found[name]) for name in sorted(found)}


def _numbers(ranges: str) -> Iterable[int]:
    for part in ranges.split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def cue_stimuli(folder: str | Path | None = None, condition: str = "conflict") -> list[Stimulus]:
    """The pictures of a stimulus set, with the shape and the texture that their file names tell.

    Args:
        folder: one with a folder per category, laid out as the authors' (`cat/cat7-elephant1.png`: the shape of a
            cat, the texture of an elephant); by default the embedded set.
        condition: of the embedded set: "conflict", "original", "greyscale", "silhouette", "edges" or "texture".

    Returns:
        A list of `Stimulus`, by file name. A file with one name (`cat7.png`) has no conflict.

    Raises:
        FileNotFoundError: no such folder. ValueError: a file name that does not tell, or no picture at all.

    Example:
        >>> vh.cue_stimuli()[0].shape
        'ape'

    Taught in: 12_texture_vs_shape.
    """
    if folder is None and condition not in (*CONDITIONS, "conflict"):
        raise ValueError(f"The embedded set has the conditions conflict, {', '.join(CONDITIONS)}, not {condition!r}.")
    folder = DATA / "cue_conflict" / condition if folder is None else Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {str(folder)!r}; it should hold one folder per category.")
    files = sorted(p for p in folder.glob("*/*") if p.suffix.lower() in ENDINGS)
    if not files:
        raise ValueError(f"{str(folder)!r} holds no stimuli: they should be like cat/cat7-elephant1.png in it.")
    return [Stimulus(path, *parse_stimulus(path.stem)) for path in files]


def parse_stimulus(stem: str) -> tuple[str, str]:
    """(shape, texture) from a file name without its ending: 'dog10-bird2' is the shape of a dog, bird's texture."""
    found = re.fullmatch(r"([a-z_]+)\d+(?:-([a-z_]+)\d+)?", stem)
    if not found:
        raise ValueError(f"The file name {stem!r} does not tell shape and texture; it should be like cat7-elephant1.")
    return found[1], found[2] or found[1]


def categories_of(folder: str | Path | None) -> dict[str, tuple[int, ...]]:
    """Those of a categories.csv in the folder or beside it, or else the authors'."""
    if folder is None:
        return cue_categories()
    for place in (Path(folder), Path(folder).parent):
        if (place / "categories.csv").is_file():
            return cue_categories(place / "categories.csv")
    return cue_categories("authors")
