"""Looking inside a net while it runs: the only file that registers hooks."""
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial

import torch
from torch import Tensor, nn


def resolve_layer(model: nn.Module, layer: str | nn.Module) -> tuple[str, nn.Module]:
    """The dotted name and the module of a layer given by either; an unknown one is answered with the nearest names."""
    modules = dict(model.named_modules())
    if isinstance(layer, nn.Module):
        if found := [name for name, module in modules.items() if module is layer]:
            return found[0], layer
        raise ValueError(f"This {type(layer).__name__} is not part of the {type(model).__name__} that was given.")
    names = [name for name in modules if name]
    inner = re.sub(r"^((_orig_mod|module)\.)+", "", str(layer))  # its name in a net that guard has unwrapped
    for name in (layer, inner) if isinstance(layer, str) else ():
        if name in names:
            return name, modules[name]
    near = difflib.get_close_matches(str(layer), names, n=4, cutoff=0.3) or names[:4]
    raise ValueError(f"There is no layer {layer!r} in this {type(model).__name__}; nearest: {', '.join(near)}.")


def check_channel(layer: str | nn.Module, channel: int, count: int) -> None:
    if not 0 <= channel < count:
        raise ValueError(f"Layer {layer!r} has channels 0 to {count - 1}, not {channel}.")


class Activations(Mapping):
    """What `capture` recorded: layer (name or module) -> output in the last pass; `calls[name]` has every call's."""
    def __init__(self, model: nn.Module, names: list[str]):
        self.model, self.names, self.calls = model, names, {}  # calls: in the order in which layers first finished
        self.size = None  # height and width of what went in

    def __getitem__(self, layer: str | nn.Module) -> Tensor:
        name = layer if isinstance(layer, str) and layer in self.names else resolve_layer(self.model, layer)[0]
        found = self.calls.get(name, [])
        if name not in self.names:
            raise ValueError(f"Layer {name!r} was not captured; captured: {', '.join(self.names[:8])}.")
        if not found:
            raise ValueError(f"Layer {name!r} has not run yet: call the model inside the `with` block first.")
        if len(found) > 1:
            raise ValueError(f"Layer {name!r} ran {len(found)} times in one forward pass, so it has as many outputs: "
                             f"take acts.calls[{name!r}][i], or capture the block around it.")  # fmt: skip
        if not isinstance(found[0], Tensor):
            raise ValueError(f"Layer {name!r} returns a {type(found[0]).__name__}, not a tensor: capture a part of it.")
        return found[0]

    def maps(self, layer: str | nn.Module) -> Tensor:
        """Its output as maps `(N,K,h,w)`, also from channels-last ones (Swin) and square grids of tokens (ViT)."""
        return maps_of(self[layer], self.size, layer)

    def __contains__(self, layer) -> bool:
        return isinstance(layer, str) and layer in self.calls

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.names if name in self.calls)

    def __len__(self) -> int:
        return len(self.calls)


@contextmanager
def capture(model: nn.Module, *layers: str | nn.Module, leaf: bool = False) -> Iterator[Activations]:
    """Record what the named layers (none: all leaves) put out while the model runs in the block; lesson 00.
    Recorded is the layer's own output, in the graph; the net goes on with a clone, so that an in-place ReLU cannot
    rewrite it. `leaf` cuts the graph there: a gradient then costs nothing before the layer. The hooks always go.

    >>> with vh.capture(net, "features.0") as acts: logits = net(x)
    >>> acts["features.0"].shape
    torch.Size([1, 64, 111, 111])
    """
    wanted = dict(resolve_layer(model, layer) for layer in layers) or {
        name: module for name, module in model.named_modules() if name and next(module.children(), None) is None}
    acts = Activations(model, list(wanted))

    def record(name, module, args, output):
        tensor = isinstance(output, Tensor)
        output = output.detach().requires_grad_(True) if leaf and tensor else output
        acts.calls.setdefault(name, []).append(output)
        return output.clone() if tensor else None

    def begin(module, args):
        acts.calls.clear()
        acts.size = args[0].shape[2:] if args and isinstance(args[0], Tensor) else None

    with ExitStack() as stack:  # a pass begins where the model is called
        stack.enter_context(model.register_forward_pre_hook(begin, prepend=True))
        for name, module in wanted.items():
            stack.enter_context(module.register_forward_hook(partial(record, name)))
        yield acts


def maps_of(out: Tensor, size: tuple[int, int] | None, layer: str | nn.Module = "?") -> Tensor:
    """A layer's output as maps `(N,K,h,w)`, or a sentence; `size` of the picture tells where the channels are."""
    if out.dim() == 4:
        last = size and len(size) == 2 and not _fits(out.shape[2:], size) and _fits(out.shape[1:3], size)
        return out.permute(0, 3, 1, 2) if last else out
    if out.dim() == 3:
        for special in (1, 0, 2, 5):  # class token; none; class and distillation; class and registers
            side = round(max(out.shape[1] - special, 0) ** 0.5)
            if side > 1 and side * side == out.shape[1] - special:
                return out[:, special:].transpose(1, 2).unflatten(2, (side, side))
    raise ValueError(f"Layer {layer!r} gives {tuple(out.shape)}, not maps (N,K,h,w): choose an earlier.")


def _fits(sides, size) -> bool:
    """Whether sides are those of a picture made smaller, to rounding: near its shape."""
    (h, w), (height, width) = sides, size
    return abs(h * width - w * height) <= height + width and h <= height and w <= width


class _Enough(Exception):
    """All that was asked for has been computed."""


def outputs_until(model: nn.Module, x: Tensor, *layers: str | nn.Module) -> dict[str, Tensor]:
    """The first output of each named layer, in a pass that ends as soon as the last of them has run.
    For loops on a net that `capture` has been used on before: only a complete pass shows that a layer runs once."""
    names, found = {resolve_layer(model, layer)[0] for layer in layers}, {}

    def note(name, output):
        found.setdefault(name, output)
        if len(found) == len(names):
            raise _Enough
        return output.clone() if isinstance(output, Tensor) else output

    with suppress(_Enough), replacing(model, {name: partial(note, name) for name in names}):
        model(x)
    return found


@contextmanager
def replacing(model: nn.Module, changes: Mapping[str, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Let the net go on with `change(output)` in place of the output of each named layer, inside the block."""
    with ExitStack() as stack:
        for name, change in changes.items():
            layer = resolve_layer(model, name)[1]
            stack.enter_context(layer.register_forward_hook(lambda *call, change=change: change(call[2])))
        yield


@contextmanager
def inputs_to(model: nn.Module, layer: str | nn.Module) -> Iterator[list[Tensor]]:
    """Collect what goes into a layer while the model runs in the block: one tensor for each call of it."""
    found, layer = [], resolve_layer(model, layer)[1]
    with layer.register_forward_pre_hook(lambda _, args: found.append(args[0].clone())):  # it might work in place
        yield found


def _own_input(model: nn.Module, args: tuple) -> tuple:
    """A copy, for nets that work in place on their input; in half precision where the net computes so."""
    if not args or not isinstance(args[0], Tensor):
        return args  # given by name, or in a container
    x, like = args[0], next(model.parameters(), args[0])
    kind = like.dtype if like.dtype in (torch.float16, torch.bfloat16) else x.dtype
    last = like.dim() == x.dim() == 4 and like.is_contiguous(memory_format=torch.channels_last)  # else copied once more
    return x.to(kind, copy=True, memory_format=torch.channels_last if last else torch.preserve_format), *args[1:]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Switch a model to eval mode in the block and give every submodule its own mode back after it. Lesson 00."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        if any(mode for _, mode in modes):
            model.eval()
        needless = _own_input in model._forward_pre_hooks.values() or isinstance(model, torch.jit.ScriptModule)
        with nullcontext() if needless else model.register_forward_pre_hook(_own_input):
            yield model
    finally:
        for module, mode in modes:
            if module.training != mode:
                module.training = mode


@contextmanager
def with_gradients() -> Iterator[None]:
    """Make gradients available in the block, whatever `no_grad` or `inference_mode` stands around it."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
