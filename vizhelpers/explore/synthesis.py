"""A gallery of what filters and classes want, and a button that grows one while you watch (lesson 10)."""
from __future__ import annotations

import asyncio
import html
from dataclasses import replace
from typing import NamedTuple

import ipywidgets as W
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from ..dreams import Dream, dreams
from ..objective import Neuron
from ..pictures import load_image
from ..render import to_picture
from ..synthesis import Ascent, recipe_for
from .base import Explorer

SIDE = 224  # of each picture on the page, in pixels


class SynthesisResult(NamedTuple):
    name: str  # "conv3_2" or "class"
    channel: int  # or the class's number
    dream: Dream  # the row of the gallery
    live: Tensor | None  # (3,H,W), 0..1, what the button has grown so far
    history: list[float]  # its score before each step
    done: int
    total: int


class SynthesisExplorer(Explorer):
    """An explorer with Grow, Stop and a progress bar; the ascent runs a step at a time between the page's events."""

    def __init__(self, model: nn.Module, rows: list[Dream], size: int, steps: int):
        self.model, self.rows, self.size, self.steps = model, rows, size, steps
        names = list(dict.fromkeys(row.name for row in rows))
        self.name = W.Dropdown(options=names, value=names[-1], description="layer")  # the deepest has most to see
        self.number = W.IntSlider(0, 0, 1, description="picture")
        self.seed = W.IntSlider(0, 0, 9, description="seed")
        super().__init__([self.name, self.number, self.seed], 3)
        self.start = W.Button(description="Grow one", button_style="success", icon="play")
        self.stop = W.Button(description="Stop", icon="stop", disabled=True)
        self.bar = W.IntProgress(0, 0, 1, layout=W.Layout(width="260px"))
        shown = list(self.children)
        self.children = [*shown[:3], W.HBox([self.start, self.stop, self.bar]), *shown[3:]]
        self.start.on_click(lambda _: self.begin())
        self.stop.on_click(lambda _: self.halt())
        self.on_change(self.name, self.choose_layer)
        self.on_change(self.number, self.choose)
        self.on_change(self.seed, self.choose)
        self._running = False
        self.choose_layer()

    def choose_layer(self) -> None:
        """Another layer: the slider over its pictures begins again."""
        self.part = [row for row in self.rows if row.name == self.name.value]
        self.number.max = len(self.part) - 1
        self.number.value = 0
        self.choose()

    def choose(self) -> None:
        """Another picture of the gallery; what grows is stopped and forgotten."""
        self._ascent = None
        self._set_running(False)
        self._draw()

    def begin(self) -> None:
        """Grow the chosen one; after Stop, go on from where it stood."""
        if self._running:
            return
        self._set_running(True)
        if self._ascent is None or self._ascent.done == self._ascent.total:
            row = self.part[self.number.value]
            target = Neuron(row.layer, row.channel) if row.layer else row.channel
            recipe = recipe_for(self.model, target)
            recipe = replace(recipe, size=self.size, steps=max(1, self.steps // recipe.stages))
            self._ascent = Ascent(self.model, target, recipe, seed=self.seed.value)
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:  # a plain Python program: there is nobody who could click in between
            while self._running:
                self._step()
            return
        self._loop.call_soon(self._tick, self._ascent)

    def halt(self) -> None:
        """Stop after the step that runs; the picture stays as it is."""
        self._set_running(False)
        self._draw()

    def _tick(self, ascent: Ascent) -> None:
        """One step, then give way: a click on Stop is handled before the next one."""
        if not self._running or ascent is not self._ascent:
            return
        try:
            self._step()
        except Exception as error:
            self._set_running(False)
            self.text.value = f"<b>{type(error).__name__}</b>: {html.escape(str(error))}"
            raise
        self._loop.call_later(0.01, self._tick, ascent)

    def _step(self) -> None:
        self._ascent.step()
        if self._ascent.done == self._ascent.total:
            self._set_running(False)
        if self._ascent.done % 4 == 0 or not self._running:
            self._draw()

    def _set_running(self, running: bool) -> None:
        self._running = running
        self.start.disabled, self.stop.disabled = running, not running

    def _draw(self) -> None:
        row, ascent = self.part[self.number.value], self._ascent
        live, history, done, total = None, [], 0, 1
        if ascent is not None:
            live, history, done, total = ascent.image()[0], list(ascent.history), ascent.done, ascent.total
        self.result = SynthesisResult(row.name, row.channel, row, live, history, done, total)
        self.bar.max, self.bar.value = total, done
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


def explore_synthesis(model: nn.Module, *, size: int = 128, steps: int = 96) -> SynthesisExplorer:
    """Slide over the shipped gallery of what filters and classes want, and grow any of them anew while you watch.

    Args:
        model: VGG16 (filters of four layers) or SqueezeNet 1.1 (classes): the nets that the gallery was made with.
        size: side in pixels of the picture that the button grows.
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
