"""Maps from the mean of many gradients: SmoothGrad and Integrated Gradients (lesson 05)."""
from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .device import check_same_device
from .gradients import warn_if_zero
from .models import class_scores, resolve_target
from .objective import Neuron, Target, input_gradient, score


def smoothgrad(
    model: nn.Module, x: Tensor, target: Target = None, *, level: float = 0.1, samples: int = 32, seed: int = 0,
    batch_size: int | None = None, progress: bool = False,
) -> Tensor:
    """SmoothGrad: the mean gradient over noisy copies of the picture.

    Args:
        model: any net.
        x: normalised pictures `(N,3,H,W)`.
        target: as `gradient`; None is settled once, on the picture without noise.
        level: standard deviation of the noise as a share of each picture's own range (max - min): too much, and
            the net no longer sees the object.
        samples: noisy copies.
        seed: of the noise, which is the same for every picture of a batch.
        batch_size: copies that run at once; by default what suits the device.
        progress: show a bar; the stop button returns the mean of what is done so far.

    Returns:
        `(N,3,H,W)`, signed; `.abs().amax(1)` is its saliency map.

    Raises:
        ValueError: level below 0 or no sample; and as `score`.

    Example:
        >>> vh.smoothgrad(net, x, "koala", samples=16).abs().amax(1)

    Source: Smilkov et al. 2017, section 3.
    Taught in: 05_saliency.
    """
    if level < 0 or samples < 1:
        raise ValueError(f"SmoothGrad needs a level of 0 or more and at least one sample, not {level} and {samples}.")
    check_same_device(model, x)
    x = x.detach()
    spread = (x.amax((1, 2, 3)) - x.amin((1, 2, 3))) * level

    def noisy(n: int, sample: int) -> Tensor:
        noise = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed * 1_000_003 + sample))
        return x[n] + spread[n] * noise.to(x)

    fixed = _settled(model, x, target)
    mean, _ = _mean_gradient(model, x, fixed, noisy, [1 / samples] * samples, batch_size, progress)
    return warn_if_zero(mean, "SmoothGrad")


def integrated_gradients(
    model: nn.Module, x: Tensor, target: Target = None, *, baseline: Tensor | None = None, steps: int | None = None,
    batch_size: int | None = None, progress: bool = False,
) -> Tensor:
    """Integrated Gradients: the difference to a baseline times the mean gradient on the way from it.

    Args:
        model: any net.
        x: normalised pictures `(N,3,H,W)`.
        target: as `gradient`; None is settled once, on the picture itself.
        baseline: normalised picture that shows nothing, broadcast to x: make it in **pixel** space, e.g.
            `vh.to_input(Image.new("RGB", (224, 224)), net)` for black. By default black, from `net.viz` (or ImageNet's
            mean and deviation).
        steps: points on the way, at Gauss-Legendre places (fewer are needed than of equal steps). By default as many
            as each picture needs for completeness to 1 %: 32, then 64, 128 and 256 more.
        batch_size: points that run at once; by default what suits the device.
        progress: show a bar; the stop button returns the estimate from the points done so far.

    Returns:
        `(N,3,H,W)`, signed, in units of the score; its sum over everything is `S(x) - S(baseline)` (completeness), up
        to the error of the sum over steps. A warning says so where 480 points did not reach 1 %.

    Raises:
        ValueError: no step, or a baseline that does not fit the pictures; and as `score`.

    Example:
        >>> ig = vh.integrated_gradients(net, x, "koala")
        >>> float(ig.sum())  # score(x) - score(baseline), to 1 %

    Source: Sundararajan et al. 2017, equation 1.
    Taught in: 05_saliency.
    """
    if steps is not None and steps < 1:
        raise ValueError(f"Integrated Gradients needs at least one step, not {steps}.")
    check_same_device(model, x)
    x = x.detach()
    try:
        start = (black(model) if baseline is None else baseline).detach().to(x).expand_as(x)
    except RuntimeError:
        raise ValueError(f"A baseline {tuple(baseline.shape)} does not fit pictures {tuple(x.shape)}.") from None
    fixed = _settled(model, x, target)

    def mean_gradient(count: int, rows: list[int]) -> tuple[Tensor, bool]:
        places, weights = np.polynomial.legendre.leggauss(count)

        def on_the_way(n: int, step: int) -> Tensor:
            return start[rows[n]] + float(places[step] + 1) / 2 * (x[rows[n]] - start[rows[n]])

        part = fixed if isinstance(fixed, Neuron) else [fixed[n] for n in rows]
        return _mean_gradient(model, x[rows], part, on_the_way, (weights / 2).tolist(), batch_size, progress)

    if steps is not None:
        return (x - start) * mean_gradient(steps, list(range(len(x))))[0]
    with torch.no_grad():
        whole = score(model, x, fixed) - score(model, start.contiguous(), fixed)
    found, used, rows = torch.zeros_like(x), 0, list(range(len(x)))
    for count in (32, 64, 128, 256):  # each round joins the earlier ones, by its share of points
        mean, complete = mean_gradient(count, rows)
        new = (x[rows] - start[rows]) * mean
        found[rows], used = (used * found[rows] + count * new) / (used + count), used + count
        off = (found.sum((1, 2, 3)) - whole).abs() / whole.abs().clamp(min=1e-12)
        rows = [n for n in rows if off[n] > 0.01]
        if not rows or not complete:
            break
    if rows:
        warnings.warn(f"After {used} steps the sum is {max(off[rows]):.1%} off; give more steps.", stacklevel=2)
    return found


def black(model: nn.Module) -> Tensor:
    """A black pixel as the net's normalised input, `(1,3,1,1)`."""
    info = getattr(model, "viz", None)
    mean, std = (info.mean, info.std) if info else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return (-torch.tensor(mean) / torch.tensor(std)).view(1, 3, 1, 1)


def _mean_gradient(model, x, target, picture, weights, batch_size, progress) -> tuple[Tensor, bool]:
    """The mean over i, by weights, of the gradient at `picture(n, i)`, and whether all of it was done."""
    size = batch_size or (8 if x.device.type == "cpu" else 64)
    total, used = torch.zeros_like(x), torch.zeros(len(x))
    order = torch.randperm(len(weights), generator=torch.Generator().manual_seed(0)).tolist()  # fair if it is stopped
    jobs = [(n, i) for i in order for n in range(len(x))]
    try:
        for at in tqdm(range(0, len(jobs), size), disable=not progress, leave=False, unit="batch"):
            part = jobs[at : at + size]
            batch = torch.stack([picture(n, i) for n, i in part])
            where = target if isinstance(target, Neuron) else [target[n] for n, _ in part]
            found = input_gradient(model, batch.contiguous(memory_format=torch.channels_last), where)
            for (n, i), g in zip(part, found, strict=True):
                total[n] += weights[i] * g
                used[n] += weights[i]
    except KeyboardInterrupt:
        if not used.all():
            raise
        return total / used.to(x).view(-1, 1, 1, 1), False
    return total, True


def _settled(model: nn.Module, x: Tensor, target: Target) -> Neuron | list[int]:
    """A target that stays the same while the picture changes: None becomes each picture's own class."""
    if isinstance(target, Neuron):
        return target
    if target is not None:
        return resolve_target(model, target, len(x)).tolist()
    with torch.no_grad():
        return class_scores(model, x).argmax(1).tolist()
