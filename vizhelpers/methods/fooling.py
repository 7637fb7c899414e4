"""Pictures that fool a net, by gradient ascent (lesson 06)."""
from collections import namedtuple
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ..device import batch_for, stoppable, warn
from ..hooks import with_gradients
from ..images import from_pixels, to_pixels
from ..targets import Neuron, answers_of, class_scores, gradient_of, probabilities, resolve_target

Fooled = namedtuple("Fooled", "picture confidence steps l2 linf rounded rounded_confidence winner fooled target start "
                              "difference history frames")  # fmt: skip
_lengths = partial(torch.linalg.vector_norm, dim=(1, 2, 3), keepdim=True)  # of each picture's values, (N,1,1,1)


def fool(model: nn.Module, x: Tensor, target: int | str | Sequence | Tensor, *, confidence: float = 0.9,
         step: float = 40, steps: int = 100, shrink: int = 0, record: bool = False, progress: bool = False) -> Fooled:
    """Pictures changed a little until the net takes them for the target with the wanted confidence (0: until it wins).
    Each step, `step` long (in units of 0..255, over all values), goes up the gradient of the target's log probability;
    then values are clipped to 0..1. `shrink` more steps seek a smaller change that still fools. Out come, a row for
    each picture: picture and start (0..1), their difference, its l2 and linf (0..255); rounded (uint8) as a file holds
    it, its winner and rounded_confidence, fooled if that is the target; history `(N,T+1)` of the confidence, frames if
    `record`. Szegedy et al. 2014, section 4; Rony et al. 2019, algorithm 1 (`shrink`); lesson 06."""
    if x.dim() != 4 or x.shape[1] != 3 or not len(x):
        raise ValueError(f"fool takes normalised pictures (N,3,H,W), not {tuple(x.shape)}: use vh.to_input(it, net).")
    if isinstance(target, Neuron):
        raise ValueError("A channel has no confidence: fool takes a class, by number or label.")
    if not 0 <= confidence < 1 or not step > 0 or steps < 0 or shrink < 0:
        raise ValueError("fool needs 0 <= confidence < 1, a step above 0, and steps and shrink of 0 or more.")
    with with_gradients():
        start = to_pixels(model, x.detach().clone()).clamp(0, 1)
        wanted = resolve_target(model, target, len(x), answers_of(model, x).count)
        search = _Search(model, start, wanted, confidence, step / 255)
        with stoppable(steps + shrink, progress, enough=lambda: bool(search.history)) as bar:
            search.ascend(steps, record, bar)
            search.shrink(shrink, bar)
        return search.report()


class _Search:
    """The state of one call of `fool`; complete after every step, so that an interrupt leaves something to report."""
    def __init__(self, model: nn.Module, start: Tensor, target: Tensor, confidence: float, step: float):
        self.model, self.start, self.target, self.confidence, self.step = model, start, target, confidence, step
        self.picture, self.batch, self.history, self.frames = start.clone(), batch_for(start.device), [], []
        self.steps, self.done = torch.zeros_like(target), torch.zeros_like(target, dtype=torch.bool)

    def look(self, pixels: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The target's probability, the winner, and the unit vector that leads uphill inside 0..1."""
        parts = []
        for some, wanted in zip(pixels.split(self.batch), target.split(self.batch), strict=True):
            leaf = some.detach().requires_grad_(True)
            x = from_pixels(self.model, leaf)
            logits = class_scores(self.model, x)
            log_p = probabilities(self.model, x, logits, log=True).gather(1, wanted[:, None])[:, 0]
            uphill = gradient_of(log_p.sum(), leaf)
            # a value at 0 cannot go down and one at 1 cannot go up: what would be clipped must not use up the step
            uphill = uphill.masked_fill((leaf <= 0) & (uphill < 0) | (leaf >= 1) & (uphill > 0), 0)
            uphill = uphill / _lengths(uphill).clamp(min=torch.finfo(uphill.dtype).tiny)
            parts.append((log_p.detach().exp(), logits.argmax(1), uphill))
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    def ascend(self, steps: int, record: bool, bar: stoppable) -> None:
        moving, candidate = torch.arange(len(self.start), device=self.start.device), self.start
        for number in range(steps + 1):
            chance, winner, uphill = self.look(candidate, self.target[moving])
            done = (winner == self.target[moving]) & (chance >= self.confidence)
            column = self.history[-1].clone() if self.history else torch.zeros_like(chance)
            column[moving] = chance
            self.picture[moving], self.steps[moving], self.done[moving] = candidate, number, done
            self.history.append(column)  # a picture that is done keeps its last
            self.sure = column.clone()
            if record:
                self.frames.append(self.picture.clone())
            stuck = ~done & (uphill.flatten(1).abs().amax(1) == 0)
            if stuck.any():
                warn(f"fool cannot move picture {moving[stuck].tolist()}: its gradient is 0, or leads out of 0..1.")
            go = ~done & ~stuck
            moving, candidate = moving[go], (candidate[go] + self.step * uphill[go]).clamp(0, 1)
            if not len(moving):
                return
            bar.update()

    def shrink(self, steps: int, bar: stoppable) -> None:
        """The change's length falls while it fools and grows while it does not, less and less."""
        some = (self.done & (self.steps > 0)).nonzero()[:, 0]
        start, target, change = self.start[some], self.target[some], self.picture[some] - self.start[some]
        least = _lengths(change)
        for number in range(steps if len(some) else 0):
            cool = 1 - number / steps
            chance, winner, uphill = self.look(start + change, target)
            length, done = _lengths(change), ((winner == target) & (chance >= self.confidence))[:, None, None, None]
            better = (done & (length < least)).flatten()
            self.picture[some[better]], self.sure[some[better]] = (start + change)[better], chance[better]
            least = torch.where(done, length.minimum(least), least)
            length = length * torch.where(done, 1 - 0.1 * cool, 1 + 0.1 * cool)
            change = change + self.step * cool * uphill
            change = change * (length / _lengths(change))
            change = (start + change).clamp(0, 1) - start
            bar.update()

    def report(self) -> Fooled:
        rounded, change = (self.picture * 255).round().to(torch.uint8), (self.picture - self.start) * 255
        chance, winner, _ = self.look(rounded.to(change.dtype) / 255, self.target)
        history, frames = (torch.stack(rows, 1) if rows else None for rows in (self.history, self.frames))
        return Fooled(self.picture, self.sure, self.steps, _lengths(change).flatten(),
                      change.abs().amax((1, 2, 3)), rounded, chance, winner, winner == self.target, self.target,
                      self.start, self.picture - self.start, history, frames)  # fmt: skip
