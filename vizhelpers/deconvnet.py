"""The deconvnet of Zeiler & Fergus, layer by layer with recorded switches, for chains such as AlexNet and VGG16."""
from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .device import check_same_device
from .hooks import capture, evaluating, resolve_layer

PASSED = (nn.Dropout, nn.Dropout2d, nn.Identity)  # do nothing in eval mode


def unpool(y: Tensor, switches: Tensor, input_size: tuple[int, int]) -> Tensor:
    """Put each pooled value back where its maximum was; a place that won several windows gets the sum.

    Args:
        y: `(N,K,h,w)`.
        switches: int64 `(N,K,h,w)`, flat index of each maximum in the pooling's input, as
            `F.max_pool2d(..., return_indices=True)` gives it.
        input_size: (H, W) of the pooling's input.

    Returns:
        `(N,K,H,W)`, 0 where nothing was a maximum.

    Raises:
        ValueError: y and switches differ in shape, or a switch points outside the input size.

    Example:
        >>> y, switches = F.max_pool2d(x, 3, 2, return_indices=True)
        >>> vh.unpool(y, switches, x.shape[-2:]).shape == x.shape
        True

    Source: Zeiler & Fergus 2014, section 2.1 (unpooling); `MaxUnpool2d` overwrites where windows overlap.
    Taught in: 04_deconvnet.
    """
    height, width = input_size
    if y.dim() != 4 or y.shape != switches.shape:
        raise ValueError(f"unpool wants y and switches (N,K,h,w) alike, not {tuple(y.shape)}, {tuple(switches.shape)}.")
    if switches.numel() and not 0 <= int(switches.min()) <= int(switches.max()) < height * width:
        raise ValueError(f"A switch points outside {height}x{width}: give the size of the pooling's input.")
    flat = torch.zeros(*y.shape[:2], height * width, dtype=y.dtype, device=y.device)
    return flat.scatter_add(2, switches.flatten(2), y.flatten(2)).view(*y.shape[:2], height, width)


def deconvnet(
    model: nn.Module, x: Tensor, layer: str | nn.Module, channel: int, *, unit: tuple[int, int] | str | None = None
) -> Tensor:
    """Project one channel of a layer back to pixels: unpool with switches, ReLU on the signal, transposed filters.

    Args:
        model: a net whose layers up to `layer` are one chain of `Conv2d`, `ReLU`, `MaxPool2d` (and dropout), in the
            order of their names, as in AlexNet's and VGG16's `features`.
        x: normalised pictures `(N,3,H,W)`.
        layer: dotted name or module of a convolution, ReLU or pooling in that chain.
        channel: 0 to K-1.
        unit: (row, column) of one unit to start from; by default each picture's strongest unit of the channel; or
            "all" for the channel's whole map. Either way with its value after the ReLU.

    Returns:
        `(N,3,H,W)`, signed: the pattern in normalised pixel space. Zeros, with a warning, where the channel is silent.

    Raises:
        ValueError: unknown layer, one behind another kind of layer or a branch (use `deconvnet_gradient`), or a
            channel or unit out of range.

    Example:
        >>> vh.deconvnet(alexnet, x, "features.10", 5).shape
        torch.Size([1, 3, 224, 224])

    Source: Zeiler & Fergus 2014, section 2.1; equal to `deconvnet_gradient` of the same unit times its activation.
    Taught in: 04_deconvnet.
    """
    check_same_device(model, x)
    name, _ = resolve_layer(model, layer)
    chain = _chain(model, x, name)
    with torch.no_grad():
        steps, signal = [], x  # each step: module, size of its input, switches
        for module in chain:
            steps.append((module, signal.shape[-2:], None))
            if isinstance(module, nn.MaxPool2d):
                signal, switches = F.max_pool2d(
                    signal, module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode,
                    return_indices=True,
                )  # fmt: skip
                steps[-1] = (module, steps[-1][1], switches)
            elif isinstance(module, nn.ReLU):
                signal = signal.relu()
            else:
                signal = module(signal)
        signal = _only(signal, channel, unit, name)
        for module, size, switches in reversed(steps):
            if isinstance(module, nn.MaxPool2d):
                signal = unpool(signal, switches, size)
            elif isinstance(module, nn.ReLU):
                signal = signal.relu()
            else:
                signal = transposed_convolution(module, signal, size)
    return signal


def transposed_convolution(convolution: nn.Conv2d, y: Tensor, input_size: tuple[int, int]) -> Tensor:
    """Walk one convolution backwards: every value of y stamps the filter of its channel on its place; no bias.

    It is the adjoint of the convolution: `<conv(a) - bias, y> == <a, transposed_convolution(y)>` for every a.

    Args:
        convolution: any `Conv2d` with zero padding: stride, padding, dilation and groups are followed.
        y: `(N,K,h,w)`, of the size of the convolution's output.
        input_size: (H, W) of the convolution's input; several sizes give the same output, so it must be said.

    Returns:
        `(N,C,H,W)`.

    Raises:
        ValueError: the convolution does not turn this input size into y's size.

    Example:
        >>> vh.transposed_convolution(net.features[0], torch.ones(1, 64, 55, 55), (224, 224)).shape
        torch.Size([1, 3, 224, 224])

    Source: Zeiler & Fergus 2014, section 2.1 (filtering); Dumoulin & Visin 2016, chapter 4.
    Taught in: 04_deconvnet.
    """
    c = convolution
    edge = [n - ((h - 1) * s - 2 * p + d * (k - 1) + 1) for n, h, s, p, d, k in zip(
        input_size, y.shape[-2:], c.stride, c.padding, c.dilation, c.kernel_size, strict=True)]  # fmt: skip
    if not all(0 <= e < s for e, s in zip(edge, c.stride, strict=True)):
        raise ValueError(f"This convolution turns no input of {input_size[0]}x{input_size[1]} into maps of "
                         f"{y.shape[-2]}x{y.shape[-1]}.")  # fmt: skip
    return F.conv_transpose2d(y, c.weight, None, c.stride, c.padding, edge, c.groups, c.dilation)


def _only(maps: Tensor, channel: int, unit: tuple[int, int] | str | None, name: str) -> Tensor:
    """All units zero but one of the channel (or all of it), which keeps its value after the ReLU."""
    if not 0 <= channel < maps.shape[1]:
        raise ValueError(f"Layer {name!r} has channels 0 to {maps.shape[1] - 1}, not {channel}.")
    one, signal = maps[:, channel].relu(), torch.zeros_like(maps)
    if unit == "all":
        signal[:, channel] = one
    elif unit is None:
        flat = one.flatten(1)
        at = flat.argmax(1, keepdim=True)
        signal[:, channel] = torch.zeros_like(flat).scatter_(1, at, flat.gather(1, at)).view(one.shape)
    else:
        last = tuple(n - 1 for n in one.shape[1:])
        if isinstance(unit, str) or len(unit) != 2 or not all(0 <= i <= n for i, n in zip(unit, last, strict=True)):
            raise ValueError(f"unit is (row, column) from (0, 0) to {last} in layer {name!r}, or 'all', not {unit!r}.")
        row, column = unit
        signal[:, channel, row, column] = one[:, row, column]
    if silent := [n for n, part in enumerate(signal[:, channel]) if not part.any()]:
        warnings.warn(f"Nothing to reconstruct in picture {', '.join(map(str, silent[:8]))}: channel {channel} of "
                      f"{name!r} is not above 0 there, so the ReLU leaves 0.", stacklevel=3)  # fmt: skip
    return signal


def _chain(model: nn.Module, x: Tensor, name: str) -> list[nn.Module]:
    """The modules from the picture to the layer; each must take exactly what the one before it put out."""
    leaves = [(n, m) for n, m in model.named_modules() if n and not list(m.children())]
    names = [n for n, _ in leaves]
    if name not in names:
        raise ValueError(f"Layer {name!r} is a block of layers: name one of its parts, or use deconvnet_gradient.")
    chain = [(n, m) for n, m in leaves[: names.index(name) + 1] if not isinstance(m, PASSED)]
    for n, module in chain:
        odd = getattr(module, "padding_mode", "zeros") != "zeros" or isinstance(getattr(module, "padding", 0), str)
        odd |= getattr(module, "return_indices", False)
        if odd or not isinstance(module, (nn.Conv2d, nn.ReLU, nn.MaxPool2d)):
            raise ValueError(f"{n} is {module}: the explicit deconvnet knows chains of zero-padded Conv2d, ReLU and "
                             "MaxPool2d; deconvnet_gradient does the same for any net.")  # fmt: skip
    with torch.no_grad(), evaluating(model), capture(model, name) as acts:
        model(x[:1])
        want, got = acts[name], x[:1]
        for _, module in chain:
            if isinstance(module, nn.Conv2d) and module.in_channels != got.shape[1]:
                got = got[:0]  # this convolution takes something else
                break
            got = module(got.clone())
    if want.shape != got.shape or not torch.allclose(want, got, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise ValueError(f"The layers before {name!r} are no simple chain (they branch): use deconvnet_gradient.")
    return [module for _, module in chain]
