"""Checks of the exercises of lesson 02_inside_the_layers."""
from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn


def check_channel_response(answer: Callable) -> None:
    """Exercise 1 of lesson 02: mean of the positive part of a hooked layer; `answer(model, x, layer) -> (N, K)`."""

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 3, stride=2),
                              nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)).eval()  # fmt: skip
        x = torch.randn(2, 3, 12, 16)
    before = x.clone()
    for number in (0, 2):
        layer = model[number]
        got = answer(model, x, layer)
        assert not layer._forward_hooks, "A hook is left on the layer: keep the handle and call handle.remove()."
        assert isinstance(got, torch.Tensor), f"Return a tensor (N, K); yours is a {type(got).__name__}."
        out = x
        for part in model[:number]:
            out = part(out.clone())
        out = F.conv2d(out, layer.weight, layer.bias, layer.stride, layer.padding).detach()
        shape = (2, out.shape[1])
        assert tuple(got.shape) == shape, f"The result should have the shape (N, K) = {shape}, not {tuple(got.shape)}."
        assert not torch.allclose(got, out.mean((2, 3)), atol=1e-5), (
            "These are means of the signed output: take the positive part of every unit first, then the mean."
        )
        assert not torch.allclose(got, out.mean((2, 3)).relu(), atol=1e-5), (
            "Here the mean came before the ReLU: take the positive part of every unit first, then the mean."
        )
        assert not torch.allclose(got, out.relu().amax((2, 3)), atol=1e-5), "This is the maximum, not the mean."
        assert torch.allclose(got, out.relu().mean((2, 3)), atol=1e-4), (
            "The numbers differ from the mean over positions of the layer's positive output: is it the right layer?"
        )
    assert torch.equal(x, before), "Your function changed the input x: leave it as it is."


def check_receptive_field(answer: Callable) -> None:
    """Exercise 2 of lesson 02: `answer(chain of (kernel, stride, padding, dilation)) -> (size, jump, start)`."""

    chains = [
        [(3, 1, 1, 1)],
        [(3, 1, 1, 1), (3, 1, 1, 1), (2, 2, 0, 1), (3, 1, 1, 1)],
        [(11, 4, 2, 1), (3, 2, 0, 1), (5, 1, 2, 1)],
        [(3, 2, 1, 1), (3, 1, 4, 4), (3, 2, 0, 2)],
        [(1, 1, 0, 1), (7, 2, 3, 1), (3, 2, 1, 1), (1, 1, 0, 1)],
    ]
    for chain in chains:
        x = torch.ones(1, 1, 1, 600, dtype=torch.float64, requires_grad=True)  # the truth: what the gradient reaches
        out = x
        for kernel, stride, padding, dilation in chain:
            weight = torch.ones(1, 1, 1, kernel, dtype=torch.float64)
            out = F.conv2d(out, weight, None, (1, stride), (0, padding), (1, dilation))
        middle = out.shape[-1] // 2
        reach = []
        for unit in (middle, middle + 1):
            (g,) = torch.autograd.grad(out[0, 0, 0, unit], x, retain_graph=True)
            # a dilated kernel leaves gaps; the field spans them
            reach.append(g[0, 0, 0].nonzero())
        first, last = int(reach[0].min()), int(reach[0].max())
        jump = int(reach[1].min()) - first
        truth = (last - first + 1, jump, first - jump * middle)
        got = answer(list(chain))
        assert got is not None and len(got) == 3, "Return three numbers: (size, jump, start)."
        for name, mine, true, reason in zip(
            ("size", "jump", "start"), got, truth,
            ("the field grows by (kernel - 1) * dilation * jump, with the jump from before this layer",
             "the jump is the product of all strides so far",
             "start goes down by padding * jump, with the jump from before this layer"), strict=True,
        ):  # fmt: skip
            assert int(mine) == true, f"For the chain {chain} the {name} is {true}, not {mine}: {reason}."


def check_top_pictures(answer: Callable) -> None:
    """Exercise 3 of lesson 02: `answer(values (N, K), channel, count) -> list of picture numbers`, strongest first."""

    values = torch.tensor([[3.0, -9.0], [9.0, -2.0], [1.0, -5.0], [7.0, -1.0], [5.0, -7.0]])
    for channel, count, truth in ((0, 3, [1, 3, 4]), (1, 2, [3, 1]), (0, 9, [1, 3, 4, 0, 2])):
        got = answer(values.clone(), channel, count)
        got = [int(n) for n in got]
        assert got != truth[::-1] or count == 1, "The order is reversed: the strongest picture comes first."
        assert got != values[:, channel].argsort()[:count].tolist(), "These are the weakest: sort descending."
        assert len(got) == len(truth), f"Asked for {count} of {len(values)} pictures, you return {len(got)} numbers."
        assert got == truth, (
            f"For channel {channel} the {count} strongest are {truth}, not {got}: sort that channel's column, and "
            "return picture numbers, not values."
        )


def check_separating_channel(answer: Callable) -> None:
    """Exercise 4 of lesson 02: `answer(responses (N, K), member (N,)) -> (channel, auc)`."""

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        noisy = torch.rand(20, 12)
    member = torch.arange(20) % 4 == 1
    noisy[member, 7] += 0.6
    sparse = torch.zeros(8, 3)  # ties at 0, as after a ReLU
    sparse[:2, 0] = torch.tensor([1.0, 0.0])
    sparse[0, 1], sparse[5, 1] = 9.0, 8.0
    sparse[:, 2] = torch.tensor([0.3, 0.2, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    cases = [(noisy, member), (sparse, torch.arange(8) < 2)]
    for responses, inside in cases:
        scores = []
        for column in responses.T.tolist():
            a = [v for v, i in zip(column, inside.tolist(), strict=True) if i]
            b = [v for v, i in zip(column, inside.tolist(), strict=True) if not i]
            scores.append(sum((p > q) + 0.5 * (p == q) for p in a for q in b) / (len(a) * len(b)))
        best = max(range(len(scores)), key=scores.__getitem__)
        got = answer(responses.clone(), inside.clone())
        assert got is not None and len(got) == 2, "Return two things: (channel, auc)."
        channel, auc = int(got[0]), float(got[1])
        assert channel == best, (
            f"The channel with the highest AUC is {best} ({scores[best]:.3f}), not {channel} ({scores[channel]:.3f}): "
            "compare every member with every other picture; a difference of means is not the AUC."
        )
        assert abs(auc - scores[best]) < 1e-3, (
            f"The AUC of channel {best} is {scores[best]:.3f}, not {auc:.3f}: a tie counts one half, and the mean is "
            "over all pairs."
        )
