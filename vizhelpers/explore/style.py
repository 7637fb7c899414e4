"""Watch a picture being painted: start, stop, go on, while the page stays alive (lesson 11)."""
from __future__ import annotations

import asyncio
import html
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

import ipywidgets as W
import numpy as np
import torch
from torch import Tensor, nn

from ..render import Picture, to_picture
from ..style import StyleRun
from .base import Explorer, named

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


class StyleExplorer(Explorer):
    """An explorer with Start, Stop and a progress bar; a step of L-BFGS is done between the page's events."""

    def __init__(self, contents, styles, net: nn.Module | None, size: int, steps: int, options: dict):
        self.contents, self.styles = named(contents), named(styles)
        self.net, self.size, self.total, self.options = net, size, steps, options
        self.content = W.Dropdown(options=list(self.contents), description="picture")
        self.style = W.Dropdown(options=list(self.styles), description="painting")
        weights = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
        self.weight = W.SelectionSlider(options=weights, value=0.02, description="content", continuous_update=False)
        self.begin_with = W.Dropdown(options=["content", "noise"], description="start from")
        super().__init__([self.content, self.style, self.weight, self.begin_with], 3)
        self.start = W.Button(description="Start", button_style="success", icon="play")
        self.stop = W.Button(description="Stop", icon="stop", disabled=True)
        self.bar = W.IntProgress(0, 0, steps, layout=W.Layout(width="260px"))
        rows = list(self.children)
        self.children = [*rows[:4], W.HBox([self.start, self.stop, self.bar]), *rows[4:]]
        self.start.on_click(lambda _: self._said(self.begin))
        self.stop.on_click(lambda _: self.halt())
        for control in (self.content, self.style, self.weight, self.begin_with):
            self.on_change(control, self.prepare)
        self.prepare()

    def prepare(self) -> None:
        """A new painting for the controls' values, not yet begun; one that is being painted is stopped."""
        self._run, self._spent, self._stopped_at = None, 0.0, 0
        self._set_running(False)
        self._draw()

    def begin(self) -> None:
        """Go on from where the painting stands (from the beginning when it is complete)."""
        if self._running:
            return
        if self._run is None or self._run.finished:
            self.prepare()
            self._run = StyleRun(
                self.contents[self.content.value], self.styles[self.style.value], net=self.net, size=self.size,
                steps=self.total, content_weight=self.weight.value, start=self.begin_with.value, **self.options,
            )  # fmt: skip
        self._set_running(True)
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:  # a plain Python program: there is nobody who could click in between
            while self._running:
                self._step()
            return
        self._tick(self._run)

    def halt(self) -> None:
        """Stop after the running step; Start goes on from there."""
        self._set_running(False)
        self._draw()

    def _tick(self, run: StyleRun) -> None:
        """One step, then give way: a click on Stop is handled before the next one."""
        if not self._running or run is not self._run:
            return
        self._said(self._step)
        self._loop.call_later(0.02, self._tick, run)

    def _said(self, action: Callable[[], None]) -> None:
        """Run an action of a button or of the clock; say on the page what went wrong, and stop."""
        try:
            action()
        except Exception as error:
            self._set_running(False)
            self.text.value = f"<b>{type(error).__name__}</b>: {html.escape(str(error))}"
            raise

    def _step(self) -> None:
        begun = perf_counter()
        self._run.step()
        self._spent += perf_counter() - begun
        if self._run.finished:
            self._set_running(False)
        self._draw()

    def _set_running(self, running: bool) -> None:
        self._running = running
        self.start.disabled, self.stop.disabled = running, not running

    def _draw(self) -> None:
        content, style = self.contents[self.content.value], self.styles[self.style.value]
        run = self._run
        if run is None:
            image = torch.from_numpy(np.asarray(to_picture(content)).copy()).permute(2, 0, 1) / 255
        else:
            image = run.image().cpu()
        losses = torch.tensor([row[0] for row in run.losses]) if run is not None and run.losses else None
        done = run.done if run is not None else 0
        chosen = self.content.value, self.style.value, self.weight.value, self.begin_with.value
        self.result = StyleResult(*chosen, image, done, self.total, losses)
        self.bar.value = done
        for number, picture in enumerate((content, style, image)):
            self.put(number, _of_height(picture))
        words = [f"step {done} of {self.total}"]
        if losses is not None:
            words.append(f"loss {float(losses[-1]):.3f}")
        if 0 < done < self.total:
            words.append(f"{self._spent / done:.2f} s a step")
        if run is None:
            words.append("press Start")
        self.text.value = " | ".join(words) + "<br>left to right: picture, painting, result"


def explore_style(
    contents, styles, *, net: nn.Module | None = None, size: int = 144, steps: int = 45, **options
) -> StyleExplorer:
    """Choose a picture, a painting and the content's weight, press Start and watch; Stop keeps what there is.

    Args:
        contents: names or pictures to choose from, or a mapping name -> picture.
        styles: likewise, paintings.
        net: by default VGG16's convolutions.
        size: shorter side in pixels.
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
    return StyleExplorer(contents, styles, net, size, steps, options)


def _of_height(picture: Picture) -> np.ndarray:
    image = to_picture(picture)
    return np.asarray(image.resize((max(1, round(image.width * HEIGHT / image.height)), HEIGHT)))
