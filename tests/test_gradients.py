"""Gradient maps, means of them, ReLU rules and segmentation: by hand, finite differences, captum as an oracle."""
import warnings

import captum.attr
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from methods import net_of, pictures
from PIL import Image
from test_targets import tiny
from torch import nn

import vizhelpers as vh
from vizhelpers.images import black
from vizhelpers.methods import gradients
from vizhelpers.methods.gradients import deconvnet_gradient, guided_backprop, relu_rule


def linear(height=4, width=5, classes=3):
    """S = W x + b on flattened pictures, so every map is known: `(net, W as (C,3,H,W))`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * height * width, classes)).double()
    return net, net[1].weight.detach().view(classes, 3, height, width)


class Formula(nn.Module):
    """One class whose score is the sum of `function` over all pixels."""

    def __init__(self, function):
        super().__init__()
        self.function, self.one = function, nn.Linear(1, 1, bias=False).double()
        self.one.weight.data.fill_(1)

    def forward(self, x):
        return self.one(self.function(x).flatten(1).sum(1, keepdim=True))


# --- saliency and gradient x input ---------------------------------------------------------------------------------
def test_on_a_linear_net_every_map_is_known():
    net, w = linear()
    x, base = pictures(2, 4, 5), pictures(3, 4, 5)[2:]
    torch.testing.assert_close(vh.gradient(net, x, 2), w[2].expand(2, 3, 4, 5))
    torch.testing.assert_close(vh.saliency(net, x, [0, 2]), w[[0, 2]].abs().amax(1))
    torch.testing.assert_close(vh.gradient_x_input(net, x, 1), w[1] * x)
    torch.testing.assert_close(vh.smoothgrad(net, x, 1, samples=2), w[1].expand(2, 3, 4, 5))
    torch.testing.assert_close(vh.integrated_gradients(net, x, 1, baseline=base, steps=1), w[1] * (x - base))


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "densenet121"])
def test_twenty_random_pixels_against_finite_differences(name):
    net, x = net_of(name), pictures(1)
    g, step = vh.gradient(net, x, 7)[0], 1e-6
    chance = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _ in range(20):
            place = tuple(int(torch.randint(n, (1,), generator=chance)) for n in (3, 64, 64))
            both = torch.cat([x, x])
            both[0][place] += step
            both[1][place] -= step
            up, down = net(both)[:, 7]
            assert float((up - down) / (2 * step)) == pytest.approx(float(g[place]), rel=1e-3, abs=1e-8)


def test_it_is_the_logit_not_the_probability():
    net, x = tiny(), pictures(1, 8, 10)
    leaf = x.clone().requires_grad_()
    (of_probability,) = torch.autograd.grad(net(leaf).softmax(1)[0, 1], leaf)
    assert not torch.allclose(vh.gradient(net, x, 1), of_probability)


def test_none_is_the_most_probable_class_of_each_picture():
    net, x = tiny(), pictures(3, 8, 10) * 5
    best = net(x).argmax(1)
    torch.testing.assert_close(vh.saliency(net, x), vh.saliency(net, x, best))
    torch.testing.assert_close(vh.smoothgrad(net, x, samples=2), vh.smoothgrad(net, x, best, samples=2))


def test_a_dead_picture_is_zeros_and_said_aloud():
    net = tiny()
    x = pictures(2, 8, 10)
    net[0].weight.zero_(), net[0].bias.fill_(-1)  # every ReLU is off
    with pytest.warns(UserWarning, match="gradient is zero everywhere for picture 0, 1: every path"):
        assert not vh.saliency(net, x, 1).any()
    with pytest.warns(UserWarning, match="SmoothGrad is zero"):
        assert not vh.smoothgrad(net, x, 1, samples=2).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert vh.saliency(tiny(), x, 1).any()


def test_results_are_detached_even_if_the_picture_asks_for_gradients():
    net, x = tiny(), pictures(1, 8, 10).requires_grad_()
    for found in (vh.gradient_x_input(net, x, 1), vh.smoothgrad(net, x, 1, samples=2),
                  vh.integrated_gradients(net, x, 1, steps=2), vh.saliency(net, x, 1)):  # fmt: skip
        assert not found.requires_grad
    assert x.grad is None


def test_captum_agrees_on_saliency_and_gradient_x_input():
    net, x = net_of("resnet18"), pictures(2)
    want = captum.attr.Saliency(net).attribute(x.clone(), target=7)
    torch.testing.assert_close(vh.saliency(net, x, 7), want.amax(1))
    want = captum.attr.InputXGradient(net).attribute(x.clone(), target=7).detach()
    torch.testing.assert_close(vh.gradient_x_input(net, x, 7), want)


# --- SmoothGrad ----------------------------------------------------------------------------------------------------
def seen(monkeypatch) -> list:
    """Every batch that an averaging method gives to the net."""
    batches, real = [], gradients.score_and_gradient

    def spy(model, x, target):
        batches.append((x.clone(), target))
        return real(model, x, target)

    monkeypatch.setattr(gradients, "score_and_gradient", spy)
    return batches


def test_smoothgrad_without_noise_is_the_gradient():
    net, x = net_of("squeezenet1_1"), pictures(2)
    torch.testing.assert_close(vh.smoothgrad(net, x, 7, level=0, samples=3), vh.gradient(net, x, 7))


def test_noise_has_the_level_that_was_asked_for(monkeypatch):
    batches = seen(monkeypatch)
    x = pictures(2, 32, 32)
    x[1] *= 3  # each picture has a range of its own
    vh.smoothgrad(linear(32, 32)[0], x, 1, level=0.2, samples=40)
    noise = torch.cat([batch for batch, _ in batches]).reshape(40, 2, -1) - x.view(1, 2, -1)
    want = 0.2 * (x.amax((1, 2, 3)) - x.amin((1, 2, 3)))
    torch.testing.assert_close(noise.std(dim=(0, 2)), want, rtol=0.01, atol=0)
    assert noise.mean(dim=(0, 2)).abs().max() < 0.02 * want.max()


def test_smoothgrad_is_the_mean_over_its_samples_however_they_are_batched(monkeypatch):
    net, x = tiny(), pictures(2, 8, 10)
    batches = seen(monkeypatch)
    monkeypatch.setattr(gradients, "batch_for", lambda place: 3)
    found = vh.smoothgrad(net, x, [1, 2], samples=5)
    assert [len(batch) for batch, _ in batches] == [2, 2, 2, 2, 2]
    copies, targets = torch.cat([b for b, _ in batches]), sum((list(t) for _, t in batches), [])
    assert targets == [1, 2] * 5
    torch.testing.assert_close(found, vh.gradient(net, copies, targets).view(5, 2, 3, 8, 10).mean(0))
    monkeypatch.setattr(gradients, "batch_for", lambda place: 8)
    torch.testing.assert_close(found, vh.smoothgrad(net, x, [1, 2], samples=5))
    assert not torch.allclose(found, vh.smoothgrad(net, x, [1, 2], samples=5, seed=1))


def test_captum_agrees_on_smoothgrad_within_the_noise(monkeypatch):
    monkeypatch.setattr(gradients, "batch_for", lambda place: 500)
    net, x = tiny(), pictures(1, 8, 10)
    spread = 0.2 * float(x.max() - x.min())
    n = 4000
    ours = vh.smoothgrad(net, x, 1, level=0.2, samples=n)
    torch.manual_seed(0)
    tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(net))
    theirs = tunnel.attribute(x.clone(), nt_type="smoothgrad", nt_samples=n, nt_samples_batch_size=500, stdevs=spread,
                              target=1, abs=False)  # fmt: skip
    single = vh.gradient(net, x + spread * torch.randn(n, *x.shape[1:], dtype=x.dtype), 1)
    error = single.std(0).div(n**0.5) * 2**0.5
    z = ((ours - theirs)[0] / error).abs()
    assert z.max() < 5 and z.mean() < 1.2  # two independent means of 4000: |z| is 0.8 on average
    assert (ours - vh.gradient(net, x, 1))[0].div(error).abs().mean() > 5  # and the noise does make a difference


@pytest.mark.parametrize("options", [{"level": -0.1}, {"samples": 0}])
def test_smoothgrad_refuses_nonsense(options):
    with pytest.raises(ValueError, match="0 or more, not -0.1|samples is 0: it must be at least 1"):
        vh.smoothgrad(tiny(), pictures(1, 8, 10), 1, **options)


# --- Integrated Gradients ------------------------------------------------------------------------------------------
def test_integrated_gradients_of_a_square_by_hand():
    """S = sum x^2 from baseline b: along x_i alone the attribution is x_i^2 - b_i^2."""
    x, base = pictures(1, 3, 3), torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64).view(1, 3, 1, 1)
    found = vh.integrated_gradients(Formula(torch.square), x, 1, baseline=base, steps=1)  # the gradient is a line
    torch.testing.assert_close(found, x.square() - base.square())


@pytest.mark.parametrize("steps", [7, 50])
def test_captum_agrees_on_integrated_gradients(steps):
    net, x = tiny(), pictures(2, 8, 10)
    base = torch.full_like(x, -1.5)
    theirs = captum.attr.IntegratedGradients(net).attribute(
        x, baselines=base, target=1, n_steps=steps, method="gausslegendre"
    )
    torch.testing.assert_close(vh.integrated_gradients(net, x, 1, baseline=base, steps=steps), theirs)


@pytest.mark.parametrize("picture, label", [
    ("koala", "koala"), ("coffee", "espresso"), ("india_gate", "triumphal arch"),
])  # fmt: skip
def test_completeness_to_one_percent_on_a_trained_net(picture, label):
    net = vh.load_model("squeezenet1_1")
    x = vh.to_input(picture, net, size=96)
    base = black(net).to(x).expand_as(x).contiguous()
    with torch.no_grad():
        whole = vh.score(net, x, label) - vh.score(net, base, label)
    found = vh.integrated_gradients(net, x, label, steps=128).sum((1, 2, 3))
    torch.testing.assert_close(found, whole, rtol=0.0101, atol=0)


def test_the_steps_are_those_asked_for_and_96_by_default(monkeypatch):
    batches, net = seen(monkeypatch), linear()[0]
    for steps, points in ((None, 2 * 96), (5, 2 * 5)):
        batches.clear()
        vh.integrated_gradients(net, pictures(2, 4, 5), 1, steps=steps)
        assert sum(len(batch) for batch, _ in batches) == points


def test_a_default_that_is_not_complete_to_one_percent_is_said_aloud():
    teeth = Formula(lambda x: (1e4 * x).sin())  # thousands of them on the way: no hundred points can be right
    with pytest.warns(UserWarning, match="After 96 steps the sum is .* off; give more steps"):
        vh.integrated_gradients(teeth, pictures(1, 3, 3), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vh.integrated_gradients(linear()[0], pictures(1, 4, 5), 1)
        vh.integrated_gradients(teeth, pictures(1, 3, 3), 0, steps=3)  # who says how many knows


def test_the_default_baseline_is_a_black_picture():
    net = vh.load_model("resnet18", weights="random", device="cpu")
    picture = vh.to_input(Image.new("RGB", (224, 224)), net)
    torch.testing.assert_close(black(net).expand_as(picture), picture)


def test_a_baseline_that_does_not_fit_and_no_step_are_refused():
    net, x = tiny(), pictures(2, 8, 10)
    with pytest.raises(ValueError, match=r"baseline=a float\d+ tensor \(1, 3, 7, 7\) .*must match"):
        vh.integrated_gradients(net, x, 1, baseline=torch.zeros(1, 3, 7, 7))
    with pytest.raises(ValueError, match=r"RGB only, and x is \(1, 1, 9, 9\): give a baseline"):
        vh.integrated_gradients(Formula(torch.square), torch.ones(1, 1, 9, 9).double(), 0)  # black has three colours
    with pytest.raises(ValueError, match="deg must be a positive"):
        vh.integrated_gradients(net, x, 1, steps=0)


@pytest.mark.parametrize("method", [vh.smoothgrad, vh.integrated_gradients])
def test_the_stop_button_returns_the_mean_so_far(monkeypatch, method):
    net, w = linear()
    x, calls, real = pictures(1, 4, 5), [], gradients.score_and_gradient

    def stopped(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(gradients, "score_and_gradient", stopped)
    monkeypatch.setattr(gradients, "batch_for", lambda place: 2)
    found = method(net, x, 1, progress=True)
    want = w[1] if method is vh.smoothgrad else w[1] * (x - black(net).double())
    torch.testing.assert_close(found, want.expand(1, 3, 4, 5), rtol=1e-6, atol=1e-8)
    assert len(calls) == 3


# --- segmentation from a map ---------------------------------------------------------------------------------------
def disc(size=(80, 100), centre=(40, 30), radius=16):
    """A red disc on green, with a little grain: `(picture, mask)`."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    mask = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2
    pixels = np.where(mask[..., None], (200, 40, 40), (40, 160, 60))
    pixels = pixels + np.random.default_rng(0).integers(-9, 9, pixels.shape)
    return Image.fromarray(pixels.astype(np.uint8)), torch.from_numpy(mask)


def iou(a, b):
    return float((a & b).sum() / (a | b).sum())


def test_a_blob_on_part_of_the_object_grows_to_the_object():
    picture, truth = disc()
    rows, columns = np.mgrid[:80, :100]
    seed = torch.from_numpy(np.exp(-((rows - 44) ** 2 + (columns - 33) ** 2) / 150.0))  # off centre, smaller
    found = vh.segment_from_saliency(picture, seed)
    assert found.dtype == torch.bool and found.shape == (80, 100)
    assert iou(found, truth) > 0.95
    assert torch.equal(found, vh.segment_from_saliency(picture, seed))  # seeded


def test_height_and_width_and_the_inputs_keep_their_places():
    picture, truth = disc(size=(60, 120), centre=(20, 90), radius=12)
    pixels, heat = np.asarray(picture).copy(), truth.double()
    kept = pixels.copy(), heat.clone()
    found = vh.segment_from_saliency(pixels, heat)
    assert iou(found, truth) > 0.95
    assert np.array_equal(pixels, kept[0]) and torch.equal(heat, kept[1])


def test_a_composed_scene_from_its_own_mask():
    scene = vh.compose_scene("koala", background="taj_mahal")
    assert iou(vh.segment_from_saliency(scene.image, scene.masks[0].float()), scene.masks[0]) > 0.6


def test_what_cannot_be_segmented_is_one_sentence():
    picture, truth = disc()
    with pytest.raises(ValueError, match=r"map is \(40, 100\) but the picture is \(80, 100\)"):
        vh.segment_from_saliency(picture, truth[:40].float())
    with pytest.raises(ValueError, match="too flat"):
        vh.segment_from_saliency(picture, torch.zeros(80, 100))
    with pytest.raises(ValueError, match="finite"):
        vh.segment_from_saliency(picture, truth.float() * float("nan"))


# --- ReLU rules ----------------------------------------------------------------------------------------------------
# Activation off or on, gradient from above negative or positive: the four cases of METHODS' table.
A = torch.tensor([[-1.0, -2.0], [3.0, 4.0]], dtype=torch.float64)
G = torch.tensor([[-5.0, 6.0], [-7.0, 8.0]], dtype=torch.float64)
TABLE = {
    "gradient": torch.tensor([[0.0, 0.0], [-7.0, 8.0]], dtype=torch.float64),
    "deconvnet": torch.tensor([[0.0, 6.0], [0.0, 8.0]], dtype=torch.float64),
    "guided": torch.tensor([[0.0, 0.0], [0.0, 8.0]], dtype=torch.float64),
}

SPELLINGS = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu in place": lambda t: F.relu(t, inplace=True),
    "F.relu in place, by position": lambda t: F.relu(t, True),
    "F.relu, input by name": lambda t: F.relu(input=t),
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "tensor.relu": lambda t: t.relu(),
    "tensor.relu_": lambda t: t.relu_(),
    "operator": torch.ops.aten.relu.default,
    "operator in place": torch.ops.aten.relu_.default,
    "F.threshold": lambda t: F.threshold(t, 0, 0),
    "F.threshold, by name, in place": lambda t: F.threshold(t, threshold=0.0, value=0.0, inplace=True),
    "nn.Threshold": nn.Threshold(0.0, 0.0),
    "torch.threshold_": lambda t: torch.threshold_(t, 0, 0),
}
SIXES = {
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": nn.ReLU6(inplace=True),
    "F.relu6": F.relu6,
    "F.relu6 in place": lambda t: F.relu6(t, True),
    "nn.Hardtanh": nn.Hardtanh(0, 6),
    "F.hardtanh, by position": lambda t: F.hardtanh(t, 0.0, 6.0),
    "F.hardtanh, by position, in place": lambda t: F.hardtanh(t, 0, 6, True),
    "F.hardtanh, by name": lambda t: F.hardtanh(t, max_val=6, min_val=0, inplace=True),
    "F.hardtanh_": lambda t: F.hardtanh_(t, 0, 6),
}


def back(function, x, g, rule):
    """Forward value, gradient with respect to x and the count, of one function under a rule."""
    leaf = x.clone().requires_grad_()
    with relu_rule(rule) as mode:
        out = function(leaf * 1)  # a copy that is no leaf, so that it may be changed in place
    return out.detach(), torch.autograd.grad(out, leaf, g)[0], mode.count


# ---- one ReLU -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("rule", TABLE)
def test_the_table_for_every_spelling_of_a_relu(spelling, rule):
    out, got, count = back(SPELLINGS[spelling], A, G, rule)
    assert torch.equal(got, TABLE[rule]) and count == 1
    assert torch.equal(out, A.clamp(min=0))


@pytest.mark.parametrize("spelling", SIXES)
def test_relu6_is_off_at_both_ends(spelling):
    x = torch.tensor([-1.0, 0.0, 2.0, 6.0, 9.0])
    g = torch.tensor([3.0, 3.0, -3.0, 3.0, 3.0])
    for rule, want in (("gradient", [0, 0, -3, 0, 0]), ("deconvnet", [3, 3, 0, 3, 3]), ("guided", [0, 0, 0, 0, 0])):
        out, got, count = back(SIXES[spelling], x, g, rule)
        assert got.tolist() == want and out.tolist() == [0, 0, 2, 6, 6] and count == 1
    assert back(SIXES[spelling], x, g.abs(), "guided")[1].tolist() == [0, 0, 3, 0, 0]


def test_a_relu_clipped_elsewhere_keeps_its_own_top():
    x = torch.tensor([-1.0, 2.0, 6.0, 20.0])
    out, got, _ = back(nn.Hardtanh(0, 20), x, torch.ones(4), "guided")
    assert got.tolist() == [0, 1, 1, 0] and out.tolist() == [0, 2, 6, 20]


def test_the_gradient_rule_is_pytorchs_gradient_bit_for_bit():
    """Also where what arrives is not finite: 0 * inf would be nan."""
    inf, nan = float("inf"), float("nan")
    x = torch.tensor([-1.0, 0.0, -0.0, 1.0, 7.0, 2.0, -inf, 1.0, -1.0])
    g = torch.tensor([inf, -1.0, 1.0, inf, 2.0, -3.0, nan, nan, -2.0])
    for function in (F.relu, F.relu6):
        leaf = x.clone().requires_grad_()
        out = function(leaf)
        (want,) = torch.autograd.grad(out, leaf, g)
        got_out, got, _ = back(function, x, g, "gradient")
        for one, other in ((got, want), (got_out, out.detach())):
            assert torch.equal(one.view(torch.int32), other.view(torch.int32))
    assert back(F.relu, x, g, "guided")[1][:3].tolist() == [0, 0, 0]


def test_the_mask_counts_and_not_the_activation():
    x = torch.tensor([2.0, 5.0])
    assert back(F.relu, x, torch.tensor([1.0, 3.0]), "guided")[1].tolist() == [1, 3]  # not 2 and 15


def test_the_gradient_of_the_gradient_follows_the_rule_too():
    x = torch.tensor([2.0, -3.0], dtype=torch.float64, requires_grad=True)
    with relu_rule("guided"):
        y = (F.relu(x) ** 3).sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    (gg,) = torch.autograd.grad(g.sum(), x)
    assert g.tolist() == [12, 0] and gg.tolist() == [12, 0]


# ---- in place -------------------------------------------------------------------------------------------------------
def test_in_place_is_in_place_and_on_a_view_changes_the_base():
    leaf = torch.tensor([[-1.0, 2.0], [-3.0, 4.0]], requires_grad=True)
    base = leaf * 1
    with relu_rule("guided"):
        row = base[1]
        out = F.relu(row, inplace=True)
    assert out is row or out.data_ptr() == row.data_ptr()
    assert base.tolist() == [[-1, 2], [0, 4]]
    (got,) = torch.autograd.grad(base, leaf, torch.tensor([[-1.0, 1.0], [1.0, -1.0]]))
    assert got.tolist() == [[-1, 1], [0, 0]]  # the rule holds for the row that went through the ReLU, and only there
    (got,) = torch.autograd.grad(back_base(leaf), leaf, torch.ones(2, 2))
    assert got.tolist() == [[1, 1], [0, 1]]


def back_base(leaf):
    base = leaf * 1
    with relu_rule("guided"):
        base[1].relu_()
    return base


def test_in_place_where_pytorch_refuses_it_is_refused_too():
    leaf = torch.tensor([1.0, -1.0], requires_grad=True)
    with relu_rule("guided"), pytest.raises(RuntimeError, match="leaf"):
        leaf.relu_()
    with relu_rule("guided"):
        out = F.relu(leaf * 1)
        out.add_(1)  # overwrites what the ReLU has to remember
        with pytest.raises(RuntimeError, match="modified by an inplace"):
            torch.autograd.grad(out.sum(), leaf)


def test_in_place_after_capture_leaves_what_was_captured():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3)).double().eval()
    x = pictures(1, 8, 8).requires_grad_()
    with relu_rule("guided"), vh.capture(net, "0", "1") as acts:
        out = net(x)
    assert (acts["0"] < 0).any() and torch.equal(acts["1"], acts["0"].clamp(min=0))
    above, below = torch.autograd.grad(out[:, 0].sum(), [acts["1"], acts["0"]])
    assert (above < 0).any()
    torch.testing.assert_close(below, above.clamp(min=0) * (acts["0"] > 0), rtol=0, atol=0)


# ---- nets -----------------------------------------------------------------------------------------------------------
# Modules in the net, and how often a ReLU runs: ResNet runs one module several times, GoogLeNet and the end of
# DenseNet have functions, and MobileNetV2 has ReLU6.
COUNTS = {
    "alexnet": (7, 7), "vgg16": (15, 15), "squeezenet1_1": (26, 26), "resnet18": (9, 17), "googlenet": (0, 57),
    "densenet121": (120, 121), "mobilenet_v2": (35, 35),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_every_relu_is_counted_and_no_forward_value_changes(name):
    whole = name == "densenet121"  # the suite's has fewer layers
    net = vh.load_model(name, weights="random", device="cpu").double() if whole else net_of(name)
    modules, runs = COUNTS[name]
    assert sum(isinstance(m, (nn.ReLU, nn.ReLU6)) for m in net.modules()) == modules
    x = pictures(1)
    with torch.no_grad():
        want = net(x)
        for rule in TABLE:
            with relu_rule(rule) as mode:
                assert torch.equal(net(x), want)
            assert mode.count == runs


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "mobilenet_v2"])
def test_the_gradient_rule_on_a_whole_net_is_the_gradient(name):
    net, x = net_of(name), pictures(1)
    leaf = x.clone().requires_grad_()
    with relu_rule("gradient"):
        (got,) = torch.autograd.grad(net(leaf)[:, 7].sum(), leaf)
    assert torch.equal(got, vh.gradient(net, x, 7))


def plain(seed=0):
    """AlexNet-like, its ReLUs modules that are neither in place nor shared: the only kind that captum can do."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(12 * 3 * 5, 16), nn.ReLU(), nn.Linear(16, 9),
    ).double().eval()  # fmt: skip


@pytest.mark.parametrize("method, theirs", [(guided_backprop, "GuidedBackprop"), (deconvnet_gradient, "Deconvolution")])
@pytest.mark.parametrize("target", [0, 5])
def test_equals_captum(method, theirs, target):
    net, x = plain(), pictures(2, 32, 48)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum says that it sets hooks
        want = getattr(captum.attr, theirs)(net).attribute(x.clone().requires_grad_(), target=target).detach()
    got = method(net, x, target)
    assert want.abs().max() > 0
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-15)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(vh.gradient(net, x, target), want)


class Functional(nn.Module):
    """The same net three ways: separate modules, one shared in-place module, functions."""

    def __init__(self, base, act):
        super().__init__()
        self.parts, self.act = nn.ModuleList(m for m in base if not isinstance(m, nn.ReLU)), act
        last = len(self.parts) - 1
        self.after = {n for n, m in enumerate(self.parts) if isinstance(m, (nn.Conv2d, nn.Linear)) and n != last}

    def forward(self, x):
        for n, part in enumerate(self.parts):
            x = self.act(part(x)) if n in self.after else part(x)
        return x


@pytest.mark.parametrize("act", [nn.ReLU(inplace=True), F.relu, torch.relu_], ids=["shared", "F.relu", "relu_"])
def test_shared_in_place_and_functional_relus_make_no_difference(act):
    base, x = plain(), pictures(1, 32, 48)
    other = Functional(base, act).eval()
    for method in (guided_backprop, deconvnet_gradient):
        torch.testing.assert_close(method(other, x, 3), method(base, x, 3), rtol=0, atol=0)


def test_by_hand_through_three_layers():
    """Linear, ReLU, linear, ReLU, linear, with every number on paper."""
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]])  # x = (1, 2): z = (1, 2, -1), a = (1, 2, 0)
    second = torch.tensor([[1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]])  # z = (-1, 1), a = (0, 1)
    third = torch.tensor([[1.0, 1.0]])
    net = nn.Sequential(*(nn.Linear(*w.T.shape, bias=False) for w in (first, second, third)))
    for layer, w in zip(net, (first, second, third), strict=True):
        layer.weight.data = w
    net.insert(1, nn.ReLU())
    net.insert(3, nn.ReLU())
    x = torch.tensor([[1.0, 2.0]])
    for rule, want in (
        ("gradient", [-1, 1]),  # (1,1) -> (0,1) -> (-1,1,1) -> mask (1,1,0): (-1,1,0)
        ("deconvnet", [2, -2]),  # (1,1) -> both pass -> (0,0,2) -> (0,0,2): 2*(1,-1)
        ("guided", [0, 1]),  # (1,1) -> (0,1) -> (-1,1,1) -> (0,1,0)
    ):
        assert back(net, x, torch.ones(1, 1), rule)[1].tolist() == [want]


# ---- the block ------------------------------------------------------------------------------------------------------
def test_the_rule_is_fixed_where_the_forward_pass_runs():
    leaf = A.clone().requires_grad_()
    outside = F.relu(leaf)
    with relu_rule("guided") as mode:
        inside = F.relu(leaf)
        (got,) = torch.autograd.grad(outside, leaf, G)
    assert torch.equal(got, TABLE["gradient"]) and mode.count == 1
    assert torch.equal(torch.autograd.grad(inside, leaf, G)[0], TABLE["guided"])


@pytest.mark.parametrize("outer", TABLE)
@pytest.mark.parametrize("inner", TABLE)
def test_of_nested_rules_the_innermost_holds(outer, inner):
    leaf = A.clone().requires_grad_()
    with relu_rule(outer) as around:
        with relu_rule(inner) as mode:
            first = F.relu(leaf)
            in_place = F.relu(leaf * 1, inplace=True)
        second = F.relu(leaf)
    assert torch.equal(torch.autograd.grad(first, leaf, G)[0], TABLE[inner])
    assert torch.equal(torch.autograd.grad(in_place, leaf, G)[0], TABLE[inner])
    assert torch.equal(torch.autograd.grad(second, leaf, G)[0], TABLE[outer])
    assert mode.count == 2 and around.count == 3


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_after_an_error(error):
    with pytest.raises(error, match="planted"), relu_rule("guided"):
        raise error("planted")
    leaf = A.clone().requires_grad_()
    assert torch.equal(torch.autograd.grad(F.relu(leaf), leaf, G)[0], TABLE["gradient"])


def test_an_unknown_rule_is_named():
    with pytest.raises(ValueError, match="'gradient', 'deconvnet' and 'guided', not 'guied'"), relu_rule("guied"):
        pass


@pytest.mark.parametrize("other", [
    nn.SiLU(), nn.GELU(), nn.ELU(), nn.ELU(inplace=True), nn.CELU(), nn.SELU(inplace=True), torch.selu_, torch.celu_,
    torch.rrelu_, nn.LeakyReLU(), nn.PReLU(), nn.Hardswish(), nn.Mish(), nn.Softplus(), nn.Tanh(), torch.tanh_,
    nn.Hardtanh(), nn.Threshold(0.1, 0.0), nn.Threshold(0.0, -1.0), nn.Softsign(), nn.LogSigmoid(), nn.Softshrink(),
], ids=lambda f: getattr(f, "__name__", str(f)))  # fmt: skip
def test_other_activations_are_refused_by_name_except_for_the_plain_gradient(other):
    x = torch.tensor([-2.0, 3.0])
    for rule in ("deconvnet", "guided"):
        with pytest.raises(ValueError, match=f"the {rule} rule is defined for ReLU only"), relu_rule(rule):
            other(x.clone())
    with relu_rule("gradient") as mode:
        torch.testing.assert_close(other(x.clone()).shape, x.shape)
    assert mode.count == 0


@pytest.mark.parametrize("name, activation", [("mobilenet_v3_large", "hardswish"), ("efficientnet_b0", "silu")])
def test_nets_with_other_activations_are_refused(name, activation):
    for method in (guided_backprop, deconvnet_gradient):
        with pytest.raises(ValueError, match=f"This net uses {activation}"):
            method(net_of(name), pictures(1), 7)


def test_a_net_without_any_relu_is_refused():
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    with pytest.raises(ValueError, match="No ReLU ran in this Sequential"):
        guided_backprop(net, pictures(1, 8, 8), 1)


def test_autocast_and_the_memory_layout_stay_as_they_are():
    net = vh.load_model("alexnet", weights="random", device="cpu")
    x = pictures(1).float().contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        leaf = x.clone().requires_grad_()
        want = net(leaf)
        (g,) = torch.autograd.grad(want[:, 7].sum(), leaf)
        with relu_rule("gradient"):
            got = net(leaf)
        (h,) = torch.autograd.grad(got[:, 7].sum(), leaf)
    assert got.dtype == want.dtype == torch.bfloat16 and torch.equal(got, want)
    torch.testing.assert_close(h, g, rtol=1e-2, atol=1e-2 * float(g.abs().max()))
    with relu_rule("guided"):
        assert F.relu(x).is_contiguous(memory_format=torch.channels_last)


def test_a_neuron_stands_for_a_class():
    """The unit's own ReLU has no part in it: the score is taken before."""
    net, x = net_of("vgg16"), pictures(1)
    leaf = x.clone().requires_grad_()
    with relu_rule("guided") as mode, vh.capture(net, "features.7") as acts:
        net(leaf)
    (want,) = torch.autograd.grad(acts["features.7"][0, 5, 3, 4], leaf)
    torch.testing.assert_close(guided_backprop(net, x, vh.Neuron("features.7", 5, 3, 4)), want)
    assert mode.count == 15 and want.abs().max() > 0
