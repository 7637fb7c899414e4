"""Choose a picture and a class, watch the net being fooled step by step (lesson 06)."""
from __future__ import annotations

import html
from typing import NamedTuple

import ipywidgets as W
import numpy as np
import torch
from torch import Tensor, nn

from ..device import device_of, in_batches
from ..fooling import Fooled, fool
from ..images import IMAGENET, to_input
from ..models import categories, class_index, class_scores
from ..render import probability_bars
from .base import Explorer, named


class FoolingResult(NamedTuple):
    picture: str
    label: str
    step: int
    fooled: Fooled
    probabilities: Tensor  # (T+1, C), of the picture after each step


def explore_fooling(
    model: nn.Module, images, target: int | str = "school bus", *, confidence: float = 0.9, step: float = 40,
    steps: int = 40, amplify: float = 20,
) -> Explorer:
    """Choose a picture and a class, then slide over the steps: the picture, the change, what the net says.

    Args:
        model: a classifier.
        images: names, pictures, a list of them, or a mapping name -> picture; anything `load_image` takes.
        target: the class to begin with; the search box takes a number, a label, or a part that only one label has.
        confidence: as in `fool`.
        step: as in `fool`.
        steps: as in `fool`.
        amplify: the middle picture shows grey + this many times the change.

    Returns:
        The widget; `.result` is `(picture, label, step, fooled, probabilities)`.

    Raises:
        ValueError: no picture, unknown class, or a net without class scores.

    Example:
        >>> vh.explore_fooling(net, ["koala", "coffee"], "goldfish")

    Taught in: 06_fooling_images.
    """
    pictures, labels, known = named(images), categories(model), {}
    chooser = W.Dropdown(options=list(pictures), description="picture")
    search = W.Combobox(
        value=labels[class_index(model, target)], options=list(dict.fromkeys(labels)), description="class",
        placeholder="type a part of its name, then Enter", continuous_update=False,
    )  # fmt: skip
    slider = W.IntSlider(0, 0, 0, description="step")
    explorer = Explorer([chooser, search, slider], 3)
    info = getattr(model, "viz", None)
    mean, std = (torch.tensor(getattr(info, key, IMAGENET[key])).view(1, 3, 1, 1) for key in ("mean", "std"))

    def run(name: str, index: int) -> tuple[Fooled, Tensor]:
        if (name, index) not in known:
            explorer.text.value = "The net is being fooled; this takes a few seconds ..."
            x = to_input(pictures[name], model)
            found = fool(model, x, index, confidence=confidence, step=step, steps=steps, record=True)
            inputs = (found.frames[0].cpu() - mean) / std
            with torch.no_grad():
                said = in_batches(lambda part: class_scores(model, part.to(device_of(model))).softmax(1).cpu(), inputs)
            known[name, index] = (found, said)
        return known[name, index]

    def draw():
        name, index = chooser.value, explorer.chosen
        found, said = run(name, index)
        k, label = slider.value, labels[index]
        explorer.result = FoolingResult(name, label, k, found, said)
        now, change = found.frames[0, k].cpu(), (found.frames[0, k] - found.start[0]).cpu()
        for place, values in enumerate((now, 0.5 + amplify * change)):
            explorer.put(place, (values.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy())
        best = said[k].topk(min(5, said.shape[1])).indices.tolist()
        shown = best if index in best else [*best[:-1], index]
        bars = probability_bars([labels[i] for i in shown], said[k, shown].tolist(), width=380)
        explorer.put(2, np.ascontiguousarray(bars))
        length, largest = change.norm().item() * 255, change.abs().max().item() * 255
        explorer.text.value = (
            f"{html.escape(name)} as {html.escape(label)}: {said[k, index]:.1%} after step {k} of {slider.max} | "
            f"change L2 {length:.0f}, Linf {largest:.1f} of 255 | middle: grey + {amplify:g} x change"
        )

    def chosen():
        if not search.value.strip():
            return  # the box was emptied to type another name
        text = search.value.strip()
        explorer.chosen = class_index(model, int(text) if text.isdigit() else text)
        found, _ = run(chooser.value, explorer.chosen)
        slider.max = found.history.shape[1] - 1
        before, slider.value = slider.value, slider.max
        if before == slider.value:  # else the slider's own move has drawn
            draw()

    explorer.on_change(chooser, chosen)
    explorer.on_change(search, chosen)
    explorer.on_change(slider, draw)
    chosen()
    return explorer
