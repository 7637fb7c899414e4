"""Shared by all tests: draw off screen, but leave the kernels that run notebooks their inline pictures."""

import os
from pathlib import Path

import matplotlib
import pytest

# Not through the environment: a kernel started by a test would inherit MPLBACKEND=agg and show no figure.
os.environ.pop("MPLBACKEND", None)
matplotlib.use("agg")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return Path(__file__).resolve().parents[1]
