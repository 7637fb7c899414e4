"""Checks of the exercises of lesson 03_tsne_of_fc7."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def check_penultimate(answer: Callable) -> None:
    """Exercise 03.1: `answer(model, x) -> (N,D)`, the input of the model's last linear layer, dropout off."""
    net, x = _net(), torch.randn(3, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    net.train()  # as a training loop leaves it
    body = net[0](x).relu().flatten(1)
    before = net[3](body)
    want, logits = before.relu(), net[6](before.relu())
    hooks = _hooks(net)
    torch.manual_seed(0)
    got = _returned(answer(net, x), "(N, D)")
    assert _hooks(net) == hooks, "your hook is still there after the call: remove it, or use vh.capture."
    words = f"(N, D) = {tuple(want.shape)}"
    assert got.shape != logits.shape, "these are the class scores, the output of the last linear layer: take its input."
    assert got.shape == want.shape, f"the result should have the shape {words}, not {tuple(got.shape)}."
    if torch.allclose(got, before, atol=1e-5):
        raise AssertionError("these are the numbers before the ReLU: take what enters the last linear layer.")
    assert torch.allclose(got, _returned(answer(net, x), "(N, D)")), (
        "two calls give different features: dropout is active. Use `with vh.evaluating(model):`."
    )
    assert torch.allclose(got, want, atol=1e-5), "these are not the numbers that enter the last linear layer."
    assert net.training and net[5].training, "the model was in train mode and is not any more: give it its mode back."


def check_nearest(answer: Callable) -> None:
    """Exercise 03.2: `answer(f, i, k) -> (k,)`, the k nearest other rows by cosine, nearest first."""
    f = torch.randn(40, 6, generator=torch.Generator().manual_seed(2)) * torch.linspace(0.2, 4, 40)[:, None]
    f[7] = f[3]  # a second copy of a picture
    for i in (3, 20):
        got = torch.as_tensor(answer(f.clone(), i, 5))
        assert tuple(got.shape) == (5,), f"return k = 5 row numbers, not the shape {tuple(got.shape)}."
        got = [int(n) for n in got]
        cosine = nn.functional.cosine_similarity(f, f[i : i + 1])
        rank = [n for n in cosine.argsort(descending=True).tolist() if n != i]
        slips = {
            "these are the farthest ones: a large cosine means near": rank[::-1],
            "this is the scalar product: divide by both lengths, else long rows win":
                [n for n in (f @ f[i]).argsort(descending=True).tolist() if n != i],
            "these are the nearest by Euclidean distance: the exercise asks for the cosine":
                [n for n in (f - f[i]).norm(dim=1).argsort().tolist() if n != i],
        }  # fmt: skip
        assert i not in got, (
            f"row {i} itself is among its neighbours: leave out row i by its number "
            "(dropping the first of the list drops a second copy of the picture instead)."
        )
        if got == rank[:5]:
            continue
        for sentence, wrong in slips.items():
            assert got != wrong[:5], f"{sentence}."
        assert i != 3 or 7 in got, "row 7 is a second copy of row 3, so it is the nearest: you dropped it."
        assert sorted(got) != sorted(rank[:5]), "the right rows in another order: the nearest comes first."
        raise AssertionError(f"the 5 nearest rows to row {i} are {rank[:5]}, not {got}.")


def check_trustworthiness(answer: Callable) -> None:
    """Exercise 03.3: `answer(f, points, k) -> float`, trustworthiness with Euclidean distances in both spaces."""
    from sklearn.manifold import trustworthiness

    f = torch.randn(30, 5, generator=torch.Generator().manual_seed(3))
    points = f[:, :2] + 0.3 * torch.randn(30, 2, generator=torch.Generator().manual_seed(4))
    got, k = float(answer(f.clone(), points.clone(), 4)), 4
    high, low = _ranks(f), _ranks(points)
    slips = {
        "the two spaces are swapped: look at the neighbours on the map, and at their ranks among the features":
            _trust(low, high, k),
        "count only what a rank is above k: rank - k, and 0 for neighbours in both spaces":
            1 - _scale(30, k) * float(high[(low >= 1) & (low <= k)].sum()),
        "the penalty is not scaled: 2 / (n k (2n - 3k - 1))": 1 - float(_penalty(high, low, k)),
        "this is the penalty: trustworthiness is 1 minus it": 1 - _trust(high, low, k),
        "ranks start at 1: the nearest other row has rank 1, not 0": _trust(high - 1, low, k),
    }  # fmt: skip
    want = _trust(high, low, k)
    assert abs(want - trustworthiness(f.numpy(), points.numpy(), n_neighbors=k)) < 1e-6  # two ways to the same number
    if abs(got - want) > 1e-4:
        for sentence, wrong in slips.items():
            assert abs(got - wrong) > 1e-4, f"{sentence}."
        raise AssertionError(f"the trustworthiness of this map is {want:.4f}, not {got:.4f}.")
    assert abs(float(answer(f, f, k)) - 1) < 1e-6, "a map that is the features themselves has a trustworthiness of 1."


def _ranks(rows: Tensor) -> Tensor:
    """`(n,n)`: 0 for the row itself, 1 for the nearest other one, ..."""
    return torch.cdist(rows, rows).fill_diagonal_(-1).argsort(1).argsort(1)


def _penalty(high: Tensor, low: Tensor, k: int) -> Tensor:
    return (high - k).clamp(min=0)[(low >= 1) & (low <= k)].sum()


def _scale(n: int, k: int) -> float:
    return 2 / (n * k * (2 * n - 3 * k - 1))


def _trust(high: Tensor, low: Tensor, k: int) -> float:
    return 1 - _scale(len(high), k) * float(_penalty(high, low, k))


def _net() -> nn.Module:
    """Convolution, linear, ReLU, dropout, linear: the end of AlexNet, small."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        end = nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Dropout(), nn.Linear(10, 5)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *end).requires_grad_(False)


def _hooks(net: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())


def _returned(got, words: str) -> Tensor:
    assert isinstance(got, Tensor), f"return a tensor {words}; yours is a {type(got).__name__}."
    assert got.ndim == 2, f"return one row per picture {words}, not the shape {tuple(got.shape)}."
    return got.detach()
