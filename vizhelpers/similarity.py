"""How alike two maps are: in the order of their pixels, and to the eye (lesson 13)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 0 on of `(P,)`, equal values share the mean of theirs."""
    _, at, counts = values.unique(return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts + 1) / 2).to(torch.float64)[at]


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's rank correlation of two maps: do they put the pixels in the same order?

    Args:
        a: `(N,H,W)`, any range.
        b: likewise.

    Returns:
        `(N,)` float64 on the CPU, -1..1: 1 the same order, 0 nothing in common; 0 also where a map is constant.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> vh.rank_correlation(torch.rand(1, 9, 9), torch.rand(1, 9, 9)).shape
        torch.Size([1])

    Source: Spearman 1904; ties share their mean rank.
    Taught in: 13_can_we_trust_these_maps.
    """
    _same_shape(a, b)
    found = []
    for one, two in zip(a, b, strict=True):
        r, s = (_ranks(v.detach().flatten().cpu()) for v in (one, two))  # MPS has no float64
        r, s = r - r.mean(), s - s.mean()
        size = r.norm() * s.norm()
        found.append((r @ s) / size if size > 0 else size)
    return torch.stack(found)


def ssim(a: Tensor, b: Tensor, *, deviation: float = 1.5) -> Tensor:
    """Structural similarity of two maps, each first stretched to 0..1: do they look alike?

    Args:
        a: `(N,H,W)`, any range, at least 11 pixels each way.
        b: likewise.
        deviation: of the Gaussian window of 11x11 pixels.

    Returns:
        `(N,)`, at most 1: the mean over all windows that lie inside.

    Raises:
        ValueError: the shapes differ, or a map is smaller than the window.

    Example:
        >>> m = torch.rand(1, 32, 32); vh.ssim(m, 3 * m + 1)
        tensor([1.])

    Source: Wang et al. 2004, equation 13, with its constants 0.01 and 0.03.
    Taught in: 13_can_we_trust_these_maps.
    """
    _same_shape(a, b)
    if min(a.shape[1:]) < 11:
        raise ValueError(f"ssim looks through windows of 11x11 pixels; maps {tuple(a.shape)} are smaller.")
    along = torch.exp(-((torch.arange(11, dtype=a.dtype, device=a.device) - 5) ** 2) / (2 * deviation**2))
    window = torch.outer(along, along)[None, None] / along.sum() ** 2
    a, b = (_unit(m.detach())[:, None] for m in (a, b))

    def mean(m: Tensor) -> Tensor:
        return F.conv2d(m, window)

    u, v = mean(a), mean(b)
    own, other, both = mean(a * a) - u * u, mean(b * b) - v * v, mean(a * b) - u * v
    c, d = 0.01**2, 0.03**2
    return ((2 * u * v + c) * (2 * both + d) / ((u * u + v * v + c) * (own + other + d))).mean((1, 2, 3))


def _unit(maps: Tensor) -> Tensor:
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / torch.where(high > low, high - low, 1)


def _same_shape(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape or a.dim() != 3:
        raise ValueError(f"Two maps to compare must both be (N,H,W), not {tuple(a.shape)} and {tuple(b.shape)}.")
