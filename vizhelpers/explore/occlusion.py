"""Slide a patch over a picture while the page stays alive: start, watch the maps fill, stop (lesson 09)."""
from __future__ import annotations

import html
from typing import NamedTuple

import ipywidgets as W
import numpy as np
import torch
from torch import Tensor, nn

from ..images import to_display, to_input
from ..models import categories, class_index, predict
from ..occlusion import Occlusion, Sweep
from ..pictures import load_image
from ..render import palette, to_picture
from .stepwise import StepwiseExplorer

FILLS = ("grey", "black", "white", "blurred")
SIDE = 224  # of each map on the page, in pixels


class OcclusionResult(NamedTuple):
    patch: int
    stride: int
    fill: str
    maps: Occlusion  # NaN and -1 where the patch has not been
    done: int
    total: int


class OcclusionExplorer(StepwiseExplorer):
    """The job is a `Sweep`; a step of it is a batch of positions."""

    def __init__(self, model: nn.Module, image, target, patch: int, stride: int, fill: str):
        self.model, self.x = model, to_input(load_image(image), model)
        best = predict(model, self.x, top=1)[0]
        self.target = best.index if target is None else class_index(model, target)
        self.labels = categories(model)
        largest = min(self.x.shape[2:]) // 2
        self.patch = W.IntSlider(patch, 8, largest, 8, description="patch", continuous_update=False)
        self.stride = W.IntSlider(stride, 4, 64, 4, description="stride", continuous_update=False)
        self.fill = W.Dropdown(options=FILLS, value=fill, description="fill")
        super().__init__([self.patch, self.stride, self.fill], 4)
        for control in (self.patch, self.stride, self.fill):
            self.on_change(control, self.prepare)
        self.prepare()
        self.run_all()  # so that there is something to see before the first click

    def make(self) -> Sweep:
        filled = _fill(self.model, self.x, self.fill.value)
        size = dict(patch=self.patch.value, stride=self.stride.value)
        return Sweep(self.model, self.x, self.target, fill=filled, **size)

    def prepare(self) -> None:
        """A new sweep at once: its first position is shown."""
        self.job, self.spent = self.make(), 0.0
        self.halt()

    def draw(self) -> None:
        sweep, maps = self.job, self.job.result()
        chosen = self.patch.value, self.stride.value, self.fill.value
        self.result = OcclusionResult(*chosen, maps, sweep.done, sweep.total)
        words = [f"<b>{html.escape(self.labels[self.target])}</b>", f"{sweep.done} of {sweep.total} positions"]
        if sweep.done and sweep.done < sweep.total:
            words.append(f"about {self.spent / sweep.done * (sweep.total - sweep.done):.1f} s to go")
        winner, legend = _class_map(maps.winner[0], self.labels)
        if sweep.done:
            worst = int(maps.logit[0].flatten().nan_to_num(torch.inf).argmin())
            words.append(f"logit {float(maps.score[0]):.1f}, lowest {float(maps.logit[0].flatten()[worst]):.1f}")
        else:
            worst = len(maps.boxes) // 2
            words.append("press Start")
        self.put(0, self._with_patch(maps.boxes[worst].tolist()))
        self.put(1, _enlarged(_coloured(maps.probability[0], 0.0, 1.0)))
        known = maps.logit[0][~maps.logit[0].isnan()]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        self.put(2, _enlarged(_coloured(maps.logit[0], low, high)))
        self.put(3, _enlarged(winner))
        self.text.value = " | ".join(words) + (
            f"<br>left to right: the most harmful patch; probability (dark 0, bright 1); logit (dark {low:.1f}, bright "
            f"{high:.1f}); the winner: {legend}"
        )

    def _with_patch(self, box: list[int]) -> np.ndarray:
        top, left, bottom, right = box
        shown = self.x.clone()
        shown[0, :, top:bottom, left:right] = self.job.filled[:, top:bottom, left:right]
        picture = to_picture(to_display(shown, self.model))
        return np.asarray(picture.resize((SIDE * picture.width // picture.height, SIDE)))


def explore_occlusion(
    model: nn.Module, image, target: int | str | None = None, *, patch: int = 56, stride: int = 28, fill: str = "grey"
) -> OcclusionExplorer:
    """Choose patch, stride and fill, press Start and watch the three maps fill; Stop ends it after the running batch.

    Args:
        model: a classifier.
        image: anything `load_image` takes.
        target: class number or label; by default the picture's most probable class.
        patch: side of the square to begin with, in pixels: a multiple of 8.
        stride: pixels from one position to the next: a multiple of 4.
        fill: "grey" (the mean colour of the training set), "black", "white" or "blurred".

    Returns:
        The widget; `.result` is `(patch, stride, fill, maps, done, total)`, `maps` an `Occlusion`.

    Raises:
        ValueError: a net without class scores, an unknown class or fill.

    Example:
        >>> vh.explore_occlusion(net, "koala", patch=32, stride=16)

    Taught in: 09_occlusion.
    """
    if fill not in FILLS:
        raise ValueError(f"A patch is filled with {', '.join(FILLS)}, not {fill!r}.")
    return OcclusionExplorer(model, image, target, patch, stride, fill)


def _fill(model: nn.Module, x: Tensor, name: str) -> Tensor:
    if name == "grey":
        return x.new_zeros(3, 1, 1)
    if name == "blurred":
        from torchvision.transforms.functional import gaussian_blur

        return gaussian_blur(x[0], 63, 12.0)
    level = 0 if name == "black" else 255
    return to_input(np.full((16, 16, 3), level, np.uint8), model, size=16)[0, :, :1, :1].to(x)


def _coloured(values: Tensor, low: float, high: float) -> np.ndarray:
    a = values.float().cpu().numpy()
    index = ((np.nan_to_num(a, nan=low) - low) / max(high - low, 1e-9)).clip(0, 1) * 255 + 0.5
    picture = palette("viridis")[index.astype(np.uint8)]
    picture[np.isnan(a)] = 235
    return picture


def _class_map(winner: Tensor, labels: tuple[str, ...]) -> tuple[np.ndarray, str]:
    """A colour for each winning class, the most frequent first, and the legend as HTML."""
    import matplotlib

    colours = (np.array(matplotlib.colormaps["tab10"].colors) * 255).astype(np.uint8)
    a = winner.cpu().numpy()
    found, counts = np.unique(a[a >= 0], return_counts=True)
    picture, legend = np.full((*a.shape, 3), 235, np.uint8), []
    for rank, number in enumerate(found[np.argsort(-counts, kind="stable")]):
        colour = colours[rank] if rank < 9 else np.array([120, 120, 120], np.uint8)
        picture[a == number] = colour
        if rank < 9:
            square = f"<span style='color:rgb({','.join(map(str, colour))})'>&#9632;</span>"
            legend.append(f"{square} {html.escape(labels[int(number)])}")
    return picture, ", ".join(legend) + (", others grey" if len(found) > 9 else "")


def _enlarged(picture: np.ndarray) -> np.ndarray:
    """Every position as a rectangle; the whole as high as the photograph."""
    factor = max(1, round(SIDE / picture.shape[0]))
    return picture.repeat(factor, 0).repeat(factor, 1)
