"""What style transfer compares: Gram matrices, layers by the papers' names, pixels; and the net that looks."""
from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .hooks import resolve_layer
from .models import load_model

_kept: list[tuple] = []  # the nets used last, what was made ready for them, and their weights' state then


class _Gram(torch.autograd.Function):
    """The symmetric product has half the work of two factors on the way back: dF = F (g + g^T)."""

    @staticmethod
    def forward(ctx, rows):
        ctx.save_for_backward(rows)
        return rows.transpose(1, 2) @ rows

    @staticmethod
    def backward(ctx, g):
        (rows,) = ctx.saved_tensors
        return rows @ (g + g.transpose(1, 2)).to(rows)


def gram(features: Tensor) -> Tensor:
    """Gram matrix of a layer: how much each pair of channels is on at the same places, `F F^T / (C h w)`.

    Args:
        features: `(N,C,h,w)`, any range.

    Returns:
        `(N,C,C)` float32 or wider, symmetric, no negative eigenvalues; where things are in the picture does not count.

    Raises:
        ValueError: not the output of a convolutional layer.

    Example:
        >>> vh.gram(torch.ones(1, 2, 3, 3))
        tensor([[[0.5000, 0.5000],
                 [0.5000, 0.5000]]])

    Source: Gatys et al. 2016, equations 3 and 4.
    Taught in: 11_style_transfer.
    """
    if features.dim() != 4:
        raise ValueError(f"gram takes the output of a convolutional layer (N,C,h,w), not {tuple(features.shape)}.")
    n, channels, height, width = features.shape
    wide = features if features.dtype == torch.float64 else features.float()  # a sum of 50,000: no place for bfloat16
    with torch.autocast(features.device.type, enabled=False):
        rows = wide.permute(0, 2, 3, 1).reshape(n, height * width, channels)
        return _Gram.apply(rows) / (channels * height * width)


def classic_names(model: nn.Module) -> dict[str, str]:
    """The papers' names of a VGG's layers ("conv4_2", "relu4_2", "pool4") and the dotted names they have here.

    Args:
        model: a net whose convolutions lie in one chain; a block ends with its pooling layer.

    Returns:
        Classic name -> dotted name.

    Example:
        >>> vh.classic_names(vh.load_model("vgg16"))["relu4_2"]
        'features.20'

    Source: Simonyan & Zisserman 2015, table 1.
    Taught in: 11_style_transfer.
    """
    names, block, number = {}, 1, 0
    for dotted, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            number += 1
            names[f"conv{block}_{number}"] = dotted
        elif isinstance(module, nn.ReLU) and number:
            names[f"relu{block}_{number}"] = dotted
        elif isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
            names[f"pool{block}"] = dotted
            block, number = block + 1, 0
    return names


def find_layers(model: nn.Module, layers: Sequence[str]) -> list[str]:
    """Dotted names of layers given by dotted or classic name."""
    classic = classic_names(model)
    return [resolve_layer(model, classic.get(layer, layer) if isinstance(layer, str) else layer)[0] for layer in layers]


def relative(got: Tensor, goal: Tensor) -> Tensor:
    """Squared distance over the goal's own squared length, `(N,)`: 0 at the goal, 1 for nothing at all."""
    return (got - goal).square().flatten(1).sum(1) / goal.square().flatten(1).sum(1).clamp(min=1e-12)


def roughness(pixels: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels, `(N,3,H,W)` in 0..1."""
    return pixels.diff(dim=2).square().mean() + pixels.diff(dim=3).square().mean()


def default_net() -> nn.Module:
    """VGG16's convolutions, loaded once."""
    if not _default:
        _default.append(load_model("vgg16"))
    return _default[0]


_default: list[nn.Module] = []


def prepared(net: nn.Module, average_pooling: bool) -> tuple[nn.Module, dict]:
    """The net, or its copy with average pooling, and a dict that is kept for it while its weights stay the same."""
    state = tuple((p.data_ptr(), p._version) for p in net.parameters())
    for known, pooling, its_state, model, ready in _kept:
        if known is net and pooling == average_pooling and its_state == state:
            return model, ready
    model = with_average_pooling(net) if average_pooling else net
    _kept[:] = [*_kept[-1:], (net, average_pooling, state, model, {})]
    return model, _kept[-1][-1]


def with_average_pooling(net: nn.Module) -> nn.Module:
    """A copy of a net whose max pooling layers take the mean."""
    changed = copy.deepcopy(net)
    for name, module in list(changed.named_modules()):
        if isinstance(module, nn.MaxPool2d):
            parent, _, own = name.rpartition(".")
            mean = nn.AvgPool2d(module.kernel_size, module.stride, module.padding, module.ceil_mode)
            setattr(changed.get_submodule(parent), own, mean)
    return changed
