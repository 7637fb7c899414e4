"""Where the arithmetic runs: the device, batches that fit on it, and seeding."""
from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

# On a CPU small batches are faster: their maps stay in the cache (measured at 224 px, milliseconds a picture for 4, 8,
# 16 and 32: SqueezeNet 7, 7, 9, 9; EfficientNet-Lite0 13, 14, 16, 20).
_BATCH = {"cpu": 8, "cuda": 128, "mps": 32}


def device() -> torch.device:
    """The device that nets and pictures go to: CUDA, else Apple's MPS, else the CPU.

    The environment variable `VIZHELPERS_DEVICE` ("cpu", "cuda:1", ...) overrides the choice.

    Returns:
        A `torch.device`.

    Raises:
        RuntimeError: `VIZHELPERS_DEVICE` names a device that this machine does not have.

    Example:
        >>> vh.device().type in ("cpu", "cuda", "mps")
        True

    Taught in: 00_start_here.
    """
    wish = os.environ.get("VIZHELPERS_DEVICE", "").strip()
    if not wish:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(wish)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise RuntimeError(
            f"VIZHELPERS_DEVICE is {wish!r}, but this machine's PyTorch cannot use it ({str(error).splitlines()[0]}); "
            "unset the variable to let vizhelpers choose."
        ) from None
    return chosen


def seed(number: int = 0) -> None:
    """Seed Python's, NumPy's and PyTorch's random numbers, so that a lesson's figures repeat.

    Args:
        number: any integer from 0 to 2**32 - 1.

    Example:
        >>> vh.seed(0); a = torch.rand(3); vh.seed(0); bool((a == torch.rand(3)).all())
        True

    Taught in: 00_start_here.
    """
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)  # seeds every CUDA device as well


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's first parameter (or buffer); the CPU if it has neither."""
    first = next(model.parameters(), next(model.buffers(), None))
    return torch.device("cpu") if first is None else first.device


def check_same_device(model: nn.Module, x: Tensor) -> None:
    """Raise one sentence if the input is no tensor, or if it and the model are on different devices.

    Raises:
        TypeError: x is a picture or a name.
        RuntimeError: `x.device` differs from the model's.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"This takes a normalised tensor (N,3,H,W), not {type(x).__name__}: use vh.to_input(it, net).")
    here = device_of(model)
    if x.device != here:
        raise RuntimeError(f"The input is on {x.device} but the model is on {here}: use x.to({str(here)!r}).")


def in_batches(
    function: Callable[[Tensor], Tensor | tuple[Tensor, ...]],
    inputs: Tensor | Sequence[Tensor],
    *,
    batch_size: int | None = None,
    progress: bool = False,
) -> Tensor | tuple[Tensor, ...]:
    """Apply a function to many inputs in batches that fit in memory, and join the results.

    A batch that does not fit on a GPU is halved and tried again. An interrupt (the stop button) ends the loop and
    returns what is done so far, if anything is.

    Args:
        function: takes `(n,...)`, returns one tensor `(n,...)` or a tuple of them.
        inputs: a tensor `(N,...)`, or N tensors of one shape `(1,...)`.
        batch_size: inputs per call; by default what suits the device.
        progress: show a bar with the remaining time.

    Returns:
        The results of all batches, joined along dimension 0, as one tensor or a tuple.

    Raises:
        ValueError: there is no input at all.

    Example:
        >>> vh.in_batches(lambda x: x.sum(1), torch.ones(5, 3), batch_size=2)
        tensor([3., 3., 3., 3., 3.])

    Taught in: 02_inside_the_layers.
    """
    total = len(inputs)
    if total == 0:
        raise ValueError("There is nothing to compute: the batch of inputs is empty.")
    kind = inputs.device.type if isinstance(inputs, Tensor) else inputs[0].device.type
    size = batch_size or _BATCH.get(kind, 16)
    done, at = [], 0
    from tqdm.auto import tqdm

    with tqdm(total=total, disable=not progress, unit="picture", leave=False) as bar:
        try:
            while at < total:
                part = inputs[at : at + size]
                try:
                    out = function(part if isinstance(part, Tensor) else torch.cat(list(part)))
                except torch.cuda.OutOfMemoryError:
                    if size == 1:
                        raise
                    torch.cuda.empty_cache()
                    size = max(1, size // 2)
                    continue
                done.append(out if isinstance(out, tuple) else (out,))
                bar.update(len(part))
                at += len(part)
        except KeyboardInterrupt:
            if not done:
                raise
    joined = tuple(torch.cat(parts) for parts in zip(*done, strict=True))
    return joined if len(joined) > 1 else joined[0]
