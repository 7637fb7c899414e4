"""Slide over first-layer filters (lesson 01)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import ipywidgets as W
import torch
from torch import Tensor, nn

from ..device import device_of
from ..filters import colourfulness, first_layer, orientation, spectrum
from ..images import to_input
from ..render import mosaic
from .base import Explorer, enlarged


class FilterResult(NamedTuple):
    net: str
    filter: int
    weights: Tensor  # (3, kh, kw)
    spectrum: Tensor  # (S, S)
    response: Tensor  # (h, w), signed


def explore_filters(models: nn.Module | Mapping[str, nn.Module], image, *, spectrum_size: int = 64) -> Explorer:
    """Slide over first-layer filters: each as a picture, as a Fourier spectrum, and its response on a photograph.

    Args:
        models: one net, or a mapping name -> net.
        image: the photograph; anything `load_image` takes.
        spectrum_size: side of the spectrum in samples.

    Returns:
        The widget; `.result` is `(net, filter, weights, spectrum, response)`.

    Raises:
        ValueError: a net whose first convolution does not see RGB.

    Example:
        >>> vh.explore_filters({"alexnet": alexnet, "vgg16": vgg16}, "giraffe")

    Taught in: 01_first_layer_filters.
    """
    single = getattr(getattr(models, "viz", None), "name", "net")
    nets = dict(models) if isinstance(models, Mapping) else {single: models}
    known = {}
    for name, model in nets.items():
        _, layer = first_layer(model)
        x = to_input(image, model).to(device_of(model))
        with torch.no_grad():
            response = layer(x)[0].float().cpu()
        weights = layer.weight.detach().float().cpu()
        spectra = spectrum(weights, spectrum_size)
        known[name] = (weights, spectra, response, orientation(weights), colourfulness(weights))
    chooser = W.Dropdown(options=list(known), description="net")
    slider = W.IntSlider(0, 0, len(next(iter(known.values()))[0]) - 1, description="filter")
    explorer = Explorer([chooser, slider] if len(known) > 1 else [slider], 3)

    def draw():
        weights, spectra, response, (angle, clarity), colour = known[chooser.value]
        i = slider.value
        explorer.result = FilterResult(chooser.value, i, weights[i], spectra[i], response[i])
        explorer.put(0, enlarged(mosaic(weights[i : i + 1], columns=1)[:-1, :-1], 224))
        explorer.put(1, enlarged(mosaic(spectra[i : i + 1], columns=1)[:-1, :-1], 224), "magma")
        top = float(response[i].abs().max()) or 1.0
        explorer.put(2, enlarged(mosaic(response[i : i + 1] + top, columns=1, limit=2 * top)[:-1, :-1], 224), "RdBu_r")
        explorer.text.value = (
            f"{chooser.value}, filter {i}: weights | spectrum, zero frequency in the middle | response on the "
            f"photograph (red +, blue -)<br>direction {float(angle[i]):.0f}° (clarity {float(clarity[i]):.2f}), "
            f"colour share {float(colour[i]):.2f}, strongest response {top:.2f}"
        )

    def net_changed():
        slider.max = len(known[chooser.value][0]) - 1  # a larger value is clipped, and that draws
        draw()

    explorer.on_change(chooser, net_changed)
    explorer.on_change(slider, draw)
    draw()
    return explorer
