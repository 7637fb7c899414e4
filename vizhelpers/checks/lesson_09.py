"""Checks of the exercises of lesson 09_occlusion."""
from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import torch


def check_patch_starts(answer: Callable) -> None:
    """Exercise 09.1: `answer(length, patch, stride)` lists the first pixels of patches that cover the whole axis."""
    for length, patch, stride in ((10, 4, 3), (10, 4, 4), (224, 64, 16), (9, 9, 5), (7, 2, 5), (12, 4, 4), (11, 3, 7)):
        case = f"For {length} pixels, patch {patch} and stride {stride}"
        got = answer(length, patch, stride)
        assert got is not None, "return the list of first pixels."
        got = [int(start) for start in got]
        want = [0]
        while want[-1] + patch < length:  # step on; pushed back where the patch would hang over
            want.append(min(want[-1] + stride, length - patch))
        over = [start for start in got if start + patch > length]
        assert not over, f"{case} the patch at {over[0]} hangs over the border by {over[0] + patch - length}."
        assert got, f"{case} your list is empty."
        end = got[-1] + patch
        assert end >= length, f"{case} the last {length - end} pixels are never hidden: add a patch that ends there."
        assert len(got) == len(set(got)), f"{case} a position appears twice: {got}."
        assert got == want, f"{case} the patches begin at {want}, not {got}."


def check_drop_map(answer: Callable) -> None:
    """Exercise 09.2: `answer(falls (P,), boxes, height, width) -> (height, width)`, the mean over covering boxes."""
    falls = torch.tensor([3.0, -1.0, 5.0, 2.0])
    boxes, height, width = [(0, 0, 3, 3), (0, 2, 3, 5), (1, 0, 4, 3), (1, 2, 4, 5)], 5, 7
    means, sums, largest = (torch.zeros(height, width) for _ in range(3))
    for i in range(height):
        for j in range(width):
            here = [float(f) for f, (top, left, bottom, right) in zip(falls, boxes, strict=True)
                    if top <= i < bottom and left <= j < right]  # fmt: skip
            if here:
                means[i, j], sums[i, j], largest[i, j] = sum(here) / len(here), sum(here), max(here)
    got = answer(falls.clone(), list(boxes), height, width)
    assert got is not None, "return the map."
    got = torch.as_tensor(got).detach().float().cpu()
    assert got.shape == (height, width), f"the map should be (height, width) = (5, 7), not {tuple(got.shape)}."
    assert not got.isnan().any(), "a pixel that no box covers gives 0 / 0 = NaN: count it as 1 (clamp) before dividing."
    slips = {
        "this is the sum of the falls; divide by how many boxes cover the pixel": sums,
        "this is the largest fall over the boxes; the mean is wanted": largest,
        "divide each pixel by the number of boxes that cover it, not by the number of all boxes": sums / len(boxes),
    }
    for sentence, wrong in slips.items():
        assert not torch.allclose(got, wrong, atol=1e-5), f"{sentence}."
    last = means.clone()
    for fall, (top, left, bottom, right) in zip(falls, boxes, strict=True):
        last[top:bottom, left:right] = fall
    assert not torch.allclose(got, last, atol=1e-5), "a later box overwrites the earlier ones: add with +=."
    assert torch.allclose(got, means, atol=1e-5), (
        f"pixel (1, 2) lies in all four boxes: the mean is {float(means[1, 2]):.2f}, not {float(got[1, 2]):.2f}."
    )


def check_worst_pair(answer: Callable) -> None:
    """Exercise 09.3: `answer(score, x (1,3,H,W), boxes) -> (i, j)`, the two boxes that hurt most when both hide."""
    boxes = [(i, j, i + 2, j + 2) for i in (0, 2, 4) for j in (0, 2, 4)]
    for seed, (first, second), weak in ((0, (1, 6), (3, 4)), (1, (2, 8), (0, 5))):
        x = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) + 0.5

        def part(batch, n):
            top, left, bottom, right = boxes[n]
            return batch[:, :, top:bottom, left:right].mean((1, 2, 3))

        def score(batch, first=first, second=second, weak=weak, part=part):  # either object will do; two minor hints
            objects = torch.maximum((part(batch, first) > 0.1).float(), (part(batch, second) > 0.1).float())
            return 10 * objects + part(batch, weak[0]) + part(batch, weak[1])

        before, values = x.clone(), {}
        for pair in combinations(range(len(boxes)), 2):
            hidden = x.clone()
            for top, left, bottom, right in (boxes[n] for n in pair):
                hidden[:, :, top:bottom, left:right] = 0
            values[pair] = float(score(hidden))
        want = min(values, key=values.get)
        got = answer(score, x, list(boxes))
        assert torch.equal(x, before), "your function wrote into x, so the patches pile up: hide in a copy, x.clone()."
        assert got is not None and len(got) == 2, "return two box numbers (i, j)."
        got = tuple(sorted(int(n) for n in got))
        assert got != tuple(sorted(weak)), (
            "these are the two worst single boxes; together other two hurt far more: try the boxes in pairs."
        )
        assert got[0] != got[1], "these are one box, twice."
        assert got != max(values, key=values.get), "this pair leaves the score highest; the lowest is wanted."
        assert got == want, f"boxes {want} push the score to {values[want]:.2f}, yours {got} to {values[got]:.2f}."
