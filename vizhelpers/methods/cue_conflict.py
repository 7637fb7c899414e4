"""Texture or shape: stimuli, decisions among categories, shape bias, accuracies; people as observers (lesson 12)."""
import io
import math
import re
import zlib
from collections import Counter, defaultdict, namedtuple
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from ..device import device_of, in_batches, table, warn
from ..images import DATA, load_image, to_input
from ..targets import probabilities

CONDITIONS = ("original", "greyscale", "silhouette", "edges", "texture")
Categories = Mapping[str, Sequence[int]]
Stimulus = namedtuple("Stimulus", "path shape texture")  # one word for both where its cues do not conflict
Decision = namedtuple("Decision", "shape texture answer")  # what somebody, net or human, answered to one stimulus
ShapeBias = namedtuple("ShapeBias", "shape texture other bias per_class ci95 rate no_conflict outside decisions")
Answer = namedtuple("Answer", "observer trial file shape texture answer seconds")  # seconds: from sending to the click
FIXATION, SHOWN, MASKED = 300, 200, 200  # milliseconds of an observer's trial, as in the paper's laboratory
GREY = (128, 128, 128)

_published = table(DATA / "cue_conflict" / "published.csv")  # people and nets on the authors' stimuli
PUBLISHED_BIAS = {row["observer"]: float(row["conflict"]) for row in _published}
PUBLISHED_CONDITIONS = {r["observer"]: {c: float(r[c]) for c in CONDITIONS} for r in _published if r["original"]}


def cue_categories(source: str | Path = "embedded") -> dict[str, tuple[int, ...]]:
    """The categories of a forced choice, by name in alphabetical order, each a tuple of ImageNet class numbers.
    `source`: "embedded", "authors" (16 of Geirhos et al. 2019) or a table with columns category, index. Lesson 12."""
    tables = {"embedded": "categories.csv", "authors": "authors.csv"}
    path = DATA / "cue_conflict" / tables[source] if source in tables else Path(source)
    if not path.is_file():
        raise FileNotFoundError(f'There is no table {str(path)!r}; say "embedded", "authors" or a CSV file.')
    found: dict[str, list[int]] = {}
    for row in table(path):
        found.setdefault(row["category"], []).append(int(row["index"]))
    return {name: tuple(found[name]) for name in sorted(found)}


def cue_stimuli(folder: str | Path | None = None, condition: str = "conflict") -> list[Stimulus]:
    """The pictures of a stimulus set by file name, each `(path, shape, texture)`; by default of the embedded one.
    A folder is laid out as the authors': in it one per category, with `cat/cat7-elephant1.png` for the shape of a cat
    in the texture of an elephant, `cat/cat7.png` for no conflict. The embedded set has the conditions "conflict",
    "original", "greyscale", "silhouette", "edges" and "texture". Lesson 12."""
    folder = DATA / "cue_conflict" / condition if folder is None else Path(folder)
    files = sorted(p for p in folder.glob("*/*") if p.suffix.lower() in (".png", ".webp", ".jpg", ".jpeg"))
    if not files:
        raise FileNotFoundError(f"No stimuli like cat/cat7-elephant1.png, a folder per category, in {str(folder)!r};"
                                f" the embedded set has the conditions conflict, {', '.join(CONDITIONS)}.")  # fmt: skip
    return [Stimulus(path, *parse_stimulus(path.stem)) for path in files]


def parse_stimulus(stem: str) -> tuple[str, str]:
    """(shape, texture) from a file name without its ending: 'dog10-bird2' is the shape of a dog, bird's texture."""
    found = re.fullmatch(r"([a-z_]+)\d+(?:-([a-z_]+)\d+)?", stem)
    if not found:
        raise ValueError(f"The file name {stem!r} does not tell shape and texture; it should be like cat7-elephant1.")
    return found[1], found[2] or found[1]


def category_probabilities(model: nn.Module, x: Tensor, categories: Categories | None = None) -> Tensor:
    """The mean probability of the classes of each category, `(N,K)`; the largest is the decision. Lesson 12.
    The softmax is over all 1000 classes. The mean, not the sum: with sums the authors' 109 dogs would win against a
    single knife before anything is seen. Geirhos et al. 2018, appendix; 2019, section 2."""
    return category_means(model, x, cue_categories() if categories is None else categories)[0]


def category_means(model: nn.Module, x: Tensor, categories: Categories) -> tuple[Tensor, Tensor]:
    """The mean probability of each category's classes `(N,K)`, and how much lies outside all categories `(N,)`."""
    empty = [name for name, numbers in categories.items() if not len(numbers)]
    if empty or not categories:
        raise ValueError(f"Every category needs at least one class number; {', '.join(empty) or 'there is none'}.")
    with torch.no_grad():
        p = probabilities(model, x)
    if p.shape[1] != 1000:
        raise ValueError(f"Categories are sets of the 1000 ImageNet classes; this net has {p.shape[1]} classes.")
    inside = sorted({i for numbers in categories.values() for i in numbers})
    return torch.stack([p[:, list(numbers)].mean(1) for numbers in categories.values()], 1), 1 - p[:, inside].sum(1)


def decide(model: nn.Module, stimuli: Sequence[Stimulus], categories: Categories, progress: bool = False):
    """A net's decision on each stimulus, and how much probability it gave to classes outside all categories.
    The pictures go in as they are, without resizing: scaling to 256 and cropping moves the bias by points."""
    names = list(categories)
    if strange := sorted({word for s in stimuli for word in s[1:]} - set(names)):
        raise ValueError(f"{', '.join(strange)} is not among the categories {', '.join(names)}: give categories=.")

    def read_and_ask(which: Tensor) -> tuple[Tensor, Tensor]:
        pictures = [load_image(stimuli[n].path) for n in which]
        if len(sizes := {picture.size for picture in pictures}) > 1:
            raise ValueError(f"The stimuli have different sizes, {sorted(sizes)}: make them all 224 x 224.")
        return category_means(model, to_input(pictures, model, size=pictures[0].size[::-1]), categories)

    places = torch.arange(len(stimuli), device=device_of(model))  # the device settles the batch size
    means, outside = in_batches(read_and_ask, places, progress=progress)
    decided = zip(stimuli, means.argmax(1).tolist(), strict=False)  # fewer when it was stopped
    return [Decision(s.shape, s.texture, names[k]) for s, k in decided], outside.tolist()


def shape_bias(model: nn.Module, stimuli=None, *, categories: Categories | None = None, progress=False) -> ShapeBias:
    """How often a net of ImageNet's 1000 classes goes by shape where shape and texture contradict each other.
    `stimuli`: from `cue_stimuli`, a folder laid out as the authors' (with its categories.csv, or else theirs), or None:
    the embedded set. Gives what `count_decisions` gives, and `outside`, the mean probability of classes in no category;
    a warning says where the bias hides a net that does not see. Geirhos et al. 2019, section 2. Lesson 12."""
    source = "embedded"
    if isinstance(stimuli, str | Path):
        tables = [place / "categories.csv" for place in (Path(stimuli), Path(stimuli).parent)]
        source = next((path for path in tables if path.is_file()), "authors")
    categories = cue_categories(source) if categories is None else categories
    stimuli = cue_stimuli(stimuli) if stimuli is None or isinstance(stimuli, str | Path) else stimuli
    decisions, outside = decide(model, stimuli, categories, progress)
    conflict = [o for d, o in zip(decisions, outside, strict=True) if d.shape != d.texture]
    found = count_decisions(decisions)._replace(outside=_ratio(math.fsum(conflict), len(conflict)))
    if found.rate < 0.3 or found.no_conflict < 0.5:
        warn(f"Only {found.rate:.0%} of the decisions name the shape or the texture, and {found.no_conflict:.0%} of "
             "the pictures without a conflict are recognised: the bias says little about this net. Is its "
             "preprocessing right?")  # fmt: skip
    return found


def count_decisions(decisions: Iterable[Sequence[str]]) -> ShapeBias:
    """The `ShapeBias` of a list of decisions (shape, texture, answer), whoever made them; NaN where there is none.
    Counts by shape, texture, other; bias = shape / (shape + texture), also per_class (of each shape), ci95, Wilson's
    interval of 1927 (as if decisions were independent); rate, the share of either cue. One whose shape and texture are
    the same word counts for no_conflict, an accuracy, only. Lesson 12."""
    from scipy.stats import binomtest
    every = tuple(Decision(*d[:3]) for d in decisions)
    conflict = [d for d in every if d.shape != d.texture]
    agree = [d.answer == d.shape for d in every if d.shape == d.texture]
    shape = Counter(d.shape for d in conflict if d.answer == d.shape)
    texture = Counter(d.shape for d in conflict if d.answer == d.texture)
    n, k = shape.total() + texture.total(), shape.total()
    per_class = {name: _ratio(shape[name], shape[name] + texture[name]) for name in sorted({d.shape for d in conflict})}
    interval = tuple(map(float, binomtest(k, n).proportion_ci(method="wilson"))) if n else (0.0, 1.0)
    return ShapeBias(k, n - k, len(conflict) - n, _ratio(k, n), per_class, interval, _ratio(n, len(conflict)),
                     _ratio(sum(agree), len(agree)), math.nan, every)  # fmt: skip


def _ratio(part: float, whole: int) -> float:
    return part / whole if whole else math.nan


def condition_accuracy(model: nn.Module, *, progress: bool = False) -> dict[str, float]:
    """The share of right decisions in each condition of the embedded set: original, ..., texture -> 0..1. Lesson 12."""
    decided = {c: decide(model, cue_stimuli(condition=c), cue_categories(), progress)[0] for c in CONDITIONS}
    return {condition: count_decisions(decisions).no_conflict for condition, decisions in decided.items()}


def load_answers(path: str | Path) -> list[Answer]:
    try:
        found = [Answer(*(row[column] for column in Answer._fields)) for row in table(Path(path))]
        return [a._replace(trial=int(a.trial), seconds=float(a.seconds)) for a in found]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{str(path)!r} is damaged or has not the columns {', '.join(Answer._fields)}.") from None


def read_answers(source: str | Path) -> dict[str, list[Decision]]:
    """What `explore_observer` saved in a file or a folder: observer -> decisions, for `count_decisions`. Lesson 12."""
    paths = sorted(Path(source).glob("*.csv")) if Path(source).is_dir() else [source]
    if not paths:
        raise FileNotFoundError(f"There are no answers in {str(source)!r}: it should hold CSV files of the experiment.")
    found = defaultdict(list)
    for answer in (answer for path in paths for answer in load_answers(path)):
        found[answer.observer].append(Decision(*answer[3:6]))
    return dict(found)


def trial_order(stimuli: Sequence[Stimulus], observer: str, trials: int) -> list[Stimulus]:
    """An observer's trials, in an order that his name decides, every category about as often, one in nine plain."""
    rng, turn = np.random.default_rng(zlib.crc32(observer.encode())), defaultdict(count)
    shuffled = [stimuli[n] for n in rng.permutation(len(stimuli))]
    plain = [s for s in shuffled if s.shape == s.texture][: trials // 9]
    conflict = sorted((s for s in shuffled if s.shape != s.texture), key=lambda s: next(turn[s.shape]))
    chosen = conflict[: trials - len(plain)] + plain
    return [chosen[n] for n in rng.permutation(len(chosen))]


def trial_picture(image, seed: int = 0) -> bytes:
    """A trial as one animated PNG that plays once, so that the browser keeps the time, not the kernel: fixation cross,
    stimulus, a mask of noise whose amplitude falls with frequency, as in photographs, grey."""
    stimulus = load_image(image)
    grey = Image.new("RGB", stimulus.size, GREY)
    cross, m = grey.copy(), stimulus.width // 2
    ImageDraw.Draw(cross).rectangle((m - 10, m - 1, m + 10, m + 1), "black")
    ImageDraw.Draw(cross).rectangle((m - 1, m - 10, m + 1, m + 10), "black")
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(stimulus.width)] * 2))
    frequency[0, 0] = np.inf
    noise = np.random.default_rng(seed).standard_normal(frequency.shape)
    values = np.fft.ifft2(np.fft.fft2(noise) / frequency).real
    mask = Image.fromarray((128 + 50 * values / values.std()).clip(0, 255).astype(np.uint8)).convert("RGB")
    buffer, times = io.BytesIO(), [FIXATION, SHOWN, MASKED, 100]
    cross.save(buffer, "PNG", save_all=True, append_images=[stimulus, mask, grey], duration=times, loop=1)
    return buffer.getvalue()
