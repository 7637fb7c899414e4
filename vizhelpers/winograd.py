"""3x3 convolutions with a quarter of the multiplications (Winograd's minimal filtering), for CPUs with float32 only.

A convolution of 4x4 results from a 6x6 tile needs 144 multiplications done directly, and 36 after a linear change of
basis on tiles and kernels. The changes of basis cost too, so this pays where there are many channels. The sums are the
same up to rounding (about 1e-5 of the largest value).
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Lavin & Gray 2016, section 4.2: F(4x4, 3x3)
_TILE = torch.tensor([
    [4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]).double()  # fmt: skip
_KERNEL = torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]).double() / 24
_RESULT = torch.tensor([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]).double()
WORTH = 96  # channels on both sides, below which the direct convolution is faster (measured, one core)


def transformed(weight: Tensor) -> Tensor:
    """Kernels `(K,C,3,3)` in the other basis, `(36,C,K)`."""
    basis = _KERNEL.to(weight)
    return torch.einsum("ai,bj,kcij->abck", basis, basis, weight).reshape(36, *weight.shape[1::-1]).contiguous()


def convolve(x: Tensor, kernels: Tensor) -> Tensor:
    """`F.conv2d(x, weight, padding=1)` with `kernels = transformed(weight)`; `(N,C,H,W)` -> `(N,K,H,W)`."""
    n, _, h, w = x.shape
    channels = kernels.shape[2]
    rows, columns = -(-h // 4), -(-w // 4)
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 4 * columns - w + 1, 1, 4 * rows - h + 1)).contiguous()
    s = padded.stride()
    tiles = padded.as_strided((6, 6, n, rows, columns, x.shape[1]), (s[1], s[2], s[0], 4 * s[1], 4 * s[2], s[3]))
    tiles = torch.kron(_TILE, _TILE).to(x) @ tiles.reshape(36, -1)
    sums = torch.bmm(tiles.view(36, n * rows * columns, -1), kernels)
    out = (torch.kron(_RESULT, _RESULT).to(x) @ sums.view(36, -1)).view(4, 4, n, rows, columns, channels)
    out = out.permute(2, 3, 0, 4, 1, 5).reshape(n, 4 * rows, 4 * columns, channels)
    return out[:, :h, :w].permute(0, 3, 1, 2)


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, there, back):
        ctx.back = back
        return convolve(x, there)

    @staticmethod
    def backward(ctx, g):
        return convolve(g, ctx.back), None, None


class WinogradConv(nn.Module):
    """A frozen 3x3 convolution with stride 1 and padding 1; gradients go to the input only."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        weight = conv.weight.detach()
        self.register_buffer("there", transformed(weight), persistent=False)
        # the gradient of such a convolution is one itself: kernels turned round, channels exchanged
        self.register_buffer("back", transformed(weight.flip(2, 3).transpose(0, 1)), persistent=False)
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach().view(-1, 1, 1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        out = _Convolve.apply(x, self.there, self.back)
        return out if self.bias is None else out + self.bias


def suits(module: nn.Module) -> bool:
    """Whether a module is a convolution that this file computes, and computes faster."""
    return (
        type(module) is nn.Conv2d and module.kernel_size == (3, 3) and module.stride == (1, 1)
        and module.padding == (1, 1) and module.dilation == (1, 1) and module.groups == 1
        and module.padding_mode == "zeros" and min(module.in_channels, module.out_channels) >= WORTH
    )  # fmt: skip
