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
