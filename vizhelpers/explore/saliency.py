"""Gradient maps of any class, with the path of Integrated Gradients (lesson 05)."""
from __future__ import annotations

import html
from collections.abc import Callable
from typing import NamedTuple

import ipywidgets as W
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..averaged import black, smoothgrad
from ..gradients import gradient
from ..images import to_display, to_input
from ..objective import Neuron, Target, differentiable, score
from ..render import palette, to_picture
from .base import Explorer, named
from .cam import TargetChooser

PATH = "Integrated Gradients"
METHODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # from the gradient (1,3,H,W) and x to a map (H,W)
    "saliency": lambda g, x: g.abs().amax(1)[0],
    "SmoothGrad": lambda g, x: g.abs().amax(1)[0],
    "gradient x input": lambda g, x: (g * x).sum(1)[0],
    PATH: lambda g, x: g[0],
}


class PathPoint(NamedTuple):
    share: float  # 0 at the baseline, 1 at the picture
    score: float  # of the picture on the way
    attributed: float  # sum of the map so far


class SaliencyResult(NamedTuple):
    picture: str
    target: int | Neuron
    method: str
    map: Tensor  # (H, W), signed for gradient x input and Integrated Gradients
    path: list[PathPoint]  # empty for the other methods


def path(model: nn.Module, x: Tensor, target: Target, steps: int) -> tuple[Tensor, list[PathPoint], Tensor]:
    """Pictures from black to x, what is known at each, and the map so far: `(P,3,H,W)`, P points, `(P,H,W)`."""
    places, weights = np.polynomial.legendre.leggauss(steps)
    shares = [0.0, *((places + 1) / 2).tolist(), 1.0]
    start = black(model).to(x).expand_as(x)
    way = torch.cat([start + share * (x - start) for share in shares])
    scores, parts = [], []
    for at in range(0, len(way), 8):
        with differentiable(model, way[at : at + 8]) as leaf:
            values = score(model, leaf, target)
            (g,) = torch.autograd.grad(values.sum(), leaf)
        scores += values.tolist()
        parts.append((g * (x - start)).sum(1))
    weights = torch.tensor([0.0, *(weights / 2).tolist(), 0.0]).to(x)
    maps = (torch.cat(parts) * weights.view(-1, 1, 1)).cumsum(0)
    points = [PathPoint(*p) for p in zip(shares, scores, maps.sum((1, 2)).tolist(), strict=True)]
    return way, points, maps


def _blocks(values: Tensor) -> Tensor:
    """Sums over 4x4 values: next to one another, plus and minus of single pixels are grey to the eye."""
    return 16 * nn.functional.avg_pool2d(values[None], 4)[0]


def explore_saliency(model: nn.Module, images, *, steps: int = 32, side: int = 320) -> Explorer:
    """Saliency, SmoothGrad, gradient x input and Integrated Gradients of any class, the last as a walk from black.

    Signed maps are shown as sums over 4x4 pixels, red for and blue against the class; `.result.map` has every pixel.

    Args:
        model: any net. One without class scores is asked for the mean of a channel of its last convolution instead.
        images: names, pictures, a list of them, or a mapping name -> picture; anything `load_image` takes.
        steps: points on the path of Integrated Gradients.
        side: of each picture on the screen, in pixels.

    Returns:
        The widget; `.result` is `(picture, target, method, map, path)`.

    Raises:
        ValueError: no picture.

    Example:
        >>> vh.explore_saliency(net, ["koala", "coffee"])

    Taught in: 05_saliency.
    """
    pictures = named(images)
    inputs = {name: to_input(picture, model) for name, picture in pictures.items()}
    info = getattr(model, "viz", None)
    last = [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d)][-1:]
    asked = TargetChooser(model, None if info is None or info.has_classifier else last[0])
    chooser = W.Dropdown(options=list(pictures), description="picture")
    method = W.Dropdown(options=list(METHODS), description="method")
    noise = W.FloatSlider(0.05, min=0, max=0.5, step=0.05, description="noise", continuous_update=False)
    samples = W.IntSlider(8, 1, 64, description="samples", continuous_update=False)
    point = W.IntSlider(steps + 1, 0, steps + 1, description="path")
    play = W.Play(value=steps + 1, min=0, max=steps + 1, interval=200)
    W.jslink((play, "value"), (point, "value"))
    explorer = Explorer([chooser, asked.choice, asked.search, method, noise, samples, point, play], 2)
    known: dict = {}

    def run():
        if asked.choice.value is None:
            return
        x, name = inputs[chooser.value], method.value
        explorer.text.value = "computing ..."
        known.update(path=[], way=x, maps=None)
        if name == PATH:
            known["way"], known["path"], known["maps"] = path(model, x, asked.target, steps)
            found = known["maps"][-1:]
        elif name == "SmoothGrad":
            found = smoothgrad(model, x, asked.target, level=noise.value, samples=samples.value)
        else:
            found = gradient(model, x, asked.target)
        heat = METHODS[name](found, x).cpu()
        explorer.result = SaliencyResult(chooser.value, asked.target, name, heat, known["path"])
        draw()

    def draw():
        result, walk, k = explorer.result, known["path"], point.value
        shown, heat = known["way"][k if walk else 0], known["maps"][k].cpu() if walk else result.map
        signed = result.method not in ("saliency", "SmoothGrad")
        full = _blocks(result.map) if signed else result.map
        top = float(np.quantile(full.abs().numpy(), 0.995)) or 1.0  # one scale for the whole way
        if not signed:
            index, colours = (heat / top).clamp(0, 1) * 255, "inferno"
        else:
            index, colours = ((_blocks(heat) / top).clamp(-1, 1) + 1) * 127.5, "RdBu_r"
        picture = Image.fromarray(palette(colours)[index.byte().numpy()])
        explorer.put(0, np.asarray(to_picture(to_display(shown, model)).resize((side, side))))
        explorer.put(1, np.asarray(picture.resize((side, side), Image.Resampling.NEAREST)))
        said = f"strongest {float(result.map.abs().max()):.3g}"
        if walk:
            total = walk[-1].score - walk[0].score
            off = f", {walk[-1].attributed / total - 1:+.1%} off" if total else ""
            said = (
                f"{walk[k].share:.0%} of the way: score {walk[k].score:.2f}, attributed so far "
                f"{walk[k].attributed:.2f} | in all {walk[-1].attributed:.2f}, S(x) - S(black) is {total:.2f}: "
                f"{steps} points{off}"
            )
        explorer.text.value = html.escape(f"{result.method} for {asked.name}: {said}")

    def picture_changed():
        asked.offer(inputs[chooser.value])  # choosing the first of them runs

    def only_for(name: str, action: Callable[[], None]) -> Callable[[], None]:
        return lambda: action() if method.value == name else None

    explorer.on_change(chooser, picture_changed)
    explorer.on_change(asked.choice, run)
    explorer.on_change(asked.search, asked.find)
    explorer.on_change(method, run)
    explorer.on_change(noise, only_for("SmoothGrad", run))
    explorer.on_change(samples, only_for("SmoothGrad", run))
    explorer.on_change(point, only_for(PATH, draw))
    picture_changed()
    return explorer
