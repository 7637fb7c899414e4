"""Checks of the exercises of lesson 04_deconvnet."""
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .kit import compare, judge, net, noise, run


def overwritten(y: Tensor, switches: Tensor, shape) -> Tensor:
    """Unpooling that forgets to add: of several windows with one winner the last one stays."""
    return torch.zeros(shape).flatten(2).scatter(2, switches.flatten(2), y.flatten(2)).view(shape)


def check_unpool(answer):
    """Exercise 04.1: `answer(y, switches, (H,W)) -> (N,K,H,W)`, added where windows overlap."""
    for shape, kernel, stride in (((1, 1, 4, 6), 2, 2), ((2, 3, 9, 7), 3, 2), ((1, 2, 6, 5), 3, 1)):
        a = noise(*shape).requires_grad_()
        pooled, switches = F.max_pool2d(a, kernel, stride, return_indices=True)
        y = noise(*pooled.shape, seed=2)
        (truth,) = torch.autograd.grad(pooled, a, y)  # pooling picks, so its gradient puts back, and adds
        judge(answer, truth, {
            "where windows share a winner it is not their sum: use scatter_add_": overwritten(y, switches, shape),
            "each value is spread over its window: only the place of its maximum gets it": F.interpolate(y, shape[2:]),
        }, y, switches, shape[2:], hint="not every value is where its maximum was; a switch is row * W + column of the "
            "pooling's *input*, for each picture and channel by itself")  # fmt: skip


def check_stamps(answer):
    """Exercise 04.2: `answer(weight, y, stride, padding, (H,W)) -> (N,C,H,W)`."""
    for size, kernel, stride, padding in (((6, 7), 3, 1, 0), ((9, 12), 3, 2, 1), ((16, 17), 5, 4, 2)):
        weight, a = noise(4, 3, kernel, kernel), noise(2, 3, *size, seed=5).requires_grad_()
        out = F.conv2d(a, weight, None, stride, padding)
        y = noise(*out.shape, seed=6)
        (truth,) = torch.autograd.grad(out, a, y)
        case = f"with kernel {kernel}, stride {stride}, padding {padding}"
        judge(answer, truth, {
            f"{case} the last rows or columns, which no whole stride reached, are missing: begin with the input's size":
                F.conv_transpose2d(y, weight, None, stride, padding),
            f"{case} cut the padding off at the top and left, too":
                F.conv_transpose2d(y, weight, None, stride)[:, :, : size[0], : size[1]],
            "the stamps are upside down: do not flip the filters":
                torch.nn.grad.conv2d_input(a.shape, weight.flip(2, 3), y, stride, padding),
        }, weight, y, stride, padding, size, hint=f"{case} the stamp of y[n, k, r, c] begins at row "
            "r * stride - padding of the input; overlapping stamps add up, what hangs over is cut off")  # fmt: skip


def walk_back(chain, x, channel, *, relu=lambda g, a: g.relu(), overwrite=False, size=torch.relu, place=lambda p: p):
    """The deconvnet, every step back as the gradient of that step alone, but for the ReLU."""
    *inputs, top = (chain[:n](x.clone()) for n in range(len(chain) + 1))
    units = top[:, channel].flatten(1)
    strongest = F.one_hot(place(units.argmax(1)), units.shape[1])
    g = torch.zeros_like(top)
    g[:, channel] = (strongest * size(units)).view_as(top[:, channel])
    for layer, a in zip(reversed(chain), reversed(inputs), strict=True):
        if isinstance(layer, nn.ReLU):
            g = relu(g, a)
        elif isinstance(layer, nn.MaxPool2d) and overwrite:
            g = overwritten(g, F.max_pool2d(a, layer.kernel_size, layer.stride, return_indices=True)[1], a.shape)
        else:
            g = torch.autograd.functional.vjp(layer, a, g)[1]
    return g


def check_deconvnet(answer):
    """Exercise 04.3: `answer(chain, x, channel) -> (N,3,H,W)` for a `Sequential`."""
    x = noise(3, 3, 30, 37, seed=9) * torch.tensor([1, 1, 0.1])[:, None, None, None]
    for chain in (
        net(nn.Conv2d(3, 6, 5, 2, 1), nn.ReLU(True), nn.MaxPool2d(3, 2), nn.Conv2d(6, 8, 3), nn.ReLU(True),
            nn.Conv2d(8, 5, 3, padding=1), seed=4),
        net(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.ReLU(), seed=4),
    ):  # fmt: skip
        back = partial(walk_back, chain, x, 2)
        if len(chain) == 6:  # the faint picture has no positive unit in this channel
            chain[5].bias[2] -= 0.1 + chain(x[2:])[:, 2].max()
        got, want = run(answer, chain, x, 2), back()
        fits = isinstance(got, Tensor) and got.shape == want.shape
        wrong = [n for n in (0, 1) if fits and not torch.allclose(got[n], want[n], 0, 1e-4)]
        compare(got, want, {
            "nearly: you keep g where the *activation* was positive: that is the gradient. Keep g where g is positive":
                back(relu=lambda g, a: g * (a > 0)),
            "nearly: both the activation and the signal gate the ReLU: that is guided backpropagation (lesson 07)":
                back(relu=lambda g, a: g.relu() * (a > 0)),
            "nearly: the ReLU on the way down is missing": back(relu=lambda g, a: g),
            "nearly: where windows share a maximum, one overwrites the other: use vh.unpool": back(overwrite=True),
            "the pattern is right but its size is not: start with the unit's own value": back(size=torch.ones_like),
            "start with the value after the ReLU: 0 if even the strongest is negative": back(size=lambda v: v),
            "all start at picture 0's place: each picture has its own": back(place=lambda p: p[:1].expand(3)),
        }, hint=f"picture {wrong[0]} starts at the wrong place: each picture has its own strongest unit"
            if len(wrong) == 1 else "start with zeros everywhere but at the strongest unit of each picture's "
            "channel, then go through the layers backwards, without any bias")  # fmt: skip
