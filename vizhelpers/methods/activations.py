"""What a layer answers to a picture, which pictures and patches excite a channel most, what a unit sees (lesson 02)."""
from bisect import bisect_left
from collections import namedtuple
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import torch
from PIL import Image
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..device import channels_of, device_of, in_batches
from ..hooks import capture, check_channel, evaluating, maps_of, outputs_until, resolve_layer

LONGEST = 1500  # pixels of the longest picture on which a receptive field is looked for
ChannelMaxima = namedtuple("ChannelMaxima", "values rows columns")


def activations(model: nn.Module, x: Tensor, layer: str | nn.Module) -> Tensor:
    """The output of one layer, before whatever follows it: signed maps `(N,K,h,w)`, `(N,K)` if linear. Lesson 02."""
    with evaluating(model), torch.no_grad(), capture(model, layer) as acts:
        model(x)
        return acts[layer].detach()


def channel_response(model: nn.Module, x: Tensor, layer: str | nn.Module) -> Tensor:
    """The mean response of each channel to each picture after a ReLU, `(N,K)`, 0 or more: the bars of lesson 02."""
    out = activations(model, x, layer).relu()
    out = maps_of(out, x.shape[2:]) if out.dim() == 4 else out
    return out.flatten(2).mean(2) if out.dim() > 2 else out


def channel_maxima(model: nn.Module, x: Tensor, layer, *, batch_size=None, progress=False) -> ChannelMaxima | dict:
    """The strongest unit of every channel on every picture: `(values, rows, columns)`, each `(N,K)`, on the CPU.
    Of a list of layers a dict, from one pass. The pictures may stay on the CPU. Lesson 02."""
    layers = list(layer) if isinstance(layer, (list, tuple)) else [layer]

    def best(part: Tensor) -> tuple[Tensor, ...]:
        with evaluating(model), torch.no_grad(), capture(model, *layers) as acts:
            model(part.to(device_of(model)))
        found = []
        for maps in map(acts.maps, layers):
            value, at = maps.flatten(2).max(2)
            found += [value.cpu(), (at // maps.shape[3]).cpu(), (at % maps.shape[3]).cpu()]
        return tuple(found)

    found = in_batches(best, x, batch_size=batch_size, progress=progress)
    maxima = [ChannelMaxima(*found[n : n + 3]) for n in range(0, len(found), 3)]
    return dict(zip(layers, maxima, strict=True)) if isinstance(layer, (list, tuple)) else maxima[0]


@dataclass(frozen=True)
class ReceptiveField:
    """The input pixels that a unit of a layer can see; each pair is (vertical, horizontal), in pixels."""
    size: tuple[int, int]
    stride: tuple[int, int]  # from one unit to the next; 0 where units are not evenly spaced
    start: tuple[int, int]  # first pixel of unit (0, 0); negative where it hangs over the border
    input_size: tuple[int, int]
    edges: tuple = field(default=(None, None), repr=False)  # where the stride is 0: of each unit, as in `box`

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """Top, left, bottom, right of a unit's field, clipped to the picture (bottom and right excluded)."""
        sides = []
        for axis, unit in enumerate((row, column)):
            first = self.start[axis] + self.stride[axis] * unit
            inside = max(first, 0), min(first + self.size[axis], self.input_size[axis])
            sides.append(self.edges[axis][unit] if self.edges[axis] else inside)
        return *(first for first, _ in sides), *(last for _, last in sides)


class Patch(namedtuple("Patch", "picture row column value box")):
    """One strong response: which picture, which unit, how strong; box: top, left, bottom, right of what it sees."""
    def cut(self, picture: Image.Image) -> Image.Image:
        top, left, bottom, right = self.box
        return picture.crop((left, top, right, bottom))


def top_patches(model: nn.Module, x: Tensor, layer, channel: int, *, count=9, maxima=None, field=None) -> list[Patch]:
    """The patches that excite a channel most, strongest first, one of each of the `count` best pictures. `maxima` and
    `field`: of `channel_maxima` and `receptive_field`, to spare time. Zeiler & Fergus 2014, figure 2. Lesson 02."""
    maxima = maxima or channel_maxima(model, x, layer)
    check_channel(layer, channel, maxima.values.shape[1])
    field = field or receptive_field(model, layer, tuple(x.shape[-2:]), channel=channel)
    values, rows, columns = (part[:, channel].tolist() for part in maxima)
    order = maxima.values[:, channel].argsort(descending=True, stable=True)[:count].tolist()
    return [Patch(n, rows[n], columns[n], values[n], field.box(rows[n], columns[n])) for n in order]


def receptive_field(model: nn.Module, layer, input_size=(224, 224), *, channel: int | None = None) -> ReceptiveField:
    """The exact pixels that each unit of a layer can see, in any net: `size`, `stride`, `start`, `.box(row, column)`.
    Without `channel` the union over the channels, which differ where branches meet (Fire, Inception). Where units are
    not evenly spaced (behind upsampling) or see the whole picture (GroupNorm, squeeze-and-excitation) stride and start
    are 0, size is that of the largest field, and the box is exact all the same. Dumoulin & Visin 2016. Lesson 02."""
    name, picture = resolve_layer(model, layer)[0], tuple(input_size)
    size, stride, start, edges = zip(*(_along(model, name, axis, picture, channel) for axis in (0, 1)), strict=True)
    return ReceptiveField(size, stride, start, picture, edges)


def _along(model: nn.Module, layer: str, axis: int, picture: tuple[int, int], channel: int | None) -> tuple:
    """Size, stride, start and edges along one axis. Fields end on the picture at its first units, begin at its last."""
    side = picture[axis]
    units, first, last = here = _sight(model, layer, axis, picture, side, channel)
    while units < 3 or first(units - 3) == 0 or last(2) == side:
        side *= 2  # all hang over the border: a longer picture shows where they would end
        if side > LONGEST:
            break
        try:
            units, first, last = _sight(model, layer, axis, picture, side, channel)
        except ValueError:  # the net takes this size only
            break
    else:
        begins, ends = [first(units - n) for n in (3, 2, 1)], [last(n) for n in (0, 1, 2)]
        stride, *others = {after - before for pixels in (begins, ends) for before, after in pairwise(pixels)}
        if stride > 0 and not others:
            start = begins[2] - stride * (units - 1)
            return ends[0] - start, stride, start, None
    units, first, last = here
    edges = tuple((first(unit), last(unit)) for unit in range(units))
    return max(after - before for before, after in edges), 0, 0, edges


def _sight(model, layer, axis, picture, side, channel):
    """How many units there are along an axis of a picture of that side, and what each sees: `first` and `last` pixel.
    Columns of NaN make NaN of every unit that sees one of them, in any net: how many it takes is found by bisection."""
    like, error = next(model.parameters(), torch.zeros(())), None
    for across in (16, 32, 64, 128, picture[1 - axis]):  # the narrowest that reaches the layer
        x = like.new_ones(1, channels_of(model), *((side, across) if axis == 0 else (across, side)))
        with torch.no_grad(), evaluating(model), capture(model, layer) as acts:
            try:
                model(x)
            except (RuntimeError, AssertionError, ValueError) as reason:  # behind the layer it does not matter
                error = reason
        if layer in acts:
            break
    else:
        raise ValueError(f"This net does not run on {'x'.join(map(str, picture))} pixels: {error}") from error

    check_channel(layer, channel or 0, acts.maps(layer).shape[1])

    @cache
    def touched(begin: int, end: int) -> list[bool]:
        hidden = x.clone()
        hidden.narrow(2 + axis, begin, end - begin).fill_(torch.nan)
        # cuDNN's fast convolutions compute a tile at once, NaN would leave its window
        with torch.no_grad(), evaluating(model), torch.backends.cudnn.flags(enabled=False), _OneOfAll():
            maps = maps_of(outputs_until(model, hidden, layer)[layer], hidden.shape[2:], layer)[0]
        return (maps if channel is None else maps.narrow(0, channel, 1)).isnan().any(0).any(1 - axis).tolist()

    def first(unit: int) -> int:
        return bisect_left(range(side), True, key=lambda n: touched(0, n + 1)[unit])

    def last(unit: int) -> int:
        return side - bisect_left(range(side), True, key=lambda n: touched(side - 1 - n, side)[unit])

    return acts.maps(layer).shape[2 + axis], first, last


class _OneOfAll(TorchFunctionMode):
    """All outputs of a convolution see the same pixels: compute one and repeat it. For speed only."""
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return (self.convolution if func is torch.conv2d else func)(*args, **(kwargs or {}))

    @staticmethod
    def convolution(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        kernel = torch.full_like(weight[:groups, :1], 1 / weight[0, 0].numel())
        mean = input.unflatten(1, (groups, -1)).mean(2)
        one = torch.conv2d(mean, kernel, None, stride, padding, dilation, groups)
        return one.repeat_interleave(len(weight) // groups, 1)
