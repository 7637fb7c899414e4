"""Looking inside a net while it runs: the only file that registers hooks."""
from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType

import torch
from torch import Tensor, nn


def resolve_layer(model: nn.Module, layer: str | nn.Module) -> tuple[str, nn.Module]:
    """The dotted name and the module of a layer given by either.

    Args:
        model: any module.
        layer: a dotted name such as `"features.12"`, or a module that is part of `model`.

    Returns:
        `(name, module)`.

    Raises:
        ValueError: there is no such layer; the sentence lists the nearest names.

    Example:
        >>> vh.resolve_layer(net, "features.0")[1] is net.features[0]
        True

    Taught in: 00_start_here.
    """
    modules = dict(model.named_modules())
    if isinstance(layer, nn.Module):
        for name, module in modules.items():
            if module is layer:
                return name, module
        raise ValueError(f"This {type(layer).__name__} is not part of the {type(model).__name__} that was given.")
    if not isinstance(layer, str):
        raise ValueError(f"A layer is a dotted name or a module, not {layer!r}; vh.layer_names(model) lists the names.")
    if layer in modules and layer:
        return layer, modules[layer]
    names = [name for name in modules if name]
    near = difflib.get_close_matches(layer, names, n=4, cutoff=0.3) or names[:4]
    raise ValueError(f"There is no layer {layer!r} in this {type(model).__name__}; nearest: {', '.join(near)}.")


class Activations(Mapping):
    """What `capture` recorded: layer name (or module) -> output tensor of the last forward pass."""

    def __init__(self, model: nn.Module, names: list[str]):
        self._model, self._names = model, names
        self._calls: dict[str, list] = {}
        self._passes: dict[str, int] = {}

    def _record(self, name: str, number: int, output) -> None:
        if self._passes.get(name) != number:  # a new forward pass replaces what the last one left
            self._calls.pop(name, None)  # and takes its place in the order
            self._calls[name], self._passes[name] = [], number
        self._calls[name].append(output)

    def calls(self, layer: str | nn.Module) -> list[Tensor]:
        """The outputs of every call of a layer in the last forward pass, in order."""
        name = self._name(layer)
        if name not in self._calls:
            raise ValueError(f"Layer {name!r} has not run yet: call the model inside the `with` block first.")
        return list(self._calls[name])

    def _name(self, layer) -> str:
        if isinstance(layer, str) and layer in self._names:
            return layer
        name = resolve_layer(self._model, layer)[0]
        if name not in self._names:
            raise ValueError(f"Layer {name!r} was not captured; captured: {', '.join(self._names[:8])}.")
        return name

    def __getitem__(self, layer: str | nn.Module) -> Tensor:
        name = self._name(layer)
        calls = self.calls(name)
        if len(calls) > 1:
            raise ValueError(
                f"Layer {name!r} ran {len(calls)} times in one forward pass, so it has {len(calls)} outputs: "
                f"take acts.calls({name!r})[i], or capture the block around it."
            )
        if not isinstance(calls[0], Tensor):
            raise ValueError(f"Layer {name!r} returns a {type(calls[0]).__name__}, not a tensor: capture a part of it.")
        return calls[0]

    def in_order(self) -> list[str]:
        """The names of what has run, in the order in which the layers finished."""
        return list(self._calls)

    def __contains__(self, layer) -> bool:
        return isinstance(layer, str) and layer in self._calls

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._names if name in self._calls)

    def __len__(self) -> int:
        return len(self._calls)


@contextmanager
def capture(model: nn.Module, *layers: str | nn.Module, leaf: bool = False) -> Iterator[Activations]:
    """Record what the named layers put out while the model runs inside the `with` block.

    The recorded tensor is the layer's output itself, still attached to the graph; the rest of the net goes on with
    a clone of it, so that an in-place ReLU behind the layer cannot rewrite what was recorded. All hooks are gone
    when the block ends, also after an exception or an interrupt.

    Args:
        model: any module.
        *layers: dotted names or modules; none at all means every leaf module.
        leaf: cut the graph at each recorded output and make it a leaf that requires a gradient: a gradient with
            respect to it then costs nothing before the layer.

    Yields:
        A mapping `acts`: `acts["features.12"]` is that layer's output in the last forward pass, `(N,K,h,w)` for a
        convolution. A layer that ran several times in one pass is refused here and is had from `acts.calls(name)`.

    Raises:
        ValueError: unknown layer (the nearest names are listed), or a layer read before it ran.

    Example:
        >>> with vh.capture(net, "features.0") as acts:
        ...     logits = net(x)
        >>> acts["features.0"].shape
        torch.Size([1, 64, 111, 111])

    Taught in: 00_start_here.
    """
    if layers:
        wanted = dict(resolve_layer(model, layer) for layer in layers)
    else:
        wanted = {name: m for name, m in model.named_modules() if name and next(m.children(), None) is None}
    acts = Activations(model, list(wanted))
    handles: list = []
    state = {"number": 0, "depth": 0, "call": None}

    def enter(module, args):
        if state["depth"] and not _is_running(state["call"]):
            state["depth"] = 0  # after an interrupt PyTorch calls no hook, so nobody left
        if state["depth"] == 0:
            state["number"] += 1
            state["call"] = sys._getframe(1)
        state["depth"] += 1

    def leave(module, args, output):
        state["depth"] -= 1
        if state["depth"] == 0:
            state["call"] = None

    def recorder(name):
        def record(module, args, output):
            if leaf and isinstance(output, Tensor):
                output = output.detach().requires_grad_(True)
            acts._record(name, state["number"], output)
            return output.clone() if isinstance(output, Tensor) else None

        return record

    around = _holders(model, list(wanted.values()))
    try:
        for module in around:  # a pass is whatever runs from the outermost call to its return
            handles.append(module.register_forward_pre_hook(enter, prepend=True))
        for name, module in wanted.items():
            handles.append(module.register_forward_hook(recorder(name)))
        for module in around:
            handles.append(module.register_forward_hook(leave, always_call=True))
        yield acts
    finally:
        for handle in handles:
            handle.remove()


def _holders(model: nn.Module, layers: list[nn.Module]) -> list[nn.Module]:
    """The layers and every module that has one of them inside, under any of its names."""
    modules, ids = dict(model.named_modules(remove_duplicate=False)), {id(layer) for layer in layers}
    found = {}
    for name, module in modules.items():
        if id(module) in ids:
            parts = name.split(".") if name else []
            above = (modules[".".join(parts[:n])] for n in range(len(parts) + 1))
            found.update((id(m), m) for m in above)
    return list(found.values())


def _is_running(call: FrameType) -> bool:
    """Whether a function call is among those that led here."""
    here = sys._getframe(1)
    while here is not None and here is not call:
        here = here.f_back
    return here is not None


class _Enough(Exception):
    """All that was asked for has been computed."""


def outputs_until(model: nn.Module, x: Tensor, *layers: str | nn.Module) -> dict[str, Tensor]:
    """The first output of each named layer, in a pass that ends as soon as the last of them has run.

    For loops on a net that `capture` has been used on before: only a complete pass shows that a layer runs once.
    A clone goes on to the next layer, as in `capture`; the tensors are attached to the graph.
    """
    wanted, found, handles = dict(resolve_layer(model, layer) for layer in layers), {}, []

    def recorder(name):
        def record(module, args, output):
            found.setdefault(name, output)
            if len(found) == len(wanted):
                raise _Enough
            return output.clone() if isinstance(output, Tensor) else None

        return record

    try:
        for name, module in wanted.items():
            handles.append(module.register_forward_hook(recorder(name)))
        with suppress(_Enough):
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return found


@contextmanager
def replacing(model: nn.Module, changes: Mapping[str, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Let the net go on with `change(output)` in place of the output of each named layer, inside the `with` block."""
    handles: list = []
    try:
        for name, change in changes.items():
            module = resolve_layer(model, name)[1]
            handles.append(module.register_forward_hook(lambda m, args, output, change=change: change(output)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def inputs_of(model: nn.Module, layer: str | nn.Module) -> Iterator[list[Tensor]]:
    """Collect what goes into a layer while the model runs inside the `with` block: one tensor for each call of it."""
    found: list[Tensor] = []
    handle = resolve_layer(model, layer)[1].register_forward_pre_hook(
        lambda module, args: found.append(args[0].clone())  # a clone: the layer might work in place
    )
    try:
        yield found
    finally:
        handle.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Switch a model to eval mode for the `with` block and give every submodule its own mode back after it.

    Args:
        model: any module.

    Yields:
        The same model, with dropout off and batch norm using its running statistics.

    Example:
        >>> net.train(); net.features.eval()
        >>> with vh.evaluating(net): assert not net.training
        >>> net.training, net.features.training
        (True, False)

    Taught in: 00_start_here.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        if any(mode for _, mode in modes):
            model.eval()
        yield model
    finally:
        for module, mode in modes:
            if module.training != mode:
                module.training = mode


@contextmanager
def with_gradients() -> Iterator[None]:
    """Make gradients available inside the block, whatever `no_grad` or `inference_mode` stands around it."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
