"""Occlusion: hide a patch, see what the net still says (lesson 09)."""
from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .device import check_same_device
from .hooks import evaluating
from .locality import LocalNet, levels
from .models import class_scores, resolve_target
from .objective import Neuron, Target, score

TRIAL = 4  # positions at which the short way is compared with the plain one


class Occlusion(NamedTuple):
    """What the net says with the patch at each position: maps of one value per position."""

    probability: Tensor  # (N,rows,columns), 0..1: of the target; NaN for a Neuron, which has none
    logit: Tensor  # (N,rows,columns): the target's score
    winner: Tensor  # (N,rows,columns), int64: the most probable class; -1 for a Neuron
    score: Tensor  # (N,): the target's score on the whole picture
    drop: Tensor  # (N,H,W): at each pixel, the mean fall of the score over the patches that cover it
    boxes: Tensor  # (rows*columns,4), int64: top, left, bottom, right of each patch, in pixels


def patch_boxes(height: int, width: int, patch: int, stride: int) -> tuple[Tensor, int, int]:
    """Where the patches lie: every `stride` pixels, the last row and column moved in so that the border is covered.

    Returns:
        `(boxes, rows, columns)`: int64 `(rows*columns,4)` of top, left, bottom, right.
    """
    def starts(length: int) -> list[int]:
        found = list(range(0, max(length - patch, 0) + 1, stride))
        return found if found[-1] + patch >= length else [*found, length - patch]

    ys, xs = starts(height), starts(width)
    boxes = [(y, x, min(y + patch, height), min(x + patch, width)) for y in ys for x in xs]
    return torch.tensor(boxes), len(ys), len(xs)


def occlusion(
    model: nn.Module, x: Tensor, target: Target = None, *, patch: int = 32, stride: int = 16,
    fill: float | Tensor = 0.0, batch_size: int | None = None, progress: bool = False,
) -> Occlusion:
    """Slide a patch over the picture and record, at each position, the target's probability, score and the winner.

    Args:
        model: any net.
        x: normalised pictures `(N,3,H,W)`.
        target: class number or label, one per picture, a `Neuron`, or None for each picture's most probable class.
        patch: side of the square, in pixels.
        stride: pixels from one position to the next; at the right and lower border a last, overlapping position is
            added where the steps would leave pixels out.
        fill: what the patch shows, normalised: a number, or a tensor that broadcasts to `(3,H,W)` (a blurred copy of
            the picture, say). 0 is the mean colour of the training set: the grey of the paper.
        batch_size: positions that run at once; by default what suits the device.
        progress: show a bar with the remaining time; the stop button keeps what is done (NaN and -1 elsewhere).

    Returns:
        An `Occlusion`.

    A net of convolutions is run only as far as a patch reaches (`locality.py`): the same numbers, two to three times as
    fast. A net that looks at the whole picture early, or takes no other size, runs whole.

    Raises:
        ValueError: patch or stride below 1, or a patch larger than the picture; and as `score`.

    Example:
        >>> maps = vh.occlusion(net, x, "koala", patch=48, stride=16, progress=True)
        >>> vh.show_map(maps.drop[0]);

    Source: Zeiler & Fergus 2014, section 4.2 and figure 7.
    Taught in: 09_occlusion.
    """
    steps = Sweep(model, x, target, patch=patch, stride=stride, fill=fill, batch_size=batch_size)
    try:
        with tqdm(total=steps.total, disable=not progress, leave=False, unit="position") as bar:
            while steps.done < steps.total:
                bar.update(steps.step())
    except KeyboardInterrupt:
        if not steps.done:
            raise
    return steps.result()


class Sweep:
    """The work of `occlusion`, a batch at a time: `step()` until `done == total`, `result()` whenever it is wanted."""

    def __init__(self, model, x, target=None, *, patch=32, stride=16, fill=0.0, batch_size=None):
        check_same_device(model, x)
        count, _, height, width = x.shape
        if patch < 1 or stride < 1 or patch > min(height, width):
            sizes = f"does not fit a picture of {height}x{width} pixels"
            raise ValueError(f"A patch of {patch} with stride {stride} {sizes}: 1 or more, and no larger than that.")
        self.boxes, self.rows, self.columns = patch_boxes(height, width, patch, stride)
        self.model, self.x, self.target, self.done = model, x.detach(), target, 0
        self.total = count * len(self.boxes)
        self.size = batch_size or (8 if x.device.type == "cpu" else 256)
        self.filled = torch.as_tensor(fill, dtype=x.dtype, device=x.device).detach().expand(3, height, width)
        shape = (count, len(self.boxes))
        self.probability = torch.full(shape, torch.nan, dtype=x.dtype, device=x.device)
        self.values, self.winner = self.probability.clone(), torch.full(shape, -1, device=x.device)
        with torch.no_grad(), evaluating(model):
            self.whole, self.wanted = _whole(model, self.x, target)
            self.net = self._net()

    def _net(self) -> LocalNet:
        """The net that computes least and still gives the same as the plain one at a few positions."""
        plain = LocalNet(self.model, self.x, self.boxes, self.filled, [])
        if self.total < TRIAL * 4:
            return plain
        found = levels(self.model, self.x, self.target.layer if isinstance(self.target, Neuron) else None)
        trial = torch.linspace(0, self.total - 1, TRIAL).long()
        pictures, boxes = (trial // len(self.boxes)).tolist(), (trial % len(self.boxes)).tolist()
        want = plain.run(self._forward, pictures, boxes) if found else None
        while found:
            net = LocalNet(self.model, self.x, self.boxes, self.filled, found)
            try:
                got = net.run(self._forward, pictures, boxes)
            except (RuntimeError, AssertionError):  # the net does not take a window: a skip connection, a fixed size
                got = None
            if got is not None and (got - want).abs().max() <= 1e-4 * want.abs().max():
                return net
            found = found[:-1]
        return plain

    def _forward(self, batch: Tensor) -> Tensor:
        """`(n,C)` logits, or `(n,1)` for a Neuron."""
        if isinstance(self.target, Neuron):
            return score(self.model, batch, self.target)[:, None]
        return class_scores(self.model, batch)

    def step(self) -> int:
        """Run the next batch of positions; how many."""
        jobs = range(self.done, min(self.done + self.size, self.total))
        pictures, boxes = [j // len(self.boxes) for j in jobs], [j % len(self.boxes) for j in jobs]
        with torch.inference_mode(), evaluating(self.model):
            out = self.net.run(self._forward, pictures, boxes)
        place = torch.tensor(pictures, device=out.device), torch.tensor(boxes, device=out.device)
        pick = torch.zeros_like(place[0]) if self.wanted is None else self.wanted[place[0]]
        self.values[place] = out.gather(1, pick[:, None])[:, 0]
        if self.wanted is not None:
            self.probability[place] = out.softmax(1).gather(1, pick[:, None])[:, 0]
            self.winner[place] = out.argmax(1)
        self.done += len(jobs)
        return len(jobs)

    def result(self) -> Occlusion:
        """What is known so far."""
        maps = [m.clone().unflatten(1, (self.rows, self.columns)) for m in (self.probability, self.values, self.winner)]
        drop = _per_pixel(self.whole[:, None] - self.values, self.boxes, *self.x.shape[2:])
        return Occlusion(*maps, self.whole.clone(), drop, self.boxes)


def _whole(model, x, target) -> tuple[Tensor, Tensor | None]:
    """The score of the whole pictures, and which class each is about."""
    if isinstance(target, Neuron):
        return score(model, x, target), None
    logits = class_scores(model, x)
    wanted = logits.argmax(1) if target is None else resolve_target(model, target, len(x)).to(x.device)
    return logits.gather(1, wanted[:, None])[:, 0], wanted


def _per_pixel(falls: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """The mean over the patches that cover each pixel, `(N,P)` -> `(N,H,W)`; patches that did not run count not."""
    total = torch.zeros(len(falls), height, width, dtype=falls.dtype, device=falls.device)
    covered = torch.zeros_like(total)
    for b, (top, left, bottom, right) in enumerate(boxes.tolist()):
        known = ~falls[:, b].isnan()
        total[:, top:bottom, left:right] += torch.where(known, falls[:, b], 0)[:, None, None]
        covered[:, top:bottom, left:right] += known[:, None, None]
    return total / covered.clamp(min=1)
