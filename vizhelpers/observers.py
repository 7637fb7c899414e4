"""People as observers: published results, the trials of a forced choice, its moving picture, answers (lesson 12)."""
from __future__ import annotations

import csv
import io
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from .cue_conflict import Decision
from .cue_set import Stimulus
from .pictures import load_image

# Recomputed from the raw data of Geirhos et al. 2019 (rgeirhos/texture-vs-shape, raw-data), on their 1,200 conflict
# stimuli; AlexNet, VGG-16 and GoogLeNet without a remark as in the paper (Caffe), the others torchvision's.
PUBLISHED_BIAS = {
    "humans": 0.959, "AlexNet": 0.429, "GoogLeNet": 0.312, "ResNet-152": 0.256, "ResNet-50": 0.221,
    "DenseNet-121": 0.215, "SqueezeNet 1.1": 0.182, "VGG-16": 0.172, "ResNet-50 on Stylized-ImageNet": 0.806,
    "AlexNet (torchvision)": 0.253, "VGG-16 (torchvision)": 0.092,
}  # fmt: skip
PUBLISHED_CONDITIONS = {
    name: dict(zip(("original", "greyscale", "silhouette", "edges", "texture"), values, strict=True))
    for name, values in {
        "AlexNet": (1.00, 0.97, 0.44, 0.40, 1.00), "GoogLeNet": (1.00, 0.99, 0.49, 0.28, 1.00),
        "VGG-16": (1.00, 1.00, 0.48, 0.24, 1.00), "ResNet-50": (1.00, 1.00, 0.54, 0.18, 1.00),
        "humans": (0.99, 0.98, 0.75, 0.87, 0.90),
    }.items()
}  # fmt: skip
FIXATION, SHOWN, MASKED = 300, 200, 200  # milliseconds, as in the paper's laboratory
COLUMNS = ("observer", "trial", "file", "shape", "texture", "answer", "seconds")
GREY = (128, 128, 128)


class Answer(NamedTuple):
    """A row of an observer's file; `seconds` from sending the trial to the click, as the kernel sees it."""

    observer: str
    trial: int
    file: str
    shape: str
    texture: str
    answer: str
    seconds: float


def trial_order(stimuli: Sequence[Stimulus], observer: str, trials: int, catch: int = 8) -> list[Stimulus]:
    """The stimuli of one observer in his own order, always the same for the same name; every category about as often.

    One in `catch` + 1 trials has no conflict: who fails there did not look.
    """
    rng = np.random.default_rng(zlib.crc32(observer.encode()))
    shuffled = [stimuli[n] for n in rng.permutation(len(stimuli))]
    plain = [s for s in shuffled if s.shape == s.texture]
    conflict = _spread([s for s in shuffled if s.shape != s.texture])
    count = min(len(plain), trials // (catch + 1))
    chosen = conflict[: trials - count] + plain[:count]
    return [chosen[n] for n in rng.permutation(len(chosen))]


def _spread(stimuli: list[Stimulus]) -> list[Stimulus]:
    """The same ones, so that any beginning holds the shapes about equally often."""
    seen: dict[str, int] = {}
    rounds = []
    for s in stimuli:
        seen[s.shape] = seen.get(s.shape, 0) + 1
        rounds.append(seen[s.shape])
    return [stimuli[n] for n in sorted(range(len(stimuli)), key=lambda n: rounds[n])]


def pink_noise(side: int = 224, seed: int = 0) -> Image.Image:
    """Noise whose amplitude falls with frequency, as in photographs: the mask that ends the view of a stimulus."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = np.inf
    values = np.fft.ifft2(np.fft.fft2(rng.standard_normal((side, side))) / frequency).real
    grey = 128 + 50 * values / values.std()
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")


def fixation(side: int = 224) -> Image.Image:
    """A dark cross on grey: look here."""
    picture = Image.new("RGB", (side, side), GREY)
    draw, middle = ImageDraw.Draw(picture), side // 2
    for box in ((middle - 10, middle - 1, middle + 10, middle + 1), (middle - 1, middle - 10, middle + 1, middle + 10)):
        draw.rectangle(box, fill="black")
    return picture


def trial_frames(image, seed: int = 0) -> list[Image.Image]:
    """Fixation cross, stimulus, mask, grey: the four pictures of a trial, all of the stimulus' size."""
    stimulus = load_image(image)
    side = stimulus.width
    return [fixation(side), stimulus, pink_noise(side, seed), Image.new("RGB", (side, side), GREY)]


def trial_picture(image, seed: int = 0, *, durations: Sequence[int] = (FIXATION, SHOWN, MASKED)) -> bytes:
    """A whole trial as one animated PNG that plays once: the browser keeps the time, not the kernel.

    Args:
        image: the stimulus; anything `load_image` takes.
        seed: of the mask.
        durations: of fixation, stimulus and mask in milliseconds; the grey stays.

    Returns:
        The bytes of an APNG with four frames.
    """
    first, *rest = trial_frames(image, seed)
    buffer = io.BytesIO()
    first.save(buffer, "PNG", save_all=True, append_images=rest, duration=[*durations, 100], loop=1)
    return buffer.getvalue()


def answer_file(folder: str | Path, observer: str) -> Path:
    """Where an observer's answers are kept.

    Raises:
        ValueError: a name that is no file name.
    """
    if not re.fullmatch(r"[\w-]{1,40}", observer):
        raise ValueError(f"An observer's name has letters, digits, - and _ only, at most 40, unlike {observer!r}.")
    return Path(folder) / f"{observer}.csv"


def save_answer(path: Path, answer: Answer) -> None:
    """Append one answer; the first one makes folder and file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        if new:
            rows.writerow(COLUMNS)
        rows.writerow([*answer[:-1], f"{answer.seconds:.3f}"])


def load_answers(path: str | Path) -> list[Answer]:
    """The answers in one file.

    Raises:
        ValueError: a file that holds something else.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if missing := set(COLUMNS) - set(rows.fieldnames or ()):
            raise ValueError(f"{str(path)!r} holds no answers: the columns {', '.join(sorted(missing))} are missing.")
        try:
            return [Answer(row["observer"], int(row["trial"]), row["file"], row["shape"], row["texture"], row["answer"],
                           float(row["seconds"])) for row in rows]  # fmt: skip
        except (TypeError, ValueError):
            raise ValueError(f"{str(path)!r} is damaged: a row has no number where one belongs; mend it.") from None


def read_answers(source: str | Path | Sequence[str | Path]) -> dict[str, list[Decision]]:
    """The answers that `explore_observer` has saved, by observer: your own, or those of a class.

    Args:
        source: a file, a folder of `.csv` files, or a list of files.

    Returns:
        Observer -> decisions. `count_decisions` takes one of the lists, or all of them joined.

    Raises:
        FileNotFoundError: nothing there. ValueError: a file that holds something else.

    Example:
        >>> {name: vh.count_decisions(d).bias for name, d in vh.read_answers("answers").items()}

    Taught in: 12_texture_vs_shape.
    """
    single = isinstance(source, str | Path)
    paths = sorted(Path(source).glob("*.csv")) if single and Path(source).is_dir() else [source] if single else source
    if not paths:
        raise FileNotFoundError(f"There are no answers in {str(source)!r}: it should hold CSV files of the experiment.")
    found: dict[str, list[Decision]] = {}
    for path in paths:
        for answer in load_answers(path):
            found.setdefault(answer.observer, []).append(Decision(answer.shape, answer.texture, answer.answer))
    return found
