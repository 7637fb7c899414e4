"""Checks of the exercises of lesson 05_saliency."""
import torch
from torch import Tensor, nn

from .kit import calls, compare, judge, net, noise, run


def smooth_net() -> nn.Sequential:
    """Smooth, so that noise changes its gradients."""
    return net(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(80, 4))


def gradients(model, x: Tensor, c: int, of=lambda scores: scores) -> Tensor:
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(of(model(leaf))[:, c].sum(), leaf)[0]


def check_saliency(answer):
    """Exercise 05.1: `answer(model, x, c) -> (N,H,W)`, the largest |dS_c/dx| over the colours."""
    model, x = smooth_net().requires_grad_(), noise(2, 3, 6, 7)
    for c in (2, 0, 2):  # the second time the same: nothing adds up
        g, p = gradients(model, x, c), gradients(model, x, c, lambda scores: scores.softmax(1))
        loss = gradients(model, x, c, lambda scores: scores.log_softmax(1)).abs().amax(1)  # its sign is gone
        judge(answer, g.abs().amax(1), {
            "this is the gradient of the probability: take the logit, without softmax": p.abs().amax(1),
            "this is the gradient of the loss (cross-entropy), which mixes all classes: take the logit": loss,
            "this is the gradient of the mean loss (cross-entropy): take the sum of the logits": loss / len(x),
            "take the magnitude first, then the maximum: large negative gradients count as well": g.amax(1),
            "the magnitude comes before the maximum: large negative gradients count as well": g.amax(1).abs(),
            "the paper takes the maximum over the three colours, not the mean": g.abs().mean(1),
            "the paper takes the maximum over the three colours, not the sum": g.abs().sum(1),
            "these are gradients times input": (g * x).abs().amax(1),
        }, model, x, c, hint=f"the largest |dS_c/dx| of the three colours, here for c = {c}")  # fmt: skip


def check_smoothgrad(answer):
    """Exercise 05.2: `answer(model, x, c, level, samples) -> (1,3,H,W)`, the mean gradient over noisy copies."""
    model, x = smooth_net(), 3 * noise(1, 3, 6, 7)
    plain = gradients(model, x, 1)
    signed = "average the signed gradients; magnitudes come after the mean, if at all"
    judge(answer, plain, {"divide by the number of samples": 4 * plain, signed: plain.abs()}, model, x, 1, 0.0, 4,
          hint="it should be the plain gradient, when the level is 0")  # fmt: skip
    with calls(model) as runs:
        got = run(answer, model, x, 1, 0.1, 300)
    copies = torch.cat([seen for seen, _ in runs])
    assert len(copies) == 300, f"asked for 300 samples, your net saw {len(copies)} pictures."
    drawn, sigma = copies - x, 0.1 * float(x.max() - x.min())
    first, last, spread = drawn[:150].std(), drawn[150:].std(), float(drawn.std())
    assert spread > 1e-6, "every copy is the same: add noise of the given level."
    for axis, name in enumerate(("sample", "colour", "row", "column")):
        differ = drawn.diff(dim=axis).abs().max() > 1e-4
        assert differ, f"the noise is the same in every {name}: draw anew for each, torch.randn_like(x)."
    assert abs(spread - 0.1) > 0.01, "the level is a share of the picture's range: sigma = level * (max - min)."
    assert abs(last / first - 1) < 0.2, "the noise grows from sample to sample: add it to x, not to the last copy."
    wanted = f"it should be level * (max - min) = {sigma:.3f}, from randn"
    assert abs(spread / sigma - 1) < 0.05, f"the noise has a deviation of {spread:.3f}; {wanted}."
    each = gradients(model, copies, 1)
    slips = {signed: each.abs().mean(0, keepdim=True), "divide by the number of samples": each.sum(0, keepdim=True)}
    compare(got, each.mean(0, keepdim=True), slips, hint="the mean gradient over the copies that your net saw")


class Cubes(nn.Module):
    """Three classes; class 1 scores sum of w x^3, so that Integrated Gradients are known exactly."""

    weight = torch.linspace(-1, 1, 126).view(1, 3, 6, 7)

    def forward(self, x):
        one = (self.weight * x**3).flatten(1).sum(1)
        return torch.stack([x.flatten(1).sum(1), one, -one], 1)


def check_integrated_gradients(answer):
    """Exercise 05.3: `answer(model, x, baseline, c, steps) -> (1,3,H,W)`; any rule for the sum over steps will do."""
    w, x, base = Cubes.weight, noise(1, 3, 6, 7).abs() + 1, torch.full((1, 3, 6, 7), 0.5)
    want = w * (x**3 - base**3)  # the exact integral: each value has a score of its own
    at_the_end, model = "the gradients of the whole way are averaged", Cubes()
    for steps in (100, 150):
        with calls(model) as runs:
            got = run(answer, model, x, base, 1, steps)
        compare(got, want, {
            "multiply the mean gradient by the way (x - baseline)": want / (x - base),
            "multiply by (x - baseline), not by x": want / (x - base) * x,
            f"this is gradient x input at the picture itself: {at_the_end}": 3 * w * x**3,
            f"these gradients are all from the picture itself: {at_the_end}": 3 * w * x**2 * (x - base),
            "the path starts at 0 here: start at the baseline": w * x**2 * (x - base),
            "divide by the number of steps": steps * want,
        }, hint="(x - baseline) times the mean gradient on the way", tol=0.03)  # fmt: skip
        seen = sum(len(points) for points, _ in runs)
        assert abs(seen - steps) < 3, f"asked for {steps} steps, your net saw {seen} pictures."
