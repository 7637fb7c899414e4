"""Checks of the exercises of lesson 11_style_transfer."""
import torch
from torch import Tensor

from .kit import compare, judge, noise, run


def products(features: Tensor) -> Tensor:
    """`(N,C,C)`, of every two channels the sum over all places."""
    return torch.einsum("nahw,nbhw->nab", features, features)


def check_gram_matrix(answer):
    """Exercise 11.1: `answer(features) -> (N,C,C)`, `F F^T / (C h w)` of each picture."""
    f = noise(2, 3, 4, 5)
    want = products(f) / 60
    slips = {f"divide by C h w, here 3 * 4 * 5 = 60, not by {by}": products(f) / by for by in (1, 3, 20, 120)}
    folded = f.reshape(3, -1)
    slips |= {f"the batch is folded into one matrix, by {by}: reshape to (N, C, h * w)": folded @ folded.T / by
              for by in (60, 120)}  # fmt: skip
    judge(answer, want, slips | {
        "each picture has a Gram matrix of its own: keep dimension 0": want.mean(0, keepdim=True).expand(2, -1, -1),
        "each picture has a Gram matrix of its own: the shape should be (N, C, C)": want[0],
    }, f, hint="entry (a, b) is the sum over all places of channel a times channel b, so the matrix is symmetric; a "
        "view or reshape to (N, C, h*w) must start from (N, C, h, w)")  # fmt: skip


def check_style_loss(answer):
    """Exercise 11.2: `answer(features, goal) -> one number`, squared distance of Gram matrices over the goal's own."""
    f, goal = noise(1, 3, 4, 5).requires_grad_(), noise(1, 3, 6, 2, seed=2)
    a, b = products(f) / 60, products(goal) / 36
    distance = (a - b).square()
    want = distance.sum() / b.square().sum()
    got = run(answer, f, goal)
    assert isinstance(got, Tensor) and got.numel() == 1, "return one number, a tensor with one element: sum up."
    compare(got.reshape(()), want, {
        "divide by the goal's own size, the sum of its squared entries": distance.sum(),
        "divide by the goal's own size, the sum of its squared entries (not by their number)": distance.mean(),
        "compare with the painting's size, not with that of the picture": distance.sum() / a.square().sum(),
        "square the differences, do not take their magnitude": (a - b).abs().sum() / b.abs().sum(),
        "the sums of squares are compared, no square root": want.sqrt(),
    }, hint="compare the Gram matrices, not the features or their means: sizes may differ")  # fmt: skip
    assert got.requires_grad, "no gradient comes through: do not detach the features."
    mine, true = (torch.autograd.grad(loss, f)[0] for loss in (got, want))
    compare(mine, true, hint="this is the gradient: the goal is fixed, the features are not")


def check_any_size(answer):
    """Exercise 11.3: `answer(net, x)` for a net that needs sides divisible by 4: same size out, nothing stretched."""
    seen = []

    def halving(x):
        seen.append(x.detach().clone())
        return x[:, :, : x.shape[2] // 4 * 4, : x.shape[3] // 4 * 4] * 0.5

    for height, width in ((21, 26), (24, 28), (23, 25)):
        x = noise(1, 3, height, width).sigmoid() + 0.5
        got = run(answer, halving, x)
        assert tuple(got.shape) == tuple(x.shape), f"the shape should be that of the picture, not {tuple(got.shape)}."
        rows, columns = seen[-1].shape[2:]
        found = [(r, c) for r in range(rows - height + 1) for c in range(columns - width + 1)
                 if torch.allclose(seen[-1][:, :, r : r + height, c : c + width], x, atol=1e-6)]  # fmt: skip
        assert not (rows % 4 or columns % 4), f"the net saw {rows, columns}: both sides must be a multiple of 4."
        assert rows >= height and columns >= width, "the net saw less than the picture: go up to a multiple of 4."
        assert found, "the picture was stretched: add rows and columns instead."
        (top, left), added = found[0], torch.ones(rows, columns, dtype=torch.bool)
        added[top : top + height, left : left + width] = False
        flat = added.any() and (seen[-1][0][:, added].std(1) < 1e-4).all()
        assert not flat, "a border of one colour, such as black, was added: the net would paint a frame; reflect."
        compare(got, x * 0.5, hint="cut the result where the picture was: no shift")
