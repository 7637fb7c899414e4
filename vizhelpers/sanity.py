"""Does a map depend on what the net has learned, and on the class? Random weights and two classes (lesson 13)."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .device import check_same_device
from .evidence import Method, method_called
from .hooks import resolve_layer
from .models import class_scores
from .objective import Neuron, Target
from .similarity import rank_correlation, ssim
from .trust import as_maps


def stages(model: nn.Module) -> list[str]:
    """The blocks of a net that have weights, from the top (the classifier) down: what `randomized` counts by.

    Args:
        model: any net. Sequences are opened, other blocks (a Fire module, a residual block) stay whole.

    Returns:
        Dotted names, the last one in the order of definition first.

    Example:
        >>> vh.stages(vh.load_model("squeezenet1_1"))[:3]
        ['classifier.1', 'features.12', 'features.11']

    Taught in: 13_can_we_trust_these_maps.
    """
    def blocks(module: nn.Module, name: str) -> Iterator[str]:
        if not name or type(module) is nn.Sequential:
            for part, child in module.named_children():
                yield from blocks(child, f"{name}.{part}" if name else part)
        elif list(module.parameters()):
            yield name

    return list(blocks(model, ""))[::-1]


@contextmanager
def randomized(model: nn.Module, upto: str | nn.Module | None = None, *, seed: int = 0) -> Iterator[nn.Module]:
    """Lend a net random weights, from its top down to a layer, inside the `with` block.

    Each tensor gets its own values in random order, so that the signal neither dies nor explodes; filters and matrices
    also get random signs, because a trained filter's mean is often below 0 and what was learned shall not stay. A
    layer's random values do not depend on `upto`: going further down changes only the layers further down (cascading
    randomisation). Afterwards the net has its own tensors again, bit by bit, also after an exception or a stop.

    Args:
        model: any net.
        upto: the last layer or block, counted from the top, that becomes random; by default all do.
        seed: of the order.

    Yields:
        The same model.

    Raises:
        ValueError: unknown layer, or one without weights.

    Example:
        >>> with vh.randomized(net, "features.12"):  # classifier and last Fire block
        ...     heat = vh.grad_cam(net, x, "koala")

    Source: Adebayo et al. 2018, section 3 (they draw new values; see the lesson).
    Taught in: 13_can_we_trust_these_maps.
    """
    wanted = None if upto is None else resolve_layer(model, upto)[1]
    if wanted is not None and not list(wanted.parameters()):
        raise ValueError(f"{upto!r} has no weights to randomise; vh.stages(model) lists the blocks that have.")
    last = None if wanted is None else {id(p) for p in wanted.parameters()}
    parameters = list(model.parameters())[::-1]
    if last is not None:  # down to the first-defined parameter of the block
        parameters = parameters[: max(n for n, p in enumerate(parameters) if id(p) in last) + 1]
    generator, kept = torch.Generator().manual_seed(seed), []
    try:
        with torch.inference_mode(False), torch.no_grad():  # weights made in inference mode could not be used later
            for p in parameters:
                kept.append((p, p.data))
                p.data = _shuffled(p.data, generator)
        yield model
    finally:
        for p, own in kept:
            p.data = own


def _shuffled(own: Tensor, generator: torch.Generator) -> Tensor:
    values = torch.empty_like(own)  # keeps the memory layout
    values.copy_(own.flatten()[torch.randperm(own.numel(), generator=generator).to(own.device)].view(own.shape))
    if own.dim() > 1:
        values *= (torch.randint(2, own.shape, generator=generator) * 2 - 1).to(own)
    return values


class Sanity(NamedTuple):
    """A method's maps as the net's weights become random from the top down, and how alike they still are."""

    stages: tuple[str, ...]  # top down: everything from the top to this block is random
    rank: Tensor  # (S,N): rank correlation of |map| with |the trained net's map|
    ssim: Tensor  # (S,N): structural similarity of the same two
    maps: Tensor  # (S+1,N,H,W), signed: the trained net's first


def sanity_check(
    model: nn.Module, x: Tensor, target: Target, method: str | Method, *, upto: Sequence[str] | None = None,
    seed: int = 0, progress: bool = False,
) -> Sanity:
    """Cascading randomisation: a method's map with the trained net, and with more and more of its weights random.

    A map that stays what it was does not show what the net has learned. Once the classifier is random its outputs have
    no meaning, and some may be dead (0 whatever the picture, with an empty map): so the random net's map is for its own
    most probable class (a `Neuron` stays what it is).

    Args:
        model: any net; bit-identical afterwards.
        x: normalised pictures `(N,3,H,W)`.
        target: class number or label, one per picture, a `Neuron`, or None: each picture's most probable class, as the
            trained net says.
        method: a name of `evidence`'s, or any function `(model, x, target) -> (N,h,w)`.
        upto: names of blocks, one stage for each; by default all `stages`, top down.
        seed: of the random weights.
        progress: show a bar; the stop button keeps the stages that are done.

    Returns:
        A `Sanity`.

    Raises:
        ValueError: unknown block or method; and as the method.

    Example:
        >>> vh.sanity_check(net, x, "koala", "guided backprop").rank[-1]  # all weights random

    Source: Adebayo et al. 2018, section 3.1 (rank correlation, SSIM).
    Taught in: 13_can_we_trust_these_maps.
    """
    check_same_device(model, x)
    method, size, names = method_called(method), tuple(x.shape[2:]), list(stages(model) if upto is None else upto)
    if target is None:
        with torch.no_grad():
            target = class_scores(model, x).argmax(1)
    maps = [as_maps(method(model, x, target), size)]
    try:
        for name in tqdm(names, disable=not progress, leave=False, unit="stage"):
            with randomized(model, name, seed=seed):
                maps.append(as_maps(method(model, x, target if isinstance(target, Neuron) else None), size))
    except KeyboardInterrupt:
        if len(maps) == 1:
            raise
    own = maps[0].abs()
    rank = torch.stack([rank_correlation(m.abs(), own) for m in maps[1:]])
    return Sanity(tuple(names[: len(rank)]), rank, torch.stack([ssim(m.abs(), own) for m in maps[1:]]),
                  torch.stack(maps))  # fmt: skip


def class_sensitivity(model: nn.Module, x: Tensor, targets: tuple, method: str | Method) -> Tensor:
    """How alike a method's maps for two classes are: 1 means that it does not tell them apart.

    Args:
        model: any net.
        x: normalised pictures `(N,3,H,W)`, best with an object of each class in them.
        targets: two targets, each as of the method.
        method: a name of `evidence`'s, or any function `(model, x, target) -> (N,h,w)`.

    Returns:
        `(N,)`, -1..1: the rank correlation of |map| for the two; 1 where the two targets are the same.

    Raises:
        ValueError: not two targets; and as the method.

    Example:
        >>> vh.class_sensitivity(net, x, ("koala", "pineapple"), "guided backprop")
        tensor([0.9632], dtype=torch.float64)

    Source: compare Adebayo et al. 2018; the measure is ours.
    Taught in: 13_can_we_trust_these_maps.
    """
    if isinstance(targets, (str, Neuron)) or len(targets) != 2:
        raise ValueError(f"class_sensitivity compares two targets, such as ('koala', 'pineapple'), not {targets!r}.")
    first, second = (as_maps(method_called(method)(model, x, t), tuple(x.shape[2:])).abs() for t in targets)
    return rank_correlation(first, second)
