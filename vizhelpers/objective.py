"""What a method explains: the logit of a class, or a channel or unit of any layer."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .device import check_same_device
from .hooks import capture, evaluating, outputs_until, resolve_layer, with_gradients
from .models import class_scores, resolve_target


class Neuron(NamedTuple):
    """A channel of a layer (the mean of its map), or one unit of it, to be explained in place of a class.

    It stands wherever a method takes a target, also on nets without class scores.

    Args:
        layer: dotted name or module.
        channel: 0 to K-1.
        row: with `column`, one unit of the map; without, the mean over the map.
        column: likewise.

    Example:
        >>> vh.saliency(vgg16, x, vh.Neuron("features.28", 5)).shape
        torch.Size([1, 224, 224])

    Taught in: 07_guided_backprop.
    """

    layer: str | nn.Module
    channel: int
    row: int | None = None
    column: int | None = None


Target = int | str | Sequence | Tensor | Neuron | None


def score(model: nn.Module, x: Tensor, target: Target = None, *, whole: bool = True) -> Tensor:
    """The number that a method explains, for each picture, attached to the graph if gradients are recorded.

    Args:
        model: any net; run in eval mode.
        x: normalised pictures `(N,3,H,W)` on the model's device.
        target: class number or label, one for each picture, a `Neuron`, or None: each picture's most probable class.
        whole: False ends the pass behind the `Neuron`'s layer: faster in a loop, but only a whole pass (the loop's
            first) can tell that the layer runs once.

    Returns:
        `(N,)`, logits (not probabilities), or what the `Neuron`'s layer puts out.

    Raises:
        ValueError: unknown class, layer, channel or unit, a wrong number of targets, or a net without class scores.
        RuntimeError: picture and net are on different devices.

    Example:
        >>> vh.score(net, x, "koala").shape
        torch.Size([1])

    Taught in: 05_saliency.
    """
    if isinstance(target, Neuron):
        return _neuron(model, x, target, whole)
    scores = class_scores(model, x)
    wanted = scores.argmax(1) if target is None else resolve_target(model, target, len(x)).to(scores.device)
    return scores.gather(1, wanted[:, None])[:, 0]


def _neuron(model: nn.Module, x: Tensor, neuron: Neuron, whole: bool = True) -> Tensor:
    check_same_device(model, x)
    with evaluating(model):
        if whole:
            with capture(model, neuron.layer) as acts:
                model(x)
            out = acts[neuron.layer]
        else:
            out = outputs_until(model, x, neuron.layer)[resolve_layer(model, neuron.layer)[0]]
    if not 0 <= neuron.channel < out.shape[1]:
        raise ValueError(f"Layer {neuron.layer!r} has channels 0 to {out.shape[1] - 1}, not {neuron.channel}.")
    if neuron.row is None and neuron.column is None:
        return out[:, neuron.channel].flatten(1).mean(1) if out.dim() > 2 else out[:, neuron.channel]
    place = neuron.row, neuron.column
    if None in place or out.dim() != 4 or not all(0 <= i < n for i, n in zip(place, out.shape[2:], strict=True)):
        raise ValueError(f"Layer {neuron.layer!r} gives {tuple(out.shape)}: it has no unit at row and column {place}.")
    return out[:, neuron.channel, neuron.row, neuron.column]


@contextmanager
def differentiable(model: nn.Module, x: Tensor) -> Iterator[Tensor]:
    """A leaf copy of x to take gradients at, whatever `no_grad`, `inference_mode` or frozen weights are around."""
    check_same_device(model, x)
    with with_gradients():
        yield x.detach().clone().requires_grad_(True)


def input_gradient(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """The gradient of the score with respect to the picture, `(N,3,H,W)`, signed, detached."""
    with differentiable(model, x) as leaf:
        (gradient,) = torch.autograd.grad(score(model, leaf, target).sum(), leaf)
    return gradient
