"""Long work on a living page: Start, Stop and a progress bar; one step at a time between the page's events."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol

import ipywidgets as W

from .base import Explorer


class Job(Protocol):
    """Work that is done step by step."""

    done: int
    total: int

    def step(self) -> object: ...


class StepwiseExplorer(Explorer):
    """An explorer with a job. Subclasses say what the job is (`make`) and show how far it is (`draw`).

    `every` steps the pictures are drawn again: once a step, unless a step is shorter than the drawing.
    """

    every = 1

    def __init__(self, controls: Sequence[W.Widget], pictures: int, start: str = "Start"):
        super().__init__(controls, pictures)
        self.start = W.Button(description=start, button_style="success", icon="play")
        self.stop = W.Button(description="Stop", icon="stop", disabled=True)
        self.bar = W.IntProgress(0, 0, 1, layout=W.Layout(width="260px"))
        rows = list(self.children)
        buttons = W.HBox([self.start, self.stop, self.bar])
        self.children = [*rows[: len(controls)], buttons, *rows[len(controls) :]]
        self.start.on_click(lambda _: self.said(self.begin))
        self.stop.on_click(lambda _: self.halt())
        self.job: Job | None = None
        self.spent = 0.0  # seconds in the job's steps
        self._running = False

    def make(self) -> Job:
        """A new job for the controls' values, not yet begun."""
        raise NotImplementedError

    def draw(self) -> None:
        """Show where the job stands."""
        raise NotImplementedError

    def prepare(self) -> None:
        """For other values of the controls: what runs is stopped and forgotten."""
        self.job, self.spent = None, 0.0
        self._set_running(False)
        self._drawn()

    def begin(self) -> None:
        """Go on from where the job stands (with a new one when it is complete)."""
        if self._running:
            return
        if self.job is None or self.job.done == self.job.total:
            self.job, self.spent = self.make(), 0.0
        self._set_running(True)
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:  # a plain Python program: there is nobody who could click in between
            self.run_all()
            return
        self._tick(self.job)

    def halt(self) -> None:
        """Stop after the step that runs; what is done is kept, and Start goes on from there."""
        self._set_running(False)
        self._drawn()

    def run_all(self) -> None:
        """The whole job at once."""
        self._set_running(True)
        while self._running:
            self._step()

    def _tick(self, job: Job) -> None:
        """One step, then give way: a click on Stop is handled before the next one."""
        if not self._running or job is not self.job:
            return
        self.said(self._step)
        self._loop.call_later(0.02, self._tick, job)

    def said(self, action: Callable[[], None]) -> None:
        """As every explorer does; and stop."""
        try:
            super().said(action)
        except Exception:
            self._set_running(False)
            raise

    def _step(self) -> None:
        begun = perf_counter()
        self.job.step()
        self.spent += perf_counter() - begun
        if self.job.done == self.job.total:
            self._set_running(False)
        if self.job.done % self.every == 0 or not self._running:
            self._drawn()

    def _drawn(self) -> None:
        self.bar.max, self.bar.value = (self.job.total, self.job.done) if self.job else (1, 0)
        self.draw()

    def _set_running(self, running: bool) -> None:
        self._running = running
        self.start.disabled, self.stop.disabled = running, not running
