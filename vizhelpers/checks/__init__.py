"""Checks of the exercises: each takes the reader's function or answer and says in one sentence what is wrong.

One file per lesson, `lesson_00.py` and so on; `vh.check_<exercise>` finds a check in any of them.
"""
from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules


def try_check(check: Callable, *answers) -> None:
    """Run a check on an answer and say how it went, without stopping the lesson.

    Args:
        check: one of the `vh.check_...` functions.
        *answers: what the reader wrote: functions or values.

    Example:
        >>> vh.try_check(vh.check_normalise, my_normalise)
        Not solved yet: replace `raise NotImplementedError` by your code, then run both cells again.

    Taught in: 00_start_here.
    """
    try:
        check(*answers)
    except NotImplementedError:
        print("Not solved yet: replace `raise NotImplementedError` by your code, then run both cells again.")
    except AssertionError as reason:
        print(f"Not solved yet: {reason}")
    except Exception as error:
        print(f"Not solved yet: your code stopped with {type(error).__name__}: {error}")
    else:
        print("Correct.")


def __getattr__(name: str):
    if name.startswith("check_"):
        for lesson in iter_modules(__path__):
            module = import_module(f".{lesson.name}", __name__)
            if name in vars(module):
                return vars(module)[name]
    raise AttributeError(f"There is no check called {name!r}.")
