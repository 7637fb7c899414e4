"""Activations, channel responses, top patches and receptive fields against hand numbers and brute force."""

import pytest
import torch
import torch.nn.functional as F
from methods import net_of, transformer
from PIL import Image
from torch import nn

import vizhelpers as vh
from vizhelpers.methods.activations import ChannelMaxima, ReceptiveField


@pytest.fixture(scope="module")
def net():
    return vh.load_model("squeezenet1_1", device="cpu")


@pytest.fixture(scope="module")
def picture(net):
    return vh.to_input("koala", net)


def small(seed: int = 0) -> nn.Sequential:
    """conv, in-place ReLU, overlapping pool, conv, in-place ReLU, global mean, linear."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
            nn.Conv2d(5, 7, 3, stride=2, padding=1), nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 4),
        )  # fmt: skip


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- activations and channel_response --------------------------------------------------------------------------------
def test_a_hooked_convolution_is_the_convolution_recomputed(net, picture):
    conv = net.features[0]
    got = vh.activations(net, picture, "features.0")
    torch.testing.assert_close(got, F.conv2d(picture, conv.weight, conv.bias, conv.stride), rtol=1e-4, atol=1e-3)
    assert (got < 0).float().mean() > 0.2, "a ReLU has been at work"
    assert not got.requires_grad


def test_one_unit_by_hand(net, picture):
    conv, k, r, c = net.features[0], 9, 30, 71
    unit = (conv.weight[k] * picture[0, :, 2 * r : 2 * r + 3, 2 * c : 2 * c + 3]).sum() + conv.bias[k]
    assert float(vh.activations(net, picture, net.features[0])[0, k, r, c]) == pytest.approx(float(unit), abs=1e-3)


def test_channel_response_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(inplace=True))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]).view(2, 3, 1, 1))
    x = torch.zeros(1, 3, 2, 2)
    x[0, 0] = torch.tensor([[1.0, -2.0], [3.0, -6.0]])
    assert vh.channel_response(net, x, "0").tolist() == [[1.0, 2.0]]  # (1+3)/4 and (2+6)/4


def test_a_convolution_and_its_relu_give_the_same_response(net, picture):
    both = [vh.channel_response(net, picture, layer) for layer in ("features.0", "features.1")]
    torch.testing.assert_close(*both, rtol=0, atol=0)


def test_channel_response_of_a_linear_layer_is_its_positive_part():
    net, x = small(), noise(2, 3, 20, 24)
    torch.testing.assert_close(vh.channel_response(net, x, "7"), net(x).detach().relu())


def test_unknown_layer_names_its_neighbours(net, picture):
    for function in (vh.activations, vh.channel_response, vh.channel_maxima):
        with pytest.raises(ValueError, match=r"no layer 'features\.99'.*nearest: features\."):
            function(net, picture, "features.99")
    with pytest.raises(ValueError, match="nearest: features"):
        vh.receptive_field(net, "features.99")


# --- channel_maxima and top_patches ----------------------------------------------------------------------------------
@pytest.mark.parametrize("batch_size", [1, 2, 5, None])
def test_maxima_are_brute_force(batch_size):
    net, x = small(), noise(5, 3, 20, 28)
    best = vh.channel_maxima(net, x, "3", batch_size=batch_size)
    assert all(t.shape == (5, 7) and t.device.type == "cpu" for t in best)
    for n in range(5):
        maps = vh.activations(net, x[n : n + 1], "3")[0]
        for k in range(7):
            rows = maps[k].tolist()
            value, r, c = max((v, r, c) for r, row in enumerate(rows) for c, v in enumerate(row))
            assert (int(best.rows[n, k]), int(best.columns[n, k])) == (r, c)
            assert float(best.values[n, k]) == pytest.approx(value, abs=1e-5)


def test_maxima_of_several_layers_in_one_pass_are_those_of_each(monkeypatch):
    net, x = small(), noise(5, 3, 20, 28)
    runs = []
    handle = net.register_forward_pre_hook(lambda *_: runs.append(1))
    several = vh.channel_maxima(net, x, ["0", "3"], batch_size=2)
    handle.remove()
    assert len(runs) == 3 and list(several) == ["0", "3"]
    for layer, best in several.items():
        for mine, single in zip(best, vh.channel_maxima(net, x, layer, batch_size=2), strict=True):
            assert torch.equal(mine, single)


def test_maxima_of_a_real_net_on_real_pictures(net):
    x = vh.to_input(vh.library("photos", "classics"), net)
    best = vh.channel_maxima(net, x, "features.7", batch_size=3)
    torch.testing.assert_close(best.values, vh.activations(net, x, "features.7").amax((2, 3)), rtol=1e-4, atol=1e-2)


def test_maxima_refuse_a_layer_without_maps():
    with pytest.raises(ValueError, match=r"Layer '7' gives \(1, 4\), not maps"):
        vh.channel_maxima(small(), noise(1, 3, 20, 20), "7")
    with pytest.raises(ValueError, match=r"Layer '7' gives \(1, 4\), not maps"):
        vh.receptive_field(small(), "7")


def maxima(values) -> ChannelMaxima:
    values = torch.tensor(values)
    zeros = torch.zeros(values.shape, dtype=torch.long)
    return ChannelMaxima(values, zeros, zeros)


def test_patches_come_in_order_and_ties_keep_the_library_s(net):
    x = torch.zeros(5, 3, 20, 20)
    best = maxima([[1.0], [7.0], [3.0], [7.0], [-2.0]])
    order = [(p.picture, p.value) for p in vh.top_patches(small(), x, "0", 0, maxima=best, count=4)]
    assert order == [(1, 7.0), (3, 7.0), (2, 3.0), (0, 1.0)]


def test_patches_are_brute_force():
    net, x = small(), noise(6, 3, 24, 32)
    got = vh.top_patches(net, x, "3", 2, count=3)
    maps = vh.activations(net, x, "3")[:, 2]
    order = sorted(range(6), key=lambda n: -float(maps[n].max()))[:3]
    assert [p.picture for p in got] == order
    field = vh.receptive_field(net, "3", (24, 32), channel=2)
    for p in got:
        assert float(maps[p.picture, p.row, p.column]) == pytest.approx(p.value) == float(maps[p.picture].max())
        assert p.box == field.box(p.row, p.column)


def test_more_patches_than_pictures_gives_all_of_them():
    assert len(vh.top_patches(small(), noise(3, 3, 20, 20), "0", 1, count=50)) == 3


@pytest.mark.parametrize(
    ("channel", "count", "sentence"),
    [(5, 9, "channels 0 to 4, not 5"), (-1, 9, "channels 0 to 4, not -1"), (0, 0, "count is 0: it must be at least 1")],
)
def test_patches_refuse_what_is_not_there(channel, count, sentence):
    with pytest.raises(ValueError, match=sentence):
        vh.top_patches(small(), noise(2, 3, 20, 20), "0", channel, count=count)


def test_maxima_stop_at_an_interrupt_and_keep_what_is_done():
    net, x, runs = small(), noise(6, 3, 20, 20), []

    def interrupt(*_):
        runs.append(1)
        if len(runs) == 3:
            raise KeyboardInterrupt

    handle = net.register_forward_pre_hook(interrupt)
    best = vh.channel_maxima(net, x, "0", batch_size=2)
    handle.remove()
    assert len(best.values) == 4
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


# --- receptive fields: hand numbers ----------------------------------------------------------------------------------
HAND = [  # layer -> (size, stride, start) in pixels: size += (k-1)*jump; start -= padding*jump; jump *= stride
    ("alexnet", {"features.0": (11, 4, -2), "features.2": (19, 8, -2), "features.3": (51, 8, -18),
                 "features.6": (99, 16, -34), "features.8": (131, 16, -50), "features.10": (163, 16, -66)}),
    ("vgg16", {"features.0": (3, 1, -1), "features.4": (6, 2, -2), "features.14": (40, 4, -18),
               "features.21": (92, 8, -42), "features.28": (196, 16, -90), "features.30": (212, 32, -90)}),
    ("squeezenet1_1", {"features.0": (3, 2, 0), "features.2": (7, 4, 0), "features.3": (15, 4, -4),
                       "features.3.expand1x1": (7, 4, 0), "features.3.expand3x3": (15, 4, -4)}),
    ("resnet18", {"conv1": (7, 2, -3), "maxpool": (11, 4, -5), "layer1": (43, 4, -21), "layer4": (435, 32, -217)}),
    ("googlenet", {"conv1": (7, 2, -3), "conv3": (19, 4, -7), "inception3a": (43, 8, -15)}),
    ("densenet121", {"features.conv0": (7, 2, -3), "features.pool0": (11, 4, -5),
                     "features.denseblock1.denselayer1": (19, 4, -9)}),
    ("mobilenet_v2", {"features.0": (3, 2, -1), "features.1": (7, 2, -3), "features.2": (11, 4, -5)}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "layers"), HAND, ids=[name for name, _ in HAND])
def test_receptive_field_is_the_arithmetic_by_hand(name, layers):
    net = net_of(name)
    for layer, (size, stride, start) in layers.items():
        f = vh.receptive_field(net, layer)
        assert (f.size, f.stride, f.start) == ((size, size), (stride, stride), (start, start)), (name, layer)


def test_branches_of_a_fire_module_have_fields_of_their_own():
    net = vh.load_model("squeezenet1_1", weights="random", device="cpu")
    assert vh.receptive_field(net, "features.3", channel=0).size == (7, 7)
    assert vh.receptive_field(net, "features.3", channel=64).size == (15, 15)


def test_squeeze_and_excitation_sees_the_whole_picture():
    net = net_of("efficientnet_b0")
    assert vh.receptive_field(net, "features.0").size == (3, 3)
    f = vh.receptive_field(net, "features.4", (224, 224))
    assert f.box(0, 0) == f.box(7, 7) == (0, 0, 224, 224)


def test_a_chain_that_is_not_square():
    first = nn.Conv2d(3, 4, (3, 5), stride=(1, 2), padding=(0, 3))
    net = nn.Sequential(first, nn.Conv2d(4, 4, (5, 1), dilation=(2, 1)))
    f = vh.receptive_field(net, "1", (64, 96))
    assert f == ReceptiveField((11, 5), (1, 2), (0, -3), (64, 96))


def test_a_patch_is_cut_out_of_its_picture():
    patch = vh.top_patches(small(), noise(1, 3, 24, 32), "3", 2)[0]
    top, left, bottom, right = patch.box
    assert patch.cut(Image.new("RGB", (32, 24))).size == (right - left, bottom - top) and bottom - top <= 9


def test_boxes_are_cut_at_the_border():
    f = ReceptiveField((9, 9), (4, 4), (-3, -3), (20, 30))
    assert f.box(0, 0) == (0, 0, 6, 6)
    assert f.box(2, 3) == (5, 9, 14, 18)
    assert f.box(4, 6) == (13, 21, 20, 30)


# --- receptive fields: by experiment ---------------------------------------------------------------------------------
EXPERIMENTS = [("alexnet", "features.3"), ("squeezenet1_1", "features.6"), ("resnet18", "layer2"),
               ("googlenet", "inception3a"), ("densenet121", "features.denseblock1"),
               ("mobilenet_v2", "features.4")]  # fmt: skip
SIZE = (160, 224)


@pytest.mark.parametrize(("name", "layer"), EXPERIMENTS, ids=[name for name, _ in EXPERIMENTS])
def test_nothing_outside_the_box_moves_a_unit(name, layer):
    """Input changed outside the predicted box leaves the unit, inside it moves it; the gradient lies inside it."""
    net = net_of(name)
    x, other = noise(1, 3, *SIZE, seed=2).double(), noise(1, 3, *SIZE, seed=3).double()
    pixels = x.clone().requires_grad_()
    with vh.capture(net, layer) as acts:
        net(pixels)
    maps, field = acts[layer], vh.receptive_field(net, layer, SIZE)
    rows, columns = maps.shape[2:]
    units = [(0, 0), (rows // 2, columns // 3), (rows - 1, columns - 1), (1, columns - 1)]
    inside = torch.zeros(len(units), 1, *SIZE, dtype=torch.bool)
    for mask, (r, c) in zip(inside, units, strict=True):
        top, left, bottom, right = field.box(r, c)
        mask[:, top:bottom, left:right] = True
        assert not mask.all(), "a box that is the whole picture proves nothing"
    changed = torch.cat([torch.where(inside, x, other), torch.where(inside, other, x)])  # outside, then inside
    after = vh.activations(net, changed, layer)
    for n, (r, c) in enumerate(units):
        unit = maps[0, :, r, c].detach()
        torch.testing.assert_close(after[n, :, r, c], unit, rtol=1e-9, atol=1e-12)
        assert not torch.allclose(after[len(units) + n, :, r, c], unit, rtol=1e-3)
        (g,) = torch.autograd.grad(maps[0, :, r, c].sum(), pixels, retain_graph=True)
        assert g[~inside[n : n + 1].expand_as(g)].abs().max() == 0, "a pixel outside the box has a gradient"
        assert g.abs().max() > 0


def test_the_box_is_no_larger_than_it_must_be():
    """On a net of positive weights, without ReLUs that are off, the gradient reaches every edge of the box."""
    net = small().double()
    for p in net.parameters():
        p.data = p.data.abs() + 0.1
    net[2] = nn.AvgPool2d(3, 2)
    x = torch.ones(1, 3, 40, 56, dtype=torch.float64, requires_grad=True)
    field = vh.receptive_field(net, "3", (40, 56))
    for r, c in ((0, 0), (4, 5), (9, 13)):
        with vh.capture(net, "3") as acts:
            net(x)
        (g,) = torch.autograd.grad(acts["3"][0, 0, r, c], x)
        seen = g[0].abs().sum(0).nonzero()
        found = (*seen.min(0).values.tolist(), *(seen.max(0).values + 1).tolist())
        assert found == field.box(r, c)


# --- receptive fields: every unit of nets of every kind, by the gradient ---------------------------------------------
class UNet(nn.Module):
    """Down twice, up twice, with a connection past the bottom."""

    def __init__(self):
        super().__init__()
        self.top, self.pool, self.bottom = nn.Conv2d(3, 4, 3, padding=1), nn.AvgPool2d(4), nn.Conv2d(4, 4, 3, padding=1)
        self.up, self.last = nn.Upsample(scale_factor=4), nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x):
        top = self.top(x)
        return self.last(torch.cat([top, self.up(self.bottom(self.pool(top)).tanh())], 1))


def with_coder(*decoder: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Tanh(), nn.Conv2d(4, 4, 3, 2, 1), *decoder)


KINDS = {
    "plain": lambda: with_coder(nn.Tanh(), nn.AvgPool2d(3, 2, ceil_mode=True)),
    "dilated": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, dilation=4), nn.Conv2d(4, 4, 3, dilation=(2, 1))),
    "nearest": lambda: with_coder(nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3, 1, 1), nn.Upsample(scale_factor=2)),
    "bilinear": lambda: with_coder(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(4, 2, 3, padding=1)),
    "bilinear at last": lambda: with_coder(nn.Upsample(scale_factor=4, mode="bilinear")),
    "transposed 2": lambda: with_coder(nn.ConvTranspose2d(4, 4, 2, 2), nn.Tanh(), nn.ConvTranspose2d(4, 2, 2, 2)),
    "transposed 3": lambda: with_coder(nn.ConvTranspose2d(4, 4, 3, 2, 1, 1), nn.Conv2d(4, 2, 3)),
    "transposed 4": lambda: with_coder(nn.ConvTranspose2d(4, 2, 4, 2, 1)),
    "pixel shuffle": lambda: with_coder(nn.PixelShuffle(2), nn.Conv2d(1, 2, 3, padding=1)),
    "larger than the picture": lambda: nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Upsample(scale_factor=2)),
    "u-net": UNet,
    "adaptive": lambda: nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d((4, 5))),
    "reflected": lambda: nn.Sequential(nn.Conv2d(3, 4, 5, padding=2, padding_mode="reflect"), nn.Conv2d(4, 2, 3, 2)),
    "wrapped around": lambda: nn.Sequential(nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular")),
    "group norm": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 3)),
    "instance norm": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.InstanceNorm2d(4), nn.Conv2d(4, 2, 3)),
    "depthwise": lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 5, groups=4), nn.Conv2d(4, 8, 3, groups=2)),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_box_of_every_unit_is_what_its_gradient_reaches(kind):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = KINDS[kind]().double().eval()
    size, layer = (24, 32), list(net._modules)[-1]
    x = noise(1, 3, *size).double().requires_grad_()
    maps = net(x)[0].sum(0)  # the union over the channels
    field = vh.receptive_field(net, layer, size)
    for r, c in ((r, c) for r in range(maps.shape[0]) for c in range(maps.shape[1])):
        (g,) = torch.autograd.grad(maps[r, c], x, retain_graph=True)
        seen, box = g[0].ne(0).any(0).nonzero(), torch.tensor(field.box(r, c))
        more = (torch.cat([seen.amin(0), seen.amax(0) + 1]) - box) * torch.tensor([1, 1, -1, -1])
        # the outermost units of a bilinear layer look at a second pixel of theirs with weight 0
        assert 0 <= more.min() and more.max() <= (4 if kind == "bilinear at last" else 0), (r, c)
    even = kind in ("plain", "dilated", "depthwise", "reflected")
    assert (min(field.stride) > 0) == even and (even or field.start == (0, 0)) and field.input_size == size


def test_each_channel_by_itself():
    """Groups of GroupNorm mix within themselves only, depthwise convolutions not at all; branches differ."""

    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.three = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 3, padding=1)
            self.mix, self.deep = nn.Identity(), nn.Conv2d(4, 4, 3, padding=1, groups=4)

        def forward(self, x):
            return self.deep(self.mix(torch.cat([self.one(x), self.three(x)], 1)))

    net = Branches()
    for layer, sizes in (("mix", [1, 1, 3, 3]), ("deep", [3, 3, 5, 5])):
        assert [vh.receptive_field(net, layer, (20, 20), channel=k).size[0] for k in range(4)] == sizes
    assert vh.receptive_field(net, "deep", (20, 20)).size == (5, 5)
    net.mix = nn.GroupNorm(2, 4)
    assert vh.receptive_field(net, "mix", (20, 30), channel=0).box(3, 4) == (0, 0, 20, 30)
    for channel in (4, -1):
        with pytest.raises(ValueError, match="channels 0 to 3, not"):
            vh.receptive_field(net, "mix", (20, 20), channel=channel)


PASSING = [nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(), nn.ELU(), nn.SiLU(), nn.Hardswish(), nn.GELU(),
           nn.Sigmoid(), nn.Hardsigmoid(), nn.Softplus(), nn.PReLU(), nn.Mish(), nn.Tanh(), nn.BatchNorm2d(4),
           nn.Dropout(), nn.LocalResponseNorm(2), nn.Softmax(1), nn.AvgPool2d(1)]  # fmt: skip


@pytest.mark.parametrize("between", PASSING, ids=str)
def test_no_usual_layer_hides_a_pixel(between):
    """Also not where weights are zero: a pruned connection is a connection."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), between, nn.Conv2d(4, 4, 3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 2, 1))
    net[2].weight.data.zero_()
    for layer, want in (("2", ((5, 5), (1, 1), (0, 0))), ("4", ((7, 7), (2, 2), (-1, -1)))):
        f = vh.receptive_field(net, layer, (40, 56))
        assert (f.size, f.stride, f.start) == want


def test_a_net_of_one_size_and_one_that_does_not_run():
    net = transformer()
    f = vh.receptive_field(net, "conv_proj")
    assert (f.size, f.stride, f.start) == ((16, 16), (16, 16), (0, 0))
    with pytest.raises(ValueError, match="does not run on 160x224 pixels: Wrong image height"):
        vh.receptive_field(net, "conv_proj", (160, 224))
    flat = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2, 2))  # fits no picture: the layer is before it
    assert vh.receptive_field(flat, "0").size == (3, 3)


def test_a_layer_that_runs_twice_is_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)

        def forward(self, x):
            return self.conv(self.conv(x))

    with pytest.raises(ValueError, match="ran 2 times"):
        vh.receptive_field(Twice(), "conv")


# --- manners ---------------------------------------------------------------------------------------------------------
CALLS = {
    "activations": lambda net, x: vh.activations(net, x, "3"),
    "channel_response": lambda net, x: vh.channel_response(net, x, "3"),
    "channel_maxima": lambda net, x: vh.channel_maxima(net, x, "3").values,
    "top_patches": lambda net, x: torch.tensor([p.value for p in vh.top_patches(net, x, "3", 0)]),
    "receptive_field": lambda net, x: torch.tensor(vh.receptive_field(net, "3", (24, 32)).size),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_model_modes_and_input_stay_as_they_were(call):
    net = small()
    net.insert(1, nn.BatchNorm2d(5))
    net.insert(5, nn.Dropout(0.5))  # features "3" is now the pool; layers by index only matter for the maps' shape
    net.train()
    net[1].eval()
    x = noise(2, 3, 24, 32)
    modes = [m.training for m in net.modules()]
    state = {k: v.clone() for k, v in net.state_dict().items()}
    before, first = x.clone(), call(net, x)
    assert torch.equal(first, call(net, x)), "calling twice gives two results"
    assert torch.equal(x, before) and not x.requires_grad
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items()), "running statistics have moved"
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert torch.is_grad_enabled()
    with torch.no_grad():
        assert torch.equal(first, call(net, x))
    with torch.inference_mode():
        assert torch.equal(first, call(net, x))


def test_a_frozen_net_is_no_obstacle():
    net = small().requires_grad_(False)
    assert vh.receptive_field(net, "3").size == (9, 9)
    assert vh.activations(net, noise(1, 3, 20, 20), "0").shape == (1, 5, 20, 20)
