"""Putting maps on trial: how alike two are, true masks, pixels that go or come, random weights (lesson 13)."""
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from ..device import batch_for, stoppable
from ..hooks import evaluating, resolve_layer
from ..images import upsampled
from ..targets import Neuron, Target, of_rows, probabilities, score, settled
from .locality import outer_blocks

InsertionDeletion = namedtuple("InsertionDeletion", "fraction deletion insertion deletion_auc insertion_auc")


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's rank correlation of maps `(N,H,W)`: do they put the pixels in the same order?
    `(N,)` float64 on the CPU, -1..1: 1 the same order, 0 nothing in common, or a constant map. Lesson 13."""
    from scipy.stats import rankdata
    if a.shape != b.shape or a.dim() != 3:
        raise ValueError(f"Two maps to compare must both be (N,H,W), not {tuple(a.shape)} and {tuple(b.shape)}.")
    r, s = (torch.from_numpy(rankdata(m.detach().flatten(1).cpu().numpy(), axis=1)) for m in (a, b))
    return torch.cosine_similarity(r - r.mean(1, keepdim=True), s - s.mean(1, keepdim=True))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of maps `(N,H,W)`, each first stretched to 0..1: do they look alike? `(N,)`, at most 1.
    The mean over all Gaussian windows (11x11, deviation 1.5) that lie inside. Wang et al. 2004, eq. 13. Lesson 13."""
    if a.shape != b.shape or a.dim() != 3 or min(a.shape[1:]) < 11:
        raise ValueError("ssim looks through windows of 11x11 pixels at two maps (N,H,W), not smaller: these are "
                         f"{tuple(a.shape)} and {tuple(b.shape)}.")  # fmt: skip
    a, b = (m.detach() - m.amin((1, 2), keepdim=True) for m in (a, b))
    a, b = ((m / m.amax((1, 2), keepdim=True).clamp(min=torch.finfo(m.dtype).tiny))[:, None] for m in (a, b))
    u, v, aa, bb, ab = (gaussian_blur(m, 11, 1.5)[..., 5:-5, 5:-5] for m in (a, b, a * a, b * b, a * b))  # means
    own, other, both, c, d = aa - u * u, bb - v * v, ab - u * v, 0.01**2, 0.03**2
    return ((2 * u * v + c) * (2 * both + d) / ((u * u + v * v + c) * (own + other + d))).mean((1, 2, 3))


def as_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps `(N,h,w)` stretched to the picture, detached; refused where they still have colours or are not finite."""
    if not isinstance(maps, Tensor) or maps.dim() != 3:
        shape = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise ValueError(f"A map is (N,h,w), not {shape}: for colours take .abs().amax(1), of an attribution .sum(1).")
    if not torch.isfinite(maps).all():
        raise ValueError("The maps have values that are not finite: find out where the NaN comes from first.")
    maps = maps.detach() if maps.is_floating_point() else maps.float()
    return maps if tuple(maps.shape[1:]) == tuple(size) else upsampled(maps, size)


def _with_masks(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    if masks.dim() != 3 or masks.dtype != torch.bool or len(masks) != len(maps) or not masks.any((1, 2)).all():
        raise ValueError("masks are bool (N,H,W), one for each map, each with at least one pixel of True, not "
                         f"{masks.dtype} {tuple(masks.shape)} for {len(maps)} maps.")  # fmt: skip
    maps = as_maps(maps, tuple(masks.shape[1:]))
    return maps, masks.to(maps.device)


def pointing_game(maps: Tensor, masks: Tensor, *, tolerance: int = 0) -> Tensor:
    """Does the highest place of each map `(N,h,w)` lie on the object, bool `(N,H,W)`? `(N,)`, 1 a hit, 0 a miss.
    `tolerance` pixels beside it count, too; of several highest the share. Zhang et al. 2018, section 4.1. Lesson 13."""
    maps, masks = _with_masks(maps, masks)
    side, masks = 2 * tolerance + 1, masks[:, None].float()
    for size in ((side, 1), (1, side)):  # a square, one direction after the other
        masks = torch.max_pool2d(masks, size, 1, (size[0] // 2, size[1] // 2))
    top = maps == maps.amax((1, 2), keepdim=True)
    return (top & (masks[:, 0] > 0)).sum((1, 2)) / top.sum((1, 2))


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """The share of the positive part of each map `(N,h,w)` that lies on the object, bool `(N,H,W)`: `(N,)`, 0..1.
    An empty map gets `masks.float().mean((1, 2))`, the mask's share. Wang et al. 2020, section 4.3. Lesson 13."""
    maps, masks = _with_masks(maps, masks)
    positive = maps.relu()
    positive = positive + (positive.amax((1, 2), keepdim=True) == 0)  # nothing positive: as if flat
    return (positive * masks).sum((1, 2)) / positive.sum((1, 2))


def pixel_order(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """The rank of each pixel, `(N,H,W)` int64, 0 for the highest; equal values in a random, always the same, order."""
    flat = as_maps(maps, size).flatten(1)
    shuffled = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(0)).to(flat.device)
    order = shuffled[flat[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    return order.argsort(dim=1).view(-1, *size)


def insertion_deletion(model: nn.Module, x: Tensor, target: Target, maps: Tensor, *, steps: int = 32, fill=0.0,
                       blur: float = 12.0, of: str = "probability", progress: bool = False):  # fmt: skip
    """Delete a map's highest pixels first, and insert them first into a blurred copy: how does the net's answer move?
    For maps `(N,h,w)` the fraction of the pixels `(S+1,)`, the curves of deletion (from the picture) and insertion
    (to the picture), each `(N,S+1)`, NaN where stopped, and the areas below `(N,)`. A deleted pixel shows `fill`,
    normalised (0: the mean colour), or what "blurred" shows there; `blur` is the deviation in pixels, 0 inserts into
    the fill. `of`: the target's "probability" or "score" (of a `Neuron`). Petsiuk et al. 2018, 4.2. Lesson 13."""
    if steps < 1 or len(maps) != len(x) or of not in ("probability", "score"):
        raise ValueError(f"insertion_deletion takes 1 step or more, a map for each picture, and of='probability' or "
                         f"'score'; not {steps} steps, {len(maps)} maps for {len(x)} pictures, of={of!r}.")  # fmt: skip
    if isinstance(target, Neuron) and of == "probability":
        raise ValueError("A Neuron has no probability: ask for of='score'.")
    if isinstance(fill, str) and (fill != "blurred" or not blur):
        raise ValueError(f"fill is a number, a tensor, or 'blurred' with a blur above 0, not {fill!r}, blur {blur}.")
    x, size = x.detach(), tuple(x.shape[2:])
    rank = pixel_order(maps.to(x), size)
    start = filled = torch.as_tensor(0.0 if isinstance(fill, str) else fill).to(x).expand_as(x)
    if blur:
        width = 2 * min(round(3 * blur), min(size) - 1) + 1
        # one direction after the other: the same blur, with 2 * width products for a pixel instead of width * width
        wide = x if x.dtype == torch.float64 else x.float()  # in half precision a CPU would take minutes
        start = gaussian_blur(gaussian_blur(wide, [width, 1], blur), [1, width], blur).to(x)
    filled = start if isinstance(fill, str) else filled
    counts = torch.linspace(0, size[0] * size[1], steps + 1, dtype=torch.float64).round().long().to(x.device)
    old, new = torch.stack([x, start], 1), torch.stack([filled, x], 1)  # of deletion, of insertion
    values = x.new_full((len(x), 2, steps + 1), torch.nan)
    jobs = torch.cartesian_prod(*map(torch.arange, values.shape)).to(x.device)
    wanted = settled(model, x, target)
    with torch.inference_mode(), evaluating(model), stoppable(len(jobs), progress, "picture") as bar:
        for n, way, s in (part.T for part in jobs.split(batch_for(x.device))):
            pictures = torch.where((rank[n] < counts[s, None, None])[:, None], new[n, way], old[n, way])
            asked = of_rows(wanted, n.tolist())
            if of == "score":
                values[n, way, s] = score(model, pictures, asked)
            else:
                values[n, way, s] = probabilities(model, pictures).gather(1, asked[:, None])[:, 0]
            bar.update(len(n))
    fraction = (counts / counts[-1]).to(x)
    areas = torch.trapezoid(values, fraction)
    return InsertionDeletion(fraction, values[:, 0], values[:, 1], areas[:, 0], areas[:, 1])


def stages(model: nn.Module) -> list[str]:
    """The blocks of a net that have weights, from the top (the classifier) down: what `randomized` counts by.
    Sequences are opened, other blocks (a Fire module, a residual block) stay whole. Lesson 13."""
    return [name for name in outer_blocks(model) if list(model.get_submodule(name).parameters())][::-1]


@contextmanager
def randomized(model: nn.Module, upto: str | nn.Module | None = None, *, seed: int = 0) -> Iterator[nn.Module]:
    """Lend a net random weights, from its top down to a layer or block (by default all), inside the `with` block.
    Each tensor gets its own values in random order, filters and matrices with random signs: so the signal neither
    dies nor explodes, and nothing learned stays. After it the net has its own again. Adebayo et al. 2018; lesson 13."""
    parameters = list(model.parameters())[::-1]
    if upto is not None:  # down to the first-defined parameter of the block
        last = {id(p) for p in resolve_layer(model, upto)[1].parameters()}
        if not last:
            raise ValueError(f"{upto!r} has no weights to randomise; vh.stages(model) lists the blocks that have.")
        parameters = parameters[: max(n for n, p in enumerate(parameters) if id(p) in last) + 1]
    generator, kept = torch.Generator().manual_seed(seed), [p.data for p in parameters]
    try:
        with torch.inference_mode(False), torch.no_grad():  # weights made in inference mode could not be used later
            for p in parameters:
                order = torch.randperm(p.numel(), generator=generator).to(p.device)
                values = torch.empty_like(p).copy_(p.flatten()[order].view(p.shape))  # in the memory layout of p
                if p.dim() > 1:
                    values *= (torch.randint(2, p.shape, generator=generator) * 2 - 1).to(values)
                p.data = values
        yield model
    finally:
        for p, own in zip(parameters, kept, strict=True):
            p.data = own
