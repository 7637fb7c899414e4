"""A collection of pictures by what a net makes of them: penultimate features, maps, neighbours, grids (lesson 03).

`python -m vizhelpers.embedding DIR --out OUT` does the features of a large folder; see embedding_shards.py.
"""
from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .device import check_same_device, device_of, in_batches
from .hooks import capture, evaluating, inputs_of, resolve_layer
from .images import to_display, to_input

# `python -m vizhelpers.embedding` imports the package, and so this file, before it runs it: meant, not worth a warning
warnings.filterwarnings("ignore", message="'vizhelpers.embedding' found in sys.modules", category=RuntimeWarning)


class FeatureLayer(NamedTuple):
    """Where a net's features are taken, and how a figure calls them."""

    name: str  # dotted; "" is the net's own output
    taken: str  # "input" or "output" of that layer
    label: str


def feature_layer(model: nn.Module, layer: str | nn.Module | None = None) -> FeatureLayer:
    """Which features `features` takes from a net: the last ones before its classifier, found by its structure.

    Args:
        model: any net. The input of its last linear layer is taken (AlexNet and VGG: fc7, behind ReLU, dropout off);
            without one, the input of the convolution that gives the class scores (SqueezeNet); without classes, what
            the net puts out.
        layer: a layer to take instead; its output is.

    Returns:
        `(name, taken, label)`.

    Raises:
        ValueError: unknown layer, or a net with neither linear layers nor convolutions.

    Example:
        >>> vh.feature_layer(net).label
        'squeezenet1_1, input of classifier.1 (512 numbers, means over positions)'

    Taught in: 03_tsne_of_fc7.
    """
    who = getattr(getattr(model, "viz", None), "name", type(model).__name__)
    if layer is not None:
        name = resolve_layer(model, layer)[0]
        return FeatureLayer(name, "output", f"{who}, output of {name}")
    linear = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear)]
    if linear:
        name, last = linear[-1]
        fc7 = last.in_features == 4096 and len(linear) == 3
        words = "fc7" if fc7 else f"input of {name}"
        return FeatureLayer(name, "input", f"{who}, {words} ({last.in_features} numbers)")
    convolutions = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    if not convolutions:
        raise ValueError(f"{type(model).__name__} has no linear layer and no convolution: name a layer with layer=.")
    name, last = convolutions[-1]
    side = getattr(getattr(model, "viz", None), "input_size", 224)
    like = next(model.parameters())
    with torch.no_grad(), evaluating(model), capture(model, name) as acts:
        noise = torch.randn(1, convolutions[0][1].in_channels, side, side, generator=torch.Generator().manual_seed(0))
        out = model(noise.to(like))  # zeros would fit any layer of a net without biases
        maps = acts[name]
    if out.ndim == 2 and out.shape[1] == maps.shape[1]:  # class scores, if they are the means of this layer's maps
        if any(torch.allclose(out, m.mean((2, 3)), rtol=1e-3, atol=1e-4) for m in (maps, maps.relu())):
            words = f"{who}, input of {name} ({last.in_channels} numbers, means over positions)"
            return FeatureLayer(name, "input", words)
    pooled = ", means over positions" if out.ndim == 4 else ""
    return FeatureLayer("", "output", f"{who} has no classifier: its own output ({out.shape[1]} numbers{pooled})")


def features(
    model: nn.Module, x: Tensor | Sequence, *, layer: str | nn.Module | None = None, batch_size: int | None = None,
    progress: bool = False,
) -> Tensor:
    """One row of numbers per picture: what a net knows just before it decides on a class ("fc7").

    Args:
        model: any net; `feature_layer(model)` says what is taken.
        x: normalised pictures `(N,3,H,W)` on the model's device; or a list of anything that `load_image` takes, which
            is read and prepared batch by batch.
        layer: the output of this layer instead; maps `(N,K,h,w)` are averaged over positions.
        batch_size: pictures per pass; by default what suits the device.
        progress: show a bar; the stop button returns what is done so far.

    Returns:
        `(N,D)`, on the device of x; for a list of pictures on the CPU.

    Raises:
        ValueError: unknown layer, a layer without one row or one stack of maps per picture, or that ran several times.
        RuntimeError: x and the model are on different devices.

    Example:
        >>> vh.features(net, ["koala", "coffee"]).shape
        torch.Size([2, 512])

    Source: Krizhevsky et al. 2012, section 6.1 (distances in the last hidden layer).
    Taught in: 03_tsne_of_fc7.
    """
    where = feature_layer(model, layer)
    if not isinstance(x, (list, tuple)):
        check_same_device(model, x)

    def run(part: Tensor) -> Tensor:
        with torch.no_grad(), evaluating(model):
            if not where.name:
                calls = [model(part)]
            elif where.taken == "input":
                with inputs_of(model, where.name) as calls:
                    model(part)
            else:
                with capture(model, where.name) as acts:
                    model(part)
                calls = [acts[where.name]]
        if len(calls) != 1:
            raise ValueError(f"Layer {where.name!r} ran {len(calls)} times in one pass, not once: name another layer=.")
        out = calls[0].detach()
        if out.ndim not in (2, 4) or len(out) != len(part):
            raise ValueError(f"Features of {where.name or 'the output'!r} have the shape {tuple(out.shape)}, "
                             "not (N,D) or (N,K,h,w): name another layer=.")  # fmt: skip
        return out.mean((2, 3)) if out.ndim == 4 else out

    if isinstance(x, Tensor):
        return in_batches(run, x, batch_size=batch_size, progress=progress)
    which = torch.arange(len(x), device=device_of(model))  # its device settles the batch size
    return in_batches(lambda part: run(to_input([x[n] for n in part.tolist()], model)).cpu(), which,
                      batch_size=batch_size, progress=progress)  # fmt: skip


def pixels(images: Sequence, side: int = 32) -> Tensor:
    """Small pictures as rows of numbers: the baseline that any features must beat.

    Args:
        images: a list of anything that `load_image` takes.
        side: of the squares, in pixels; the crop is the one that a net sees.

    Returns:
        `(N, 3*side*side)`, 0..1, on the CPU.

    Raises:
        ValueError: an empty list, or squares below 8 pixels.

    Example:
        >>> vh.pixels(["koala", "coffee"]).shape
        torch.Size([2, 3072])

    Taught in: 03_tsne_of_fc7.
    """
    parts = [to_display(to_input(list(images[n : n + 64]), size=side, device="cpu"))
             for n in range(0, max(len(images), 1), 64)]  # fmt: skip
    return torch.cat(parts).flatten(1)


if __name__ == "__main__":
    from .embedding_shards import main

    sys.exit(main())
