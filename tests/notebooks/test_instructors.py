"""notebooks/INSTRUCTORS.md says what the lessons say: their minutes, their questions, a rubric for every assignment."""
import re

from lesson import NOTEBOOKS, Lesson
from minutes import stated

TEXT = (NOTEBOOKS / "INSTRUCTORS.md").read_text(encoding="utf-8")
LESSONS = {path.stem[:2]: Lesson.read(path) for path in NOTEBOOKS.glob("[01]*.ipynb")}


def test_minutes_are_the_lessons():
    rows = dict(re.findall(r"^\| (\d\d) \| (\d+ \| \d+) \|$", TEXT, re.M))
    counted = {n: re.match(r"Time: (\d+) minutes, exercises (\d+)", stated(lesson)) for n, lesson in LESSONS.items()}
    assert rows == {n: f"{found[1]} | {found[2]}" for n, found in counted.items()}


def test_questions_are_the_lessons():
    rows = re.findall(r"^\| (\d\d) \| ([^|]*\?) \| .+ \|$", TEXT, re.M)
    assert [n for n, _ in rows] == sorted(LESSONS)
    for n, question in rows:
        words = " ".join(" ".join(part.text for part in LESSONS[n].parts if not part.code).split())
        assert question in words, f"lesson {n} does not ask {question!r}"


def test_every_assignment_has_a_rubric():
    names = {path.stem[:2] for path in NOTEBOOKS.glob("A*.ipynb")}
    assert names <= set(re.findall(r"^\*\*(A\d), ", TEXT, re.M))
