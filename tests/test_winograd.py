"""Winograd's filtering against torch's own convolution, in float64."""
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vizhelpers import winograd
from vizhelpers.winograd import WinogradConv, convolve, suits, transformed


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(1, 5, 8, 12), (2, 3, 7, 9), (1, 4, 1, 2), (1, 2, 6, 5)])
def test_winograd_is_the_convolution(shape):
    x, weight = noise(*shape), noise(6, shape[1], 3, 3, seed=1)
    torch.testing.assert_close(convolve(x, transformed(weight)), F.conv2d(x, weight, padding=1))


def test_winograd_s_gradient_and_bias():
    conv = nn.Conv2d(4, 3, 3, padding=1).double().requires_grad_(False)
    fast, x = WinogradConv(conv), noise(1, 4, 6, 7).requires_grad_()
    torch.testing.assert_close(fast(x), conv(x))
    (want,) = torch.autograd.grad((conv(x) ** 2).sum(), x)
    (got,) = torch.autograd.grad((fast(x) ** 2).sum(), x)
    torch.testing.assert_close(got, want)


def test_winograd_is_offered_only_where_it_computes_the_same():
    assert suits(nn.Conv2d(128, 128, 3, padding=1))
    wrong = (dict(stride=2), dict(dilation=2), dict(groups=2), dict(padding_mode="reflect"), dict(padding=0))
    assert not any(suits(nn.Conv2d(128, 128, 3, **{"padding": 1} | w)) for w in wrong)
    assert not suits(nn.Conv2d(128, 128, 5, padding=2)) and not suits(nn.Conv2d(16, 16, 3, padding=1))


@pytest.mark.parametrize("band", [1, 500, 2000])
def test_bands_make_no_difference(monkeypatch, band):
    x, weight, bias = noise(2, 3, 17, 9), noise(5, 3, 3, 3, seed=1), noise(5, seed=2)
    monkeypatch.setattr(winograd, "BAND", band)
    found = [convolve(x, transformed(weight), bias) for _ in range(2)]  # the second finds used scratch tensors
    for got in found:
        torch.testing.assert_close(got, F.conv2d(x, weight, bias, padding=1))
    assert found[0].data_ptr() != found[1].data_ptr()


def test_the_result_is_its_own_tensor():
    conv = nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False).double()
    net, x = nn.Sequential(WinogradConv(conv), nn.ReLU(inplace=True)), noise(1, 4, 8, 8).requires_grad_()
    (got,) = torch.autograd.grad(net(x).square().sum(), x)  # in place behind it, as in VGG
    (want,) = torch.autograd.grad(conv(x).relu().square().sum(), x)
    torch.testing.assert_close(got, want)


def test_scratch_made_in_inference_mode_serves_outside(monkeypatch):
    monkeypatch.setattr(winograd._Room, "_kept", threading.local())
    x, weight = noise(1, 3, 8, 8), noise(2, 3, 3, 3, seed=1)
    with torch.inference_mode():
        convolve(noise(1, 3, 8, 8), transformed(weight))
    leaf = x.requires_grad_()
    conv = nn.Conv2d(3, 2, 3, padding=1, bias=False).double().requires_grad_(False)
    conv.weight.copy_(weight)
    (got,) = torch.autograd.grad(WinogradConv(conv)(leaf).square().sum(), leaf)
    (want,) = torch.autograd.grad(conv(leaf).square().sum(), leaf)
    torch.testing.assert_close(got, want)
