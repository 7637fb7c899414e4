"""The deconvnet: each of its three steps by hand, and the whole against the gradient rule."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vizhelpers as vh


def noise(*shape, seed=3):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def nets():
    return {name: copy.deepcopy(vh.load_model(name, device="cpu")).double() for name in ("alexnet", "vgg16")}


CONVOLUTIONS = [  # (C, K, options, input size): also sizes that the stride does not divide
    (1, 1, {"kernel_size": 3}, (5, 5)),
    (3, 4, {"kernel_size": 11, "stride": 4, "padding": 2}, (64, 67)),
    (3, 4, {"kernel_size": (3, 5), "stride": (2, 3), "padding": (1, 0)}, (14, 20)),
    (2, 3, {"kernel_size": 3, "padding": 2, "dilation": 2}, (9, 8)),
    (4, 6, {"kernel_size": 3, "stride": 2, "groups": 2}, (10, 11)),
]


def convolution(channels, count, options):
    layer = nn.Conv2d(channels, count, **options).double().requires_grad_(False)
    layer.weight.copy_(noise(*layer.weight.shape))
    layer.bias.copy_(noise(count, seed=4))
    return layer


# ---- one convolution ------------------------------------------------------------------------------------------------
def test_a_stamp_by_hand():
    layer = nn.Conv2d(1, 1, 2).requires_grad_(False)
    layer.weight.copy_(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    layer.bias.fill_(100.0)
    got = vh.transposed_convolution(layer, torch.tensor([[[[1.0, 0.0], [0.0, 10.0]]]]), (3, 3))
    assert got[0, 0].tolist() == [[1, 2, 0], [3, 4 + 10, 20], [0, 30, 40]]


@pytest.mark.parametrize("channels, count, options, size", CONVOLUTIONS)
def test_transposed_is_the_adjoint_of_the_convolution_without_bias(channels, count, options, size):
    layer = convolution(channels, count, options)
    a = noise(2, channels, *size)
    linear = layer(a) - layer.bias[:, None, None]
    y = noise(*linear.shape, seed=5)
    back = vh.transposed_convolution(layer, y, size)
    assert back.shape == a.shape
    torch.testing.assert_close((linear * y).sum(), (a * back).sum())
    leaf = a.clone().requires_grad_(True)
    torch.testing.assert_close(back, torch.autograd.grad(layer(leaf), leaf, y)[0])


def test_transposed_is_conv_transpose2d_with_the_same_weights():
    layer = convolution(3, 4, {"kernel_size": 3, "padding": 1})
    y = noise(1, 4, 6, 7)
    want = F.conv_transpose2d(y, layer.weight, None, 1, 1)
    torch.testing.assert_close(vh.transposed_convolution(layer, y, (6, 7)), want)


def test_transposed_refuses_an_impossible_size():
    layer = convolution(3, 4, {"kernel_size": 3, "stride": 2})
    for size in ((8, 11), (11, 8), (30, 30)):
        with pytest.raises(ValueError, match="no input of"):
            vh.transposed_convolution(layer, noise(1, 4, 4, 4), size)


# ---- one pooling ----------------------------------------------------------------------------------------------------
def by_loop(y, switches, size):
    out = torch.zeros(*y.shape[:2], size[0] * size[1], dtype=y.dtype)
    for n in range(y.shape[0]):
        for k in range(y.shape[1]):
            for value, at in zip(y[n, k].flatten(), switches[n, k].flatten(), strict=True):
                out[n, k, at] += value
    return out.view(*y.shape[:2], *size)


def test_unpool_2x2_puts_the_maxima_in_place():
    a = torch.tensor([[[[1.0, 2, 0, 5], [3, 4, 6, 0], [9, 0, 1, 1], [0, 0, 1, 7]]]])
    y, switches = F.max_pool2d(a, 2, return_indices=True)
    want = torch.tensor([[0.0, 0, 0, 0], [0, 4, 6, 0], [9, 0, 0, 0], [0, 0, 0, 7]])
    assert torch.equal(vh.unpool(y, switches, (4, 4))[0, 0], want)
    assert torch.equal(F.max_unpool2d(y, switches, 2)[0, 0], want)  # without overlap both agree


def test_unpool_3x3_stride_2_adds_where_windows_overlap():
    a = torch.zeros(1, 1, 5, 5)
    a[0, 0, 2, 2] = 9.0  # in all four windows
    _, switches = F.max_pool2d(a, 3, 2, return_indices=True)
    signal = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    want = torch.zeros(5, 5)
    want[2, 2] = 10.0
    assert torch.equal(vh.unpool(signal, switches, (5, 5))[0, 0], want)
    overwritten = F.max_unpool2d(signal, switches, 3, 2, output_size=(5, 5))  # the trap: one value survives
    assert float(overwritten.sum()) in (1.0, 2.0, 3.0, 4.0)


@pytest.mark.parametrize("pool", [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2},
                                  {"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 3, "stride": 1},
                                  {"kernel_size": 3, "stride": 2, "ceil_mode": True},
                                  {"kernel_size": 2, "stride": 2, "dilation": 2}])  # fmt: skip
@pytest.mark.parametrize("size", [(9, 9), (12, 15)])
def test_unpool_equals_the_loop_and_the_gradient_of_the_pooling(pool, size):
    a = noise(2, 3, *size).requires_grad_(True)
    y, switches = F.max_pool2d(a, return_indices=True, **pool)
    signal = noise(*y.shape, seed=8)
    got = vh.unpool(signal, switches, size)
    torch.testing.assert_close(got, by_loop(signal, switches, size))
    torch.testing.assert_close(got, torch.autograd.grad(y, a, signal)[0])


def test_unpool_refuses_what_does_not_fit():
    y, switches = F.max_pool2d(noise(1, 2, 6, 6), 2, return_indices=True)
    with pytest.raises(ValueError, match="points outside 4x4"):
        vh.unpool(y, switches, (4, 4))
    with pytest.raises(ValueError, match="alike"):
        vh.unpool(y[:, :1], switches, (6, 6))


# ---- the whole ------------------------------------------------------------------------------------------------------
def toy():
    """Signs chosen so that the two ReLU rules differ: the first channel is off, the signal reaches it positive."""
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1)).requires_grad_(False)
    net[0].weight.copy_(torch.tensor([-1.0, 1.0])[:, None, None, None])
    net[0].bias.zero_()
    net[2].weight.copy_(torch.tensor([5.0, 3.0])[None, :, None, None])
    net[2].bias.fill_(1.0)
    return net


def test_the_relu_looks_at_the_signal_and_no_bias_comes_in():
    # x=2: the channels hold -2 and 2, after the ReLU 0 and 2; the unit is 3*2 + 1 = 7; back: 7*5=35 and 7*3=21 are both
    # positive and both pass: -35 + 21 = -14. (The gradient would stop the first: 21.)
    assert vh.deconvnet(toy(), torch.full((1, 1, 1, 1), 2.0), "2", 0).item() == -14
    net = toy()
    net[2].weight[0, 1] = -3.0  # now the second channel's signal is negative: only the first passes
    net[2].bias.fill_(8.0)  # the unit is -6 + 8 = 2
    assert vh.deconvnet(net, torch.full((1, 1, 1, 1), 2.0), "2", 0).item() == -10


def test_starting_from_the_relu_is_the_same(nets):
    x = vh.to_input("koala", nets["alexnet"]).double()
    pair = [vh.deconvnet(nets["alexnet"], x, layer, 30) for layer in ("features.6", "features.7")]
    assert pair[0].any() and torch.equal(*pair)


@pytest.mark.parametrize("name, size, layers", [
    ("alexnet", 160, ["features.0", "features.3", "features.6", "features.8", "features.10", "features.12"]),
    ("vgg16", 80, ["features.2", "features.14", "features.28"]),
])  # fmt: skip
def test_explicit_equals_the_gradient_rule(nets, name, size, layers):
    net = nets[name]
    x = vh.to_input("giraffe", net, size=size).double()
    x = x[:, :, :, size // 6 : -size // 6]  # no square, so that axes cannot be swapped
    for layer in layers:
        maps = vh.activations(net, x, layer)[0].relu()
        for channel in maps.amax((1, 2)).topk(2).indices.tolist():
            row, column = divmod(int(maps[channel].argmax()), maps.shape[2])
            got = vh.deconvnet(net, x, layer, channel)
            want = float(maps[channel].max()) * vh.deconvnet_gradient(net, x, vh.Neuron(layer, channel, row, column)) \
                if layer != "features.0" else maps[channel].max() * plain(net, x, layer, channel, row, column)
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * float(want.abs().max()))
            assert torch.equal(got, vh.deconvnet(net, x, layer, channel, unit=(row, column)))


def plain(net, x, layer, channel, row, column):
    leaf = x.clone().requires_grad_(True)
    with vh.capture(net, layer) as acts:
        net(leaf)
    return torch.autograd.grad(acts[layer][0, channel, row, column], leaf)[0]


def test_without_relu_it_is_the_gradient():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 1), nn.MaxPool2d(3, 2), nn.Conv2d(8, 4, 3, padding=1)).double()
    net.requires_grad_(False)
    x = noise(1, 3, 32, 40)
    maps = vh.activations(net, x, "2")[0]
    row, column = divmod(int(maps[1].argmax()), maps.shape[2])
    want = maps[1].max() * plain(net, x, "2", 1, row, column)
    torch.testing.assert_close(vh.deconvnet(net, x, "2", 1), want)


def test_all_units_add_up_when_nothing_is_cut_off():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Conv2d(2, 1, 2)).double().requires_grad_(False)
    x = noise(1, 1, 10, 10)
    maps = vh.activations(net, x, "2")[0, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = [vh.deconvnet(net, x, "2", 0, unit=(r, c)) for r in range(maps.shape[0]) for c in range(maps.shape[1])]
    torch.testing.assert_close(vh.deconvnet(net, x, "2", 0, unit="all"), sum(parts))


def test_each_picture_starts_from_its_own_strongest_unit(nets):
    net = nets["alexnet"]
    x = vh.to_input(["koala", "colosseum", "fish_3"], net).double()
    together = vh.deconvnet(net, x, "features.8", 30)
    best = vh.channel_maxima(net, x, "features.8")
    field = vh.receptive_field(net, "features.8")
    for n in range(3):
        unit = int(best.rows[n, 30]), int(best.columns[n, 30])
        torch.testing.assert_close(together[n : n + 1], vh.deconvnet(net, x[n : n + 1], "features.8", 30, unit=unit))
        top, left, bottom, right = field.box(*unit)
        outside = together[n].clone()
        outside[:, top:bottom, left:right] = 0
        assert together[n].any() and not outside.any()


def test_a_silent_channel_gives_zeros_and_says_why(nets):
    net = copy.deepcopy(nets["alexnet"])
    net.features[3].bias[7] = -1e6
    with pytest.warns(UserWarning, match="channel 7 of 'features.3' is not above 0"):
        assert not vh.deconvnet(net, noise(2, 3, 96, 96), "features.3", 7).any()


def test_trainable_in_place_and_frozen_nets_and_what_is_left_behind(nets):
    net = nets["alexnet"]
    x = noise(1, 3, 96, 96)
    kept = x.clone()
    want = vh.deconvnet(net, x, "features.10", 3, unit="all")
    net.train()
    with torch.enable_grad():
        got = vh.deconvnet(net, x, "features.10", 3, unit="all")
    assert all(m.training for m in net.modules()) and torch.equal(x, kept)
    net.eval()
    assert torch.equal(got, want) and not got.requires_grad


def test_errors_are_sentences(nets):
    net, x = nets["alexnet"], noise(1, 3, 96, 96)
    with pytest.raises(ValueError, match="channels 0 to 255, not 256"):
        vh.deconvnet(net, x, "features.10", 256)
    for unit in ((5, 0), (-1, 0), "best", (1, 2, 3)):
        with pytest.raises(ValueError, match=r"from \(0, 0\) to \(4, 4\)"):
            vh.deconvnet(net, x, "features.10", 1, unit=unit)
    with pytest.raises(ValueError, match="nearest: features.10"):
        vh.deconvnet(net, x, "features.100", 1)
    with pytest.raises(ValueError, match="block of layers"):
        vh.deconvnet(net, x, "features", 1)


class Doubled(nn.Module):
    """Convolutions only, but no chain: the second adds its input."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        y = self.a(x)
        return y + self.b(y + x)


@pytest.mark.parametrize("net, layer, sentence", [
    (Doubled(), "b", "they branch"),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), "2", "1 is BatchNorm2d"),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU()), "1", "LeakyReLU"),
    (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")), "0", "zero-padded"),
    (nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 3)), "1", "AvgPool2d"),
])  # fmt: skip
def test_other_nets_are_refused_and_told_where_to_go(net, layer, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        vh.deconvnet(net.eval(), torch.randn(1, 3, 16, 16), layer, 0)
    assert "deconvnet_gradient" in str(error.value)


def test_a_fire_module_is_a_branch():
    net = vh.load_model("squeezenet1_1", weights="random", device="cpu")
    with pytest.raises(ValueError, match="they branch"):
        vh.deconvnet(net, torch.randn(1, 3, 64, 64), "features.3.expand3x3", 0)
