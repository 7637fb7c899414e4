"""Rows of numbers laid out so that neighbours stay neighbours: t-SNE, grids, and how good they are (lesson 03)."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def tsne(features: Tensor, *, perplexity: float = 30, seed: int = 0) -> Tensor:
    """Points in the plane whose neighbours are the neighbours in feature space: PCA to 50 numbers, then t-SNE.

    Args:
        features: `(N,D)`. Distances are Euclidean: give `F.normalize(features)` to map by cosine.
        perplexity: about how many neighbours each point tries to keep, at least 1 and below N/3.
        seed: of both steps; the same seed gives the same map.

    Returns:
        `(N,2)` float32 on the CPU. Distances have no unit; neither axis means anything.

    Raises:
        ValueError: too few pictures for the perplexity, NaN, or rows that are all equal.

    Example:
        >>> vh.tsne(vh.features(net, vh.library("photos"))).shape
        torch.Size([166, 2])

    Source: van der Maaten & Hinton 2008; scikit-learn's TSNE(init="pca", learning_rate="auto").
    Taught in: 03_tsne_of_fc7.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    a = _rows(features).astype(np.float32)  # one precision: the last digit of an input can turn a cluster round
    if not 1 <= perplexity <= len(a) / 3:
        raise ValueError(f"A perplexity of {perplexity:g} does not suit {len(a)} pictures: it counts neighbours, so it "
                         f"must be from 1 to a third of the pictures, here {len(a) / 3:.0f}.")  # fmt: skip
    if np.ptp(a, axis=0).max() == 0:
        raise ValueError("All rows of the features are equal, so there is nothing to lay out: look at the features.")
    # Below some thousand points, threads wait longer for one another than they work (20 times, on a busy machine).
    with threadpool_limits(1 if len(a) < 3000 else None):
        a = PCA(min(50, *a.shape), svd_solver="full", random_state=seed).fit_transform(a)
        a = a if a.shape[1] > 1 else np.hstack([a, np.zeros_like(a)])
        made = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed).fit_transform(a)
    return torch.from_numpy(np.ascontiguousarray(made, np.float32))


class Neighbours(NamedTuple):
    """The nearest other pictures, nearest first; `(k,)` for one picture, `(N,k)` for all."""

    indices: Tensor
    distances: Tensor


def neighbours(features: Tensor, picture: int | None = None, k: int = 9, *, metric: str = "cosine") -> Neighbours:
    """The k nearest other pictures of one picture, or of each.

    Args:
        features: `(N,D)`.
        picture: the row to start from; None for all rows.
        k: how many, below N. The picture itself is never among them, a second copy of it is.
        metric: "cosine" (1 - cosine of the angle, 0..2; a row of zeros is at distance 1 from all), usual for features;
            or "euclidean", usual for pixels.

    Returns:
        `(indices, distances)`; of equally near ones the first in the list.

    Raises:
        ValueError: k, picture or metric that is not there.

    Example:
        >>> vh.neighbours(f, 0, 5).indices

    Taught in: 03_tsne_of_fc7.
    """
    f = torch.from_numpy(_rows(features))
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"The metrics are 'cosine' and 'euclidean', not {metric!r}.")
    if not 1 <= k < len(f):
        raise ValueError(f"Of {len(f)} pictures one has 1 to {len(f) - 1} neighbours, not {k}.")
    if picture is not None and not 0 <= picture < len(f):
        raise ValueError(f"There is no picture {picture}: they go from 0 to {len(f) - 1}.")
    f = F.normalize(f) if metric == "cosine" else f
    found = []
    for rows in torch.arange(len(f)).split(1024) if picture is None else [torch.tensor([picture])]:
        exact = "donot_use_mm_for_euclid_dist"  # the quick way loses the digits of nearly equal pictures
        d = 1 - f[rows] @ f.T if metric == "cosine" else torch.cdist(f[rows], f, compute_mode=exact)
        d[torch.arange(len(rows)), rows] = math.inf
        near, order = d.sort(dim=1, stable=True)
        found.append((order[:, :k], near[:, :k].clamp(min=0)))
    indices, distances = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Neighbours(indices, distances) if picture is None else Neighbours(indices[0], distances[0])


def trustworthiness(features: Tensor, points: Tensor, k: int = 10, *, metric: str = "cosine") -> float:
    """How far the neighbours on a map are neighbours in feature space: 1 if all are, about 0.5 on a random map.

    Args:
        features: `(N,D)`.
        points: `(N,2)`, the map of these features.
        k: neighbours looked at, below N/2.
        metric: of the features, as in `neighbours`; on the map distances are Euclidean.

    Returns:
        0..1. It compares a map with its own features: it says nothing about how good the features are.

    Raises:
        ValueError: unequal numbers of rows, or too many neighbours.

    Example:
        >>> vh.trustworthiness(f, vh.tsne(f))

    Source: Venna & Kaski 2001; scikit-learn's trustworthiness.
    Taught in: 03_tsne_of_fc7.
    """
    from sklearn.manifold import trustworthiness as measured

    a, b = _rows(features), _rows(points)
    if len(a) != len(b) or not 1 <= k < len(a) / 2:
        raise ValueError(f"Trustworthiness compares N features with N points and k < N/2 neighbours, not {len(a)} with "
                         f"{len(b)} and k = {k}.")  # fmt: skip
    return float(measured(a, b, n_neighbors=k, metric=metric))


def knn_agreement(features: Tensor, labels: Sequence, k: int = 10, *, metric: str = "cosine") -> float:
    """The share of the k nearest neighbours that have the picture's own label, averaged over all pictures.

    Args:
        features: `(N,D)`, or a map `(N,2)` with `metric="euclidean"`.
        labels: N texts or numbers.
        k: neighbours of each picture. A label that fewer than k + 1 pictures have cannot reach 1.
        metric: as in `neighbours`.

    Returns:
        0..1. Compare with shuffled labels: that is what chance gives.

    Raises:
        ValueError: as many labels as not fit the rows; and as `neighbours`.

    Example:
        >>> vh.knn_agreement(torch.eye(4), ["a", "a", "b", "b"], k=3)
        0.3333333432674408

    Taught in: 03_tsne_of_fc7.
    """
    if len(labels) != len(features):
        raise ValueError(f"There are {len(labels)} labels for {len(features)} pictures: give one for each.")
    codes = torch.from_numpy(np.unique([str(label) for label in labels], return_inverse=True)[1])
    near = neighbours(features, k=k, metric=metric).indices
    return float((codes[near] == codes[:, None]).double().mean())


def grid(points: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
    """A cell for every point, none left empty between them, so that the squared way all points move is smallest.

    Args:
        points: `(N,2)`, x to the right, y up; stretched to fill the grid.
        shape: (rows, columns), at least N cells; by default nearly square. Cells too many stay empty at the end of the
            last rows.

    Returns:
        Long `(N,2)`: row (0 is the top, the largest y) and column of each point.

    Raises:
        ValueError: fewer cells than points.

    Example:
        >>> vh.grid(torch.tensor([[0., 0], [5, 0], [0, 9], [5, 9]])).tolist()
        [[1, 0], [1, 1], [0, 0], [0, 1]]

    Source: the linear assignment problem, solved by scipy's linear_sum_assignment.
    Taught in: 03_tsne_of_fc7.
    """
    from scipy.optimize import linear_sum_assignment

    p = _rows(points).astype(np.float64)
    columns = math.ceil(math.sqrt(len(p)))
    rows, columns = shape or (math.ceil(len(p) / columns), columns)
    if rows * columns < len(p):
        raise ValueError(f"{rows} x {columns} cells are too few for {len(p)} pictures: give a larger shape.")
    cells = np.stack(np.divmod(np.arange(len(p)), columns), 1)
    low, span = p.min(0), np.ptp(p, axis=0)
    place = (p - low) / np.where(span > 0, span, 1)
    place = np.where(span > 0, place, 0.5) * [columns - 1, cells[-1, 0]]
    target = np.stack([cells[:, 1], cells[-1, 0] - cells[:, 0]], 1)
    cost = ((place[:, None] - target[None]) ** 2).sum(2)
    return torch.from_numpy(cells[linear_sum_assignment(cost)[1]])


def _rows(values: Tensor) -> np.ndarray:
    """Numbers `(N,D)` as a float array on the CPU, or a sentence."""
    a = values.detach().cpu() if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    if a.ndim != 2 or len(a) < 2:
        raise ValueError(f"Features are (N,D), a row for each of at least two pictures, not {tuple(a.shape)}.")
    a = a.double() if a.dtype == torch.float64 else a.float()
    if not torch.isfinite(a).all():
        raise ValueError("The features contain NaN or infinite numbers: find the picture or the layer they are from.")
    return a.numpy()
