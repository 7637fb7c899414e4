"""Judging maps: against true masks, and by what the net says when a map's best pixels go or come (lesson 13)."""
from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from .cam import upsampled
from .device import check_same_device
from .hooks import evaluating
from .models import class_scores, resolve_target
from .objective import Neuron, Target, score


def as_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps `(N,h,w)` stretched to the picture, detached; refused where they still have colours or are not finite."""
    if not isinstance(maps, Tensor) or maps.dim() != 3:
        shape = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise ValueError(f"A map is one value per place, (N,h,w), not {shape}: for colours take .abs().amax(1) of a "
                         "gradient, .sum(1) of an attribution.")  # fmt: skip
    if not torch.isfinite(maps).all():
        raise ValueError("The maps have values that are not finite: find out where the NaN comes from first.")
    maps = maps.detach() if maps.is_floating_point() else maps.float()
    return maps if tuple(maps.shape[1:]) == tuple(size) else upsampled(maps, size)


def _with_masks(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    given = isinstance(masks, Tensor) and masks.dim() == 3 and masks.dtype == torch.bool
    if not given or not masks.flatten(1).any(1).all():
        raise ValueError("masks are bool (N,H,W), one for each map, each with at least one pixel of True.")
    maps = as_maps(maps, tuple(masks.shape[1:]))
    if len(maps) != len(masks):
        raise ValueError(f"There are {len(maps)} maps but {len(masks)} masks: give one mask for each map.")
    return maps, masks.to(maps.device)


def pointing_game(maps: Tensor, masks: Tensor, *, tolerance: int = 0) -> Tensor:
    """Pointing game: does a map's highest place lie on the object?

    Args:
        maps: `(N,h,w)`, signed, large where the evidence is; stretched bilinearly to the masks where smaller.
        masks: bool `(N,H,W)`, the true pixels of each picture's object.
        tolerance: how many pixels beside the object (in a square) still count.

    Returns:
        `(N,)`, 1 for a hit, 0 for a miss. Where several places are equally high, the share of them that hit: what a
        random choice among them scores on the average (a flat map: the object's share of the picture).

    Raises:
        ValueError: maps with colours or NaN, masks that are empty or do not fit.

    Example:
        >>> vh.pointing_game(vh.saliency(net, x, "koala"), scene.masks)
        tensor([1.])

    Source: Zhang et al. 2018, *Top-down Neural Attention by Excitation Backprop*, section 4.1 (tolerance 15 there).
    Taught in: 13_can_we_trust_these_maps.
    """
    maps, masks = _with_masks(maps, masks)
    if tolerance:
        side, masks = 2 * tolerance + 1, masks[:, None].float()
        for size in ((side, 1), (1, side)):  # a square, one direction after the other
            masks = F.max_pool2d(masks, size, 1, (size[0] // 2, size[1] // 2))
        masks = masks[:, 0] > 0
    top = maps == maps.amax((1, 2), keepdim=True)
    return (top & masks).sum((1, 2)) / top.sum((1, 2))


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """The share of a map's positive part that lies on the object; compare it with `masks.float().mean((1, 2))`.

    Args:
        maps: `(N,h,w)`, signed; stretched bilinearly to the masks where smaller. Negative values count nothing.
        masks: bool `(N,H,W)`, the true pixels of each picture's object.

    Returns:
        `(N,)`, 0..1. A map without any positive value is taken as flat: it gets the object's share of the picture.

    Raises:
        ValueError: as `pointing_game`.

    Example:
        >>> vh.energy_inside(vh.grad_cam(net, x, "koala"), scene.masks)
        tensor([0.4794])

    Source: Wang et al. 2020, *Score-CAM*, section 4.3 (energy-based pointing game).
    Taught in: 13_can_we_trust_these_maps.
    """
    maps, masks = _with_masks(maps, masks)
    positive = maps.clamp(min=0)
    flat = ~positive.flatten(1).any(1)
    positive = torch.where(flat[:, None, None], torch.ones_like(positive), positive)
    return (positive * masks).sum((1, 2)) / positive.sum((1, 2))


class InsertionDeletion(NamedTuple):
    """What the net says while the map's highest pixels are deleted, or inserted, first."""

    fraction: Tensor  # (S+1,): of the pixels deleted or inserted, 0..1
    deletion: Tensor  # (N,S+1): starts at the picture, ends at the fill
    insertion: Tensor  # (N,S+1): starts at the blurred picture, ends at the picture
    deletion_auc: Tensor  # (N,): area under the curve; low: the map found what the net needs
    insertion_auc: Tensor  # (N,): high: the map found what is enough for the net


def pixel_order(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """The rank of each pixel, `(N,H,W)` int64, 0 for the highest; equal values in a random, always the same, order."""
    flat = as_maps(maps, size).flatten(1)
    shuffled = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(0)).to(flat.device)
    order = shuffled[flat[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    return torch.empty_like(order).scatter_(1, order, torch.arange(flat.shape[1], device=flat.device)
                                            .expand_as(order)).view(-1, *size)  # fmt: skip


def without(x: Tensor, rank: Tensor, count: int, fill: Tensor) -> Tensor:
    """The pictures with their `count` highest pixels replaced by the fill's."""
    return torch.where((rank < count)[:, None], fill, x)


def insertion_deletion(
    model: nn.Module, x: Tensor, target: Target, maps: Tensor, *, steps: int = 32,
    fill: float | Tensor | str = 0.0, blur: float = 12.0, of: str = "probability", batch_size: int | None = None,
    progress: bool = False,
) -> InsertionDeletion:
    """Delete a map's highest pixels first, and insert them first into a blurred copy: how does the net's answer move?

    Args:
        model: any net.
        x: normalised pictures `(N,3,H,W)`.
        target: class number or label, one per picture, a `Neuron` (with `of="score"`), or None for each picture's
            most probable class.
        maps: `(N,h,w)`, signed, the ranking; stretched bilinearly to the pictures where smaller. Equal values come in
            random order, the same in every call.
        steps: equal steps from none to all of the pixels.
        fill: what a deleted pixel shows, normalised: a number, a tensor that broadcasts to x, or "blurred": what the
            blurred copy shows there. 0 is the mean colour of the training set.
        blur: standard deviation, in pixels, of the Gaussian blur of the picture into which pixels are inserted; 0
            inserts into the fill instead.
        of: "probability" of the target, or its "score" (logit).
        batch_size: pictures that run at once; by default what suits the device.
        progress: show a bar; the stop button keeps what is done (NaN elsewhere).

    Returns:
        An `InsertionDeletion`, its areas by the trapezoid rule.

    Raises:
        ValueError: as `score`, or no step, maps that do not fit, an unknown `of`.

    Example:
        >>> vh.insertion_deletion(net, x, "koala", vh.saliency(net, x, "koala")).deletion_auc

    Source: Petsiuk et al. 2018, *RISE*, section 4.2.
    Taught in: 13_can_we_trust_these_maps.
    """
    check_same_device(model, x)
    if steps < 1 or len(maps) != len(x) or of not in ("probability", "score"):
        raise ValueError(f"insertion_deletion takes 1 step or more, a map for each picture, and of='probability' or "
                         f"'score'; not {steps} steps, {len(maps)} maps for {len(x)} pictures, of={of!r}.")  # fmt: skip
    if isinstance(target, Neuron) and of == "probability":
        raise ValueError("A Neuron has no probability: ask for of='score'.")
    x, size = x.detach(), tuple(x.shape[2:])
    rank = pixel_order(maps.to(x), size)
    if isinstance(fill, str) and (fill != "blurred" or not blur):
        raise ValueError(f"fill is a number, a tensor, or 'blurred' with a blur above 0, not {fill!r}, blur {blur}.")
    start = _blurred(x, blur) if blur else None
    filled = start if isinstance(fill, str) else torch.as_tensor(fill, dtype=x.dtype, device=x.device).expand_as(x)
    start = filled if start is None else start
    counts = torch.linspace(0, size[0] * size[1], steps + 1, dtype=torch.float64).round().long()
    values = x.new_full((len(x), 2, steps + 1), torch.nan)
    known = {steps} | ({0} if filled is start else set())  # there insertion is deletion read backwards
    jobs = [(n, way, s) for n in range(len(x)) for way in (0, 1) for s in range(steps + 1) if not (way and s in known)]
    batch = batch_size or (8 if x.device.type == "cpu" else 128)
    with torch.inference_mode(), evaluating(model):
        wanted = _settled(model, x, target)
        try:
            with tqdm(total=len(jobs), disable=not progress, leave=False, unit="picture") as bar:
                for at in range(0, len(jobs), batch):
                    part = jobs[at : at + batch]
                    pictures = torch.cat([
                        without(x[n : n + 1], rank[n : n + 1], counts[s], filled[n : n + 1]) if way == 0
                        else without(start[n : n + 1], rank[n : n + 1], counts[s], x[n : n + 1])
                        for n, way, s in part
                    ])  # fmt: skip
                    said = _said(model, pictures, wanted, [n for n, _, _ in part], of)
                    values[tuple(torch.tensor(part, device=x.device).T)] = said
                    bar.update(len(part))
        except KeyboardInterrupt:
            if torch.isnan(values).all():
                raise
    values, fraction = values.clone(), (counts / counts[-1]).to(x)
    for step in known:
        values[:, 1, step] = values[:, 0, steps - step]
    areas = torch.trapezoid(values, fraction)
    return InsertionDeletion(fraction, values[:, 0], values[:, 1], areas[:, 0], areas[:, 1])


def _blurred(x: Tensor, deviation: float) -> Tensor:
    from torchvision.transforms.functional import gaussian_blur  # here: it must be prepared before it is imported

    width = 2 * min(round(3 * deviation), min(x.shape[2:]) - 1) + 1
    # one direction after the other: the same blur, with 2 * width products for a pixel instead of width * width
    return gaussian_blur(gaussian_blur(x, [width, 1], deviation), [1, width], deviation)


def _settled(model: nn.Module, x: Tensor, target: Target) -> Neuron | Tensor:
    """What each picture is asked for: settled once, on the whole picture."""
    if isinstance(target, Neuron):
        return target
    logits = class_scores(model, x)
    return logits.argmax(1) if target is None else resolve_target(model, target, len(x)).to(x.device)


def _said(model: nn.Module, pictures: Tensor, wanted: Neuron | Tensor, rows: list[int], of: str) -> Tensor:
    if isinstance(wanted, Neuron):
        return score(model, pictures, wanted)
    out = class_scores(model, pictures)
    out = out.softmax(1) if of == "probability" else out
    return out.gather(1, wanted[rows][:, None])[:, 0]
