"""Checks of the exercises: each takes the reader's function and says in one sentence what is wrong.

A check is an oracle and its slips: the right answer from the definition, and a sentence for every typical wrong one.
One file per lesson; `checks.check_<exercise>` finds a check in any of them.
"""
from importlib import import_module
from pkgutil import iter_modules

import torch


def try_check(check, *answers) -> None:
    """Run a check on what the reader wrote and print how it went; the lesson goes on, its random numbers too."""
    try:
        with torch.random.fork_rng(devices=[]):
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
