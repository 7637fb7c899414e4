"""Only what a patch can reach: run a net on a picture that was changed in one box, and recompute no more than needed.

A unit whose receptive field does not touch the box keeps its value. So the maps of the untouched picture are kept at a
few layers, the net runs on a window around the box, and at each of these layers its output is pasted into the kept
maps. What comes out is the same number for less work; it is compared with the plain run before it is used.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .activations import receptive_field
from .hooks import capture, evaluating, replacing, resolve_layer

WORTH = 0.75  # a layer of which a patch touches more than this share saves nothing


class Level(NamedTuple):
    """A layer through which everything passes, and what its units see: size, stride, start, each (y, x) in pixels."""

    layer: str
    size: tuple[int, int]
    stride: tuple[int, int]
    start: tuple[int, int]


class _Window(NamedTuple):
    """For each box: the units of a level that it touches, and the units that the next level needs (its window)."""

    low: list[tuple[int, int]]
    high: list[tuple[int, int]]
    begin: list[tuple[int, int]]
    length: tuple[int, int]


_known: WeakKeyDictionary[nn.Module, dict[tuple, list[Level]]] = WeakKeyDictionary()


def levels(model: nn.Module, x: Tensor, until: str | nn.Module | None = None) -> list[Level]:
    """The first layer of each resolution along the net's outermost chain, as far as its units see but a part.

    With `until`, only layers that finish before that one.
    """
    size = tuple(x.shape[-2:])
    found, key = _known.setdefault(model, {}), (size, until)
    if key not in found:
        names, stop = list(_chain(model)), until and resolve_layer(model, until)[0]
        with torch.no_grad(), evaluating(model), capture(model, *names, *([stop] if stop else [])) as acts:
            model(x[:1])
        order = acts.in_order()
        found[key], seen = [], {size}
        for name in order[: order.index(stop)] if stop else order:
            out = acts.calls(name)
            shape = tuple(out[0].shape[2:]) if isinstance(out[0], Tensor) and out[0].dim() == 4 else size
            if len(out) > 1 or shape in seen or min(shape) < 2:
                continue
            seen.add(shape)
            try:
                field = receptive_field(model, name, size)
            except ValueError:  # a net whose geometry it cannot follow is run whole
                break
            if min(field.stride) < 1 or max(field.size) >= min(size):
                break
            found[key].append(Level(name, field.size, field.stride, field.start))
    return found[key]


def _chain(module: nn.Module, prefix: str = "") -> Iterator[str]:
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential):
            yield from _chain(child, f"{prefix}{name}.")
        else:
            yield prefix + name


class LocalNet:
    """A net on pictures `x`, each with one of the `boxes` filled: `run(forward, pictures, boxes)`."""

    def __init__(self, model: nn.Module, x: Tensor, boxes: Tensor, filled: Tensor, found: list[Level]):
        self.model, self.x, self.boxes, self.filled, self.levels = model, x, boxes.tolist(), filled, []
        self.maps, self.windows = [], []
        if not found:
            return
        with capture(model, *(level.layer for level in found)) as acts:
            model(x)
        for level in found:
            if self._touched_share(boxes, level, acts[level.layer].shape[2:]) <= WORTH:
                self.levels.append(level)
                self.maps.append(acts[level.layer])
        sizes = [tuple(x.shape[2:])] + [tuple(a.shape[2:]) for a in self.maps]
        self.windows = _windows(boxes, self.levels, sizes)

    @staticmethod
    def _touched_share(boxes: Tensor, level: Level, shape) -> float:
        low, high = _touched(boxes, level, shape)
        return float(((high - low).amax(0) / torch.tensor(shape)).prod())

    def run(self, forward: Callable[[Tensor], Tensor], pictures: list[int], boxes: list[int]) -> Tensor:
        """What `forward` gives for pictures `pictures[i]` with box `boxes[i]` filled, i = 0, 1, ..."""
        start = self.windows[0] if self.levels else _whole(self.x.shape[2:], len(self.boxes))
        part = self._cut(self.x, pictures, boxes, start)
        for row, b in enumerate(boxes):
            (y, x), (top, left, bottom, right) = start.begin[b], self.boxes[b]
            part[row, :, max(top - y, 0) : max(bottom - y, 0), max(left - x, 0) : max(right - x, 0)] = self.filled[
                :, max(top, y) : min(bottom, y + start.length[0]), max(left, x) : min(right, x + start.length[1])
            ]
        pastes = {level.layer: self._paste(n, pictures, boxes) for n, level in enumerate(self.levels, 1)}
        with replacing(self.model, pastes):
            return forward(part)

    def _paste(self, n: int, pictures: list[int], boxes: list[int]) -> Callable[[Tensor], Tensor]:
        before, here = self.windows[n - 1], self.windows[n]
        earlier = self.levels[n - 2].stride if n > 1 else (1, 1)
        ratio = [s // e for s, e in zip(self.levels[n - 1].stride, earlier, strict=True)]

        def paste(out: Tensor) -> Tensor:
            whole = self._cut(self.maps[n - 1], pictures, boxes, here)
            for row, b in enumerate(boxes):
                into, out_of = [], []
                for axis in (0, 1):
                    begin = here.begin[b][axis]
                    low = max(here.low[b][axis], begin)
                    high = max(min(here.high[b][axis], begin + here.length[axis]), low)
                    shift = before.begin[b][axis] // ratio[axis]
                    into.append(slice(low - begin, high - begin))
                    out_of.append(slice(low - shift, high - shift))
                whole[row, :, into[0], into[1]] = out[row, :, out_of[0], out_of[1]]
            return whole

        return paste

    @staticmethod
    def _cut(maps: Tensor, pictures: list[int], boxes: list[int], window: _Window) -> Tensor:
        height, width = window.length
        shape = (len(boxes), maps.shape[1], height, width)
        out = torch.empty(shape, dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last)
        for row, (n, b) in enumerate(zip(pictures, boxes, strict=True)):
            y, x = window.begin[b]
            out[row] = maps[n, :, y : y + height, x : x + width]
        return out


def _touched(boxes: Tensor, level: Level, shape) -> tuple[Tensor, Tensor]:
    """The first unit whose field touches each box and the one after the last, `(P,2)` each."""
    size, stride, start = (torch.tensor(v) for v in level[1:])
    count = torch.tensor(tuple(shape))
    low = torch.div(boxes[:, :2] - start - size, stride, rounding_mode="floor") + 1
    low = torch.minimum(low.clamp(min=0), count - 1)
    high = torch.div(boxes[:, 2:] - 1 - start, stride, rounding_mode="floor") + 1
    return low, torch.maximum(torch.minimum(high, count), low + 1)


def _whole(shape, boxes: int) -> _Window:
    nothing = [(0, 0)] * boxes
    return _Window(nothing, nothing, nothing, tuple(shape))


def _windows(boxes: Tensor, found: list[Level], sizes: list[tuple[int, int]]) -> list[_Window]:
    """One window per level, pixels first; the last is the whole map.

    All windows of a level are equally long, so that they form a batch, and begin on the grid of the next level: a
    multiple of its stride. Padding inside a window is then only met by units that nobody needs.
    """
    pixels = Level("", (1, 1), (1, 1), (0, 0))
    chain, windows = [pixels, *found], []
    for here, after, count, next_count in zip(chain[:-1], chain[1:], sizes[:-1], sizes[1:], strict=True):
        low, high = _touched(boxes, after, next_count)
        begins, lengths = [], []
        for axis in (0, 1):
            unit, n = here.stride[axis], count[axis]
            ratio, shift = after.stride[axis] // unit, (after.start[axis] - here.start[axis]) // unit
            reach = (after.size[axis] - here.size[axis]) // unit + 1
            first = (low[:, axis] * ratio + shift).clamp(0, n - 1)
            end = ((high[:, axis] - 1) * ratio + shift + reach).clamp(1, n)
            first = first // ratio * ratio
            length = int((end - first).max())
            length = min(length + (n - length) % ratio, n)
            begins.append(first.clamp(max=n - length).tolist())
            lengths.append(length)
        own = _touched(boxes, here, count)
        windows.append(_Window(*_pairs(*own), list(zip(*begins, strict=True)), tuple(lengths)))
    if found:
        last = _touched(boxes, chain[-1], sizes[-1])
        windows.append(_Window(*_pairs(*last), [(0, 0)] * len(boxes), sizes[-1]))
    return windows


def _pairs(*tensors: Tensor) -> list[list[tuple[int, int]]]:
    return [[tuple(row) for row in t.tolist()] for t in tensors]
