"""How long a lesson takes a student: 180 words a minute, 5 seconds a line of code, exercises as they state.

    python tests/notebooks/minutes.py      # a line for each lesson: body, exercises, and what is folded away

The body is what stands before the exercises, with pitfalls and summary, but without what is folded under "More" and
without an appendix ("## Appendix ..." at the end): neither is the line of thought.
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

from lesson import DETAILS, HEADING, NOTEBOOKS, Lesson

WORDS, LINE = 180, 5  # a minute; seconds
MOST = 45  # minutes of a body


def stated(lesson: Lesson) -> str:
    """What a lesson's first cell should say of its time: the body in steps of five minutes."""
    body, exercises, _ = minutes(lesson)
    return f"Time: {5 * math.ceil(body / 5)} minutes, exercises {exercises}"


def minutes(lesson: Lesson) -> tuple[float, int, float]:
    """Body, exercises as stated, and what may be left out, each in minutes."""
    place, times = "body", {"body": 0.0, "exercises": 0, "more": 0.0}
    for part in lesson.parts:
        for title in () if part.code else [title for marks, title in HEADING.findall(part.text) if len(marks) == 2]:
            place = "exercises" if title == "Exercises" else "more" if title.startswith("Appendix") else "body"
        if place == "exercises":
            times[place] += sum(map(int, re.findall(r"· (\d+) minutes", "" if part.code else part.text)))
        elif part.code:
            times[place] += LINE / 60 * sum(1 for line in part.text.splitlines() if line.strip())
        else:
            more = " ".join(body for summary, body in DETAILS.findall(part.text) if summary.strip().startswith("More"))
            times["more"] += len(more.split()) / WORDS
            times[place] += (len(part.text.split()) - len(more.split())) / WORDS
    return times["body"], times["exercises"], times["more"]


if __name__ == "__main__":
    for path in [Path(name) for name in sys.argv[1:]] or sorted(NOTEBOOKS.glob("[01]*.ipynb")):
        body, exercises, more = minutes(Lesson.read(path))
        print(f"{path.stem:32s} body {body:3.0f}   exercises {exercises:3.0f}   more and appendix {more:3.0f}")
