"""The three ReLU rules side by side, for a class or any channel (lesson 07)."""
from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import ipywidgets as W
import numpy as np
from torch import Tensor, nn

from ..activations import activations
from ..gradients import deconvnet_gradient, gradient, guided_backprop
from ..images import to_display, to_input
from ..models import predict
from ..objective import Neuron
from ..render import gradient_picture, to_picture
from .base import Explorer, named

RULES = {"gradient": gradient, "deconvnet": deconvnet_gradient, "guided": guided_backprop}
CHANNEL = "a channel (sliders)"
KEPT = 60  # targets whose gradients are kept: 3 x 0.6 MB each


class RulesResult(NamedTuple):
    picture: str
    target: str | Neuron
    part: str
    gradients: dict[str, Tensor]  # rule -> (3, H, W), signed


def explore_relu_rules(
    model: nn.Module, images, *, classes: Sequence[str] | None = None, layers: Sequence[str] | None = None,
    side: int = 224,
) -> Explorer:
    """The picture and what the three ReLU rules make of it, for a class or for a channel of any layer.

    Args:
        model: a net whose activations are ReLUs.
        images: names, pictures, a list of them, or a mapping name -> picture; anything `load_image` takes.
        classes: labels to choose from; by default the two most probable of every picture. A net without class scores
            has only its channels.
        layers: dotted names for the sliders; by default every convolution.
        side: of each picture on the screen, in pixels.

    Returns:
        The widget; `.result` is `(picture, target, part, gradients)`.

    Raises:
        ValueError: no picture, an unknown class or layer, or a net with other activations.

    Example:
        >>> vh.explore_relu_rules(net, ["koala", "coffee"])

    Source: Springenberg et al. 2015, figure 1.
    Taught in: 07_guided_backprop.
    """
    pictures = named(images)
    inputs = {name: to_input(picture, model) for name, picture in pictures.items()}
    info = getattr(model, "viz", None)
    if classes is None:
        classes = [] if info is None or not info.has_classifier else [
            p.label for x in inputs.values() for p in predict(model, x, top=2)]  # fmt: skip
    names = list(layers or [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)])
    chooser = W.Dropdown(options=list(pictures), description="picture")
    target = W.Dropdown(options=[*dict.fromkeys(classes), CHANNEL], description="explain")
    layer = W.SelectionSlider(options=names, value=names[len(names) // 2], description="layer", continuous_update=False)
    channel = W.IntSlider(0, 0, 0, description="channel", continuous_update=False)
    part = W.Dropdown(options=["all", "positive", "negative"], description="part")
    colour = W.Dropdown(options=["RGB", "grey"], description="colour")
    explorer = Explorer([chooser, target, layer, channel, part, colour], 4)
    sizes: dict[str, int] = {}
    known: dict = {}

    def channels(name: str) -> int:
        if name not in sizes:
            sizes[name] = activations(model, inputs[chooser.value][:1], name).shape[1]
        return sizes[name]

    def found(wanted: str | Neuron) -> dict[str, Tensor]:
        key = chooser.value, wanted
        if key not in known:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a silent target: the text says so
                known[key] = {rule: method(model, inputs[chooser.value], wanted)[0].cpu()
                              for rule, method in RULES.items()}  # fmt: skip
            if len(known) > KEPT:
                known.pop(next(iter(known)))
        return known[key]

    def draw():
        by_channel = target.value == CHANNEL
        layer.disabled = channel.disabled = not by_channel
        wanted = Neuron(layer.value, channel.value) if by_channel else target.value
        gradients = found(wanted)
        explorer.result = RulesResult(chooser.value, wanted, part.value, gradients)
        explorer.put(0, _sized(to_display(inputs[chooser.value], model)[0], side))
        for place, g in enumerate(gradients.values(), 1):
            explorer.put(place, _sized(gradient_picture(g, part=part.value, grey=colour.value == "grey"), side))
        what = f"{layer.value}, mean of channel {channel.value}" if by_channel else target.value
        sizes_of = ", ".join(f"{rule} {float(g.abs().max()):.2g}" for rule, g in gradients.items())
        explorer.text.value = (
            f"{what} | from left: the picture, {', '.join(gradients)} ({part.value} values, each on its own scale"
            f"{', grey is 0' if part.value == 'all' else ', black is 0'}) | strongest value: {sizes_of}"
        )

    def layer_changed():
        last = channels(layer.value) - 1
        if channel.value > last:
            channel.max = last  # the value is clipped, and that draws
        else:
            channel.max = last
            draw()

    for control in (chooser, target, channel, part, colour):
        explorer.on_change(control, draw)
    explorer.on_change(layer, layer_changed)
    channel.max = channels(layer.value) - 1
    draw()
    return explorer


def _sized(picture: Tensor, side: int) -> np.ndarray:
    """As tall as asked for, proportions kept, uint8."""
    image = to_picture(picture[0] if len(picture) == 1 else picture)
    return np.asarray(image.resize((round(side * image.width / image.height), side)))
