"""Slide over channels, see the patches that excite each most (lesson 02)."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import ipywidgets as W
import numpy as np
from PIL import Image, ImageOps
from torch import Tensor, nn

from ..activations import ChannelMaxima, Patch, channel_maxima, receptive_field, top_patches
from ..hooks import resolve_layer
from ..images import to_display
from ..render import draw_box, to_picture
from .base import Explorer


class PatchResult(NamedTuple):
    layer: str
    channel: int
    patches: list[Patch]


def explore_patches(
    model: nn.Module, x: Tensor, layers: Sequence[str] | str, *, count: int = 9,
    maxima: Mapping[str, ChannelMaxima] | None = None, start: int = 0, progress: bool = True,
) -> Explorer:
    """Slide over channels: the patches that excite each most, and the pictures that they come from.

    Args:
        model: any net.
        x: normalised input `(N,3,H,W)`, from `to_input`.
        layers: one dotted name or several.
        count: patches per channel.
        maxima: layer -> what `channel_maxima` returned for it, so that it is not computed again.
        start: the channel to begin with.
        progress: show a bar while the pictures go through the net.

    Returns:
        The widget; `.result` is `(layer, channel, patches)`.

    Raises:
        ValueError: unknown layer, or a layer that gives no maps.

    Example:
        >>> vh.explore_patches(net, vh.to_input(vh.library("photos"), net), "features.12")

    Taught in: 02_inside_the_layers.
    """
    names = [layers] if isinstance(layers, str) else list(layers)
    known = dict(maxima or {})
    if missing := [name for name in names if name not in known]:
        known |= channel_maxima(model, x, missing, progress=progress)
    shown = [to_picture(picture) for picture in to_display(x, model)]
    # the channels of one convolution all see the same field; those of a concatenation do not
    convolutions = [name for name in names if isinstance(resolve_layer(model, name)[1], nn.Conv2d)]
    fields = {name: receptive_field(model, name, tuple(x.shape[-2:])) for name in convolutions}
    layer = W.SelectionSlider(options=names, description="layer")
    channel = W.IntSlider(start, 0, known[names[0]].values.shape[1] - 1, description="channel")
    explorer = Explorer([layer, channel] if len(names) > 1 else [channel], 2)

    def grid(pictures: list[Image.Image], side: int, columns: int = 3) -> np.ndarray:
        sheet = Image.new("RGB", (columns * (side + 4), -(-len(pictures) // columns) * (side + 4)), "white")
        for n, picture in enumerate(pictures):  # a field cut by the border keeps its shape
            whole = ImageOps.pad(picture, (side, side), Image.Resampling.BICUBIC, color="white")
            sheet.paste(whole, (n % columns * (side + 4), n // columns * (side + 4)))
        return np.asarray(sheet)

    def draw():
        name, k = layer.value, channel.value
        patches = top_patches(model, x, name, k, count=count, maxima=known[name], field=fields.get(name))
        explorer.result = PatchResult(name, k, patches)
        crops = [shown[p.picture].crop((p.box[1], p.box[0], p.box[3], p.box[2])) for p in patches]
        explorer.put(0, grid(crops, 112))
        explorer.put(1, grid([draw_box(shown[p.picture], p.box, width=3) for p in patches], 112))
        high = ", ".join(f"{p.value:.1f}" for p in patches[:3])
        explorer.text.value = (
            f"{name}, channel {k}: strongest responses {high}, ... | left: what the unit sees | "
            "right: where in the picture that is"
        )

    def layer_changed():
        channel.max = known[layer.value].values.shape[1] - 1
        draw()

    explorer.on_change(layer, layer_changed)
    explorer.on_change(channel, draw)
    draw()
    return explorer
