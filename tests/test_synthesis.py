"""Activation maximisation and DeepDream: closed forms on small nets, each regulariser, the gallery's numbers."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import vizhelpers as vh
from vizhelpers.methods import synthesis
from vizhelpers.methods.synthesis import (
    Ascent,
    Fourier,
    Phase,
    blurred,
    crops,
    mean_magnitude,
    moved,
    resized,
    total_variation,  # fmt: skip
)

OFF = vh.Recipe(size=16, steps=3, rate=0.1)
WILD = dict(jitter=3, rotate=20, scale=0.2)


class Small(nn.Module):
    """Two convolutions with an in-place ReLU between, then a mean and a linear layer; float64."""

    def __init__(self, classes=4):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.first = nn.Conv2d(3, 6, 3, padding=1)
            self.relu = nn.ReLU(inplace=True)
            self.second = nn.Conv2d(6, 5, 3, padding=1)
            self.head = nn.Linear(5, classes)
        self.double().eval()
        self.viz = vh.images.ModelInfo("small", 16, 16, (0.4, 0.5, 0.6), (0.2, 0.25, 0.5), categories=tuple("abcd"))

    def forward(self, x):
        return self.head(self.second(self.relu(self.first(x))).mean((2, 3)))


class Linear(nn.Module):
    """Class scores linear in the normalised picture."""

    def __init__(self, side=16):
        super().__init__()
        self.head = nn.Linear(3 * side * side, 2).double()
        weight = torch.randn(2, 3 * side * side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        self.head.weight.data, self.head.bias.data = weight, torch.zeros(2, dtype=torch.float64)
        self.viz = vh.images.ModelInfo("linear", side, side, (0.4, 0.5, 0.6), (0.2, 0.25, 0.5), categories=("a", "b"))

    def forward(self, x):
        return self.head(x[..., -16:, -16:].flatten(1))  # of a larger picture the corner


def noise(side=16):
    return torch.rand(3, side, side, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_one_step_on_a_linear_net_is_the_closed_form():
    """Adam's first step has length `rate` in every pixel, along the gradient's sign: here that of the weights."""
    net, start = Linear(), noise() * 0.5 + 0.25
    found = vh.maximize_activation(net, "b", recipe=OFF, start=start, steps=1)
    want = (start + 0.1 * net.head.weight[1].view(3, 16, 16).sign()).clamp(0, 1)
    torch.testing.assert_close(found.image, want.detach(), atol=1e-6, rtol=0)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (net.viz.mean, net.viz.std))
    before, after = (float(net((p - mean).div(std)[None])[0, 1].detach()) for p in (start, want))
    assert found.start == pytest.approx(before) and found.history.tolist() == pytest.approx([before])
    assert found.score == pytest.approx(after, abs=1e-4) and after > before


@pytest.mark.parametrize("options", [{}, dict(parametrization="spectrum"), dict(parametrization="decorrelated", **WILD),
                                     dict(parametrization="phase"), dict(crops=4),
                                     dict(stages=3, between=1.0, jitter=2), dict(blur=0.5, tv=1.0, l2=0.1)])
@pytest.mark.parametrize("target", ["c", vh.Neuron("first", 2), vh.Neuron("second", 1)])
def test_the_score_rises_and_the_picture_stays_in_range(options, target):
    found = vh.maximize_activation(Small(), target, recipe=OFF, steps=12, **options)
    assert found.score > found.start and found.history[-3:].mean() > found.history[:3].mean()
    assert found.image.shape == (3, 16, 16) and 0 <= found.image.min() and found.image.max() <= 1
    assert len(found.history) == 12 * options.get("stages", 1) and not found.image.requires_grad


def test_a_unit_is_drawn_in_its_own_place():
    found = vh.maximize_activation(Small(), vh.Neuron("first", 0, 4, 9), recipe=OFF, start=torch.full((3, 16, 16), 0.5))
    changed = (found.image - 0.5).abs().amax(0) > 1e-6
    assert changed.nonzero().amin(0).tolist() == [3, 8] and changed.nonzero().amax(0).tolist() == [5, 10]


def test_no_steps_give_the_start():
    start = noise()
    for options in ({}, WILD, dict(blur=2.0, tv=5.0)):
        found = vh.maximize_activation(Small(), 1, recipe=OFF, start=start, steps=0, **options)
        assert torch.equal(found.image, start) and found.score == found.start and len(found.history) == 0
    inside = start * 0.9 + 0.05  # the sigmoid of the spectrum never reaches 0 or 1
    found = vh.maximize_activation(Small(), 1, recipe=OFF, start=inside, steps=0, parametrization="decorrelated")
    torch.testing.assert_close(found.image, inside, atol=1e-5, rtol=0)
    x = torch.randn(2, 3, 60, 52, dtype=torch.float64)
    net = Small()
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (net.viz.mean, net.viz.std))
    torch.testing.assert_close(vh.deep_dream(net, x, "second", steps=0), (x * std + mean).clamp(0, 1))


def test_movements_are_undone():
    """The gradient of a moved picture lands where the pixels came from; a step of length 0 moves nothing."""
    start = noise()
    still = vh.maximize_activation(Small(), 1, recipe=OFF, start=start, rate=0, **WILD)
    assert torch.equal(still.image, start)
    image = start[None].requires_grad_(True)
    weights = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    generator = torch.Generator().manual_seed(5)
    down, right = torch.randint(-6, 7, (2,), generator=torch.Generator().manual_seed(5)).tolist()
    assert (down, right) != (0, 0)
    shifted = moved(image, generator, vh.Recipe(jitter=6))
    assert torch.equal(shifted[0, :, (4 + down) % 16, (7 + right) % 16], image[0, :, 4, 7])
    (back,) = torch.autograd.grad((shifted * weights).sum(), image)
    assert torch.equal(back, weights.roll((-down, -right), (2, 3)))


def test_turning_by_nothing_is_nothing_and_by_a_quarter_is_a_quarter(monkeypatch):
    image = noise(17)[None]
    for draw, want in ((0.5, image), (1.0, image.rot90(1, (2, 3))), (0.0, image.rot90(-1, (2, 3)))):
        monkeypatch.setattr(torch, "rand", lambda *a, draw=draw, **k: torch.tensor([draw, 0.5]))
        got = moved(image, torch.Generator(), vh.Recipe(rotate=90, scale=0.3))
        torch.testing.assert_close(got, want, atol=1e-5, rtol=0)


def test_deep_dream_jitter_is_undone():
    """A 1x1 convolution sees every pixel alone: where the picture is shifted to before a step cannot matter."""
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)).double().eval()
    x = torch.randn(1, 3, 50, 60, dtype=torch.float64)
    still = vh.deep_dream(net, x, "2", octaves=1, jitter=0, steps=4)
    torch.testing.assert_close(vh.deep_dream(net, x, "2", octaves=1, jitter=20, steps=4), still)
    assert not torch.equal(still, vh.deep_dream(net, x, "2", octaves=1, steps=0))


def test_deep_dream_raises_the_layer_and_keeps_the_shape():
    net, x = Small(), torch.randn(2, 3, 70, 96, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (net.viz.mean, net.viz.std))
    before = vh.deep_dream(net, x, "second", steps=0)
    after = vh.deep_dream(net, x, "second", octaves=2, steps=5)
    energy = [vh.activations(net, (p - mean) / std, "second").square().mean((1, 2, 3)) for p in (before, after)]
    assert (energy[1] > 1.2 * energy[0]).all()
    assert after.shape == x.shape and 0 <= after.min() and after.max() <= 1
    with pytest.raises(ValueError, match="octaves is 0: it must be at least 1"):
        vh.deep_dream(net, x, "second", octaves=0)


def test_seeds_repeat():
    def once(seed):
        return vh.maximize_activation(Small(), 2, recipe=OFF, seed=seed, **WILD).image

    assert torch.equal(once(1), once(1)) and not torch.equal(once(1), once(2))


def test_each_regulariser_does_what_it_says():
    """Measured on the picture alone, one at a time, against the same ascent without it."""
    net, target = Small(), vh.Neuron("second", 1)

    def grown(**options):
        return vh.maximize_activation(net, target, recipe=OFF, steps=16, rate=0.05, **options).image[None]

    def fine(image):
        return float((image - blurred(image, 1.0)).square().mean())

    plain = grown()
    assert total_variation(grown(tv=100.0)) < 0.5 * total_variation(plain)
    assert fine(grown(blur=0.7)) < 0.7 * fine(plain)
    wave = grown(parametrization="spectrum")
    assert fine(grown(parametrization="spectrum", blur=0.7)) < 0.8 * fine(wave)
    mean = torch.tensor(net.viz.mean, dtype=torch.float64).view(1, 3, 1, 1)
    assert (grown(l2=50.0) - mean).square().mean() < 0.5 * (plain - mean).square().mean()
    small = vh.maximize_activation(net, target, recipe=OFF, stages=3, steps=0, growth=2, size=32, noise=0.2).image
    assert fine(small[None]) < 0.2 * 0.2**2  # with no step the start, at 8 pixels, is only enlarged


def test_parametrisations():
    image = noise()[None] * 0.9 + 0.05
    for decorrelate in (False, True):
        torch.testing.assert_close(Fourier(image, decorrelate).image(), image, atol=1e-6, rtol=0)
    odd = torch.rand(1, 3, 13, 18) * 0.9 + 0.05
    torch.testing.assert_close(Fourier(odd).image(), odd, atol=1e-4, rtol=0)
    changed = Fourier(image)
    held = changed.values
    changed.values.data.copy_(changed.written(image.flip(3)))
    assert changed.values is held  # the optimiser goes on with the same tensor
    torch.testing.assert_close(changed.image(), image.flip(3), atol=1e-6, rtol=0)
    values = torch.view_as_complex(Fourier(torch.full((1, 3, 64, 64), 0.5)).values)
    assert values.shape == (1, 3, 64, 33) and values.abs().max() < 1e-5
    flat = torch.full((1, 3, 9, 9), 0.3)
    torch.testing.assert_close(blurred(flat, 2.0), flat)
    ramp = torch.arange(4.0).expand(1, 3, 4, 4)
    assert total_variation(ramp).tolist() == [1.0] and total_variation(ramp.transpose(2, 3)).tolist() == [1.0]
    assert torch.equal(resized(ramp, 4), ramp) and resized(ramp, (4, 9)).shape == (1, 3, 4, 9)


@pytest.fixture
def made_magnitude(monkeypatch):
    """In place of the photographs': any positive numbers, as symmetric as those of a real picture must be."""
    def made(size):
        picture = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(sum(size)), dtype=torch.float64)
        return torch.fft.rfft2(picture - 0.4, norm="ortho").abs() + 0.2

    monkeypatch.setattr(synthesis, "mean_magnitude", made)
    return made


@pytest.mark.parametrize("size", [(9, 13), (9, 12), (12, 9), (16, 16)])
def test_with_phases_alone_every_frequency_keeps_its_magnitude(size, made_magnitude):
    """Whatever the optimiser writes: numpy's full transform of the picture finds the given magnitudes, all of them."""
    start = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    picture = Phase(start)
    kept = picture.values.detach().clone()
    with torch.no_grad():
        picture.values += 9 * torch.randn(kept.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    image = picture.image().detach().numpy()[0]
    assert image.dtype == np.float64 and 0 < image.min() and image.max() < 1
    planes = np.einsum("ij,jhw->ihw", np.linalg.inv(picture.basis.numpy()), np.log(image / (1 - image)))
    found = np.abs(np.fft.fft2(planes, norm="ortho"))
    np.testing.assert_allclose(found[..., : size[1] // 2 + 1], made_magnitude(size)[0].numpy(), rtol=1e-8)
    picture.values.data.copy_(picture.written(start))  # its phases are read back, but for signs of what has no mirror
    alone = np.zeros(kept.shape, bool)
    rows, columns = ([n for n in (0, side / 2) if n == int(n)] for side in size)
    for row in rows:
        alone[..., int(row), [int(n) for n in columns]] = True
    assert torch.equal(picture.values, kept)
    assert np.abs(np.angle(np.exp(1j * (kept - picture.spectrum().angle()).detach().numpy()))[~alone]).max() < 1e-9


def test_the_gradient_of_phases_is_that_of_finite_differences(made_magnitude):
    picture = Phase(torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    weights = torch.randn(1, 3, 5, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (slope,) = torch.autograd.grad((picture.image() * weights).sum(), picture.values)
    with torch.no_grad():
        for place in np.ndindex(*picture.values.shape):
            values = []
            for step in (1e-5, -2e-5):
                picture.values[place] += step
                values.append(float((picture.image() * weights).sum()))
            picture.values[place] += 1e-5
            assert (values[0] - values[1]) / 2e-5 == pytest.approx(float(slope[place]), abs=1e-8)
    assert slope.abs().median() > 1e-3


def test_magnitudes_are_the_mean_of_the_photographs():
    """Against numpy, without this package's transforms; odd and even sides."""
    for size in ((24, 17), (16, 16)):
        total = 0
        for photo in vh.library("photos"):
            image = Image.open(photo.path).convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR)
            pixels = np.clip(np.asarray(image, float).transpose(2, 0, 1) / 255, 0.02, 0.98)
            planes = np.einsum("ij,jhw->ihw", np.linalg.inv(synthesis.COLOURS), np.log(pixels / (1 - pixels)))
            total = total + np.abs(np.fft.fft2(planes)) / np.sqrt(size[0] * size[1])
        total[:, 0, 0] = 0
        found = mean_magnitude(size)[0].numpy()
        np.testing.assert_allclose(found, total[..., : size[1] // 2 + 1] / 166, rtol=1e-3, atol=1e-6)


def test_crops_are_those_cut_by_hand():
    image = torch.rand(1, 3, 33, 33, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    got = crops(image, 50, torch.Generator().manual_seed(4))
    chance = torch.Generator().manual_seed(4)
    numbers = torch.rand(50, 3, generator=chance)
    grain = torch.randn(50, 3, 16, 16, generator=chance)
    sides, corners = set(), set()
    for n, (share, down, right) in enumerate(numbers.tolist()):
        side = round(8 + 8 * share)
        top, left = int(down * (34 - side)), int(right * (34 - side))
        want = F.interpolate(image[:, :, top : top + side, left : left + side], size=16, mode="bilinear")
        torch.testing.assert_close(got[n : n + 1], want + 0.08 * grain[n], atol=1e-7, rtol=0)
        sides.add(side)
        corners |= {top, left, 33 - top - side, 33 - left - side}
    assert sides == set(range(8, 17)) and min(corners) == 0  # a quarter to a half, as far as the rim
    leaf = image.clone().requires_grad_()
    cut = crops(leaf, 1, torch.Generator().manual_seed(4))
    (slope,) = torch.autograd.grad(cut.sum(), leaf)
    side, (down, right) = round(8 + 8 * float(numbers[0, 0])), numbers[0, 1:].tolist()
    top, left = int(down * (34 - side)), int(right * (34 - side))
    assert float(slope.sum()) == pytest.approx(3 * 16 * 16)  # each pixel's gradient goes where it was cut
    inside = torch.zeros(33, 33, dtype=torch.bool)
    inside[top : top + side, left : left + side] = True
    assert (slope[0, :, ~inside] == 0).all() and (slope[0, :, inside] > 0).all()


def test_a_step_on_crops_climbs_their_mean_and_the_weight_is_its_gradient():
    """One step of Adam in the pixels of a linear net: along the sign of the crops' mean gradient, computed here."""
    net, start = Linear(), F.interpolate(noise()[None], size=32)[0] * 0.5 + 0.25
    found = vh.maximize_activation(net, "b", recipe=OFF, size=32, steps=1, crops=3, start=start)
    image, std = start[None].clone().requires_grad_(), torch.tensor(net.viz.std, dtype=torch.float64).view(3, 1, 1)
    seen = crops(image, 3, torch.Generator().manual_seed(0))
    scores = (seen / std * net.head.weight[1].view(3, 16, 16)).sum((1, 2, 3))
    (slope,) = torch.autograd.grad(scores.mean(), image)
    torch.testing.assert_close(found.image, (start + 0.1 * slope[0].sign()).clamp(0, 1), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.weight, slope[0].abs().mean(0), atol=1e-6, rtol=1e-6)
    offset = sum(float(net.head.weight[1].detach().view(3, 256).sum(1)[c] * m / s) for c, (m, s) in
                 enumerate(zip(net.viz.mean, net.viz.std, strict=True)))  # fmt: skip
    assert found.history.tolist() == pytest.approx([float(scores.mean().detach()) - offset], rel=1e-5)
    assert 0.1 < (slope != 0).float().mean() < 1


def test_colours_are_those_of_the_photographs():
    pixels = np.concatenate([np.asarray(vh.load_image(p).resize((32, 32))).reshape(-1, 3) / 255
                             for p in vh.library("photos")[::2]])  # fmt: skip
    values, vectors = np.linalg.eigh(np.cov(pixels.T))
    root = vectors @ np.diag(values**0.5) @ vectors.T
    root /= np.sqrt(np.diag(np.cov(pixels.T))).mean()
    assert np.abs(root - np.array(synthesis.COLOURS)).max() < 0.04
    assert values[-1] > 5 * values[-2]  # most of the variance is light and dark: this is what is decorrelated


def test_the_stop_button_returns_what_there_is():
    net, calls = Small(), []

    def stop(*_):
        calls.append(1)
        if len(calls) == 12:
            raise KeyboardInterrupt

    handle = net.first.register_forward_hook(stop)
    found = vh.maximize_activation(net, vh.Neuron("second", 0), recipe=OFF, steps=50)
    handle.remove()
    assert 0 < len(found.history) < 11 and found.score > found.start and not net.second._forward_hooks


def test_the_net_is_left_as_it_was():
    net = Small().train()
    before = {name: (id(p), p.clone()) for name, p in net.named_parameters()}
    vh.maximize_activation(net, vh.Neuron("second", 1), recipe=OFF)
    assert net.training and net.second.training and "forward" not in vars(net.second)
    for name, p in net.named_parameters():
        assert id(p) == before[name][0] and torch.equal(p, before[name][1]) and p.grad is None


@pytest.mark.parametrize("way", ["pixels", "spectrum", "phase"])
def test_inference_mode_around_it_is_no_matter(way):
    net = Small()

    def once():
        return vh.maximize_activation(net, 2, recipe=OFF, parametrization=way, crops=2, stages=2, blur=0.5,
                                      **WILD).image  # fmt: skip

    with torch.inference_mode():
        inside = once().clone()
    torch.testing.assert_close(inside.clone(), once())


def test_bfloat16_is_an_option_and_near():
    """Judged in float32: the score of the picture that was drawn with 16 bits, the energy of the dream."""
    net, target = Small().float(), vh.Neuron("second", 1)
    low, full = (vh.maximize_activation(net, target, recipe=OFF, steps=12, precision=precision)
                 for precision in ("bfloat16", "float32"))  # fmt: skip
    assert low.image.dtype is low.history.dtype is torch.float32 and not torch.equal(low.image, full.image)
    assert low.score - low.start > 0.8 * (full.score - full.start) > 0
    x = torch.randn(1, 3, 50, 60, generator=torch.Generator().manual_seed(1))
    dreams = [vh.deep_dream(net, x, "second", octaves=1, steps=4, precision=p) for p in ("bfloat16", "float32")]
    assert dreams[0].dtype is torch.float32 and 0 < (dreams[0] - dreams[1]).abs().mean() < 0.01
    with pytest.raises(ValueError, match="not 'half'"):
        vh.maximize_activation(net, target, recipe=OFF, precision="half")


def test_recipes():
    net = vh.load_model("squeezenet1_1", weights="random", device="cpu")
    assert vh.recipe_for(net, 3).parametrization == "decorrelated" and vh.recipe_for(Small(), 3).size == 16
    channel, unit = vh.Neuron("features.6", 1), vh.Neuron("features.6", 1, 2, 2)
    assert vh.recipe_for(net, channel) != vh.recipe_for(net, unit) and vh.recipe_for(net, unit).stages == 1
    assert vh.Recipe(size=100, stages=3, growth=2).sizes() == [25, 50, 100]
    for changes, word in ((dict(jiter=3), "jitter"), (dict(steps=-1), "steps"), (dict(size=2), "at least 8"),
                          (dict(parametrization="wavelets"), "'decorrelated', 'phase', not 'wavelets'")):  # fmt: skip
        with pytest.raises(ValueError, match=word):
            vh.maximize_activation(Small(), 0, recipe=OFF, **changes)
    for target, word in (("x", "a"), (9, "3"), (vh.Neuron("third", 0), "first"), (vh.Neuron("first", 6), "0 to 5"),
                         (vh.Neuron("first", 0, 16, 0), "no unit")):  # fmt: skip
        with pytest.raises(ValueError, match=word):
            vh.maximize_activation(Small(), target, recipe=OFF)


def test_a_layer_that_runs_twice_is_refused():
    net = Small()
    net.forward = lambda x: net.head(net.second(net.relu(net.relu(net.first(x)))).mean((2, 3)))
    with pytest.raises(ValueError, match="ran 2 times"):
        vh.maximize_activation(net, vh.Neuron("relu", 0), recipe=OFF)


def test_only_the_wanted_channel_is_computed():
    seen = []
    net = Small()
    ascent = Ascent(net, vh.Neuron(net.second, 3), OFF)
    ascent.fast.net.second.register_forward_hook(lambda m, args, out: seen.append(tuple(out.shape)))
    ascent.fast.net.head.register_forward_hook(lambda m, args, out: seen.append("head"))
    value = ascent.step()
    assert seen == [(1, 1, 16, 16)]  # one channel, and nothing behind the layer
    assert value == pytest.approx(ascent.start, rel=1e-9)


# --- the embedded net, and the gallery ------------------------------------------------------------------------------

def test_squeezenet_is_more_excited_by_its_picture_than_by_any_photograph():
    net, target = vh.load_model("squeezenet1_1"), vh.Neuron("features.4.expand3x3", 17)
    found = vh.maximize_activation(net, target, size=96, stages=4, steps=12)
    with torch.no_grad():
        best = max(float(vh.score(net, vh.to_input(p, net, size=96), target)) for p in vh.library()[::3])
    assert found.score > 1.5 * max(best, 0) and found.score > 0


def test_gallery():
    rows = vh.dreams()
    ways = {"pixels", "decorrelated", "phase"}
    assert {row.name for row in rows} == {"conv2_2", "conv3_2", "conv4_1", "conv5_3", "class", *ways}
    assert all(row.path.is_file() and row.score > row.library_score for row in rows)
    on_disk = set(rows[0].path.parent.glob("*.webp"))
    assert on_disk == {row.path for row in rows} and sum(p.stat().st_size for p in on_disk) < 4e6
    with pytest.raises(ValueError, match="conv5_3"):
        vh.dreams("conv6")
    names = {"conv2_2": 7, "conv3_2": 12, "conv4_1": 17, "conv5_3": 28}
    assert all(row.layer == f"features.{names[row.name]}" for row in rows if row.layer)
    # the numbers in the table, computed again for a filter and a class
    lite = "efficientnet_lite0"
    for row, net in ((vh.dreams("conv2_2")[2], "vgg16"), (vh.dreams("class")[0], "squeezenet1_1"),
                     (vh.dreams("phase")[2], lite), (vh.dreams("pixels")[0], lite)):  # fmt: skip
        net = vh.load_model(net)
        target = vh.Neuron(row.layer, row.channel) if row.layer else row.label
        image = vh.load_image(row.path)
        x = vh.to_input(image, net, size=(image.height, image.width))
        photo = vh.to_input(row.library_picture, net, size=image.width)
        with torch.no_grad():
            whole = not row.layer
            got = [float(vh.score(net, p, target, whole=whole)) for p in (x, photo)]
        assert got == pytest.approx([row.score, row.library_score], rel=1e-3)


def test_a_target_that_no_gradient_reaches_is_said():
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()).eval().requires_grad_(False)
    net[0].weight.zero_(), net[0].bias.fill_(-1)
    with pytest.warns(UserWarning, match="stayed at 0: .* a ReLU that is off: give another start"):
        vh.maximize_activation(net, vh.Neuron("1", 0), size=16, steps=2, stages=1)
