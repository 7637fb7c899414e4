"""Checks of the exercises of lesson 02_inside_the_layers."""
import torch
from torch import nn

from .kit import calls, compare, judge, net, noise, run, several


def check_channel_response(answer):
    """Exercise 02.1: `answer(model, x, layer) -> (N,K)`, the mean of the positive part of a hooked layer."""
    model = net(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(True), nn.Conv2d(4, 6, 3, stride=2), nn.ReLU(True),
                nn.Conv2d(6, 5, 3), nn.AdaptiveAvgPool2d(1), seed=5)  # fmt: skip
    x = noise(2, 3, 12, 16)
    for number in (0, 2, 4):
        model.train(number == 2)
        out = model[: number + 1](x)  # the in-place ReLU behind the layer has not run
        with calls(model):
            judge(answer, out.relu().mean((2, 3)), {
                "these are means of the signed output: take the positive part of every unit first": out.mean((2, 3)),
                "the mean came before the ReLU: take the positive part of every unit first": out.mean((2, 3)).relu(),
                "these are magnitudes: a negative output counts 0, take relu, not abs": out.abs().mean((2, 3)),
                "this is the maximum, not the mean": out.relu().amax((2, 3)),
            }, model, x, model[number], hint="the mean over positions of the positive output of the layer")  # fmt: skip


def check_receptive_field(answer):
    """Exercise 02.2: `answer(chain of (kernel, stride, padding, dilation)) -> (size, jump, start)`."""
    reasons = {
        "size": "the field grows by (kernel - 1) * dilation * jump, with the jump from before this layer",
        "jump": "the jump is the product of all strides so far",
        "start": "start goes down by padding * jump, with the jump from before this layer",
    }
    for chain in ([(3, 1, 1, 1)], [(3, 1, 1, 1), (3, 1, 1, 1), (2, 2, 0, 1), (3, 1, 1, 1)],
                  [(11, 4, 2, 1), (3, 2, 0, 1), (5, 1, 2, 1)], [(3, 2, 1, 1), (3, 1, 4, 4), (3, 2, 0, 2)],
                  [(1, 1, 0, 1), (7, 2, 3, 1), (3, 2, 1, 1), (1, 1, 0, 1)]):  # fmt: skip
        x = torch.ones(1, 1, 600, dtype=torch.float64, requires_grad=True)  # the oracle: what the gradient reaches
        out = x
        for kernel, stride, padding, dilation in chain:
            out = torch.conv1d(out, torch.ones(1, 1, kernel, dtype=torch.float64), None, stride, padding, dilation)
        middle = out.shape[2] // 2
        here, next_one = (torch.autograd.grad(out[0, 0, unit], x, retain_graph=True)[0][0, 0].nonzero()
                          for unit in (middle, middle + 1))  # fmt: skip
        first, jump = int(here.min()), int(next_one.min() - here.min())  # a dilated kernel's field spans its gaps
        truth = (int(here.max()) - first + 1, jump, first - jump * middle)
        got = several(run(answer, list(chain)), *reasons)
        for (name, reason), mine, true in zip(reasons.items(), got, truth, strict=True):
            compare(mine, true, hint=f"the {name} of the chain {chain}: {reason}")


def check_top_pictures(answer):
    """Exercise 02.3: `answer(values (N,K), channel, count) -> list of picture numbers`, strongest first."""
    values = torch.tensor([[3.0, -3.0], [9.0, 4.0], [1.0, -1.0], [7.0, 8.0], [5.0, -6.0]])
    for channel, count in ((0, 3), (1, 2), (0, 9)):
        column = values[:, channel]
        order = sorted(range(5), key=lambda n: -column[n])  # noqa: B023
        judge(answer, order[:count], {
            "the order is reversed: the strongest picture comes first": order[:count][::-1],
            "these are the weakest: sort descending": order[::-1][:count],
            "these are the largest by magnitude: keep the sign": column.abs().argsort(descending=True)[:count],
            "these are values: return the numbers of the pictures": column[order[:count]],
        }, values, channel, count, hint=f"the {count} strongest of channel {channel}: sort that column")  # fmt: skip


def check_separating_channel(answer):
    """Exercise 02.4: `answer(responses (N,K), member (N,) bool) -> (channel, auc)`."""
    member = torch.arange(20) % 4 == 1
    noisy = noise(20, 12, seed=11).sigmoid()
    noisy[member, 7] += 0.6
    sparse = torch.tensor([[1.0, 9.0, 0.3], [0.0, 0.0, 0.2], [0.0, 0.0, 0.9], [0.0, 0.0, 0.8], [0.0, 0.0, 0.7],
                           [0.0, 8.0, 0.6], [0.0, 0.0, 0.5], [0.0, 0.0, 0.4]])  # fmt: skip
    for responses, inside in ((noisy, member), (sparse, torch.arange(8) < 2)):  # sparse: ties at 0, as after a ReLU
        auc = []
        for column in responses.T:
            wins = [(p > q) + 0.5 * (p == q) for p in column[inside].tolist() for q in column[~inside].tolist()]
            auc.append(sum(wins) / len(wins))
        best = max(range(len(auc)), key=auc.__getitem__)
        channel, mine = several(run(answer, responses, inside), "channel", "auc")
        compare(channel, best, {"this is the channel with the lowest AUC": auc.index(min(auc))},
                hint="the channel with the highest AUC, which is no difference of means")  # fmt: skip
        compare(mine, auc[best], {"this is the AUC the other way round: is the member higher?": 1 - auc[best]},
                hint="the AUC: a tie counts one half, and the mean is over all pairs")  # fmt: skip
