"""Class activation maps of every layer (lesson 08)."""
from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

import ipywidgets as W
import numpy as np
import torch
from torch import Tensor, nn

from ..activations import channel_response
from ..cam import cam, map_layers, plus_plus_weights, why_empty
from ..hooks import capture, resolve_layer
from ..images import to_display, to_input
from ..models import categories, class_index, predict
from ..objective import Neuron, differentiable, score
from ..render import overlay, to_picture
from .base import Explorer, named


class CamResult(NamedTuple):
    picture: str
    target: int | Neuron
    layer: str
    method: str
    map: Tensor  # (h, w), 0 or more; signed for CAM


class TargetChooser:
    """A drop-down of what the net sees in the picture, and a box to search any other class (or channel)."""

    def __init__(self, model: nn.Module, layer: str | None):
        self.model, self.layer = model, layer  # layer: whose channels stand for classes where there are none
        word = "class" if layer is None else "channel"
        self.choice = W.Dropdown(description=word)
        self.search = W.Text(description="search", placeholder=f"another {word}, then Enter", continuous_update=False)

    def offer(self, x: Tensor) -> None:
        """The five most probable classes, or the five channels of the strongest mean response."""
        if self.layer is None:
            self.choice.options = [(f"{p.label} {p.probability:.1%}", p.index) for p in predict(self.model, x)]
        else:
            found = channel_response(self.model, x, self.layer)[0].topk(5)
            self.choice.options = [(f"{self.layer} channel {k}, mean {v:.2f}", k) for v, k in
                                   zip(found.values.tolist(), found.indices.tolist(), strict=True)]  # fmt: skip
        self.choice.index = None  # ipywidgets 7 has chosen the first by now, 8 has not
        self.choice.index = 0

    def find(self) -> None:
        """Take what stands in the search box: a label, a part of one, or a number."""
        wanted = self.search.value.strip()
        if not wanted:
            return
        number = int(wanted) if wanted.isdigit() else wanted
        if self.layer is None:
            number = class_index(self.model, number)
            name = categories(self.model)[number]
        else:
            name = f"{self.layer} channel {number}"
        if number not in [value for _, value in self.choice.options]:
            self.choice.options = [*self.choice.options, (name, number)]
        self.choice.value = number

    @property
    def target(self) -> int | Neuron:
        return self.choice.value if self.layer is None else Neuron(self.layer, self.choice.value)

    @property
    def name(self) -> str:
        return dict((value, label) for label, value in self.choice.options)[self.choice.value]


def explore_cam(model: nn.Module, images, *, layers: Sequence[str] | None = None, side: int = 320) -> Explorer:
    """Slide over every layer of a net: its Grad-CAM or Grad-CAM++ for any class, and CAM where the net has one.

    Args:
        model: any net. One without class scores is asked for the mean of a channel of its last layer instead.
        images: names, pictures, a list of them, or a mapping name -> picture; anything `load_image` takes.
        layers: dotted names of layers that put out maps; by default all on the way through the net, blocks as a whole.
        side: of the picture shown, in pixels.

    Returns:
        The widget; `.result` is `(picture, target, layer, method, map)`.

    Raises:
        ValueError: no picture, or an unknown layer.

    Example:
        >>> vh.explore_cam(net, ["koala", "coffee"])

    Taught in: 08_class_activation_maps.
    """
    pictures = named(images)
    inputs = {name: to_input(image, model) for name, image in pictures.items()}
    first = next(iter(inputs.values()))
    names = [resolve_layer(model, n)[0] for n in layers] if layers else map_layers(model, first)
    info = getattr(model, "viz", None)
    classes = info is None or info.has_classifier
    asked = TargetChooser(model, None if classes else map_layers(model, first)[-1])
    chooser = W.Dropdown(options=list(pictures), description="picture")
    layer = W.SelectionSlider(options=names, value=names[-1], description="layer")
    method = W.Dropdown(options=["Grad-CAM", "Grad-CAM++", "CAM"], description="method")
    explorer = Explorer([chooser, asked.choice, asked.search, method, layer], 2)
    known: dict = {}

    def run():
        """One pass forward and one back give both maps of every layer."""
        x = inputs[chooser.value]
        with differentiable(model, x) as leaf, capture(model, *names) as acts:
            total = score(model, leaf, asked.target).sum()
            maps = [acts[name] for name in names]
            grads = torch.autograd.grad(total, maps, allow_unused=True)
        known.update(shown=to_picture(to_display(x, model)).resize((side, side)), value=float(total.detach()))
        known["heat"] = heat = {}
        for name, a, g in zip(names, maps, grads, strict=True):
            if g is None:
                heat[name, "Grad-CAM"] = heat[name, "Grad-CAM++"] = (torch.zeros(a.shape[2:]), "it lies behind")
                continue
            a = a.detach()
            for key, weights in (("Grad-CAM", g.mean((2, 3))), ("Grad-CAM++", plus_plus_weights(a, g))):
                found = torch.einsum("nkhw,nk->hw", a, weights).relu().cpu()
                heat[name, key] = (found, "" if found.any() else why_empty(a, g))
        try:
            known["cam"] = (cam(model, x, asked.target)[0].cpu(), "")
        except ValueError as refusal:
            known["cam"] = (None, str(refusal))

    def draw():
        name, how = layer.value, method.value
        heat, reason = known["cam"] if how == "CAM" else known["heat"][name, how]
        place = "the end of the net" if how == "CAM" else name
        if heat is None:
            heat = torch.zeros(1, 1)
        explorer.result = CamResult(chooser.value, asked.target, name, how, heat)
        explorer.put(0, np.asarray(known["shown"]))
        explorer.put(1, np.asarray(overlay(known["shown"], heat)))
        said = f"strongest {float(heat.max()):.3g}" + (f" | empty: {reason}" if reason else "")
        explorer.text.value = html.escape(
            f"{how} of {place}, {heat.shape[0]}x{heat.shape[1]}, for {asked.name} (score {known['value']:.2f}): {said}"
        )

    def target_changed():
        if asked.choice.value is not None:
            run()
            draw()

    def picture_changed():
        asked.offer(inputs[chooser.value])  # choosing the first of them runs and draws

    explorer.on_change(chooser, picture_changed)
    explorer.on_change(asked.choice, target_changed)
    explorer.on_change(asked.search, asked.find)
    explorer.on_change(method, draw)
    explorer.on_change(layer, draw)
    picture_changed()
    return explorer
