"""All methods in one table, and all of them on trial: true masks, deletion, two classes, random weights (lesson 13)."""
import warnings
from collections import defaultdict, namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..device import quiet, stoppable, table
from ..hooks import evaluating
from ..images import DATA, to_input, upsampled
from ..scenes import compose_scene
from ..targets import Neuron, Target, class_index, predict, settled
from .cam import cam, grad_cam, grad_cam_plus_plus, guided_grad_cam
from .gradients import deconvnet_gradient, gradient, gradient_x_input, guided_backprop, integrated_gradients, smoothgrad
from .occlusion import occlusion
from .trust import as_maps, energy_inside, insertion_deletion, pointing_game, randomized, rank_correlation, ssim, stages


@dataclass(frozen=True)
class Method:
    """`raw` computes `(N,3,H,W)` or `(N,h,w)`, signed; a call gives the map `(N,h,w)` by which the method is judged."""
    lesson: int
    raw: Callable[[nn.Module, Tensor, Target], Tensor]
    summed: bool = False  # over the colours; else the largest magnitude of the three

    def __call__(self, model: nn.Module, x: Tensor, target: Target) -> Tensor:
        found = self.raw(model, x, target)
        return found if found.dim() == 3 else found.sum(1) if self.summed else found.abs().amax(1)


def edges(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """Strength of the Sobel edges of the grey picture: a map that no net had a part in."""
    weights = [0.299, 0.587, 0.114] if x.shape[1] == 3 else [1 / x.shape[1]] * x.shape[1]
    grey = (x.detach() * x.new_tensor(weights).view(1, -1, 1, 1)).sum(1, keepdim=True)
    across = x.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    both = torch.stack([across, across.T])[:, None]
    return F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), both).norm(dim=1)


def centre(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """A Gaussian in the middle, a quarter of the picture wide: "objects tend to be there"."""
    away = [(torch.arange(n, dtype=x.dtype, device=x.device) - (n - 1) / 2) / (n / 4) for n in x.shape[2:]]
    return torch.outer(*(torch.exp(-(a**2) / 2) for a in away)).repeat(len(x), 1, 1)


def chance(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """Noise, the same for every picture."""
    return torch.rand(x.shape[2:], generator=torch.Generator().manual_seed(0)).to(x).repeat(len(x), 1, 1)


METHODS = {
    "saliency": Method(5, gradient),
    "SmoothGrad": Method(5, lambda model, x, target: smoothgrad(model, x, target, samples=8)),
    "gradient x input": Method(5, gradient_x_input, summed=True),
    "Integrated Gradients": Method(5, lambda *asked: integrated_gradients(*asked, steps=8), summed=True),
    "deconvnet": Method(4, deconvnet_gradient),
    "guided backprop": Method(7, guided_backprop),
    "CAM": Method(8, cam),
    "Grad-CAM": Method(8, grad_cam),
    "Grad-CAM++": Method(8, grad_cam_plus_plus),
    "Guided Grad-CAM": Method(8, guided_grad_cam),
    "occlusion": Method(9, lambda *asked: occlusion(*asked, patch=48, stride=32).drop),
    "edges": Method(13, edges), "centre": Method(13, centre), "random": Method(13, chance),
}  # fmt: skip

Sanity = namedtuple("Sanity", "stages rank ssim maps")
Trial = namedtuple("Trial", "image masks targets names")
BASELINES = ("edges", "centre", "random")  # they never look at the net


def method_called(method: str | Callable) -> Callable[[nn.Module, Tensor, Target], Tensor]:
    """A method of the table by its name, or any function `(model, x, target) -> (N,h,w)`: to give maps `(N,H,W)`."""
    if isinstance(method, str) and method not in METHODS:
        raise ValueError(f"No method is called {method!r}; there are {', '.join(METHODS)}.")
    function = METHODS[method] if isinstance(method, str) else method

    def maps(model: nn.Module, x: Tensor, target: Target) -> Tensor:
        with evaluating(model):  # a method of the user's may rely on it
            return as_maps(function(model, x, target), tuple(x.shape[2:]))

    return maps


def evidence(model: nn.Module, x: Tensor, target: Target = None, *, methods=None) -> dict[str, Tensor]:
    """The maps `(N,H,W)` of many methods, large where the evidence is, by name; by default of all that suit the net.
    Of saliency, SmoothGrad, the deconvnet, guided backprop and Guided Grad-CAM the largest magnitude of the colours, of
    gradient x input and Integrated Gradients (8 points) the signed sum; CAMs and occlusion (patch 48, stride 32) are
    stretched to the picture. "edges", "centre" and "random" are baselines that never look at the net. Lesson 13."""
    found = {}
    for name in METHODS if methods is None else methods:
        try:
            found[name] = method_called(name)(model, x, target)
        except ValueError:
            if methods is not None or not found:  # what is wrong for the first method is wrong for all
                raise
    return found


def laboratory(model: nn.Module, x: Tensor, target: Target) -> tuple[dict, dict, dict]:
    """What the methods (without baselines, by lesson) give for one picture, by name: `(raw, maps, reasons)`.
    Raw is `(3,H,W)` or `(h,w)`; a map `(H,W)`, signed, colours added up; a reason says why one is empty or missing."""
    raw, maps, reasons = {}, {}, {}
    for name in sorted((name for name in METHODS if name not in BASELINES), key=lambda name: METHODS[name].lesson):
        with warnings.catch_warnings(record=True, action="always", category=UserWarning) as said:
            try:
                found = METHODS[name].raw(model, x, target).cpu()
            except ValueError as refusal:
                reasons[name] = str(refusal)
                continue
        if not found.any():
            reasons[name] = str(said[0].message) if said else "every value is 0"
        raw[name] = found[0]
        maps[name] = (found.sum(1) if found.dim() == 4 else upsampled(found, tuple(x.shape[2:])))[0]
    return raw, maps, reasons


def sanity_check(model: nn.Module, x: Tensor, target: Target, method: str | Callable, *,
                 upto: Sequence[str] | None = None, seed: int = 0, progress: bool = False) -> Sanity:  # fmt: skip
    """Cascading randomisation: a method's maps with the trained net, and with more and more of its weights random.
    Gives the names of S blocks from the top down, rank correlation and SSIM of |map| with the trained net's, `(S,N)`,
    and the maps `(S+1,N,H,W)`, the trained net's first. `method` is a name of `evidence`'s or a function of (model,
    x, target); `upto` names the blocks, by default all `stages`. In a random net classes mean nothing and may be dead:
    its map is for its own first answer (a `Neuron` stays). Adebayo et al. 2018, section 3.1. Lesson 13."""
    method, names = method_called(method), list(stages(model) if upto is None else upto)
    maps = [method(model, x, settled(model, x, target))]
    with stoppable(len(names), progress, "stage") as bar:
        for name in names:
            with randomized(model, name, seed=seed):
                maps.append(method(model, x, target if isinstance(target, Neuron) else None))
            bar.update()
    rank, look = ([alike(m.abs(), maps[0].abs()) for m in maps[1:]] for alike in (rank_correlation, ssim))
    return Sanity(tuple(names[: len(rank)]), torch.stack(rank), torch.stack(look), torch.stack(maps))


def class_sensitivity(model: nn.Module, x: Tensor, targets: tuple, method: str | Callable) -> Tensor:
    """`(N,)`, the rank correlation of a method's |map| for two targets: 1 means that it does not tell them apart.
    `method` as in `sanity_check`; best with an object of each class in the picture. The measure is ours. Lesson 13."""
    if len(targets) != 2:
        raise ValueError(f"class_sensitivity compares two targets, such as ('koala', 'pineapple'), not {targets!r}.")
    return rank_correlation(*(method_called(method)(model, x, target).abs() for target in targets))


def trials(model: nn.Module, *, count: int | None = None, top: int = 3) -> list[Trial]:
    """Composed scenes to judge maps on: the picture, M masks `(M,H,W)`, M class numbers and names (data/trials.csv).
    The first `count` of those whose classes are all among the net's `top` answers. A single object stands in a
    corner, so that "look at the middle" is no good answer; of two objects each class is asked for. Lesson 13."""
    found = []
    for row in table(DATA / "trials.csv"):
        names, boxes = row["labels"].split("+"), [[float(n) for n in row["box"].split()]] if row["box"] else None
        scene = compose_scene(row["objects"].split("+"), boxes=boxes, background=row["background"] or None)
        targets = tuple(class_index(model, label) for label in names)
        seen = {p.index for p in predict(model, to_input(scene.image, model, size=(224, 224)), top=top)}
        if seen.issuperset(targets):
            found.append(Trial(scene.image, scene.masks, targets, tuple(names)))
        if len(found) == count:
            break
    return found


HIGH = ("pointing game", "energy inside", "insertion")  # better when high; the others are better low
MEASURES = (*HIGH, "deletion", "two classes alike", "random weights alike")
Scoreboard = namedtuple("Scoreboard", "methods measures mean low high values trials better_high baselines",
                        defaults=(HIGH, BASELINES))  # fmt: skip


def scoreboard(model: nn.Module, cases: Sequence[Trial] | None = None, *, methods: Sequence[str] | None = None,
               steps: int = 6, progress: bool = False) -> Scoreboard:  # fmt: skip
    """All methods of `evidence` (or those named) on `trials(model)` or your own; `show_scoreboard` draws the result.
    High is good: "pointing game" (15 pixels beside the object count), "energy inside" the mask, area under
    "insertion". Low is good: area under "deletion" (both into blur, in `steps`, as shares of the picture's score, for
    a scene's first class), "two classes alike" (rank correlation of |map|), "random weights alike" (the same with the
    upper half of the blocks random). `mean`, `low`, `high` `(methods, measures)` are 95 % intervals from `bootstrap`
    over scenes, `values` each question's by measure, `(methods, questions)`, `trials` its scene. Lesson 13."""
    cases = trials(model) if cases is None else list(cases)
    if not cases:
        raise ValueError("There is no scene to judge by: give at least one Trial, or a net that names their objects.")
    rows = []
    with stoppable(len(cases), progress, "scene") as bar:
        for case in cases:
            rows.append(_judged(model, case, methods, steps, bar.done))
            bar.update()
    names, values, owner, spans = tuple(rows[0]["deletion"]), {}, {}, []
    for measure in MEASURES:
        parts = {n: torch.stack([*row[measure].values()]) for n, row in enumerate(rows) if measure in row}
        parts = parts or {0: torch.full((len(names), 1), torch.nan)}  # no scene with two classes
        values[measure] = torch.cat([*parts.values()], 1).cpu().double()
        owner[measure] = torch.tensor([n for n, part in parts.items() for _ in part[0]])
        spans.append(bootstrap(values[measure], owner[measure]))
    return Scoreboard(names, MEASURES, *(torch.stack(s, 1) for s in zip(*spans, strict=True)), values, owner)


def _judged(model, case: Trial, methods, steps: int, seed: int) -> dict[str, dict[str, Tensor]]:
    """One scene: measure -> method -> its values, one for each question."""
    one = to_input(case.image, model, size=tuple(case.masks.shape[1:]))
    x, targets, blocks = one.repeat(len(case.targets), 1, 1, 1), list(case.targets), stages(model)
    with quiet():  # an empty map is a result here: it is scored as one
        maps = evidence(model, x, targets, methods=methods)
        with randomized(model, blocks[(len(blocks) - 1) // 2], seed=seed):
            untaught = evidence(model, one, methods=list(maps))  # of its own answer: another output may be dead
    row = defaultdict(dict)
    for name, found in maps.items():
        curves = insertion_deletion(model, one, targets[:1], found[:1], steps=steps, fill="blurred", of="score")
        whole = curves.insertion[:, -1].clamp(min=1e-6)
        row["pointing game"][name] = pointing_game(found, case.masks, tolerance=15)
        row["energy inside"][name] = energy_inside(found, case.masks)
        row["insertion"][name], row["deletion"][name] = curves.insertion_auc / whole, curves.deletion_auc / whole
        row["random weights alike"][name] = rank_correlation(untaught[name].abs(), found[:1].abs())
        if len(targets) == 2:
            row["two classes alike"][name] = rank_correlation(found[:1].abs(), found[1:].abs())
    return row


def bootstrap(values: Tensor, groups: Tensor | None = None, *, resamples: int = 2000) -> tuple[Tensor, ...]:
    """Means of M series `(M,n)` and their 95 % percentile intervals: `(mean, low, high)`, each `(M,)` float64. Seeded.
    Values with the same number in `groups` `(n,)` are drawn together. Efron 1979. Lesson 13."""
    if values.dim() != 2 or (groups is not None and len(groups) != values.shape[1]):
        raise ValueError(f"bootstrap takes values (M,n) and a group for each of n, not {tuple(values.shape)}.")
    values = values.double().cpu()
    at = (torch.arange(values.shape[1]) if groups is None else groups.cpu()).unique(return_inverse=True)[1]
    count = int(at.max()) + 1
    drawn = torch.randint(count, (resamples, count), generator=torch.Generator().manual_seed(0))
    weight = torch.stack([d.bincount(minlength=count) for d in drawn]).double()[:, at]  # how often each value is drawn
    means = weight @ values.T / weight.sum(1, keepdim=True)
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    return values.mean(1), low, high
