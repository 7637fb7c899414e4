"""The exercise checks: every right answer passes, every typical wrong one is refused with a sentence that names it."""
import math
import re
import warnings
from contextlib import nullcontext
from importlib import import_module
from itertools import groupby
from pkgutil import iter_modules

import checks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from checks import kit
from torch import nn

import vizhelpers as vh

RIGHT: dict = {}  # check -> answers that pass
WRONG: dict = {}  # check -> (answer, words of its sentence)


def test_try_check_says_how_it_went(capsys):
    def todo():
        raise NotImplementedError

    checks.try_check(lambda f: f(), todo)
    assert capsys.readouterr().out.startswith("Not solved yet: replace `raise NotImplementedError`")
    checks.try_check(lambda f: f(), lambda: 1 / 0)
    assert "your code stopped with ZeroDivisionError: division by zero" in capsys.readouterr().out
    checks.try_check(lambda a, b: None, 1, 2)
    assert capsys.readouterr().out == "Correct.\n"


def test_a_check_leaves_the_random_numbers_of_the_lesson_alone(capsys):
    before = torch.get_rng_state()
    checks.try_check(checks.check_smoothgrad, smooth)
    assert capsys.readouterr().out == "Correct.\n" and torch.equal(torch.get_rng_state(), before)


def test_an_unknown_check_is_an_attribute_error():
    with pytest.raises(AttributeError, match="check_nonsense"):
        checks.check_nonsense  # noqa: B018


def test_the_kit_names_what_is_no_number():
    for answer, words in ((lambda: "koala", "return numbers, not a str"), (lambda: None, "returns nothing"),
                          (lambda: [1.0, math.nan], "NaN"), (lambda: [1.0], r"shape \(2,\), not \(1,\)")):  # fmt: skip
        with pytest.raises(AssertionError, match=words):
            kit.judge(answer, [1.0, 2.0], {})
    for right in (np.array([1, 2]), np.array([2, 1])[::-1], [torch.tensor(1.0), torch.tensor(2)], [np.float32(1), 2]):
        kit.judge(lambda right=right: right, [1.0, 2.0], {"never said": [1.0, 2.0]})


GIVEN = {  # what an answer can be given
    "x": lambda: torch.ones(2), "leaf": lambda: torch.ones(2, requires_grad=True), "array": lambda: np.ones(2),
    "tensors": lambda: [torch.ones(2), torch.ones(2)], "named": lambda: {"a": torch.ones(2)},
    "arrays": lambda: [np.ones(2)], "rows": lambda: [("cat", "dog")], "categories": lambda: {"dog": (1, 2), "cat": ()},
    "model": lambda: kit.net(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.ReLU(True), nn.Dropout(0.2)),
    "trainable": lambda: nn.Linear(2, 2),
}  # fmt: skip


@pytest.mark.parametrize("kind, change, words", [
    ("x", lambda x: x.add_(1), "changed its input"),
    ("x", lambda x: x.requires_grad_(), "requires a gradient now"),
    ("leaf", lambda x: x.requires_grad_(False), "requires a gradient now"),
    ("leaf", lambda x: x.sum().backward(), "input has a .grad now"),
    ("array", lambda x: x.fill(3), "changed its input"),
    ("tensors", lambda x: x[1].add_(1), "changed its input"),
    ("tensors", lambda x: x[1].requires_grad_(), "requires a gradient now"),
    ("tensors", lambda x: x.pop(), "changed its input"),
    ("named", lambda x: x["a"].add_(1), "changed its input"),
    ("named", lambda x: x["a"].requires_grad_().sum().backward(), "requires a gradient now"),
    ("arrays", lambda x: x[0].fill(3), "changed its input"),
    ("rows", lambda x: x.append(("car", "car")), "changed its input"),
    ("categories", lambda x: x.clear(), "changed its input"),
    ("categories", lambda x: x.update(dog=(1,)), "changed its input"),
    ("model", lambda m: m.train(), "mode"),
    ("model", lambda m: m[3].train(), "mode"),
    ("model", lambda m: m[0].register_forward_hook(print), "a hook is left"),
    ("model", lambda m: m[0].register_full_backward_hook(print), "a hook is left"),
    ("model", lambda m: m[0].requires_grad_(), "requires_grad has changed"),
    ("model", lambda m: m[0].bias.add_(1), "weights were not given back"),
    ("model", lambda m: m[1].running_mean.add_(1), "weights were not given back"),
    ("model", lambda m: setattr(m[2], "inplace", False), "`inplace` has changed"),
    ("model", lambda m: setattr(m[3], "p", 0), "`p` has changed"),
    ("model", lambda m: setattr(m[2], "forward", torch.relu), "`forward` has changed"),
    ("model", lambda m: m.__setitem__(2, nn.ReLU()), "other modules"),
    ("trainable", lambda m: m(torch.ones(2)).sum().backward(), "parameters have a .grad"),
    ("trainable", lambda m: m.requires_grad_(False), "requires_grad has changed"),
])  # fmt: skip
def test_what_an_answer_is_given_must_stay(kind, change, words):
    with pytest.raises(AssertionError, match=words), torch.no_grad() if kind == "model" else nullcontext():
        kit.run(lambda first, given: (change(given), 1), 0, GIVEN[kind]())
    kit.run(lambda first, given: (given, 1), 0, GIVEN[kind]())


def test_a_layer_may_keep_something_that_a_hook_put_there():
    kit.run(lambda model: setattr(model[0], "kept", torch.ones(1)) or 1, GIVEN["model"]())


def test_calls_counts_the_runs_and_sees_a_hook_that_changes_the_output():
    model = GIVEN["model"]()
    with kit.calls(model) as runs:
        model(torch.ones(2, 1, 3, 3)), model(torch.ones(1, 1, 3, 3))
    assert [len(x) for x, _ in runs] == [2, 1] and not kit.hooks(model)
    with pytest.raises(AssertionError, match="it may only look"), kit.calls(model):
        with model[1].register_forward_hook(lambda layer, inputs, output: output + 1):
            model(torch.ones(1, 1, 3, 3))


# ---- 00_start_here --------------------------------------------------------------------------------------------------
def normalise(pixels, mean, std):
    values = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    return ((values - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None])[None]


def normalise_torchvision(pixels, mean, std):
    from torchvision.transforms import functional

    return functional.normalize(functional.to_tensor(pixels), mean, std)[None]


def normalise_in_place(pixels, mean, std):
    x = normalise(pixels, mean, std)
    pixels //= 2
    return x


RIGHT["normalise"] = [
    normalise,
    lambda p, m, s: torch.tensor((p / 255 - m) / s, dtype=torch.float32).permute(2, 0, 1).unsqueeze(0),
    normalise_torchvision,
]
WRONG["normalise"] = [
    (lambda p, m, s: (p / 255 - m) / s, "not a ndarray"),
    (lambda p, m, s: normalise(p, m, s)[0], "batch axis is missing"),
    (lambda p, m, s: normalise(p, m, s).permute(0, 2, 3, 1), "permute first"),
    (lambda p, m, s: normalise(p, m, s).transpose(2, 3), "permute first"),
    (lambda p, m, s: normalise(p, m, s).double(), "float32"),
    (lambda p, m, s: normalise(255 * p.astype(float), m, s).float(), "division by 255 is missing"),
    (lambda p, m, s: normalise(p / 255, m, s).float(), "divided by 255 twice"),
    (lambda p, m, s: normalise(p[..., ::-1].copy(), m[::-1], s[::-1]), "reversed"),
    (lambda p, m, s: normalise(p, m, (1.0, 1.0, 1.0)), "nothing divided by std"),
    (lambda p, m, s: normalise(p, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), "nothing was subtracted"),
    (lambda p, m, s: normalise(p, np.divide(m, s).tolist(), (1.0, 1.0, 1.0)) + 1, "numbers differ"),
    (lambda p, m, s: normalise(p.reshape(3, 4, 6).transpose(1, 2, 0).copy(), m, s), "reshape deals"),
    (lambda p, m, s: normalise(p, (0.0, 0.0, 0.0), s) - torch.tensor(m)[:, None, None], "first subtract"),
    (normalise_in_place, "changed its input"),
]


def with_capture(model, x, names):
    with vh.capture(model, *names) as acts:
        model(x)
    return {name: acts[name].shape for name in names}


def with_hooks(model, x, names, remove=True, of=lambda inputs, output: tuple(output.shape)):
    found, handles = {}, []
    for name in names:
        def keep(module, inputs, output, name=name):
            found[name] = of(inputs, output)

        handles.append(model.get_submodule(name).register_forward_hook(keep))
    model(x)
    for handle in handles if remove else []:
        handle.remove()
    return found


def once_per_name(model, x, names):
    return {name: with_capture(model, x, [name])[name] for name in names}


RIGHT["layer_shapes"] = [with_capture, with_hooks]
WRONG["layer_shapes"] = [
    (lambda m, x, n: list(with_capture(m, x, n).values()), "dictionary"),
    (lambda m, x, n: with_capture(m, x, n[:2]), "names should be"),
    (lambda m, x, n: with_hooks(m, x, n, remove=False), "hook is left"),
    (lambda m, x, n: with_hooks(m, x, n, of=lambda i, o: tuple(o.shape[1:])), "lacks the first axis"),
    (lambda m, x, n: with_hooks(m, x, n, of=lambda i, o: tuple(i[0].shape)), "is it the layer's output"),
    (lambda m, x, n: with_hooks(m, x, n, of=lambda i, o: o), "not the tensor"),
    (once_per_name, "ran the model 3 times"),
    (lambda m, x, n: with_capture(m.eval(), x, n), "mode .* has changed"),
    (lambda m, x, n: with_capture(m.train(), x, n), "mode .* has changed"),
    (lambda m, x, n: [with_capture(m, x, n), n.clear()][0], r"changed its input \(number 3\)"),
]


def share(model, x, name, measure=lambda a: (a < 0).float().mean(), clone=True, tidy=True):
    kept = []

    def keep(module, inputs, output):
        kept.append(output.clone() if clone else output)

    handle = model.get_submodule(name).register_forward_hook(keep)
    try:
        model(x)
    except RuntimeError:
        if tidy:
            handle.remove()
        raise
    handle.remove()
    return measure(kept[0])


def share_by_capture(model, x, name):
    with vh.capture(model, name) as acts:
        model(x)
    return (acts[name] < 0).float().mean().item()


def share_forgotten(model, x, name):
    model.get_submodule(name).register_forward_hook(lambda *a: None)
    return share(model, x, name)


def share_hiding(model, x, name):
    try:
        return share(model, x, name)
    except RuntimeError:
        return 0.0


def share_returning(model, x, name, change=torch.relu):
    kept = []

    def keep(layer, inputs, output):
        kept.append((output < 0).float().mean())
        return change(output)

    handle = model.get_submodule(name).register_forward_hook(keep)
    try:
        model(x)
    finally:
        handle.remove()
    return kept[0]


RIGHT["share_cut"] = [
    share, share_by_capture, lambda m, x, n: share_returning(m, x, n, torch.clone),
]  # fmt: skip
WRONG["share_cut"] = [
    (lambda m, x, n: share(m, x, n, clone=False), "in-place ReLU behind the layer has rewritten"),
    (lambda m, x, n: share(m, x, n, tidy=False), "when the model raises an error"),
    (share_forgotten, "hook is left"),
    (lambda m, x, n: None, "returns nothing"),
    (lambda m, x, n: 100 * share(m, x, n), "in percent"),
    (lambda m, x, n: 1 - share(m, x, n), "not negative"),
    (lambda m, x, n: share(m, x, n, lambda a: (a < 0).sum()), "divide by how many"),
    (lambda m, x, n: share(m, x, n, lambda a: (a <= 0).float().mean()), "count what is < 0"),
    (lambda m, x, n: share(m, x, n, lambda a: (a[0] < 0).float().mean()), "of all values"),
    (share_hiding, "must come through: `finally:`, not `except:`"),
    (share_returning, "the net answers differently: it may only look"),
    (lambda m, x, n: share_returning(m, x, n, torch.relu_), "the net answers differently: it may only look"),
]


class Saved:
    """The solution; the subclasses below each spoil it in one way."""

    def __init__(self, layer: nn.Module):
        self.handle = layer.register_forward_hook(self.keep)

    def keep(self, layer, inputs, output):
        self.output = output
        return output.clone()

    def close(self):
        self.handle.remove()


def spoilt(keep=None, close=None):
    return type("Spoilt", (Saved,), {k: v for k, v in {"keep": keep, "close": close}.items() if v})


def detached(self, layer, inputs, output):
    self.output = output.detach().clone().requires_grad_()


def side_road(self, layer, inputs, output):
    self.output = output.clone()


def naive(self, layer, inputs, output):
    self.output = output


def meddling(self, layer, inputs, output):
    self.output = output
    return output.relu() + 1


def doubled(self, layer, inputs, output):
    self.output = output + output - output.detach()
    return self.output.clone()


def nothing(self, layer, inputs, output):
    self.features = output
    return output.clone()


class SavedByFunction:
    def __init__(self, layer):
        self.handles = [layer.register_forward_hook(lambda *a: self.__dict__.update(output=a[2]) or a[2].clone())]

    def close(self):
        for handle in self.handles:
            handle.remove()


RIGHT["saved"] = [Saved, SavedByFunction]
WRONG["saved"] = [
    (spoilt(detached), r"\(2\) no gradient reaches"),
    (spoilt(side_road), r"\(3\) the logits do not depend"),
    (spoilt(naive), r"\(1\) .output has no negative"),
    (spoilt(meddling), "answers differently"),
    (spoilt(doubled), r"\(2\) there is a gradient, but not the right one"),
    (spoilt(nothing), "should be the layer's output"),
    (spoilt(close=lambda self: None), "close\\(\\) should remove"),
]


# ---- 01_first_layer_filters -----------------------------------------------------------------------------------------
def to_rgb(w, least=1e-12):
    return (0.5 + w / (2 * w.abs().max().clamp(min=least))).permute(1, 2, 0)


def to_rgb_in_place(w):
    w /= w.abs().max()
    return to_rgb(w)


RIGHT["filter_to_rgb"] = [to_rgb, lambda w: to_rgb(w).numpy().astype(np.float64)]
WRONG["filter_to_rgb"] = [
    (lambda w: None, "returns nothing"),
    (lambda w: to_rgb(w).permute(2, 0, 1), r"permute\(1, 2, 0\)"),
    (lambda w: to_rgb(w)[..., :1], "not \\(2, 2, 1\\)"),
    (lambda w: to_rgb(w).permute(2, 0, 1).reshape(2, 2, 3), "reshape deals"),
    (lambda w: (w / w.abs().max()).clamp(0, 1).permute(1, 2, 0), "cut off at 0"),
    (lambda w: ((w - w.min()) / (w.max() - w.min())).permute(1, 2, 0), "from min to max"),
    (lambda w: (0.5 + w / (2 * w.max())).permute(1, 2, 0), "largest magnitude, not by the largest weight"),
    (lambda w: (0.5 + w / (2 * w.abs().amax((1, 2), keepdim=True))).permute(1, 2, 0), "scale of its own"),
    (lambda w: (w / w.abs().max()).permute(1, 2, 0), "lie in 0..1"),
    (lambda w: (0.5 + w / (4 * w.abs().max())).permute(1, 2, 0), "numbers differ"),
    (lambda w: (0.5 + w / (2 * w.abs().max())).permute(1, 2, 0), "NaN"),
    (to_rgb_in_place, "changed its input"),
    (lambda w: to_rgb(w, least=1e-2), r"clamp\(min=0.01\) makes a weak filter too grey"),
    (lambda w: to_rgb(w, least=1e-3), r"clamp\(min=0.001\) makes a weak filter too grey"),
    (lambda w: (0.5 + w / (2 * w.abs().max() + 1e-2)).permute(1, 2, 0), "what keeps that from 0 must be tiny"),
]


def ring(m, low, high, *, power=2, middle=None, unit=None, part=True, top=torch.lt, bottom=torch.ge):
    size = len(m)
    along = torch.arange(size) - (size // 2 if middle is None else middle)
    radius = torch.hypot(along[:, None].float(), along[None, :].float()) / (unit or size)
    energy = m**power
    return energy[bottom(radius, low) & top(radius, high)].sum() / (energy.sum() if part else 1)


def ring_by_frequencies(m, low, high):
    along = np.fft.fftshift(np.fft.fftfreq(len(m)))
    inside = (np.sqrt(along**2 + along[:, None] ** 2) >= low) & (np.sqrt(along**2 + along[:, None] ** 2) < high)
    return (m.numpy()[inside] ** 2).sum() / (m.numpy() ** 2).sum()


RIGHT["ring_share"] = [ring, lambda m, low, high: float(ring(m.double(), low, high)), ring_by_frequencies]
WRONG["ring_share"] = [
    (lambda m, a, b: ring(m, a, b, power=1), "magnitude squared"),
    (lambda m, a, b: ring(m, a, b, middle=0), "in the middle"),
    (lambda m, a, b: ring(m, a, b, unit=1), "cycles per pixel"),
    (lambda m, a, b: ring(m, a, b, part=False), "divide by the energy"),
    (lambda m, a, b: ring(m, a, b) * 0.9, "should be .* share of the energy"),
    (lambda m, a, b: ring(m.div_(2), a, b), "changed its input"),
    (lambda m, a, b: ring(m, a, b, top=torch.le), "low <= radius < high"),
    (lambda m, a, b: ring(m, a, b, bottom=torch.gt), "low <= radius < high"),
]
RIGHT["aliased_frequency"] = [
    lambda f, s: f - round(f * s) / s,
    lambda f, s: ((f * s + 0.5) % 1 - 0.5) / s,
    lambda f, s: torch.tensor(f - round(f * s) / s, dtype=torch.float64),
]
WRONG["aliased_frequency"] = [
    (lambda f, s: f, "cannot stay"),
    (lambda f, s: f % (1 / s), "is slower"),
    (lambda f, s: abs(f - round(f * s) / s), "which way it moves"),
    (lambda f, s: f * s - round(f * s), "cycles per unit"),
    (lambda f, s: f / s, "whole multiples"),
    (lambda f, s: 0.0, "whole multiples"),
]


# ---- 02_inside_the_layers -------------------------------------------------------------------------------------------
def response(model, x, layer, clone=True, of=lambda out: out.relu().mean((2, 3)), change=lambda out: out):
    kept = []

    def keep(module, args, out):
        out = change(out)
        kept.append(out.clone() if clone else out)

    handle = layer.register_forward_hook(keep)
    model(x)
    handle.remove()
    return of(kept[0])


def field(chain, jump_first=False):
    size, jump, start = 1, 1, 0
    for kernel, stride, padding, dilation in chain:
        jump = jump * stride if jump_first else jump
        size, start = size + (kernel - 1) * dilation * jump, start - padding * jump
        jump = jump if jump_first else jump * stride
    return size, jump, start


def separator(responses, member, half=0.5):
    a, b = responses[member][:, None], responses[~member][None]
    auc = ((a > b).float() + half * (a == b).float()).mean((0, 1))
    return int(auc.argmax()), float(auc.max())


def by_means(responses, member):
    best = int((responses[member].mean(0) - responses[~member].mean(0)).argmax())
    return best, separator(responses[:, [best]], member)[1]


RIGHT["channel_response"] = [
    response,
    lambda *a: response(*a, clone=False),  # the in-place ReLU behind the layer does what the exercise asks for
    lambda m, x, layer: vh.channel_response(m, x, layer),
]
WRONG["channel_response"] = [
    (lambda *a: response(*a, of=lambda out: out.mean((2, 3))), "signed output"),
    (lambda *a: response(*a, of=lambda out: out.mean((2, 3)).relu()), "before the ReLU"),
    (lambda *a: response(*a, of=lambda out: out.relu().amax((2, 3))), "maximum"),
    (lambda *a: response(*a, of=lambda out: out.relu()), "shape"),
    (lambda m, x, layer: response(m, x, layer) + 1, "positive output of the layer"),
    (lambda *a: response(*a, clone=False, of=lambda out: out.mean((2, 3))), "signed output"),
    (lambda *a: response(*a, of=lambda out: out.abs().mean((2, 3))), "these are magnitudes"),
    (lambda *a: response(*a, change=lambda out: out.relu_()), "the net answers differently: it may only look"),
    (lambda m, x, layer: response(m.eval(), x, layer), "mode .* has changed"),
    (lambda m, x, layer: response(m.train(), x, layer), "mode .* has changed"),
]
def field_backwards(chain):
    """From the last layer's unit 0: its first and last pixel."""
    first = last = 0
    for kernel, stride, padding, dilation in reversed(chain):
        first, last = first * stride - padding, last * stride - padding + (kernel - 1) * dilation
    return np.array([last - first + 1, math.prod(layer[1] for layer in chain), first])


RIGHT["receptive_field"] = [field, field_backwards]
WRONG["receptive_field"] = [
    (lambda chain: field(chain)[:2], "three things"),
    (lambda chain: field(chain, jump_first=True), "from before this layer"),
    (lambda chain: (field(chain)[0], 1, field(chain)[2]), "product of all strides"),
    (lambda chain: (*field(chain)[:2], 0), "start goes down"),
    (lambda chain: field([(k, s, p, 1) for k, s, p, d in chain]), r"\(kernel - 1\) \* dilation"),
    (lambda chain: field([chain.pop(0) for _ in [*chain]]), "changed its input"),
]
RIGHT["top_pictures"] = [
    lambda v, c, n: v[:, c].argsort(descending=True)[:n].tolist(),
    lambda v, c, n: np.argsort(-v[:, c].numpy())[:n],
    lambda v, c, n: v.topk(min(n, len(v)), dim=0).indices[:, c],
]
WRONG["top_pictures"] = [
    (lambda v, c, n: v[:, c].argsort(descending=True)[:n].flip(0), "reversed"),
    (lambda v, c, n: v[:, c].argsort()[:n], "weakest"),
    (lambda v, c, n: v[:, c].topk(min(n, 5)).values, "numbers of the pictures"),
    (lambda v, c, n: v[:, c].argsort(descending=True)[: n - 1], "shape"),
    (lambda v, c, n: v[:, 1 - c].argsort(descending=True)[:n], "of channel 0"),
    (lambda v, c, n: v[:, c].abs().argsort(descending=True)[:n], "by magnitude"),
    (lambda v, c, n: v[:, c].clamp_(min=-4).argsort(descending=True)[:n], "changed its input"),
]
def separator_by_ranks(responses, member):
    from scipy.stats import rankdata

    ranks, inside = rankdata(responses.numpy(), axis=0)[member.numpy()], int(member.sum())
    auc = (ranks.sum(0) - inside * (inside + 1) / 2) / inside / (len(member) - inside)
    return auc.argmax(), auc.max()


RIGHT["separating_channel"] = [separator, separator_by_ranks]
WRONG["separating_channel"] = [
    (lambda r, m: separator(r, m)[0], "two things"),
    (by_means, "difference of means"),
    (lambda r, m: (separator(r, m)[0], separator(r, m, half=0)[1]), "a tie counts one half"),
    (lambda r, m: (separator(-r, m)[0], separator(r, m)[1]), "lowest AUC"),
    (lambda r, m: (separator(r, m)[0], 1 - separator(r, m)[1]), "the other way round"),
    (lambda r, m: separator(r.neg_(), m), "changed its input"),
]


# ---- 03_tsne_of_fc7 -------------------------------------------------------------------------------------------------
def my_features(model, x, *, pick=-1, out=False, evaluate=True, leave=False, end=True):
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    kept = []
    if out:
        handle = layers[pick].register_forward_hook(lambda module, args, result: kept.append(result))
    else:
        handle = layers[pick].register_forward_pre_hook(lambda module, args: kept.append(args[0]))
    was = model.training
    if evaluate:
        model.eval()
    model(x)
    if end:
        model.train(was)
    if not leave:
        handle.remove()
    return kept[0]


def nearest(f, i, k, *, unit=True, skip="number", largest=True):
    u = F.normalize(f) if unit else f
    cosine = u @ u[i]
    if skip == "number":
        cosine[i] = -float("inf") if largest else float("inf")
    order = cosine.argsort(descending=largest)
    return order[1 : k + 1] if skip == "first" else order[:k]


def trust(f, points, k, *, minus=True, swap=False, scale=True, one=True, first=1, least=1, most=0, unit=lambda a: a):
    n = len(f)
    high, low = (torch.cdist(a, a).fill_diagonal_(-1).argsort(1).argsort(1) for a in (unit(f), points))
    high, low = (low, high) if swap else (high, low)
    near = (low >= least) & (low <= k + most)
    ranks = high[near] - 1 + first
    penalty = float((ranks - k).clamp(min=0).sum() if minus else ranks.sum())
    penalty *= 2 / (n * k * (2 * n - 3 * k - 1)) if scale else 1
    return 1 - penalty if one else penalty


RIGHT["penultimate"] = [my_features, lambda m, x: vh.features(m, x)]
WRONG["penultimate"] = [
    (lambda m, x: my_features(m, x, out=True), "class scores"),
    (lambda m, x: my_features(m, x, out=True, pick=0), "before the ReLU"),
    (lambda m, x: my_features(m, x, pick=0), "shape"),
    (lambda m, x: my_features(m, x, evaluate=False), "dropout is active"),
    (lambda m, x: my_features(m, x, leave=True), "hook is left"),
    (lambda m, x: my_features(m, x, end=False), "mode .* has changed"),
    (lambda m, x: my_features(m.train(), x), "mode .* has changed"),
    (lambda m, x: my_features(m.eval(), x), "mode .* has changed"),
]
RIGHT["nearest"] = [nearest, lambda *a: vh.neighbours(*a).indices, lambda *a: nearest(*a).tolist()]
WRONG["nearest"] = [
    (lambda f, i, k: nearest(f, i, k, unit=False), "scalar product"),
    (lambda f, i, k: nearest(f, i, k, skip=""), "itself"),
    (lambda f, i, k: nearest(f, i, k, largest=False), "farthest"),
    (lambda f, i, k: vh.neighbours(f, i, k, metric="euclidean").indices, "Euclidean"),
    (lambda f, i, k: nearest(f, i, k).flip(0), "another order"),
    (lambda f, i, k: nearest(f, i, k + 1), r"shape \(5,\)"),
    (lambda f, i, k: nearest(f, i, k + 1)[1:] if i == 3 else nearest(f, i, k), "second copy"),
    (lambda f, i, k: nearest(f, i, k, skip="first"), "itself is among its neighbours: leave it out by its number"),
    (lambda f, i, k: (F.normalize(f) @ F.normalize(f)[i]).topk(k + 1).indices[1:], "leave it out by its number"),
    (lambda f, i, k: nearest(f.div_(f.norm(dim=1, keepdim=True)), i, k), "changed its input"),
]
RIGHT["trustworthiness"] = [trust, lambda f, points, k: vh.trustworthiness(f, points, k, metric="euclidean")]
WRONG["trustworthiness"] = [
    (lambda *a: trust(*a, minus=False), "rank - k"),
    (lambda *a: trust(*a, swap=True), "swapped"),
    (lambda *a: trust(*a, scale=False), "not scaled"),
    (lambda *a: trust(*a, one=False), "1 minus it"),
    (lambda *a: trust(*a, first=0), "start at 1"),
    (lambda *a: trust(*a, least=0, most=-1), "leave out the row itself"),
    (lambda *a: trust(*a, most=-1), "only k - 1 others count"),
    (lambda *a: trust(*a, most=1), r"k \+ 1 neighbours"),
    (lambda *a: trust(*a, unit=F.normalize), "by cosine"),
    (lambda f, p, k: trust(f.clamp_(-1, 1), p, k), "changed its input"),
]


# ---- 04_deconvnet ---------------------------------------------------------------------------------------------------
def unpool(y, switches, size):
    flat = torch.zeros(*y.shape[:2], size[0] * size[1])
    return flat.scatter_add_(2, switches.flatten(2), y.flatten(2)).view(*y.shape[:2], *size)


def overwriting(y, switches, size):
    flat = torch.zeros(*y.shape[:2], size[0] * size[1])
    return flat.scatter_(2, switches.flatten(2), y.flatten(2)).view(*y.shape[:2], *size)


def stamps(weight, y, stride, padding, size, cut=True, add=True):
    _, channels, high, wide = weight.shape
    canvas = torch.zeros(len(y), channels, size[0] + 2 * padding, size[1] + 2 * padding)
    for r in range(y.shape[2]):
        for c in range(y.shape[3]):
            stamp = torch.einsum("nk,kcij->ncij", y[:, :, r, c], weight)
            here = canvas[:, :, r * stride : r * stride + high, c * stride : c * stride + wide]
            here.copy_(here + stamp if add else stamp)
    return canvas[:, :, padding : padding + size[0], padding : padding + size[1]] if cut else canvas


def walk(chain, x, channel, relu=lambda g, a: g.relu(), unpool=vh.unpool, value=torch.relu,
         place=lambda places: places):  # fmt: skip
    steps, a = [], x
    for layer in chain:
        before, switches = a, None
        if isinstance(layer, nn.MaxPool2d):
            a, switches = F.max_pool2d(a, layer.kernel_size, layer.stride, return_indices=True)
        else:
            a = layer(a.clone())
        steps.append((layer, before, switches))
    g = torch.zeros_like(a)
    for n, at in enumerate(place(a[:, channel].flatten(1).argmax(1).tolist())):
        r, c = divmod(at, a.shape[3])
        g[n, channel, r, c] = value(a[n, channel, r, c])
    for layer, before, switches in reversed(steps):
        if switches is not None:
            g = unpool(g, switches, before.shape[-2:])
        elif isinstance(layer, nn.ReLU):
            g = relu(g, before)
        else:
            g = vh.transposed_convolution(layer, g, before.shape[-2:])
    return g


RIGHT["unpool"] = [unpool, vh.unpool]
WRONG["unpool"] = [
    (overwriting, "it is not their sum"),
    (lambda y, s, size: unpool(y, s, size).transpose(2, 3), "shape"),
    (lambda y, s, size: unpool(y, s, size).flip(3), "where its maximum was"),
    (lambda y, s, size: unpool(y.zero_(), s, size), "changed its input"),
    (lambda y, s, size: unpool(y.sum(1, keepdim=True).expand_as(y), s, size), "channel by itself"),
    (lambda y, s, size: F.interpolate(y, size), "spread over its window"),
]
RIGHT["stamps"] = [stamps, lambda w, y, s, p, size: torch.nn.grad.conv2d_input((len(y), w.shape[1], *size), w, y, s, p)]
WRONG["stamps"] = [
    (lambda w, y, s, p, size: F.conv_transpose2d(y, w, None, s, p), "last rows or columns"),
    (lambda w, y, s, p, size: stamps(w.flip(2, 3), y, s, p, size), "upside down"),
    (lambda w, y, s, p, size: stamps(w, y, s, p, size, cut=False), "shape"),
    (lambda w, y, s, p, size: stamps(w, y, s, p, size) + 0.1, "overlapping stamps add up"),
    (lambda *a: stamps(*a, cut=False)[:, :, : a[4][0], : a[4][1]], "cut the padding off at the top and left"),
    (lambda w, y, s, p, size: stamps(w, y, s, p, size, add=False), "overlapping stamps add up"),
    (lambda w, y, s, p, size: stamps(w, y.relu_(), s, p, size), "changed its input"),
]
RIGHT["deconvnet"] = [walk, lambda chain, x, k: vh.deconvnet(chain, x, str(len(chain) - 1), k)]
WRONG["deconvnet"] = [
    (lambda *a: walk(*a, relu=lambda g, a: g * (a > 0)), "that is the gradient"),
    (lambda *a: walk(*a, relu=lambda g, a: g.relu() * (a > 0)), "guided backpropagation"),
    (lambda *a: walk(*a, relu=lambda g, a: g), "is missing"),
    (lambda *a: walk(*a, unpool=overwriting), "overwrites"),
    (lambda *a: walk(*a, value=torch.ones_like), "its size is not"),
    (lambda chain, x, k: vh.deconvnet(chain, x, str(len(chain) - 1), k, unit="all"), "start with zeros"),
    (lambda chain, x, k: walk(chain, x, k)[0], "shape"),
    (lambda *a: walk(*a, value=lambda v: v), "start with the value after the ReLU"),
    (lambda *a: walk(*a, place=lambda places: places[:1] * 3), "all start at picture 0's place"),
    (lambda *a: walk(*a, place=lambda places: places[1:2] * 3), "picture 0 starts at the wrong place"),
    (lambda *a: walk(*a, place=lambda places: [0, *places[1:]]), "picture 0 starts at the wrong place"),
    (lambda chain, x, k: walk(chain, x.relu_(), k), "changed its input"),
]


# ---- 05_saliency ----------------------------------------------------------------------------------------------------
def grad(model, x, c, of=lambda scores: scores):
    leaf = x.detach().clone().requires_grad_()
    return torch.autograd.grad(of(model(leaf))[:, c].sum(), leaf)[0]


def by_backward(model, x, c, only=False):
    x = x.clone().requires_grad_()
    model(x)[:, c].sum().backward(inputs=[x] if only else None)
    return x.grad.abs().amax(1)


def by_mean_loss(model, x, c):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), torch.full((len(x),), c)), x)[0].abs().amax(1)


def in_the_caller_s_x(model, x, c):
    x.requires_grad_()
    model(x)[:, c].sum().backward()
    return x.grad.abs().amax(1)


def smooth(
    model, x, c, level, samples, *, draw=torch.randn_like, sigma=None, finish=lambda t, n: t / n, each=lambda g: g,
    walk=False, in_place=False,
):  # fmt: skip
    sigma = level * (x.max() - x.min()) if sigma is None else sigma(x, level)
    total, at = torch.zeros_like(x), x
    for _ in range(samples):
        if in_place:
            x += 1e-3
        at = (at if walk else x) + sigma * draw(x)
        total += each(grad(model, at, c))
    return finish(total, samples)


def always(noise):
    """One noise, drawn the first time."""
    drawn = []

    def draw(x):
        drawn.append(noise(x)) if not drawn else None
        return drawn[0]

    return draw


def smooth_in_one_batch(model, x, c, level, samples):
    noise = torch.randn(samples, *x.shape[1:]) * level * (x.max() - x.min())
    return grad(model, x + noise, c).mean(0, keepdim=True)


def integrated(model, x, baseline, c, steps, *, shift=0.5, start=None, way=None, divide=True):
    total, start = torch.zeros_like(x), baseline if start is None else start
    for step in range(steps):
        total += grad(model, start + (step + shift) / steps * (x - start), c)
    return (x - baseline if way is None else way(x)) * (total / steps if divide else total)


RIGHT["saliency"] = [
    lambda m, x, c: grad(m, x, c).abs().amax(1), lambda *a: by_backward(*a, only=True),
    lambda m, x, c: torch.stack([grad(m, one[None], c)[0].abs().max(0).values for one in x]).numpy(),
]  # fmt: skip
WRONG["saliency"] = [
    (lambda m, x, c: grad(m, x, c, lambda s: s.softmax(1)).abs().amax(1), "take the logit"),
    (lambda m, x, c: grad(m, x, c, lambda s: s.log_softmax(1)).abs().amax(1), r"gradient of the loss \("),
    (by_mean_loss, r"gradient of the mean loss \(cross-entropy\)"),
    (lambda m, x, c: grad(m, x, c).amax(1), "magnitude first"),
    (lambda m, x, c: grad(m, x, c).amax(1).abs(), "magnitude comes before the maximum"),
    (lambda m, x, c: grad(m, x, c).abs().mean(1), "not the mean"),
    (lambda m, x, c: grad(m, x, c).abs().sum(1), "not the sum"),
    (lambda m, x, c: (x * grad(m, x, c)).abs().amax(1), "times input"),
    (lambda m, x, c: grad(m, x, c).abs(), r"shape \(2, 6, 7\)"),
    (lambda m, x, c: grad(m, x, 0).abs().amax(1), "differ from"),
    (in_the_caller_s_x, "parameters have a .grad now"),
    (lambda m, x, c: torch.autograd.grad(m(x.requires_grad_())[:, c].sum(), x)[0].abs().amax(1), "fresh leaf"),
    (lambda m, x, c: None, "returns nothing"),
    (by_backward, "parameters have a .grad now"),
    (lambda m, x, c: grad(m.train(), x, c).abs().amax(1), "mode .* has changed"),
    (lambda m, x, c: grad(m.requires_grad_(False), x, c).abs().amax(1), "requires_grad"),
]
RIGHT["smoothgrad"] = [
    smooth, smooth_in_one_batch, lambda m, x, c, v, n: vh.smoothgrad(m, x, c, level=v, samples=n),
]  # fmt: skip
WRONG["smoothgrad"] = [
    (lambda *a: smooth(*a, finish=lambda t, n: t), "divide by the number"),
    (lambda *a: smooth(*a, finish=lambda t, n: t.abs() / n), "signed"),
    (lambda *a: smooth(*a, each=torch.abs), "signed"),
    (lambda *a: smooth(*a, sigma=lambda x, level: level), "share of the picture's range"),
    (lambda *a: smooth(*a, sigma=lambda x, level: level * x.max()), "noise has a deviation"),
    (lambda *a: smooth(*a, draw=torch.rand_like), "noise has a deviation"),
    (lambda *a: smooth(*a, draw=torch.zeros_like), "every copy is the same"),
    (lambda *a: smooth(*a, walk=True), "noise grows"),
    (lambda *a: smooth(*a, in_place=True), "changed its input"),
    (lambda m, x, c, v, n: smooth(m, x, c, v, n - 1), "plain gradient|saw 299"),
    (lambda *a: smooth(*a, draw=always(torch.randn_like)), "the same in every sample"),
    (lambda *a: smooth(*a, draw=lambda x: torch.randn(1, 1, *x.shape[2:])), "the same in every colour"),
    (lambda *a: smooth(*a, draw=lambda x: torch.randn(1)), "the same in every colour"),
    (lambda *a: smooth(*a, draw=lambda x: torch.randn(1, 3, 1, 1)), "the same in every row"),
]
def by_trapezoids(model, x, baseline, c, steps):
    a = torch.linspace(0, 1, steps + 1)[:, None, None, None]
    each = grad(model, baseline + a * (x - baseline), c)
    return (x - baseline) * (each[1:] + each[:-1]).mean(0, keepdim=True) / 2


RIGHT["integrated_gradients"] = [
    *(lambda *a, shift=shift: integrated(*a, shift=shift) for shift in (0, 0.5, 1)), by_trapezoids,  # whatever the rule
]  # fmt: skip
WRONG["integrated_gradients"] = [
    (lambda *a: integrated(*a, way=torch.ones_like), "multiply the mean gradient by the way"),
    (lambda *a: integrated(*a, way=lambda x: x), "not by x"),
    (lambda *a: integrated(*a, start=torch.zeros(1)), "start at the baseline"),
    (lambda *a: integrated(*a, divide=False), "number of steps"),
    (lambda m, x, b, c, n: x * grad(m, x, c), "whole way"),
    (lambda m, x, b, c, n: (x - b) * grad(m, x, c), "whole way"),
    (lambda m, x, b, c, n: integrated(m, x, b, c, 100), "asked for .* steps, your net saw 100"),
    (lambda m, x, b, c, n: integrated(m, x, b, c, 50), "your net saw 50"),
    (lambda m, x, b, c, n: integrated(m, x, b, c, n, way=lambda x: x.sub_(b)), r"changed its input \(number 2\)"),
    (lambda m, x, b, c, n: integrated(m, b.copy_(x), b, c, n), r"changed its input \(number 3\)"),
    (lambda m, x, b, c, n: integrated(m, x.requires_grad_(), b, c, n), "input .*requires a gradient now"),
]


# ---- 06_fooling_images ----------------------------------------------------------------------------------------------
def norms(a):
    return a.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def changed_in_place(pixels, gradient, length):
    pixels += length / 255 * gradient / norms(gradient)
    return pixels.clamp_(0, 1)


def file_change(start, picture):
    return ((picture * 255).round() - (start * 255).round()).flatten(1)


def sizes(start, picture):
    return file_change(start, picture).norm(dim=1), file_change(start, picture).abs().amax(1)


def wrapped(start, picture):
    change = ((picture * 255).round().byte() - (start * 255).round().byte()).flatten(1).float()
    return change.norm(dim=1), change.amax(1)


def escape(net, pixels, length, steps, sign=-1.0, late=0, score=lambda scores: scores.log_softmax(0), backward=False,
           clip=(0, 1)):  # fmt: skip
    own = int(net(pixels).argmax(1))
    for taken in range(steps + 1):
        leaf = pixels.detach().clone().requires_grad_()
        value = score(net(leaf)[0])
        if value.argmax() != own:
            late -= 1
        if late == -1 or taken == steps:
            return leaf.detach(), taken
        if backward:
            value[own].backward(retain_graph=True)
        (g,) = torch.autograd.grad(value[own], leaf)
        pixels = (leaf + sign * length / 255 * g / g.norm()).clamp(*clip)


def spoils_the_argument(net, pixels, length, steps):
    found = escape(net, pixels, length, steps)
    pixels.copy_(found[0])
    return found


RIGHT["step"] = [
    lambda p, g, s: (p + s / 255 * g / norms(g)).clamp(0, 1),
    lambda p, g, s: (p + s / 255 * F.normalize(g.flatten(1)).view_as(g)).clip(0, 1),
]
WRONG["step"] = [
    (changed_in_place, "changed its input"),
    (lambda p, g, s: None, "returns nothing"),
    (lambda p, g, s: (p + s / 255 * g / norms(g))[0].clamp(0, 1), "should have the shape"),
    (lambda p, g, s: (p + s * g / norms(g)).clamp(0, 1), "divide it by 255"),
    (lambda p, g, s: (p - s / 255 * g / norms(g)).clamp(0, 1), "goes downhill"),
    (lambda p, g, s: (p + s / 255 * g).clamp(0, 1), "the gradient's own length"),
    (lambda p, g, s: (p + s / 255 * g / g.norm()).clamp(0, 1), "over the whole batch"),
    (lambda p, g, s: (p + s / 255 * g.sign()).clamp(0, 1), "only the signs"),
    (lambda p, g, s: p + s / 255 * g / norms(g), "values leave 0..1"),
    (lambda p, g, s: (p + s / 256 * g / norms(g)).clamp(0, 1), "differ from"),
    (lambda p, g, s: (p + s / 255 * g.div_(norms(g))).clamp(0, 1), r"changed its input \(number 2\)"),
]
RIGHT["sizes"] = [
    sizes, lambda a, b: (file_change(a, b).int().pow(2).sum(1).sqrt(), file_change(a, b).int().abs().amax(1)),
]  # fmt: skip
WRONG["sizes"] = [
    (lambda a, b: sizes(a, b)[0], "return two things"),
    (lambda a, b: (file_change(a, b).norm().item(), 0), r"shape \(3,\), not \(\): l2, one number per picture"),
    (lambda a, b: (file_change(a, b).norm(), sizes(a, b)[1]), "one number per picture"),
    (lambda a, b: (sizes(a, b)[0] / 255, sizes(a, b)[1]), "multiply by 255"),
    (lambda a, b: (255 * (b - a).flatten(1).norm(dim=1), sizes(a, b)[1]), "whole numbers"),
    (wrapped, "3 - 5 becomes 254"),
    (lambda a, b: (sizes(a, b)[0], file_change(a, b).amax(1)), "linf is the largest magnitude"),
    (lambda a, b: (sizes(a, b)[0], sizes(a, b)[1] + 1), "should be .*: linf"),
    (lambda a, b: (((b - a) * 255).round().flatten(1).norm(dim=1), sizes(a, b)[1]), "round both pictures"),
    (lambda a, b: (sizes(a, b)[0], ((b - a) * 255).round().flatten(1).abs().amax(1)), "round both pictures"),
    (lambda a, b: sizes(a.mul_(2), b), "changed its input"),
]
RIGHT["escape"] = [
    escape, lambda *a: escape(*a, score=lambda scores: scores.softmax(0))  # the same direction
]  # fmt: skip
WRONG["escape"] = [
    (lambda *a: escape(*a)[0], "return two things"),
    (spoils_the_argument, "work on a copy"),
    (lambda *a: escape(*a, backward=True), "parameters have a .grad"),
    (lambda *a: escape(*a, sign=1.0), "subtract the step"),
    (lambda *a: escape(*a, late=1000), "all 99 steps"),
    (lambda *a: escape(*a, late=1), "steps of length"),
    (lambda *a: escape(a[0], a[1], 2 * a[2], a[3]), "length / 255 a step"),
    (lambda *a: (escape(*a)[0], escape(*a)[1] + (a[3] == 99)), "steps of length"),
    (lambda n, p, s, k: ((p + 0.001 * torch.ones_like(p)), escape(n, p, s, k)[1]), "the picture is not|uphill"),
    (lambda *a: escape(*a, clip=(-9, 9)), "values leave 0..1"),
    (lambda *a: escape(*a, score=lambda scores: scores), "this goes down in the logit"),
    (lambda n, p, s, k: escape(n.requires_grad_(False), p, s, k), "requires_grad"),
]


# ---- 07_guided_backprop ---------------------------------------------------------------------------------------------
def backward(a, g, rule):
    return g * ((a > 0) if rule != "deconvnet" else 1) * ((g > 0) if rule != "gradient" else 1)


class ByRule(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, rule):
        ctx.rule = rule
        ctx.save_for_backward(x.relu())
        return x.relu()

    @staticmethod
    def backward(ctx, g):
        return backward(*ctx.saved_tensors, g, ctx.rule), None


def guided(model, x, c, rule="guided", scale=1.0):
    leaf = x.clone().requires_grad_()
    out = leaf
    for layer in model:
        out = ByRule.apply(out, rule) if isinstance(layer, nn.ReLU) else layer(out)
    return torch.autograd.grad(out[0, c] * scale, leaf)[0]


def with_backward(model, x, c):
    model.requires_grad_(True)
    model(x)[0, c].backward()
    return guided(model, x, c)


def swapped(model, x, c):
    model[1] = nn.ReLU()
    return guided(model, x, c)


def leaving(change, only=nn.ReLU):
    """Guided backpropagation that leaves a change in the model's layers."""
    def answer(model, x, c):
        for layer in model:
            if isinstance(layer, only):
                change(layer)
        return guided(model, x, c)
    return answer


def parts_of(g):
    scaled = [p / p.abs().max().clamp(min=1e-12) for p in (g, g.clamp(min=0), (-g).clamp(min=0))]
    return scaled[0] / 2 + 0.5, scaled[1], scaled[2]


def by_rule(a, g, rule):
    leaf = a.clone().requires_grad_()
    return torch.autograd.grad(ByRule.apply(leaf, rule), leaf, g)[0]


RIGHT["relu_backward"] = [backward, by_rule]
WRONG["relu_backward"] = [
    (lambda a, g, rule: backward(a, g, "gradient"), "does what 'gradient' should do"),
    (lambda a, g, rule: backward(a, g, "guided"), "does what 'guided' should do"),
    (lambda a, g, rule: backward(a, g, rule) * a, "multiply by its mask"),
    (lambda a, g, rule: backward(a, g, rule).sign(), "not only its mask"),
    (lambda a, g, rule: g.clamp_(min=0), "changed its input"),
    (lambda a, g, rule: g, "the result should be"),
]
RIGHT["guided"] = [guided, lambda m, x, c: vh.guided_backprop(m, x, c)]
WRONG["guided"] = [
    (lambda m, x, c: guided(m, x, c, "gradient"), "the plain gradient"),
    (lambda m, x, c: guided(m, x, c, "deconvnet"), "the deconvnet's rule"),
    (lambda m, x, c: guided(m, x, 7 - c), "explains class"),
    (lambda m, x, c: guided(m, x, c, scale=2), "numbers differ"),
    (lambda m, x, c: guided(m, x, c)[0], "should have the shape"),
    (lambda m, x, c: guided(m, x.requires_grad_(), c), "input requires a gradient now"),
    (with_backward, "have a .grad now"),
    (swapped, "has other modules now"),
    (leaving(lambda layer: setattr(layer, "inplace", False)), "a layer's `inplace` has changed"),
    (leaving(lambda layer: layer.requires_grad_(False), nn.Module), "requires_grad"),
    (leaving(lambda layer: layer.train(), nn.Module), "mode .* has changed"),
    (leaving(lambda layer: setattr(layer, "forward", torch.relu)), "`forward` has changed"),
    (leaving(lambda layer: layer.weight.data.relu_(), nn.Linear), "weights were not given back"),
]
RIGHT["parts"] = [parts_of, lambda g: [np.where(p.numpy() < 0, 0, p.numpy()) for p in parts_of(g)]]
WRONG["parts"] = [
    (lambda g: ((g - g.min()) / (g.max() - g.min()), *parts_of(g)[1:]), "stretched from min to max"),
    (lambda g: (parts_of(g)[0], g.clamp(min=0) / g.max(), (-g).clamp(min=0) / -g.min()), "NaN"),
    (lambda g: (*parts_of(g)[:2], -parts_of(g)[2]), "drawn as its size"),
    (lambda g: parts_of(g)[:2], "return three things"),
    (lambda g: (parts_of(g)[0], parts_of(g)[2], parts_of(g)[1]), "the positive part"),
]


# ---- 08_class_activation_maps ---------------------------------------------------------------------------------------
def grad_cam(model, x, c, layer, *, clone=True, alpha=lambda g: g.mean((2, 3), keepdim=True), remove=True,
             end=lambda terms: terms.sum(1).relu()):  # fmt: skip
    kept = []

    def keep(module, args, out):
        kept.append(out if clone else out.clone())
        return out.clone() if clone else None

    handle = layer.register_forward_hook(keep)
    logits = model(x.clone().requires_grad_())
    if remove:
        handle.remove()
    (g,) = torch.autograd.grad(logits[0, c], kept[0])
    return end(alpha(g) * kept[0].detach())[0]


def late(m, x, c, layer):
    """A kept output that the in-place ReLU rewrote."""
    with vh.capture(m, layer, leaf=True) as acts:
        out = m(x)
    (g,) = torch.autograd.grad(out[0, c], acts[layer])
    a = acts[layer].detach()
    return (g.mean((2, 3), keepdim=True) * a.relu()).sum(1)[0].relu()


def plus_plus(maps, g, epsilon=0.0, relu=True, joint=True):
    total = (2 * g**2 + (maps.sum((1, 2), keepdim=True) * g**3 if joint else (maps * g**3).sum((1, 2), keepdim=True)))
    alpha = torch.where(g != 0, g**2 / (total + epsilon), 0)
    return (alpha * (g.relu() if relu else g)).sum((1, 2))


def energy(heat, mask, **how):
    big = F.interpolate(heat[None, None], size=mask.shape, **(how or dict(mode="bilinear")))[0, 0]
    return big[mask].sum() / big.sum()


RIGHT["cam_map"] = [
    lambda m, w, c: torch.einsum("khw,k->hw", m, w[c]),
    lambda m, w, c: np.einsum("khw,k->hw", m.numpy(), w[c].numpy()),
    lambda m, w, c: np.flip(np.tensordot(w[c].numpy(), np.flip(m.numpy(), 2), 1), 1),  # a view that runs backwards
    lambda m, w, c: [*(w[c][:, None, None] * m).sum(0)],
]
WRONG["cam_map"] = [
    (lambda m, w, c: torch.einsum("khw,k->hw", m, w[c]).relu(), "CAM keeps it"),
    (lambda m, w, c: torch.einsum("khw,k->hw", m, w[c - 1]), "row c"),
    (lambda m, w, c: (w[c][:, None, None] * m).mean(0), "mean over the channels"),
    (lambda m, w, c: m.mul_(w[c][:, None, None]).sum(0), "changed its input"),
    (lambda m, w, c: (w[:, c][:, None, None] * m[:4]).sum(0), "take row c of the weights"),
    (lambda m, w, c: (w[c].relu()[:, None, None] * m).sum(0), "negative weights count too"),
]
RIGHT["grad_cam"] = [grad_cam, lambda m, x, c, layer: vh.grad_cam(m, x, c, layer=layer)[0]]
WRONG["grad_cam"] = [
    (lambda *a: grad_cam(*a, remove=False), "hook is left"),
    (lambda *a: grad_cam(*a, end=lambda t: t.sum(1)), "positive part of the sum"),
    (lambda *a: grad_cam(*a, alpha=lambda g: g.sum((2, 3), keepdim=True)), "not its sum"),
    (lambda *a: grad_cam(*a, alpha=lambda g: g), "its own gradient"),
    (lambda *a: grad_cam(*a, end=lambda t: t.relu().sum(1)), "ReLU comes last"),
    (lambda *a: grad_cam(*a, alpha=lambda g: g.mean((2, 3), keepdim=True).relu()), "negative alphas"),
    (late, "in-place ReLU"),
    (lambda m, x, c, layer: grad_cam(m, x.requires_grad_(), c, layer), "requires a gradient now"),
    (lambda m, x, c, layer: grad_cam(m.requires_grad_(True), x, c, layer), "requires_grad"),
]
RIGHT["plus_plus_weights"] = [lambda maps, g: vh.plus_plus_weights(maps[None], g[None])[0], plus_plus]
WRONG["plus_plus_weights"] = [
    (lambda m, g: plus_plus(m, g, 1e-6), "an epsilon in the"),
    (lambda m, g: plus_plus(m, g, relu=False), "relu"),
    (lambda m, g: plus_plus(m, g, joint=False), "whole channel"),
    (lambda m, g: (g**2 / (2 * g**2 + m.sum((1, 2), keepdim=True) * g**3) * g.relu()).sum((1, 2)), "NaN"),
    (lambda m, g: plus_plus(m, g.mul_(2)), "changed its input"),
    (lambda m, g: plus_plus(m.mul_(2), g), "changed its input"),
]
RIGHT["energy_inside"] = [
    energy, lambda h, m: np.average(m, weights=nn.Upsample(m.shape, mode="bilinear")(h[None, None])[0, 0]),
]  # fmt: skip
WRONG["energy_inside"] = [
    (lambda h, m: energy(h, m, mode="bilinear", align_corners=True), "pulls the cells"),
    (lambda h, m: energy(h, m, mode="nearest"), "without interpolation"),
    (lambda h, m: m.float().mean(), "mask's share"),
    (lambda h, m: 32 * 48 * energy(h, m), "between 0 and 1"),
    (lambda h, m: energy(h, m) * h.max() / 4, "result should be"),
    (lambda h, m: energy((h - h.min()) / (h.max() - h.min()), m), "from min to max"),
    (lambda h, m: energy(h.div_(h.max()), m), "changed its input"),
]


# ---- 09_occlusion ---------------------------------------------------------------------------------------------------
def starts(length, patch, stride):
    found = list(range(0, length - patch + 1, stride))
    return found if found[-1] + patch == length else [*found, length - patch]


def drop(falls, boxes, height, width, add=True, divide=None):
    total, count = torch.zeros(height, width), torch.zeros(height, width)
    for fall, (top, left, bottom, right) in zip(falls, boxes, strict=True):
        total[top:bottom, left:right] = fall + (total[top:bottom, left:right] if add else 0)
        count[top:bottom, left:right] += 1
    return total / (count.clamp(min=1) if divide is None else divide(count))


def pairs(score, x, boxes, pick=min, copy=True):
    values = {}
    for i in range(len(boxes)):
        for j in range(i + 1, len(boxes)):
            hidden = x.clone() if copy else x
            for top, left, bottom, right in (boxes[i], boxes[j]):
                hidden[:, :, top:bottom, left:right] = 0
            values[i, j] = float(score(hidden))
    return pick(values, key=values.get)


def two_worst(score, x, boxes):
    values = []
    for top, left, bottom, right in boxes:
        hidden = x.clone()
        hidden[:, :, top:bottom, left:right] = 0
        values.append(float(score(hidden)))
    return sorted(sorted(range(len(boxes)), key=values.__getitem__)[:2])


RIGHT["patch_starts"] = [starts, lambda *a: torch.tensor(starts(*a))]
WRONG["patch_starts"] = [
    (lambda n, p, s: list(range(0, n - p + 1, s)), "never hidden"),
    (lambda n, p, s: list(range(0, n, s)), "hangs over the border"),
    (lambda n, p, s: [*range(0, n - p + 1, s), n - p], "twice"),
    (lambda n, p, s: None, "returns nothing"),
    (lambda n, p, s: list(range(n - p + 1)), "begin at"),
]
def drop_by_masks(falls, boxes, height, width):
    masks = np.zeros((len(boxes), height, width))
    for mask, (top, left, bottom, right) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = 1
    return np.tensordot(falls.numpy(), masks, 1) / np.maximum(masks.sum(0), 1)


RIGHT["drop_map"] = [drop, drop_by_masks]
WRONG["drop_map"] = [
    (lambda *a: drop(*a, divide=lambda c: 1), "sum of the falls"),
    (lambda *a: drop(*a, divide=lambda c: c), "0 / 0"),
    (lambda *a: drop(*a, divide=lambda c: 4), "not by the number of all boxes"),
    (lambda *a: drop(*a, add=False, divide=lambda c: 1), "overwrites"),
    (lambda *a: drop(*a).T, r"shape \(5, 7\)"),
    (lambda *a: None, "returns nothing"),
    (lambda f, b, h, w: drop(f, b, h, w).add_(0 * len(b.pop() + b.pop())), r"changed its input \(number 2\)"),
    (lambda f, b, h, w: drop(f.relu_(), b, h, w), r"changed its input \(number 1\)"),
    (lambda f, b, *size: drop(f, [(*p[:2], p[2] + 1, p[3] + 1) for p in b], *size), "bottom and right are excluded"),
]
RIGHT["worst_pair"] = [pairs, lambda *a: pairs(*a)[::-1]]
WRONG["worst_pair"] = [
    (two_worst, "two worst single boxes"),
    (lambda s, x, b: pairs(s, x, b, pick=max), "leaves the score highest"),
    (lambda s, x, b: pairs(s, x, b, copy=False), "changed its input"),
    (lambda s, x, b: (2, 2), "one box, twice"),
    (lambda s, x, b: 3 * [0], "two things"),
]


# ---- 10_activation_maximization -------------------------------------------------------------------------------------
def variation(image):
    return image.diff(dim=2).square().mean((1, 2, 3)) + image.diff(dim=3).square().mean((1, 2, 3))


def dream_step(image, gradient_of, shift, rate, back=-1, sign=1, own=True, scale=True, move=True, clip=True):
    moved = image.roll(shift, (2, 3)) if move else image
    g = gradient_of(moved)
    size = g.abs().mean((1, 2, 3), keepdim=True) if own else g.abs().mean()
    moved = moved + sign * rate * g / (size if scale else 1)
    moved = moved.clamp(0, 1) if clip else moved
    return moved.roll((back * shift[0], back * shift[1]), (2, 3)) if back else moved


RIGHT["total_variation"] = [
    variation, lambda i: sum((i.diff(dim=d) ** 2).flatten(1).mean(1) for d in (2, 3)).numpy(),
    lambda i: [F.mse_loss(p[:, 1:], p[:, :-1]) + F.mse_loss(p[..., 1:], p[..., :-1]) for p in i],
]  # fmt: skip
WRONG["total_variation"] = [
    (lambda i: variation(i).sum(), "keep the batch"),
    (lambda i: variation(i) / 2, "sum"),
    (lambda i: i.diff(dim=2).square().mean((1, 2, 3)), "down"),
    (lambda i: i.diff(dim=3).square().mean((1, 2, 3)), "across"),
    (lambda i: i.diff(dim=2).abs().mean((1, 2, 3)) + i.diff(dim=3).abs().mean((1, 2, 3)), "squared"),
    (lambda i: i.diff(dim=2).square().sum((1, 2, 3)) + i.diff(dim=3).square().sum((1, 2, 3)), "sums"),
]
def dream_step_by_index(image, gradient_of, shift, rate):
    rows, columns = ((torch.arange(n) - s) % n for n, s in zip(image.shape[2:], shift, strict=True))
    g = gradient_of(image[:, :, rows][..., columns])
    g = g / g.flatten(1).abs().mean(1).view(-1, 1, 1, 1)
    out = torch.empty_like(image)
    out[:, :, rows[:, None], columns] = (image[:, :, rows][..., columns] + rate * g).clip(0, 1)
    return out


RIGHT["dream_step"] = [dream_step, dream_step_by_index]
WRONG["dream_step"] = [
    (lambda *a: dream_step(*a, back=0), "shifted back"),
    (lambda *a: dream_step(*a, sign=-1), "downhill"),
    (lambda *a: dream_step(*a, own=False), "its own"),
    (lambda *a: dream_step(*a, scale=False), "own size"),
    (lambda *a: dream_step(*a, move=False), "shift it first"),
    (lambda *a: dream_step(*a, clip=False), "values leave 0..1"),
    (lambda i, g, s, r: dream_step(i.mul_(0.5), g, s, r), "changed its input"),
    (lambda i, g, s, r: dream_step(i, lambda p: g(p) + 0 * g(p), s, r), "one step needs it once"),
]
def step_by_step(final, stages, growth, end=round):
    sides = [final]
    while len(sides) < stages:
        sides.insert(0, end(sides[0] / growth))
    return sides


RIGHT["stages"] = [
    lambda final, stages, growth: [round(final / growth**n) for n in reversed(range(stages))],
    lambda final, stages, growth: [int(final / growth**n) for n in range(stages)][::-1],
    lambda final, stages, growth: [np.int64(round(final / growth**n)) for n in reversed(range(stages))],
    lambda final, stages, growth: np.round(final / growth ** np.arange(stages)[::-1]),
    lambda final, stages, growth: np.round(final / growth ** np.arange(stages)[::-1]).astype(int),
    lambda final, stages, growth: torch.tensor([round(final / growth**n) for n in reversed(range(stages))]),
    step_by_step,
]
WRONG["stages"] = [
    (lambda f, s, g: [round(f / g**n) for n in range(s)], "coarse stage"),
    (lambda f, s, g: [f / g**n for n in reversed(range(s))], "whole number"),
    (lambda f, s, g: [round(56 * g**n) for n in range(s)], "last stage"),
    (lambda f, s, g: [f], "stages"),
    (lambda f, s, g: step_by_step(f, s, g + 0.1), "the sides are about"),
    (lambda f, s, g: [f - 20 * n for n in reversed(range(s))], "the sides are about"),
    (lambda f, s, g: step_by_step(f, s + 1, g)[:-1], "last stage"),
]


# ---- 11_style_transfer ----------------------------------------------------------------------------------------------
def gram(f):
    rows = f.flatten(2)
    return rows @ rows.transpose(1, 2) / f[0].numel()


def style_loss(f, g):
    return ((gram(f) - gram(g)) ** 2).sum() / (gram(g) ** 2).sum()


def pad(net, x, **how):
    h, w = x.shape[2:]
    return net(F.pad(x, (0, -w % 4, 0, -h % 4), **how))[:, :, :h, :w]


RIGHT["gram_matrix"] = [gram, vh.gram, lambda f: torch.einsum("nahw,nbhw->nab", f, f) / f[0].numel()]
WRONG["gram_matrix"] = [
    (lambda f: gram(f) * f[0].numel(), "divide by C h w"),
    (lambda f: gram(f) * f.shape[1], "divide by C h w"),
    (lambda f: gram(f).mean(0, keepdim=True).expand(len(f), -1, -1), "each picture"),
    (lambda f: gram(f)[0], "shape"),
    (lambda f: gram(f.reshape(1, f.shape[1], -1, 1))[0], "batch is folded"),
    (lambda f: gram(f.reshape(1, f.shape[1], -1, 1))[0] * len(f), "batch is folded"),
    (lambda f: gram(f.permute(0, 2, 3, 1).reshape(f.shape)), "view"),
    (lambda f: gram(f.mul_(2)) / 4, "changed"),
]
RIGHT["style_loss"] = [
    style_loss, lambda f, g: F.mse_loss(gram(f), gram(g)) / gram(g).square().mean(),
    lambda f, g: (gram(f) - gram(g)).norm() ** 2 / gram(g).norm() ** 2,
]  # fmt: skip
WRONG["style_loss"] = [
    (lambda f, g: ((f.mean((2, 3)) - g.mean((2, 3))) ** 2).sum(), "Gram matrices, not"),
    (lambda f, g: ((gram(f) - gram(g)) ** 2).sum(), "own size"),
    (lambda f, g: style_loss(g, f), "painting's"),
    (lambda f, g: (gram(f) - gram(g)).abs().sum() / gram(g).abs().sum(), "square"),
    (lambda f, g: (gram(f) - gram(g)) ** 2, "one number"),
    (lambda f, g: style_loss(f.detach(), g), "gradient"),
    (lambda f, g: style_loss(f, g).backward() or style_loss(f, g), "input .*has a .grad now"),
    (lambda f, g: style_loss(f, g).sqrt(), "no square root"),
]
def pad_around(net, x):
    h, w = x.shape[2:]
    top, left = -h % 4 // 2, -w % 4 // 2
    return net(F.pad(x, (left, -w % 4 - left, top, -h % 4 - top), "replicate"))[:, :, top : top + h, left : left + w]


RIGHT["any_size"] = [lambda net, x: pad(net, x, mode="reflect"), pad_around]
WRONG["any_size"] = [
    (lambda net, x: net(x), "shape"),
    (lambda net, x: F.interpolate(net(x), x.shape[2:]), "multiple of 4"),
    (lambda net, x: F.interpolate(net(F.interpolate(x, (24, 28))), x.shape[2:]), "stretched"),
    (pad, "black"),
    (lambda net, x: pad(net, x, value=0.5), "one colour"),
    (lambda net, x: pad(net, x, value=float(x.mean())), "one colour"),
    (lambda net, x: pad(net, x, mode="reflect").roll(1, 3), "no shift"),
    (lambda net, x: pad(net, x.mul_(0.9), mode="reflect"), "changed its input"),
]


# ---- 12_texture_vs_shape --------------------------------------------------------------------------------------------
def decisions_by(score, logits=False):
    def answer(values, categories):
        p = values if logits else values.softmax(1)
        table = torch.stack([score(p[:, list(i)]) for i in categories.values()], 1)
        return [list(categories)[k] for k in table.argmax(1).tolist()]
    return answer


def bias_of(table, conflict=True, others=False, texture=False):
    rows = [r for r in table if not conflict or r[0] != r[1]]
    shape, other = (sum(r[2] == r[k] for r in rows) for k in (0, 1))
    if shape + other == 0:
        return math.nan
    return (other if texture else shape) / (len(rows) if others else shape + other)


def bootstrap(decisions, rounds, seed, whole=True, draw=lambda names: names, bias=bias_of, ends=(0.025, 0.975)):
    rng = np.random.default_rng(seed)
    names = sorted({d[0] for d in decisions})
    groups = {n: [d for d in decisions if d[0] == n] for n in names}
    found = []
    for _ in range(rounds):
        if whole:
            drawn = [d for n in draw(rng.choice(names, len(names))) for d in groups[n]]
        else:
            drawn = [decisions[k] for k in rng.integers(len(decisions), size=len(decisions))]
        found.append(bias(drawn))
    return tuple(np.quantile(found, ends))


def mean_of_biases(drawn):
    """Each shape's own bias, and their mean (a shape that was drawn twice counts twice)."""
    groups = [[*group] for _, group in groupby(drawn, key=lambda d: d[0])]
    return sum(map(bias_of, groups)) / len(groups)


def bootstrap_by_weights(decisions, rounds, seed):
    """The same without lists: how often each category was drawn, times its counts."""
    names = sorted({d[0] for d in decisions})
    counts = torch.tensor([[sum(d[0] == n != d[1] and d[2] == d[k] for d in decisions) for k in (0, 1)] for n in names])
    drawn = torch.randint(len(names), (rounds, len(names)), generator=torch.Generator().manual_seed(seed))
    shape, texture = counts[drawn].sum(1).T
    return (shape / (shape + texture)).quantile(torch.tensor([0.025, 0.975])).tolist()


def decisions_as_array(logits, categories):
    p = np.stack([logits.softmax(1).numpy()[:, numbers].mean(1) for numbers in map(list, categories.values())])
    return np.array([*categories])[p.argmax(0)]


RIGHT["category_decision"] = [
    decisions_by(lambda p: p.mean(1)), decisions_as_array, lambda *a: tuple(decisions_as_array(*a)),
]  # fmt: skip
WRONG["category_decision"] = [
    (decisions_by(lambda p: p.sum(1)), "sum"),
    (decisions_by(lambda p: p.amax(1)), "largest"),
    (decisions_by(lambda p: p.mean(1), logits=True), "softmax"),
    (lambda *a: [1, 2, 3, 4], "names"),
    (lambda *a: "zebra", "list"),
    (lambda *a: ["dog"] * 4, "should be"),
    (lambda v, c: [decisions_by(lambda p: p.mean(1))(v, c), c.clear()][0], r"changed its input \(number 2\)"),
    (lambda v, c: [decisions_by(lambda p: p.mean(1))(v, c), c.pop("dog")][0], r"changed its input \(number 2\)"),
    (lambda v, c: decisions_by(lambda p: p.mean(1))(v.sub_(1), c), r"changed its input \(number 1\)"),
]
RIGHT["shape_bias"] = [
    bias_of, lambda t: torch.tensor(bias_of(t)), lambda t: np.float32(bias_of(t)), lambda t: np.array(bias_of(t)),
    lambda t: vh.count_decisions([d for d in t if d[0] != d[1]]).bias,
]  # fmt: skip
WRONG["shape_bias"] = [
    (lambda t: bias_of(t, others=True), "wrong answers"),
    (lambda t: bias_of(t, conflict=False), "no conflict"),
    (lambda t: bias_of(t, texture=True), "texture bias"),
    (lambda t: None, "returns nothing"),
    (lambda t: "a third", "one number"),
    (lambda t: 0.0 if math.isnan(bias_of(t)) else bias_of(t), "nan"),
    (lambda t: 1 / 1.5 / 2, "bias of 1"),
    (lambda t: [bias_of(t), t.sort()][0], "changed its input"),
    (lambda t: [bias_of(t), [t.remove(d) for d in [*t] if d[0] == d[1]]][0], "changed its input"),
    (lambda t: torch.tensor([bias_of(t)] * 2), "one number"),
]
RIGHT["bootstrap"] = [bootstrap, bootstrap_by_weights]
WRONG["bootstrap"] = [
    (lambda d, r, s: bootstrap(d, r, s, whole=False), "independent"),
    (lambda d, r, s: None, "returns nothing"),
    (lambda d, r, s: bootstrap(d, r, s)[:1], "two things"),
    (lambda d, r, s: bootstrap(d, r, None), "same seed"),
    (lambda d, r, s: (0.9, 0.1), "low first"),
    (lambda *a: bootstrap(*a, ends=(0.05, 0.95)), "5 and 95"),
    (lambda *a: bootstrap(*a, ends=(0.25, 0.75)), "25 and 75"),
    (lambda *a: bootstrap(*a, draw=set), "drawn twice counts twice"),
    (lambda *a: bootstrap(*a, bias=mean_of_biases), "mean of the categories' own biases"),
    (lambda d, r, s: [bootstrap(d, r, s), d.clear()][0], "changed its input"),
    (lambda d, r, s: [bootstrap(d, r, s), d.sort(reverse=True)][0], "changed its input"),
]


# ---- 13_can_we_trust_these_maps -------------------------------------------------------------------------------------
def deletion(model, x, c, heat, steps, *, descending=True, by=lambda h: h, read=lambda scores: scores, whole=False,
             in_place=False):  # fmt: skip
    order = by(heat).flatten().argsort(descending=descending)
    found = []
    for step in range(steps + 1):
        gone = x if in_place else x.clone()
        gone.flatten(2)[:, : 1 if whole else 3, order[: step * len(order) // steps]] = 0
        found.append(float(read(model(gone))[0, c]))
    return found


def lend(model, function, *, keep=torch.clone, back=True, always=True, swallow=False, change=True, call=True,
         new=lambda p: torch.randn(p.shape), only="", trainable=False):  # fmt: skip
    kept = [keep(p.data) for p in model.parameters()]
    try:
        for name, p in model.named_parameters():
            if change and only in name:
                p.data.copy_(new(p))
            p.requires_grad_(trainable)
        return function() if call else None
    except KeyError:
        if not swallow:
            if not always:
                kept = []
            raise
    finally:
        for p, v in zip(model.parameters(), kept, strict=False):
            if back:
                p.data.copy_(v)


def by_the_package(model, function):
    with vh.randomized(model):
        return function()


RIGHT["pointing"] = [
    lambda heat, mask: bool(mask.flatten()[heat.argmax()]), lambda heat, mask: mask[heat == heat.max()].any(),
]  # fmt: skip
WRONG["pointing"] = [
    (lambda heat, mask: mask.flatten()[heat.abs().argmax()], "this is the largest magnitude"),
    (lambda heat, mask: mask.T.flatten()[heat.argmax()], "flat index"),
    (lambda heat, mask: mask[heat.sum(1).argmax(), heat.sum(0).argmax()], "found each by itself need not meet"),
    (lambda heat, mask: mask[heat.argmax(0)[0], heat.argmax(1)[0]], "found each by itself need not meet"),
    (lambda heat, mask: mask[heat.argmax(0).max(), heat.argmax(1).max()], "found each by itself need not meet"),
    (lambda heat, mask: mask.flatten()[heat.argmin()], "the lowest value"),
    (lambda heat, mask: heat[mask].sum() > heat[~mask].sum(), "one highest"),
    (lambda heat, mask: heat[mask].mean() > heat[~mask].mean(), "one highest"),
    (lambda heat, mask: mask.flatten()[heat.relu_().argmax()], "changed its input"),
    (lambda heat, mask: mask.logical_not_().flatten()[heat.argmax()] == 0, "changed its input"),
    (lambda heat, mask: None, "returns nothing"),
]
RIGHT["deletion"] = [
    deletion,
    lambda *a: torch.tensor(deletion(*a)),
    lambda m, x, c, heat, n: vh.insertion_deletion(m, x, c, heat[None], steps=n, of="score", blur=0).deletion[0],
]
WRONG["deletion"] = [
    (lambda *a: deletion(*a, descending=False), "lowest pixels first"),
    (lambda *a: deletion(*a, by=torch.abs), "rank by magnitude"),
    (lambda *a: deletion(*a, read=lambda s: s.softmax(1)), "take the logit"),
    (lambda *a: deletion(*a, whole=True), "all three colours"),
    (lambda *a: deletion(*a)[::-1], "insertion curve"),
    (lambda *a: deletion(*a, in_place=True), "changed its input"),
    (lambda *a: deletion(*a)[:-1], "5 points"),
    (lambda *a: None, "returns nothing"),
    (lambda m, x, c, heat, n: [deletion(m, x, c, heat, n), heat.zero_()][0], r"changed its input \(number 4\)"),
    (lambda m, x, c, heat, n: deletion(m.train(), x, c, heat, n), "mode .* has changed"),
]
RIGHT["with_random_weights"] = [lend, by_the_package]
WRONG["with_random_weights"] = [
    (lambda *a: lend(*a, keep=lambda v: v), "not given back"),
    (lambda *a: lend(*a, back=False), "not given back"),
    (lambda *a: lend(*a, always=False), "finally block"),
    (lambda *a: lend(*a, swallow=True), "come through"),
    (lambda *a: lend(*a, change=False), "was not random"),
    (lambda *a: lend(*a, call=False), r"call function\(\)"),
    (lambda *a: lend(*a, only="weight"), "0.bias was not random"),
    (lambda *a: lend(*a, only="2."), "0.weight was not random"),
    (lambda *a: lend(*a, new=torch.zeros_like), "0.weight was not random .* the same number"),
    (lambda *a: lend(*a, new=lambda p: p + 1e-6 * torch.randn(p.shape)), "0.weight was not random .* nearly its own"),
    (lambda *a: lend(*a, trainable=True), "requires_grad"),
    (lambda *a: lend(*a) and None, "return what function"),
]


# ---- all of them ----------------------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore:Nothing to reconstruct")
@pytest.mark.parametrize("check, number", [(c, n) for c, answers in RIGHT.items() for n in range(len(answers))])
def test_a_right_answer_passes_and_is_no_slip(check, number, monkeypatch):
    met = {}  # slip -> whether it is something else than the right answer in any of the check's cases
    compare = kit.compare

    def watching(got, want, slips=None, hint="", tol=1e-4):
        compare(got, want, slips, hint, tol)
        for sentence, wrong in (slips or {}).items():
            sentence = re.sub(r"'[^']*'|[-.\d]+", "...", sentence)  # the same slip in another case
            a, b = (torch.as_tensor(t).detach().float() for t in (wrong, want))
            met[sentence] = met.get(sentence, False) or a.shape != b.shape or not torch.allclose(a, b, 10 * tol, 0)

    for name in ("kit", *(f"lesson_{n:02}" for n in range(14))):
        monkeypatch.setattr(import_module(f"checks.{name}"), "compare", watching, raising=False)
    getattr(checks, f"check_{check}")(RIGHT[check][number])
    assert all(met.values()), [sentence for sentence, other in met.items() if not other]


@pytest.mark.parametrize("check, number", [(c, n) for c, answers in WRONG.items() for n in range(len(answers))])
def test_a_wrong_answer_is_named(check, number):
    answer, words = WRONG[check][number]
    with np.errstate(all="ignore"), warnings.catch_warnings(), pytest.raises(AssertionError, match=words):
        warnings.simplefilter("ignore")
        getattr(checks, f"check_{check}")(answer)


def test_every_check_has_two_right_answers_and_four_wrong_ones_that_it_names():
    bare = re.compile(r"differ|should (be|have)|shape|returns nothing|things$")  # says that it is wrong, not why
    few = [c for c in RIGHT if len(RIGHT[c]) < 2 or sum(not bare.search(words) for _, words in WRONG[c]) < 4]
    assert not few


def test_every_check_is_tested():
    found = {name for m in iter_modules(checks.__path__) for name in vars(import_module(f"checks.{m.name}"))}
    assert {f"check_{name}" for name in RIGHT} == {f"check_{name}" for name in WRONG} == {
        name for name in found if name.startswith("check_")
    }  # fmt: skip
