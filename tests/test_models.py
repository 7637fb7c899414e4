"""Nets: the right answers on real pictures, the right wiring, and one sentence for every wrong request."""
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import vizhelpers as vh
from vizhelpers import models, weights

vh.prepare_torchvision()
import torchvision  # noqa: E402 - only after prepare_torchvision

PHOTOS = Path(__file__).parents[1] / "data" / "photos"
FOUR = {"classics/coffee": "espresso", "animals/koala": "koala",
        "monuments/india_gate": "triumphal arch", "animals/chicken": "hen"}


def crop(path, how=Image.Resampling.BILINEAR):
    """uint8 (224, 224, 3): short side to 256, middle 224, as torchvision's transforms do, in PIL alone."""
    image = Image.open(path).convert("RGB")
    width, height = image.size
    short = min(width, height)
    image = image.resize((int(256 * width / short), int(256 * height / short)), how)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    return np.asarray(image.crop((left, top, left + 224, top + 224)))


def normalised(pixels, info):
    x = (pixels / 255.0 - np.array(info.mean)) / np.array(info.std)
    return torch.from_numpy(x.transpose(2, 0, 1)[None].astype("float32"))


@pytest.fixture(scope="module")
def squeezenet():
    return models.load_model("squeezenet1_1", device="cpu")


@pytest.fixture(scope="module")
def lite0():
    return models.load_model("efficientnet_lite0", device="cpu")


@pytest.mark.parametrize(("picture", "label"), FOUR.items())
def test_squeezenet_knows_the_pictures(squeezenet, picture, label):
    first = vh.predict(squeezenet, normalised(crop(PHOTOS / f"{picture}.webp"), squeezenet.viz))[0]
    print(f"{picture}: {first.label} {first.probability:.4f}")
    assert first.label == label and first.probability > 0.9


def test_folded_squeezenet_equals_the_caffe_formula(squeezenet):
    """Twenty pictures; oracle: the cached, unfolded weights fed with BGR 0..255 minus Caffe's mean."""
    caffe = torchvision.models.squeezenet1_1(weights=None).eval()
    caffe.load_state_dict(load_file(weights.embedded("squeezenet1_1")))
    files = sorted(PHOTOS.glob("*/*.webp"))[::8][:20]
    pixels = [crop(path) for path in files]
    bgr = np.stack([p[:, :, ::-1].astype("float32") for p in pixels]) - np.array([103.939, 116.779, 123.68], "float32")
    with torch.no_grad():
        original = caffe(torch.from_numpy(np.ascontiguousarray(bgr.transpose(0, 3, 1, 2))))
        folded = squeezenet(torch.cat([normalised(p, squeezenet.viz) for p in pixels]))
    assert len(files) == 20 and original.std() > 1
    print(f"largest difference {(folded - original).abs().max():.1e}")
    assert (folded - original).abs().max() < 1e-3


def test_lite0_knows_the_pictures(lite0):
    """Its own preprocessing, written out: bicubic, (x - 127) / 128 of the bytes."""
    right = []
    for picture, label in FOUR.items():
        pixels = crop(PHOTOS / f"{picture}.webp", Image.Resampling.BICUBIC)
        x = normalised(pixels, lite0.viz)
        by_hand = (torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype("float32")) - 127) / 128
        assert torch.allclose(x, by_hand, atol=1e-5)
        right.append(vh.predict(lite0, x)[0])
        assert right[-1].label == label
    assert min(p.probability for p in right) > 0.7


def test_lite0_has_the_published_shape(lite0):
    """4.652 million parameters; TensorFlow's padding: a unit of the first layer sees no row above or left."""
    assert sum(p.numel() for p in lite0.parameters()) == 4_652_008
    x = torch.zeros(1, 3, 224, 224, requires_grad=True)
    lite0.features[0].conv(lite0.features[0].pad(x))[0, :, 0, 0].sum().backward()
    seen = x.grad.abs().sum((0, 1)).nonzero()
    assert seen.min(0).values.tolist() == [0, 0] and seen.max(0).values.tolist() == [2, 2]
    assert lite0.features(torch.zeros(1, 3, 160, 224)).shape == (1, 1280, 5, 7)


@pytest.mark.parametrize(("name", "shape"), [("alexnet", (1, 256, 6, 6)), ("vgg16", (1, 512, 7, 7))])
def test_convolution_only_nets(name, shape):
    net = models.load_model(name, device="cpu")
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    full = torchvision.models.get_model(name, weights=None).eval()
    full.load_state_dict(load_file(weights.embedded(name)), strict=False)
    with torch.no_grad():
        out = net(x)
        assert out.shape == shape and torch.allclose(out, full.features(x), atol=1e-4)
    assert vh.layer_names(net)[0] == "features.0" and not net.viz.has_classifier
    for ask in (vh.class_scores, vh.predict, lambda n, _: vh.categories(n),
                lambda n, _: vh.class_index(n, 3)):
        with pytest.raises(ValueError, match=rf"{name} holds only its convolutions.*load_model\('{name}', w"):
            ask(net, x)


@pytest.mark.parametrize("name", ["squeezenet1_1", "alexnet"])
def test_loaded_nets_are_ready_to_look_into(name):
    net = models.load_model(name, device="cpu")
    assert not any(m.training for m in net.modules()) and not any(p.requires_grad for p in net.parameters())
    assert net.features[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert net.viz.name == name and net.viz.input_size == 224 and len(net.viz.categories) == 1000
    assert "==" in net.viz.weights


def test_random_weights_repeat_and_leave_the_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = (models.load_model("squeezenet1_1", weights="random", device="cpu") for _ in range(2))
    models.load_model("squeezenet1_1", device="cpu")
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert first.features[0].weight.std() > 0 and "untrained" in first.viz.weights
    assert models.load_model("efficientnet_lite0", weights="random", device="cpu").viz.interpolation == "bicubic"


@pytest.mark.parametrize(
    ("name", "choice", "sentence"),
    [
        ("squeezenet11", "auto", "no net called 'squeezenet11'; nearest: squeezenet1_1"),
        ("zzz", "auto", "no net called 'zzz'"),
        ("resnet18", "embedded", "no embedded weights for 'resnet18'"),
        ("resnet18", "IMAGENET", "resnet18 has no weights 'IMAGENET'; there are: IMAGENET1K_V1, DEFAULT, auto, random"),
        ("resnet18", "SIN", "resnet18 has no weights 'SIN'; there are: "),
        ("efficientnet_lite0", "IMAGENET1K_V1", "efficientnet_lite0 has no weights 'IMAGENET1K_V1'; .*embedded"),
    ],
)
def test_unknown_requests(name, choice, sentence):
    with pytest.raises(ValueError, match=sentence):
        models.load_model(name, weights=choice)


# --- official weights (no network here: the download itself is tested in test_weights.py) ----------------------------
@pytest.mark.parametrize(("name", "size"), [("googlenet", 224), ("inception_v3", 299)])
def test_official_nets_equal_torchvisions_own_builder(name, size, monkeypatch):
    """Same file, two loaders: torchvision's own get_model(name, weights=...) is the oracle."""
    torch.manual_seed(1)
    options = {"init_weights": False, "aux_logits": True}
    state = torchvision.models.get_model(name, weights=None, **options).state_dict()
    asked = []
    monkeypatch.setattr(weights, "official_state_dict", lambda url: asked.append(url) or state)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda url, **_: asked.append(url) or state)
    ours = models.load_model(name, device="cpu")
    oracle = torchvision.models.get_model(name, weights="IMAGENET1K_V1").eval()
    assert asked[0] == asked[1] and ours.transform_input and oracle.transform_input
    x = torch.randn(1, 3, size, size)
    with torch.no_grad():
        assert torch.allclose(vh.class_scores(ours, x), oracle(x), atol=1e-4)
    assert (ours.viz.input_size, ours.viz.interpolation) == (size, "bilinear")
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in oracle.named_modules()]


def test_old_names_in_the_official_file_of_densenet(monkeypatch):
    """Its file says `denselayer1.norm.1.weight` where the net has `denselayer1.norm1.weight`, and counts no batches."""
    state = torchvision.models.densenet121(weights=None).state_dict()
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key): value for key, value in state.items()}
    assert len(old.keys() - state.keys()) > 500
    monkeypatch.setattr(weights, "official_state_dict", lambda url: old)
    ours = models.load_model("densenet121", device="cpu").state_dict()
    assert all(torch.equal(ours[key], value) for key, value in state.items())


def test_stylized_resnet(monkeypatch):
    torch.manual_seed(2)
    state = torchvision.models.resnet50(weights=None).state_dict()
    checkpoint = {"epoch": 60, "state_dict": {f"module.{key}": value for key, value in state.items()}}
    asked = []
    monkeypatch.setattr(weights, "official_state_dict", lambda url: asked.append(url) or checkpoint)
    net = models.load_model("resnet50", weights="SIN", device="cpu")
    assert asked[0].endswith("resnet50_train_60_epochs-c8e5653e.pth.tar")
    assert torch.equal(net.fc.weight, state["fc.weight"]) and "Stylized-ImageNet" in net.viz.weights


# --- torchvision beside a torch that it was not built for -------------------------------------------------------------
def run(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_torchvision_imports_even_after_a_failed_try():
    script = (
        "try:\n    import torchvision\nexcept RuntimeError: print('failed')\n"
        "import vizhelpers as vh, torch, importlib, sys\n"
        "importlib.reload(sys.modules['vizhelpers.device']); vh.prepare_torchvision()\n"
        "import gc, torchvision; gc.collect()\n"
        "print(hasattr(torch.ops.torchvision, 'nms'), torchvision.models.alexnet.__name__)\n"
    )
    assert run(script)[-2:] == ["True", "alexnet"]


def test_real_operators_are_left_alone():
    """A matching torchvision, played by a library that loads and brings its own nms."""
    script = (
        "import torch\n"
        "def load(path):\n"
        "    global lib; lib = torch.library.Library('torchvision', 'DEF')\n"
        "    lib.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "    lib.define('qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "real, torch.ops.load_library = torch.ops.load_library, load\n"
        "import vizhelpers; torch.ops.load_library = real\n"
        "import torchvision; print(hasattr(torch, '_vizhelpers_declared'), torchvision.__name__)\n"
    )
    assert run(script) == ["False", "torchvision"]


def test_import_is_quick():
    """What `import vizhelpers` adds to `import torch, torchvision`; three tries, as machines are busy at times."""
    script = (
        "import sys, time, torch\n"
        "try:\n    import torchvision\n"
        "except RuntimeError:\n"  # declared by hand: vizhelpers and what it imports must still be unloaded
        "    for name in [n for n in sys.modules if n.startswith('torchvision')]: del sys.modules[name]\n"
        "    lib = torch.library.Library('torchvision', 'DEF')\n"
        "    for op in ('nms', 'qnms'):\n"
        "        lib.define(op + '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "    import torchvision\n"
        "start = time.perf_counter(); import vizhelpers; vizhelpers.load_model; print(time.perf_counter() - start)\n"
    )
    assert any(float(run(script)[-1]) < 0.5 for _ in range(3))
