"""Checks of the exercises of lesson 07_guided_backprop."""
from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def check_relu_backward(answer: Callable) -> None:
    """Exercise 1 of lesson 07: `answer(a, g, rule)` sends the gradient g back through a ReLU with output a."""
    a = [0.0, 0.0, 0.0, 3.0, 0.5, 2.0]
    g = [-5.0, 6.0, 0.0, -7.0, 8.0, 0.0]
    passes = {"gradient": lambda a, g: a > 0, "deconvnet": lambda a, g: g > 0, "guided": lambda a, g: a > 0 and g > 0}
    for rule, let in passes.items():
        want = torch.tensor([y if let(x, y) else 0.0 for x, y in zip(a, g, strict=True)])
        given = torch.tensor(a), torch.tensor(g)
        got = answer(*given, rule)
        assert given[0].tolist() == a and given[1].tolist() == g, "The inputs were changed: compute new tensors."
        assert isinstance(got, Tensor) and got.shape == (6,), "Return a tensor of the shape of g."
        if torch.equal(got.float(), want):
            continue
        assert not torch.allclose(got.float(), want * given[0]), (
            f"For {rule!r} you multiply by the activation a: multiply by its mask (a > 0), which is 0 or 1."
        )
        assert not torch.allclose(got.float(), want.sign()), "Return the gradient where it passes, not only its mask."
        for other, let_other in passes.items():
            wrong = torch.tensor([y if let_other(x, y) else 0.0 for x, y in zip(a, g, strict=True)])
            assert not torch.equal(got.float(), wrong), f"For {rule!r} your function does what {other!r} should do."
        raise AssertionError(f"For {rule!r}, a = {a} and g = {g} the result is {want.tolist()}, not {got.tolist()}.")


def check_guided(answer: Callable) -> None:
    """Exercise 2 of lesson 07: `answer(model, x, c)`, guided backpropagation on an `nn.Sequential`, `(1,3,H,W)`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 5, 3), nn.ReLU(inplace=True),
                              nn.Flatten(), nn.Linear(5 * 4 * 6, 7)).eval()  # fmt: skip
        x = torch.randn(1, 3, 8, 10)
    modules, before = list(model), x.clone()
    with torch.no_grad():
        a1 = F.conv2d(x, model[0].weight, model[0].bias).relu()
        a2 = F.conv2d(a1, model[2].weight, model[2].bias).relu()
    maps = {}
    for c in (2, 5):
        for rule in ("guided", "gradient", "deconvnet", "activation"):
            g = model[5].weight[c].detach().view(1, 5, 4, 6)
            for a, layer in ((a2, model[2]), (a1, model[0])):
                if rule != "gradient":
                    g = g.clamp(min=0)
                if rule != "deconvnet":
                    g = g * (a if rule == "activation" else (a > 0))
                g = F.conv_transpose2d(g, layer.weight.detach())
            maps[rule, c] = g
    for c in (2, 5, 2):
        got = answer(model, x, c)
        assert list(model) == modules, "The model has other modules now: put the ReLUs back, or walk along them."
        assert not any(m._forward_hooks or m._backward_hooks or m._backward_pre_hooks for m in model), (
            "Hooks are left in the caller's model: remove them in a finally block."
        )
        assert torch.equal(x, before), "The picture x was changed: work on x.clone()."
        assert not x.requires_grad, "x requires a gradient now: use x.clone().requires_grad_()."
        assert all(p.grad is None for p in model.parameters()), (
            "The parameters have a .grad now, because of backward(): use torch.autograd.grad(score, x)."
        )
        assert isinstance(got, Tensor) and got.shape == x.shape, f"Return the gradient of x, {tuple(x.shape)}."
        got = got.detach()
        for rule, name in (("gradient", "the plain gradient"), ("deconvnet", "the deconvnet's rule"),
                           ("activation", "guided, but multiplied by the activation instead of its mask")):  # fmt: skip
            assert not torch.allclose(got, maps[rule, c], atol=1e-5), f"This is {name}."
        other = maps["guided", 7 - c]
        assert not torch.allclose(got, other, atol=1e-5), f"This explains class {7 - c}, but class {c} was asked for."
        assert torch.allclose(got, maps["guided", c], atol=1e-5), (
            "The numbers differ from the hand-made ones: is the rule applied at both ReLUs, and nothing accumulated?"
        )


def check_parts(answer: Callable) -> None:
    """Exercise 3 of lesson 07: `answer(g (3,H,W)) -> (all, positive, negative)`, each in 0..1."""
    g = torch.tensor([4.0, -1.0, 0.0, 2.0, -2.0, 0.0, 1.0, 0.0, -0.5, 0.0, 0.0, 3.0]).view(3, 2, 2)
    cases = [(g, (0.5 + g / 8, g.clamp(min=0) / 4, (-g).clamp(min=0) / 2)),
             (g.abs(), (0.5 + g.abs() / 8, g.abs() / 4, torch.zeros(3, 2, 2)))]  # fmt: skip
    cases.append((-g.abs(), (0.5 - g.abs() / 8, torch.zeros(3, 2, 2), g.abs() / 4)))
    cases.append((g * 0, (g * 0 + 0.5, g * 0, g * 0)))
    for number, (given, wants) in enumerate(cases):
        kept = given.clone()
        got = answer(given)
        assert torch.equal(given, kept), "The gradient itself was changed: compute new tensors."
        assert got is not None and len(got) == 3, "Return three pictures: (all, positive, negative)."
        got = [torch.as_tensor(part).float() for part in got]
        assert all(part.shape == given.shape for part in got), f"Each part has the shape of g, {tuple(given.shape)}."
        for name, mine, want in zip(("all", "positive", "negative"), got, wants, strict=True):
            assert torch.isfinite(mine).all(), (
                f"The {name} part has NaN: this gradient has {'no such' if number < 3 else 'only zero'} values, so its "
                "largest one is 0; do not divide by it."
            )
            if torch.allclose(mine, want, atol=1e-5):
                continue
            span = float(given.max() - given.min()) or 1.0
            assert not (name == "all" and torch.allclose(mine, (given - given.min()) / span, atol=1e-4)), (
                "Stretched from min to max, 0 has another grey in every map: divide by the largest magnitude, so that "
                "0 is 0.5."
            )
            assert not torch.allclose(mine, -want, atol=1e-5), f"The {name} part is drawn as its size: 0 and more."
            raise AssertionError(f"The {name} part of {given.flatten().tolist()} is not {mine.flatten().tolist()}.")
