"""Explorers: every position of every control is walked, since a callback's exception shows nowhere else."""
import asyncio
import base64
import copy
import io
import threading
import time
import warnings

import ipywidgets as W
import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from PIL import Image
from torch import nn

import vizhelpers as vh
from vizhelpers.explore.base import Explorer, Html, Search, Stepwise, slide
from vizhelpers.methods.gradients import deconvnet_gradient, guided_backprop
from vizhelpers.methods.scoreboard import BASELINES, METHODS


@pytest.fixture(scope="module")
def net():
    return vh.load_model("squeezenet1_1", device="cpu")


@pytest.fixture(scope="module")
def alexnet():
    return vh.load_model("alexnet", device="cpu")


@pytest.fixture(scope="module")
def vgg():
    return vh.load_model("vgg16", device="cpu")


def strided(classes=5):
    """A quick net with all that the methods need: convolutions, ReLUs, pooling, a linear layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(3, 6, 5, stride=4), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes),
        ).eval().requires_grad_(False)  # fmt: skip


def controls(explorer):
    """Label -> control or button, also of a control with one choice, which is not shown."""
    shown = [part for row in explorer.children for part in getattr(row, "children", ())]
    return {part.description: part for part in (*shown, *explorer.controls.values()) if hasattr(part, "description")}


def buttons(explorer):
    return [c for box in explorer.children for c in getattr(box, "children", ()) if isinstance(c, W.Button)]


def shot(explorer):
    return [np.asarray(Image.open(io.BytesIO(image.value)).convert("RGB")) for image in explorer.images]


# --- what all share --------------------------------------------------------------------------------------------------
def test_a_move_draws_once_also_where_it_clips_another_slider():
    drawn = []

    def look(layer, channel):
        drawn.append((layer, channel))
        return "<i>" + layer, [np.zeros((9, 12, 3), np.uint8)], {"twice": 2 * channel}

    explorer = Explorer(look, layer=slide(["a", "b"]),
                        channel=slide(lambda layer: (range({"a": 10, "b": 4}[layer]), None)))  # fmt: skip
    explorer.controls["channel"].value = 9
    explorer.controls["layer"].value = "b"
    assert drawn == [("a", 0), ("a", 9), ("b", 3)] and explorer.result == ("b", 3, 6)
    assert explorer.text.value.startswith("&lt;i&gt;b")  # what is no HTML stays none
    explorer.set(layer="a", channel=8)
    assert drawn[3:] == [("a", 8)]


def test_choices_may_come_with_a_value_and_a_control_that_does_not_act_is_grey_and_none():
    explorer = Explorer(
        lambda how, grain: (Html(f"<b>{how}</b>"), [], {"how": grain}), how=["plain", "noisy"],
        grain=slide(lambda how: (range(5), 4 if how == "noisy" else 1), slow=True, acts=lambda how: how == "noisy"),
    )  # fmt: skip
    how, grain = explorer.controls["how"], explorer.controls["grain"]
    assert (grain.value, grain.disabled, grain.continuous_update) == (1, True, False)
    assert explorer.result == (None, None) and explorer.text.value == "<b>plain</b>"
    how.value = "noisy"
    assert (grain.value, grain.disabled) == (4, False) and explorer.result.how == explorer.result.grain == 4


def test_a_search_moves_what_it_means_and_says_what_it_does_not_know():
    drawn = []

    def look(group, number):
        drawn.append((group, number))
        return f"{group}{number}", [], {}

    def find(words):
        return {"group": words[0], "number": int(words[1:])}

    search = Search(find, "a letter and a number")
    explorer = Explorer(look, group=["a", "b"], number=slide(lambda group: (range(9), 0)), search=search)
    search.value = " b7 "
    search.value = ""
    assert drawn == [("a", 0), ("b", 7)] and explorer.result == ("b", 7)
    with pytest.raises(ValueError, match="int"):
        search.value = "b<x>"
    assert "&lt;x&gt;" in explorer.text.value and explorer.result == ("b", 7)
    explorer.controls["group"].value = "a"
    assert drawn[2:] == [("a", 0)]


def test_the_text_of_waiting_stands_until_the_picture_comes():
    seen = []

    def look(how, at):
        seen.append(explorer.text.value if seen else "")
        return "ready", [], {}

    explorer = Explorer(look, how=["a", "b"], at=range(3), wait="computing ...")
    explorer.controls["how"].value = "b"
    explorer.controls["at"].value = 1  # quick enough to follow the slider
    assert seen[1:] == ["computing ...", "ready"] and explorer.text.value == "ready"


def test_an_error_while_stepping_stops_and_is_said():
    class Job:
        done, total = 0, 3

        def step(self):
            self.done += 1
            assert self.done < 2, "two is <too> many"

    explorer = Stepwise(lambda speed: Job(), lambda run, speed: (f"{run.job and run.job.done}", [], {}), speed=range(2))
    explorer.start.click()  # a button's exceptions go to a log that nobody sees
    assert "two is &lt;too&gt; many" in explorer.text.value and not explorer.start.disabled and explorer.stop.disabled
    explorer.controls["speed"].value = 1
    assert explorer.text.value == "None" and explorer.bar.value == 0


def test_step_buttons_and_their_ends(net):
    explorer = vh.explore_features(net, "koala", layers=["features.0", "classifier.1"])
    back, on, channel_back, channel_on = buttons(explorer)
    channel_on.click()
    assert explorer.result.channel == 1
    channel_back.click()
    channel_back.click()
    assert explorer.result.channel == 0
    on.click()
    on.click()
    assert explorer.result.layer == "classifier.1"
    back.click()
    assert explorer.result.layer == "features.0"


def test_an_error_in_a_callback_is_said_on_the_page(net):
    explorer = vh.explore_features(net, "koala", layers=["features.0"])
    explorer.look = lambda picture, layer, channel: 1 / 0
    with pytest.raises(ZeroDivisionError):
        controls(explorer)["channel"].value = 3
    assert "ZeroDivisionError" in explorer.text.value


def test_page_without_a_kernel_shows_the_still_picture(net):
    explorer = vh.explore_features(net, "koala", layers=["features.0"])
    bundle = explorer._repr_mimebundle_()
    still = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert "application/vnd.jupyter.widget-view+json" in bundle and still.width > 600


def test_bad_input_is_said_at_once(net, alexnet):
    with pytest.raises(ValueError, match="no picture to explore"):
        vh.explore_features(net, [])
    with pytest.raises(ValueError, match="nearest"):
        vh.explore_features(net, "koala", layers=["features.99"])
    with pytest.raises(ValueError, match="not maps"):
        vh.explore_features(nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 2)), "koala", layers=["1"])
    with pytest.raises(ValueError, match="no class scores"):
        vh.explore_predictions(alexnet, "koala")


def test_a_move_in_another_thread_waits_for_the_step_and_is_not_lost():
    """JupyterLab sends clicks and moves to several threads of the kernel."""
    begun = threading.Event()

    class Job:
        done, total = 0, 3

        def step(self):
            begun.set()
            time.sleep(0.05)
            self.done += 1

    explorer = Stepwise(lambda speed: Job(), lambda run, speed: (f"{run.job and run.job.done}", [], {}), speed=range(2))
    steps = threading.Thread(target=explorer.start.click)
    steps.start()
    begun.wait()
    explorer.controls["speed"].value = 1
    steps.join()
    assert explorer.result == (1,) and explorer.text.value == "None" and not explorer.start.disabled


# --- layers: predictions, filters, features, patches, deconvnet ------------------------------------------------------
def test_predictions_walk_every_picture(net):
    names = ["koala", "coffee", "india_gate"]
    explorer = vh.explore_predictions(net, names)
    chooser = controls(explorer)["picture"]
    for name, label in zip(names, ("koala", "espresso", "triumphal arch"), strict=True):
        chooser.value = name
        assert explorer.result.picture == name and explorer.result.predictions[0].label == label
        assert label in explorer.text.value and len(shot(explorer)) == 2


def test_filters_walk_every_filter_of_every_net(net, alexnet):
    nets = {"squeezenet": net, "alexnet": alexnet}
    explorer = vh.explore_filters(nets, "koala")
    parts = controls(explorer)
    for name, model in nets.items():
        parts["net"].value = name
        x, (_, layer) = vh.to_input("koala", model), vh.first_layer(model)
        want = vh.first_layer_filters(model)
        response = layer(x)[0].detach()
        seen = set()
        for k in range(len(want)):
            parts["filter"].value = k
            result = explorer.result
            assert (result.net, result.filter) == (name, k)
            assert torch.equal(result.weights, want[k].cpu())
            torch.testing.assert_close(result.response, response[k].cpu())
            torch.testing.assert_close(result.spectrum, vh.spectrum(want[k : k + 1].cpu())[0])
            seen.add(explorer.images[0].value)
        assert len(seen) > 60
        side, scale = layer.kernel_size[0], 224 // layer.kernel_size[0]  # every weight a square of whole pixels
        assert (shot(explorer)[0] == vh.mosaic(want[k:], columns=1, scale=scale)[: side * scale, : side * scale]).all()


def test_features_walk_every_layer_and_channel(net):
    names = ["features.0", "features.3.squeeze", "features.12.expand3x3"]
    explorer = vh.explore_features(net, {"a koala": "koala", "coffee": "coffee"}, layers=names)
    parts = controls(explorer)
    for picture in ("coffee", "a koala"):
        parts["picture"].value = picture
        x = vh.to_input("koala" if picture == "a koala" else picture, net)
        for name in names:
            parts["layer"].value = name
            want = vh.activations(net, x, name)[0]
            assert parts["channel"].max == len(want) - 1
            for channel in range(0, len(want), 5):
                parts["channel"].value = channel
                assert explorer.result[:3] == (picture, name, channel)
                torch.testing.assert_close(explorer.result.map, want[channel].cpu())


def test_features_picture_follows_the_slider_and_frames_the_channel(net):
    explorer = vh.explore_features(net, "koala", layers=["features.0"])
    channel = controls(explorer)["channel"]
    first = shot(explorer)
    channel.value = 9
    second = shot(explorer)
    assert (first[0] != second[0]).any() and (first[1] != second[1]).any()
    red = (second[1] == (255, 60, 60)).all(-1)
    rows, columns = np.nonzero(red)
    side = second[1].shape[1] // 8  # channel 9 is the second tile of the second row
    assert (rows.min() // side, columns.min() // side, rows.max() // side, columns.max() // side) == (1, 1, 1, 1)
    channel.value = 0
    assert all((a == b).all() for a, b in zip(first, shot(explorer), strict=True))


def test_features_pages_beyond_the_first(net):
    explorer = vh.explore_features(net, "koala", layers=["features.12.expand1x1"])
    channel = controls(explorer)["channel"]
    channel.value = 255
    assert "channels 192 to 255" in explorer.text.value and explorer.result.channel == 255


def test_patches_walk_layers_and_channels(net):
    x = vh.to_input(["koala", "coffee", "india_gate", "chicken"], net)
    explorer = vh.explore_patches(net, x, ["features.3", "features.12.expand3x3"], count=3, progress=False)
    parts = controls(explorer)
    for name in ("features.12.expand3x3", "features.3"):
        parts["layer"].value = name
        for channel in (0, 63, parts["channel"].max):
            parts["channel"].value = channel
            assert explorer.result == (name, channel, vh.top_patches(net, x, name, channel, count=3))


def test_deconvnet_shows_what_the_functions_give(alexnet):
    net = alexnet
    x = vh.to_input(["koala", "fish_3", "windmill_1", "coffee"], net)
    layers = ["features.3", "features.0"]
    explorer = vh.explore_deconvnet(net, x, layers, count=3, start=100, progress=False)
    layer, channel = explorer.controls.values()
    seen = []
    for name, k in (("features.3", 100), ("features.3", 7), ("features.0", 63), ("features.0", 0)):
        layer.value = name
        channel.value = k
        assert explorer.result[:2] == (name, k)
        assert explorer.result.patches == vh.top_patches(net, x, name, k, count=3)
        best = x[[p.picture for p in explorer.result.patches]]
        torch.testing.assert_close(explorer.result.reconstructions, vh.deconvnet(net, best, name, k))
        seen.append(tuple(image.value for image in explorer.images))
    assert len(set(seen)) == 4 and channel.max == 63
    assert explorer._repr_mimebundle_()["image/png"].startswith("iVBOR")


def test_deconvnet_says_when_a_channel_is_silent(alexnet):
    net = copy.deepcopy(alexnet)
    net.features[0].bias[3] = -1e6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explorer = vh.explore_deconvnet(net, vh.to_input(["koala", "coffee"], net), "features.0", count=2, start=3,
                                        progress=False)  # fmt: skip
    assert "2 of these pictures leave the channel silent" in explorer.text.value


# --- maps: saliency, ReLU rules, CAM, the method lab, the trial ------------------------------------------------------
def test_saliency_shows_what_every_method_gives():
    net = strided()
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


def test_saliency_noise_and_samples_change_smoothgrad_only():
    net = strided()
    explorer = vh.explore_saliency(net, "koala", steps=4)
    parts, x = controls(explorer), vh.to_input("koala", net)
    before = explorer.result
    parts["samples"].value = 3
    assert torch.equal(explorer.result.map, before.map)
    parts["method"].value = "SmoothGrad"
    for noise, samples in ((0.0, 3), (0.3, 3), (0.3, 5)):
        parts["noise"].value, parts["samples"].value = noise, samples
        want = vh.smoothgrad(net, x, explorer.result.target, level=noise, samples=samples).abs().amax(1)[0]
        torch.testing.assert_close(explorer.result.map, want.cpu())


def test_saliency_path_walks_from_black_and_keeps_account():
    net = strided()
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
        parts["point"].value = k
        pictures.add(explorer.images[0].value)
        assert f"{path[k].share:.0%} of the way" in explorer.text.value
    assert len(pictures) > 30
    assert any(isinstance(w, W.Play) for box in explorer.children for w in getattr(box, "children", ()))


def test_saliency_search_takes_a_label_and_names_what_it_does_not_know(net):
    explorer = vh.explore_saliency(net, "koala")
    parts = controls(explorer)
    parts["search"].value = "sports car"
    assert explorer.result.target == 817 and "sports car" in explorer.text.value
    torch.testing.assert_close(explorer.result.map, vh.saliency(net, vh.to_input("koala", net), 817)[0].cpu())
    with pytest.raises(ValueError, match="nearest"):
        parts["search"].value = "koalla"
    assert "koala" in explorer.text.value and explorer.result.target == 817


def test_relu_rules_show_what_the_methods_return(net):
    explorer = vh.explore_relu_rules(net, {"k": "koala", "c": "coffee"}, layers=["features.0", "features.3.squeeze"])
    parts = controls(explorer)
    assert parts["explain"].options == ("koala", "Madagascar cat", "espresso", "consomme", "a channel (sliders)")
    assert parts["layer"].disabled and len(explorer.images) == 4
    x = {"k": vh.to_input("koala", net), "c": vh.to_input("coffee", net)}
    for picture, label in (("k", "espresso"), ("c", "espresso"), ("c", "koala")):
        parts["picture"].value, parts["explain"].value = picture, label
        assert explorer.result[:2] == (picture, label)
        torch.testing.assert_close(explorer.result.gradients["guided"], guided_backprop(net, x[picture], label)[0])
        torch.testing.assert_close(explorer.result.gradients["gradient"], vh.gradient(net, x[picture], label)[0])
    parts["explain"].value = "a channel (sliders)"
    for layer, channels in (("features.0", 64), ("features.3.squeeze", 16)):
        parts["layer"].value = layer
        assert parts["channel"].max == channels - 1 and not parts["layer"].disabled
        parts["channel"].value = channels - 1
        unit = vh.Neuron(layer, channels - 1)
        assert explorer.result.target == unit
        want = deconvnet_gradient(net, x["c"], unit)[0]
        torch.testing.assert_close(explorer.result.gradients["deconvnet"], want)
    parts["channel"].value = 15
    parts["layer"].value = "features.0"  # the same channel of a wider layer
    assert explorer.result.target == vh.Neuron("features.0", 15) and parts["channel"].max == 63


def test_relu_rules_parts_and_colours_change_the_pictures_only(net):
    explorer = vh.explore_relu_rules(net, "koala", classes=["koala"])
    parts, seen, gradients = controls(explorer), set(), explorer.result.gradients
    for part in ("all", "positive", "negative"):
        for colour in ("RGB", "grey"):
            parts["part"].value, parts["colour"].value = part, colour
            assert explorer.result.part == part and explorer.result.gradients is gradients
            assert part in explorer.text.value
            seen.add(explorer.images[3].value)
    assert len(seen) == 6 and explorer.images[3].width == "224"


def test_relu_rules_on_a_net_without_class_scores(alexnet):
    explorer = vh.explore_relu_rules(alexnet, "koala", layers=["features.6"])
    parts = explorer.controls
    assert parts["explain"].options == ("a channel (sliders)",)
    parts["channel"].value = 7
    assert explorer.result.target == vh.Neuron("features.6", 7) and explorer.result.gradients["guided"].any()


def test_cam_walks_every_layer_method_and_class(net):
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
                assert explorer.result[:4] == (name, target, label, layer)
                want = method(net, x, target, layer=layer)[0]
                torch.testing.assert_close(explorer.result.map, want, atol=1e-4, rtol=1e-3)
        parts["method"].value = "CAM"
        torch.testing.assert_close(explorer.result.map, vh.cam(net, x, target)[0])
    assert shot(explorer)[1].shape == (320, 320, 3)


def test_cam_searches_any_class(net):
    explorer = vh.explore_cam(net, "koala", layers=["features.12"])
    parts, before = controls(explorer), shot(explorer)[1]
    parts["search"].value = "espresso"
    assert explorer.result.target == 967 and "espresso" in explorer.text.value
    assert (shot(explorer)[1] != before).any() and len(parts["class"].options) == 6
    parts["search"].value = "105"
    assert explorer.result.target == 105 and (shot(explorer)[1] == before).all()
    with pytest.raises(ValueError, match="koala"):
        parts["search"].value = "koalla"
    assert "nearest" in explorer.text.value and explorer.result.target == 105


def test_cam_of_a_net_without_classes_asks_for_channels(vgg):
    explorer = vh.explore_cam(vgg, "koala", layers=["features.22", "features.28"])
    parts, x = controls(explorer), vh.to_input("koala", vgg)
    assert int(vh.channel_response(vgg, x, "features.29")[0].argmax()) == explorer.result.target.channel
    parts["layer"].value, parts["search"].value = "features.22", "7"
    want = vh.grad_cam(vgg, x, vh.Neuron("features.29", 7), layer="features.22")[0]
    assert explorer.result.target == vh.Neuron("features.29", 7)
    torch.testing.assert_close(explorer.result.map, want, rtol=1e-3, atol=1e-5)
    parts["method"].value = "CAM"
    assert "use grad_cam" in explorer.text.value and not explorer.result.map.any()


def test_methods_keeps_raw_numbers_and_one_scale(net):
    lab = vh.explore_methods(net, "koala")
    parts, result, x = controls(lab), lab.result, vh.to_input("koala", net)
    assert set(result.raw) == set(METHODS) - set(BASELINES) and result.reasons == {} and result.target == 105
    torch.testing.assert_close(result.raw["CAM"], vh.cam(net, x, 105)[0])
    torch.testing.assert_close(result.maps["saliency"], vh.gradient(net, x, 105)[0].sum(0))
    assert {m.shape for m in result.maps.values()} == {(224, 224)}
    own = shot(lab)[0]
    parts["scale"].value = "one for all"
    assert (shot(lab)[0] != own).any() and lab.result.maps is result.maps
    bundle = lab._repr_mimebundle_()
    assert Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).width > 800


def test_methods_says_why_a_method_gives_nothing(monkeypatch):
    asked = {name: how for name, how in METHODS.items() if "CAM" in name or name == "guided backprop"}
    monkeypatch.setattr("vizhelpers.methods.scoreboard.METHODS", asked)  # the table itself keeps its order
    monkeypatch.setattr("vizhelpers.explore.maps.METHODS", asked)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 222 * 222, 3)).eval()
    nn.init.zeros_(net[3].weight)
    net.viz = vh.images.ModelInfo("silu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the reasons stand in the tiles, not on the page
        lab = vh.explore_methods(net, "koala")
    assert "SiLU" in lab.result.reasons["guided backprop"] or "silu" in lab.result.reasons["guided backprop"]
    assert "use grad_cam" in lab.result.reasons["CAM"]
    assert "gradient is 0 everywhere" in lab.result.reasons["Grad-CAM"]
    assert "Grad-CAM" in lab.result.raw and "CAM" not in lab.result.raw and "CAM" in lab.text.value


def test_trust_walks_every_control():
    net = strided()
    explorer = vh.explore_trust(net, "koala", 2, methods=["saliency", "edges"], steps=5)
    parts, x = explorer.controls, vh.to_input("koala", net)
    assert explorer.result[:3] == ("saliency", "trained", 0) and explorer.result.rank == 1
    for name in ("edges", "saliency"):
        parts["method"].value = name
        want = vh.sanity_check(net, x, 2, name)
        curve = vh.insertion_deletion(net, x, 2, want.maps[0], steps=5)
        for at, stage in enumerate(["trained", *want.stages]):
            parts["stage"].value = stage
            assert explorer.result[:2] == (name, stage)
            torch.testing.assert_close(explorer.result.map, want.maps[at, 0])
            rank = 1.0 if at == 0 else float(want.rank[at - 1])
            assert explorer.result.rank == pytest.approx(rank) and f"{rank:.2f}" in explorer.text.value
        for k in range(6):
            parts["deleted"].value = k
            assert explorer.result.share == pytest.approx(k / 5, abs=1e-4)
            assert explorer.result.probability == pytest.approx(float(curve.deletion[0, k]), abs=1e-6)
    pictures = set()
    for k in range(6):
        parts["deleted"].value = k
        pictures.add(explorer.images[2].value)
    assert len(pictures) == 6
    with pytest.raises(ValueError, match="magic"):
        vh.explore_trust(net, "koala", methods=["magic"])


def test_trust_leaves_the_net_alone():
    net = strided()
    before = {name: (p, p.clone(), p.data_ptr(), p._version) for name, p in net.named_parameters()}
    explorer = vh.explore_trust(net, "koala", methods=["Grad-CAM"], steps=2)
    explorer.controls["stage"].value = "0"
    assert explorer.result.stage == vh.stages(net)[-1] == "0"
    for name, p in net.named_parameters():
        own, values, place, version = before[name]
        assert p is own and torch.equal(p, values) and (p.data_ptr(), p._version) == (place, version)


# --- making: fooling, occlusion, synthesis, style --------------------------------------------------------------------
def test_fooling_walks_pictures_classes_and_steps(net):
    explorer = vh.explore_fooling(net, {"a panda": "panda", "giraffe": "giraffe"}, "lesser panda", step=120, steps=3)
    parts = controls(explorer)
    search = parts["class"]
    for name, label, typed in (("a panda", "lesser panda", None), ("giraffe", "lesser panda", None),
                               ("giraffe", "soccer ball", "soccer"), ("giraffe", "goldfish", "1")):  # fmt: skip
        parts["picture"].value = name
        if typed:
            search.value = typed
        want = vh.fool(net, vh.to_input("panda" if name == "a panda" else name, net), label, step=120, steps=3)
        assert parts["step"].max == want.history.shape[1] - 1 == parts["step"].value
        for k in range(parts["step"].max, -1, -1):
            parts["step"].value = k
            result = explorer.result
            assert result[:3] == (name, label, k)
            torch.testing.assert_close(result.fooled.history, want.history)
            p = float(result.probabilities[k, vh.class_index(net, label)])
            assert abs(p - float(want.history[0, k])) < 1e-3
            assert f"{p:.1%} after step {k} of" in explorer.text.value
        picture, change, _ = shot(explorer)  # at step 0: the picture itself, and no change
        assert (picture == np.asarray(vh.to_picture(want.start))).all() and np.ptp(change) == 0
    parts["step"].value = 1
    assert np.ptp(shot(explorer)[1]) > 0


def test_fooling_search_box_says_what_it_does_not_know(net):
    explorer = vh.explore_fooling(net, "panda", "lesser panda", step=200, steps=1)
    search = controls(explorer)["class"]
    before = explorer.result
    search.value = ""
    assert explorer.result == before or explorer.result is before
    with pytest.raises(ValueError, match="nearest"):
        search.value = "koalla"
    assert "koala" in explorer.text.value
    search.value = "koala"
    assert explorer.result.label == "koala"


def test_occlusion_every_control_and_start_without_a_running_loop(net):
    explorer = vh.explore_occlusion(net, "koala")
    assert explorer.result.done == explorer.result.total == 49
    for fill in ("black", "white", "blurred", "grey"):
        explorer.controls["fill"].value = fill
        assert explorer.result.done == 0 and explorer.result.fill == fill and "press Start" in explorer.text.value
    explorer.set(patch=96, stride=64)
    assert not any(explorer.controls[name].continuous_update for name in ("patch", "stride"))
    explorer.start.click()
    want = vh.occlusion(net, vh.to_input("koala", net), "koala", patch=96, stride=64)
    assert explorer.result[:3] == (96, 64, "grey") and explorer.bar.value == explorer.bar.max == 9
    for a, b in zip(explorer.result.maps, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert "Madagascar" in explorer.text.value or len(explorer.result.maps.winner.unique()) == 1
    assert Image.open(io.BytesIO(base64.b64decode(explorer._repr_mimebundle_()["image/png"]))).width > 800


def test_occlusion_fills_are_what_they_say(net):
    explorer = vh.explore_occlusion(net, "koala", patch=96, stride=64)
    for fill, level in (("black", 0), ("white", 255)):
        explorer.controls["fill"].value = fill
        top, left, bottom, right = explorer.result.maps.boxes[4].tolist()
        shown = np.asarray(Image.open(io.BytesIO(explorer.images[0].value)).convert("RGB"))
        assert (shown[top + 2 : bottom - 2, left + 2 : right - 2] == level).all()


def test_occlusion_stop_really_stops_and_start_goes_on(net):
    async def walk():
        explorer = vh.explore_occlusion(net, "koala")
        explorer.controls["stride"].value = 8
        explorer.start.click()
        assert explorer.start.disabled and not explorer.stop.disabled
        await asyncio.sleep(0.15)
        explorer.stop.click()
        done = explorer.result.done
        await asyncio.sleep(0.3)
        assert explorer.result.done == done and 0 < done < explorer.result.total == 22 * 22
        assert "to go" in explorer.text.value and explorer.stop.disabled and explorer.bar.value == done
        explorer.start.click()
        assert explorer.result.done > done
        explorer.controls["patch"].value = 64  # moving a control stops the sweep, too
        await asyncio.sleep(0.1)
        assert explorer.result.done == 0 and not explorer.start.disabled

    asyncio.run(walk())


def test_occlusion_in_a_kernel_runs_between_cells_and_can_be_stopped(root):
    cells = [
        "import vizhelpers as vh; e = vh.explore_occlusion(vh.load_model('squeezenet1_1'), 'koala')\n"
        "e.set(stride=4); e.start.click(); first = e.result.done",
        "import asyncio; await asyncio.sleep(0.5)",
        "e.stop.click(); second = e.result.done",
        "await asyncio.sleep(0.5); third = e.result.done",
        "assert 0 < first < second == third < e.result.total, (first, second, third, e.result.total)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(root)}}).execute()


def test_occlusion_says_what_is_wrong(net, alexnet):
    with pytest.raises(ValueError, match="no class scores"):
        vh.explore_occlusion(alexnet, "koala")
    explorer = vh.explore_occlusion(net, "koala")
    explorer.make = lambda patch, stride, fill: 1 / 0
    with pytest.raises(ZeroDivisionError):
        explorer.controls["stride"].value = 64
    assert "ZeroDivisionError" in explorer.text.value


def test_synthesis_moves_through_the_gallery_and_grows_one(net):
    explorer = vh.explore_synthesis(net, size=48, steps=6)
    rows = vh.dreams("class")
    for number in range(explorer.controls["picture"].max + 1):
        explorer.controls["picture"].value = number
        assert explorer.result.dream == rows[number] and explorer.result.live is None
    explorer.controls["picture"].value = 2
    explorer.start.click()
    first = explorer.result
    assert first.done == first.total == 6 and len(first.history) == 6 and first.live.shape == (3, 48, 48)
    assert not explorer.start.disabled and explorer.stop.disabled
    explorer.controls["seed"].value = 4
    assert explorer.result.live is None
    explorer.start.click()
    assert not torch.equal(explorer.result.live, first.live)
    explorer.halt()
    assert explorer.result.done == 6 and "image/png" in explorer._repr_mimebundle_()
    with pytest.raises(ValueError, match="no gallery"):
        vh.explore_synthesis(strided())
    with pytest.raises(ValueError, match="16 or more"):
        vh.explore_synthesis(net, size=4)


def test_synthesis_stops_and_goes_on(net):
    """In a running event loop a step at a time: Stop is handled between two steps."""
    async def session():
        explorer = vh.explore_synthesis(net, size=32, steps=40)
        explorer.start.click()
        while explorer.job.done < 3:
            await asyncio.sleep(0.01)
        explorer.stop.click()
        stopped = explorer.result.done
        await asyncio.sleep(0.1)
        assert explorer.job.done == stopped and 3 <= stopped < 40
        explorer.start.click()
        while explorer._running:
            await asyncio.sleep(0.01)
        return explorer.result

    result = asyncio.run(session())
    assert result.done == result.total == 40 and len(result.history) == 40


def test_synthesis_layers_have_their_own_choices(vgg):
    explorer = vh.explore_synthesis(vgg, size=32, steps=8)
    for name in explorer.controls["layer"].options:
        explorer.controls["layer"].value = name
        assert explorer.result.layer == name and explorer.result.channel == vh.dreams(name)[0].channel


@pytest.fixture(scope="module")
def small_vgg():
    """In the place of VGG16: eight narrow convolutions in four blocks, so that every classic layer name is there."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layers, inside = [], 3
        for outside, count in ((4, 2), (6, 2), (8, 3), (8, 1)):
            for _ in range(count):
                layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(inplace=True)]
                inside = outside
            layers.append(nn.MaxPool2d(2))
        return nn.Sequential(*layers).eval().requires_grad_(False)


@pytest.fixture
def painter(small_vgg):
    return vh.explore_style(["koala", "coffee"], ["poppies", "ejiri"], net=small_vgg, size=32, steps=3,
                            style_layers=["relu1_1", "relu2_1"], content_layer="relu2_2")  # fmt: skip


def test_style_paints_what_is_chosen(painter, small_vgg):
    explorer, parts = painter, controls(painter)
    assert explorer.result.done == 0 and explorer.result.losses is None and "press Start" in explorer.text.value
    for name, values in (("picture", ["coffee", "koala"]), ("painting", ["ejiri", "poppies"]),
                         ("content", parts["content"].options), ("start", ["noise", "content"])):  # fmt: skip
        for value in values:
            parts[name].value = value
            assert value in explorer.result[:4] and explorer.result.done == 0
    parts["content"].value = 0.1
    before = explorer.images[2].value
    parts["Start"].click()  # no event loop here: it paints to the end
    got = explorer.result
    assert got[:4] == ("koala", "poppies", 0.1, "content") and got.done == got.total == 3
    assert explorer.images[2].value != before and not parts["Start"].disabled and parts["Stop"].disabled
    want = vh.style_transfer("koala", "poppies", net=small_vgg, size=32, steps=3, content_weight=0.1,
                             style_layers=["relu1_1", "relu2_1"], content_layer="relu2_2")  # fmt: skip
    torch.testing.assert_close(got.image, want.image)
    torch.testing.assert_close(got.losses, want.history)
    parts["painting"].value = "ejiri"
    assert explorer.result.done == 0 and explorer.bar.value == 0


def test_style_stop_keeps_what_there_is_and_start_goes_on(painter):
    explorer, parts = painter, controls(painter)

    async def drive():
        parts["Start"].click()
        while explorer.result.done < 1:
            await asyncio.sleep(0.005)
        parts["Stop"].click()
        await asyncio.sleep(0.1)
        held = explorer.result.done
        await asyncio.sleep(0.1)
        assert explorer.result.done == held and 1 <= held < 3
        parts["Start"].click()
        while explorer.result.done < 3:
            await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(drive(), 30))
    assert explorer.result.done == 3 and len(explorer.result.losses) == 3


def test_style_error_is_said_on_the_page(small_vgg):
    explorer = vh.explore_style("koala", "poppies", net=small_vgg, size=32, steps=2, style_layers=["relu8_1"])
    explorer.start.click()  # a button's exceptions go to a log that nobody sees
    assert isinstance(explorer.start, W.Button) and not explorer.start.disabled
    assert "relu8_1" in explorer.text.value
