"""Pick a picture: where it lies on the map, and its neighbours in feature and in pixel space (lesson 03)."""
from __future__ import annotations

import difflib
import html
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import ipywidgets as W
import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from tqdm.auto import tqdm

from ..collection import Embedding
from ..layout import grid, neighbours, tsne
from ..picture_map import dot_map, framed, grid_picture, place, thumbnail_map
from ..render import to_picture
from .base import Explorer

VIEWS = ("thumbnails", "grid", "points")
ALL = "all groups"
CHOSEN, BY_FEATURES, BY_PIXELS = "#d62728", "#1f77b4", "#ff7f0e"


class EmbeddingResult(NamedTuple):
    perplexity: float
    view: str
    picture: int  # number in the collection
    name: str
    by_features: list[int]  # nearest first, by cosine
    by_pixels: list[int]  # nearest first, Euclidean
    points: Tensor  # (N,2), the map that is shown


def explore_embedding(
    embedding: Embedding, *, perplexities: Sequence[float] = (5, 15, 30, 60),
    maps: Mapping[float, Tensor] | None = None, k: int = 6, size: int = 620, progress: bool = True,
) -> Explorer:
    """Choose a picture by slider, group or name: it is framed on the map, as are its neighbours of both kinds.

    Args:
        embedding: from `embed` or `embed_folder`.
        perplexities: of the maps to compute now; those above a third of the pictures are left out.
        maps: perplexity -> points `(N,2)`, so that nothing is computed.
        k: neighbours of each kind.
        size: of the map on the screen, in pixels.
        progress: show a bar while the maps are computed.

    Returns:
        The widget; `.result` is `(perplexity, view, picture, name, by_features, by_pixels, points)`.

    Raises:
        ValueError: too few pictures for any map.

    Example:
        >>> vh.explore_embedding(vh.embed(net, vh.library()))

    Taught in: 03_tsne_of_fc7.
    """
    count = len(embedding)
    if maps is None:
        fitting = [p for p in perplexities if p <= count / 3] or [count / 3]
        unit = F.normalize(embedding.features)
        maps = {p: tsne(unit, perplexity=p) for p in tqdm(fitting, disable=not progress, leave=False, unit="map")}
    k = min(k, count - 1)
    near = neighbours(embedding.features, k=k), neighbours(embedding.pixels, k=k, metric="euclidean")
    near = [found.indices.tolist() for found in near]
    groups = {ALL: list(range(count))}
    for n, group in enumerate(embedding.groups):
        groups.setdefault(group, []).append(n)
    groups = {ALL: groups.pop(ALL), **dict(sorted(groups.items()))}

    start = min(maps, key=lambda p: abs(p - 30))
    options = [(f"{p:g}", p) for p in maps]
    perplexity = W.SelectionSlider(options=options, value=start, description="perplexity")
    view = W.Dropdown(options=VIEWS, description="view")
    group = W.Dropdown(options=[(f"{name} ({len(n)})", name) for name, n in groups.items()], description="group")
    picture = W.IntSlider(0, 0, count - 1, description="picture")
    search = W.Text(placeholder="a name or a part of it, then Enter", description="search", continuous_update=False)
    explorer = Explorer([perplexity, view, group, picture, search], 2)
    busy = [False]

    @cache
    def base(kind: str, p: float) -> tuple[np.ndarray, np.ndarray, int]:
        """The map without frames, the middle of every picture, and half a picture's side; made once."""
        points = maps[p]
        if kind == "grid":
            cells = grid(points)
            side = size // (int(cells[:, 1].max()) + 1) - 1
            centres = cells.numpy()[:, ::-1] * (side + 1) + side // 2
            return grid_picture(cells, embedding.thumbs, side=side), centres, side // 2
        if kind == "points":
            return dot_map(points, embedding.groups, size=size, radius=4), place(points, size), 6
        side = max(20, min(48, round(0.65 * size / count**0.5)))
        side -= side % 2
        sheet = thumbnail_map(points, embedding.thumbs, size=size, side=side)
        return sheet, place(points, size, side // 2 + 2), side // 2

    @cache
    def thumb(n: int, side: int) -> Image.Image:
        return to_picture(embedding.thumbs[n]).resize((side, side), Image.Resampling.BICUBIC)

    def sheet(n: int) -> np.ndarray:
        """The picture, and a row of neighbours of each kind."""
        side, font = 84, ImageFont.load_default(14)
        made = Image.new("RGB", (max(k * (side + 6), 3 * side), 3 * side + 3 * 28 + 60), "white")
        draw, top = ImageDraw.Draw(made), 0
        rows = [(embedding.names[n], [n], CHOSEN, 128), ("nearest by features (cosine)", near[0][n], BY_FEATURES, side),
                ("nearest by pixels (Euclidean)", near[1][n], BY_PIXELS, side)]  # fmt: skip
        for words, members, colour, edge in rows:
            draw.text((0, top + 4), words if len(words) < 60 else "…" + words[-58:], "black", font)
            for place_, m in enumerate(members):
                left, low = place_ * (edge + 6), top + 26
                made.paste(thumb(m, edge - 6), (left + 3, low + 3))
                draw.rectangle((left, low, left + edge - 1, low + edge - 1), outline=colour, width=3)
            top += edge + 34
        return np.asarray(made)

    def draw():
        if busy[0]:
            return
        n = groups[group.value][picture.value]
        shown, centres, half = base(view.value, perplexity.value)
        for m, colour in [(m, BY_PIXELS) for m in near[1][n]] + [(m, BY_FEATURES) for m in near[0][n]] + [(n, CHOSEN)]:
            if view.value == "thumbnails":  # what the crowd covers comes to the top
                x, y = centres[m]
                shown = shown.copy()
                side = 2 * half
                shown[y - half : y - half + side, x - half : x - half + side] = np.asarray(thumb(m, side))
            shown = framed(shown, centres[m], half, colour, 4 if m == n else 2)
        explorer.put(0, shown)
        explorer.put(1, sheet(n))
        explorer.result = EmbeddingResult(
            perplexity.value, view.value, n, embedding.names[n], near[0][n], near[1][n], maps[perplexity.value]
        )
        same = [sum(embedding.groups[m] == embedding.groups[n] for m in found[n]) for found in near]
        explorer.text.value = (
            f"<b>{html.escape(embedding.names[n])}</b> (red), group {html.escape(embedding.groups[n])} | of its {k} "
            f"nearest by features (blue) {same[0]} are in its group, by pixels (orange) {same[1]}<br>"
            f"{html.escape(embedding.label)}, t-SNE with perplexity {perplexity.value:g}"
        )

    def go_to(name: str, number: int):
        busy[0] = True
        try:
            group.value = name
            picture.max = len(groups[name]) - 1
            picture.value = number
        finally:
            busy[0] = False
        draw()

    def group_changed():
        if not busy[0]:
            go_to(group.value, 0)

    def find():
        wanted = search.value.strip().lower().replace(" ", "_")
        if not wanted:
            return
        lower = [name.lower().replace(" ", "_") for name in embedding.names]
        found = [n for n, name in enumerate(lower) if wanted == name.rsplit("/", 1)[-1]]
        found = found or [n for n, name in enumerate(lower) if wanted in name]
        if not found:
            last = [name.rsplit("/", 1)[-1] for name in lower]
            close = difflib.get_close_matches(wanted, last, 4, 0.5) or last[:4]
            raise ValueError(f"No picture's name contains {search.value!r}; nearest: {', '.join(close)}.")
        go_to(ALL, found[0])

    for control in (perplexity, view, picture):
        explorer.on_change(control, draw)
    explorer.on_change(group, group_changed)
    explorer.on_change(search, find)
    draw()
    return explorer
