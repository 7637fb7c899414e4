"""First-layer filters: hand-computed answers, loops as oracles, the sampling theorem's closed form; the exercises."""
from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch
from torch import nn

import vizhelpers as vh


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


# ---- first_layer, first_layer_filters ---------------------------------------------------------------------------
def test_first_layer_skips_what_does_not_see_rgb():
    net = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 5, 3)))
    name, layer = vh.first_layer(net)
    assert name == "1.1" and layer is net[1][1]


def test_filters_are_a_detached_copy():
    net = nn.Sequential(nn.Conv2d(3, 5, (2, 4))).to(memory_format=torch.channels_last)
    before = net[0].weight.detach().clone()
    got = vh.first_layer_filters(net)
    assert got.shape == (5, 3, 2, 4) and got.is_contiguous() and not got.requires_grad
    got.zero_()
    assert torch.equal(net[0].weight, before)


def test_a_net_without_rgb_filters_is_refused():
    with pytest.raises(ValueError, match="Sequential has no convolution with 3 input channels"):
        vh.first_layer(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(3, 3)))


@pytest.mark.parametrize(
    ("name", "layer", "shape", "stride"),
    [("alexnet", "features.0", (64, 3, 11, 11), 4), ("vgg16", "features.0", (64, 3, 3, 3), 1),
     ("squeezenet1_1", "features.0", (64, 3, 3, 3), 2), ("efficientnet_lite0", "features.0.conv", (32, 3, 3, 3), 2)],
)  # fmt: skip
def test_the_four_nets(name, layer, shape, stride):
    net = vh.load_model(name)
    found, conv = vh.first_layer(net)
    assert (found, conv.stride) == (layer, (stride, stride))
    assert vh.first_layer_filters(net).shape == shape


# ---- spectrum ---------------------------------------------------------------------------------------------------
def dft(filters, size):
    """The definition, one frequency and one weight at a time."""
    count, colours, height, width = filters.shape
    out = np.zeros((count, size, size))
    for k in range(count):
        for p in range(size):
            for q in range(size):
                v, u = (p - size // 2) / size, (q - size // 2) / size
                for c in range(colours):
                    total = sum(
                        float(filters[k, c, i, j]) * cmath.exp(-2j * math.pi * (v * i + u * j))
                        for i in range(height) for j in range(width)
                    )  # fmt: skip
                    out[k, p, q] += abs(total) ** 2
    return np.sqrt(out)


@pytest.mark.parametrize("size", [6, 7])
def test_spectrum_is_the_sum_by_definition(size):
    filters = noise(2, 3, 3, 5, dtype=torch.float64)
    np.testing.assert_allclose(vh.spectrum(filters, size).numpy(), dft(filters, size), atol=1e-9)


def test_spectrum_keeps_the_energy():
    filters = noise(4, 3, 11, 11, dtype=torch.float64)
    torch.testing.assert_close(vh.spectrum(filters).square().mean((1, 2)), filters.square().sum((1, 2, 3)))


def test_spectrum_by_hand():
    got = vh.spectrum(torch.tensor([1.0, -1.0]).view(1, 1, 1, 2), 4)[0]  # a difference to the right
    want = [2.0, math.sqrt(2), 0.0, math.sqrt(2)]  # |1 - exp(-2 pi i u)| at u = -0.5, -0.25, 0, 0.25
    torch.testing.assert_close(got, torch.tensor([want] * 4))


def test_spectrum_of_a_batch_is_the_spectra_of_its_filters():
    filters = noise(3, 3, 5, 5)
    torch.testing.assert_close(vh.spectrum(filters), torch.cat([vh.spectrum(f[None]) for f in filters]))
    assert vh.spectrum(filters.double()).dtype == torch.float64


# ---- radial_profile ---------------------------------------------------------------------------------------------
def test_profile_by_loops():
    spectra = noise(2, 10, 10).abs()
    frequency, share = vh.radial_profile(spectra, bins=5)
    want = np.zeros((2, 5))
    for k in range(2):
        for i in range(10):
            for j in range(10):
                radius = math.hypot(i - 5, j - 5) / 10
                want[k, min(int(radius / 0.1 + 1e-9), 4)] += float(spectra[k, i, j]) ** 2
    np.testing.assert_allclose(share.numpy(), want / want.sum(1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(frequency.numpy(), [0.05, 0.15, 0.25, 0.35, 0.45], atol=1e-7)


@pytest.mark.parametrize(("cycles", "angle", "ring"), [(5, 0, 2), (9, 90, 4), (20, 0, 10), (31, 0, 15), (12, 90, 6)])
def test_a_pure_wave_lands_in_its_ring(cycles, angle, ring):
    wave = vh.grating(cycles / 64, angle, size=64)
    _, share = vh.radial_profile(vh.spectrum(wave, 64), bins=16)
    assert share[0].argmax() == ring == int(cycles / 64 * 2 * 16) and share[0, ring] > 0.999


def test_corners_go_into_the_last_ring_and_zero_into_the_first():
    checks = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 8).expand(1, 1, 16, 16)  # radius 0.707
    assert vh.radial_profile(vh.spectrum(checks, 16))[1][0].argmax() == 15
    assert vh.radial_profile(vh.spectrum(torch.ones(1, 1, 16, 16), 16))[1][0].argmax() == 0


def test_profile_rows_sum_to_one_or_are_zero():
    filters = noise(3, 3, 3, 3)
    filters[1] = 0
    _, share = vh.radial_profile(vh.spectrum(filters))
    torch.testing.assert_close(share.sum(1), torch.tensor([1.0, 0.0, 1.0]))
    assert vh.radial_profile(vh.spectrum(filters.double()))[1].dtype == torch.float64


# ---- orientation ------------------------------------------------------------------------------------------------
def apart(a, b):
    """Degrees between two directions; 179 and 1 are 2 apart."""
    return abs((float(a) - float(b) + 90) % 180 - 90)


@pytest.mark.parametrize("angle", [0, 15, 30, 45, 60, 90, 120, 135, 165])
@pytest.mark.parametrize("phase", [0, 90])
def test_orientation_of_gratings(angle, phase):
    patch = vh.grating(0.12, angle, size=200, phase=phase)[:, :, :15, :15]
    found, clarity = vh.orientation(patch)
    assert apart(found[0], angle) < 3 and clarity[0] > 0.97 and 0 <= found[0] < 180


def test_orientation_sign_convention():
    """Rows count downwards: a wave at 45 degrees runs right and down, so its stripes lean like a slash."""
    stripes = torch.tensor([[1.0, 0, -1], [0, -1, 0], [-1, 0, 1]]).expand(1, 1, 3, 3)  # equal along the anti-diagonal
    ramp = (torch.arange(4.0)[:, None] + torch.arange(4.0)).expand(1, 1, 4, 4)  # rises right and down
    assert apart(vh.orientation(stripes)[0], 45) < 1e-3 and apart(vh.orientation(ramp)[0], 45) < 1e-3
    assert apart(vh.orientation(ramp.flip(-1))[0], 135) < 1e-3


def test_orientation_of_what_has_none():
    at = torch.arange(11.0) - 5
    blob = torch.exp(-(at[:, None] ** 2 + at**2) / 8).expand(1, 3, 11, 11)
    assert vh.orientation(blob)[1] < 1e-4
    for flat in (torch.zeros(2, 3, 3, 3), torch.ones(2, 3, 3, 3)):
        angle, clarity = vh.orientation(flat)
        assert not angle.isnan().any() and (clarity == 0).all()


def test_orientation_ignores_scale_sign_and_batch():
    filters = noise(4, 3, 5, 5)
    angle, clarity = vh.orientation(filters)
    for changed in (filters * -7, filters + 3, filters.double()):
        torch.testing.assert_close(vh.orientation(changed)[0].float(), angle, atol=1e-2, rtol=0)
        torch.testing.assert_close(vh.orientation(changed)[1].float(), clarity, atol=1e-4, rtol=0)
    torch.testing.assert_close(vh.orientation(filters[2:3])[0][0], angle[2])


# ---- colourfulness ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("rgb", "want"),
    [((1, 1, 1), 0), ((-2, -2, -2), 0), ((1, -1, 0), 1), ((1, 0, 0), 2 / 3), ((2, 1, 0), 0.4), ((0, 0, 0), 0)],
)
def test_colourfulness_by_hand(rgb, want):
    filters = torch.tensor(rgb, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, 2, 4)
    torch.testing.assert_close(vh.colourfulness(filters), torch.tensor([float(want)]))


def test_colourfulness_adds_energies():
    filters = torch.zeros(1, 3, 1, 2)
    filters[0, :, 0, 0], filters[0, 0, 0, 1], filters[0, 1, 0, 1] = 1.0, 1.0, -1.0  # grey energy 3, colour energy 2
    torch.testing.assert_close(vh.colourfulness(filters), torch.tensor([0.4]))
    torch.testing.assert_close(vh.colourfulness(-9 * filters.double()), torch.tensor([0.4], dtype=torch.float64))


# ---- grating ----------------------------------------------------------------------------------------------------
def test_grating_wraps_around_and_stays_in_range():
    for angle in (0, 30, 90, 135):
        wave = vh.grating(0.17, angle, size=60)
        assert wave.shape == (1, 3, 60, 60) and wave.abs().max() <= 1 + 1e-6
        spectrum = torch.fft.fft2(wave[0, 0]).abs()
        assert (spectrum > 1).sum() == 2  # one wave and its mirror image: any seam would spread
        torch.testing.assert_close(wave[:, :1].expand(-1, 3, -1, -1), wave)


def test_grating_by_hand():
    wave = vh.grating(0.25, size=8)[0, 1]
    torch.testing.assert_close(wave, torch.tensor([1.0, 0, -1, 0]).repeat(8, 2), atol=1e-6, rtol=0)
    torch.testing.assert_close(vh.grating(0.25, 90, size=8)[0, 1], wave.T, atol=1e-6, rtol=0)
    torch.testing.assert_close(vh.grating(0.25, size=8, phase=90)[0, 1], wave.roll(1, -1), atol=1e-6, rtol=0)
    assert (vh.grating(0.0, size=4) == 1).all()
    assert vh.grating(0.5, size=4)[0, 0, 0].tolist() == pytest.approx([1, -1, 1, -1])


# ---- responses --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(2, 3), (3, 3), (4, 5)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_responses_by_loops(shape, stride):
    filters, x = noise(2, 3, *shape), noise(2, 3, 6, 12, seed=1)
    got = vh.responses(filters, x, stride)
    top, left = (shape[0] - 1) // 2, (shape[1] - 1) // 2
    want = torch.zeros(2, 2, 6 // stride, 12 // stride)
    for n, k, r, c in np.ndindex(*want.shape):
        for i, j in np.ndindex(*shape):
            pixel = x[n, :, (r * stride + i - top) % 6, (c * stride + j - left) % 12]
            want[n, k, r, c] += (filters[k, :, i, j] * pixel).sum()
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)


def test_a_stride_keeps_every_sth_response():
    filters, x = noise(3, 3, 11, 11), noise(1, 3, 24, 36, seed=1)
    full = vh.responses(filters, x)
    for stride in (2, 4):
        torch.testing.assert_close(vh.responses(filters, x, stride), full[..., ::stride, ::stride])


def test_responses_agree_with_the_layer_away_from_the_border():
    net = vh.load_model("alexnet", device="cpu")
    x = vh.to_input("koala", net, device="cpu")
    name, conv = vh.first_layer(net)
    layer = vh.activations(net, x, name) - conv.bias[:, None, None]  # unit r looks from 4 r - 2 on, ours from 4 r - 5
    ours = vh.responses(vh.first_layer_filters(net), x.roll((-3, -3), (-2, -1)), 4)
    torch.testing.assert_close(ours[..., 2:50, 2:50], layer[..., 2:50, 2:50], atol=1e-3, rtol=1e-3)


def test_shifting_the_picture_shifts_the_responses():
    filters, x = noise(2, 3, 3, 3), noise(1, 3, 8, 8, seed=2)
    torch.testing.assert_close(vh.responses(filters, x.roll(3, -1)), vh.responses(filters, x).roll(3, -1))


def test_responses_take_the_filters_type():
    assert vh.responses(noise(1, 3, 3, 3).double(), vh.grating(0.1, size=20)).dtype == torch.float64


# ---- shift_error ------------------------------------------------------------------------------------------------
def wave64(cycles, size=96):
    at = torch.arange(size, dtype=torch.float64) * (2 * math.pi * cycles / size)
    return torch.cos(at + 0.3).expand(1, 3, size, size).contiguous()


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("cycles", [1, 5, 7, 11, 13, 19, 23, 25, 29, 31, 37, 41, 43, 47])
@pytest.mark.parametrize("shift", [1, 3])
def test_shift_error_closed_form(stride, cycles, shift):
    """A wave of frequency f is foretold with the phase of its alias: the error is the distance of the two phases."""
    f = cycles / 96
    alias = min((f - k / stride for k in range(stride + 1)), key=abs)
    want = abs(cmath.exp(-2j * math.pi * f * shift) - cmath.exp(-2j * math.pi * alias * shift))
    got = vh.shift_error(noise(3, 3, 3, 5, dtype=torch.float64), wave64(cycles), stride, shift)
    assert got.shape == (3,) and got.dtype == torch.float64
    np.testing.assert_allclose(got.numpy(), want, atol=1e-9)
    if f < 1 / (2 * stride):
        assert got.max() < 1e-9


@pytest.mark.parametrize("stride", [2, 4])
def test_shift_error_from_its_definition(stride):
    """The shifted picture is really shown to the layer again; interpolation by an explicit sum over frequencies."""
    filters, x = noise(2, 3, 5, 5, dtype=torch.float64), noise(1, 3, 16, 24, seed=3, dtype=torch.float64)
    before, after = (vh.responses(filters, p, stride)[0].numpy() for p in (x, x.roll(1, -1)))
    units = before.shape[-1]
    foretold = np.zeros_like(before, dtype=complex)
    for q in range(units):
        f = (q if q < units / 2 else q - units) / units
        amplitude = sum(before[..., n] * cmath.exp(-2j * math.pi * f * n) for n in range(units)) / units
        for n in range(units):
            foretold[..., n] += amplitude * cmath.exp(2j * math.pi * f * (n - 1 / stride))
    full = vh.responses(filters, x)[0].numpy()
    want = [np.sqrt(((foretold.real - after)[k] ** 2).mean() / (full[k] ** 2).mean()) for k in range(2)]
    np.testing.assert_allclose(vh.shift_error(filters, x, stride).numpy(), want, rtol=1e-9)
    assert min(want) > 0.1


def test_whole_steps_are_never_aliased():
    filters, x = noise(2, 3, 3, 3), noise(1, 3, 16, 16, seed=4)
    assert vh.shift_error(filters, x, 4, shift=4).max() < 1e-5 and vh.shift_error(filters, x, 1, shift=5).max() < 1e-5
    assert vh.shift_error(filters, x, 4, shift=0).max() < 1e-5


def test_silent_filters_have_no_error():
    filters = noise(3, 3, 3, 3)
    filters[0] = 0
    filters[1] -= filters[1].mean()  # sees no constant picture: the sum of its weights is 0
    got = vh.shift_error(filters, vh.grating(0.0, size=16), 4)
    assert got[:2].tolist() == [0, 0] and got[2] < 1e-5 and not got.isnan().any()
    assert vh.shift_error(filters, vh.grating(0.3, size=40), 4)[0] == 0


def test_shift_error_does_not_depend_on_scale_or_on_the_other_filters():
    filters, x = noise(3, 3, 3, 3), noise(1, 3, 16, 16, seed=5)
    want = vh.shift_error(filters, x, 4)
    torch.testing.assert_close(vh.shift_error(filters * 1e-4, x * 50, 4), want, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(vh.shift_error(filters[1:2], x, 4), want[1:2], rtol=1e-4, atol=1e-5)


# ---- all of them ------------------------------------------------------------------------------------------------
def test_nothing_is_modified():
    filters, x, spectra = noise(2, 3, 4, 4), noise(1, 3, 8, 8, seed=6), noise(2, 8, 8).abs()
    copies = [t.clone() for t in (filters, x, spectra)]
    vh.spectrum(filters), vh.orientation(filters), vh.colourfulness(filters), vh.radial_profile(spectra)
    vh.responses(filters, x, 2), vh.shift_error(filters, x, 2)
    assert all(torch.equal(a, b) for a, b in zip((filters, x, spectra), copies, strict=True))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda f, x: vh.spectrum(f, 3), r"no larger than size=3, not \(2, 3, 4, 4\)"),
        (lambda f, x: vh.spectrum(f[0]), r"one filter is filters\[i : i \+ 1\]"),
        (lambda f, x: vh.orientation(f[0]), "Filters are"),
        (lambda f, x: vh.orientation(f[..., :1, :1]), "2x2 or more"),
        (lambda f, x: vh.colourfulness(f[:, :2]), r"RGB filters \(K,3,kh,kw\), not \(2, 2, 4, 4\)"),
        (lambda f, x: vh.colourfulness(f[0]), "RGB filters"),
        (lambda f, x: vh.radial_profile(torch.ones(2, 5, 5)), "S even"),
        (lambda f, x: vh.radial_profile(torch.ones(8, 8)), "S even"),
        (lambda f, x: vh.radial_profile(torch.ones(2, 8, 8), bins=0), "bins is 0: it must be at least 1"),
        (lambda f, x: vh.grating(0.6), "0 to 0.5 cycles per pixel, not 0.6"),
        (lambda f, x: vh.grating(-0.1), "0 to 0.5"),
        (lambda f, x: vh.responses(f, x, 3), r"\(8, 8\) pixels does not divide into steps of 3"),
        (lambda f, x: vh.responses(f, x, 0), "stride is 0: it must be at least 1"),
        (lambda f, x: vh.responses(f, x[:, :1]), r"not \(2, 3, 4, 4\) and \(1, 1, 8, 8\)"),
        (lambda f, x: vh.responses(f, x[0]), r"and \(3, 8, 8\)"),
        (lambda f, x: vh.responses(f, x[..., :2]), "kh x kw pixels or more"),
        (lambda f, x: vh.responses(f[0], x), "take pictures"),
        (lambda f, x: vh.shift_error(f, x, 3), "steps of 3"),
        (lambda f, x: vh.shift_error(f, x.expand(2, -1, -1, -1), 2), "one picture"),
    ],
)
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        call(noise(2, 3, 4, 4), noise(1, 3, 8, 8))
    assert "\n" not in str(caught.value)
