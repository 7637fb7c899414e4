"""Checks of the exercises: each takes the reader's function or answer and says in one sentence what is wrong."""
from __future__ import annotations

from collections.abc import Callable


def try_check(check: Callable, *answers) -> bool:
    """Run a check on an answer and say how it went, without stopping the lesson.

    Args:
        check: one of the `vh.check_...` functions.
        *answers: what the reader wrote: functions or values.

    Returns:
        True if the answer is right.

    Example:
        >>> vh.try_check(vh.check_top_k, my_top_k)
        Not solved yet: ...
        False

    Taught in: 00_start_here.
    """
    try:
        check(*answers)
    except NotImplementedError:
        print("Not solved yet: replace `raise NotImplementedError` by your code, then run both cells again.")
        return False
    except AssertionError as reason:
        print(f"Not solved yet: {reason}")
        return False
    except Exception as error:
        print(f"Not solved yet: your code stopped with {type(error).__name__}: {error}")
        return False
    print("Correct.")
    return True


# ---- 00_start_here --------------------------------------------------------------------------------------------------

# ---- 01_first_layer_filters -----------------------------------------------------------------------------------------

# ---- 02_inside_the_layers -------------------------------------------------------------------------------------------
