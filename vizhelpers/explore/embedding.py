"""Choose a picture: where it lies on the map, and its neighbours in feature and in pixel space (lesson 03)."""
import difflib
from functools import cache

import ipywidgets as W
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ..figures import dot_map, grid_picture, place, thumbnail_map
from ..methods.embedding import Embedding, grid, neighbours, tsne
from ..render import to_picture
from .base import Explorer, slide

ALL = "all groups"
CHOSEN, BY_FEATURES, BY_PIXELS = "#d62728", "#1f77b4", "#ff7f0e"


def explore_embedding(e: Embedding, *, maps: dict | None = None, k: int = 6, size: int = 620) -> Explorer:
    """Choose a picture by slider, group or name: it is framed on the map, as are its k neighbours of both kinds.
    `maps` is perplexity -> points `(N,2)`, by default for 5, 15, 30 and 60, up to a third of the number of pictures.
    `.result` is `(perplexity, view, group, picture, name, by_features, by_pixels, points)`. Lesson 03."""
    k = min(k, len(e) - 1)
    if maps is None:
        fitting = [p for p in (5, 15, 30, 60) if p <= len(e) / 3] or [len(e) / 3]
        maps = {p: tsne(F.normalize(e.features), perplexity=p) for p in fitting}
    by_features = neighbours(e.features, k=k).indices.tolist()
    by_pixels = neighbours(e.pixels, k=k, metric="euclidean").indices.tolist()
    groups = {ALL: range(len(e))}
    groups |= {name: [n for n, own in enumerate(e.groups) if own == name] for name in sorted(set(e.groups))}
    thumb = cache(lambda n, side: to_picture(e.thumbs[n], side))

    @cache
    def plain(view, p):  # the map without frames, the middle of every picture, half a picture's side
        if view == "points":
            return dot_map(maps[p], e.groups, size=size, radius=4), place(maps[p], size), 6
        if view == "grid":
            cells = grid(maps[p]).numpy()
            side = size // (cells[:, 1].max() + 1) - 1
            return grid_picture(cells, e.thumbs, side=side), cells[:, ::-1] * (side + 1) + side // 2, side // 2
        side = max(20, min(48, round(0.65 * size / len(e) ** 0.5))) // 2 * 2
        page = thumbnail_map(maps[p], e.thumbs, size=size, side=side)
        return page, place(maps[p], size, side // 2 + 2), side // 2

    def framed(view, p, n):
        page, centres, half = plain(view, p)
        page = Image.fromarray(page)
        near = [(m, BY_PIXELS) for m in by_pixels[n]] + [(m, BY_FEATURES) for m in by_features[n]]
        for m, colour in [*near, (n, CHOSEN)]:
            (x, y), width = centres[m].tolist(), 4 if m == n else 2
            if view == "thumbnails":  # what the crowd covers comes to the top
                page.paste(thumb(m, 2 * half), (x - half, y - half))
            r = half + width
            ImageDraw.Draw(page).rectangle((x - r, y - r, x + r, y + r), outline=colour, width=width)
        return page

    def nearest(n):  # the picture, and a row of neighbours of each kind
        page, top = Image.new("RGB", (max(k * 90, 252), 396), "white"), 0
        lines = [(e.names[n], [n], CHOSEN, 128), ("nearest by features (cosine)", by_features[n], BY_FEATURES, 84),
                 ("nearest by pixels (Euclidean)", by_pixels[n], BY_PIXELS, 84)]  # fmt: skip
        for words, members, colour, side in lines:
            words = words if len(words) < 60 else "…" + words[-58:]
            ImageDraw.Draw(page).text((0, top + 4), words, "black", ImageFont.load_default(14))
            for at, m in enumerate(members):
                page.paste(ImageOps.expand(thumb(m, side - 6), 3, colour), (at * (side + 6), top + 26))
            top += side + 34
        return page

    def look(perplexity, view, group, picture):
        n = groups[group][picture]
        same = [sum(e.groups[m] == e.groups[n] for m in found[n]) for found in (by_features, by_pixels)]
        text = (f"{e.names[n]} (red), group {e.groups[n]} | of its {k} nearest by features (blue) {same[0]} are in its "
                f"group, by pixels (orange) {same[1]}\n{e.label}, t-SNE with perplexity {perplexity:g}")  # fmt: skip
        numbers = dict(picture=n, name=e.names[n], by_features=by_features[n], by_pixels=by_pixels[n],
                       points=maps[perplexity])  # fmt: skip
        return text, {"the map": framed(view, perplexity, n), "the picture and its neighbours": nearest(n)}, numbers

    def find(words):
        wanted, *names = (text.lower().replace(" ", "_") for text in (words, *e.names))
        last = [name.rsplit("/", 1)[-1] for name in names]
        found = sorted((n for n, name in enumerate(names) if wanted in name), key=lambda n: last[n] != wanted)
        if not found:
            close = difflib.get_close_matches(wanted, last, 4, 0.5) or last[:4]
            raise ValueError(f"No picture's name contains {words!r}; nearest: {', '.join(close)}.")
        explorer.set(group=ALL, picture=found[0])

    box = W.Text(description="search", placeholder="a name or a part of it, then Enter", continuous_update=False)
    box.observe(lambda change: change.new and explorer.said(find, change.new.strip()), "value")
    group = W.Dropdown(options=[(f"{name} ({len(members)})", name) for name, members in groups.items()])
    group.beside = [box]
    explorer = Explorer(look, perplexity=slide([(f"{p:g}", p) for p in maps], min(maps, key=lambda p: abs(p - 30))),
                        view=["thumbnails", "grid", "points"], group=group,
                        picture=slide(lambda group: (range(len(groups[group])), 0)))  # fmt: skip
    return explorer
