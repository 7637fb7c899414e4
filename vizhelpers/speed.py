"""Many passes through one net: no further than the layers asked for, in the layout and precision that is fastest here.

For loops that run a net hundreds of times on a picture that changes (activation maximisation, style transfer):

    fast = Fast(model, x, loss)          # probes once: contiguous, channels_last, Winograd, bfloat16
    value, gradient = fast(x, loss)      # loss(x) -> scalar or (N,); `outputs_until` of hooks.py inside it stops early

The net itself is never changed: its weights are lent to it for the length of a call.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .hooks import with_gradients
from .winograd import WinogradConv, suits

Loss = Callable[[Tensor], Tensor]
ROUNDS = 3
GAIN = 0.85  # another way must take at most this share of the time: a busy moment must not decide, figures repeat
_found: dict[tuple, Pace] = {}
_kernels: WeakKeyDictionary[nn.Conv2d, tuple[tuple, WinogradConv]] = WeakKeyDictionary()


class Pace(NamedTuple):
    """How a net runs: the memory layout of pictures and weights, and how convolutions multiply."""

    layout: torch.memory_format = torch.channels_last
    dtype: torch.dtype = torch.float32
    winograd: bool = False


PLAIN = Pace(torch.contiguous_format, torch.float32)


class Fast:
    """A net made ready for a long loop on one kind of picture.

    Args:
        model: any net; frozen or not, its weights get no gradient.
        x: a picture `(N,3,H,W)` as it comes in the loop; what is found for one size is used for all.
        loss: `loss(x)`, a scalar or `(N,)`, from which the gradient is taken; run a few times to probe.
        pace: run so, without a probe.
        key: what tells this loss from another one on the same net, such as the layers' names.
        only: a convolution and the one channel of it that the loss looks at: it then has just this channel, number 0.
    """

    def __init__(
        self, model: nn.Module, x: Tensor, loss: Loss, *, pace: Pace | None = None, key: tuple = (),
        only: tuple[nn.Conv2d, int] | None = None,
    ):
        self.model, self.only, self.pace = model, only or (None, 0), None
        with with_gradients():  # also the converted weights must be tensors that autograd takes
            pace = pace or self._probed(x, loss, key)
            if self.pace is not pace:  # not what the probe has just made ready
                self.use(pace)

    def use(self, pace: Pace) -> None:
        """Convert the weights of convolutions and linear layers once, not in every pass."""
        self.pace, self.lent, self.forwards = pace, [], []
        for module in self.model.modules():
            if pace.winograd and suits(module) and module is not self.only[0]:
                self.forwards.append((module, _winograd(module)))
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                for name, own in module._parameters.items():
                    if own is not None:
                        fast = own.detach()
                        if module is self.only[0]:
                            fast = fast[self.only[1] : self.only[1] + 1]
                        fast = fast.to(pace.dtype) if own.dtype is torch.float32 else fast
                        fast = fast.contiguous(memory_format=pace.layout) if fast.dim() == 4 else fast
                        self.lent.append((module, name, own, fast))

    def __call__(self, x: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """The loss and the gradient of its sum with respect to x, both detached, in x's own type."""
        with with_gradients():
            leaf = x.detach().clone(memory_format=self.pace.layout).requires_grad_(True)
            with self._running(x.device.type):
                value = loss(leaf)
                (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach().to(x.dtype), gradient

    @contextmanager
    def _running(self, device: str) -> Iterator[None]:
        try:
            for module, name, _, fast in self.lent:
                module._parameters[name] = fast
            for module, forward in self.forwards:
                module.forward = forward
            with torch.autocast(device, torch.bfloat16, enabled=self.pace.dtype is torch.bfloat16):
                yield
        finally:
            for module, name, own, _ in self.lent:
                module._parameters[name] = own
            for module, _ in self.forwards:
                vars(module).pop("forward", None)

    def _probed(self, x: Tensor, loss: Loss, key: tuple) -> Pace:
        """The fastest of what gives the same numbers; measured once for each net, device and key."""
        shapes = hash(tuple((name, tuple(p.shape)) for name, p in self.model.named_parameters()))
        place = (shapes, x.dtype, str(x.device), torch.get_num_threads(), key)
        if place not in _found:
            _found[place] = self._measured(x, loss)
        return _found[place]

    def _measured(self, x: Tensor, loss: Loss) -> Pace:
        paces = [Pace()]
        if x.dtype is torch.float32 and x.device.type == "cpu" and any(suits(m) for m in self.model.modules()):
            paces.append(Pace(winograd=True))
        paces.append(PLAIN)
        if x.dtype is torch.float32 and _has_bfloat16(x.device.type):
            paces.append(Pace(dtype=torch.bfloat16))
        true, ready, spent = None, {}, {}
        for pace in paces:
            self.use(pace)
            found = self(x, loss)  # also warms up
            true = true or found
            if pace.dtype is not torch.bfloat16 or _alike(found, true):
                ready[pace], spent[pace] = (pace, self.lent, self.forwards), torch.inf
        for _ in range(ROUNDS):  # in turns, and the least of each: a busy moment hits all, and decides nothing
            for pace in ready:
                self.pace, self.lent, self.forwards = ready[pace]
                spent[pace] = min(spent[pace], _seconds(lambda: self(x, loss), x.device))
        best = paces[0]
        for pace in ready:
            best = pace if spent[pace] < GAIN * spent[best] else best
        self.pace, self.lent, self.forwards = ready[best]
        return best


def _winograd(conv: nn.Conv2d) -> Loss:
    """The convolution by Winograd's filtering; its kernels, four times as many numbers, are made once, if it runs."""

    def forward(x: Tensor) -> Tensor:
        weight = conv.weight
        state = weight.data_ptr(), 0 if weight.is_inference() else weight._version
        if conv not in _kernels or _kernels[conv][0] != state:
            _kernels[conv] = state, WinogradConv(conv)
        return _kernels[conv][1](x)

    return forward


def _seconds(call: Callable, device: torch.device) -> float:
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = perf_counter()
    call()
    wait()
    return perf_counter() - start


def _has_bfloat16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # without matrix units (AMX) a CPU's bfloat16 is slower than float32, and a busy moment must not choose it
    return device == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_amx_tile_supported()


def _alike(found: tuple[Tensor, Tensor], true: tuple[Tensor, Tensor]) -> bool:
    """Whether a low precision changes little: the loss by at most 2 %, the gradient by at most 25 degrees."""
    close = (found[0] - true[0]).abs().sum() <= 0.02 * true[0].abs().sum()
    return bool(close) and float(F.cosine_similarity(found[1].flatten(), true[1].flatten(), dim=0)) > 0.9
