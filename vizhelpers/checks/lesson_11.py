"""Checks of the exercises of lesson 11_style_transfer."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def check_gram_matrix(answer: Callable) -> None:
    """Exercise 11.1: `answer(features) -> (N,C,C)`, `F F^T / (C h w)` of each picture."""
    f = _noise(2, 3, 4, 5)
    kept = f.clone()
    got = _tensor(answer(f), (2, 3, 3), "(N, C, C)")
    assert torch.equal(f, kept), "the features were changed: do not work in place."
    whole = torch.einsum("nahw,nbhw->nab", kept, kept)
    want = whole / (3 * 4 * 5)
    if torch.allclose(got, want, atol=1e-5):
        return
    for divisor in (1, 3, 4 * 5, 2 * 3 * 4 * 5):
        assert not torch.allclose(got, whole / divisor, atol=1e-5), "divide by C h w, here 3 * 4 * 5 = 60."
    mean = want.mean(0, keepdim=True).expand(2, -1, -1)
    assert not torch.allclose(got, mean, atol=1e-5), "each picture has a Gram matrix of its own: keep dimension 0."
    assert torch.allclose(got, got.transpose(1, 2), atol=1e-5), "a Gram matrix is symmetric; yours is not."
    raise AssertionError(
        "the numbers are wrong: entry (a, b) is the sum over all places of channel a times channel b. "
        "If you turned the features round first, a view or reshape to (N, C, h*w) must start from (N, C, h, w)."
    )


def check_style_loss(answer: Callable) -> None:
    """Exercise 11.2: `answer(features, goal) -> one number`, squared distance of Gram matrices over the goal's own."""
    f, goal = _noise(1, 3, 4, 5).requires_grad_(), _noise(1, 3, 6, 2, seed=1)
    got = answer(f, goal)
    assert isinstance(got, Tensor) and got.numel() == 1, "return one number, a tensor with one element: sum up."
    a, b = (torch.einsum("nahw,nbhw->nab", x, x) / x[0].numel() for x in (f, goal))
    want = (a - b).square().sum() / b.square().sum()
    if not torch.allclose(got.detach(), want.detach(), rtol=1e-4):
        slips = {
            "divide by the goal's own size, the sum of its squared entries": (a - b).square().sum(),
            "divide by the goal's own size, the sum of its squared entries (not by their number)":
                (a - b).square().mean(),
            "compare with the painting's size, not with that of the picture": (a - b).square().sum() / a.square().sum(),
            "square the differences, do not take their magnitude": (a - b).abs().sum() / b.abs().sum(),
            "the sums of squares are compared, no square root": want.sqrt(),
        }  # fmt: skip
        for sentence, value in slips.items():
            assert not torch.allclose(got.detach(), value.detach(), rtol=1e-4), f"{sentence}."
        raise AssertionError("compare the Gram matrices, not the features or their means: sizes may differ.")
    assert got.requires_grad, "no gradient comes through: do not detach the features."
    (slope,) = torch.autograd.grad(got, f)
    (true,) = torch.autograd.grad(want, f)
    assert torch.allclose(slope, true, atol=1e-6), "the gradient is wrong: the goal is fixed, the features are not."


def check_any_size(answer: Callable) -> None:
    """Exercise 11.3: `answer(net, x)` for a net that needs sides divisible by 4: same size out, nothing stretched."""
    seen = []

    def net(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return x[:, :, : x.shape[2] // 4 * 4, : x.shape[3] // 4 * 4] * 0.5

    for height, width in ((21, 26), (24, 28), (23, 25)):
        x = _noise(1, 3, height, width).sigmoid() + 0.5
        seen.clear()
        got = _tensor(answer(net, x), (1, 3, height, width), "that of the picture")
        shape = seen[-1].shape[2:]
        assert not (shape[0] % 4 or shape[1] % 4), f"the net saw {tuple(shape)}: both sides must be a multiple of 4."
        assert shape[0] >= height and shape[1] >= width, "the net saw less than the picture: go up to a multiple of 4."
        assert torch.allclose(seen[-1][:, :, :height, :width], x, atol=1e-6) or _inside(seen[-1], x), (
            "the picture was stretched: add rows and columns instead."
        )
        assert float(seen[-1].min()) > 0.4, "black was added: the net would paint a frame; reflect the picture instead."
        assert torch.allclose(got, x * 0.5, atol=1e-6), "cut the result where the picture was: no shift."


def _inside(seen: Tensor, x: Tensor) -> bool:
    """Whether the picture lies somewhere else in what the net saw."""
    height, width = x.shape[2:]
    return any(
        torch.allclose(seen[:, :, top : top + height, left : left + width], x, atol=1e-6)
        for top in range(seen.shape[2] - height + 1) for left in range(seen.shape[3] - width + 1)
    )  # fmt: skip


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _tensor(got, shape: tuple[int, ...], words: str) -> Tensor:
    assert isinstance(got, Tensor), f"return a tensor; yours is a {type(got).__name__}."
    assert tuple(got.shape) == shape, f"the shape should be {words} = {shape}, not {tuple(got.shape)}."
    return got.detach()
