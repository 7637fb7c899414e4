"""What is checked of the arguments of every public function, in one place: the net, the pictures, types and counts.
`vh.name` is the function behind this check. What torch or numpy raises comes out as one sentence that names function
and arguments, the original behind it; an error of the user's own code comes out as it is."""
import inspect
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor, nn

from .device import PACKAGE, device_of, in_short, warn

FAR = 30  # normalised pictures lie within about 3 of 0; a caller's 0..255 does not
LIBRARIES = (*map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")), "<frozen", "<__", "numpy/")
LONGEST, MOST = 500, 10**6  # characters of a message; steps, samples, pixels of a side: more would fill a machine
FROM_ONE = frozenset("top count samples patch stride batch_size bins columns octaves".split())
NUMBERS = {int: Integral, float: Real, bool: Integral | np.bool_}
NAMES = {int: "a whole number", float: "a number", str: "a text", NoneType: "None", Tensor: "a tensor",
         nn.Module: "a module", bool: "True or False", tuple: "a tuple", list: "a list", dict: "a dict"}  # fmt: skip


@cache
def guarded(function: Callable) -> Callable:
    """The function with its arguments checked first, by the types in its signature and by what its net can take."""
    signature, hints, name = inspect.signature(function), get_type_hints(function), f"vh.{function.__name__}"

    @wraps(function)
    def call(*args, **kwargs):
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}: {error}; it takes {', '.join(signature.parameters)}.") from None
        for key, value in given.arguments.items():
            if not str(signature.parameters[key]).startswith("*"):
                _check_type(f"{name}: {key}", value, hints.get(key, object))
        _check_net(function.__name__, given.arguments)
        try:
            return function(*given.args, **given.kwargs)
        except Exception as error:
            frames = [(f.filename.startswith(PACKAGE), f) for f in traceback.extract_tb(error.__traceback__)]
            written = [ours for ours, frame in frames if ours or not frame.filename.startswith(LIBRARIES)]
            if not written[-1] or isinstance(error, Warning | MemoryError | torch.OutOfMemoryError):
                raise  # of the user's own code, or something else to be caught as what it is
            if not (frames[-1][0] and frames[-1][1].line.startswith("raise")):
                shown = ", ".join(f"{key}={_short(value)}" for key, value in given.arguments.items())[:300]
                raise ValueError(f"{name} cannot work with {shown} ({in_short(error)}): help({name}) says what it "
                                 "takes.") from error  # fmt: skip
            if len(text := str(error)) > LONGEST or "\n" in text:
                raise type(error)(" ".join(text.split())[:LONGEST]) from None
            raise

    call.__module__ = __package__  # where pickle finds it
    return call


def _short(value) -> str:
    if isinstance(value, Tensor):
        return "a nested tensor" if value.is_nested else f"a {str(value.dtype)[6:]} tensor {tuple(value.shape)}"
    return type(value).__name__ if isinstance(value, nn.Module) else " ".join(repr(value)[:60].split())


def _check_type(what: str, value, hint) -> None:
    kinds = get_args(hint) if get_origin(hint) in (UnionType, Union) else (hint,)
    name, whole = what.split()[-1], isinstance(value, int)
    if whole and (value < 1 and name in FROM_ONE or value > MOST and name not in ("seed", "number")):
        raise ValueError(f"{what} is {value}: it must be at {'least 1' if value < 1 else f'most {MOST}'}.")
    if not any(_serves(value, get_origin(kind) or kind) for kind in kinds):
        names = " or ".join(NAMES.get(get_origin(kind) or kind, getattr(kind, "__name__", str(kind))) for kind in kinds)
        raise TypeError(f"{what} is {names}, not {_short(value)}{': use vh.to_input(it, net)' * (name == 'x')}.")


def _serves(value, kind) -> bool:
    """Whether a value is of a type that a signature names, or serves as one: numpy's numbers, a list for a tuple."""
    if kind in (tuple, list, Sequence):
        return isinstance(value, Iterable) and not isinstance(value, str | bytes)
    if kind in NUMBERS and isinstance(value, Tensor | np.ndarray):
        return not getattr(value, "is_nested", False) and value.shape in ((), (1,))
    if isinstance(value, bool) and kind in (int, float):
        return False
    return not isinstance(kind, type) or isinstance(value, NUMBERS.get(kind, kind))


def _check_net(name: str, given: dict) -> None:
    net = given.get("model")
    if not isinstance(net, nn.Module):  # only where there need be none: else its type has been refused
        return
    while isinstance(net, nn.DataParallel) or hasattr(net, "_orig_mod"):  # these, and compiled nets, only pass on
        net = net.module if isinstance(net, nn.DataParallel) else net._orig_mod
    given["model"] = net
    elsewhere = name in ("to_display", "channel_maxima", "top_patches") or name.startswith("explore_")
    if isinstance(given.get("x"), Tensor) and not elsewhere:
        _check_pictures(net, given["x"])


def _check_pictures(model: nn.Module, x: Tensor) -> None:
    if x.device != (here := device_of(model)):
        raise RuntimeError(f"The input is on {x.device} but the model is on {here}: use x.to({str(here)!r}).")
    if x.is_nested or x.is_conj() or x.layout != torch.strided or not x.is_floating_point():
        raise ValueError(f"x is {_short(x)}: a dense tensor of floating point numbers is needed, see vh.to_input.")
    if not x.dim() or (x.dim() == 3 and any(isinstance(module, nn.Conv2d) for module in model.modules())):
        raise ValueError(f"x {tuple(x.shape)} has no batch axis: give x[None], which is (1,C,H,W).")
    if not x.numel():
        raise ValueError(f"x {tuple(x.shape)} is empty: there is no picture in it.")
    low, high = (0, 0) if x.is_meta else map(float, torch.aminmax(x.detach()))
    if not low > -torch.inf or not high < torch.inf:  # also NaN
        raise ValueError("x has values that are NaN or infinite: find out where they come from first.")
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is None for part in model.modules()):
        warn(f"This {type(model).__name__} normalises by what is in a batch (batch norm without running means): an "
             "answer depends on which pictures, and how many, go through it together.")  # fmt: skip
    if max(-low, high) > FAR:
        warn(f"x goes from {low:.3g} to {high:.3g}, and normalised pictures lie within about 3 of 0: "
             "vh.to_input makes them so.")  # fmt: skip
