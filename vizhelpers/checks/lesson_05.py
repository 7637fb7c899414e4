"""Checks of the exercises of lesson 05_saliency."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def check_saliency(answer: Callable) -> None:
    """Exercise 05.1: `answer(model, x, c) -> (N,H,W)`, the largest |dS_c/dx| over the colours."""
    model, x = _net(), _pictures()
    leaf = x.clone().requires_grad_()
    with torch.enable_grad():
        scores = model(leaf)
        (g,) = torch.autograd.grad(scores[:, 2].sum(), leaf, retain_graph=True)
        (of_probability,) = torch.autograd.grad(scores.softmax(1)[:, 2].sum(), leaf)
    got = _returned(answer(model, x, 2), (2, 6, 7), "(N, H, W)")
    slips = {
        "this is the gradient of the probability: take the logit, without softmax": of_probability.abs().amax(1),
        "take the magnitude first, then the maximum: large negative gradients count as well": g.amax(1),
        "the paper takes the maximum over the three colours, not the mean": g.abs().mean(1),
        "the paper takes the maximum over the three colours, not the sum": g.abs().sum(1),
        "these are gradients times input": (g * x).abs().amax(1),
    }
    _compare(got, g.abs().amax(1), slips, "the largest |dS_c/dx| of the three colours")
    again = _returned(answer(model, x, 2), (2, 6, 7), "(N, H, W)")
    assert torch.allclose(again, got, atol=1e-6), (
        "a second call gives another map: .grad adds up from call to call. Use torch.autograd.grad, or a fresh leaf."
    )
    assert not x.requires_grad and x.grad is None, "the caller's x was changed: work on x.detach().clone()."
    assert torch.equal(x, _pictures()), "the caller's x was changed: work on x.detach().clone()."


def check_smoothgrad(answer: Callable) -> None:
    """Exercise 05.2: `answer(model, x, c, level, samples) -> (1,3,H,W)`, the mean gradient over noisy copies."""
    model, x = _net(), _pictures()[:1] * 3
    (plain,) = _gradients(model, x, 1)
    got = _returned(answer(model, x, 1, 0.0, 4), (1, 3, 6, 7), "(1, 3, H, W)")
    slips = {
        "divide by the number of samples": 4 * plain,
        "average the signed gradients; magnitudes come after the mean, if at all": plain.abs(),
    }
    _compare(got, plain, slips, "the plain gradient, when the level is 0")
    seen = []
    handle = model.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach().clone()))
    try:
        found = answer(model, x, 1, 0.1, 300)
    finally:
        handle.remove()
    got, copies = _returned(found, (1, 3, 6, 7), "(1, 3, H, W)"), torch.cat(seen)
    assert torch.equal(x, _pictures()[:1] * 3), "the caller's x was changed: write x + noise, not x += noise."
    assert len(copies) == 300, f"asked for 300 samples, your net saw {len(copies)} pictures."
    spread, span = float((copies - x).std()), float(x.max() - x.min())
    assert spread > 1e-6, "every copy is the same: add noise of the given level."
    assert abs(spread - 0.1) > 0.01, "the level is a share of the picture's range: sigma = level * (max - min)."
    assert abs((copies[150:] - x).std() / (copies[:150] - x).std() - 1) < 0.2, (
        "the noise grows from sample to sample: add it to x each time, not to the last noisy copy."
    )
    assert abs(spread / (0.1 * span) - 1) < 0.05, (
        f"the noise has a deviation of {spread:.3f}; it should be level * (max - min) = {0.1 * span:.3f}, from randn."
    )
    want = torch.cat(_gradients(model, copies, 1)).mean(0, keepdim=True)
    each = torch.cat(_gradients(model, copies, 1)).abs().mean(0, keepdim=True)
    slips = {"average the signed gradients; magnitudes come after the mean, if at all": each,
             "divide by the number of samples": want * 300}  # fmt: skip
    _compare(got, want, slips, "the mean gradient over the copies that your net saw")


def check_integrated_gradients(answer: Callable) -> None:
    """Exercise 05.3: `answer(model, x, baseline, c, steps) -> (1,3,H,W)`; any rule for the sum over steps will do."""
    model = _Cubes()
    x, base = _pictures()[:1].abs() + 1, torch.full((1, 3, 6, 7), 0.5)
    got = _returned(answer(model, x, base, 1, 100), (1, 3, 6, 7), "(1, 3, H, W)")
    want = model.weight * (x**3 - base**3)  # the exact integral: each value has a score of its own
    slope = want / (x - base)
    slips = {
        "multiply the mean gradient by the way (x - baseline)": slope,
        "multiply by (x - baseline), not by x": slope * x,
        "this is gradient x input at the picture itself: the gradients of the whole way are averaged":
            3 * model.weight * x**2 * x,
        "these gradients are all from the picture itself: the gradients of the whole way are averaged":
            3 * model.weight * x**2 * (x - base),
        "the path starts at 0 here: start at the baseline": model.weight * x**2 * (x - base),
        "divide by the number of steps": 100 * want,
    }  # fmt: skip
    _compare(got, want, slips, "(x - baseline) times the mean gradient on the way", tolerance=0.03)


class _Cubes(nn.Module):
    """Three classes; class 1 scores sum of w x^3, so that Integrated Gradients are known exactly."""

    def __init__(self):
        super().__init__()
        self.weight = torch.linspace(-1, 1, 126).view(1, 3, 6, 7)

    def forward(self, x):
        one = (self.weight * x**3).flatten(1).sum(1)
        return torch.stack([x.flatten(1).sum(1), one, -one], 1)


def _net() -> nn.Module:
    """Convolution, tanh, linear: frozen, always the same; smooth, so that noise changes its gradients."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(80, 4)).eval().requires_grad_(False)


def _pictures() -> Tensor:
    return torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(1))


def _gradients(model: nn.Module, x: Tensor, c: int) -> tuple[Tensor, ...]:
    leaf = x.clone().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(model(leaf)[:, c].sum(), leaf)


def _returned(got, shape: tuple[int, ...], words: str) -> Tensor:
    assert isinstance(got, Tensor), f"return a tensor {words}; yours is a {type(got).__name__}."
    assert tuple(got.shape) == shape, f"the result should have the shape {words} = {shape}, not {tuple(got.shape)}."
    return got.detach()


def _compare(got: Tensor, want: Tensor, slips: dict[str, Tensor], words: str, tolerance: float = 1e-4) -> None:
    size = float(want.abs().max())
    if float((got - want).abs().max()) <= tolerance * size:
        return
    for sentence, wrong in slips.items():
        near = float((got - wrong).abs().max()) <= tolerance * max(size, float(wrong.abs().max()))
        assert not near, f"{sentence}."
    raise AssertionError(f"the numbers differ from {words} by up to {float((got - want).abs().max()):.3g}.")
