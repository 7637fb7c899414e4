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
    """What takes long comes first, so that no worker is left alone with it at the end: the lessons from the last, the
    tests that run lessons or every method on every net. (`--no-loadscope-reorder` keeps this order.)"""

    def turn(item):
        if item.path.suffix == ".ipynb":
            return 0, -int(item.path.name[:2], 16)  # A4 is a number, too
        return 1 if item.path.stem in ("test_rules", "test_exercises", "test_grade") else 2, 0

    items.sort(key=turn)
