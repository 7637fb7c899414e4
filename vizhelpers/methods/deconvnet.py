"""The deconvnet of Zeiler & Fergus 2014 (section 2.1), layer by layer with recorded switches (lesson 04)."""
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..device import warn
from ..hooks import check_channel, resolve_layer
from ..targets import layer_names
from .activations import activations


def unpool(y: Tensor, switches: Tensor, input_size: tuple[int, int]) -> Tensor:
    """Put each pooled value `(N,K,h,w)` back where its maximum was: `(N,K,H,W)`, the adjoint of the pooling.
    `switches` are the flat indices of `F.max_pool2d(..., return_indices=True)`. A place that won several windows gets
    the sum, where `MaxUnpool2d` overwrites. Lesson 04."""
    height, width = input_size
    if y.dim() != 4 or y.shape != switches.shape:
        raise ValueError(f"unpool wants y and switches (N,K,h,w) alike, not {tuple(y.shape)}, {tuple(switches.shape)}.")
    if switches.numel() and not 0 <= int(switches.min()) <= int(switches.max()) < height * width:
        raise ValueError(f"A switch points outside {height}x{width}: give the size of the pooling's input.")
    flat = y.new_zeros(*y.shape[:2], height * width)
    return flat.scatter_add(2, switches.flatten(2), y.flatten(2)).view(*y.shape[:2], height, width)


def transposed_convolution(convolution: nn.Conv2d, y: Tensor, input_size: tuple[int, int]) -> Tensor:
    """Walk a convolution backwards: every value of y `(N,K,h,w)` stamps its channel's filter on its place; no bias.
    The adjoint: `<conv(a) - bias, y> == <a, transposed_convolution(y)>` for every a `(N,C,H,W)`. Several input sizes
    give the same output, so it must be said. Dumoulin & Visin 2016, chapter 4. Lesson 04."""
    c = convolution
    edge = [n - ((h - 1) * s - 2 * p + d * (k - 1) + 1) for n, h, s, p, d, k in zip(
        input_size, y.shape[-2:], c.stride, c.padding, c.dilation, c.kernel_size, strict=True)]  # fmt: skip
    if not all(0 <= e < s for e, s in zip(edge, c.stride, strict=True)):
        raise ValueError(f"This convolution turns no input of {tuple(input_size)} into maps of {tuple(y.shape[-2:])}.")
    return F.conv_transpose2d(y, c.weight, None, c.stride, c.padding, edge, c.groups, c.dilation)


def deconvnet(model: nn.Module, x: Tensor, layer, channel: int, *, unit: tuple | str | None = None) -> Tensor:
    """Project a channel of a layer back to pixels `(N,3,H,W)`: unpool, ReLU on the signal, transposed filters.
    It starts from each picture's strongest unit, from `unit=(row, column)` or from the whole map, `unit="all"`; with
    zeros and a warning where the channel is silent. Only for chains of Conv2d, ReLU, MaxPool2d such as AlexNet's and
    VGG16's; `deconvnet_gradient` times the activation is the same for any net. Lesson 04."""
    name, names = resolve_layer(model, layer)[0], layer_names(model)
    if name not in names:
        raise ValueError(f"Layer {name!r} is a block of layers: name one of its parts, or use deconvnet_gradient.")
    whole = activations(model, x[:1], name)
    with torch.no_grad():
        signal, back = x, []
        for n in names[: names.index(name) + 1]:  # as in a chain: in the order of definition
            module, size = model.get_submodule(n), signal.shape[-2:]
            if isinstance(module, nn.MaxPool2d):
                pool = module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode
                signal, switches = F.max_pool2d(signal, *pool, return_indices=True)
                back.append(partial(unpool, switches=switches, input_size=size))
            elif isinstance(module, nn.ReLU):
                signal = signal.relu()
                back.append(torch.relu)
            elif (isinstance(module, nn.Conv2d) and module.padding_mode == "zeros"
                  and not isinstance(module.padding, str)):  # fmt: skip
                if module.in_channels != signal.shape[1]:
                    break  # it takes something else
                signal = module(signal)
                back.append(partial(transposed_convolution, module, input_size=size))
            elif not isinstance(module, (nn.Dropout, nn.Dropout2d, nn.Identity)):
                raise ValueError(f"{n} is {module}: the explicit deconvnet knows chains of zero-padded Conv2d, ReLU "
                                 "and MaxPool2d; deconvnet_gradient does the same for any net.")  # fmt: skip
        ours = signal[:1]
        if ours.shape != whole.shape or not torch.allclose(ours, whole, rtol=1e-3, atol=1e-4, equal_nan=True):
            raise ValueError(f"The layers before {name!r} are no simple chain (they branch): use deconvnet_gradient.")
        signal = _only(signal, channel, unit, name)
        for step in reversed(back):
            signal = step(signal)
    return signal


def _only(maps: Tensor, channel: int, unit: tuple[int, int] | str | None, name: str) -> Tensor:
    """All units zero but one of the channel (or all of it), which keeps its value after the ReLU."""
    check_channel(name, channel, maps.shape[1])
    one, signal = maps[:, channel].relu(), torch.zeros_like(maps)
    if unit == "all":
        signal[:, channel] = one
    elif unit is None:
        best, at = one.flatten(1).max(1, keepdim=True)
        signal[:, channel] = torch.zeros_like(one.flatten(1)).scatter_(1, at, best).view(one.shape)
    else:
        last = tuple(n - 1 for n in one.shape[1:])
        if isinstance(unit, str) or len(unit) != 2 or not all(0 <= i <= n for i, n in zip(unit, last, strict=True)):
            raise ValueError(f"unit is (row, column) from (0, 0) to {last} in layer {name!r}, or 'all', not {unit!r}.")
        signal[:, channel, unit[0], unit[1]] = one[:, unit[0], unit[1]]
    if silent := [n for n, part in enumerate(signal) if not part.any()]:
        warn(f"Nothing to reconstruct in picture {silent}: channel {channel} of {name!r} is not above 0 there.")
    return signal
