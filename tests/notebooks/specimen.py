"""Build a minimal lesson that passes the lint: a template for authors and the ground truth of test_lint_rules.py.

`python tests/notebooks/specimen.py notebooks/03_tsne_of_fc7.ipynb` writes it as a starting point.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

CELLS = [  # (id, markdown or code)
    (
        "title",
        "# The mean of a picture\n\nOne number says how bright a picture is.\n\n"
        "Time: 5 minutes, exercises 8 · Needs: nothing · Runs offline on CPU\n\n"
        "## You will be able to\n\n- compute a mean\n- read it\n- check it\n\n## Setup",
    ),
    ("setup", "CODE\nimport torch\n\nimport checks\nimport vizhelpers as vh"),
    (
        "b1-idea",
        "## 1. The mean\n\n**Idea** The mean adds all values `(H, W)` and divides by how many there are.\n\n"
        "**Predict** What is the mean of 1, 2, 3?\n\n<details><summary>Answer</summary>\n\n`2`\n\n</details>\n\n"
        "**Code**",
    ),
    ("b1-code", "CODE\nx = torch.tensor([1.0, 2.0, 3.0])\nmean = x.sum() / len(x)\nmean"),
    ("b1-check-text", "**Check** By hand and by torch agree."),
    ("b1-check", "CODE\nassert mean == x.mean() == 2"),
    ("play-text", "## Play\n\nTry this: put other numbers in."),
    ("play-static", "CODE\ntorch.tensor([4.0, 6.0]).mean()"),
    (
        "exercises",
        "## Exercises\n\n### Exercise 1: the largest value\n\nEasy · 3 minutes\n\nReturn the largest value of `x`.",
    ),
    ("ex1-stub", "CODE\ndef largest(x):\n    return None  # your code"),
    ("ex1-check", "CODE\nchecks.try_check(checks.check_largest, largest)"),
    (
        "ex1-folded",
        "<details><summary>Hint</summary>\n\nA tensor has a method.\n\n</details>\n\n"
        "<details><summary>Solution</summary>\n\n"
        "```python\ndef largest(x):\n    return x.max()  # or torch.max\n```\n\n</details>\n\n"
        "### Exercise 2: the range\n\nMedium · 5 minutes\n\nReturn largest minus smallest.",
    ),
    ("ex2-stub", "CODE\ndef spread(x):\n    return None  # your code"),
    ("ex2-check", "CODE\nchecks.try_check(checks.check_spread, spread)"),
    (
        "ex2-folded",
        "<details><summary>Hint</summary>\n\nTwo methods.\n\n</details>\n\n<details><summary>Solution</summary>\n\n"
        "```python\n# both ends\ndef spread(x):\n    return x.max() - x.min()\n```\n\n</details>",
    ),
    ("pitfalls-text", "## Pitfalls\n\nIntegers have no mean."),
    ("pitfalls", "CODE\ntry:\n    torch.tensor([1, 2]).mean()\nexcept RuntimeError as error:\n    print(error)"),
    (
        "end",
        "## Summary\n\nThe mean is the sum divided by the count, for pictures as for numbers.\n\n"
        "## References\n\n- Nobody, *On means*, section 1; our code differs in nothing.",
    ),
]


def specimen() -> dict:
    """A fresh notebook (plain JSON data) that breaks no rule."""
    cells = []
    for key, text in CELLS:
        code = text.startswith("CODE\n")
        cell = {"cell_type": "code" if code else "markdown", "id": key, "metadata": {}}
        cell["source"] = text.removeprefix("CODE\n")
        cells.append(cell | ({"outputs": [], "execution_count": None} if code else {}))
    spec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    metadata = {"kernelspec": spec, "language_info": {"name": "python"}}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}


if __name__ == "__main__":
    target = Path(sys.argv[1])
    if target.exists():
        sys.exit(f"{target} exists; choose another name")
    target.write_text(json.dumps(specimen(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
