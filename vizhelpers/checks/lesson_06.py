"""Checks of the exercises of lesson 06_fooling_images."""
from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def check_step(answer: Callable) -> None:
    """Exercise 1 of lesson 06: `answer(pixels, gradient, length) -> pixels`, one clipped step per picture."""
    generator = torch.Generator().manual_seed(1)
    pixels, gradient = torch.rand(2, 3, 5, 6, generator=generator), torch.randn(2, 3, 5, 6, generator=generator)
    gradient[1] *= 1e-4  # the second picture's gradient is tiny; its step is as long
    unit = torch.stack([g / math.sqrt(sum(v * v for v in g.flatten().tolist())) for g in gradient])
    for length in (20.0, 900.0):
        before = pixels.clone()
        got = answer(pixels, gradient.clone(), length)
        assert torch.equal(pixels, before), "Your function changed the pixels that it was given: return a new tensor."
        _same_shape(got, pixels, "the stepped pixels")

        def is_like(want: Tensor, got: Tensor = got) -> bool:
            return torch.allclose(got, want, atol=1e-5)

        want = pixels + length / 255 * unit
        assert not is_like((pixels + length * unit).clamp(0, 1)), "length is in units of 0..255: divide it by 255."
        assert not is_like((pixels - length / 255 * unit).clamp(0, 1)), "This goes downhill: add the step."
        assert not is_like((pixels + length / 255 * gradient).clamp(0, 1)), (
            "The step has the gradient's own length: divide each picture's gradient by its norm."
        )
        assert not is_like((pixels + length / 255 * gradient / gradient.norm()).clamp(0, 1)), (
            "The norm was taken over the whole batch: each picture has its own, (N,1,1,1)."
        )
        assert not is_like((pixels + length / 255 * gradient.sign()).clamp(0, 1)), (
            "Only the signs are left of the gradient; the step is to go along the gradient itself."
        )
        assert not is_like(want) or is_like(want.clamp(0, 1)), "Values leave 0..1: end with .clamp(0, 1)."
        assert is_like(want.clamp(0, 1)), (
            "The result differs from (pixels + length / 255 * gradient / its norm), clipped to 0..1."
        )


def check_sizes(answer: Callable) -> None:
    """Exercise 2 of lesson 06: `answer(start, picture) -> (l2, linf)` of the uint8 file, each `(N,)`, in 0..255."""
    generator = torch.Generator().manual_seed(2)
    levels = torch.randint(20, 230, (3, 3, 4, 5), generator=generator).float()
    change = 3 * torch.randn(3, 3, 4, 5, generator=generator)
    change[1] = 0.3  # rounds to nothing
    change[2] = -change[2].abs()
    start, picture = levels / 255, (levels + change) / 255
    steps = torch.tensor([[round(v) for v in row] for row in change.flatten(1).tolist()]).float()
    want = [torch.tensor([math.sqrt(sum(v * v for v in row)) for row in steps.tolist()]), steps.abs().amax(1)]
    float_size = change.flatten(1).norm(dim=1)
    got = answer(start.clone(), picture.clone())
    assert isinstance(got, (tuple, list)) and len(got) == 2, "Return two things: (l2, linf)."
    for name, mine, true in zip(("l2", "linf"), got, want, strict=True):
        assert isinstance(mine, Tensor), f"{name} should be a tensor (N,), not a {type(mine).__name__}."
        assert mine.shape == (3,), f"{name} has one number per picture, (N,) = (3,), not {tuple(mine.shape)}."
        mine = mine.float()
        assert not torch.allclose(mine * 255, true, atol=1e-2), f"{name} is in units of 0..1: multiply by 255."
        unrounded = float_size if name == "l2" else change.flatten(1).abs().amax(1)
        assert not torch.allclose(mine, unrounded, atol=1e-2), (
            f"This is the {name} of the floating point picture: a file holds whole numbers, so round to levels first."
        )
        assert not (mine > 200).any() or (true > 200).any(), (
            f"{name} is above 200: uint8 has no negative numbers, 3 - 5 becomes 254; subtract as float or int."
        )
        assert torch.allclose(mine, true, atol=1e-2), f"{name} should be {true.tolist()}, not {mine.tolist()}."


def check_escape(answer: Callable) -> None:
    """Exercise 3 of lesson 06: `answer(net, pixels, length, steps) -> (pixels, taken)`: away from its own class."""
    for seed, length, most in ((0, 12.0, 99), (4, 30.0, 99), (0, 12.0, 2)):
        net, pixels = _linear_net(seed), torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
        pixels = 0.45 + 0.1 * pixels
        with torch.no_grad():
            scores = net(pixels)[0]
        own = int(scores.argmax())
        weight = net[1].weight.detach()
        slope = (weight[own] - weight[1 - own]).view(1, 3, 6, 6)  # two classes: the lead is linear
        lead, gain = float(scores[own] - scores[1 - own]), length / 255 * float(slope.norm())
        want = min(most, math.floor(lead / gain) + 1)
        before = pixels.clone()
        got = answer(net, pixels, length, most)
        assert isinstance(got, (tuple, list)) and len(got) == 2, "Return two things: (pixels, steps taken)."
        assert torch.equal(pixels, before), "Your function changed the pixels that it was given: work on a copy."
        assert all(p.grad is None for p in net.parameters()), (
            "The net's weights have a .grad now: take the gradient of the pixels alone with torch.autograd.grad."
        )
        mine, taken = got[0], int(got[1])
        _same_shape(mine, pixels, "the changed pixels")
        mine = mine.detach()
        moved = float(((mine - pixels) * slope).sum() / slope.norm())
        assert moved <= 0 or want == 0, "The net gets surer of its class: this goes uphill, subtract the step."
        assert taken != most or want == most, (
            f"All {most} steps were taken although the winner changed after {want}: test it before every step."
        )
        assert taken == want, f"The winner changes after {want} steps of length {length:g} (limit {most}), not {taken}."
        straight = pixels - want * length / 255 * slope / slope.norm()
        assert torch.allclose(mine, straight, atol=1e-3), (
            "The number of steps is right, the picture is not: each step goes against the gradient of the score of "
            "the first winner (log-probability), its length length / 255."
        )


def _linear_net(seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, 2)).eval()


def _same_shape(got, like: Tensor, what: str) -> None:
    assert isinstance(got, Tensor), f"Return {what}, a tensor, not a {type(got).__name__}."
    assert got.shape == like.shape, f"{what.capitalize()} should be {tuple(like.shape)}, not {tuple(got.shape)}."
