"""What the graded cells of A1 to A4 share. A cell reloads this file first, so that a patched judge judges nothing."""
import importlib
import io
import warnings
from contextlib import contextmanager, redirect_stderr
from types import CodeType

import torch

from . import kit

importlib.reload(kit)
from .kit import compare, error_of, hooks, judge, net, noise, run, several, untouched  # noqa: E402, F401


def torch_alone(*answers) -> None:
    """An answer's code, with the functions inside it, calls nothing of `vh.`."""
    for answer in answers:
        codes = [getattr(answer, "__code__", None)]
        for code in codes:
            names = {*getattr(code, "co_names", ())}
            assert not names & {"vh", "vizhelpers"}, f"write {answer.__name__} with torch alone, without `vh.`."
            codes += [c for c in getattr(code, "co_consts", ()) if isinstance(c, CodeType)]


@contextmanager
def quiet():
    """Nothing reaches stderr: nbgrader takes a warning or a progress bar for a failure. The random state stays."""
    with redirect_stderr(io.StringIO()), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        yield


def verdicts(test, right: dict, broken: dict) -> list[str]:
    """What is wrong with a student's test: it must pass every right version and refuse every broken one by `assert`."""
    said = []
    for name, version in right.items():
        if error := error_of(test, version):
            said.append(f"your test refuses a right version ({name}): {type(error).__name__}: {error}")
    for name, version in broken.items():
        error = error_of(test, version)
        if error is None:
            said.append(f"your test lets a defect pass ({name})")
        elif not isinstance(error, AssertionError):
            said.append(f"your test stops with {type(error).__name__} on a defect ({name}), not by an assert")
    return said
