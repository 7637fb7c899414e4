"""The exercise checks: every right answer passes, every typical wrong one is refused with a sentence that names it."""

import numpy as np
import pytest
import torch
from torch import nn

import vizhelpers as vh


def test_try_check_says_how_it_went(capsys):
    def todo():
        raise NotImplementedError

    vh.try_check(lambda f: f(), todo)
    assert capsys.readouterr().out.startswith("Not solved yet: replace `raise NotImplementedError`")
    vh.try_check(lambda f: f(), lambda: 1 / 0)
    assert "your code stopped with ZeroDivisionError: division by zero" in capsys.readouterr().out
    vh.try_check(lambda a, b: None, 1, 2)
    assert capsys.readouterr().out == "Correct.\n"


def test_an_unknown_check_is_an_attribute_error():
    with pytest.raises(AttributeError, match="check_nonsense"):
        vh.check_nonsense  # noqa: B018


# ---- 00_start_here --------------------------------------------------------------------------------------------------
def normalise(pixels, mean, std):
    values = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    return ((values - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None])[None]


def normalise_last(pixels, mean, std):
    return torch.tensor((pixels / 255 - mean) / std, dtype=torch.float32).permute(2, 0, 1).unsqueeze(0)


def normalise_torchvision(pixels, mean, std):
    from torchvision.transforms import functional

    return functional.normalize(functional.to_tensor(pixels), mean, std)[None]


def in_place(pixels, mean, std):
    x = normalise(pixels, mean, std)
    pixels //= 2
    return x


@pytest.mark.parametrize("answer", [normalise, normalise_last, normalise_torchvision])
def test_normalise_accepts_any_right_answer(answer):
    vh.check_normalise(answer)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
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
        (lambda p, m, s: normalise(p, np.divide(m, s).tolist(), (1.0, 1.0, 1.0)) + 1, "away from"),
        (lambda p, m, s: normalise(p.reshape(3, 4, 6).transpose(1, 2, 0).copy(), m, s), "reshape deals"),
        (lambda p, m, s: normalise(p, (0.0, 0.0, 0.0), s) - torch.tensor(m)[:, None, None], "first subtract"),
        (in_place, "were changed"),
    ],
)
def test_normalise_names_the_mistake(answer, sentence):
    with np.errstate(all="ignore"), pytest.raises(AssertionError, match=sentence):
        vh.check_normalise(answer)


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


@pytest.mark.parametrize("answer", [with_capture, with_hooks])
def test_layer_shapes_accepts_any_right_answer(answer):
    vh.check_layer_shapes(answer)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda m, x, n: list(with_capture(m, x, n).values()), "dictionary"),
        (lambda m, x, n: with_capture(m, x, n[:2]), "names should be"),
        (lambda m, x, n: with_hooks(m, x, n, remove=False), "remove your hooks"),
        (lambda m, x, n: with_hooks(m, x, n, of=lambda i, o: tuple(o.shape[1:])), "lacks the first axis"),
        (lambda m, x, n: with_hooks(m, x, n, of=lambda i, o: tuple(i[0].shape)), "is it the layer's output"),
        (lambda m, x, n: with_hooks(m, x, n, of=lambda i, o: o), "not the tensor"),
    ],
)
def test_layer_shapes_names_the_mistake(answer, sentence):
    with pytest.raises(AssertionError, match=sentence):
        vh.check_layer_shapes(answer)


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


def forgotten(model, x, name):
    model.get_submodule(name).register_forward_hook(lambda *a: None)
    return share(model, x, name)


@pytest.mark.parametrize("answer", [share, share_by_capture])
def test_share_cut_accepts_any_right_answer(answer):
    vh.check_share_cut(answer)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda m, x, n: share(m, x, n, clone=False), "in-place ReLU behind the layer has rewritten"),
        (lambda m, x, n: share(m, x, n, tidy=False), "when the model raises an error"),
        (forgotten, "remove your hook after"),
        (lambda m, x, n: None, "returns nothing"),
        (lambda m, x, n: 100 * share(m, x, n), "in percent"),
        (lambda m, x, n: 1 - share(m, x, n), "not negative"),
        (lambda m, x, n: share(m, x, n, lambda a: (a < 0).sum()), "divide by how many"),
        (lambda m, x, n: share(m, x, n, lambda a: (a <= 0).float().mean()), "count what is < 0"),
        (lambda m, x, n: share(m, x, n, lambda a: (a[0] < 0).float().mean()), "of all values"),
    ],
)
def test_share_cut_names_the_mistake(answer, sentence):
    with pytest.raises(AssertionError, match=sentence):
        vh.check_share_cut(answer)


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


def test_saved_accepts_the_solution():
    vh.check_saved(Saved)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (spoilt(detached), r"\(2\) no gradient reaches"),
        (spoilt(side_road), r"\(3\) the logits do not depend"),
        (spoilt(naive), r"\(1\) .output has no negative"),
        (spoilt(meddling), "answers differently"),
        (spoilt(doubled), r"\(2\) there is a gradient, but not the right one"),
        (spoilt(nothing), "should be the layer's output"),
        (spoilt(close=lambda self: None), "close\\(\\) should remove"),
    ],
)
def test_saved_names_the_mistake(answer, sentence):
    with pytest.raises(AssertionError, match=sentence):
        vh.check_saved(answer)


# ---- 06_fooling_images ----------------------------------------------------------------------------------------------
def norms(a):
    return a.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def changed_in_place(pixels, gradient, length):
    pixels += length / 255 * gradient / norms(gradient)
    return pixels.clamp_(0, 1)


def test_fooling_step_accepts_any_right_answer():
    vh.check_step(lambda p, g, s: (p + s / 255 * g / norms(g)).clamp(0, 1))
    unit = nn.functional.normalize
    vh.check_step(lambda p, g, s: (p + s / 255 * unit(g.flatten(1)).view_as(g)).clip(0, 1))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (changed_in_place, "changed the pixels"),
        (lambda p, g, s: None, "not a NoneType"),
        (lambda p, g, s: (p + s / 255 * g / norms(g))[0].clamp(0, 1), "should be"),
        (lambda p, g, s: (p + s * g / norms(g)).clamp(0, 1), "divide it by 255"),
        (lambda p, g, s: (p - s / 255 * g / norms(g)).clamp(0, 1), "goes downhill"),
        (lambda p, g, s: (p + s / 255 * g).clamp(0, 1), "the gradient's own length"),
        (lambda p, g, s: (p + s / 255 * g / g.norm()).clamp(0, 1), "over the whole batch"),
        (lambda p, g, s: (p + s / 255 * g.sign()).clamp(0, 1), "Only the signs"),
        (lambda p, g, s: p + s / 255 * g / norms(g), "Values leave 0..1"),
        (lambda p, g, s: (p + s / 256 * g / norms(g)).clamp(0, 1), "differs from"),
    ],
)
def test_fooling_step_names_the_mistake(answer, sentence):
    with pytest.raises(AssertionError, match=sentence):
        vh.check_step(answer)


def file_change(start, picture):
    return ((picture * 255).round() - (start * 255).round()).flatten(1)


def wrapped(start, picture):
    change = ((picture * 255).round().byte() - (start * 255).round().byte()).flatten(1).float()
    return change.norm(dim=1), change.amax(1)


def test_sizes_accepts_any_right_answer():
    vh.check_sizes(lambda a, b: (file_change(a, b).norm(dim=1), file_change(a, b).abs().amax(1)))
    vh.check_sizes(lambda a, b: (file_change(a, b).int().pow(2).sum(1).sqrt(), file_change(a, b).int().abs().amax(1)))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda a, b: file_change(a, b).norm(dim=1), "Return two things"),
        (lambda a, b: (file_change(a, b).norm().item(), 0), "should be a tensor"),
        (lambda a, b: (file_change(a, b).norm(), file_change(a, b).abs().amax(1)), "one number per picture"),
        (lambda a, b: (file_change(a, b).norm(dim=1) / 255, file_change(a, b).abs().amax(1)), "multiply by 255"),
        (lambda a, b: (255 * (b - a).flatten(1).norm(dim=1), file_change(a, b).abs().amax(1)), "whole numbers"),
        (wrapped, "3 - 5 becomes 254"),
        (lambda a, b: (file_change(a, b).norm(dim=1), file_change(a, b).amax(1)), "linf should be"),
    ],
)
def test_sizes_names_the_mistake(answer, sentence):
    with pytest.raises(AssertionError, match=sentence):
        vh.check_sizes(answer)


def escape(net, pixels, length, steps, sign=-1.0, late=0, score=lambda scores: scores.log_softmax(0), backward=False):
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
        pixels = (leaf + sign * length / 255 * g / g.norm()).clamp(0, 1)


def spoils_the_argument(net, pixels, length, steps):
    found = escape(net, pixels, length, steps)
    pixels.copy_(found[0])
    return found


def test_escape_accepts_any_right_answer():
    vh.check_escape(escape)
    vh.check_escape(lambda *a: escape(*a, score=lambda scores: scores.softmax(0)))  # the same direction


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda *a: escape(*a)[0], "Return two things"),
        (spoils_the_argument, "work on a copy"),
        (lambda *a: escape(*a, backward=True), "weights have a .grad"),
        (lambda *a: escape(*a, sign=1.0), "subtract the step"),
        (lambda *a: escape(*a, late=1000), "All 99 steps"),
        (lambda *a: escape(*a, late=1), "steps of length"),
        (lambda *a: escape(a[0], a[1], 2 * a[2], a[3]), "steps of length"),
        (lambda n, p, s, k: ((p + 0.001 * torch.ones_like(p)), escape(n, p, s, k)[1]), "the picture is not|uphill"),
    ],
)
def test_escape_names_the_mistake(answer, sentence):
    with pytest.raises(AssertionError, match=sentence):
        vh.check_escape(answer)
