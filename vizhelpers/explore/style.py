"""Watch a picture being painted: start, stop, go on, while the page stays alive (lesson 11)."""
from __future__ import annotations

from typing import NamedTuple

import ipywidgets as W
import numpy as np
import torch
from torch import Tensor, nn

from ..device import device_of
from ..render import Picture, to_picture
from ..style import StyleRun
from ..style_losses import default_net
from .base import named
from .stepwise import StepwiseExplorer

HEIGHT = 256  # of each picture on the page, in pixels


class StyleResult(NamedTuple):
    content: str
    style: str
    content_weight: float
    start: str
    image: Tensor  # (3,H,W), 0..1
    done: int
    total: int
    losses: Tensor | None  # (T,) of the running stage


class StyleExplorer(StepwiseExplorer):
    """The job is a `StyleRun`; a step of it is one of L-BFGS."""

    def __init__(self, contents, styles, net: nn.Module, size: int, steps: int, options: dict):
        self.contents, self.styles = named(contents), named(styles)
        self.net, self.size, self.steps, self.options = net, size, steps, options
        self.content = W.Dropdown(options=list(self.contents), description="picture")
        self.style = W.Dropdown(options=list(self.styles), description="painting")
        weights = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
        self.weight = W.SelectionSlider(options=weights, value=0.02, description="content", continuous_update=False)
        self.begin_with = W.Dropdown(options=["content", "noise"], description="start from")
        super().__init__([self.content, self.style, self.weight, self.begin_with], 3)
        for control in (self.content, self.style, self.weight, self.begin_with):
            self.on_change(control, self.prepare)
        self.prepare()

    def make(self) -> StyleRun:
        return StyleRun(
            self.contents[self.content.value], self.styles[self.style.value], net=self.net, size=self.size,
            steps=self.steps, content_weight=self.weight.value, start=self.begin_with.value, **self.options,
        )  # fmt: skip

    def draw(self) -> None:
        content, style = self.contents[self.content.value], self.styles[self.style.value]
        run = self.job
        if run is None:
            image = torch.from_numpy(np.asarray(to_picture(content)).copy()).permute(2, 0, 1) / 255
        else:
            image = run.image().cpu()
        losses = torch.tensor([row[0] for row in run.losses]) if run is not None and run.losses else None
        done = run.done if run is not None else 0
        chosen = self.content.value, self.style.value, self.weight.value, self.begin_with.value
        self.result = StyleResult(*chosen, image, done, self.steps, losses)
        for number, picture in enumerate((content, style, image)):
            self.put(number, _of_height(picture))
        words = [f"step {done} of {self.steps}"]
        if losses is not None:
            words.append(f"loss {float(losses[-1]):.3f}")
        if 0 < done < self.steps:
            words.append(f"{self.spent / done:.2f} s a step")
        if run is None:
            words.append("press Start")
        self.text.value = " | ".join(words) + "<br>left to right: picture, painting, result"


def explore_style(
    contents, styles, *, net: nn.Module | None = None, size: int | None = None, steps: int = 45, **options
) -> StyleExplorer:
    """Choose a picture, a painting and the content's weight, press Start and watch; Stop keeps what there is.

    Args:
        contents: names or pictures to choose from, or a mapping name -> picture.
        styles: likewise, paintings.
        net: by default VGG16's convolutions.
        size: shorter side in pixels; by default 144 on a CPU and 384 on a GPU.
        steps: as `style_transfer`.
        **options: of `style_transfer`, such as `total_variation` or `style_layers`.

    Returns:
        The widget; `.result` is `(content, style, content_weight, start, image, done, total, losses)`.

    Raises:
        ValueError, TypeError: as `style_transfer`, when Start is pressed.

    Example:
        >>> vh.explore_style(["koala", "my_picture.jpg"], ["great_wave", "poppies"])

    Taught in: 11_style_transfer.
    """
    net = default_net() if net is None else net
    if size is None:
        size = 144 if device_of(net).type == "cpu" else 384
    return StyleExplorer(contents, styles, net, size, steps, options)


def _of_height(picture: Picture) -> np.ndarray:
    image = to_picture(picture)
    return np.asarray(image.resize((max(1, round(image.width * HEIGHT / image.height)), HEIGHT)))
