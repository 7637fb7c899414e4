"""Explorers: every position of every control is walked, since a callback's exception shows nowhere else."""
import base64
import io

import ipywidgets as W
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import vizhelpers as vh


@pytest.fixture(scope="module")
def net():
    return vh.load_model("squeezenet1_1")


def controls(explorer):
    found = {}

    def walk(widget):
        if isinstance(widget, (W.IntSlider, W.SelectionSlider, W.Dropdown)):
            found[widget.description] = widget
        for child in getattr(widget, "children", ()):
            walk(child)

    walk(explorer)
    return found


def buttons(explorer):
    return [c for box in explorer.children for c in getattr(box, "children", ()) if isinstance(c, W.Button)]


def shot(explorer):
    return [np.asarray(Image.open(io.BytesIO(image.value)).convert("RGB")) for image in explorer.images]


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
    explorer.on_change(controls(explorer)["channel"], lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        controls(explorer)["channel"].value = 3
    assert "ZeroDivisionError" in explorer.text.value


def test_filters_walk_every_filter_of_every_net(net):
    nets = {"squeezenet": net, "alexnet": vh.load_model("alexnet")}
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


def test_patches_walk_layers_and_channels(net):
    x = vh.to_input(["koala", "coffee", "india_gate", "chicken"], net)
    explorer = vh.explore_patches(net, x, ["features.3", "features.12.expand3x3"], count=3, progress=False)
    parts = controls(explorer)
    for name in ("features.12.expand3x3", "features.3"):
        parts["layer"].value = name
        for channel in (0, 63, parts["channel"].max):
            parts["channel"].value = channel
            assert explorer.result == (name, channel, vh.top_patches(net, x, name, channel, count=3))


def test_predictions_walk_every_picture(net):
    names = ["koala", "coffee", "india_gate"]
    explorer = vh.explore_predictions(net, names, top=3)
    chooser = controls(explorer)["picture"]
    for name, label in zip(names, ("koala", "espresso", "triumphal arch"), strict=True):
        chooser.value = name
        assert explorer.result.picture == name and explorer.result.predictions[0].label == label
        assert label in explorer.text.value and len(shot(explorer)) == 2


def test_page_without_a_kernel_shows_the_still_picture(net):
    explorer = vh.explore_features(net, "koala", layers=["features.0"])
    bundle = explorer._repr_mimebundle_()
    still = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert "application/vnd.jupyter.widget-view+json" in bundle and still.width > 600
    assert "FeatureResult" in repr(explorer)


def test_bad_input_is_said_at_once(net):
    with pytest.raises(ValueError, match="no picture to explore"):
        vh.explore_features(net, [])
    with pytest.raises(ValueError, match="nearest"):
        vh.explore_features(net, "koala", layers=["features.99"])
    with pytest.raises(ValueError, match="no maps"):
        vh.explore_features(nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 2)), "koala", layers=["1"])
    with pytest.raises(ValueError, match="no class scores"):
        vh.explore_predictions(vh.load_model("alexnet"), "koala")


def test_fooling_walks_pictures_classes_and_steps(net):
    explorer = vh.explore_fooling(net, {"a panda": "panda", "giraffe": "giraffe"}, "lesser panda", step=120, steps=3)
    parts = controls(explorer)
    (search,) = [w for box in explorer.children for w in getattr(box, "children", ()) if isinstance(w, W.Combobox)]
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
    (search,) = [w for box in explorer.children for w in getattr(box, "children", ()) if isinstance(w, W.Combobox)]
    before = explorer.result
    search.value = ""
    assert explorer.result == before or explorer.result is before
    with pytest.raises(ValueError, match="nearest"):
        search.value = "koalla"
    assert "koala" in explorer.text.value
    search.value = "koala"
    assert explorer.result.label == "koala"
