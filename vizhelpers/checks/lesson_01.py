"""Checks of the exercises of lesson 01_first_layer_filters."""
from __future__ import annotations

import math
from collections.abc import Callable

import torch


def check_filter_to_rgb(filter_to_rgb: Callable) -> None:
    """Exercise 01.1: `filter_to_rgb(weights (3,h,w))` gives `(h,w,3)` in 0..1 on a symmetric scale, 0 as mid grey."""
    weights = torch.tensor([-0.5, 0.2, 0.1, 0.0, 0.3, -0.1, 0.05, 0.0, 0.25, -0.3, 0.1, 0.2]).view(3, 2, 2)
    want = torch.tensor([[[0.5 + float(weights[c, i, j]) for c in range(3)] for j in range(2)] for i in range(2)])
    for scale in (1.0, 0.01, 40.0):  # the same picture, however strong the filter is
        given = weights * scale
        before = given.clone()
        got = filter_to_rgb(given)
        assert torch.equal(given, before), "the weights themselves were changed: compute on a copy, they are the net's."
        assert got is not None, "return the picture."
        got = torch.as_tensor(got).detach().float().cpu()
        assert got.shape != (3, 2, 2), "a picture is (height, width, colour): permute(1, 2, 0) at the end."
        assert got.shape == (2, 2, 3), f"weights (3, 2, 2) become a picture (2, 2, 3), not {tuple(got.shape)}."
        if torch.allclose(got, want, atol=1e-5):
            continue
        flat, rows = want - 0.5, want.flatten()
        slips = {
            "negative weights are cut off at 0, so half of the filter is lost: put 0 at mid grey": flat.clamp(0) * 2,
            "stretching from min to max gives weight 0 a different grey in every filter: divide by the largest "
            "magnitude": (want - rows.min()) / (rows.max() - rows.min()),
            "divide by the largest magnitude, not by the largest weight: here -0.5 is the strongest": flat / 0.6 + 0.5,
            "each channel has a scale of its own, which changes the colours: one maximum for all three":
                flat / flat.abs().amax((0, 1)) / 2 + 0.5,
            "reshape deals the numbers out in another order: use permute(1, 2, 0)":
                want.permute(2, 0, 1).reshape(2, 2, 3),
        }  # fmt: skip
        for sentence, wrong in slips.items():
            assert not torch.allclose(got, wrong, atol=1e-4), f"{sentence}."
        assert float(got.min()) >= -1e-6 and float(got.max()) <= 1 + 1e-6, (
            f"values must lie in 0..1, but yours go from {float(got.min()):.2f} to {float(got.max()):.2f}."
        )
        raise AssertionError("values differ from 0.5 + w / (2 * largest magnitude); weight 0 must be 0.5 exactly.")
    dead = torch.as_tensor(filter_to_rgb(torch.zeros(3, 2, 2))).float().cpu()
    assert torch.allclose(dead, torch.full((2, 2, 3), 0.5)), "a filter of zeros must become flat grey 0.5, not NaN."


def check_ring_share(ring_share: Callable) -> None:
    """Exercise 01.2: `ring_share(magnitude (S,S), low, high)` is the share of the energy with low <= radius < high."""
    magnitude = torch.rand(12, 12, generator=torch.Generator().manual_seed(0)) + 0.1

    def truth(low, high, power=2, middle=6, unit=12):
        cells = [(float(magnitude[i, j]) ** power, math.hypot(i - middle, j - middle) / unit)
                 for i in range(12) for j in range(12)]  # fmt: skip
        return sum(e for e, radius in cells if low <= radius < high) / sum(e for e, _ in cells)

    for low, high in ((0.1, 0.3), (0.0, 0.21), (0.26, 0.8)):
        before = magnitude.clone()
        got = float(ring_share(magnitude, low, high))
        assert torch.equal(magnitude, before), "the spectrum itself was changed: compute on a copy."
        if abs(got - truth(low, high)) < 1e-4:
            continue
        slips = {
            "energy is the magnitude squared": truth(low, high, power=1),
            "zero frequency lies in the middle, at [S // 2, S // 2], not in the corner": truth(low, high, middle=0),
            "the radius is in cycles per pixel: divide the distance in samples by S": truth(low, high, unit=1),
            "divide by the energy of all frequencies": truth(low, high) * float(magnitude.square().sum()),
        }
        for sentence, wrong in slips.items():
            assert abs(got - wrong) > 1e-4 * max(1, abs(wrong)), f"{sentence}."
        raise AssertionError(f"between {low} and {high} lies {truth(low, high):.4f} of this energy, not {got:.4f}.")
    assert abs(float(ring_share(magnitude, 0.0, 1.0)) - 1) < 1e-4, "all rings together must hold everything: 1."


def check_aliased_frequency(aliased_frequency: Callable) -> None:
    """Exercise 01.3: `aliased_frequency(f, stride)` is the slow frequency whose samples every `stride` px are f's."""
    for f, stride in ((0.05, 4), (0.1, 4), (0.45, 4), (0.2, 4), (0.23, 4), (0.3, 4), (0.3, 2), (0.2, 2), (0.4, 1),
                      (0.26, 3), (-0.2, 4)):  # fmt: skip
        want = min((f - k / stride for k in range(-stride - 1, stride + 2)), key=abs)
        got = float(aliased_frequency(f, stride))
        if abs(got - want) < 1e-6:
            continue
        case = f"A wave of {f} cycles per pixel seen every {stride} px"
        assert abs(got - want * stride) > 1e-6, f"{case}: {got:.3f} is in cycles per unit; divide by the stride."
        assert abs(got + want) > 1e-6, f"{case} runs at {want:.3f}, not {got:.3f}: the sign says which way it moves."
        assert abs(got - f) > 1e-6, f"{case} is too fine for that grid, it cannot stay {f}."
        turns = (got - want) * stride
        assert abs(turns - round(turns)) > 1e-6, (
            f"{case}: {got:.3f} has the same samples, but {want:.3f} is slower: between -1/(2 stride) and 1/(2 stride)."
        )
        raise AssertionError(f"{case} looks like {want:.3f}, not {got:.3f}: take off whole multiples of 1/stride.")
