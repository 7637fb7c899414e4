"""Checks of the exercises of lesson 13_can_we_trust_these_maps."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def check_pointing(answer: Callable) -> None:
    """Exercise 1 of lesson 13: `answer(heat (H,W), mask (H,W) bool) -> bool`, whether the highest value is inside."""
    heat = torch.zeros(5, 8)
    heat[1, 6], heat[4, 0] = 2.0, -3.0
    mask = torch.zeros(5, 8, dtype=torch.bool)
    mask[1, 6] = True
    got = answer(heat.clone(), mask.clone())
    assert got is not None, "return True or False: yours returns nothing."
    assert bool(got), (
        "the highest value is at row 1, column 6, and the mask is True there: is argmax()'s flat index turned into "
        "row * width + column, with the width 8?"
    )
    other = torch.zeros(5, 8, dtype=torch.bool)
    other[4, 0] = True
    assert not answer(heat.clone(), other.clone()), "the largest magnitude is not the highest value: leave the sign on."
    for seed in range(6):
        g = torch.Generator().manual_seed(seed)
        heat, mask = torch.randn(7, 4, generator=g), torch.rand(7, 4, generator=g) < 0.5
        best = max((float(heat[r, c]), bool(mask[r, c])) for r in range(7) for c in range(4))
        assert bool(answer(heat.clone(), mask.clone())) == best[1], "only the place of the one highest value counts."


def check_deletion(answer: Callable) -> None:
    """Exercise 2 of lesson 13: `answer(model, x (1,3,H,W), c, heat (H,W), steps) -> (steps+1,)`, logits of class c."""
    g = torch.Generator().manual_seed(2)
    weight, x = torch.randn(4, 3, 4, 5, generator=g), torch.randn(1, 3, 4, 5, generator=g)
    model = nn.Sequential(nn.Flatten(), nn.Linear(60, 4)).eval().requires_grad_(False)
    model[1].weight.data, model[1].bias.data = weight.flatten(1).clone(), torch.randn(4, generator=g)
    gain = (weight[2] * x[0]).sum(0)  # (4,5): on a linear net a pixel adds just this

    def curve(order):
        falls = torch.cat([torch.zeros(1), gain.flatten()[order].cumsum(0)])
        return model(x)[0, 2] - falls[[0, 5, 10, 15, 20]]

    kept, order = x.clone(), gain.flatten().argsort(descending=True)
    got = answer(model, x, 2, gain.clone(), 4)
    assert torch.equal(x, kept), "your function changed x: work on x.clone()."
    try:
        got = torch.as_tensor([float(v) for v in got])
    except TypeError:
        raise AssertionError(f"return {5} numbers, a list or a tensor; yours is a {type(got).__name__}.") from None
    assert len(got) == 5, f"4 steps give 5 points, from none to all pixels deleted; yours has {len(got)}."
    want = curve(order)
    by_size = curve(gain.flatten().abs().argsort(descending=True))
    slips = {
        "you delete the lowest pixels first": curve(order.flip(0)),
        "you rank by magnitude: keep the sign": by_size,
        "this is the insertion curve": want.flip(0),
        "these are probabilities: take the logit": None,
    }  # fmt: skip
    for sentence, wrong in slips.items():
        near = wrong is not None and torch.allclose(got, wrong, atol=1e-3)
        assert not near or torch.allclose(got, want, atol=1e-3), f"{sentence}."
    assert not (got.min() >= 0 and got.max() <= 1 < want.abs().max()), "these are probabilities: take the logit."
    assert torch.allclose(got, want, atol=1e-3), (
        f"the curve should be {[round(float(v), 2) for v in want]}, yours is {[round(float(v), 2) for v in got]}: "
        "after k of 4 steps, 5k pixels are 0 in all three colours."
    )


def check_with_random_weights(answer: Callable) -> None:
    """Exercise 3 of lesson 13: `answer(model, function)` runs function() with random weights and gives them back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Linear(96, 4)).eval().requires_grad_(False)
    own = {name: p.clone() for name, p in model.named_parameters()}

    def same() -> bool:
        return all(torch.equal(p, own[name]) for name, p in model.named_parameters())

    def put_back():
        for name, p in model.named_parameters():
            p.data = own[name].clone()

    seen: dict = {}

    def look():
        seen.update({name: p.clone() for name, p in model.named_parameters()})
        return 42

    got = answer(model, look)
    restored = same()
    put_back()
    assert seen, "call function() while the weights are random."
    for name in own:
        if "weight" in name:
            assert not torch.equal(seen[name], own[name]), f"{name} was not random while function() ran."
    assert got == 42, "return what function() returned."
    assert restored, (
        "the weights were not given back: keep p.clone() (or p.data itself and a new tensor), not a name for the same "
        "memory."
    )

    def fail():
        raise KeyError("planted")

    try:
        answer(model, fail)
    except KeyError:
        raised = True
    else:
        raised = False
    restored = same()
    put_back()
    assert restored, "after an exception in function() the weights are still random: give them back in a finally block."
    assert raised, "an exception in function() must come through: finally, not except."
