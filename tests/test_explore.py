"""Explorers: every position of every control is walked, since a callback's exception shows nowhere else."""
import asyncio
import base64
import copy
import gc
import io
import re
import resource
import threading
import time
import warnings
import weakref
from datetime import datetime

import ipywidgets as W
import nbformat
import numpy as np
import pytest
import torch
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient
from PIL import Image
from torch import nn

import vizhelpers as vh
from vizhelpers.explore.base import LIVE, STYLE, Explorer, Pictures, Stepwise, parts_of, slide
from vizhelpers.methods.embedding import Embedding
from vizhelpers.methods.gradients import deconvnet_gradient, guided_backprop
from vizhelpers.methods.scoreboard import BASELINES, METHODS


@pytest.fixture(autouse=True)
def closed():
    """No explorer outlives its test."""
    yield
    for explorer in [*LIVE]:
        explorer.close()


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
    """The step buttons of what may be chosen."""
    return [c for control in explorer.controls.values() for c in control.row.children if isinstance(c, W.Button)]


def shot(explorer):
    return [np.asarray(Image.open(io.BytesIO(image.value)).convert("RGB")) for image in explorer.images]


# --- what all share --------------------------------------------------------------------------------------------------
def test_a_move_draws_once_also_where_it_clips_another_slider():
    drawn = []

    def look(layer, channel):
        drawn.append((layer, channel))
        return "<i>" + layer, {"": np.zeros((9, 12, 3), np.uint8)}, {"twice": 2 * channel}

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
        lambda how, grain: (how, {}, {"how": grain}), how=["plain", "noisy"],
        grain=slide(lambda how: (range(5), 4 if how == "noisy" else 1), slow=True, acts=lambda how: how == "noisy"),
    )  # fmt: skip
    how, grain = explorer.controls["how"], explorer.controls["grain"]
    assert (grain.value, grain.disabled, grain.continuous_update) == (1, True, False)
    assert explorer.result == (None, None) and explorer.text.value == "plain"
    how.value = "noisy"
    assert (grain.value, grain.disabled) == (4, False) and explorer.result.how == explorer.result.grain == 4


def test_a_search_moves_what_it_means_and_says_what_it_does_not_know():
    drawn = []

    def look(group, number):
        drawn.append((group, number))
        return f"{group}{number}", {}, {}

    group, search = W.Dropdown(options=["a", "b"]), W.Text()
    group.beside, group.take = [search], dict(a="a", b="b", second="b").__getitem__
    explorer = Explorer(look, group=group, number=slide(lambda group: (range(9), 7 if group == "b" else 0)))
    search.value = " second "
    search.value = ""
    assert drawn == [("a", 0), ("b", 7)] and explorer.result == ("b", 7)
    with pytest.raises(KeyError, match="x"):
        search.value = "<x>"
    assert "&lt;x&gt;" in explorer.note.value and explorer.result == ("b", 7) and explorer.text.value == "b7"
    group.value = "a"
    assert drawn[2:] == [("a", 0)]


def test_the_text_of_waiting_stands_until_the_picture_comes():
    seen = []

    def look(how, at):
        seen.append(explorer.note.value if seen else "")
        return "ready", {}, {}

    explorer = Explorer(look, how=["a", "b"], at=range(3), wait="computing ...")
    explorer.controls["how"].value = "b"
    explorer.controls["at"].value = 1  # quick enough to follow the slider
    assert seen[1].endswith("computing ...") and seen[2] == explorer.note.value and "comp" not in seen[2]


def test_an_error_while_stepping_stops_and_is_said():
    class Job:
        done, total = 0, 3

        def step(self):
            self.done += 1
            assert self.done < 2, "two is <too> many"

    explorer = Stepwise(lambda speed: Job(), lambda run, speed: (f"{run.job and run.job.done}", {}, {}), speed=range(2))
    explorer.start.click()  # a button's exceptions go to a log that nobody sees
    assert "two is &lt;too&gt; many" in explorer.note.value and not explorer.start.disabled and explorer.stop.disabled
    explorer.controls["speed"].value = 1
    assert explorer.text.value == "None" and explorer.bar.value == 0 and "two is" not in explorer.note.value


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
    assert "ZeroDivisionError" in explorer.note.value


def test_page_without_a_kernel_shows_the_still_picture(net):
    explorer = vh.explore_features(net, "koala", layers=["features.0"])
    bundle = explorer._repr_mimebundle_()
    still = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id and still.width > 600
    assert explorer._ipython_display_ is None  # ipywidgets 7 shows by it, without a picture


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

    explorer = Stepwise(lambda speed: Job(), lambda run, speed: (f"{run.job and run.job.done}", {}, {}), speed=range(2))
    steps = threading.Thread(target=explorer.start.click)
    steps.start()
    begun.wait()
    explorer.controls["speed"].value = 1
    steps.join()
    assert explorer.result == (1,) and explorer.text.value == "None" and not explorer.start.disabled


# --- what every explorer does ----------------------------------------------------------------------------------------
NASTY = "<img src=x onerror=alert(1)>"


def labelled(classes=5):
    net = strided(classes)
    net.viz = vh.images.ModelInfo("<b>quick</b>", 64, 64, categories=tuple(f"{NASTY} {n}" for n in range(classes)))
    return net


def every(pictures) -> dict:
    """Explorer's name -> a function that makes it on a quick net; each takes these pictures, or has none."""
    net, one = labelled(), dict(list(pictures.items())[:1])
    x, tiny = torch.rand(3, 3, 64, 64), vh.load_model("squeezenet1_1", device="cpu")
    e = Embedding(tuple(f"{NASTY}/{n}" for n in range(9)), (NASTY,) * 9, torch.rand(9, 4), torch.rand(9, 4),
                  torch.rand(9, 3, 64, 64), f"{NASTY} fc7", {})  # fmt: skip
    style = dict(size=32, steps=3, style_layers=["relu1_1"], content_layer="relu1_1")
    return {
        "predictions": lambda: vh.explore_predictions(net, pictures),
        "filters": lambda: vh.explore_filters({NASTY: net}, one),
        "features": lambda: vh.explore_features(net, pictures),
        "patches": lambda: vh.explore_patches(net, x, ["0", "3"], count=2, progress=False),
        "saliency": lambda: vh.explore_saliency(net, pictures, steps=4),
        "relu_rules": lambda: vh.explore_relu_rules(net, pictures),
        "cam": lambda: vh.explore_cam(net, pictures),
        "methods": lambda: vh.explore_methods(net, one),
        "trust": lambda: vh.explore_trust(net, one, methods=["saliency", "edges"], steps=3),
        "fooling": lambda: vh.explore_fooling(net, pictures, 1, steps=1),
        "occlusion": lambda: vh.explore_occlusion(net, one, patch=32, stride=32),
        "synthesis": lambda: vh.explore_synthesis(tiny, size=32, steps=2),
        "style": lambda: vh.explore_style(pictures, one, net=nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), **style),
        "embedding": lambda: vh.explore_embedding(e, maps={3: torch.rand(9, 2)}, k=2),
        "stimuli": lambda: vh.explore_stimuli({NASTY: tiny}),
    }


NAMES = [*every({"koala": "koala"})]
TAKES_PICTURES = [name for name in NAMES if name not in ("patches", "synthesis", "embedding", "stimuli")]


def all_parts(explorer):
    return [part for part in parts_of(explorer) if isinstance(part, W.DOMWidget)]


@pytest.mark.filterwarnings("ignore:This Sequential does not say")
@pytest.mark.parametrize("name", NAMES)
def test_every_explorer_names_its_pictures_escapes_what_it_is_given_and_has_step_buttons(name, tmp_path):
    explorer = every({NASTY: "koala", f"{NASTY} 2": "coffee"})[name]()
    for part in all_parts(explorer):
        if isinstance(part, W.HTML):
            assert "<img" not in part.value and "<b>quick" not in part.value
        if isinstance(part, W.IntSlider | W.SelectionSlider) and part in explorer.controls.values():
            assert [b.description for b in part.row.children[1:3]] == ["◀", "▶"]
    captions = [caption.value for caption in explorer.captions]
    assert len(captions) == len(explorer.images) and all(captions)
    assert not re.search(r"left to right|from left|\| (left|right|middle):", explorer.text.value)
    path = explorer.save(tmp_path / "kept.png")
    told = vh.read_provenance(path)
    assert told["explorer"] == f"explore_{name}" and len(told["captions"]) == len(captions)
    assert told["versions"]["torch"] == torch.__version__
    assert set(told["settings"]) == {key for key, control in explorer.controls.items() if not control.disabled}
    shown, kept = explorer.still(), Image.open(path)
    assert kept.size[0] == shown.width and kept.size[1] > shown.height
    assert (np.asarray(kept.convert("RGB"))[: shown.height] == np.asarray(shown)).all()


def as_uploaded(name: str, content: bytes, release: int = 8):
    """What the page's button holds in ipywidgets 8, and in 7."""
    about = {"name": name, "type": "", "size": len(content), "last_modified": datetime.now()}
    return ({**about, "content": memoryview(content)},) if release == 8 else {
        name: {"metadata": about, "content": content}}  # fmt: skip


def png(image, form="PNG", **how) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **how)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:This Sequential does not say")
@pytest.mark.parametrize("name", TAKES_PICTURES)
def test_every_explorer_takes_ones_own_photograph(name):
    explorer = every({"koala": "koala"})[name]()
    control, own = explorer.controls["picture"], vh.load_image("coffee")
    before = [image.value for image in explorer.images]
    control.upload.value = as_uploaded("my cup.png", png(own))
    assert control.value == "my cup.png" == explorer.result.picture and control.upload.value == ()
    assert [image.value for image in explorer.images] != before
    assert np.array_equal(control.images["my cup.png"], own)
    with pytest.raises(ValueError, match="notes.txt: .*not a picture"):
        control.upload.value = as_uploaded("notes.txt", b"no picture at all")
    assert "notes.txt" in explorer.note.value and explorer.result.picture == "my cup.png" == control.value
    control.value = "koala"
    assert "notes.txt" not in explorer.note.value and explorer.result.picture == "koala"


def test_a_photograph_is_turned_as_its_exif_says_has_a_name_of_its_own_and_at_most_20_mb():
    control, exif = Pictures({"a.jpg": "koala"}), Image.Exif()
    exif[0x0112] = 6  # lies on its side
    flat = Image.fromarray(np.repeat(np.uint8([[[250, 0, 0]], [[0, 0, 250]]]), 16, 0).repeat(64, 1))  # 32 x 64, red top
    for release in (7, 8):
        name = control.add(as_uploaded("a.jpg", png(flat, "JPEG", exif=exif), release))
        turned = np.asarray(control.images[name])
        assert turned.shape == (64, 32, 3) and turned[32, 28, 0] > 200 > 60 > turned[32, 4, 0]  # the top is right now
    assert [*control.images] == ["a.jpg", "a.jpg (2)", "a.jpg (3)"]
    with pytest.raises(ValueError, match="big.png has 21 MB; a picture may have 20"):
        control.add(as_uploaded("big.png", bytes(21 * 2**20)))
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif writes the phone's picture of this test")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(flat).save(buffer)
    assert control.images[control.add(as_uploaded("b.heic", buffer.getvalue()))].size == (64, 32)


def test_after_a_mistake_the_last_good_state_stays_and_the_next_move_works(net):
    explorer = vh.explore_fooling(net, {"koala": "koala", "giraffe": "giraffe"}, "goldfish", step=200, steps=1)
    before = explorer.result
    with pytest.raises(ValueError, match="classes match"):
        explorer.controls["label"].value = "cat"
    assert explorer.result is before and "match" in explorer.note.value and "goldfish" in explorer.text.value
    explorer.controls["picture"].value = "giraffe"
    assert explorer.result[:2] == ("giraffe", "goldfish") and explorer.note.value == STYLE
    saliency = vh.explore_saliency(net, "koala")
    with pytest.raises(ValueError, match="nearest"):
        controls(saliency)["search"].value = "koalla"
    assert "koala" in saliency.text.value and "koalla" in saliency.note.value
    controls(saliency)["search"].value = "koala"  # chosen already
    assert saliency.note.value == STYLE and saliency.result.target == 105


def test_what_does_not_act_is_dead_with_its_buttons():
    explorer = vh.explore_saliency(labelled(), "koala", steps=4)
    live = {"saliency": (), "SmoothGrad": ("noise", "samples"), "Integrated Gradients": ("point",)}
    for method, acting in live.items():
        explorer.controls["method"].value = method
        for name in ("noise", "samples", "point"):
            parts = explorer.controls[name].row.children
            assert {part.disabled for part in parts} == {name not in acting}
    assert any(isinstance(part, W.Play) for part in explorer.controls["point"].row.children)


def test_a_slider_with_another_end_gets_a_new_view():
    """noUiSlider, which draws it, sends the End key to the end that a view began with."""
    explorer = vh.explore_features(labelled(), "koala")
    channel, seen = explorer.controls["channel"], []
    channel.row.observe(lambda change: seen.append((len(change.new), channel.max)), "children")
    explorer.controls["layer"].value = "3"
    assert seen == [(0, 5), (3, 7)]


@pytest.fixture
def cells(monkeypatch):
    """Says which cell runs, and which run of it."""
    now = ["a", 0]
    monkeypatch.setattr("vizhelpers.explore.base.running_cell", lambda: tuple(now))
    gc.freeze()  # what is there already is not counted: ten times as fast
    yield now
    gc.unfreeze()


def kept() -> tuple[int, int]:
    """Widgets that are open, and the bytes of all tensors there are."""
    gc.collect()
    tensors = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
               for t in gc.get_objects() if isinstance(t, torch.Tensor)}  # fmt: skip
    return len(W.widgets.widget._instances), sum(tensors.values())


@pytest.mark.filterwarnings("ignore:This Sequential does not say")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("stimuli", "synthesis")])
def test_a_re_run_of_a_cell_leaves_nothing_of_the_one_before(name, cells):
    make, shown = every({"koala": "koala"})[name], []
    for number in range(4):
        cells[1] = number
        shown.append(make())  # as IPython's Out does
        if number == 0:
            first = kept()
    assert kept() == first


@pytest.mark.parametrize("explore", [vh.explore_cam, vh.explore_features])
def test_fifty_re_runs_keep_no_widget_no_tensor_and_no_net(explore, cells):
    shown, nets, seen = [], [], []
    for number in range(51):
        cells[1] = number
        net = labelled() if number % 2 else nn.Sequential(*labelled()[:5])  # every other one without classes
        nets.append(weakref.ref(net))
        shown.append(explore(net, {"koala": "koala"}))
        del net
        if number in (0, 50):
            seen.append((*kept(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))
    (widgets, tensors, before), (widgets_50, tensors_50, after) = seen
    print(f"after 1 and 51 runs: widgets {widgets}, {widgets_50}; tensors {tensors}, {tensors_50} bytes; "
          f"highest memory {before}, {after} MB")  # fmt: skip
    assert widgets_50 == widgets and tensors_50 <= tensors and after - before < 50 * 2
    assert [net() is not None for net in nets[:-1]] == [False] * 50 and shown[0].result is None


def test_two_explorers_of_one_run_stay_and_another_cell_closes_nothing(cells):
    net = labelled()
    pair = [vh.explore_cam(net, "koala") for _ in range(2)]
    cells[:] = ["b", 1]
    other = vh.explore_cam(net, "koala")
    assert all(one.comm is not None for one in (*pair, other))
    cells[:] = ["a", 2]
    vh.explore_features(net, "koala")
    assert [one.comm is not None for one in (*pair, other)] == [False, False, True]


def test_a_kernel_says_which_cell_runs(root):
    """JupyterLab sends the cell's id with what it runs; the second run of cell a closes the first's explorer."""
    code = ("import vizhelpers as vh, ipywidgets as W; from vizhelpers.explore.base import Explorer, LIVE; "
            "e = Explorer(lambda n: ('', {}, {}), n=range(3)); print(len(LIVE))")  # fmt: skip
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(root))
    try:
        said = []
        for cell in ("a", "a", "b", "b", "a"):
            content = dict(code=code, silent=False, store_history=True, user_expressions={}, allow_stdin=False,
                           stop_on_error=True)  # fmt: skip
            message = client.session.msg("execute_request", content, metadata={"cellId": cell})
            client.shell_channel.send(message)
            while True:
                got = client.get_iopub_msg(timeout=60)
                if got["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                    said += [got["content"]["text"].strip()] if got["msg_type"] == "stream" else []
                    if got["msg_type"] == "status" and got["content"]["execution_state"] == "idle":
                        break
        assert said == ["1", "1", "2", "2", "2"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_an_explorer_beside_a_running_cell_harms_neither(net):
    """JupyterLab 4.6 sends moves to another thread, also while a cell computes with the same net."""
    x, errors, hooked = vh.to_input("koala", net), [], set()
    explorer = vh.explore_occlusion(net, "koala", patch=64, stride=32)
    want, features = vh.occlusion(net, x, 105, patch=64, stride=32), vh.explore_cam(net, "koala")
    over = threading.Event()

    def moves():
        try:
            for n in range(1000):
                if over.is_set():
                    return
                explorer.controls["fill"].value = ("black", "white", "blurred", "grey")[n % 4]
                features.controls["picture"].value = "koala"
                features.set(target=n % 1000)
                hooked.add(sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()))
        except Exception as error:
            errors.append(error)

    beside = [threading.Thread(target=moves) for _ in range(2)]
    for thread in beside:
        thread.start()
    for _ in range(6):
        got = vh.occlusion(net, x, 105, patch=64, stride=32)
        torch.testing.assert_close(got.logit, want.logit, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(net(x), net(x))
    over.set()
    for thread in beside:
        thread.join()
    assert errors == [] and explorer.result.done == 0
    explorer.start.click()
    assert explorer.result.done == explorer.result.total


def test_an_explorer_touches_only_its_own_copy_of_the_net():
    net = labelled().train()
    seen, own = [], net.forward
    net.forward = lambda x: seen.append(1) or own(x)  # of this object, so a copy that calls it would be seen, too
    del net.forward
    explorer = vh.explore_cam(net, "koala", layers=[net[3]])
    assert explorer.result.layer == "3" and net.training and all(m.training for m in net)
    with torch.no_grad():
        net[3].weight.zero_()  # the weights are shared: what is trained on is what is shown next
        net[3].bias.zero_()
    explorer.controls["picture"].value = "koala"
    explorer.set(target=2)
    assert not explorer.result.map.any()


def test_two_nets_beside_each_other_answer_for_one_class_on_one_scale():
    one, two = labelled(), labelled()
    with torch.no_grad():
        two[7].weight.mul_(10)  # its gradients and maps of gradients are ten times as large
        two[7].bias.mul_(10)
    pair = vh.explore_saliency({"one": one, "two": two}, {"koala": "koala", "cup": "coffee"}, steps=4)
    assert [*pair.result] == ["one", "two"] and pair.result["one"].target == pair.result["two"].target
    torch.testing.assert_close(pair.result["two"].map, 10 * pair.result["one"].map)
    alone, other = vh.explore_saliency(two, {"koala": "koala"}, steps=4), pair.family["two"]
    alone.set(target=pair.result["one"].target)
    assert other.images[1].value == alone.images[1].value  # the larger map gives the scale
    tenth = np.asarray(Image.open(io.BytesIO(pair.images[1].value)).convert("RGB"), float)
    own = np.asarray(Image.open(io.BytesIO(other.images[1].value)).convert("RGB"), float)
    assert tenth.sum() < own.sum() / 2  # the smaller one is dark on it
    pair.set(picture="cup", target=3)
    assert {(r.picture, r.target) for r in pair.result.values()} == {("cup", 3)}
    pair.controls["picture"].upload.value = as_uploaded("own.png", png(vh.load_image("giraffe")))
    assert {r.picture for r in pair.result.values()} == {"own.png"} and [*pair.nets] == ["one", "two"]


def test_two_nets_have_a_layer_each_and_one_that_lacks_the_class_says_so(net):
    few = labelled()
    few.viz = vh.images.ModelInfo("few", 64, 64, categories=("koala", "espresso", "cat", "dog", "cow"))
    pair = vh.explore_cam({"squeeze": net, "few": few}, {"koala": "koala", "cup": "coffee"})
    assert pair.result["few"].target == 0 and pair.result["squeeze"].target == 105
    pair.family["few"].controls["layer"].value = "0"
    assert (pair.result["few"].layer, pair.result["squeeze"].layer) == ("0", "classifier.2")
    pair.controls["picture"].value = "cup"
    assert {r.picture for r in pair.result.values()} == {"cup"} and pair.result["few"].target == 1
    before = pair.result
    with pytest.raises(ValueError, match="No class is called 'goldfish'"):
        pair.set(target="goldfish")
    assert pair.result == before and "goldfish" in pair.note.value and pair.controls["target"].value == 967
    pair.set(target="koala")
    assert pair.result["few"].target == 0 and pair.note.value == STYLE
    with pytest.raises(ValueError, match="at least one net"):
        vh.explore_cam({}, "koala")
    three = vh.explore_cam({"one": net, "two": net, "few": few}, "koala")
    with pytest.raises(ValueError, match="goldfish"):
        three.set(target="goldfish")  # the second has it, the third has not
    assert [r.target for r in three.result.values()] == [105, 105, 0]
    assert "for koala" in three.family["two"].text.value


def test_row_and_column_read_what_the_map_is_there(net):
    explorer = vh.explore_cam(net, "koala")
    plain = shot(explorer)[1]
    explorer.reading.value = True
    row, column = explorer.at["row"], explorer.at["column"]
    assert (row.max, column.max) == (12, 12)
    row.value, column.value = 7, 3
    assert explorer.read.value == f"Grad-CAM over it, row 7, column 3 of 13 x 13: {explorer.result.map[7, 3]:.4g}"
    changed = np.argwhere((shot(explorer)[1] != plain).any(-1))
    assert np.abs(changed - np.array([7.5, 3.5]) / 13 * 320).max() < 9  # a ring where that is
    explorer.controls["layer"].value = "features.0"
    assert row.max == 110 and "of 111 x 111" in explorer.read.value
    explorer.reading.value = False
    explorer.controls["layer"].value = "classifier.2"
    assert (shot(explorer)[1] == plain).all() and explorer.read.value == ""


def test_provenance_of_what_has_none(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "plain.png")
    with pytest.raises(ValueError, match="no PNG that an explorer has saved"):
        vh.read_provenance(tmp_path / "plain.png")


def test_save_by_its_button_writes_beside_the_notebook_and_never_over_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    explorer = vh.explore_cam(labelled(), {"koala": "koala"})
    save = explorer.tools.children[0]
    save.click()
    save.click()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["explore_cam-1.png", "explore_cam-2.png"]
    told = vh.read_provenance("explore_cam-2.png")
    assert told["settings"]["picture"] == "koala" and str(tmp_path / "explore_cam-2.png") in explorer.note.value
    assert told["nets"] == {"<b>quick</b>": "weights of unknown origin"}
    monkeypatch.chdir("/proc")
    save.click()
    assert "Error" in explorer.note.value


# --- long work -------------------------------------------------------------------------------------------------------
class Slow:
    """A job that notes when its steps run; two at once would show."""
    def __init__(self, total=60):
        self.done, self.total, self.inside = 0, total, 0

    def step(self):
        self.inside += 1
        assert self.inside == 1, "two steps at once"
        time.sleep(0.005)
        self.done += 1
        self.inside -= 1


def stepwise():
    return Stepwise(lambda speed: Slow(), lambda run, speed: (f"{run.job and run.job.done}", {}, {}), speed=range(2))


def test_start_pressed_twice_and_start_after_stop_run_one_row_of_steps():
    async def walk():
        explorer = stepwise()
        explorer.start.click()
        explorer.start.click()
        explorer.stop.click()
        explorer.start.click()  # the first row of steps has not seen the stop yet
        begun, job = time.perf_counter(), explorer.job
        await asyncio.sleep(0.4)
        assert 2 <= job.done <= 3 + (time.perf_counter() - begun) / 0.024  # a row rests 20 ms after 5 ms of work
        assert "to go" in explorer.left.value
        explorer.close()
        done = job.done
        await asyncio.sleep(0.1)
        assert job.done == done < 60

    asyncio.run(walk())




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
            assert (result.picture, result.net, result.filter) == ("koala", name, k)
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
    assert "channels 192 to 255" in explorer.captions[1].value and explorer.result.channel == 255


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
    assert "koala" in explorer.note.value and explorer.result.target == 817


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
            assert f"{part} values" in explorer.text.value
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
    assert "nearest" in explorer.note.value and explorer.result.target == 105


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
    assert explorer.result[1:4] == ("saliency", "trained", 0) and explorer.result.rank == 1
    for name in ("edges", "saliency"):
        parts["method"].value = name
        want = vh.sanity_check(net, x, 2, name)
        curve = vh.insertion_deletion(net, x, 2, want.maps[0], steps=5)
        for at, stage in enumerate(["trained", *want.stages]):
            parts["stage"].value = stage
            assert explorer.result[1:3] == (name, stage)
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
    assert "koala" in explorer.note.value and search.value == "lesser panda"
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
    assert explorer.result[1:4] == (96, 64, "grey") and explorer.bar.value == explorer.bar.max == 9
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
        assert "to go" in explorer.left.value and explorer.stop.disabled and explorer.bar.value == done
        explorer.start.click()
        await asyncio.sleep(0.15)
        assert explorer.result.done > done
        explorer.controls["patch"].value = 64  # moving a control stops the sweep, too
        await asyncio.sleep(0.1)
        assert explorer.result.done == 0 and not explorer.start.disabled

    asyncio.run(walk())


def test_occlusion_in_a_kernel_runs_between_cells_and_can_be_stopped_and_interrupted(root):
    cells = [
        "import vizhelpers as vh; e = vh.explore_occlusion(vh.load_model('squeezenet1_1'), 'koala')\n"
        "e.set(stride=4); e.start.click()",
        "import asyncio; await asyncio.sleep(0.5); first = e.result.done; await asyncio.sleep(0.3)",
        "e.stop.click(); second = e.result.done",
        "await asyncio.sleep(0.5); third = e.result.done",
        "assert 0 < first < second == third < e.result.total, (first, second, third, e.result.total)",
        "import os, signal; e.start.click()\n"
        "asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), signal.SIGINT)",
        "fourth = e.result.done; await asyncio.sleep(0.5)\n"
        "assert third < fourth == e.result.done < e.result.total, (third, fourth, e.result.done)\n"
        "assert not e.turn and not e.start.disabled",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    client = NotebookClient(book, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(root)}})
    with client.setup_kernel():
        for n, cell in enumerate(book.cells):
            client.execute_cell(cell, n)
            time.sleep(1.5 if n == 5 else 0)  # the kernel is idle, but for the steps


def test_occlusion_says_what_is_wrong(net, alexnet):
    with pytest.raises(ValueError, match="no class scores"):
        vh.explore_occlusion(alexnet, "koala")
    explorer = vh.explore_occlusion(net, "koala")
    explorer.controls["stride"].value = 64
    explorer.make = lambda picture, patch, stride, fill: 1 / 0
    explorer.start.click()
    assert "ZeroDivisionError" in explorer.note.value


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
    small = vh.explore_synthesis(net, size=4)
    small.start.click()
    assert "size of a recipe is at least 8, not 4" in small.note.value


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
        while explorer.turn:
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
    assert "relu8_1" in explorer.note.value
