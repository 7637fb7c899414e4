"""Only what a patch can reach: run a net on a picture that was changed in one box, and recompute no more than needed.
A unit whose receptive field does not touch the box keeps its value. So the maps of the untouched picture are kept at a
few layers, the net runs on a window around the box, and its outputs there are pasted into the kept maps."""
from collections.abc import Callable, Iterator
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..hooks import capture, evaluating, outputs_until, replacing, resolve_layer
from .activations import ReceptiveField, receptive_field

_known: WeakKeyDictionary[nn.Module, dict[tuple, dict[str, ReceptiveField]]] = WeakKeyDictionary()


def levels(model: nn.Module, x: Tensor, until: str | nn.Module | None = None) -> dict[str, ReceptiveField]:
    """The first of the `outer_blocks` at each resolution, as far as its units see but a part; all before `until`."""
    size = tuple(x.shape[-2:])
    known, key = _known.setdefault(model, {}), (size, until)
    if key not in known:
        stop = [resolve_layer(model, until)[0]] if until else []
        with torch.no_grad(), evaluating(model), capture(model, *outer_blocks(model), *stop) as acts:
            model(x[:1])
        found, seen = {}, {size}
        for name, (out, *more) in acts.calls.items():
            shape = tuple(out.shape[2:]) if isinstance(out, Tensor) and out.dim() == 4 else size
            if name in stop:
                break
            if more or shape in seen or min(shape) < 2:
                continue
            seen.add(shape)
            field = receptive_field(model, name, size)
            if min(field.stride) < 1 or max(field.size) >= min(size):
                break
            found[name] = field
        known[key] = found
    return known[key]


def outer_blocks(module: nn.Module, prefix: str = "", held: bool = True) -> Iterator[str]:
    """The names of a net's blocks in order: sequences, and what only holds the net, are opened, others are whole."""
    children = dict(module.named_children())
    held = held and len(children) == 1
    for name, child in children.items():
        if type(child) is nn.Sequential or (held and [*child.children()]):
            yield from outer_blocks(child, f"{prefix}{name}.", held)
        else:
            yield prefix + name


class LocalNet:
    """A net on pictures `x`, each with one of the `boxes` filled: `run(forward, pictures, boxes)`."""
    def __init__(self, model: nn.Module, x: Tensor, boxes: Tensor, filled: Tensor, found: dict[str, ReceptiveField]):
        self.model, self.filled, self.names = model, filled, [*found]
        fields = [ReceptiveField((1, 1), (1, 1), (0, 0), tuple(x.shape[2:])), *found.values()]
        maps = [x, *(outputs_until(model, x, *found).values() if found else ())]
        touched = [_touched(boxes, field, kept.shape[2:]) for field, kept in zip(fields, maps, strict=True)]
        # Kept maps; the length of all windows, so that they form a batch; per box where its window begins, what the
        # box touches of it (top, left, bottom, right), and where the maps that are computed anew begin: in their units.
        self.levels, origin = [], torch.zeros_like(touched[0][0])
        for n, (kept, (low, high)) in enumerate(zip(maps, touched, strict=True)):
            size = torch.tensor(kept.shape[2:])
            begin, length, ratio = torch.zeros_like(low), size, 1  # the last level: everything
            if n < len(self.names):
                begin, length, ratio = _window(fields[n], fields[n + 1], *touched[n + 1], size)
            low = torch.maximum(low, begin)
            high = torch.maximum(torch.minimum(high, begin + length), low)
            lists = (part.tolist() for part in (begin, torch.cat([low, high], 1), origin))
            self.levels.append((kept, length.tolist(), *lists))
            origin = begin // ratio

    def run(self, forward: Callable[[Tensor], Tensor], pictures: list[int], boxes: list[int]) -> Tensor:
        """What `forward` gives for pictures `pictures[i]` with box `boxes[i]` filled, i = 0, 1, ..."""
        start, *others = [partial(self._paste, level, pictures, boxes) for level in self.levels]
        with replacing(self.model, dict(zip(self.names, others, strict=True))):
            return forward(start(self.filled.expand(len(boxes), -1, -1, -1)))

    @staticmethod
    def _paste(level: tuple, pictures: list[int], boxes: list[int], new: Tensor) -> Tensor:
        """The kept maps in each window, and where the box touches them what was computed anew."""
        maps, (height, width), begin, touched, origin = level
        shape = (len(boxes), maps.shape[1], height, width)
        out = torch.empty(shape, dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last)
        for row, (n, b) in enumerate(zip(pictures, boxes, strict=True)):
            (y, x), (top, left, bottom, right), (v, u) = begin[b], touched[b], origin[b]
            out[row] = maps[n, :, y : y + height, x : x + width]
            fresh = new[row, :, top - v : bottom - v, left - u : right - u]
            out[row, :, top - y : bottom - y, left - x : right - x] = fresh
        return out


def _touched(boxes: Tensor, field: ReceptiveField, shape) -> tuple[Tensor, Tensor]:
    """The first unit whose field touches each box and the one after the last, `(P,2)` each."""
    size, stride, start, count = (torch.tensor(v) for v in (field.size, field.stride, field.start, tuple(shape)))
    low = torch.minimum(((boxes[:, :2] - start - size) // stride + 1).clamp(min=0), count - 1)
    high = (boxes[:, 2:] - 1 - start) // stride + 1
    return low, torch.maximum(torch.minimum(high, count), low + 1)


def _window(here: ReceptiveField, after: ReceptiveField, low: Tensor, high: Tensor, size: Tensor) -> tuple:
    """Where the windows begin that units `low` to `high` of the next level need, their length, the ratio of strides.
    They begin on the grid of the next level, so that padding inside a window is only met by units that nobody needs."""
    unit, stride = torch.tensor(here.stride), torch.tensor(after.stride)
    ratio, shift = stride // unit, (torch.tensor(after.start) - torch.tensor(here.start)) // unit
    reach = (torch.tensor(after.size) - torch.tensor(here.size)) // unit + 1
    begin = torch.minimum((low * ratio + shift).clamp(min=0), size - 1) // ratio * ratio
    end = torch.minimum(((high - 1) * ratio + shift + reach).clamp(min=1), size)
    length = (end - begin).amax(0)
    length = torch.minimum(length + (size - length) % ratio, size)
    return torch.minimum(begin, size - length), length, ratio
