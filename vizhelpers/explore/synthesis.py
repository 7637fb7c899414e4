"""A gallery of what filters and classes want, and a button that grows one while you watch (lesson 10)."""
from __future__ import annotations

import html
from dataclasses import replace
from typing import NamedTuple

import ipywidgets as W
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from ..device import device_of
from ..dreams import Dream, dreams
from ..objective import Neuron
from ..pictures import load_image
from ..render import to_picture
from ..synthesis import Ascent, recipe_for
from .stepwise import StepwiseExplorer

SIDE = 224  # of each picture on the page, in pixels


class SynthesisResult(NamedTuple):
    name: str  # "conv3_2" or "class"
    channel: int  # or the class's number
    dream: Dream  # the row of the gallery
    live: Tensor | None  # (3,H,W), 0..1, what the button has grown so far
    history: list[float]  # its score before each step
    done: int
    total: int


class SynthesisExplorer(StepwiseExplorer):
    """The job is an `Ascent`."""

    every = 4

    def __init__(self, model: nn.Module, rows: list[Dream], size: int, steps: int):
        self.model, self.rows, self.size, self.steps = model, rows, size, steps
        names = list(dict.fromkeys(row.name for row in rows))
        self.name = W.Dropdown(options=names, value=names[-1], description="layer")  # the deepest has most to see
        self.number = W.IntSlider(0, 0, 1, description="picture")
        self.seed = W.IntSlider(0, 0, 9, description="seed")
        super().__init__([self.name, self.number, self.seed], 3, start="Grow one")
        self.on_change(self.name, self.choose_layer)
        self.on_change(self.number, self.prepare)
        self.on_change(self.seed, self.prepare)
        self.choose_layer()

    def choose_layer(self) -> None:
        """Another layer: the slider over its pictures begins again."""
        self.part = [row for row in self.rows if row.name == self.name.value]
        self.number.max = len(self.part) - 1
        self.number.value = 0
        self.prepare()

    def make(self) -> Ascent:
        row = self.part[self.number.value]
        target = Neuron(row.layer, row.channel) if row.layer else row.channel
        recipe = recipe_for(self.model, target)
        recipe = replace(recipe, size=self.size, steps=max(1, self.steps // recipe.stages))
        return Ascent(self.model, target, recipe, seed=self.seed.value)

    def draw(self) -> None:
        row, ascent = self.part[self.number.value], self.job
        live, history, done, total = None, [], 0, 1
        if ascent is not None:
            live, history, done, total = ascent.image()[0], list(ascent.history), ascent.done, ascent.total
        self.result = SynthesisResult(row.name, row.channel, row, live, history, done, total)
        self.put(0, _square(load_image(row.path)))
        self.put(1, _square(load_image(row.library_picture)))
        self.put(2, _invitation() if live is None else _square(to_picture(live)))
        what = f"{row.name}, channel {row.channel}" if row.layer else row.label
        words = [f"<b>{html.escape(what)}</b>", f"grown picture {row.score:.1f}",
                 f"strongest library picture {row.library_score:.1f} ({html.escape(row.library_picture)})"]  # fmt: skip
        if history:
            words.append(f"live: step {done} of {total}, {history[0]:.1f} to {history[-1]:.1f}")
        self.text.value = " | ".join(words) + (
            "<br>left to right: from the gallery; the library picture that excites it most; what you grow"
        )


def explore_synthesis(model: nn.Module, *, size: int | None = None, steps: int = 96) -> SynthesisExplorer:
    """Slide over the shipped gallery of what filters and classes want, and grow any of them anew while you watch.

    Args:
        model: VGG16 (filters of four layers) or SqueezeNet 1.1 (classes): the nets that the gallery was made with.
        size: side in pixels of the picture that the button grows; by default 128 on a CPU and 224 on a GPU.
        steps: how many it takes.

    Returns:
        The widget; `.result` is `(name, channel, dream, live, history, done, total)`.

    Raises:
        ValueError: a net without a gallery, a size below 16, or no step.

    Example:
        >>> vh.explore_synthesis(vh.load_model("vgg16"))

    Taught in: 10_activation_maximization.
    """
    name = getattr(getattr(model, "viz", None), "name", type(model).__name__)
    rows = [row for row in dreams() if row.net == name]
    if not rows:
        known = ", ".join(sorted({row.net for row in dreams()}))
        raise ValueError(f"There is no gallery for {name} (there is for {known}); use vh.maximize_activation.")
    if size is None:
        size = 128 if device_of(model).type == "cpu" else 224
    if size < 16 or steps < 1:
        raise ValueError(f"The button needs a size of 16 or more and a step or more, not {size} and {steps}.")
    return SynthesisExplorer(model, rows, size, steps)


def _invitation() -> np.ndarray:
    """What stands in the place of the picture that nobody has grown yet."""
    picture = Image.new("RGB", (SIDE, SIDE), (235, 235, 235))
    ImageDraw.Draw(picture).text((SIDE // 2, SIDE // 2), "press Grow one", (120, 120, 120), ImageFont.load_default(16),
                                 anchor="mm")  # fmt: skip
    return np.asarray(picture)


def _square(image: Image.Image) -> np.ndarray:
    """The middle square of a picture, as it was scored, at the page's size."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
