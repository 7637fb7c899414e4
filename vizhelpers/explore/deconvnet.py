"""Slide over layers and channels: what the strongest units see, beside what the deconvnet makes of it (lesson 04)."""
from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import ipywidgets as W
import numpy as np
from PIL import Image, ImageOps
from torch import Tensor, nn

from ..activations import ChannelMaxima, Patch, channel_maxima, receptive_field, top_patches
from ..deconvnet import deconvnet
from ..device import device_of
from ..images import to_display
from ..render import to_picture
from .base import Explorer


class DeconvnetResult(NamedTuple):
    layer: str
    channel: int
    patches: list[Patch]
    reconstructions: Tensor  # (count, 3, H, W), signed


def explore_deconvnet(
    model: nn.Module, x: Tensor, layers: Sequence[str] | str, *, count: int = 9,
    maxima: Mapping[str, ChannelMaxima] | None = None, start: int = 0, progress: bool = True,
) -> Explorer:
    """Slide over layers and channels: the patches that excite a channel most, beside their reconstructions.

    Args:
        model: a chain such as AlexNet or VGG16; see `deconvnet`.
        x: normalised input `(N,3,H,W)`, from `to_input`.
        layers: one dotted name or several.
        count: patches per channel.
        maxima: layer -> what `channel_maxima` returned for it, so that it is not computed again.
        start: the channel to begin with.
        progress: show a bar while the pictures go through the net.

    Returns:
        The widget; `.result` is `(layer, channel, patches, reconstructions)`.

    Raises:
        ValueError: unknown layer, or a net that is no chain.

    Example:
        >>> vh.explore_deconvnet(alexnet, vh.to_input(vh.library("photos"), alexnet), ["features.3", "features.10"])

    Source: Zeiler & Fergus 2014, figure 2.
    Taught in: 04_deconvnet.
    """
    names = [layers] if isinstance(layers, str) else list(layers)
    known = dict(maxima or {})
    if missing := [name for name in names if name not in known]:
        known |= channel_maxima(model, x, missing, progress=progress)
    fields = {name: receptive_field(model, name, tuple(x.shape[-2:])) for name in names}
    shown = [to_picture(picture) for picture in to_display(x, model)]
    layer = W.SelectionSlider(options=names, description="layer", continuous_update=False)
    channel = W.IntSlider(start, 0, known[names[0]].values.shape[1] - 1, description="channel",
                          continuous_update=False)  # fmt: skip
    explorer = Explorer([layer, channel] if len(names) > 1 else [channel], 2)

    def draw():
        name, k = layer.value, channel.value
        patches = top_patches(model, x, name, k, count=count, maxima=known[name], field=fields[name])
        best = x[[p.picture for p in patches]].to(device_of(model))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a silent channel: the text below says so
            found = deconvnet(model, best, name, k).cpu()
        explorer.result = DeconvnetResult(name, k, patches, found)
        explorer.put(0, _grid([_cut(shown[p.picture], p) for p in patches], "white"))
        explorer.put(1, _grid([_cut(signed(g), p) for g, p in zip(found, patches, strict=True)], (128, 128, 128)))
        high = ", ".join(f"{p.value:.1f}" for p in patches[:3])
        silent = sum(p.value <= 0 for p in patches)
        explorer.text.value = (
            f"{name}, channel {k}: strongest responses {high}, ... | left: the {fields[name].size[0]} pixels that each "
            "unit sees | right: their reconstructions, each on its own scale, grey is 0"
            + (f"<br>{silent} of these pictures leave the channel silent: nothing to reconstruct" if silent else "")
        )

    def layer_changed():
        channel.max = known[layer.value].values.shape[1] - 1  # a larger value is clipped, and that draws
        draw()

    explorer.on_change(layer, layer_changed)
    explorer.on_change(channel, draw)
    draw()
    return explorer


def signed(g: Tensor) -> Image.Image:
    """A reconstruction `(3,H,W)` as a picture: 0 is grey, the strongest half per cent of what is there is cut off."""
    size = g.abs()
    there = size[size > 0]
    limit = float(there.quantile(0.995)) if len(there) else 1.0
    return to_picture(0.5 + 0.5 * g / limit)


def _cut(picture: Image.Image, patch: Patch) -> Image.Image:
    top, left, bottom, right = patch.box
    return picture.crop((left, top, right, bottom))


def _grid(pictures: list[Image.Image], colour, side: int = 128, columns: int = 3) -> np.ndarray:
    sheet = Image.new("RGB", (columns * (side + 4), -(-len(pictures) // columns) * (side + 4)), "white")
    for n, picture in enumerate(pictures):  # a field cut by the border keeps its shape
        whole = ImageOps.pad(picture, (side, side), Image.Resampling.BICUBIC, color=colour)
        sheet.paste(whole, (n % columns * (side + 4), n // columns * (side + 4)))
    return np.asarray(sheet)
