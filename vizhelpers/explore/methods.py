"""The method lab: every method of lessons 04 to 09 on one picture and one class (lesson 08)."""
from __future__ import annotations

import html
import textwrap
import warnings
from collections.abc import Callable
from typing import NamedTuple

import ipywidgets as W
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from ..averaged import integrated_gradients, smoothgrad
from ..cam import cam, cam_layer, grad_cam, grad_cam_plus_plus, guided_grad_cam, upsampled
from ..gradients import deconvnet_gradient, gradient, gradient_x_input, guided_backprop
from ..images import to_display, to_input
from ..objective import Neuron
from ..occlusion import occlusion
from ..render import palette, to_picture
from .base import Explorer, named
from .cam import TargetChooser

METHODS: dict[str, Callable[[nn.Module, Tensor, int | Neuron], Tensor]] = {
    "deconvnet (04)": deconvnet_gradient,
    "gradient (05)": gradient,
    "SmoothGrad (05)": lambda model, x, target: smoothgrad(model, x, target, samples=16),
    "gradient x input (05)": gradient_x_input,
    "Integrated Gradients (05)": lambda model, x, target: integrated_gradients(model, x, target, steps=16),
    "guided backprop (07)": guided_backprop,
    "CAM (08)": cam,
    "Grad-CAM (08)": grad_cam,
    "Grad-CAM++ (08)": grad_cam_plus_plus,
    "Guided Grad-CAM (08)": guided_grad_cam,
    "occlusion (09)": lambda model, x, target: occlusion(model, x, target, patch=48, stride=24).drop,
}


class MethodsResult(NamedTuple):
    picture: str
    target: int | Neuron
    raw: dict[str, Tensor]  # what each method returned for the picture: (3,H,W), (H,W) or (h,w), signed
    maps: dict[str, Tensor]  # (H,W): colours added up, small maps stretched to the picture
    reasons: dict[str, str]  # why a method refused or its map is empty


def all_methods(model: nn.Module, x: Tensor, target: int | Neuron) -> tuple[dict, dict, dict]:
    """Every method's raw result, its map `(H,W)`, and for those that gave nothing the reason."""
    raw, maps, reasons = {}, {}, {}
    for name, method in METHODS.items():
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", UserWarning)
            try:
                found = method(model, x, target).cpu()
            except ValueError as refusal:
                reasons[name] = str(refusal)
                continue
        if not found.any():
            reasons[name] = str(said[0].message) if said else "every value is 0"
        raw[name] = found[0]
        maps[name] = (found.sum(1) if found.dim() == 4 else upsampled(found, x.shape[-2:]))[0]
    return raw, maps, reasons


def explore_methods(model: nn.Module, image, *, side: int = 200) -> Explorer:
    """All methods of lessons 04 to 09 side by side: one picture, one class, one colour scale, raw numbers kept.

    Red speaks for the class, blue against it. With the scale "each its own" a map's strongest colour is the value that
    only half a percent of its pixels exceed. With "one for all" every map is first divided by the sum of its
    magnitudes, so that all are shares of 1 and a colour means the same share everywhere: a spread map turns pale.

    Args:
        model: any net. One without class scores is asked for the mean of a channel of its last layer instead.
        image: anything `load_image` takes, a list, or a mapping name -> picture.
        side: of each map shown, in pixels.

    Returns:
        The widget; `.result` is `(picture, target, raw, maps, reasons)`, each of the last three by method.

    Raises:
        ValueError: no picture.

    Example:
        >>> lab = vh.explore_methods(net, "koala"); lab.result.reasons
        {}

    Taught in: 08_class_activation_maps.
    """
    pictures = named(image)
    inputs = {name: to_input(picture, model) for name, picture in pictures.items()}
    first = next(iter(inputs.values()))
    info = getattr(model, "viz", None)
    asked = TargetChooser(model, None if info is None or info.has_classifier else cam_layer(model, first))
    chooser = W.Dropdown(options=list(pictures), description="picture")
    scale = W.Dropdown(options=["each its own", "one for all"], description="scale")
    explorer = Explorer([chooser, asked.choice, asked.search, scale], 1)
    known: dict = {}

    def draw():
        result = explorer.result
        shares = {name: m / m.abs().sum().clamp(min=1e-30) for name, m in result.maps.items()}
        shared = scale.value == "one for all" and shares
        limit = float(np.quantile(torch.stack(list(shares.values())).abs().numpy(), 0.995)) if shared else None
        tiles = [_tile(known["shown"], chooser.value, side)]
        for name in METHODS:
            empty = name in result.reasons
            picture = _reason(result.reasons[name], side) if empty else _coloured(shares[name], limit, side)
            tiles.append(_tile(picture, name, side))
        explorer.put(0, _sheet(tiles, 4))
        missing = f" | nothing from: {', '.join(result.reasons)}" if result.reasons else ""
        explorer.text.value = html.escape(f"{asked.name}: red for, blue against{missing}")

    def run():
        if asked.choice.value is None:
            return
        x = inputs[chooser.value]
        explorer.text.value = "computing ..."
        known["shown"] = to_picture(to_display(x, model))
        explorer.result = MethodsResult(chooser.value, asked.target, *all_methods(model, x, asked.target))
        draw()

    def picture_changed():
        asked.offer(inputs[chooser.value])  # choosing the first of them runs

    explorer.on_change(chooser, picture_changed)
    explorer.on_change(asked.choice, run)
    explorer.on_change(asked.search, asked.find)
    explorer.on_change(scale, draw)
    picture_changed()
    return explorer


def _coloured(values: Tensor, limit: float | None, side: int) -> Image.Image:
    a = values.numpy()
    top = limit or float(np.quantile(np.abs(a), 0.995)) or float(np.abs(a).max()) or 1.0
    index = ((a / top).clip(-1, 1) * 127.5 + 127.5).astype(np.uint8)
    return Image.fromarray(palette("RdBu_r")[index]).resize((side, side), Image.Resampling.BILINEAR)


def _reason(text: str, side: int) -> Image.Image:
    picture = Image.new("RGB", (side, side), (235, 235, 235))
    lines = textwrap.wrap(text, side // 7)[: side // 16 - 1]
    ImageDraw.Draw(picture).multiline_text((6, 6), "\n".join(lines), (60, 60, 60), ImageFont.load_default(12))
    return picture


def _tile(picture: Image.Image, title: str, side: int) -> Image.Image:
    tile = Image.new("RGB", (side + 8, side + 28), "white")
    tile.paste(picture.resize((side, side)), (0, 22))
    ImageDraw.Draw(tile).text((2, 3), title, "black", ImageFont.load_default(14))
    return tile


def _sheet(tiles: list[Image.Image], columns: int) -> np.ndarray:
    width, height = tiles[0].size
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), "white")
    for n, tile in enumerate(tiles):
        sheet.paste(tile, (n % columns * width, n // columns * height))
    return np.asarray(sheet)
