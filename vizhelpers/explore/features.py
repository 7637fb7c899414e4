"""Slide over layers and channels (lesson 02)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import ipywidgets as W
import numpy as np
import torch
from torch import Tensor, nn

from ..hooks import capture, evaluating
from ..images import to_display, to_input
from ..render import mosaic, overlay, palette, to_picture
from .base import Explorer, named


class FeatureResult(NamedTuple):
    picture: str
    layer: str
    channel: int
    map: Tensor  # (h, w), signed


def explore_features(model: nn.Module, images, *, layers: Sequence[str] | None = None, page: int = 64) -> Explorer:
    """Slide over layers and channels: the channel's map over the picture, and its neighbours as a mosaic.

    Args:
        model: any net.
        images: names, pictures, a list of them, or a mapping name -> picture; anything `load_image` takes.
        layers: dotted names whose output is a stack of maps; by default every convolution.
        page: maps in one mosaic.

    Returns:
        The widget; `.result` is `(picture, layer, channel, map)`.

    Raises:
        ValueError: no picture, unknown layer, or a layer that gives no maps.

    Example:
        >>> vh.explore_features(net, ["koala", "coffee"])

    Taught in: 02_inside_the_layers.
    """
    pictures = named(images)
    names = list(layers or [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)])
    reds = palette("viridis").copy()
    reds[255] = (255, 60, 60)  # the last colour is kept for the frame around the chosen channel
    chooser = W.Dropdown(options=list(pictures), description="picture")
    layer = W.SelectionSlider(options=names, description="layer")
    channel = W.IntSlider(0, 0, 0, description="channel")
    explorer = Explorer([chooser, layer, channel], 2)
    known: dict = {}

    def run():
        x = to_input(pictures[chooser.value], model)
        with evaluating(model), torch.no_grad(), capture(model, *names) as acts:
            model(x)
            maps = {name: acts[name][0].float().cpu() for name in names}
        bad = [name for name, a in maps.items() if a.dim() != 3]
        if bad:
            raise ValueError(f"Layer {bad[0]!r} gives no maps (K,h,w) to look at: choose convolutions.")
        known.update(maps=maps, shown=to_picture(to_display(x, model)).resize((320, 320)), pages={})

    def page_of(name: str, number: int) -> np.ndarray:
        if (name, number) not in known["pages"]:
            part = known["maps"][name][number * page : (number + 1) * page].relu()  # what the next layer mostly gets
            shrink = -(-max(part.shape[1:]) // 64)
            if shrink > 1:
                part = torch.nn.functional.avg_pool2d(part[None], shrink, ceil_mode=True)[0]
            scale = max(1, 56 // max(part.shape[1:]))
            pitch = [n * scale + 1 for n in part.shape[1:]]
            known["pages"][name, number] = (mosaic(part, scale=scale).clip(max=254), pitch)
        return known["pages"][name, number]

    def draw():
        name, k = layer.value, channel.value
        a = known["maps"][name][k]
        explorer.result = FeatureResult(chooser.value, name, k, a)
        sheet, (height, width) = page_of(name, k // page)
        row, column = divmod(k % page, 8)
        sheet = sheet.copy()
        tile = sheet[row * height : (row + 1) * height - 1, column * width : (column + 1) * width - 1]
        tile[:2], tile[-2:], tile[:, :2], tile[:, -2:] = 255, 255, 255, 255
        explorer.put(0, np.asarray(overlay(known["shown"], a)))
        explorer.put(1, sheet, reds)
        first = k // page * page
        explorer.text.value = (
            f"{name}, channel {k}: map {a.shape[0]}x{a.shape[1]}, strongest {float(a.max()):.2f}, "
            f"mean {float(a.mean()):.2f} | right: channels {first} to {min(first + page, channel.max + 1) - 1}, "
            "each on its own scale from 0 up"
        )

    def layer_changed():
        channel.max = len(known["maps"][layer.value]) - 1  # a larger value is clipped, and that draws
        draw()

    def picture_changed():
        run()
        layer_changed()

    explorer.on_change(chooser, picture_changed)
    explorer.on_change(layer, layer_changed)
    explorer.on_change(channel, draw)
    picture_changed()
    return explorer
