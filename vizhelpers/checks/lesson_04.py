"""Checks of the exercises of lesson 04_deconvnet."""
from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _tensor(got, shape: tuple[int, ...]) -> None:
    assert isinstance(got, Tensor), f"Return a tensor {shape}; yours is a {type(got).__name__}."
    assert tuple(got.shape) == tuple(shape), f"The result should have the shape {tuple(shape)}, not {tuple(got.shape)}."


def check_unpool(answer: Callable) -> None:
    """Exercise 1 of lesson 04: `answer(y, switches, (H, W)) -> (N, K, H, W)`, added where windows overlap."""
    for shape, kernel, stride in (((1, 1, 4, 6), 2, 2), ((2, 3, 9, 7), 3, 2), ((1, 2, 6, 5), 3, 1)):
        a = _noise(*shape).requires_grad_(True)
        pooled, switches = F.max_pool2d(a, kernel, stride, return_indices=True)
        y = _noise(*pooled.shape, seed=2)
        (truth,) = torch.autograd.grad(pooled, a, y)  # pooling picks, so its gradient puts back, and adds
        kept = y.clone(), switches.clone()
        got = answer(y, switches, shape[2:])
        assert torch.equal(y, kept[0]) and torch.equal(switches, kept[1]), "Your function changed its inputs."
        _tensor(got, shape)
        if stride < kernel:
            last = torch.zeros(*shape[:2], shape[2] * shape[3])
            some = last.scatter(2, switches.flatten(2), y.flatten(2)).view(shape)
            lost = got.ne(0).eq(some.ne(0)).all() and (got - truth).abs().max() > 1e-5
            assert not lost, (
                "The values stand in the right places, but where several windows share a winner the result is not "
                "their sum: add instead of writing (scatter_add_, index_add_ or +=)."
            )
        assert torch.allclose(got, truth, atol=1e-5), (
            "Not every value is where its maximum was: a switch is row * W + column in the pooling's *input*, for "
            "each picture and channel by itself."
        )


def check_stamps(answer: Callable) -> None:
    """Exercise 2 of lesson 04: `answer(weight, y, stride, padding, (H, W)) -> (N, C, H, W)`."""
    for size, kernel, stride, padding in (((6, 7), 3, 1, 0), ((9, 12), 3, 2, 1), ((16, 17), 5, 4, 2)):
        weight = _noise(4, 3, kernel, kernel)
        a = _noise(2, 3, *size, seed=5).requires_grad_(True)
        out = F.conv2d(a, weight, None, stride, padding)
        y = _noise(*out.shape, seed=6)
        (truth,) = torch.autograd.grad(out, a, y)
        case = f"kernel {kernel}, stride {stride}, padding {padding}"
        got = answer(weight, y, stride, padding, size)
        shape = (2, 3, *size)
        small = F.conv_transpose2d(y, weight, None, stride, padding).shape
        assert not (isinstance(got, Tensor) and got.shape == small and tuple(small) != shape), (
            f"With {case} you return {tuple(small[2:])} pixels for an input of {tuple(size)}: the last rows or columns "
            "are missing, since no whole stride reached them. Make the canvas from the input size."
        )
        _tensor(got, shape)
        upside_down = torch.nn.grad.conv2d_input(shape, weight.flip(2, 3), y, stride, padding)
        assert not torch.allclose(got, upside_down, atol=1e-4), "The stamps are upside down: do not flip the filters."
        assert torch.allclose(got, truth, atol=1e-4), (
            f"With {case} the numbers differ: the stamp of y[n, k, r, c] covers the rows r * stride - padding and "
            "following of the input; overlapping stamps add up, and what hangs over the border is cut off."
        )


def _reference(chain: nn.Sequential, x: Tensor, channel: int, relu: str = "signal", unpool: str = "add") -> Tensor:
    """Every step back as the gradient of that step alone, but for the ReLU."""
    values = [x]
    for layer in chain:
        values.append(layer(values[-1].clone()))
    last = values[-1][:, channel].relu()
    at = last.flatten(1).argmax(1)
    signal = torch.zeros_like(values[-1])
    for n, place in enumerate(at.tolist()):
        r, c = divmod(place, last.shape[2])
        signal[n, channel, r, c] = last[n, r, c]
    for layer, a in zip(reversed(chain), reversed(values[:-1]), strict=True):
        if isinstance(layer, nn.ReLU):
            signal = {"signal": signal.relu(), "gradient": signal * (a > 0), "guided": signal.relu() * (a > 0),
                      "none": signal}[relu]  # fmt: skip
            continue
        if isinstance(layer, nn.MaxPool2d) and unpool == "overwrite":
            switches = F.max_pool2d(a, layer.kernel_size, layer.stride, return_indices=True)[1].flatten(2)
            signal = torch.zeros_like(a).flatten(2).scatter(2, switches, signal.flatten(2)).view(a.shape)
            continue
        with torch.inference_mode(False), torch.enable_grad():
            leaf = a.clone().requires_grad_(True)
            (signal,) = torch.autograd.grad(layer(leaf), leaf, signal.clone())
    return signal


def check_deconvnet(answer: Callable) -> None:
    """Exercise 3 of lesson 04: `answer(chain, x, channel) -> (N, 3, H, W)` for a `Sequential`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        chains = [nn.Sequential(nn.Conv2d(3, 6, 5, 2, 1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2), nn.Conv2d(6, 8, 3),
                                nn.ReLU(inplace=True), nn.Conv2d(8, 5, 3, padding=1)),
                  nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3),
                                nn.ReLU())]  # fmt: skip
    for chain in chains:
        chain.requires_grad_(False).eval()
        x, kept = (_noise(2, 3, 30, 37, seed=9) for _ in range(2))
        truth = _reference(chain, x, 2)
        got = answer(chain, x, 2)
        assert torch.equal(x, kept), "Your function changed the input x: leave it as it is."
        _tensor(got, x.shape)
        near = lambda other: torch.allclose(got, other, atol=1e-5 + 1e-3 * float(other.abs().max()))  # noqa: B023, E731
        wrong = {
            "the ReLU on the way down keeps g where the *activation* was positive: that is the gradient. The deconvnet "
            "keeps g where g itself is positive.": _reference(chain, x, 2, "gradient"),
            "both the activation and the signal gate the ReLU: that is guided backpropagation (lesson 07).":
                _reference(chain, x, 2, "guided"),
            "the ReLU on the way down is missing.": _reference(chain, x, 2, "none"),
            "where two windows share a maximum, one value overwrites the other: use vh.unpool.":
                _reference(chain, x, 2, "signal", "overwrite"),
        }  # fmt: skip
        if near(truth):
            continue
        for sentence, other in wrong.items():
            assert not near(other), f"Nearly: {sentence}"
        ratio = (got * truth).sum((1, 2, 3)) / (truth * truth).sum((1, 2, 3))
        assert not torch.allclose(got, ratio[:, None, None, None] * truth, atol=1e-4), (
            "The pattern is right but its size is not: start with the unit's own value after the ReLU."
        )
        raise AssertionError(
            "The numbers differ: start with zeros everywhere but at the strongest unit of the channel of each picture, "
            "then go through the layers backwards, without any bias."
        )
