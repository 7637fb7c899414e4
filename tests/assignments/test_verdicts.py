"""The judge of a student's test tells a too weak, a too strict, a crashing and a right one apart."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "notebooks"))
from checks.assignment import verdicts  # noqa: E402

RIGHT = {"a sum": sum, "a loop": lambda numbers: [total := 0, *(total := total + n for n in numbers)][-1]}
BROKEN = {"forgets the last": lambda numbers: sum(numbers[:-1]), "of sizes": lambda numbers: sum(map(abs, numbers))}


def fair(total):
    assert total([2, -3, 5]) == 4 and total([]) == 0


def too_weak(total):
    assert total([1, 2, 0]) == 3  # no negative number, and the last one does not matter


def too_strict(total):
    assert total is sum


def crashes(total):
    if total([2, -3, 5]) != 4:
        raise ValueError("wrong")


def test_a_fair_test_is_accepted():
    assert verdicts(fair, RIGHT, BROKEN) == []


def test_a_too_weak_test_hears_what_it_lets_pass():
    assert verdicts(too_weak, RIGHT, BROKEN) == ["your test lets a defect pass (forgets the last)",
                                                 "your test lets a defect pass (of sizes)"]  # fmt: skip


def test_a_too_strict_test_hears_what_it_refuses():
    (said,) = verdicts(too_strict, RIGHT, BROKEN)
    assert said.startswith("your test refuses a right version (a loop): AssertionError")


def test_a_test_that_crashes_on_a_defect_is_told():
    said = verdicts(crashes, RIGHT, BROKEN)
    assert [one.partition(" on")[0] for one in said] == ["your test stops with ValueError"] * 2
