"""3x3 convolutions with a quarter of the multiplications (Winograd's minimal filtering), for CPUs with float32 only.

A convolution of 4x4 results from a 6x6 tile needs 144 multiplications done directly, and 36 after a linear change of
basis on tiles and kernels. The changes of basis cost too, so this pays where there are many channels. The sums are the
same up to rounding (about 1e-5 of the largest value).
"""
from __future__ import annotations

import math
import threading

import torch
from torch import Tensor, nn

# Lavin & Gray 2016, section 4.2: F(4x4, 3x3)
_TILE = torch.tensor([
    [4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]).double()  # fmt: skip
_KERNEL = torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]).double() / 24
_RESULT = torch.tensor([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]).double()
WORTH = 64  # channels on both sides, below which the direct convolution is faster (measured)
BAND = 1_600_000  # numbers in a band of tiles: bounds the memory for large pictures, costs no time


def transformed(weight: Tensor) -> Tensor:
    """Kernels `(K,C,3,3)` in the other basis, `(36,C,K)`."""
    basis = _KERNEL.to(weight)
    return torch.einsum("ai,bj,kcij->abck", basis, basis, weight).reshape(36, *weight.shape[1::-1]).contiguous()


def convolve(x: Tensor, kernels: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.conv2d(x, weight, bias, padding=1)` with `kernels = transformed(weight)`; `(N,C,H,W)` -> `(N,K,H,W)`."""
    n, c, h, w = x.shape
    k, rows, columns = kernels.shape[2], -(-h // 4), -(-w // 4)
    room = _Room(x)
    padded = room("padded", n, 4 * rows + 2, 4 * columns + 2, c).zero_()
    padded[:, 1 : h + 1, 1 : w + 1] = x.permute(0, 2, 3, 1)
    s = padded.stride()
    tiles = padded.as_strided((6, 6, n, rows, columns, c), (s[1], s[2], s[0], 4 * s[1], 4 * s[2], s[3]))
    to_tiles, to_result = torch.kron(_TILE, _TILE).to(x), torch.kron(_RESULT, _RESULT).to(x)
    out = torch.empty(n, k, 4 * rows, 4 * columns, dtype=x.dtype, memory_format=torch.channels_last)
    results = out.permute(0, 2, 3, 1).view(n, rows, 4, columns, 4, k).permute(2, 4, 0, 1, 3, 5)
    band = max(1, BAND // (36 * n * columns * max(c, k)))
    for first in range(0, rows, band):
        part = tiles[:, :, :, first : first + band]
        flat = room("tiles", 36, part[0, 0].numel())
        flat.view(part.shape).copy_(part)
        count = n * part.shape[3] * columns
        changed = torch.mm(to_tiles, flat, out=room("changed", *flat.shape)).view(36, count, c)
        sums = torch.bmm(changed, kernels, out=room("sums", 36, count, k)).view(36, -1)
        back = torch.mm(to_result, sums, out=room("back", 16, count * k))
        back = back.view(4, 4, n, -1, columns, k)
        torch.add(back, 0 if bias is None else bias, out=results[:, :, :, first : first + band])
    # never a view: the ReLU behind may work in place
    return out if out.shape[2:] == (h, w) else out[:, :, :h, :w].clone(memory_format=torch.channels_last)


class _Room:
    """Scratch tensors of one device, type and thread, used by every call: fresh memory costs more than the sums."""

    _kept = threading.local()

    def __init__(self, like: Tensor):
        kept = self._kept.__dict__
        self.like, self.tensors = like, kept.setdefault((str(like.device), str(like.dtype)), {})

    def __call__(self, name: str, *shape: int) -> Tensor:
        size = math.prod(shape)
        if name not in self.tensors or self.tensors[name].numel() < size:
            with torch.inference_mode(False):  # a tensor made inside could not be written to outside
                self.tensors[name] = self.like.new_empty(size)
        return self.tensors[name][:size].view(shape)


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, there, back, bias):
        ctx.back = back
        return convolve(x, there, bias)

    @staticmethod
    def backward(ctx, g):
        return convolve(g, ctx.back), None, None, None


class WinogradConv(nn.Module):
    """A frozen 3x3 convolution with stride 1 and padding 1; gradients go to the input only."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        weight = conv.weight.detach()
        self.register_buffer("there", transformed(weight), persistent=False)
        # the gradient of such a convolution is one itself: kernels turned round, channels exchanged
        self.register_buffer("back", transformed(weight.flip(2, 3).transpose(0, 1)), persistent=False)
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return _Convolve.apply(x, self.there, self.back, self.bias)


def suits(module: nn.Module) -> bool:
    """Whether a module is a convolution that this file computes, and computes faster."""
    return (
        type(module) is nn.Conv2d and module.kernel_size == (3, 3) and module.stride == (1, 1)
        and module.padding == (1, 1) and module.dilation == (1, 1) and module.groups == 1
        and module.padding_mode == "zeros" and min(module.in_channels, module.out_channels) >= WORTH
    )  # fmt: skip
