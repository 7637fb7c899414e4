"""DeepDream: a photograph in which a layer sees more and more of what it sees (lesson 10)."""
from __future__ import annotations

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .activations import activations
from .device import check_same_device
from .hooks import evaluating, outputs_until, resolve_layer
from .parametrisation import normalisation, resized, shift
from .speed import Fast


def deep_dream(
    model: nn.Module, x: Tensor, layer: str | nn.Module, channel: int | None = None, *, octaves: int = 4,
    ratio: float = 1.5, steps: int = 16, rate: float = 0.008, jitter: int = 16, seed: int = 0, progress: bool = False,
) -> Tensor:
    """DeepDream: whatever a layer sees in a picture, make it see more of that, at several sizes of the picture.

    Each octave starts from the smaller one's result: the change made so far is enlarged and laid over the original.
    A step goes along the gradient divided by its mean magnitude; the picture is shifted before it and back after it.

    Args:
        model: any net.
        x: normalised pictures `(N,3,H,W)`.
        layer: dotted name or module; the sum of its squared outputs rises.
        channel: only this channel of it.
        octaves: sizes, each `ratio` smaller than the next; those below 48 pixels are left out.
        ratio: above 1.
        steps: in each octave.
        rate: mean change of a value in a step, in pixels 0..1.
        jitter: largest shift before a step, in pixels.
        seed: of the shifts.
        progress: show a bar; the stop button returns the picture as it is.

    Returns:
        Pictures `(N,3,H,W)` in 0..1, detached; with no steps, the ones that were given.

    Raises:
        ValueError: unknown layer or channel, a layer that runs twice, options out of range.

    Example:
        >>> vh.deep_dream(net, vh.to_input("koala", net), "features.9").shape
        torch.Size([1, 3, 224, 224])

    Source: Mordvintsev et al. 2015 (the blog post that named it).
    Taught in: 10_activation_maximization.
    """
    if octaves < 1 or not ratio > 1 or min(steps, rate, jitter) < 0:
        raise ValueError("deep_dream needs octaves of 1 or more, ratio above 1, and no negative steps, rate or jitter.")
    check_same_device(model, x)
    x = x.detach()
    with torch.no_grad():
        out = activations(model, x, layer)  # a whole pass: a layer that is unknown or runs twice shows here
    if channel is not None and not 0 <= channel < out.shape[1]:
        raise ValueError(f"Layer {layer!r} has channels 0 to {out.shape[1] - 1}, not {channel}.")
    name = resolve_layer(model, layer)[0]
    mean, std = normalisation(model, x)

    def energy(x: Tensor) -> Tensor:
        with evaluating(model):
            out = outputs_until(model, x, name)[name]
        return (out if channel is None else out[:, channel : channel + 1]).float().square().flatten(1).mean(1)

    first = (x * std + mean).clamp(0, 1)
    sizes = [tuple(round(side / ratio**n) for side in x.shape[-2:]) for n in range(octaves)]
    sizes = [size for size in reversed(sizes) if min(size) >= 48] or [tuple(x.shape[-2:])]
    generator, fast = torch.Generator().manual_seed(seed), Fast(model, x, energy, key=("dream", name))
    image = resized(first, sizes[0])
    with tqdm(total=len(sizes) * steps, disable=not progress, unit="step", leave=False) as bar:
        try:
            for size in sizes:
                base = resized(first, size)
                if image.shape[-2:] != base.shape[-2:]:
                    small = resized(first, image.shape[-2:])
                    image = (base + resized(image - small, size)).clamp(0, 1)
                for _ in range(steps):
                    down, right = shift(generator, jitter)
                    rolled = torch.roll(image, (down, right), (2, 3))
                    gradient = fast((rolled - mean) / std, energy)[1]
                    size_of = gradient.abs().mean((1, 2, 3), keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
                    rolled = (rolled + rate * gradient / size_of).clamp(0, 1)
                    image = torch.roll(rolled, (-down, -right), (2, 3))
                    bar.update(1)
        except KeyboardInterrupt:
            if not bar.n:
                raise
    whole = tuple(x.shape[-2:])
    if image.shape[-2:] == whole:
        return image
    return (first + resized(image - resized(first, image.shape[-2:]), whole)).clamp(0, 1)
