"""Occlusion: hide a patch, see what the net still says (lesson 09)."""
from collections import namedtuple

import torch
from torch import Tensor, nn

from ..device import batch_for, finished
from ..hooks import evaluating
from ..targets import Neuron, Target, class_scores, probabilities, score, settled
from .locality import LocalNet, levels

TRIAL = 4  # positions at which the short way is compared with the plain one
Occlusion = namedtuple("Occlusion", "probability logit winner score drop boxes")


def patch_boxes(height: int, width: int, patch: int, stride: int) -> tuple[Tensor, int, int]:
    """Boxes every `stride` pixels, `(rows*columns,4)`, rows, columns; the last ones moved in to cover the border."""
    ys, xs = ([*range(0, side - patch, stride), side - patch] for side in (height, width))
    return torch.tensor([(y, x, y + patch, x + patch) for y in ys for x in xs]), len(ys), len(xs)


def occlusion(model: nn.Module, x: Tensor, target: Target = None, *, patch: int = 32, stride: int = 16,
              fill: float | Tensor = 0.0, batch_size: int | None = None, progress=False) -> Occlusion:  # fmt: skip
    """Slide a square patch over the picture: what does the net say with it at each position, `(N,rows,columns)`?
    Of the target `.probability` (NaN for a `Neuron`) and `.logit`, its score; `.winner`, the most probable class (-1
    for a Neuron). Also `.score` `(N,)` of the whole picture; `.drop` `(N,H,W)`, at each pixel the mean fall of the
    score over the patches on it; `.boxes` `(rows*columns,4)`: top, left, bottom, right in pixels. `fill` is normalised:
    a number (0: the mean colour) or a tensor that broadcasts to `(3,H,W)`. Zeiler & Fergus 2014, 4.2; lesson 09."""
    sweep = Sweep(model, x, target, patch=patch, stride=stride, fill=fill, batch_size=batch_size)
    return finished(sweep, progress, "position")


class Sweep:
    """The work of `occlusion`, a batch at a time: `step()` until `done == total`, `result()` whenever it is wanted."""
    def __init__(self, model, x, target=None, *, patch=32, stride=16, fill=0.0, batch_size=None):
        count, _, height, width = x.shape
        if patch > min(height, width):
            raise ValueError(f"A patch of {patch} does not fit a picture of {height}x{width} pixels.")
        self.boxes, self.rows, self.columns = patch_boxes(height, width, patch, stride)
        self.model, self.x, self.done, self.total = model, x.detach(), 0, count * len(self.boxes)
        self.filled = torch.as_tensor(fill, dtype=x.dtype, device=x.device).detach().expand(x.shape[1:])
        self.probability = x.new_full((count, len(self.boxes)), torch.nan)
        self.values, self.winner = self.probability.clone(), torch.full_like(self.probability, -1, dtype=torch.long)
        with torch.no_grad(), evaluating(model):
            self.target = settled(model, self.x, target)
            self.whole = score(model, self.x, self.target)
            self.net = self._net()
        self.size = batch_size or batch_for(x.device) * (2 if self.net.names else 1)  # windows are small

    def _net(self) -> LocalNet:
        """The local net, if it gives the same as the plain one at a few positions."""
        plain = LocalNet(self.model, self.x, self.boxes, self.filled, {})
        until = self.target.layer if isinstance(self.target, Neuron) else None
        found = levels(self.model, self.x, until) if self.total >= TRIAL * 4 else {}
        if not found:
            return plain
        trial = torch.linspace(0, self.total - 1, TRIAL).long().tolist()
        want, net = self._answers(plain, trial), LocalNet(self.model, self.x, self.boxes, self.filled, found)
        try:
            got = self._answers(net, trial)
        except (RuntimeError, AssertionError):  # the net does not take a window: a skip connection, a fixed size
            return plain
        return net if (got - want).abs().max() <= 1e-4 * want.abs().max() else plain

    def _answers(self, net: LocalNet, jobs) -> Tensor:
        """`(n,C)` logits, or `(n,1)` for a Neuron; jobs count the first picture's boxes, then the second's, ..."""
        def forward(batch: Tensor) -> Tensor:
            neuron = isinstance(self.target, Neuron)
            return score(self.model, batch, self.target)[:, None] if neuron else class_scores(self.model, batch)

        return net.run(forward, [job // len(self.boxes) for job in jobs], [job % len(self.boxes) for job in jobs])

    def step(self) -> None:
        """Run the next batch of positions."""
        jobs = torch.arange(self.done, min(self.done + self.size, self.total))
        with torch.inference_mode(), evaluating(self.model):
            out = self._answers(self.net, jobs.tolist())
        if isinstance(self.target, Neuron):
            self.values.view(-1)[jobs] = out[:, 0]
        else:
            pick = self.target[jobs // len(self.boxes)][:, None]
            self.values.view(-1)[jobs] = out.gather(1, pick)[:, 0]
            self.probability.view(-1)[jobs] = probabilities(self.model, self.x, out).gather(1, pick)[:, 0]
            self.winner.view(-1)[jobs] = out.argmax(1)
        self.done += len(jobs)

    def result(self) -> Occlusion:
        """What is known so far."""
        maps = [m.clone().unflatten(1, (self.rows, self.columns)) for m in (self.probability, self.values, self.winner)]
        drop = _per_pixel(self.whole[:, None] - self.values, self.boxes, *self.x.shape[2:])
        return Occlusion(*maps, self.whole.clone(), drop, self.boxes)


def _per_pixel(falls: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """The mean over the patches that cover each pixel, `(N,P)` -> `(N,H,W)`; patches that did not run count not."""
    total, covered = falls.new_zeros(2, len(falls), height, width)
    known, falls = ~falls.isnan(), falls.nan_to_num()
    for b, (top, left, bottom, right) in enumerate(boxes.tolist()):
        total[:, top:bottom, left:right] += falls[:, b, None, None]
        covered[:, top:bottom, left:right] += known[:, b, None, None]
    return total / covered.clamp(min=1)
