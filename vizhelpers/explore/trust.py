"""Put one map on trial: random weights from the top down, and the map's best pixels deleted (lesson 13)."""
from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

import ipywidgets as W
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from ..evidence import METHODS
from ..images import to_display, to_input
from ..models import categories, class_index, predict
from ..pictures import load_image
from ..render import palette, to_picture
from ..sanity import Sanity, sanity_check, stages
from ..trust import InsertionDeletion, insertion_deletion, pixel_order, without
from .base import Explorer

SIDE = 224  # of each picture on the page, in pixels
PLOT = 260, SIDE  # of the curve
EMPTY = 1e-30


class TrustResult(NamedTuple):
    method: str
    stage: str  # down to which block the weights are random; "trained" for none
    map: Tensor  # (H,W), signed, of the net at this stage
    rank: float  # rank correlation of |map| with the trained net's
    ssim: float  # structural similarity likewise
    deleted: float  # share of the pixels that are deleted, the trained map's highest first
    probability: float  # of the class, after that


def explore_trust(
    model: nn.Module, image, target: int | str | None = None, *, methods: Sequence[str] | None = None, steps: int = 20
) -> Explorer:
    """Choose a method; one slider makes the weights random from the top down, another deletes the map's best pixels.

    A method is computed for all stages when it is chosen, once; the sliders then only show. Pictures, left to right:
    the trained net's map, the map at this stage, the picture with the deleted pixels in mean grey, and the
    probability over the share deleted (grey: the same for pixels in random order).

    Args:
        model: a classifier.
        image: anything `load_image` takes.
        target: class number or label; by default the picture's most probable class.
        methods: names of `evidence`'s; by default those that take one pass, and the edges.
        steps: of the deletion.

    Returns:
        The widget; `.result` is `(method, stage, map, rank, ssim, deleted, probability)`.

    Raises:
        ValueError: an unknown class or method, or a net without class scores.

    Example:
        >>> vh.explore_trust(net, "koala")

    Taught in: 13_can_we_trust_these_maps.
    """
    quick = ["guided backprop", "saliency", "gradient x input", "deconvnet", "Grad-CAM", "Guided Grad-CAM", "edges"]
    names = list(quick if methods is None else methods)
    if unknown := [name for name in names if name not in METHODS]:
        raise ValueError(f"There is no method {', '.join(map(repr, unknown))}; there are {', '.join(METHODS)}.")
    x = to_input(load_image(image), model)
    c = predict(model, x, top=1)[0].index if target is None else class_index(model, target)
    blocks, label = ["trained", *stages(model)], categories(model)[c]
    method = W.Dropdown(options=names, description="method")
    stage = W.SelectionSlider(options=blocks, description="random to")
    share = W.IntSlider(0, 0, steps, description="deleted")
    explorer = Explorer([method, stage, share], 4)
    known: dict[str, tuple[Sanity, InsertionDeletion, Tensor]] = {}
    noise = METHODS["random"](model, x, c)
    by_chance = insertion_deletion(model, x, c, noise, steps=steps).deletion[0].cpu()

    def tried(name: str) -> tuple[Sanity, InsertionDeletion, Tensor]:
        if name not in known:
            explorer.text.value = "computing ..."
            found = sanity_check(model, x, c, name)
            own = found.maps[0]
            curves = insertion_deletion(model, x, c, own, steps=steps)
            known[name] = found, curves, pixel_order(own, tuple(own.shape[1:]))
        return known[name]

    def draw():
        found, curves, rank = tried(method.value)
        at, k = stage.index, share.value
        maps, curve = found.maps[:, 0].cpu(), curves.deletion[0].cpu()
        alike = (1.0, 1.0) if at == 0 else (float(found.rank[at - 1, 0]), float(found.ssim[at - 1, 0]))
        gone = float(curves.fraction[k])
        explorer.result = TrustResult(method.value, stage.value, maps[at], *alike, gone, float(curve[k]))
        shown = without(x, rank, round(gone * rank[0].numel()), torch.zeros_like(x))
        explorer.put(0, _coloured(maps[0]))
        explorer.put(1, _coloured(maps[at]))
        explorer.put(2, np.asarray(to_picture(to_display(shown, model)).resize((SIDE, SIDE))))
        explorer.put(3, _plot([by_chance, curve], k))
        weights = "trained net" if at == 0 else f"random from the top down to {stage.value}"
        explorer.text.value = (
            f"<b>{html.escape(label)}</b> | {html.escape(method.value)} | {html.escape(weights)}: rank correlation "
            f"{alike[0]:.2f}, SSIM {alike[1]:.2f} | {gone:.0%} deleted: {float(curve[k]):.1%} (random order "
            f"{float(by_chance[k]):.1%})<br>left to right: the trained net's map; the map at this stage; the picture "
            "without the trained map's highest pixels; the probability over the share deleted (grey: random order)"
        )

    for control in (method, stage, share):
        explorer.on_change(control, draw)
    draw()
    return explorer


def _coloured(values: Tensor) -> np.ndarray:
    """|map| up to the value that half a percent of the pixels exceed; bright where it is large."""
    a = values.abs().numpy()
    top = float(np.quantile(a, 0.995)) or float(a.max()) or 1.0
    index = ((a / max(top, EMPTY)).clip(0, 1) * 255).astype(np.uint8)
    return np.asarray(Image.fromarray(palette("inferno")[index]).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _plot(curves: list[Tensor], k: int) -> np.ndarray:
    """Curves of probability over the share deleted, the last one with a dot at step k."""
    width, height = PLOT
    picture = Image.new("RGB", PLOT, "white")
    draw = ImageDraw.Draw(picture)
    left, right, top, bottom = 34, width - 12, 14, height - 34
    draw.line((left, top, left, bottom, right, bottom), fill="black")
    for share in (0, 0.5, 1):
        draw.text((left + share * (right - left), bottom + 4), f"{share:.0%}", "black", anchor="ma")
        draw.text((left - 4, bottom + share * (top - bottom)), f"{share:.0%}", "black", anchor="rm")
    draw.text(((left + right) / 2, height - 4), "of the pixels deleted", "black", anchor="ms")
    for n, curve in enumerate(curves):
        points = [(left + i / (len(curve) - 1) * (right - left), bottom + float(v) * (top - bottom))
                  for i, v in enumerate(curve)]  # fmt: skip
        last = n == len(curves) - 1
        draw.line(points, fill=(31, 119, 180) if last else (170, 170, 170), width=2)
        if last:
            px, py = points[k]
            draw.ellipse((px - 4, py - 4, px + 4, py + 4), fill=(214, 39, 40))
    return np.asarray(picture)
