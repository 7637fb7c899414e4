"""Checks of the exercises of lesson 01_first_layer_filters."""
import math

import torch

from .kit import judge, noise


def check_filter_to_rgb(answer):
    """Exercise 01.1: `answer(weights (3,h,w)) -> (h,w,3)` in 0..1 on a symmetric scale, 0 as mid grey."""
    weights = torch.tensor([-0.5, 0.2, 0.1, 0.0, 0.3, -0.1, 0.05, 0.0, 0.25, -0.3, 0.1, 0.2]).view(3, 2, 2)
    for scale in (1.0, 1e-3, 40.0, 0.0):  # the same picture, however strong the filter is; zeros are flat grey
        w = weights.permute(1, 2, 0) * (scale > 0)  # the largest magnitude is 0.5, so w lies in -0.5..0.5
        judge(answer, 0.5 + w, {
            "a picture is (height, width, colour): permute(1, 2, 0) at the end": 0.5 + w.permute(2, 0, 1),
            "reshape deals the numbers out in another order: use permute(1, 2, 0)": 0.5 + weights.reshape(2, 2, 3),
            "negative weights are cut off at 0, so half of the filter is lost: put 0 at mid grey": 2 * w.clamp(0),
            "stretched from min to max, weight 0 has another grey in every filter: divide by the largest magnitude":
                (w - w.min()) / (w.max() - w.min()),
            "divide by the largest magnitude, not by the largest weight: here -0.5 is the strongest": 0.5 + w / 0.6,
            "each channel has a scale of its own, which changes the colours": 0.5 + w / w.abs().amax((0, 1)) / 2,
            "values must lie in 0..1: halve them and add 0.5": 2 * w,
        } | {
            f"clamp(min={least}) makes a weak filter too grey: clamp by far less, such as 1e-12":
            0.5 + w / max(1, 2 * least / max(scale, 1e-9)) for least in (0.1, 0.01, 0.001)
        }, weights * scale, hint="0.5 + w / (2 * largest magnitude), what keeps that from 0 must be tiny")  # fmt: skip


def check_ring_share(answer):
    """Exercise 01.2: `answer(magnitude (S,S), low, high) -> float`, the share of energy with low <= radius < high."""
    magnitude = noise(16, 16).abs() + 0.1  # 16, so that radius 0.25 is exact

    def share(low, high, power=2, middle=8, unit=16, inside=lambda low, r, high: low <= r < high, part=True):
        cells = [(float(magnitude[i, j]) ** power, math.hypot(i - middle, j - middle) / unit)
                 for i in range(16) for j in range(16)]  # fmt: skip
        return sum(e for e, r in cells if inside(low, r, high)) / (sum(e for e, _ in cells) if part else 1)

    for ring in ((0.1, 0.3), (0.0, 0.25), (0.25, 0.8), (0.0, 1.0)):  # the last one holds everything
        judge(answer, share(*ring), {
            "energy is the magnitude squared": share(*ring, power=1),
            "zero frequency lies in the middle, at [S // 2, S // 2], not in the corner": share(*ring, middle=0),
            "the radius is in cycles per pixel: divide the distance in samples by S": share(*ring, unit=1),
            "divide by the energy of all frequencies": share(*ring, part=False),
            "`high` lies outside: low <= radius < high": share(*ring, inside=lambda low, r, high: low <= r <= high),
            "`low` lies inside: low <= radius < high": share(*ring, inside=lambda low, r, high: low < r < high),
        }, magnitude, *ring, hint="the share of the energy between {} and {}".format(*ring))  # fmt: skip


def check_aliased_frequency(answer):
    """Exercise 01.3: `answer(f, stride)` is the slowest frequency with f's samples every `stride` pixels."""
    for f, stride in ((0.05, 4), (0.1, 4), (0.45, 4), (0.2, 4), (0.23, 4), (0.3, 4), (0.3, 2), (0.2, 2), (0.4, 1),
                      (0.26, 3), (-0.2, 4)):  # fmt: skip
        alike = [f - k / stride for k in range(-stride - 1, stride + 2)]
        want = min(alike, key=abs)
        case = f"a wave of {f} cycles per pixel seen every {stride} px"
        slips = {
            f"{case}: your answer is in cycles per unit; divide by the stride": want * stride,
            f"{case} runs the other way: the sign says which way it moves": -want,
            f"{case} is too fine for that grid, it cannot stay {f}": f,
        }
        slips |= {f"{case}: {other:.3f} has the same samples, but {want:.3f} is slower: between -1/(2 stride) and "
                  "1/(2 stride)": other for other in alike if other != want}  # fmt: skip
        judge(answer, want, slips, f, stride, hint=f"{case}: take off whole multiples of 1/stride")
