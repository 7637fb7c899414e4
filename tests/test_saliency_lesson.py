"""Lesson 05's explorer and exercise checks: every control is moved, every typical wrong answer is refused."""
import ipywidgets as W
import pytest
import torch
from torch import nn

import vizhelpers as vh


def tiny(classes=4):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Conv2d(3, 5, 5, stride=4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
                             nn.Linear(80, classes)).eval().requires_grad_(False)  # fmt: skip


def controls(widget) -> dict:
    found = {widget.description: widget} if hasattr(widget, "description") and hasattr(widget, "value") else {}
    for child in getattr(widget, "children", ()):
        found |= controls(child)
    return found


# --- explorer --------------------------------------------------------------------------------------------------------
def test_every_method_is_the_package_s_own():
    net = tiny()
    explorer = vh.explore_saliency(net, ["koala", "coffee"], steps=6)
    parts = controls(explorer)
    assert not parts["noise"].continuous_update and not parts["samples"].continuous_update
    for picture in ("coffee", "koala"):
        parts["picture"].value = picture
        x, c = vh.to_input(picture, net), parts["class"].options[1][1]
        parts["class"].value = c
        want = {
            "saliency": vh.saliency(net, x, c)[0],
            "SmoothGrad": vh.smoothgrad(net, x, c, level=parts["noise"].value, samples=8).abs().amax(1)[0],
            "gradient x input": vh.gradient_x_input(net, x, c)[0].sum(0),
            "Integrated Gradients": vh.integrated_gradients(net, x, c, steps=6)[0].sum(0),
        }
        for method in want:
            parts["method"].value = method
            assert explorer.result[:3] == (picture, c, method)
            torch.testing.assert_close(explorer.result.map, want[method].cpu(), rtol=1e-4, atol=1e-6)
            assert bool(explorer.result.path) == (method == "Integrated Gradients")


def test_noise_and_samples_change_smoothgrad_only():
    net = tiny()
    explorer = vh.explore_saliency(net, "koala", steps=4)
    parts, x = controls(explorer), vh.to_input("koala", net)
    before = explorer.result
    parts["samples"].value = 3
    assert explorer.result is before
    parts["method"].value = "SmoothGrad"
    for noise, samples in ((0.0, 3), (0.3, 3), (0.3, 5)):
        parts["noise"].value, parts["samples"].value = noise, samples
        want = vh.smoothgrad(net, x, explorer.result.target, level=noise, samples=samples).abs().amax(1)[0]
        torch.testing.assert_close(explorer.result.map, want.cpu())


def test_the_path_walks_from_black_and_keeps_account():
    net = tiny()
    explorer = vh.explore_saliency(net, "koala", steps=40)
    parts, x = controls(explorer), vh.to_input("koala", net)
    parts["method"].value = "Integrated Gradients"
    path, c = explorer.result.path, explorer.result.target
    black = vh.to_input(torch.zeros(1, 3, 224, 224), net)
    assert path[0].share == 0 and path[-1].share == 1 and len(path) == 42
    assert path[0].score == pytest.approx(float(vh.score(net, black, c)), abs=1e-4)
    assert path[-1].score == pytest.approx(float(vh.score(net, x, c)), abs=1e-4)
    assert path[-1].attributed == pytest.approx(float(explorer.result.map.sum()), abs=1e-3)
    scale = max(abs(p.score - path[0].score) for p in path)
    for point in path:  # complete at every point of the way
        assert abs(point.attributed - (point.score - path[0].score)) < 0.1 * scale
    pictures = set()
    for k in range(42):
        parts["path"].value = k
        pictures.add(explorer.images[0].value)
        assert f"{path[k].share:.0%} of the way" in explorer.text.value
    assert len(pictures) > 30
    assert any(isinstance(w, W.Play) for box in explorer.children for w in getattr(box, "children", ()))


def test_the_search_box_takes_a_label_and_names_what_it_does_not_know():
    net = vh.load_model("squeezenet1_1")
    explorer = vh.explore_saliency(net, "koala")
    parts = controls(explorer)
    parts["search"].value = "sports car"
    assert explorer.result.target == 817 and "sports car" in explorer.text.value
    torch.testing.assert_close(explorer.result.map, vh.saliency(net, vh.to_input("koala", net), 817)[0].cpu())
    with pytest.raises(ValueError, match="nearest"):
        parts["search"].value = "koalla"
    assert "koala" in explorer.text.value and explorer.result.target == 817


# --- exercise 1 ------------------------------------------------------------------------------------------------------
def grad(model, x, c, of=lambda scores: scores):
    leaf = x.detach().clone().requires_grad_()
    return torch.autograd.grad(of(model(leaf))[:, c].sum(), leaf)[0]


def by_backward(model, x, c):
    x = x.clone().requires_grad_()
    model(x)[:, c].sum().backward()
    return x.grad.abs().amax(1)


def in_the_caller_s_x(model, x, c):
    x.requires_grad_()
    model(x)[:, c].sum().backward()
    return x.grad.abs().amax(1)


@pytest.mark.parametrize("answer", [lambda m, x, c: grad(m, x, c).abs().amax(1), by_backward])
def test_saliency_right(answer):
    vh.check_saliency(answer)


@pytest.mark.parametrize("answer, says", [
    (lambda m, x, c: grad(m, x, c, lambda s: s.softmax(1)).abs().amax(1), "take the logit"),
    (lambda m, x, c: grad(m, x, c).amax(1), "magnitude first"),
    (lambda m, x, c: grad(m, x, c).abs().mean(1), "not the mean"),
    (lambda m, x, c: grad(m, x, c).abs().sum(1), "not the sum"),
    (lambda m, x, c: (x * grad(m, x, c)).abs().amax(1), "times input"),
    (lambda m, x, c: grad(m, x, c).abs(), r"shape \(N, H, W\)"),
    (lambda m, x, c: grad(m, x, 0).abs().amax(1), "differ from"),
    (in_the_caller_s_x, "fresh leaf"),
    (lambda m, x, c: None, "return a tensor"),
])  # fmt: skip
def test_saliency_wrong(answer, says):
    with pytest.raises(AssertionError, match=says):
        vh.check_saliency(answer)


# --- exercise 2 ------------------------------------------------------------------------------------------------------
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


def smooth_in_one_batch(model, x, c, level, samples):
    noise = torch.randn(samples, *x.shape[1:]) * level * (x.max() - x.min())
    return grad(model, x + noise, c).mean(0, keepdim=True)


@pytest.mark.parametrize("answer", [smooth, smooth_in_one_batch,
                                    lambda m, x, c, v, n: vh.smoothgrad(m, x, c, level=v, samples=n)])  # fmt: skip
def test_smoothgrad_right(answer):
    vh.check_smoothgrad(answer)


@pytest.mark.parametrize("change, says", [
    ({"finish": lambda t, n: t}, "divide by the number"),
    ({"finish": lambda t, n: t.abs() / n}, "signed"),
    ({"each": torch.abs}, "signed"),
    ({"sigma": lambda x, level: level}, "share of the picture's range"),
    ({"sigma": lambda x, level: level * x.max()}, "noise has a deviation"),
    ({"draw": torch.rand_like}, "noise has a deviation"),
    ({"draw": torch.zeros_like}, "every copy is the same"),
    ({"walk": True}, "noise grows"),
    ({"in_place": True}, "caller's x|differ|plain"),
])  # fmt: skip
def test_smoothgrad_wrong(change, says):
    with pytest.raises(AssertionError, match=says):
        vh.check_smoothgrad(lambda *args: smooth(*args, **change))


# --- exercise 3 ------------------------------------------------------------------------------------------------------
def integrated(model, x, baseline, c, steps, *, shift=0.5, start=None, way=None, divide=True):
    total, start = torch.zeros_like(x), baseline if start is None else start
    for step in range(steps):
        total += grad(model, start + (step + shift) / steps * (x - start), c)
    return (x - baseline if way is None else way(x)) * (total / steps if divide else total)


@pytest.mark.parametrize("shift", [0, 0.5, 1])
def test_integrated_gradients_right_whatever_the_rule(shift):
    vh.check_integrated_gradients(lambda *args: integrated(*args, shift=shift))


@pytest.mark.parametrize("change, says", [
    ({"way": torch.ones_like}, "multiply the mean gradient by the way"),
    ({"way": lambda x: x}, "not by x"),
    ({"start": torch.zeros(1)}, "start at the baseline"),
    ({"divide": False}, "number of steps"),
])  # fmt: skip
def test_integrated_gradients_wrong(change, says):
    with pytest.raises(AssertionError, match=says):
        vh.check_integrated_gradients(lambda *args: integrated(*args, **change))


@pytest.mark.parametrize("answer", [
    lambda m, x, b, c, n: x * grad(m, x, c), lambda m, x, b, c, n: (x - b) * grad(m, x, c),
])  # fmt: skip
def test_the_gradient_at_the_end_is_not_the_way(answer):
    with pytest.raises(AssertionError, match="whole way"):
        vh.check_integrated_gradients(answer)
