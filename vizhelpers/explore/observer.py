"""Be the observer: stimuli and what each net makes of them; a forced choice with a saved answer a click (lesson 12)."""
from __future__ import annotations

import csv
import html
import io
import re
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import ipywidgets as W
import numpy as np
from PIL import Image, ImageDraw
from torch import nn

from ..figures import bias_picture
from ..images import load_image, to_input
from ..methods import cue_conflict as cue
from ..render import probability_bars, row, to_picture, to_png
from ..targets import predict
from .base import Explorer, Html

SIDE = 280  # of a stimulus on the page, in pixels

GREY = (128, 128, 128)

FIXATION, SHOWN, MASKED = 300, 200, 200  # milliseconds, as in the paper's laboratory


def explore_stimuli(models: Mapping[str, nn.Module], stimuli: list[cue.Stimulus] | None = None) -> Explorer:
    """Choose a shape and a texture, see the stimulus and what each net (name -> classifier) makes of it. Lesson 12.

    `stimuli` are by default the embedded conflict set; `.result` is `(shape, texture, stimulus, decisions, outside)`,
    the last two by net: its decision, and the probability of all classes that are in no category.
    """
    stimuli = cue.cue_stimuli() if stimuli is None else stimuli
    if not models or not stimuli:
        raise ValueError("Give at least one net, such as {'SqueezeNet': net}, and at least one stimulus.")
    by_pair, categories = {(s.shape, s.texture): s for s in stimuli}, cue.categories_of(None)
    first = next((pair for pair in by_pair if pair[0] != pair[1]), next(iter(by_pair)))

    def look(shape, texture):
        if (shape, texture) not in by_pair:
            raise ValueError(f"The set has no {shape} with the texture of {texture}.")
        stimulus = by_pair[shape, texture]
        image = load_image(stimulus.path)
        pictures, lines = [image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)], []
        decisions, outside = {}, {}
        for name, model in models.items():
            x = to_input(image, model, size=image.size[::-1])
            means, beside = cue.category_means(model, x, categories)
            shares, order = (means[0] / means.sum()).topk(6)
            labels, best = [list(categories)[k] for k in order], predict(model, x, top=1)[0]
            decisions[name], outside[name] = cue.Decision(shape, texture, labels[0]), float(beside)
            pictures.append(probability_bars(labels, shares.tolist()))
            strongest = f"strongest class: {html.escape(best.label)} {best.probability:.0%}"
            lines.append(f"<b>{html.escape(name)}</b> decides {labels[0]}; outside the categories lies "
                         f"{outside[name]:.0%} of its probability ({strongest})")  # fmt: skip
        lines.append(f"bars, left to right {html.escape(', '.join(models))}: mean probability of a category's classes, "
                     "as a share of all categories")  # fmt: skip
        return Html("<br>".join(lines)), pictures, {"stimulus": stimulus, "decisions": decisions, "outside": outside}

    shapes, textures = (sorted({pair[k] for pair in by_pair}) for k in (0, 1))
    return Explorer(look, shape=W.Dropdown(options=shapes, value=first[0], description="shape"),
                    texture=W.Dropdown(options=textures, value=first[1], description="texture"))  # fmt: skip


# --- answers in a file -----------------------------------------------------------------------------------------------
class Answer(NamedTuple):
    """A row of an observer's file; `seconds` from sending the trial to the click, as the kernel sees it."""

    observer: str
    trial: int
    file: str
    shape: str
    texture: str
    answer: str
    seconds: float


def answer_file(folder: str | Path, observer: str) -> Path:
    """Where an observer's answers are kept."""
    if not re.fullmatch(r"[\w-]{1,40}", observer):
        raise ValueError(f"An observer's name has letters, digits, - and _ only, at most 40, unlike {observer!r}.")
    return Path(folder) / f"{observer}.csv"


def save_answer(path: Path, answer: Answer) -> None:
    """Append one answer; the first one makes folder and file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [] if path.exists() else [Answer._fields]
    with open(path, "a", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([*rows, [*answer[:-1], f"{answer.seconds:.3f}"]])


def load_answers(path: str | Path) -> list[Answer]:
    """The answers in one file."""
    rows = csv.DictReader(Path(path).read_text(encoding="utf-8").splitlines())
    if missing := set(Answer._fields) - set(rows.fieldnames or ()):
        raise ValueError(f"{str(path)!r} holds no answers: the columns {', '.join(sorted(missing))} are missing.")
    try:
        found = [Answer(*(row[column] for column in Answer._fields)) for row in rows]
        return [a._replace(trial=int(a.trial), seconds=float(a.seconds)) for a in found]
    except (TypeError, ValueError):
        raise ValueError(f"{str(path)!r} is damaged: a row has no number where one belongs; mend it.") from None


def read_answers(source: str | Path | Sequence[str | Path]) -> dict[str, list[cue.Decision]]:
    """The decisions that `explore_observer` has saved, by observer, from a file, a folder of files, or a list of files.

    `count_decisions` takes one of the lists, or all of them joined: your own answers, or those of a class. Lesson 12.
    """
    single = isinstance(source, str | Path)
    paths = sorted(Path(source).glob("*.csv")) if single and Path(source).is_dir() else [source] if single else source
    if not paths:
        raise FileNotFoundError(f"There are no answers in {str(source)!r}: it should hold CSV files of the experiment.")
    found: dict[str, list[cue.Decision]] = defaultdict(list)
    for path in paths:
        for answer in load_answers(path):
            found[answer.observer].append(cue.Decision(answer.shape, answer.texture, answer.answer))
    return dict(found)


# --- trials ----------------------------------------------------------------------------------------------------------
def trial_order(stimuli: Sequence[cue.Stimulus], observer: str, trials: int) -> list[cue.Stimulus]:
    """The stimuli of one observer in his own order, always the same for the same name; every category about as often.

    One in nine trials has no conflict: who fails there did not look.
    """
    rng, turn = np.random.default_rng(zlib.crc32(observer.encode())), defaultdict(count)
    shuffled = [stimuli[n] for n in rng.permutation(len(stimuli))]
    plain = [s for s in shuffled if s.shape == s.texture][: trials // 9]
    conflict = sorted((s for s in shuffled if s.shape != s.texture), key=lambda s: next(turn[s.shape]))
    chosen = conflict[: trials - len(plain)] + plain
    return [chosen[n] for n in rng.permutation(len(chosen))]


def pink_noise(side: int = 224, seed: int = 0) -> Image.Image:
    """Noise whose amplitude falls with frequency, as in photographs: the mask that ends the view of a stimulus."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = np.inf
    values = np.fft.ifft2(np.fft.fft2(rng.standard_normal((side, side))) / frequency).real
    grey = 128 + 50 * values / values.std()
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")


def trial_frames(image, seed: int = 0) -> list[Image.Image]:
    """Fixation cross, stimulus, mask, grey: the four pictures of a trial, all of the stimulus' size."""
    stimulus = load_image(image)
    grey = Image.new("RGB", stimulus.size, GREY)
    cross, m = grey.copy(), stimulus.width // 2
    for box in ((m - 10, m - 1, m + 10, m + 1), (m - 1, m - 10, m + 1, m + 10)):
        ImageDraw.Draw(cross).rectangle(box, fill="black")
    return [cross, stimulus, pink_noise(stimulus.width, seed), grey]


def trial_picture(image, seed: int = 0) -> bytes:
    """A whole trial as one animated PNG that plays once: the browser keeps the time, not the kernel."""
    first, *rest = trial_frames(image, seed)
    buffer = io.BytesIO()
    first.save(buffer, "PNG", save_all=True, append_images=rest, duration=[FIXATION, SHOWN, MASKED, 100], loop=1)
    return buffer.getvalue()


# --- the experiment --------------------------------------------------------------------------------------------------
class ObserverExperiment(Explorer):
    """A forced choice: a click on a category is an answer, in the observer's file before the next trial is sent."""

    def __init__(self, nets: Mapping[str, cue.ShapeBias], observer: str, stimuli, trials: int, folder, categories):
        self.nets, self.stimuli, self.trials, self.folder = dict(nets), list(stimuli), trials, folder
        self.name = self.current = None  # whose trials are loaded, and the stimulus that waits for an answer
        self.trial = W.Image(format="png", width=str(SIDE), height=str(SIDE))
        self.start = W.Button(button_style="success", icon="play")
        self.pause = W.Button(description="Pause", icon="pause")
        self.bar = W.IntProgress(0, 0, 1, layout=W.Layout(width="260px"))
        self.choices = {name: W.Button(description=name, layout=W.Layout(width="auto")) for name in sorted(categories)}
        super().__init__(self.state, observer=W.Text(value=observer, description="observer", continuous_update=False))
        grid = W.GridBox(list(self.choices.values()), layout=W.Layout(grid_template_columns="repeat(4, 120px)"))
        self.children = [self.children[0], W.HBox([self.start, self.pause, self.bar]), self.text,
                         W.HBox([self.trial, grid]), self.pictures]  # fmt: skip
        self.start.on_click(lambda _: self.said(self.next))
        self.pause.on_click(lambda _: self.said(self.stop))
        for name, button in self.choices.items():
            button.add_class("vizhelpers-choice")
            button.on_click(lambda _, name=name: self.said(lambda: self.choose(name)))

    def load(self, observer: str) -> None:
        """The observer's trials, without those that his file already answers."""
        path = answer_file(self.folder, observer)
        order = trial_order(self.stimuli, observer, self.trials)
        found = {a.file: a for a in (load_answers(path) if path.exists() else [])}
        self.name, self.path, self.order, self.current = observer, path, order, None
        self.answers = [a for a in found.values() if a.file in {s.path.name for s in order}]
        self.left = [s for s in order if s.path.name not in found]

    def next(self) -> None:
        """Send the trial that comes next; after the last one show the result."""
        self.current = self.left[0] if self.left else None
        self.draw()
        if self.current:
            self.trial.value = trial_picture(self.current.path, seed=len(self.answers))
            self.sent = perf_counter()

    def choose(self, category: str) -> None:
        """Take an answer, save it, go on."""
        if self.current is None:
            return
        seconds, shown = perf_counter() - self.sent, self.current
        if seconds < FIXATION / 1000:
            self.text.value = "That was before the picture came: wait for it."
            return
        number, (path, *cues) = len(self.answers) + 1, shown
        answer = Answer(self.name, number, path.name, *cues, category, seconds)
        save_answer(self.path, answer)
        self.answers.append(answer)
        self.left.pop(0)
        self.next()

    def stop(self) -> None:
        """Pause: the trial on the screen comes again."""
        self.current = None
        self.draw()

    def state(self, observer: str):
        """What the page shows now; while a trial runs the chart stays as it was."""
        if observer != self.name:
            self.load(observer)
        bias, running = cue.count_decisions(a[3:6] for a in self.answers), self.current is not None
        self.bar.max, self.bar.value = len(self.order), len(self.answers)
        self.start.disabled, self.start.description = running or not self.left, "Go on" if self.answers else "Start"
        for button in (self.pause, *self.choices.values()):
            button.disabled = not running
        if not running:
            self.trial.value = to_png(Image.new("RGB", (SIDE, SIDE), GREY))
            found = ({f"you ({observer})": bias} if bias.shape + bias.texture else {}) | self.nets
            self.chart = bias_picture(found) if found else np.full((24, 24, 3), 255, np.uint8)
        numbers = {"done": len(self.answers), "total": len(self.order), "bias": bias, "answers": list(self.answers)}
        return Html(self.words(bias, running)), [self.chart], numbers

    def words(self, bias: cue.ShapeBias, running: bool) -> str:
        if running:
            return f"{len(self.left)} to go. Look at the cross. What is the <b>object</b>? Click at once, or guess."
        said = [f"<b>{html.escape(self.name)}</b>: {len(self.answers)} of {len(self.order)} trials"]
        if bias.shape + bias.texture:
            said.append("Shape bias {:.0%}, 95 % interval {:.0%} to {:.0%} ".format(bias.bias, *bias.ci95) +
                        f"({bias.shape} shape, {bias.texture} texture, {bias.other} neither)")  # fmt: skip
        else:
            said.append(f"A cross for {FIXATION} ms, an object for {SHOWN} ms, noise for {MASKED} ms, then click what "
                        "the <b>object</b> was. Every answer starts the next trial. Press "
                        f"<b>{self.start.description}</b>")  # fmt: skip
        if bias.no_conflict == bias.no_conflict:  # not NaN
            said.append(f"Without a conflict {bias.no_conflict:.0%} right")
        return ". ".join(said) + f". Answers are kept in {html.escape(str(self.path))}."

    def still(self) -> Image.Image:
        """The four pictures of a trial, and the chart."""
        frames = trial_frames(next(s for s in self.order if s.shape != s.texture).path)
        strip, chart = row([to_picture(frame, side=150) for frame in frames]), to_picture(self.chart)
        page = Image.new("RGB", (max(strip.width, chart.width), strip.height + 6 + chart.height), "white")
        page.paste(strip)
        page.paste(chart, (0, strip.height + 6))
        return page


def explore_observer(
    nets: Mapping[str, cue.ShapeBias] | None = None, *, observer: str = "me",
    stimuli: list[cue.Stimulus] | str | Path | None = None, trials: int = 54, folder: str | Path = "answers",
) -> ObserverExperiment:
    """Be the observer: a cross for 300 ms, a stimulus for 200 ms, a mask for 200 ms, and a button for each category.

    Every answer is saved at once in `folder/observer.csv`; the cell run again, or another day, goes on there. `nets`:
    name -> `shape_bias(...)`, drawn beside the observer's. `stimuli` as in `shape_bias`; one in nine of the `trials`
    has no conflict. `.result` is `(observer, done, total, bias, answers)`. Geirhos et al. 2019, section 2. Lesson 12.
    """
    place = stimuli if isinstance(stimuli, str | Path) else None
    found = cue.cue_stimuli(place) if stimuli is None or place is not None else stimuli
    names = {*cue.categories_of(place), *(s.shape for s in found)}
    return ObserverExperiment(nets or {}, observer, found, trials, folder, names)
