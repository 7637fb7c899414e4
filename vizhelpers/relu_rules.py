"""The three ways to go back through a ReLU, for any net, without touching its modules (lessons 04 and 07)."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

RULES = ("gradient", "deconvnet", "guided")


class _Relu(torch.autograd.Function):
    """ReLU, or ReLU6 and its like with a top, whose backward follows a rule; in place where the original is."""

    @staticmethod
    def forward(ctx, x: Tensor, top: float | None, rule: str, in_place: bool) -> Tensor:
        out = F.relu(x, in_place) if top is None else F.hardtanh(x, 0.0, top, in_place)  # the original's own bits
        if in_place:
            ctx.mark_dirty(x)
            out = x  # within another block the call above returns a new object for the same memory
        ctx.rule, ctx.top = rule, top
        if rule != "deconvnet":
            ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor):
        if ctx.rule == "deconvnet":
            return gradient.clamp(min=0), None, None, None
        (out,) = ctx.saved_tensors
        back = torch.ops.aten  # PyTorch's own backward: 0 where the output is 0 (or at the top)
        passed = (back.threshold_backward(gradient, out, 0) if ctx.top is None
                  else back.hardtanh_backward(gradient, out, 0, ctx.top))  # fmt: skip
        return passed if ctx.rule == "gradient" else passed.relu_(), None, None, None


class ReluRule(TorchFunctionMode):
    """Sends every ReLU that runs, as a module or as a function, through a rule; `count` says how many did."""

    # Every spelling of a ReLU ends in one of these calls; torch.relu_ and F._threshold are the same names with a dash.
    RELUS = {
        "relu": ("input", "inplace"),
        "relu6": ("input", "inplace"),
        "hardtanh": ("input", "min_val", "max_val", "inplace"),
        "threshold": ("input", "threshold", "value", "inplace"),
    }
    OTHERS = frozenset({
        "silu", "gelu", "elu", "celu", "selu", "leaky_relu", "prelu", "rrelu", "hardswish", "mish", "softplus", "tanh",
        "softsign", "log_sigmoid", "tanhshrink", "hardshrink", "softshrink", "glu",
    })  # fmt: skip

    def __init__(self, rule: str):
        super().__init__()
        self.rule, self.count = rule, 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        spelled = getattr(func, "__name__", "").split(".")[0]  # an operator's overload is called "relu.default"
        name = spelled.strip("_")
        if name in self.RELUS:
            given = dict(zip(self.RELUS[name], args, strict=False)) | kwargs
            is_relu, top = _reads(name, given)
            if is_relu:
                self.count += 1
                in_place = spelled.endswith("_") or bool(given.get("inplace", False))
                return _Relu.apply(given["input"], top, self.rule, in_place)
        if self.rule != "gradient" and (name in self.OTHERS or name in self.RELUS):
            raise ValueError(
                f"This net uses {name}, and the {self.rule} rule is defined for ReLU only: its map would "
                "be half plain gradient. Take a net with ReLUs, or the plain gradient (vh.saliency)."
            )
        return func(*args, **kwargs)


def _reads(name: str, given: dict) -> tuple[bool, float | None]:
    """Whether a call cuts off below 0 as a ReLU does, and where it cuts off above."""
    if name == "hardtanh":
        return given.get("min_val", -1.0) == 0, float(given.get("max_val", 1.0))
    if name == "threshold":
        return given["threshold"] == 0 == given["value"], None
    return True, 6.0 if name == "relu6" else None


@contextmanager
def relu_rule(rule: str) -> Iterator[ReluRule]:
    """Change how gradients pass back through every ReLU that runs inside the `with` block; no value changes forwards.

    With a the ReLU's output and g the gradient that arrives from above: "gradient" g*[a>0], "deconvnet" g*[g>0],
    "guided" g*[a>0]*[g>0]. No module is touched: the ReLUs are caught as functions while they run, so functional,
    in-place and shared ones are all covered, and nothing has to be restored. What counts is where the forward pass
    runs; the gradient may be taken after the block. Of nested blocks the innermost rule holds.

    ReLU is caught as `relu`, `relu6`, `hardtanh` from 0 up and `threshold` at 0, in every spelling. Gates (sigmoid,
    softmax) keep their own gradient. A ReLU written as `clamp` or `where`, or hidden in TorchScript, is not seen:
    compare `.count` with what you expect.

    Args:
        rule: "gradient", "deconvnet" or "guided".

    Yields:
        An object whose `.count` is the number of ReLUs that ran: a shared module counts each time.

    Raises:
        ValueError: unknown rule, or another activation than ReLU runs under a rule that is only defined for ReLU.

    Example:
        >>> x.requires_grad_()
        >>> with vh.relu_rule("guided") as rule:
        ...     score = net(x)[0, 105]
        >>> rule.count, torch.autograd.grad(score, x)[0].shape
        (26, torch.Size([1, 3, 224, 224]))

    Source: Springenberg et al. 2015, figure 1; Zeiler & Fergus 2014, section 2.1.
    Taught in: 07_guided_backprop.
    """
    if rule not in RULES:
        raise ValueError(f"The ReLU rules are 'gradient', 'deconvnet' and 'guided', not {rule!r}.")
    with ReluRule(rule) as mode:
        yield mode
