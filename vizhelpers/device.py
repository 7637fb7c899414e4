"""Where the arithmetic runs: the device, batches that fit on it, loops that can be stopped, seeding; CSV tables."""
import csv
import importlib.util
import os
import random
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

PACKAGE = str(Path(__file__).parent)


def device() -> torch.device:
    """The device that nets and pictures go to: an accelerator (CUDA, Apple's MPS) if there is one, else the CPU.
    The environment variable `VIZHELPERS_DEVICE` ("cpu", "cuda:1", ...) overrides the choice. Lesson 00."""
    wish = os.environ.get("VIZHELPERS_DEVICE", "").strip()
    if not wish:
        return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    try:
        return torch.empty(0, device=wish).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise RuntimeError(f"VIZHELPERS_DEVICE is {wish!r}, but this machine's PyTorch cannot use it "
                           f"({in_short(error)}); unset the variable to let vizhelpers choose.") from None  # fmt: skip


def warn(text: str) -> None:
    """A warning that points at the line of the user's that called this package."""
    frame, level = sys._getframe(1), 2
    while frame and frame.f_code.co_filename.startswith(PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)


def in_short(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, each column -> text."""
    return [*csv.DictReader(path.read_text(encoding="utf-8").splitlines())]


def seed(number: int = 0) -> None:
    """Seed Python's, NumPy's and PyTorch's random numbers, so that a lesson's figures repeat. Lesson 00."""
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)  # seeds every CUDA device as well


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's first parameter (or buffer); the CPU if it has neither."""
    first = next(model.parameters(), next(model.buffers(), None))
    return torch.device("cpu") if first is None else first.device


def channels_of(model: nn.Module) -> int:
    """How many channels a net's pictures have: those of its first convolution; 3 if it has none."""
    return next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)


def info_of(model: nn.Module):
    """The `.viz` of a net (see `images.ModelInfo`), also of one inside a wrapper; None if nobody has described it."""
    parts = model.modules() if isinstance(model, nn.Module) else [model]
    return next((part.viz for part in parts if hasattr(part, "viz")), None)


def batch_for(place: torch.device) -> int:
    """Pictures in a batch: on a CPU few, so that their maps stay in its cache, on a GPU as many as keep it busy."""
    return {"cpu": 8, "cuda": 128, "mps": 32}.get(place.type, 16)


class stoppable:
    """The frame of every long loop: a bar, and an interrupt ends it quietly once something (or `enough()`) is done.
    `update(n)` counts n as `done` and moves the bar."""
    def __init__(self, total: int, progress: bool = False, unit: str = "step", enough: Callable | None = None):
        from tqdm.auto import tqdm
        self.bar = tqdm(total=total, disable=not progress, unit=unit, leave=False)
        self.done, self.enough = 0, enough

    def update(self, n: int = 1) -> None:
        self.bar.update(n)
        self.done += n

    def __enter__(self):
        return self

    def __exit__(self, kind, *_) -> bool:
        self.bar.close()
        return kind is KeyboardInterrupt and bool(self.enough() if self.enough else self.done)


def finished(job, progress: bool, unit: str = "step"):
    """The result of a job (`done` of `total`, `step()`, `result()`) at its end, or when it is stopped."""
    with stoppable(job.total, progress, unit) as bar:
        while job.done < job.total:
            job.step()
            bar.update(job.done - bar.done)
    return job.result()


def quiet() -> warnings.catch_warnings:
    """Without warnings: where an explorer or a figure says itself what they would say."""
    return warnings.catch_warnings(action="ignore")


def in_batches(function: Callable, inputs: Tensor | Sequence[Tensor], *, batch_size: int | None = None,
               progress: bool = False) -> Tensor | tuple[Tensor, ...]:  # fmt: skip
    """A function of `(n,...)` applied to N inputs in batches that fit in memory; the joined result, or a tuple of them.
    `inputs` is a tensor or a list of N tensors `(1,...)`. A batch that does not fit on a GPU is halved. Lesson 02."""
    total = len(inputs)
    if total == 0:
        raise ValueError("There is nothing to compute: the batch of inputs is empty.")
    size = batch_size or batch_for(inputs.device if isinstance(inputs, Tensor) else inputs[0].device)
    done = []
    with stoppable(total, progress, "picture", lambda: bool(done)) as bar:
        while bar.done < total:
            part = inputs[bar.done : bar.done + size]
            try:
                out = function(part if isinstance(part, Tensor) else torch.cat(list(part)))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                torch.cuda.empty_cache()
                size //= 2
                continue
            done.append(out if isinstance(out, tuple) else (out,))
            bar.update(len(part))
    joined = tuple(map(torch.cat, zip(*done, strict=True)))
    return joined if len(joined) > 1 else joined[0]


def prepare_torchvision() -> None:
    """Make `import torchvision` work where its compiled operators do not fit this torch (CPU torch on Linux).
    There the import stops at `torchvision::nms`, which no lesson uses: declaring what it looks for is enough."""
    spec = None if "torchvision" in sys.modules else importlib.util.find_spec("torchvision")
    if spec is None or sys.platform != "linux" or hasattr(torch.ops.torchvision, "nms"):
        return
    for library in Path(spec.submodule_search_locations[0]).glob("_C*.so"):
        try:
            torch.ops.load_library(library)
            return  # a matching pair: the operators are real
        except OSError:
            continue  # built for another torch
    for name in [name for name in sys.modules if name.startswith("torchvision.")]:
        del sys.modules[name]  # halves that a failed import left behind
    declared = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        declared.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torch._vizhelpers_declared = declared  # dropped (also by a reload of this file), it would take the schemas along
