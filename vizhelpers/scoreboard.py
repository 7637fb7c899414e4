"""Every method on trial: scenes with true masks, six measures, intervals from resampled scenes (lesson 13)."""
from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm.auto import tqdm

from .evidence import evidence
from .images import compose_scene, to_input
from .models import class_index, class_scores
from .sanity import randomized, stages
from .similarity import rank_correlation
from .trust import energy_inside, insertion_deletion, pointing_game

HIGH = ("pointing game", "energy inside", "insertion")  # the higher, the better
MEASURES = (*HIGH, "deletion", "two classes alike", "random weights alike")
NW, NE, SW, SE = (0.02, 0.02, 0.6, 0.6), (0.38, 0.02, 0.6, 0.6), (0.02, 0.38, 0.6, 0.6), (0.38, 0.38, 0.6, 0.6)
# One object in a corner, or two side by side: cut-outs and their classes, boxes, background.
SCENES = [
    ({"hen": "hen"}, [NW], "great_wall"),
    ({"koala": "koala", "pineapple": "pineapple"}, None, None),
    ({"balloon360": "balloon"}, [NE], "dam_2"),
    ({"zebra": "zebra", "pineapple": "pineapple"}, None, None),
    ({"broccoli": "broccoli"}, [SW], "opera_house"),
    ({"tiger": "tiger", "broccoli": "broccoli"}, None, None),
    ({"strawberry2": "strawberry"}, [SE], "opera_house"),
    ({"basketball": "basketball", "strawberry2": "strawberry"}, None, None),
    ({"penguin": "king penguin"}, [SW], "dam_2"),
    ({"penguin": "king penguin", "pineapple": "pineapple"}, None, None),
    ({"basketball": "basketball"}, [SE], "zimni_palace"),
    ({"lemon": "lemon", "strawberry2": "strawberry"}, None, None),
    ({"zebra": "zebra"}, [NW], "great_wall"),
    ({"koala": "koala"}, [SW], "dam_2"),
]


class Trial(NamedTuple):
    """A scene, and the classes to ask for in it."""

    image: Image.Image
    masks: Tensor  # (M,H,W), bool: the true pixels of each class's object
    targets: tuple[int, ...]  # (M,)
    names: tuple[str, ...]  # (M,)


def trials(
    model: nn.Module, *, count: int | None = None, top: int = 3, size: tuple[int, int] = (224, 224)
) -> list[Trial]:
    """Composed scenes to judge maps on, those in which the net itself sees what is asked for.

    Scenes with one object have it in a corner, so that "look at the middle" is no good answer; in scenes with two
    objects each class is asked for.

    Args:
        model: a classifier for ImageNet's classes.
        count: the first so many scenes; by default all that pass.
        top: each class asked for must be among the net's first so many answers: a map for a class that the net does
            not see cannot be judged.
        size: (H, W) in pixels.

    Returns:
        `Trial`s.

    Raises:
        ValueError: the net has no such classes, or passes no scene.

    Example:
        >>> [t.names for t in vh.trials(net, count=2)]

    Taught in: 13_can_we_trust_these_maps.
    """
    found = []
    for objects, boxes, background in SCENES:
        scene = compose_scene(list(objects), boxes=boxes, background=background, size=size)
        targets = tuple(class_index(model, label) for label in objects.values())
        with torch.no_grad():
            logits = class_scores(model, to_input(scene.image, model, size=size))[0]
        if all(int((logits > logits[c]).sum()) < top for c in targets):
            found.append(Trial(scene.image, scene.masks, targets, tuple(objects.values())))
        if len(found) == count:
            break
    if not found:
        raise ValueError(f"This net puts the object of no scene among its first {top} answers: give a larger top.")
    return found


class Scoreboard(NamedTuple):
    """What every method scored, measure by measure."""

    methods: tuple[str, ...]  # M
    measures: tuple[str, ...]  # K
    mean: Tensor  # (M,K)
    low: Tensor  # (M,K): 95 % interval
    high: Tensor  # (M,K)
    values: dict[str, Tensor]  # measure -> (M,n), one value for each question asked
    trials: dict[str, Tensor]  # measure -> (n,): which trial each question belongs to


def scoreboard(
    model: nn.Module, cases: Sequence[Trial] | None = None, *, methods: Sequence[str] | None = None, steps: int = 6,
    resamples: int = 2000, seed: int = 0, progress: bool = False,
) -> Scoreboard:
    """Judge every method of the series on composed scenes: against masks, by deletion, for two classes, at random.

    The measures: "pointing game" (15 pixels beside the object count) and "energy inside" the true mask; areas under the
    "insertion" and "deletion" curves between the blurred and the whole picture, as shares of its score (for a scene's
    first class); "two classes alike": rank correlation of |map| for the two classes of a scene; "random weights alike":
    rank correlation of |map| with the map after the upper half of the net's blocks became random. The last three are
    better low.

    Args:
        model: any classifier; bit-identical afterwards.
        cases: scenes, masks and targets; by default `trials(model)`.
        methods: names of `evidence`'s; by default all that are defined for the net, baselines included.
        steps: of the deletion and insertion curves.
        resamples: of the bootstrap, which draws whole scenes: two questions about one scene are not independent.
        seed: of the random weights and the bootstrap.
        progress: show a bar; the stop button keeps the scenes that are done.

    Returns:
        A `Scoreboard`; `show_scoreboard` draws it.

    Raises:
        ValueError: no scene, or as `evidence`.

    Example:
        >>> board = vh.scoreboard(net, progress=True); vh.show_scoreboard(board);

    Source: the measures' own; Efron 1979 for the bootstrap.
    Taught in: 13_can_we_trust_these_maps.
    """
    cases = trials(model) if cases is None else list(cases)
    if not cases:
        raise ValueError("There is no scene to judge by: give at least one Trial, or leave them out.")
    rows: list[dict[str, Tensor]] = []
    names: list[str] = []
    try:
        for number, case in enumerate(tqdm(cases, disable=not progress, leave=False, unit="scene")):
            names, row = _judged(model, case, methods, steps, seed + number)
            rows.append(row)
    except KeyboardInterrupt:
        if not rows:
            raise
    values, owner, spans = {}, {}, []
    for measure in MEASURES:
        parts = [(n, row[measure]) for n, row in enumerate(rows) if measure in row]
        values[measure] = torch.cat([part for _, part in parts], 1) if parts else torch.full((len(names), 1), torch.nan)
        owner[measure] = torch.tensor([n for n, part in parts for _ in range(part.shape[1])] or [0])
        spans.append(bootstrap(values[measure], owner[measure], resamples=resamples, seed=seed))
    mean, low, high = (torch.stack(part, 1) for part in zip(*spans, strict=True))
    return Scoreboard(tuple(names), MEASURES, mean, low, high, values, owner)


def _judged(model, case: Trial, methods, steps: int, seed: int) -> tuple[list[str], dict[str, Tensor]]:
    """One scene: each measure's values (methods, questions)."""
    one = to_input(case.image, model, size=tuple(case.masks.shape[1:]))
    x, targets = one.expand(len(case.targets), -1, -1, -1).contiguous(), list(case.targets)
    blocks = stages(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an empty map is a result here: it is scored as one
        maps = evidence(model, x, targets, methods=methods)
        with randomized(model, blocks[(len(blocks) - 1) // 2], seed=seed):
            untaught = evidence(model, one, methods=list(maps))  # of its own answer: another output may be dead
    row: dict[str, list[Tensor]] = {}
    for name, found in maps.items():
        curves = insertion_deletion(model, one, targets[:1], found[:1], steps=steps, fill="blurred", of="score")
        whole = curves.insertion[:, -1].clamp(min=1e-6)
        scores = {
            "pointing game": pointing_game(found, case.masks, tolerance=15),
            "energy inside": energy_inside(found, case.masks),
            "insertion": curves.insertion_auc / whole, "deletion": curves.deletion_auc / whole,
            "random weights alike": rank_correlation(untaught[name].abs(), found[:1].abs()),
        }  # fmt: skip
        if len(targets) == 2:
            scores["two classes alike"] = rank_correlation(found[:1].abs(), found[1:].abs())
        for measure, value in scores.items():
            row.setdefault(measure, []).append(value.cpu().double())
    return list(maps), {measure: torch.stack(parts) for measure, parts in row.items()}


def bootstrap(
    values: Tensor, groups: Tensor | None = None, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Means and their percentile intervals, from groups of values drawn again and again with replacement.

    Args:
        values: `(M,n)`, M series of n values.
        groups: `(n,)`, values with the same number are drawn together; by default each value by itself.
        resamples: how often to draw.
        level: of the interval, 0..1.
        seed: of the draws.

    Returns:
        `(mean, low, high)`, each `(M,)` float64.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> mean, low, high = vh.bootstrap(board.values["pointing game"], board.trials["pointing game"])

    Source: Efron 1979; the percentile interval.
    Taught in: 13_can_we_trust_these_maps.
    """
    if values.dim() != 2 or (groups is not None and len(groups) != values.shape[1]):
        raise ValueError(f"bootstrap takes values (M,n) and a group for each of n, not {tuple(values.shape)}.")
    values = values.double()
    _, at = (torch.arange(values.shape[1]) if groups is None else groups).unique(return_inverse=True)
    count = int(at.max()) + 1
    drawn = torch.randint(count, (resamples, count), generator=torch.Generator().manual_seed(seed))
    often = torch.zeros(resamples, count, dtype=torch.float64).scatter_add_(1, drawn, torch.ones_like(drawn).double())
    weight = often[:, at]
    means = weight @ values.T / weight.sum(1, keepdim=True)
    edge = (1 - level) / 2
    low, high = means.quantile(torch.tensor([edge, 1 - edge], dtype=torch.float64), dim=0)
    return values.mean(1), low, high
