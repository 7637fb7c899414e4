"""Every assignment: the reference gets its points in any year, a blank none, each named slip its sentence."""
import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from hand_in import graded, is_graded_code, judged, questions, source, stub  # noqa: E402

NAMES = sorted(path.stem[-2:] for path in Path(__file__).parent.glob("answers_A?.py"))
ANSWERS = {name: importlib.import_module(f"answers_{name}") for name in NAMES}
QUESTIONS = [(name, question) for name in NAMES for question in questions(name)]
RIGHT = [(name, *right) for name in NAMES for right in ANSWERS[name].RIGHT]
SLIPS = [(name, *slip) for name in NAMES for slip in ANSWERS[name].SLIPS]


def short(value) -> str:
    return value.replace(" ", "-") if isinstance(value, str) and len(value) < 60 else ""


@pytest.mark.parametrize("name", NAMES)
def test_points_and_ids(name):
    cells = [cell for cell in source(name).values() if graded(cell)]
    assert all(cell["id"] == graded(cell)["grade_id"] for cell in cells)
    assert sum(graded(cell)["points"] for cell in cells if is_graded_code(cell)) == 20
    assert sum(graded(cell).get("points", 0) for cell in cells) == 25
    for cell in cells:
        assert ("BEGIN HIDDEN TESTS" in cell["source"]) == cell["id"].endswith("_hidden")
        assert not is_graded_code(cell) or "reload" in cell["source"] and "quiet()" in cell["source"], cell["id"]


@pytest.mark.parametrize("course", [None, 2031])
@pytest.mark.parametrize("name, question", QUESTIONS)
def test_reference_gets_all_points(name, question, course):
    assert set(judged(name, question, course=course).values()) == {""}


@pytest.mark.parametrize("name, question", QUESTIONS)
def test_blank_gets_none(name, question):
    answers = {key: stub(cell["source"]) for key, cell in source(name).items() if graded(cell).get("solution")}
    code = {key: text for key, text in answers.items() if source(name)[key]["cell_type"] == "code"}
    assert all("NotImplementedError" in said for said in judged(name, question, code).values())


@pytest.mark.parametrize("name, question, title, answers", RIGHT, ids=short)
def test_right_answer_written_differently(name, question, title, answers):
    assert set(judged(name, question, answers).values()) == {""}


@pytest.mark.parametrize("name, question, title, answers, cell, words", SLIPS, ids=short)
def test_slip_scores_nothing_and_hears_its_name(name, question, title, answers, cell, words):
    said = judged(name, question, answers)
    assert said[cell] and words in said[cell], said
