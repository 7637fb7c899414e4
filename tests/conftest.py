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
