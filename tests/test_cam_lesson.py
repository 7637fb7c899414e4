"""What lesson 08 brings along: its exercise checks, the layer explorer and the method lab, every control moved."""
import base64
import io
import warnings

import ipywidgets as W
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import vizhelpers as vh
from vizhelpers.explore.methods import METHODS


@pytest.fixture(scope="module")
def net():
    return vh.load_model("squeezenet1_1", device="cpu")


def controls(explorer):
    kinds = (W.SelectionSlider, W.Dropdown, W.Text)
    return {c.description: c for row in explorer.children for c in getattr(row, "children", ()) if isinstance(c, kinds)}


def shown(explorer):
    return [np.asarray(Image.open(io.BytesIO(image.value)).convert("RGB")) for image in explorer.images]


# ---- explorers ------------------------------------------------------------------------------------------------------
def test_explore_cam_walks_every_layer_method_and_class(net):
    explorer = vh.explore_cam(net, {"koala": "koala", "a cup": "coffee"})
    parts, methods = controls(explorer), {"Grad-CAM": vh.grad_cam, "Grad-CAM++": vh.grad_cam_plus_plus}
    assert parts["layer"].options[0] == "features.0" and parts["layer"].options[-1] == "classifier.2"
    for name, best in (("a cup", 967), ("koala", 105)):
        parts["picture"].value = name
        x = vh.to_input("koala" if name == "koala" else "coffee", net)
        assert explorer.result[:2] == (name, best) and len(parts["class"].options) == 5
        parts["class"].index = 2
        target = parts["class"].value
        for layer in parts["layer"].options[1::3]:
            parts["layer"].value = layer
            for label, method in methods.items():
                parts["method"].value = label
                assert explorer.result[:4] == (name, target, layer, label)
                want = method(net, x, target, layer=layer)[0]
                torch.testing.assert_close(explorer.result.map, want, atol=1e-4, rtol=1e-3)
        parts["method"].value = "CAM"
        torch.testing.assert_close(explorer.result.map, vh.cam(net, x, target)[0])
    assert shown(explorer)[1].shape == (320, 320, 3)


def test_explore_cam_searches_any_class(net):
    explorer = vh.explore_cam(net, "koala", layers=["features.12"])
    parts, before = controls(explorer), shown(explorer)[1]
    parts["search"].value = "espresso"
    assert explorer.result.target == 967 and "espresso" in explorer.text.value
    assert (shown(explorer)[1] != before).any() and len(parts["class"].options) == 6
    parts["search"].value = "105"
    assert explorer.result.target == 105 and (shown(explorer)[1] == before).all()
    with pytest.raises(ValueError, match="koala"):
        parts["search"].value = "koalla"
    assert "nearest" in explorer.text.value and explorer.result.target == 105


def test_explore_cam_of_a_net_without_classes_asks_for_channels():
    vgg = vh.load_model("vgg16", device="cpu")
    explorer = vh.explore_cam(vgg, "koala", layers=["features.22", "features.28"])
    parts, x = controls(explorer), vh.to_input("koala", vgg)
    assert int(vh.channel_response(vgg, x, "features.29")[0].argmax()) == explorer.result.target.channel
    parts["layer"].value, parts["search"].value = "features.22", "7"
    want = vh.grad_cam(vgg, x, vh.Neuron("features.29", 7), layer="features.22")[0]
    assert explorer.result.target == vh.Neuron("features.29", 7)
    torch.testing.assert_close(explorer.result.map, want, rtol=1e-3, atol=1e-5)
    parts["method"].value = "CAM"
    assert "use grad_cam" in explorer.text.value and not explorer.result.map.any()


def test_method_lab_keeps_raw_numbers_and_one_scale(net):
    lab = vh.explore_methods(net, "koala")
    parts, result, x = controls(lab), lab.result, vh.to_input("koala", net)
    assert list(result.raw) == list(METHODS) and result.reasons == {} and result.target == 105
    torch.testing.assert_close(result.raw["CAM (08)"], vh.cam(net, x, 105)[0])
    torch.testing.assert_close(result.maps["gradient (05)"], vh.gradient(net, x, 105)[0].sum(0))
    assert {m.shape for m in result.maps.values()} == {(224, 224)}
    own = shown(lab)[0]
    parts["scale"].value = "one for all"
    assert (shown(lab)[0] != own).any() and lab.result is result
    bundle = lab._repr_mimebundle_()
    assert Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).width > 800


def test_method_lab_says_why_a_method_gives_nothing(monkeypatch):
    for name in list(METHODS):
        if "Grad-CAM" not in name and name not in ("CAM (08)", "guided backprop (07)"):
            monkeypatch.delitem(METHODS, name)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 222 * 222, 3)).eval()
    nn.init.zeros_(net[3].weight)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the reasons stand in the tiles, not on the page
        lab = vh.explore_methods(net, "koala")
    assert "SiLU" in lab.result.reasons["guided backprop (07)"] or "silu" in lab.result.reasons["guided backprop (07)"]
    assert "use grad_cam" in lab.result.reasons["CAM (08)"]
    assert "gradient is 0 everywhere" in lab.result.reasons["Grad-CAM (08)"]
    assert "Grad-CAM (08)" in lab.result.raw and "CAM (08)" not in lab.result.raw and "CAM (08)" in lab.text.value


# ---- checks ---------------------------------------------------------------------------------------------------------
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


def test_grad_cam_check_accepts_and_names_mistakes():
    vh.check_grad_cam(grad_cam)
    vh.check_grad_cam(lambda m, x, c, layer: vh.grad_cam(m, x, c, layer=layer)[0])
    wrong = {
        "hook is left": dict(remove=False), "positive part of the sum": dict(end=lambda t: t.sum(1)),
        "not its sum": dict(alpha=lambda g: g.sum((2, 3), keepdim=True)), "its own gradient": dict(alpha=lambda g: g),
        "ReLU comes last": dict(end=lambda t: t.relu().sum(1)),
        "Negative alphas": dict(alpha=lambda g: g.mean((2, 3), keepdim=True).relu()),
    }  # fmt: skip
    for sentence, options in wrong.items():
        with pytest.raises(AssertionError, match=sentence):
            vh.check_grad_cam(lambda m, x, c, layer, options=options: grad_cam(m, x, c, layer, **options))

    def late(m, x, c, layer):
        """A kept output that the in-place ReLU rewrote."""
        with vh.capture(m, layer, leaf=True) as acts:
            out = m(x)
        (g,) = torch.autograd.grad(out[0, c], acts[layer])
        a = acts[layer].detach()
        return (g.mean((2, 3), keepdim=True) * a.relu()).sum(1)[0].relu()

    with pytest.raises(AssertionError, match="in-place ReLU"):
        vh.check_grad_cam(late)


def plus_plus(maps, g, epsilon=0.0, relu=True, joint=True):
    total = (2 * g**2 + (maps.sum((1, 2), keepdim=True) * g**3 if joint else (maps * g**3).sum((1, 2), keepdim=True)))
    alpha = torch.where(g != 0, g**2 / (total + epsilon), 0)
    return (alpha * (g.relu() if relu else g)).sum((1, 2))


def test_the_other_checks():
    vh.check_cam_map(lambda maps, weights, c: torch.einsum("khw,k->hw", maps, weights[c]))
    vh.check_plus_plus_weights(lambda maps, g: vh.plus_plus_weights(maps[None], g[None])[0])
    vh.check_plus_plus_weights(plus_plus)

    def energy(heat, mask, **how):
        big = F.interpolate(heat[None, None], size=mask.shape, **(how or dict(mode="bilinear")))[0, 0]
        return big[mask].sum() / big.sum()

    vh.check_energy_inside(energy)
    wrong = [
        (vh.check_cam_map, lambda m, w, c: torch.einsum("khw,k->hw", m, w[c]).relu(), "CAM keeps it"),
        (vh.check_cam_map, lambda m, w, c: torch.einsum("khw,k->hw", m, w[c - 1]), "row c"),
        (vh.check_cam_map, lambda m, w, c: (w[c][:, None, None] * m).mean(0), "mean over the channels"),
        (vh.check_plus_plus_weights, lambda m, g: plus_plus(m, g, 1e-6), "an epsilon in the"),
        (vh.check_plus_plus_weights, lambda m, g: plus_plus(m, g, relu=False), "relu"),
        (vh.check_plus_plus_weights, lambda m, g: plus_plus(m, g, joint=False), "whole channel"),
        (vh.check_plus_plus_weights, lambda m, g: (g**2 / (2 * g**2 + m.sum((1, 2), keepdim=True) * g**3)
                                                   * g.relu()).sum((1, 2)), "NaN"),
        (vh.check_energy_inside, lambda h, m: energy(h, m, mode="bilinear", align_corners=True), "pulls the cells"),
        (vh.check_energy_inside, lambda h, m: energy(h, m, mode="nearest"), "without interpolation"),
        (vh.check_energy_inside, lambda h, m: m.float().mean(), "mask's share"),
        (vh.check_energy_inside, lambda h, m: 32 * 48 * energy(h, m), "between 0 and 1"),
    ]
    for check, answer, sentence in wrong:
        with pytest.raises(AssertionError, match=sentence):
            check(answer)
