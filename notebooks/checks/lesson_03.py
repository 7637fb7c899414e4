"""Checks of the exercises of lesson 03_tsne_of_fc7."""
import torch
from torch import nn

from .kit import compare, judge, net, noise, run


def check_penultimate(answer):
    """Exercise 03.1: `answer(model, x) -> (N,D)`, the input of the model's last linear layer, dropout off."""
    model = net(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Dropout(),
                nn.Linear(10, 5))  # fmt: skip
    x = noise(3, 3, 6, 6)
    before, want, logits = (model[:n](x) for n in (4, 6, 7))
    got = run(answer, model, x)
    model.train()  # as a training loop leaves it
    torch.manual_seed(0)
    got, again = run(answer, model, x), run(answer, model, x)
    same = torch.equal(torch.as_tensor(got), torch.as_tensor(again))
    assert same, "two calls give different features: dropout is active. Use `with vh.evaluating(model):`."
    compare(got, want, {
        "these are the class scores, the output of the last linear layer: take its input": logits,
        "these are the numbers before the ReLU: take what enters the last linear layer": before,
    })  # fmt: skip


def check_nearest(answer):
    """Exercise 03.2: `answer(f, i, k) -> (k,)`, the k nearest other rows by cosine, nearest first."""
    f = noise(40, 6, seed=2) * torch.linspace(0.2, 4, 40)[:, None]
    f[7] = f[3]  # a second copy of a picture: whichever of the two comes first, the other does not
    for i, copy in ((3, 7), (7, 3), (20, None)):
        def ranked(score, i=i):
            return [n for n in score.argsort(descending=True).tolist() if n != i]

        rank = ranked(nn.functional.cosine_similarity(f, f[i : i + 1]))
        got = torch.as_tensor(run(answer, f, i, 5)).flatten().tolist()
        assert i not in got, f"row {i} itself is among its neighbours: leave it out by its number, not by its place."
        assert got == rank[:5] or sorted(got) != sorted(rank[:5]), "the right rows in another order: nearest first."
        compare(got, rank[:5], {
            "these are the farthest ones: a large cosine means near": rank[::-1][:5],
            "this is the scalar product: divide by both lengths, else long rows win": ranked(f @ f[i])[:5],
            "these are the nearest by Euclidean distance, not by cosine": ranked(-(f - f[i]).norm(dim=1))[:5],
            "a second copy of the picture is its nearest row: you dropped it": [n for n in rank if n != copy][:5],
        }, hint=f"the 5 rows nearest to row {i}")  # fmt: skip


def check_trustworthiness(answer):
    """Exercise 03.3: `answer(f, points, k) -> float`, trustworthiness with Euclidean distances in both spaces."""
    from sklearn.manifold import trustworthiness

    n, k = 30, 4
    f = noise(n, 5, seed=3)
    points = f[:, :2] + 0.3 * noise(n, 2, seed=4)
    scale = 2 / (n * k * (2 * n - 3 * k - 1))
    high, low, cosine = (torch.cdist(a, a).fill_diagonal_(-1).argsort(1).argsort(1)  # 0: itself
                         for a in (f, points, nn.functional.normalize(f)))  # fmt: skip

    def penalty(high, low, less=k, most=k):
        return float((high - less).clamp(min=0)[(low >= 1) & (low <= most)].sum())

    judge(answer, trustworthiness(f.numpy(), points.numpy(), n_neighbors=k), {
        "the two spaces are swapped: neighbours on the map, ranks among the features": 1 - scale * penalty(low, high),
        "count only what a rank is above k: rank - k, or 0": 1 - scale * penalty(high, low, less=0),
        "the penalty is not scaled: 2 / (n k (2n - 3k - 1))": 1 - penalty(high, low),
        "this is the penalty: trustworthiness is 1 minus it": scale * penalty(high, low),
        "ranks start at 1: the nearest other row has rank 1, not 0": 1 - scale * penalty(high - 1, low),
        "only k - 1 others count: leave out the row itself, then take k": 1 - scale * penalty(high, low, most=k - 1),
        "k + 1 neighbours on the map count: ranks 1 to k": 1 - scale * penalty(high, low, most=k + 1),
        "the features are ranked by cosine: all distances are Euclidean": 1 - scale * penalty(cosine, low),
    }, f, points, k, hint="of the k nearest on the map, what their ranks among the features are above k")  # fmt: skip
    judge(answer, 1.0, {}, f, f, k, hint="a map that is the features themselves")
