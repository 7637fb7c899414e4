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


@contextmanager
def untouched(*given):
    """Inputs keep their values; nets keep their modules, hooks and modes, and their parameters have no `.grad`."""
    tensors = [torch.as_tensor(g) for g in given if isinstance(g, Tensor | np.ndarray)]
    kept = [(t.detach().clone(), t.requires_grad) for t in tensors]
    models = [g for g in given if isinstance(g, nn.Module)]
    before = [([*model.modules()], hooks(model), [m.training for m in model.modules()]) for model in models]
    yield
    for t, (values, leaf) in zip(tensors, kept, strict=True):
        assert torch.equal(t, values), "your function changed its input: work on a copy, such as x.clone()."
        assert t.requires_grad == leaf, "the input requires a gradient now, and .grad adds up: use a fresh leaf."
    for model, (modules, number, modes) in zip(models, before, strict=True):
        assert [*model.modules()] == modules, "the model has other modules now: put the old ones back."
        assert hooks(model) == number, "a hook is left in the model: remove it when the model has run, in `finally:`."
        now = [m.training for m in modules]
        assert now == modes, "the model's mode (train or eval) has changed: give it back, as vh.evaluating(model) does."
        clean = all(p.grad is None for p in model.parameters())
        assert clean, "the model's parameters have a .grad now, because of backward(): use torch.autograd.grad."


def run(answer, *given):
    """What the answer returns; it must return something and leave what it is given as it was."""
    with untouched(*given):
        got = answer(*given)
    assert got is not None, "your function returns nothing: end it with `return`."
    return got


def several(got, *names: str):
    """The parts of an answer that has more than one."""
    number = {2: "two", 3: "three"}[len(names)]
    assert isinstance(got, tuple | list) and len(got) == len(names), f"return {number} things, ({', '.join(names)})."
    return got


def compare(got, want, slips=None, hint: str = "", tol: float = 1e-4) -> None:
    """`got` must be `want` to `tol` of its largest value, else the sentence of the slip that it equals is said."""
    try:
        got = torch.as_tensor(got).detach().float().cpu()
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
