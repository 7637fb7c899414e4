"""Be the observer: a forced choice between shape and texture, with a saved answer for every click (lesson 12)."""
from __future__ import annotations

import html
import io
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import ipywidgets as W
import numpy as np
from PIL import Image

from ..cue_conflict import ShapeBias, count_decisions
from ..cue_set import Stimulus, categories_of, cue_categories, cue_stimuli
from ..observers import (
    FIXATION,
    MASKED,
    SHOWN,
    Answer,
    answer_file,
    load_answers,
    save_answer,
    trial_frames,
    trial_order,
    trial_picture,
)
from ..show_bias import bias_picture
from .base import Explorer

SIDE = 280  # of the stimulus on the page, in pixels


class ObserverResult(NamedTuple):
    observer: str
    done: int
    total: int
    bias: ShapeBias
    answers: list[Answer]


class ObserverExperiment(Explorer):
    """A forced choice: each click on a category is an answer and starts the next trial.

    A trial is one animated PNG (cross, stimulus, mask), so that the browser keeps its time. The kernel only sends
    pictures and takes clicks; every answer is in the observer's file before the next trial is sent.
    """

    def __init__(self, nets: Mapping[str, ShapeBias], observer: str, stimuli, trials: int, folder, categories):
        self.nets, self.folder, self.trials, self.stimuli = dict(nets), Path(folder), trials, list(stimuli)
        self.name = W.Text(value=observer, description="observer", continuous_update=False)
        super().__init__([self.name], 2)
        self.start = W.Button(description="Start", button_style="success", icon="play")
        self.pause = W.Button(description="Pause", icon="pause", disabled=True)
        self.bar = W.IntProgress(0, 0, 1, layout=W.Layout(width="260px"))
        self.choices = {name: W.Button(description=name, disabled=True, layout=W.Layout(width="auto"))
                        for name in sorted(categories)}  # fmt: skip
        grid = W.GridBox(list(self.choices.values()), layout=W.Layout(grid_template_columns="repeat(4, 120px)"))
        row = W.HBox([self.start, self.pause, self.bar])
        self.children = [self.children[0], row, self.text, W.HBox([self.images[0], grid]), self.images[1]]
        for image in self.images:
            image.width = image.height = str(SIDE)
        self.start.on_click(lambda _: self.said(self.begin))
        self.pause.on_click(lambda _: self.said(self.stop))
        for name, button in self.choices.items():
            button.add_class("vizhelpers-choice")
            button.on_click(lambda _, name=name: self.said(lambda: self.choose(name)))
        self.on_change(self.name, self.load)
        self._current = None
        self.load()

    def load(self) -> None:
        """The observer's trials, without those that his file already answers."""
        self._path = answer_file(self.folder, self.name.value)
        self._order = trial_order(self.stimuli, self.name.value, self.trials)
        mine = {s.path.name for s in self._order}
        found = load_answers(self._path) if self._path.exists() else []
        self.answers = [a for a in found if a.file in mine]
        self._left = [s for s in self._order if s.path.name not in {a.file for a in self.answers}]
        self.stop()

    def begin(self) -> None:
        """Show the next trial."""
        if self._current is not None:
            return
        if not self._left:
            self.stop()
            return
        self.start.disabled, self.pause.disabled = True, False
        for button in self.choices.values():
            button.disabled = False
        self.text.value = "Look at the cross. What is the <b>object</b>? Click at once; guess if you must."
        self._next()

    def _next(self) -> None:
        self._current = self._left[0]
        self.images[0].value = trial_picture(self._current.path, seed=len(self.answers))
        self._sent = perf_counter()

    def choose(self, category: str) -> None:
        """Take an answer, save it, go on."""
        if self._current is None:
            return
        seconds = perf_counter() - self._sent
        if seconds < FIXATION / 1000:
            self.text.value = "That was before the picture came: wait for it."
            return
        shown = self._current
        answer = Answer(self.name.value, len(self.answers) + 1, shown.path.name, shown.shape, shown.texture, category,
                        seconds)  # fmt: skip
        save_answer(self._path, answer)
        self.answers.append(answer)
        self._left.pop(0)
        self._report()
        if self._left:
            self.text.value = f"{len(self._left)} to go"
            self._next()
        else:
            self.stop()

    def stop(self) -> None:
        """Pause (the trial on the screen comes again), and draw what there is so far."""
        self._current = None
        self.start.disabled, self.pause.disabled = not self._left, True
        self.start.description = "Go on" if self.answers else "Start"
        for button in self.choices.values():
            button.disabled = True
        buffer = io.BytesIO()
        trial_frames(self._order[0].path)[-1].save(buffer, "PNG")
        self.images[0].value = buffer.getvalue()
        self._report()
        self._chart()

    def _report(self) -> None:
        bias = count_decisions((a.shape, a.texture, a.answer) for a in self.answers)
        total = len(self._order)
        self.result = ObserverResult(self.name.value, len(self.answers), total, bias, list(self.answers))
        self.bar.max, self.bar.value = total, len(self.answers)

    def _chart(self) -> None:
        found, bias = dict(self.nets), self.result.bias
        if bias.shape + bias.texture:
            found = {f"you ({self.name.value})": bias} | found
        if found:
            self.put(1, bias_picture(found))
        else:
            self.put(1, np.full((24, 24, 3), 255, np.uint8))
        words = [f"<b>{html.escape(self.name.value)}</b>: {len(self.answers)} of {len(self._order)} trials"]
        if bias.shape + bias.texture:
            low, high = bias.ci95
            words.append(f"Shape bias {bias.bias:.0%}, 95 % interval {low:.0%} to {high:.0%} "
                         f"({bias.shape} shape, {bias.texture} texture, {bias.other} neither)")  # fmt: skip
        else:
            words.append(f"A cross for {FIXATION} ms, an object for {SHOWN} ms, noise for {MASKED} ms, then click what "
                         "the <b>object</b> was. Every answer starts the next trial. Press "
                         f"<b>{self.start.description}</b>")  # fmt: skip
        if bias.no_conflict == bias.no_conflict:
            words.append(f"Without a conflict {bias.no_conflict:.0%} right")
        self.text.value = ". ".join(words) + f". Answers are kept in {html.escape(str(self._path))}."

    def still(self) -> bytes:
        """The four pictures of a trial, and the chart."""
        frames = trial_frames(next(s for s in self._order if s.shape != s.texture).path)
        chart = Image.open(io.BytesIO(self.images[1].value)).convert("RGB")
        side = 150
        sheet = Image.new("RGB", (max(4 * (side + 6), chart.width), side + 6 + chart.height), "white")
        for number, frame in enumerate(frames):
            sheet.paste(frame.resize((side, side)), (number * (side + 6), 0))
        sheet.paste(chart, (0, side + 6))
        buffer = io.BytesIO()
        sheet.save(buffer, "PNG")
        return buffer.getvalue()


def explore_observer(
    nets: Mapping[str, ShapeBias] | None = None, *, observer: str = "me",
    stimuli: list[Stimulus] | str | Path | None = None, trials: int = 54, folder: str | Path = "answers",
) -> ObserverExperiment:
    """Be the observer: a cross, a stimulus for 200 ms, a mask, and the buttons of all categories.

    Every answer is saved at once in `folder/observer.csv`; running the cell again, or another day, goes on there.

    Args:
        nets: name -> `shape_bias(...)`, drawn beside the observer's.
        observer: whose answers these are: letters, digits, - and _.
        stimuli: from `cue_stimuli`, a folder laid out as the authors', or None for the embedded conflict set.
        trials: how many, one in nine of them without a conflict; the same for the same observer.
        folder: where the answers are kept.

    Returns:
        The widget; `.result` is `(observer, done, total, bias, answers)`, `bias` a `ShapeBias`.

    Raises:
        ValueError: a name that is no file name, or a damaged file of answers.

    Example:
        >>> vh.explore_observer({"SqueezeNet": vh.shape_bias(net)}, observer="ada")

    Source: Geirhos et al. 2019, section 2 (300 ms cross, 200 ms stimulus, 200 ms mask of pink noise).
    Taught in: 12_texture_vs_shape.
    """
    place = stimuli if isinstance(stimuli, str | Path) else None
    found = cue_stimuli(place) if stimuli is None or place is not None else stimuli
    names = set(categories_of(place)) if place is not None else set(cue_categories())
    return ObserverExperiment(nets or {}, observer, found, trials, folder, names | {s.shape for s in found})
