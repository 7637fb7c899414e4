"""Shared by all tests: draw off screen, but leave the kernels that run notebooks their inline pictures."""

import os
import sys
from pathlib import Path

import matplotlib
import pytest

# Not through the environment: a kernel started by a test would inherit MPLBACKEND=agg and show no figure.
os.environ.pop("MPLBACKEND", None)
matplotlib.use("agg")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks"))  # as in a lesson: `import checks`


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items):
    """What takes long comes first, so that no worker is left alone with it at the end: the explorers in a browser, the
    lessons from the last, the tests that run lessons or every method on every net. Other browser tests stand among the
    lessons: all at once they would wait for each other. (`--no-loadscope-reorder` keeps this order.)"""
    among = {"test_cue_conflict_experiment": -0x12, "test_lesson_in_browser": -0x07}

    def turn(item):
        path = item.path
        if path.suffix == ".ipynb":
            return 1, -int(path.name[:2], 16)  # A4 is a number, too
        if path.stem == "test_lessons":
            return 1, -0x09
        return 0 if path.parent.name == "browser" else 2 if path.stem in ("test_rules", "test_exercises") else 3, 0

    items.sort(key=turn)
