"""Checks of the exercises of lesson 10_activation_maximization."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def check_total_variation(answer: Callable) -> None:
    """Exercise 1 of lesson 10: `answer(image) -> (N,)`, mean squared differences down plus across."""
    image = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    before = image.clone()
    got = answer(image)
    assert torch.equal(image, before), "Your function changed the picture that it was given."
    assert isinstance(got, Tensor), f"Return a tensor (N,), not a {type(got).__name__}."
    assert got.shape == (2,), f"One number per picture, (N,) = (2,), not {tuple(got.shape)}: keep the batch apart."
    rows, columns = [], []
    for picture in image.tolist():
        down = [(c[i + 1][j] - c[i][j]) ** 2 for c in picture for i in range(4) for j in range(7)]
        across = [(c[i][j + 1] - c[i][j]) ** 2 for c in picture for i in range(5) for j in range(6)]
        rows.append(sum(down) / len(down))
        columns.append(sum(across) / len(across))
    rows, columns = torch.tensor(rows, dtype=torch.float64), torch.tensor(columns, dtype=torch.float64)

    def is_like(want: Tensor) -> bool:
        return torch.allclose(got.double(), want, rtol=1e-5)

    for one, way in ((rows, "down"), (columns, "across")):
        assert not is_like(one), f"Only the neighbours {way} are compared: add the other direction."
    assert not is_like((rows + columns) / 2), "This is the mean of the two directions: the exercise wants their sum."
    assert not is_like(rows * 84 + columns * 90), "These are sums: take the mean of each direction."
    absolute = image.diff(dim=2).abs().mean((1, 2, 3)) + image.diff(dim=3).abs().mean((1, 2, 3))
    assert not is_like(absolute), "The differences are to be squared, not only made positive."
    assert is_like(rows + columns), f"For the check's two pictures the values are {(rows + columns).tolist()}."
    flat = answer(torch.full((1, 3, 4, 4), 0.7))
    assert float(flat) == 0, "A picture of one colour has no variation: 0."


def check_dream_step(answer: Callable) -> None:
    """Exercise 2 of lesson 10: `answer(image, gradient_of, shift, rate) -> image`, jitter undone."""
    generator = torch.Generator().manual_seed(2)
    image = 0.3 + 0.4 * torch.rand(2, 3, 6, 8, generator=generator)
    slope = torch.randn(2, 3, 6, 8, generator=generator)
    slope[1] *= 100  # each picture has its own scale
    seen = []

    def gradient_of(picture: Tensor) -> Tensor:
        seen.append(picture.clone())
        return slope.clone()

    before = image.clone()
    got = answer(image, gradient_of, (2, -3), 0.01)
    assert torch.equal(image, before), "Your function changed the picture that it was given: return a new one."
    assert len(seen) == 1, f"gradient_of was called {len(seen)} times; one step needs it once."
    assert not torch.equal(seen[0], image), "gradient_of was given the picture where it stood: shift it first."
    rolled = image.roll((2, -3), (2, 3))
    assert torch.equal(seen[0], rolled), "The shift is (down, right), for torch.roll over the dimensions 2 and 3."
    assert isinstance(got, Tensor) and got.shape == image.shape, "Return a picture of the same shape."
    unit = slope / slope.abs().mean((1, 2, 3), keepdim=True)
    want = (rolled + 0.01 * unit).roll((-2, 3), (2, 3))

    def is_like(other: Tensor) -> bool:
        return torch.allclose(got, other.clamp(0, 1), atol=1e-6)

    assert not is_like(rolled + 0.01 * unit), "The picture was not shifted back: roll by the opposite shift at the end."
    assert not is_like((rolled - 0.01 * unit).roll((-2, 3), (2, 3))), "This goes downhill: add the step."
    assert not is_like((rolled + 0.01 * slope).roll((-2, 3), (2, 3))), (
        "The step has the gradient's own size: divide it by the mean of its magnitudes."
    )
    assert not is_like((rolled + 0.01 * slope / slope.abs().mean()).roll((-2, 3), (2, 3))), (
        "The mean magnitude was taken over the whole batch: each picture has its own, (N,1,1,1)."
    )
    assert is_like(want), "The result differs from: shift, add rate * gradient / its mean magnitude, clip, shift back."
    far = answer(image, gradient_of, (1, 1), 50.0)
    assert far.amin() >= 0 and far.amax() <= 1, "Values leave 0..1: clip with .clamp(0, 1)."


def check_stages(answer: Callable) -> None:
    """Exercise 3 of lesson 10: `answer(final, stages, growth) -> [sides]`, the last one exactly the final one."""
    for final, stages, growth in ((224, 4, 1.2), (416, 12, 1.2), (100, 1, 2.0), (160, 3, 2.0)):
        got = answer(final, stages, growth)
        assert isinstance(got, (list, tuple)), f"Return a list of sides in pixels, not a {type(got).__name__}."
        got = list(got)
        assert len(got) == stages, f"There are {stages} stages, but {len(got)} sides."
        assert all(isinstance(side, int) for side in got), "A side is a whole number of pixels: round it."
        assert got != sorted(got, reverse=True) or stages == 1, "The coarse stage comes first: turn the order round."
        assert got[-1] == final, f"The last stage has the final side, {final}, not {got[-1]}."
        want = [final / growth**n for n in reversed(range(stages))]
        assert all(abs(a - b) <= 1 for a, b in zip(got, want, strict=True)), (
            f"For ({final}, {stages}, {growth}) the sides are {[round(side) for side in want]}, not {got}."
        )
