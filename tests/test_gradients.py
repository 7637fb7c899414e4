"""Gradient maps: hand-computed cases, finite differences, captum as an independent oracle."""
import warnings

import captum.attr
import pytest
import torch
from methods import net_of, pictures
from PIL import Image
from test_objective import tiny
from torch import nn

import vizhelpers as vh
from vizhelpers import averaged


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


def test_guided_backprop_agrees_with_captum_where_every_relu_is_a_module_of_its_own():
    """captum hooks modules: on nets whose one ReLU module runs twice (resnet18) or functional ones it cannot."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(),
                            nn.Linear(6 * 4 * 6, 3)).double().eval()  # fmt: skip
    x = pictures(2, 8, 10)
    for ours, theirs in ((vh.guided_backprop, captum.attr.GuidedBackprop), (vh.deconvnet_gradient,
                                                                           captum.attr.Deconvolution)):  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # captum says that it sets hooks
            want = theirs(net).attribute(x.clone().requires_grad_(), target=1).detach()
        torch.testing.assert_close(ours(net, x, 1), want)
        assert not torch.allclose(ours(net, x, 1), vh.gradient(net, x, 1))


@pytest.mark.parametrize("name, says", [("efficientnet_b0", "silu"), ("mobilenet_v3_large", "hardswish")])
def test_relu_rules_refuse_other_activations(name, says):
    with pytest.raises(ValueError, match=f"uses {says}"):
        vh.guided_backprop(net_of(name), pictures(1), 7)


def test_relu_rules_refuse_a_net_without_relu():
    with pytest.raises(ValueError, match="No ReLU ran"):
        vh.guided_backprop(linear()[0], pictures(1, 4, 5), 1)


# --- SmoothGrad ----------------------------------------------------------------------------------------------------
def seen(monkeypatch) -> list:
    """Every batch that an averaging method gives to the net."""
    batches, real = [], averaged.input_gradient

    def spy(model, x, target):
        batches.append((x.clone(), target))
        return real(model, x, target)

    monkeypatch.setattr(averaged, "input_gradient", spy)
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
    found = vh.smoothgrad(net, x, [1, 2], samples=5, batch_size=3)
    assert [len(batch) for batch, _ in batches] == [3, 3, 3, 1]
    copies, targets = torch.cat([b for b, _ in batches]), sum((list(t) for _, t in batches), [])
    assert targets == [1, 2] * 5
    torch.testing.assert_close(found, vh.gradient(net, copies, targets).view(5, 2, 3, 8, 10).mean(0))
    torch.testing.assert_close(found, vh.smoothgrad(net, x, [1, 2], samples=5))
    assert not torch.allclose(found, vh.smoothgrad(net, x, [1, 2], samples=5, seed=1))


def test_captum_agrees_on_smoothgrad_within_the_noise():
    net, x = tiny(), pictures(1, 8, 10)
    spread = 0.2 * float(x.max() - x.min())
    n = 4000
    ours = vh.smoothgrad(net, x, 1, level=0.2, samples=n, batch_size=500)
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
    with pytest.raises(ValueError, match="at least one sample"):
        vh.smoothgrad(tiny(), pictures(1, 8, 10), 1, **options)


# --- Integrated Gradients ------------------------------------------------------------------------------------------
def test_integrated_gradients_of_a_square_by_hand():
    """S = sum x^2 from baseline b: along x_i alone the attribution is x_i^2 - b_i^2."""
    x, base = pictures(1, 3, 3), torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64).view(1, 3, 1, 1)
    found = vh.integrated_gradients(Formula(torch.square), x, 0, baseline=base, steps=1)  # the gradient is a line
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
    base = averaged.black(net).to(x).expand_as(x).contiguous()
    with torch.no_grad():
        whole = vh.score(net, x, label) - vh.score(net, base, label)
    found = vh.integrated_gradients(net, x, label).sum((1, 2, 3))
    torch.testing.assert_close(found, whole, rtol=0.0101, atol=0)


def test_each_picture_gets_the_steps_that_it_needs(monkeypatch):
    batches = seen(monkeypatch)
    net = linear()[0]
    vh.integrated_gradients(net, pictures(2, 4, 5), 1)
    assert sum(len(batch) for batch, _ in batches) == 64  # a straight line: 32 each are more than enough
    teeth = Formula(lambda x: (1e4 * x).sin())  # thousands of them on the way: no few hundred points can be right
    with pytest.warns(UserWarning, match="After 480 steps the sum is .* off"):
        vh.integrated_gradients(teeth, pictures(1, 3, 3), 0)


def test_the_default_baseline_is_a_black_picture():
    net = vh.load_model("resnet18", weights="random", device="cpu")
    picture = vh.to_input(Image.new("RGB", (224, 224)), net)
    torch.testing.assert_close(averaged.black(net).expand_as(picture), picture)


def test_a_baseline_that_does_not_fit_and_no_step_are_refused():
    net, x = tiny(), pictures(2, 8, 10)
    with pytest.raises(ValueError, match=r"baseline \(1, 3, 7, 7\) does not fit"):
        vh.integrated_gradients(net, x, 1, baseline=torch.zeros(1, 3, 7, 7))
    with pytest.raises(ValueError, match="at least one step"):
        vh.integrated_gradients(net, x, 1, steps=0)


@pytest.mark.parametrize("method", [vh.smoothgrad, vh.integrated_gradients])
def test_the_stop_button_returns_the_mean_so_far(monkeypatch, method):
    net, w = linear()
    x, calls, real = pictures(1, 4, 5), [], averaged.input_gradient

    def stopped(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(averaged, "input_gradient", stopped)
    found = method(net, x, 1, batch_size=2, progress=True)
    want = w[1] if method is vh.smoothgrad else w[1] * (x - averaged.black(net).double())
    torch.testing.assert_close(found, want.expand(1, 3, 4, 5), rtol=1e-6, atol=1e-8)
    assert len(calls) == 3
