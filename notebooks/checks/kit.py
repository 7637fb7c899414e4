"""What the checks share: noise, small frozen nets, a guard of what is given, and a comparison that knows the slips."""
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def net(*layers, seed: int = 0) -> nn.Sequential:
    """A `Sequential` of these layers (or of one OrderedDict): frozen, in eval mode, the same every time."""
    model = nn.Sequential(*layers)
    for number, p in enumerate(model.parameters()):
        p.data = noise(*p.shape, seed=seed + number) / p[0].numel() ** 0.5
    return model.eval().requires_grad_(False)


def hooks(model: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(m, kind)) for m in model.modules() for kind in kinds)


def plain(thing):
    """A copy of anything given, tensors as bytes, that `==` compares."""
    if isinstance(thing, Tensor | np.ndarray):
        array = thing.detach().cpu().numpy() if isinstance(thing, Tensor) else thing
        return array.dtype, array.shape, array.tobytes()
    if isinstance(thing, dict | list | tuple):
        return [*map(plain, thing.items() if isinstance(thing, dict) else thing)]
    return thing


def watched(thing, number: int):
    """(what to say, a look at what must stay) of one thing that an answer is given."""
    if isinstance(thing, nn.Module):
        modules, use = [*thing.modules()], "because of backward(): use torch.autograd.grad"
        yield "the model has other modules now: put the old ones back", lambda: [*thing.modules()]
        yield "a hook is left in the model: remove it when the model has run, in `finally:`", lambda: hooks(thing)
        yield "the model's mode (train or eval) has changed: give it back", lambda: [m.training for m in modules]
        yield f"the model's parameters have a .grad now, {use}", lambda: [plain(p.grad) for p in thing.parameters()]
        yield "a parameter's requires_grad has changed: undo it", lambda: [p.requires_grad for p in thing.parameters()]
        yield ("the weights were not given back as they were: keep p.clone(), not a second name for the same memory",
               lambda: plain(thing.state_dict()))  # fmt: skip
        for m in modules:
            for name in {"forward", *(name for name in vars(m) if name[0] != "_" and name != "training")}:
                yield f"a layer's `{name}` has changed: put it back", lambda m=m, n=name: plain(getattr(m, n, None))
    elif isinstance(thing, Tensor | np.ndarray | dict | list):
        copy = "work on a copy, such as x.clone()" if isinstance(thing, Tensor) else "work on a copy, such as x.copy()"
        yield f"your function changed its input (number {number}): {copy}", lambda: plain(thing)
        parts = thing.values() if isinstance(thing, dict) else [thing] if isinstance(thing, Tensor) else thing
        for t in (part for part in parts if isinstance(part, Tensor)):
            yield "the input requires a gradient now, and .grad adds up: use a fresh leaf", lambda t=t: t.requires_grad
            yield "the input has a .grad now: use a fresh leaf, or torch.autograd.grad", lambda t=t: plain(t.grad)


@contextmanager
def untouched(*given):
    """What is given stays: inputs and their gradients; a net's modules, hooks, modes, flags, values, gradients."""
    before = [(sentence, look, look()) for n, g in enumerate(given, 1) for sentence, look in watched(g, n)]
    yield
    for sentence, look, value in before:
        assert look() == value, f"{sentence}."


@contextmanager
def calls(model: nn.Module):
    """The runs of the model in the block: a list of (input, output), which must be what it puts out without hooks."""
    seen = []
    handle = model.register_forward_hook(lambda m, x, out: seen.append((x[0].detach().clone(), out.detach().clone())))
    try:
        yield seen
    finally:
        handle.remove()
    same = all(torch.allclose(model(x), out, atol=1e-5) for x, out in seen)
    assert same, "with your hook the net answers differently: it may only look."


def run(answer, *given):
    """What the answer returns; it must return something and leave what it is given as it was."""
    with untouched(*given):
        got = answer(*given)
    assert got is not None, "your function returns nothing: end it with `return`."
    return got


def error_of(answer, *given):
    """The error that it ends in, else None."""
    try:
        answer(*given)
    except Exception as error:
        return error


def several(got, *names: str):
    """The parts of an answer that has more than one."""
    number = {2: "two", 3: "three"}[len(names)]
    parts = isinstance(got, tuple | list) or getattr(got, "ndim", 0)  # an array's rows will do
    assert parts and len(got) == len(names), f"return {number} things, ({', '.join(names)})."
    return got


def compare(got, want, slips=None, hint: str = "", tol: float = 1e-4) -> None:
    """`got` must be `want` to `tol` of its largest value, else the sentence of the slip that it equals is said."""
    try:
        got = torch.stack([*got]) if isinstance(got, list | tuple) and got and isinstance(got[0], Tensor) else got
        got = torch.as_tensor(got.copy() if isinstance(got, np.ndarray) else got).detach().float().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise AssertionError(f"return numbers, not a {type(got).__name__}.") from None
    assert not got.isnan().any(), "there is a NaN, as from 0 / 0: where do you divide by what can be 0?"

    def near(other) -> bool:
        other = torch.as_tensor(other).detach().float()
        return other.shape == got.shape and bool((got - other).abs().max() <= tol * other.abs().max())

    if near(want):
        return
    for sentence, wrong in (slips or {}).items():
        assert not near(wrong), f"{sentence}."
    want = torch.as_tensor(want).detach().float()
    right, mine = (", ".join(f"{v:.4g}" for v in t.flatten().tolist()) for t in (want, got))
    if got.shape != want.shape:
        reason = f"the result should have the shape {tuple(want.shape)}, not {tuple(got.shape)}"
    elif got.numel() <= 8:
        reason = f"the result should be {right}, not {mine}"
    else:
        reason = f"the numbers differ from the right ones by up to {float((got - want).abs().max()):.3g}"
    raise AssertionError(f"{reason}: {hint}." if hint else f"{reason}.")


def judge(answer, want, slips, *given, hint: str = "", tol: float = 1e-4) -> None:
    """Run the answer on what is given, and compare."""
    compare(run(answer, *given), want, slips, hint, tol)
