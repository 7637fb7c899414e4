"""What a layer answers to a picture, and which pictures and patches excite a channel most (lesson 02)."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .device import check_same_device, device_of, in_batches
from .hooks import capture, evaluating, with_gradients


def activations(model: nn.Module, x: Tensor, layer: str | nn.Module) -> Tensor:
    """The output of one layer, before whatever follows it.

    Args:
        model: any module.
        x: normalised input `(N,3,H,W)`.
        layer: dotted name or module.

    Returns:
        A detached tensor on the same device: feature maps `(N,K,h,w)` of a convolution, `(N,K)` of a linear layer;
        signed (a ReLU that follows has not happened yet).

    Raises:
        ValueError: unknown layer (the nearest names are listed), or a layer that runs several times in one pass.
        RuntimeError: input and model are on different devices.

    Example:
        >>> vh.activations(net, x, "features.0").shape
        torch.Size([1, 64, 111, 111])

    Taught in: 02_inside_the_layers.
    """
    check_same_device(model, x)
    with evaluating(model), torch.no_grad(), capture(model, layer) as acts:
        model(x)
        return acts[layer].detach()


def channel_response(model: nn.Module, x: Tensor, layer: str | nn.Module) -> Tensor:
    """The mean response of each channel to each picture, after the ReLU: the heights of the bar plot.

    Args:
        model: any module.
        x: normalised input `(N,3,H,W)`.
        layer: dotted name or module of a convolution, or of the ReLU behind it: the result is the same.

    Returns:
        `(N,K)`, 0 or more.

    Raises:
        ValueError: as `activations`.

    Example:
        >>> vh.channel_response(net, x, "features.0").shape
        torch.Size([1, 64])

    Taught in: 02_inside_the_layers.
    """
    out = activations(model, x, layer).relu()
    return out.flatten(2).mean(2) if out.dim() > 2 else out


class ChannelMaxima(NamedTuple):
    """The strongest response of every channel to every picture, and where it is. All tensors are `(N,K)`."""

    values: Tensor  # signed
    rows: Tensor  # row of the unit in the feature map
    columns: Tensor


def channel_maxima(
    model: nn.Module, x: Tensor, layer: str | nn.Module | Sequence[str], *, batch_size: int | None = None,
    progress: bool = False,
) -> ChannelMaxima | dict[str, ChannelMaxima]:
    """The strongest unit of every channel of a layer on every picture, in one pass over the pictures.

    Args:
        model: any module.
        x: normalised input `(N,3,H,W)`, best left on the CPU when N is large: each batch is moved to the model.
        layer: dotted name or module of a layer whose output is `(N,K,h,w)`; or a list of names: still one pass.
        batch_size: pictures per pass; by default what suits the device.
        progress: show a bar; the stop button returns what is done so far.

    Returns:
        `ChannelMaxima(values, rows, columns)`, each `(N,K)` on the CPU; for a list, a dictionary name -> that.

    Raises:
        ValueError: unknown layer, or its output is not a stack of maps.

    Example:
        >>> best = vh.channel_maxima(net, x, "features.0")
        >>> best.values.argmax(0)[12]  # the picture that excites channel 12 most

    Source: Zeiler & Fergus 2014, section 4 (top activations).
    Taught in: 02_inside_the_layers.
    """
    where = device_of(model)
    layers = list(layer) if isinstance(layer, (list, tuple)) else [layer]

    def best(part: Tensor) -> tuple[Tensor, ...]:
        with evaluating(model), torch.no_grad(), capture(model, *layers) as acts:
            model(part.to(where))
        found = []
        for each in layers:
            out = acts[each].detach()
            if out.dim() != 4:
                raise ValueError(f"Layer {each!r} gives {tuple(out.shape)}, not maps (N,K,h,w): no place to point at.")
            value, at = out.flatten(2).max(2)
            found += [value.cpu(), (at // out.shape[3]).cpu(), (at % out.shape[3]).cpu()]
        return tuple(found)

    found = in_batches(best, x, batch_size=batch_size, progress=progress)
    maxima = [ChannelMaxima(*found[n : n + 3]) for n in range(0, len(found), 3)]
    return dict(zip(layers, maxima, strict=True)) if isinstance(layer, (list, tuple)) else maxima[0]


class Patch(NamedTuple):
    """One strong response: which picture, which unit, how strong, and the pixels that the unit sees."""

    picture: int
    row: int
    column: int
    value: float
    box: tuple[int, int, int, int]  # top, left, bottom, right in input pixels, clipped to the picture


def top_patches(
    model: nn.Module, x: Tensor, layer: str | nn.Module, channel: int, *, count: int = 9,
    maxima: ChannelMaxima | None = None, field: ReceptiveField | None = None, progress: bool = False,
) -> list[Patch]:
    """The pictures that excite a channel most, each with the patch that its strongest unit sees.

    Args:
        model: any module.
        x: normalised input `(N,3,H,W)`.
        layer: dotted name or module.
        channel: 0 to K-1.
        count: how many pictures, strongest first; one patch per picture.
        maxima: what `channel_maxima` returned for the same x and layer: many channels, one computation.
        field: what `receptive_field` returned for this layer and channel, likewise.
        progress: show a bar.

    Returns:
        A list of `Patch`, strongest first.

    Raises:
        ValueError: unknown layer, channel out of range, or `count` below 1.

    Example:
        >>> patch = vh.top_patches(net, x, "features.12", 5)[0]
        >>> top, left, bottom, right = patch.box

    Source: Zeiler & Fergus 2014, figure 2 (top 9 activations and their image patches).
    Taught in: 02_inside_the_layers.
    """
    if maxima is None:
        maxima = channel_maxima(model, x, layer, progress=progress)
    channels = maxima.values.shape[1]
    if not 0 <= channel < channels:
        raise ValueError(f"Layer {layer!r} has channels 0 to {channels - 1}, not {channel}.")
    if count < 1:
        raise ValueError(f"count is {count}: ask for at least one patch.")
    field = field or receptive_field(model, layer, tuple(x.shape[-2:]), channel=channel)
    order = maxima.values[:, channel].argsort(descending=True, stable=True)[:count].tolist()
    units = [(n, int(maxima.rows[n, channel]), int(maxima.columns[n, channel])) for n in order]
    return [Patch(n, r, c, float(maxima.values[n, channel]), field.box(r, c)) for n, r, c in units]


@dataclass(frozen=True)
class ReceptiveField:
    """The input pixels that a unit of a layer can see; each pair is (vertical, horizontal), in pixels."""

    size: tuple[int, int]
    stride: tuple[int, int]  # from one unit to the next
    start: tuple[int, int]  # first pixel of unit (0, 0); negative where it hangs over the border
    input_size: tuple[int, int]

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """Top, left, bottom, right of a unit's field, clipped to the picture (bottom and right excluded)."""
        first = [o + s * i for o, s, i in zip(self.start, self.stride, (row, column), strict=True)]
        last = [min(f + k, n) for f, k, n in zip(first, self.size, self.input_size, strict=True)]
        return max(first[0], 0), max(first[1], 0), last[0], last[1]


class _GeometryOnly(TorchFunctionMode):
    """Runs a net with every weight positive and every max an average, on one channel where it can.

    Then nothing cancels and nothing is switched off, so the gradient of a unit is nonzero on exactly the pixels it
    can see: the receptive field of any graph (branches, residuals, concatenations) without a rule per module.
    """

    SAME = frozenset({
        "relu", "relu_", "relu6", "hardtanh", "hardtanh_", "silu", "silu_", "hardswish", "hardswish_", "sigmoid",
        "sigmoid_", "hardsigmoid", "gelu", "elu", "leaky_relu", "leaky_relu_", "dropout", "dropout_", "batch_norm",
        "instance_norm", "layer_norm", "native_batch_norm", "feature_dropout", "clamp", "clamp_",
    })  # fmt: skip

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in self.SAME:
            return args[0] if args else kwargs["input"]
        if name in ("max_pool2d", "_max_pool2d"):
            return self._pool(*args, **kwargs)
        if name == "conv2d":
            return self._convolution(*args, **kwargs)
        if name == "linear":
            x, weight = args[0], args[1] if len(args) > 1 else kwargs["weight"]
            return x.mean(-1, keepdim=True).expand(*x.shape[:-1], len(weight))
        if name in ("add_", "__iadd__"):
            return torch.add(*args, **kwargs)
        return func(*args, **kwargs)

    @staticmethod
    def _one_channel(x: Tensor) -> Tensor:
        return x[:, :1] if x.stride(1) == 0 else x.mean(1, keepdim=True)

    @staticmethod
    def _convolution(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        kernel = torch.full((1, 1, *weight.shape[2:]), 1 / weight[0, 0].numel(), dtype=input.dtype)
        out = F.conv2d(_GeometryOnly._one_channel(input), kernel, None, stride, padding, dilation)
        return out.expand(-1, len(weight), -1, -1)  # K equal channels in the memory of one

    @staticmethod
    def _pool(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        if dilation not in (1, (1, 1), [1, 1]) or return_indices:
            raise ValueError("receptive_field does not know max pooling with dilation or returned indices.")
        out = F.avg_pool2d(_GeometryOnly._one_channel(input), kernel_size, stride or kernel_size, padding, ceil_mode)
        return out.expand(-1, input.shape[1], -1, -1)


def receptive_field(
    model: nn.Module, layer: str | nn.Module, input_size: tuple[int, int] = (224, 224), *, channel: int | None = None
) -> ReceptiveField:
    """The exact patch of pixels that each unit of a layer can see, for any graph of convolutions and pools.

    Args:
        model: any net of convolutions, pools, normalisations and activations, with branches.
        layer: dotted name or module of a layer whose output is `(N,K,h,w)`.
        input_size: (height, width) of the picture in pixels.
        channel: one channel's own field; by default the union over the channels, which differ where branches of
            different kernel sizes are concatenated (Fire, Inception).

    Returns:
        A `ReceptiveField`; `.box(row, column)` is clipped to the picture. A net that looks at the whole picture
        before this layer (squeeze-and-excitation, global pooling) has a field of the whole picture.

    Raises:
        ValueError: unknown layer, a layer that is no stack of maps, or one that runs several times in a pass.

    Example:
        >>> vh.receptive_field(vh.load_model("vgg16"), "features.28").size
        (196, 196)

    Source: structural support of the gradient; the arithmetic by hand is in Dumoulin & Visin 2016.
    Taught in: 02_inside_the_layers.
    """
    with with_gradients():
        axes = [_field_along(model, layer, axis, input_size[axis], channel) for axis in (0, 1)]
    extent, stride, start = zip(*axes, strict=True)
    return ReceptiveField(extent, stride, start, tuple(input_size))


def _field_along(
    model: nn.Module, layer: str | nn.Module, axis: int, length: int, channel: int | None
) -> tuple[int, int, int]:
    """Size, stride and start of the field along one axis, on a canvas that is long in that axis only."""
    side, narrow = max(length, 32), max(min(length, 96), 32)
    while True:
        with evaluating(model), capture(model, layer) as acts:
            canvas = (side, narrow) if axis == 0 else (narrow, side)
            x = torch.ones(1, 3, *canvas, dtype=torch.float64, requires_grad=True)
            try:
                with _GeometryOnly():
                    model(x)
            except (RuntimeError, AssertionError) as error:
                raise ValueError(f"receptive_field cannot follow this net's geometry: {error}") from error
        maps = acts[layer]
        if maps.dim() != 4:
            raise ValueError(f"Layer {layer!r} gives {tuple(maps.shape)}, not maps: no receptive field.")
        one = maps[0].sum(0) if channel is None else maps[0, channel]
        units = one.select(1 - axis, (one.shape[1 - axis] - 1) // 2)
        middle = (len(units) - 1) // 2
        edges = []
        for unit in (middle, min(middle + 1, len(units) - 1), 0):
            (g,) = torch.autograd.grad(units[unit], x, retain_graph=True)
            seen = g[0].ne(0).any(0).any(1 - axis).nonzero()
            edges.append((int(seen[0]), int(seen[-1]) + 1))
        (first, last), (next_first, next_last), (_, reach) = edges
        if len(units) > 1 and first > 0 and next_last < side:
            stride = next_first - first
            return last - first, stride, first - stride * middle
        if side >= 1792 or (side >= 896 and reach == side):
            return length, 0, 0  # even the outermost unit sees everything: a net with global pooling in it
        side *= 2
