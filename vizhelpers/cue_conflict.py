"""Texture or shape: decisions, shape bias with its interval, accuracy per condition (lesson 12)."""
from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .cue_set import CONDITIONS, Stimulus, categories_of, cue_categories, cue_stimuli
from .images import to_input
from .models import class_scores
from .pictures import load_image

LOW_RATE, LOW_ACCURACY = 0.3, 0.5  # below these a ratio of shape to texture decisions says little
Categories = Mapping[str, Sequence[int]]


class Decision(NamedTuple):
    """What somebody, net or human, answered to one stimulus."""

    shape: str
    texture: str
    answer: str


class ShapeBias(NamedTuple):
    """What `shape_bias` and `count_decisions` return.

    `bias` is shape / (shape + texture); `ci95` its Wilson interval, which takes the decisions as independent.
    `rate` is the share of conflict stimuli answered with either cue, `no_conflict` the accuracy where both cues agree,
    `outside` the mean probability of all classes that belong to no category (NaN where there is nothing to say).
    """

    shape: int
    texture: int
    other: int
    bias: float
    per_class: dict[str, float]
    ci95: tuple[float, float]
    rate: float
    no_conflict: float
    outside: float
    decisions: tuple[Decision, ...]


def category_probabilities(model: nn.Module, x: Tensor, categories: Categories | None = None) -> Tensor:
    """The probability of each category: the softmax over all classes, averaged over the classes of the category.

    The mean, not the sum: with sums the 109 dogs would win against a single zebra before anything is seen.

    Args:
        model: a classifier of the 1000 ImageNet classes.
        x: normalised pictures `(N,3,H,W)`.
        categories: category -> class numbers; by default the embedded set's.

    Returns:
        `(N, K)`, in the order of the categories; the largest of a row is the decision.

    Raises:
        ValueError: the net has other classes, or a category is empty.

    Example:
        >>> vh.category_probabilities(net, vh.to_input("koala", net)).argmax(1)

    Source: Geirhos et al. 2018, appendix; 2019, section 2.
    Taught in: 12_texture_vs_shape.
    """
    return _mean(_probabilities(model, x), cue_categories() if categories is None else categories)


def _probabilities(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        scores = class_scores(model, x)
    if scores.shape[1] != 1000:
        raise ValueError(f"Categories are sets of the 1000 ImageNet classes; this net has {scores.shape[1]} classes.")
    return scores.softmax(1)


def _mean(probabilities: Tensor, categories: Categories) -> Tensor:
    empty = [name for name, numbers in categories.items() if not len(numbers)]
    if empty or not categories:
        raise ValueError(f"Every category needs at least one class number; {', '.join(empty) or 'there is none'}.")
    return torch.stack([probabilities[:, list(numbers)].mean(1) for numbers in categories.values()], 1)


def decide(
    model: nn.Module, stimuli: Sequence[Stimulus], categories: Categories, *, batch_size: int = 16,
    progress: bool = False,
) -> tuple[list[Decision], list[float]]:
    """A net's decision on each stimulus, and how much probability it gave to classes outside all categories.

    The pictures go in as they are, without resizing: scaling to 256 and cropping moves the bias by points.
    """
    names, inside = list(categories), sorted({i for numbers in categories.values() for i in numbers})
    if strange := sorted({word for s in stimuli for word in (s.shape, s.texture)} - set(names)):
        raise ValueError(f"These stimuli show {', '.join(strange)}, which is not among the categories "
                         f"{', '.join(names)}: give categories=.")
    found, outside = [], []
    try:
        for at in tqdm(range(0, len(stimuli), batch_size), disable=not progress, leave=False, unit="batch"):
            part = stimuli[at : at + batch_size]
            pictures = [load_image(s.path) for s in part]
            sizes = {picture.size for picture in pictures}
            if len(sizes) > 1:
                raise ValueError(f"The stimuli have different sizes, {sorted(sizes)}: make them all 224 x 224.")
            p = _probabilities(model, to_input(pictures, model, size=pictures[0].size[::-1]))
            best = _mean(p, categories).argmax(1).tolist()
            found += [Decision(s.shape, s.texture, names[k]) for s, k in zip(part, best, strict=True)]
            outside += (1 - p[:, inside].sum(1)).tolist()
    except KeyboardInterrupt:
        if not found:
            raise
    return found, outside


def shape_bias(
    model: nn.Module, stimuli: str | Path | Sequence[Stimulus] | None = None, *,
    categories: Categories | None = None, batch_size: int = 16, progress: bool = False,
) -> ShapeBias:
    """How often a net goes by shape where shape and texture contradict each other.

    Args:
        model: a classifier of the 1000 ImageNet classes; each stimulus goes in at its own size, without resizing.
        stimuli: a list from `cue_stimuli`, a folder laid out as the authors', or None for the embedded set.
        categories: category -> class numbers. By default the embedded set's; for a folder those of a categories.csv
            in it or beside it, or else the authors' 16.
        batch_size: pictures that run at once.
        progress: show a bar; the stop button returns the result of what is done.

    Returns:
        A `ShapeBias`. A warning says so where so few answers name either cue, or so few pictures without a conflict
        are recognised, that the bias (a ratio) hides a net that does not see.

    Raises:
        ValueError: another number of classes, unknown categories, pictures of different sizes.

    Example:
        >>> found = vh.shape_bias(net)
        >>> print(f"{found.bias:.0%} of {found.shape + found.texture} decisions")

    Source: Geirhos et al. 2019, section 2.
    Taught in: 12_texture_vs_shape.
    """
    if stimuli is None or isinstance(stimuli, str | Path):
        categories = categories_of(stimuli) if categories is None else categories
        stimuli = cue_stimuli(stimuli)
    categories = cue_categories() if categories is None else categories
    decisions, outside = decide(model, stimuli, categories, batch_size=batch_size, progress=progress)
    conflict = [o for d, o in zip(decisions, outside, strict=True) if d.shape != d.texture]
    found = count_decisions(decisions)._replace(outside=math.fsum(conflict) / len(conflict) if conflict else math.nan)
    if found.rate < LOW_RATE or found.no_conflict < LOW_ACCURACY:
        warnings.warn(
            f"Only {found.rate:.0%} of the decisions name the shape or the texture, and {found.no_conflict:.0%} of the "
            "pictures without a conflict are recognised: the bias says little about this net. Is its preprocessing "
            "right?", stacklevel=2,
        )  # fmt: skip
    return found


def count_decisions(decisions: Iterable[Sequence[str]]) -> ShapeBias:
    """The shape bias of a list of decisions, whoever made them.

    Args:
        decisions: (shape, texture, answer) of each stimulus; where shape and texture are the same word, there is no
            conflict, and the decision counts for `no_conflict` only.

    Returns:
        A `ShapeBias`; NaN stands for ratios without a single case.

    Example:
        >>> vh.count_decisions([("cat", "dog", "cat"), ("cat", "dog", "dog"), ("cat", "dog", "car")]).bias
        0.5

    Source: Geirhos et al. 2019, section 2; Wilson 1927 for the interval.
    Taught in: 12_texture_vs_shape.
    """
    every = tuple(Decision(*d[:3]) for d in decisions)
    conflict = [d for d in every if d.shape != d.texture]
    agree = [d.answer == d.shape for d in every if d.shape == d.texture]
    shape = Counter(d.shape for d in conflict if d.answer == d.shape)
    texture = Counter(d.shape for d in conflict if d.answer == d.texture)
    n, k = shape.total() + texture.total(), shape.total()
    per_class = {name: _ratio(shape[name], shape[name] + texture[name]) for name in sorted({d.shape for d in conflict})}
    return ShapeBias(k, n - k, len(conflict) - n, _ratio(k, n), per_class, wilson(k, n), _ratio(n, len(conflict)),
                     _ratio(sum(agree), len(agree)), math.nan, every)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927): it stays inside 0..1 and is right for few trials, too."""
    if not trials:
        return 0.0, 1.0
    p, s = successes / trials, z * z / trials
    middle, half = (p + s / 2) / (1 + s), math.sqrt(p * (1 - p) * s + s * s / 4) / (1 + s)
    return max(0.0, middle - half), min(1.0, middle + half)


def condition_accuracy(
    model: nn.Module, *, categories: Categories | None = None, batch_size: int = 16, progress: bool = False
) -> dict[str, float]:
    """The share of right decisions in each condition of the embedded set.

    Args:
        model: a classifier of the 1000 ImageNet classes.
        categories: by default the embedded set's.
        batch_size: pictures that run at once.
        progress: show a bar.

    Returns:
        original, greyscale, silhouette, edges and texture -> accuracy 0..1.

    Example:
        >>> vh.condition_accuracy(net)["silhouette"]

    Source: Geirhos et al. 2019, figure 2.
    Taught in: 12_texture_vs_shape.
    """
    categories = cue_categories() if categories is None else categories
    options = dict(batch_size=batch_size, progress=progress)
    return {name: count_decisions(decide(model, cue_stimuli(condition=name), categories, **options)[0]).no_conflict
            for name in CONDITIONS}
