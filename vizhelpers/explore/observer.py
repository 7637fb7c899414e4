"""Be the observer: stimuli and what each net makes of them; a forced choice with a saved answer a click (lesson 12)."""
import csv
import io
import math
import re
from pathlib import Path
from time import perf_counter

import ipywidgets as W
from PIL import Image, ImageSequence

from ..figures import show_shape_bias
from ..images import load_image, to_input
from ..methods import cue_conflict as cue
from ..render import figure_pixels, probability_bars, row, to_picture, to_png
from ..targets import predict
from .base import Explorer, by_name, private

SIDE = 280  # of a stimulus on the page, in pixels


def explore_stimuli(models: dict) -> Explorer:
    """Choose a shape and a texture, see the stimulus and what each net (name -> classifier) makes of it. Lesson 12.
    `.result` is `(shape, texture, stimulus, decisions, outside)`, `outside` the probability outside the categories."""
    models = {name: private(net) for name, net in by_name(models).items()}
    by_pair, categories = {(s.shape, s.texture): s for s in cue.cue_stimuli()}, cue.cue_categories()
    names = list(categories)

    def look(shape, texture):
        stimulus = by_pair[shape, texture]
        image, decisions, outside, lines = load_image(stimulus.path), {}, {}, []
        shown = {"the stimulus": image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)}
        for name, model in models.items():
            x = to_input(image, model, size=image.size[::-1])
            means, beside = cue.category_means(model, x, categories)
            shares, order = (means[0] / means.sum()).topk(6)
            labels, best = [names[k] for k in order], predict(model, x, top=1)[0]
            decisions[name], outside[name] = cue.Decision(shape, texture, labels[0]), float(beside)
            bars = probability_bars(labels, shares.tolist())
            shown[f"{name}: each category's share of the categories' mean probability"] = bars
            lines.append(f"{name} decides {labels[0]}; outside the categories lies {outside[name]:.0%} of its "
                         f"probability (strongest class: {best.label} {best.probability:.0%})")  # fmt: skip
        return "\n".join(lines), shown, {"stimulus": stimulus, "decisions": decisions, "outside": outside}

    return Explorer(look, nets=models, shape=names, texture=W.Dropdown(options=names, value=names[1]))


class explore_observer(Explorer):
    """Be the observer: a cross for 300 ms, a stimulus for 200 ms, a mask for 200 ms, and a button for each category.
    A click is an answer, saved at once in `folder/observer.csv`; the cell run again, or another day, goes on there. One
    in nine `trials` has no conflict: who fails there did not look. `nets`: name -> `shape_bias(...)`, drawn beside the
    observer. `.result` is `(observer, done, total, bias, answers)`. Geirhos et al. 2019, section 2. Lesson 12."""
    def __init__(self, nets=None, *, observer: str = "me", trials: int = 54, folder: str | Path = "answers"):
        self.others, self.trials, self.folder = dict(nets or {}), trials, Path(folder)
        self.name = self.current = None  # whose trials are loaded, and the stimulus that waits for an answer
        self.trial = W.Image(format="png", width=str(SIDE), height=str(SIDE))
        self.start = W.Button(button_style="success", icon="play")
        self.pause = W.Button(description="Pause", icon="pause")
        self.bar = W.IntProgress(0, 0, 1, layout=W.Layout(width="260px"))
        self.choices = {name: W.Button(description=name, layout={"width": "auto"}) for name in cue.cue_categories()}
        super().__init__(self.state, observer=W.Text(value=observer, continuous_update=False))
        grid = W.GridBox(list(self.choices.values()), layout=W.Layout(grid_template_columns="repeat(4, 120px)"))
        self.work.children = [self.start, self.pause, self.bar]
        self.children = [*self.children[:-2], W.HBox([self.trial, grid]), *self.children[-2:]]
        self.start.on_click(lambda _: self.said(self.next))
        self.pause.on_click(lambda _: self.said(self.next, True))
        for name, button in self.choices.items():
            button.on_click(lambda _, name=name: self.said(self.choose, name))

    def load(self, observer: str) -> None:
        """The observer's trials, without those that his file already answers."""
        if not re.fullmatch(r"[\w-]{1,40}", observer):
            raise ValueError(f"An observer's name has letters, digits, - and _ only, at most 40, unlike {observer!r}.")
        path, order = self.folder / f"{observer}.csv", cue.trial_order(cue.cue_stimuli(), observer, self.trials)
        found = {a.file: a for a in (cue.load_answers(path) if path.exists() else [])}
        self.name, self.path, self.order, self.current = observer, path, order, None
        self.answers = [found[s.path.name] for s in order if s.path.name in found]
        self.left = [s for s in order if s.path.name not in found]

    def next(self, pause: bool = False) -> None:
        """Send the trial that comes next; after the last one, or in a pause, show the result."""
        self.current = None if pause or not self.left else self.left[0]
        self.draw()
        if self.current:
            self.trial.value = cue.trial_picture(self.current.path, seed=len(self.answers))
            self.sent = perf_counter()

    def choose(self, category: str) -> None:
        if self.current is None:
            return
        seconds = perf_counter() - self.sent
        if seconds < cue.FIXATION / 1000:
            self.text.value = "That was before the picture came: wait for it."
            return
        path, *cues = self.current
        answer = cue.Answer(self.name, len(self.answers) + 1, path.name, *cues, category, seconds)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        head = [] if self.path.exists() else [cue.Answer._fields]
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([*head, answer._replace(seconds=f"{seconds:.3f}")])
        self.load(self.name)
        self.next()

    def state(self, observer: str):
        """What the page shows now; while a trial runs the chart stays as it was."""
        if observer != self.name:
            self.load(observer)
        bias, running = cue.count_decisions(a[3:6] for a in self.answers), self.current is not None
        self.bar.max, self.bar.value = len(self.order), len(self.answers)
        self.start.disabled, self.start.description = running or not self.left, "Go on" if self.answers else "Start"
        for button in (self.pause, *self.choices.values()):
            button.disabled = not running
        numbers = dict(done=len(self.answers), total=len(self.order), bias=bias, answers=list(self.answers))
        if running:
            text = f"{len(self.left)} to go. Look at the cross. What is the object? Click at once, or guess."
            return text, {"": self.chart}, numbers
        said, found = f"{observer}: {len(self.answers)} of {len(self.order)} trials. ", self.others
        if bias.shape + bias.texture:
            found = {f"you ({observer})": bias} | found
            said += "Shape bias {:.0%}, 95 % interval {:.0%} to {:.0%} ".format(bias.bias, *bias.ci95)
            said += f"({bias.shape} shape, {bias.texture} texture, {bias.other} neither). "
        else:
            said += (f"A cross for {cue.FIXATION} ms, an object for {cue.SHOWN} ms, noise for {cue.MASKED} ms, then "
                     f"click what the object was. Every answer starts the next trial. Press {self.start.description}. ")
        if not math.isnan(bias.no_conflict):
            said += f"Without a conflict {bias.no_conflict:.0%} right. "
        self.trial.value = to_png(Image.new("RGB", (SIDE, SIDE), cue.GREY))
        classes = {name for one in found.values() for name in one.per_class}
        self.chart = (figure_pixels(lambda ax: show_shape_bias(found, ax=ax), 8.0, 0.27 * len(classes) + 1.2)
                      if found else Image.new("RGB", (24, 24), "white"))  # fmt: skip
        return f"{said}Answers are kept in {self.path}.", {"": self.chart}, numbers

    def still(self) -> Image.Image:
        trial = next(s for s in self.order if s.shape != s.texture)
        film = Image.open(io.BytesIO(cue.trial_picture(trial.path)))
        frames = [to_picture(frame, 150) for frame in ImageSequence.Iterator(film)]
        return row([*frames, self.chart])
