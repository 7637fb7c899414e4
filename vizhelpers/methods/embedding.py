"""A collection of pictures by what a net makes of them: penultimate features, t-SNE, neighbours, grids (lesson 03).
`features` are rows of numbers `(N,D)`, `points` a map of them `(N,2)`. A folder too large for memory: see shards.py."""
import os
from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..device import channels_of, device_of, in_batches, info_of, stoppable, warn
from ..hooks import capture, evaluating, inputs_to, maps_of, resolve_layer
from ..images import expected, load_image, to_display, to_input
from ..models import load_model
from ..render import numbers
from ..targets import layer_names

FeatureLayer = namedtuple("FeatureLayer", "name taken label")  # name "": the whole net; taken: its "input" or "output"
Neighbours = namedtuple("Neighbours", "indices distances")  # (k,) of one picture, (N,k) of all
Rows = Tensor | Sequence  # of numbers, (N,D): a tensor, an array, lists


def feature_layer(model: nn.Module, layer=None) -> FeatureLayer:
    """Which features `features` takes, `(name, taken, label)`: the output of `layer`, or found by the net's structure.
    That is the input of the last linear layer (AlexNet and VGG: fc7, behind ReLU, dropout off); without one, the input
    of the convolution that gives the class scores (SqueezeNet); without classes, what the net puts out. Lesson 03."""
    who = getattr(info_of(model), "name", type(model).__name__)
    if layer is not None:
        name = resolve_layer(model, layer)[0]
        return FeatureLayer(name, "output", f"{who}, output of {name}")
    if linear := layer_names(model, nn.Linear):
        count = model.get_submodule(linear[-1]).in_features
        words = "fc7" if count == 4096 and len(linear) == 3 else f"input of {linear[-1]}"
        return FeatureLayer(linear[-1], "input", f"{who}, {words} ({count} numbers)")
    if not (convolutions := layer_names(model, nn.Conv2d)):
        raise ValueError(f"{type(model).__name__} has no linear layer and no convolution: name a layer with layer=.")
    name, (side,) = convolutions[-1], expected(model, "input_size")
    last, seeded = model.get_submodule(name), torch.Generator().manual_seed(0)
    noise = torch.randn(1, channels_of(model), side, side, generator=seeded)  # zeros would fit a net without biases
    with torch.no_grad(), evaluating(model), capture(model, name) as acts:
        out, maps = model(noise.to(last.weight)), acts[name]
    means = [m.mean((2, 3)) for m in (maps, maps.relu())]
    if any(out.shape == m.shape and torch.allclose(out, m, rtol=1e-3, atol=1e-4) for m in means):  # class scores
        return FeatureLayer(name, "input", f"{who}, input of {name} ({last.in_channels} numbers, means over positions)")
    pooled = ", means over positions" if out.ndim == 4 else ""
    return FeatureLayer("", "output", f"{who} has no classifier: its own output ({out.shape[1]} numbers{pooled})")


def features(model: nn.Module, x: Rows, *, layer=None, batch_size: int | None = None, progress: bool = False) -> Tensor:
    """What a net knows of each picture just before it decides on a class ("fc7"), `(N,D)`; see `feature_layer`.
    `x` may also be a list of anything that `load_image` takes: it is read batch by batch, the result is on the CPU.
    `layer` gives another layer's output; maps are averaged. Krizhevsky et al. 2012, section 6.1. Lesson 03."""
    name, taken, _ = feature_layer(model, layer)
    listed = isinstance(x, list | tuple)
    inputs = torch.arange(len(x), device=device_of(model)) if listed else x  # its device settles the batch size

    def run(part: Tensor) -> Tensor:
        part = to_input([x[n] for n in part], model) if listed else part
        watched = (inputs_to if taken == "input" else capture)(model, name or model)
        with torch.no_grad(), evaluating(model), watched as seen:
            model(part)
        calls = seen if taken == "input" else seen.calls.get(name, [])
        if len(calls) != 1 or calls[0].ndim not in (2, 4) or len(calls[0]) != len(part):
            raise ValueError(f"{name or 'The net'} ran {len(calls)} times in one pass and gave "
                             f"{[tuple(c.shape) for c in calls]}, not once (N,D) or (N,K,h,w): name another layer=.")
        out = calls[0].detach()
        out = maps_of(out, part.shape[2:]).mean((2, 3)) if out.ndim == 4 else out
        return out.cpu() if listed else out

    return in_batches(run, inputs, batch_size=batch_size, progress=progress)


def pixels(images: Sequence, side: int = 32) -> Tensor:
    """Small pictures (the crop that a net sees) as rows of numbers, to compare with: `(N, 3*side*side)`, 0..1, CPU."""
    return to_display(to_input(list(images), size=side, device="cpu")).flatten(1)


@dataclass(frozen=True)
class Embedding:
    """A collection of pictures as numbers: what the figures and the explorer of lesson 03 take."""
    names: tuple[str, ...]
    groups: tuple[str, ...]
    features: Tensor  # (N,D)
    pixels: Tensor  # (N,P), 0..1
    thumbs: Tensor  # (N,3,64,64), 0..1, the crop that the net saw
    label: str  # which features these are
    unreadable: dict[str, str]  # name -> why it was left out

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Embedding({len(self)} pictures, {len(set(self.groups))} groups, {self.label})"


def embed(model: nn.Module, images: Sequence, *, names=None, groups=None, progress: bool = False) -> Embedding:
    """An `Embedding` of a list of anything that `load_image` takes: names, groups, features, pixels, thumbs, label.
    `vh.library()` brings names and groups along, else give one of each for every picture (default: its path or number).
    What cannot be read is left out with a warning, and stands in `.unreadable` (name -> why). Lesson 03."""
    images = list(images)
    names = names or [str(image) if isinstance(image, str | os.PathLike) else getattr(image, "name", f"picture {n}")
                      for n, image in enumerate(images)]  # fmt: skip
    groups = groups or [getattr(image, "group", None) or getattr(image, "kind", "") for image in images]
    if not images or not len(names) == len(groups) == len(images):
        counts = f"{len(images)} pictures, {len(names)} names and {len(groups)} groups"
        raise ValueError(f"There are {counts}: give one of each for every picture, and at least one picture.")
    label, bad, parts = feature_layer(model).label, {}, []
    with stoppable(len(images), progress, "picture", lambda: bool(parts)) as bar:
        for which in torch.arange(len(images)).split(16):
            read = []
            for n in which:
                try:
                    image = load_image(images[n])
                    thumb = to_display(to_input(image, size=64, device="cpu"))
                    read.append((n[None], to_input(image, model), pixels([image]), thumb))
                except (ValueError, OSError) as error:
                    bad[names[n]] = str(error)
                    warn(f"{names[n]} is left out: {error}")
            if read:
                kept, x, *rest = map(torch.cat, zip(*read, strict=True))
                parts.append((kept, features(model, x, batch_size=len(x)).cpu(), *rest))
            bar.update(len(which))
    if not parts:
        raise ValueError(f"None of the {len(images)} pictures could be read; the first: {next(iter(bad.values()))}")
    kept, *rows = map(torch.cat, zip(*parts, strict=True))
    return Embedding(*(tuple(str(texts[n]) for n in kept) for texts in (names, groups)), *rows, label, bad)


def embed_folder(folder: str | Path, model: nn.Module | None = None, *, progress: bool = False) -> Embedding:
    """An `Embedding` (by default SqueezeNet's) of all picture files below a folder; subfolders: groups. Lesson 03."""
    names = picture_files(folder)
    groups = [name.split("/")[0] if "/" in name else Path(folder).resolve().name for name in names]
    images = [Path(folder, name) for name in names]
    return embed(model or load_model(), images, names=names, groups=groups, progress=progress)


def picture_files(folder: str | Path) -> list[str]:
    """Paths below a folder of what looks like a picture by its ending, in alphabetical order."""
    endings = (*Image.registered_extensions(), ".heic", ".heif")  # a phone's: read or said, not passed over
    names = sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*"))
    found = [name for name in names if name.lower().endswith(endings) and "/." not in f"/{name}"]
    if not found:
        raise FileNotFoundError(f"There is no folder {str(folder)!r}, or no picture file (.jpg, ...) in it or below.")
    return found


def tsne(features: Rows, *, perplexity: float = 30) -> Tensor:
    """Points `(N,2)` whose neighbours are those in feature space: PCA to 50 numbers, then scikit-learn's t-SNE.
    Distances are Euclidean: give `F.normalize(features)` to map by cosine. `perplexity`, 1 to N/3, is about how many
    neighbours each point tries to keep. No chance is in it. van der Maaten & Hinton 2008; lesson 03."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits
    a = _rows(features)
    if not 1 <= perplexity <= len(a) / 3:
        raise ValueError(f"perplexity is from 1 to a third of the pictures, here {len(a) / 3:.0f}, not {perplexity:g}.")
    if np.ptp(a, axis=0).max() == 0:
        raise ValueError("All rows of the features are equal, so there is nothing to lay out: look at the features.")
    a = a if 1e-3 < np.ptp(a, axis=0).max() < 1e5 else (a - a.min(0)) / np.ptp(a, axis=0).max()  # else it collapses
    # Below some thousand points, threads wait longer for one another than they work (20 times, on a busy machine).
    with threadpool_limits(1 if len(a) < 3000 else None):
        a = PCA(min(50, *a.shape), svd_solver="full").fit_transform(a)
        start = (a[:, :2] / a[:, 0].std() * 1e-4).astype(np.float32)  # the first two principal components: no chance
        made = TSNE(perplexity=perplexity, init=start, learning_rate="auto").fit_transform(a)
    return torch.from_numpy(np.ascontiguousarray(made, np.float32))


def neighbours(features: Rows, picture: int | None = None, k: int = 9, *, metric: str = "cosine") -> Neighbours:
    """The k nearest other pictures of one (or of each): `(indices, distances)`, nearest first, of equals the first.
    `metric` is "cosine" (1 - cosine of the angle, 0..2; a row of zeros is at 1 from all), usual for features, or
    "euclidean", usual for pixels. The picture itself is never among them, a second copy of it is. Lesson 03."""
    f, last = torch.from_numpy(_rows(features)), len(features) - 1
    if metric not in ("cosine", "euclidean") or not 1 <= k <= last or not 0 <= (picture or 0) <= last:
        raise ValueError(f"Pictures go from 0 to {last}, their neighbours from 1 to {last}, and the metrics are cosine "
                         f"and euclidean: not {picture}, {k} and {metric!r}.")  # fmt: skip
    f = nn.functional.normalize(f) if metric == "cosine" else f

    def nearest(rows: Tensor) -> tuple[Tensor, Tensor]:
        exact = "donot_use_mm_for_euclid_dist"  # the quick way loses the digits of nearly equal pictures
        d = 1 - f[rows] @ f.T if metric == "cosine" else torch.cdist(f[rows], f, compute_mode=exact)
        d[torch.arange(len(rows)), rows] = torch.inf
        near, order = d.sort(dim=1, stable=True)  # scikit-learn's NearestNeighbors leaves equals in any order
        return order[:, :k], near[:, :k].clamp(min=0)

    rows = torch.arange(len(f)) if picture is None else torch.tensor([picture])
    found = in_batches(nearest, rows, batch_size=1024)
    return Neighbours(*(found if picture is None else (part[0] for part in found)))


def trustworthiness(features: Rows, points: Rows, k: int = 10, *, metric: str = "cosine") -> float:
    """How far the k neighbours on a map are neighbours in feature space: 1 if all are, about 0.5 on a random map.
    It judges the map, not the features; `metric` is theirs, the map's is Euclidean. Venna & Kaski 2001; lesson 03."""
    from sklearn.manifold import trustworthiness as measured
    a, b = _rows(features), _rows(points)
    if len(a) != len(b) or not 1 <= k < len(a) / 2:
        raise ValueError(f"Give N features, N points and k < N/2 neighbours, not {len(a)} with {len(b)} and k = {k}.")
    return float(measured(a, b, n_neighbors=k, metric=metric))


def knn_agreement(features: Rows, labels: Sequence, k: int = 10, *, metric: str = "cosine") -> float:
    """The share of the k nearest neighbours that have the picture's own label, averaged over all pictures, 0..1.
    Shuffled labels give what chance gives. A label of fewer than k + 1 pictures cannot reach 1. Lesson 03."""
    if len(labels) != len(features):
        raise ValueError(f"There are {len(labels)} labels for {len(features)} pictures: give one for each.")
    codes = torch.from_numpy(np.unique([str(label) for label in labels], return_inverse=True)[1])
    near = neighbours(features, k=k, metric=metric).indices
    return float((codes[near] == codes[:, None]).double().mean())


def grid(points: Rows) -> Tensor:
    """A cell (row, column) of a nearly square table for every point, long `(N,2)`; y goes up, the last may stay empty.
    The map is stretched to fill the table, and the sum of squared ways is the smallest there is. Lesson 03."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist
    p = _rows(points).astype(np.float64)
    row, column = np.divmod(np.arange(len(p)), int(np.ceil(np.sqrt(len(p)))))
    place = (p - p.min(0)) / np.ptp(p, axis=0).clip(1e-30) * [column.max(), row.max()]
    ways = cdist(place, np.stack([column, row.max() - row], 1), "sqeuclidean")
    return torch.from_numpy(np.stack([row, column], 1)[linear_sum_assignment(ways)[1]])


def _rows(values: Tensor) -> np.ndarray:
    """Numbers `(N,D)` as float32 on the CPU (the last digit of an input can turn a cluster round), or a sentence."""
    a = numbers(values)
    if a.ndim != 2 or len(a) < 2 or not np.isfinite(a).all():
        raise ValueError(f"Features are (N,D), N at least 2, without NaN or infinite numbers: yours are {a.shape}.")
    return a
