"""Checks of the exercises of lesson 09_occlusion."""
from itertools import combinations

import torch

from .kit import compare, judge, noise, run, several


def check_patch_starts(answer):
    """Exercise 09.1: `answer(length, patch, stride)` lists the first pixels of patches that cover the whole axis."""
    for length, patch, stride in ((10, 4, 3), (10, 4, 4), (224, 64, 16), (9, 9, 5), (7, 2, 5), (12, 4, 4), (11, 3, 7)):
        case = f"for {length} pixels, patch {patch} and stride {stride}"
        want = [0]
        while want[-1] + patch < length:  # step on; pushed back where the patch would hang over
            want.append(min(want[-1] + stride, length - patch))
        got = [int(start) for start in run(answer, length, patch, stride)]
        assert got, f"{case} your list is empty."
        assert max(got) + patch <= length, f"{case} the patch at {max(got)} hangs over the border."
        end = got[-1] + patch
        assert end == length, f"{case} the last {length - end} pixels are never hidden: add a patch that ends there."
        assert len(got) == len(set(got)), f"{case} a position appears twice: {got}."
        assert got == want, f"{case} the patches begin at {want}, not {got}."


def check_drop_map(answer):
    """Exercise 09.2: `answer(falls (P,), boxes, height, width) -> (height,width)`, the mean over covering boxes."""
    falls = torch.tensor([3.0, -1.0, 5.0, 2.0])
    boxes, height, width = [(0, 0, 3, 3), (0, 2, 3, 5), (1, 0, 4, 3), (1, 2, 4, 5)], 5, 7
    means, sums, largest, last, beyond = torch.zeros(5, height, width)
    for i in range(height):
        for j in range(width):
            if here := [f for f, (a, b, c, d) in zip(falls, boxes, strict=True) if a <= i < c and b <= j < d]:
                sums[i, j], largest[i, j], last[i, j] = sum(here), max(here), here[-1]
                means[i, j] = sums[i, j] / len(here)
            if here := [f for f, (a, b, c, d) in zip(falls, boxes, strict=True) if a <= i <= c and b <= j <= d]:
                beyond[i, j] = sum(here) / len(here)
    judge(answer, means, {
        "this is the sum of the falls; divide by how many boxes cover the pixel": sums,
        "this is the largest fall over the boxes; the mean is wanted": largest,
        "divide each pixel by the number of boxes that cover it, not by the number of all boxes": sums / len(boxes),
        "a later box overwrites the earlier ones: add with +=": last,
        "bottom and right are excluded, here each box has a row and a column too many": beyond,
    }, falls, boxes, height, width, hint=f"pixel (1, 2) lies in all boxes: {means[1, 2]:.2f}")  # fmt: skip


def check_worst_pair(answer):
    """Exercise 09.3: `answer(score, x (1,3,H,W), boxes) -> (i, j)`, the two boxes that hurt most when both hide."""
    boxes = [(i, j, i + 2, j + 2) for i in (0, 2, 4) for j in (0, 2, 4)]
    for seed, strong, weak in ((0, (1, 6), (3, 4)), (1, (2, 8), (0, 5))):
        x = noise(1, 3, 6, 6, seed=seed).abs() + 0.5

        def score(batch, strong=strong, weak=weak):  # either of two objects will do; two minor hints
            bright = torch.stack([batch[:, :, a:c, b:d].mean((1, 2, 3)) for a, b, c, d in boxes])
            return 10 * (bright[[*strong]] > 0.1).any(0) + bright[[*weak]].sum(0)

        values = {}
        for pair in combinations(range(len(boxes)), 2):
            hidden = x.clone()
            for top, left, bottom, right in (boxes[n] for n in pair):
                hidden[:, :, top:bottom, left:right] = 0
            values[pair] = float(score(hidden))
        want = min(values, key=values.get)
        i, j = sorted(int(n) for n in several(run(answer, score, x, list(boxes)), "i", "j"))
        assert i != j, "these are one box, twice."
        compare((i, j), want, {
            "these are the two worst single boxes; together other two hurt far more: try the boxes in pairs": weak,
            "this pair leaves the score highest; the lowest is wanted": max(values, key=values.get),
        }, hint=f"hiding these two pushes the score to {values[want]:.2f}, the lowest of all")  # fmt: skip
