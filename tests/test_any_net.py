"""Nets and pictures that people bring: what bug reports found, by kind, each with an independent value."""
import copy
import dataclasses
import pickle
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.checkpoint import checkpoint

import vizhelpers as vh
from vizhelpers.hooks import maps_of


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def seeded(make, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval()


def small(classes=4, *end, channels=3):
    return seeded(lambda: nn.Sequential(nn.Conv2d(channels, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                                        nn.Linear(8, classes), *end))  # fmt: skip


def by_autograd(net, x, pick):
    leaf = x.clone().requires_grad_(True)
    return torch.autograd.grad(pick(net(leaf)).sum(), leaf)[0]


@pytest.fixture(scope="module")
def lite():
    return vh.load_model("efficientnet_lite0", device="cpu")


class Holder(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)


# --- where the channels are ---
def hand_grad_cam(maps, gradient):
    return torch.relu((maps * gradient.mean((2, 3), keepdim=True)).sum(1))


def test_channels_last_maps_are_recognised():
    net, x = vh.load_model("swin_t", weights="random", device="cpu"), noise(1, 3, 224, 224)
    with vh.capture(net, "features.7") as acts:
        score = net(x.requires_grad_(True))[0, 3]
    (g,) = torch.autograd.grad(score, acts["features.7"])
    maps = acts["features.7"].detach().permute(0, 3, 1, 2)
    x = x.detach()
    assert maps.shape == (1, 768, 7, 7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = hand_grad_cam(maps, g.permute(0, 3, 1, 2))
        torch.testing.assert_close(vh.grad_cam(net, x, 3, layer="features.7"), want)
        assert vh.grad_cam(net, x, 3).shape == (1, 7, 7)
    assert torch.equal(vh.channel_maxima(net, x, "features.7").values, maps.amax((2, 3)))


def test_tokens_are_a_grid_where_they_can_be():
    net, x = vh.load_model("vit_b_32", weights="random", device="cpu"), noise(1, 3, 224, 224)
    with pytest.raises(ValueError, match="no late maps .* Tokens"):
        vh.grad_cam(net, x, 3)
    layer = "encoder.layers.encoder_layer_8"
    net.heads.head.weight.data = noise(1000, 768, seed=1)  # torchvision starts it with zeros
    with vh.capture(net, layer) as acts:
        score = net(x.requires_grad_(True))[0, 3]
    (g,) = torch.autograd.grad(score, acts[layer])
    maps, slope = (part.detach()[:, 1:].transpose(1, 2).reshape(1, 768, 7, 7) for part in (acts[layer], g))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.testing.assert_close(vh.grad_cam(net, x.detach(), 3, layer=layer), hand_grad_cam(maps, slope))


class Odd(nn.Module):
    """Answers in a container."""

    def __init__(self, net, pack):
        super().__init__()
        self.net, self.pack = net, pack

    def forward(self, x):
        return self.pack(self.net(x))


# --- heads that were changed ---
class Late(nn.Module):
    """The layer that is defined last is not the one that answers."""

    def __init__(self):
        super().__init__()
        self.c, self.fc, self.domain = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 10), nn.Linear(8, 2)

    def forward(self, x):
        h = self.c(x).relu().mean((2, 3))
        self.d = self.domain(h)
        return self.fc(h)


def test_classes_are_counted_by_running():
    net, x = seeded(Late), noise(1, 3, 32, 32)
    slope = by_autograd(net, x, lambda out: out[:, 7])
    torch.testing.assert_close(vh.gradient(net, x, 7), slope)
    torch.testing.assert_close(vh.smoothgrad(net, x, 7, level=0.0, samples=2), slope)
    torch.testing.assert_close(vh.occlusion(net, x, 7, patch=8, stride=8).score, net(x).detach()[:, 7])
    curves = vh.insertion_deletion(net, x, 7, torch.rand(1, 32, 32), steps=2)
    torch.testing.assert_close(curves.deletion[:, 0], net(x).detach().softmax(1)[:, 7])
    assert int(vh.fool(net, x, "class 9", steps=1).target) == 9 and len(vh.categories(net)) == 10
    with pytest.raises(ValueError, match="from 0 to 9"):
        vh.smoothgrad(net, x, 10, samples=2)


def test_labels_belong_to_a_head_of_their_length():
    net = vh.load_model("squeezenet1_1", device="cpu")
    x = vh.to_input("koala", net)
    assert vh.predict(net, x)[0].label == "koala"
    net.classifier[1] = nn.Conv2d(512, 3, 1)
    assert vh.predict(net, x)[0].label.startswith("class ") and len(vh.categories(net)) == 3


def test_a_net_that_was_changed_is_looked_at_anew():
    net, x = vh.load_model("resnet18", weights="random", device="cpu"), noise(1, 3, 64, 64)
    vh.cam(net, x, 3)
    net.fc = seeded(lambda: nn.Sequential(nn.Dropout(), nn.Linear(512, 7)))
    del net.viz
    with vh.capture(net, "layer4") as acts:
        net(x)
    want = torch.einsum("nkhw,k->nhw", acts["layer4"], net.fc[1].weight[3]).detach()
    torch.testing.assert_close(vh.cam(net, x, 3), want)
    assert len(vh.categories(net)) == 7


# --- layers written by hand, receptive fields ---
class ChannelNorm(nn.Module):
    def forward(self, x):
        u = x.mean(1, keepdim=True)
        return (x - u) / ((x - u).pow(2).mean(1, keepdim=True) + 1e-6).sqrt()


class CReLU(nn.Module):
    def forward(self, x):
        return torch.cat([x.relu(), (-x).relu()], 1)[:, ::2]


@pytest.mark.parametrize("layer", [ChannelNorm, CReLU, lambda: nn.PReLU(8), lambda: nn.GroupNorm(2, 8)])
def test_occlusion_with_a_layer_written_by_hand_is_brute_force(layer):
    net = seeded(lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), layer(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, 1, 1),
                                       nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)))  # fmt: skip
    x = noise(1, 3, 64, 64)
    found = vh.occlusion(net, x, 1, patch=8, stride=8)
    for (top, left, bottom, right), logit in zip(found.boxes.tolist()[::9], found.logit.flatten()[::9], strict=True):
        hidden = x.clone()
        hidden[:, :, top:bottom, left:right] = 0
        torch.testing.assert_close(logit, net(hidden)[0, 1].detach(), rtol=1e-4, atol=1e-5)


def test_fields_behind_upsampling_and_in_swin_are_what_gradients_say():
    up = seeded(lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Upsample(scale_factor=2),
                                      nn.ConvTranspose2d(8, 8, 3, 1, 1)))  # fmt: skip
    field = vh.receptive_field(up, "3", (32, 40))
    for row, column in ((0, 0), (5, 7), (31, 39)):
        g = by_autograd(up, noise(1, 3, 32, 40), lambda out, at=(row, column): out[0, :, at[0], at[1]].abs())
        rows, columns = (g[0].abs().amax((0, d)).nonzero()[:, 0] for d in (2, 1))
        box = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
        top, left, bottom, right = field.box(row, column)
        assert top <= box[0] and left <= box[1] and bottom >= box[2] and right >= box[3]  # ReLUs that are off hide some
        assert bottom - top <= box[2] - box[0] + 2 and right - left <= box[3] - box[1] + 2


# --- the way back is cut, or the input is changed ---
class Cut(nn.Module):
    def __init__(self):
        super().__init__()
        self.b, self.h = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 4)

    def forward(self, x):
        with torch.no_grad():
            a = self.b(x).relu()
        return self.h(a.mean((2, 3)))


def test_a_gradient_that_is_cut_is_said():
    net, x = seeded(Cut), noise(1, 3, 32, 32)
    for call in (lambda: vh.saliency(net, x, 1), lambda: vh.smoothgrad(net, x, 1, samples=2),
                 lambda: vh.grad_cam(net, x, 1, layer="b"), lambda: vh.fool(net, x, 1, steps=1)):  # fmt: skip
        with pytest.raises(ValueError, match="no_grad"):
            call()


class InPlace(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        x -= 0.5
        return self.net(x)


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())
        self.h = nn.Linear(8, 4)

    def forward(self, x):
        return self.h(checkpoint(self.a, x, use_reentrant=False).mean((2, 3)))


def test_a_checkpointed_net_keeps_the_rule():
    net, x = seeded(Checkpointed), noise(1, 3, 32, 32)
    plain = nn.Sequential(net.a, nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.h)
    torch.testing.assert_close(vh.guided_backprop(net, x, 1), vh.guided_backprop(plain, x, 1))


def test_scripted_parts_and_hand_written_swish_are_refused_by_the_rules():
    half = small()
    half[0] = torch.jit.script(nn.Sequential(half[0], nn.ReLU()))
    with pytest.raises(ValueError, match="scripted or compiled"):
        vh.guided_backprop(half, noise(1, 3, 32, 32), 1)

    class Swish(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x)

    net = small()
    net[1] = nn.Sequential(nn.ReLU(), Swish())
    with pytest.raises(ValueError, match="swish"):
        vh.guided_backprop(net, noise(1, 3, 32, 32), 1)
    scripted = torch.jit.script(small())
    x = noise(1, 3, 32, 32)
    torch.testing.assert_close(vh.saliency(scripted, x, 1), vh.saliency(small(), x, 1))


# --- what outputs are taken for ---
def test_one_output_is_the_logit_of_class_1_and_both_can_be_asked_for():
    net, x = small(1), noise(3, 3, 32, 32)
    z = net(x).detach()[:, 0]
    with pytest.warns(UserWarning, match="logit of class 1 against class 0"):
        rows = vh.predict(net, x)
    for row, one in zip(rows, z, strict=True):
        assert {p.index: p.probability for p in row} == pytest.approx(
            {1: float(one.sigmoid()), 0: float((-one).sigmoid())})  # fmt: skip
    slope = by_autograd(net, x, lambda out: out[:, 0])
    torch.testing.assert_close(vh.gradient(net, x, 1), slope)
    torch.testing.assert_close(vh.gradient(net, x, 0), -slope)
    found = vh.occlusion(net, x, 0, patch=8, stride=8)
    hidden = x.clone()
    hidden[:, :, :8, 8:16] = 0
    torch.testing.assert_close(found.probability[:, 0, 1], (-net(hidden).detach()[:, 0]).sigmoid())
    with pytest.raises(ValueError, match="from 0 to 1"):
        vh.saliency(net, x, 2)


@pytest.mark.parametrize("end", [nn.Softmax(1), nn.Sigmoid(), nn.Sequential(nn.Softmax(1), nn.Identity())])
def test_a_net_that_ends_in_probabilities_keeps_them(end):
    net, x = small(5, end), noise(2, 3, 32, 32)
    with pytest.warns(UserWarning, match="taken for probabilities"):
        rows = vh.predict(net, x)
    for row, out in zip(rows, net(x).detach(), strict=True):
        assert [p.probability for p in row] == pytest.approx(out.sort(descending=True).values.tolist())
    torch.testing.assert_close(vh.occlusion(net, x, 2, patch=16, stride=16).logit,
                               vh.occlusion(net, x, 2, patch=16, stride=16).probability)  # fmt: skip
    curves = vh.insertion_deletion(net, x, 2, torch.rand(2, 32, 32), steps=2)
    torch.testing.assert_close(curves.deletion[:, 0], net(x).detach()[:, 2])


def test_fooling_a_net_with_one_output_begins_at_its_sigmoid():
    net = small(1)
    net[4].bias.data[:] = -3  # sure of class 0
    found = vh.fool(net, noise(1, 3, 32, 32).clamp(-1, 1), 1, confidence=0.6, steps=60)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

    def chance(pixels):
        return float(net((pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)).detach().sigmoid())

    assert found.history[0, 0] == pytest.approx(chance(found.start), abs=1e-5) and chance(found.start) < 0.2
    assert float(found.confidence) == pytest.approx(chance(found.picture), abs=1e-5)
    assert chance(found.picture) > chance(found.start) and bool(found.fooled) == (chance(found.rounded / 255) > 0.5)


def test_class_scores_come_out_of_containers_or_what_is_there_is_said():
    net, x = small(), noise(2, 3, 32, 32)
    want = net(x).detach()
    Pack = dataclasses.make_dataclass("Pack", ["scores", "loss"])
    for pack in (lambda out: {"scores": out, "loss": out.mean()}, lambda out: (out, out.sum()), lambda out: [out],
                 lambda out: Pack(out, None), lambda out: out[:, :, None, None],
                 lambda out: {"logits": out, "features": out * 2}):  # fmt: skip
        torch.testing.assert_close(vh.class_scores(Odd(net, pack), x), want)
    with pytest.raises(ValueError, match=r"'main' \(2, 4\); 'side' \(2, 1\): take a net that has them, or wrap"):
        vh.class_scores(Odd(net, lambda out: {"main": out, "side": out[:, :1]}), x)


# --- wrappers ---
def test_wrapped_nets_are_looked_through(lite):
    x, names = vh.to_input("koala", lite), vh.stages(lite)
    want, heat = vh.predict(lite, x)[0], vh.grad_cam(lite, x)
    for wrap in (nn.DataParallel, nn.Sequential, Holder, lambda net: nn.Sequential(nn.Sequential(net)),
                 lambda net: torch.compile(net, backend="eager")):  # fmt: skip
        net = wrap(lite)
        assert torch.equal(vh.to_input("koala", net), x)
        assert vh.predict(net, x)[0] == want and torch.equal(vh.grad_cam(net, x), heat)
        assert len(vh.stages(net)) == len(names) and all(map(str.endswith, vh.stages(net), names))
        layer = next(name for name, part in net.named_modules() if isinstance(part, nn.Conv2d))  # by its name out here
        assert torch.equal(vh.activations(net, x, layer), vh.activations(lite, x, vh.layer_names(lite, nn.Conv2d)[0]))
        if not hasattr(net, "_orig_mod"):  # compiled code does not call the hooks of parts
            with torch.no_grad(), vh.capture(net, layer) as acts:
                net(x)
            assert torch.equal(acts[layer], vh.activations(net, x, layer))


def test_a_normalisation_that_nobody_gave_is_said(lite):
    with pytest.warns(UserWarning, match="This Sequential does not say .* what ImageNet has; net.viz = "):
        vh.to_input("koala", small())
    with pytest.warns(UserWarning, match="what efficientnet_lite0 has"):  # it may normalise a second time
        vh.to_input("koala", nn.Sequential(nn.Identity(), lite))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mine = small()
        mine.viz = vh.images.ModelInfo("mine", mean=(0.5,) * 3, std=(0.25,) * 3, input_size=32, resize_size=32)
        for net in (mine, nn.DataParallel(mine), lite, Holder(lite), None):
            vh.to_input("koala", net)
    white = vh.to_input(Image.new("RGB", (40, 40), "white"), mine)
    assert white.shape == (1, 3, 32, 32) and torch.equal(white, torch.full_like(white, 2))


# --- nets that change what they are given ---
def test_a_net_that_works_in_place_is_given_a_copy():
    net, x = InPlace(small()).eval(), noise(2, 3, 32, 32)
    pure, kept = (lambda one: net.net(one - 0.5)), x.clone()
    torch.testing.assert_close(vh.gradient(net, x, 1), by_autograd(pure, x, lambda out: out[:, 1]))
    found = vh.occlusion(net, x, 1, patch=16, stride=16)
    hidden = x.clone()
    hidden[:, :, 16:, :16] = 0
    torch.testing.assert_close(found.logit[:, 1, 0], pure(hidden).detach()[:, 1])
    with torch.no_grad():
        want = pure(x).softmax(1).amax(1)
    assert [row[0].probability for row in vh.predict(net, x)] == pytest.approx(want.tolist())
    maps = torch.rand(2, 32, 32)
    torch.testing.assert_close(vh.insertion_deletion(net, x, 1, maps, steps=2, of="score").deletion[:, 0],
                               pure(x).detach()[:, 1])  # fmt: skip
    vh.activations(net, x, "net.0")
    assert torch.equal(x, kept)


def test_what_is_no_tensor_in_first_place_reaches_the_net_as_it_is():
    class Named(nn.Module):
        def forward(self, batch):
            return batch["picture"] if isinstance(batch, dict) else batch

    x = noise(1, 3, 8, 8)
    with vh.evaluating(Named()) as net:
        assert net(batch=x) is x and net({"picture": x}) is x


# --- pictures that are not what a net takes ---
def test_pixels_that_are_not_normalised_are_said():
    net = small()
    with pytest.warns(UserWarning, match="from 0 to 255.*vh.to_input") as said:
        vh.predict(net, torch.arange(256.0).repeat(12).view(1, 3, 32, 32))
    assert said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vh.predict(net, vh.to_input("koala", size=32))


def test_a_missing_batch_axis_is_said():
    net, x = small(), noise(3, 32, 32)
    for call in (vh.predict, vh.saliency, vh.occlusion, vh.evidence, vh.class_scores):
        with pytest.raises(ValueError, match=r"no batch axis: give x\[None\]"):
            call(net, x)


def test_a_net_that_normalises_by_its_batch_is_said():
    net = small()
    net[1] = nn.BatchNorm2d(8, track_running_stats=False)
    with pytest.warns(UserWarning, match="what is in a batch"):
        vh.saliency(net, noise(2, 3, 32, 32), 1)


def test_an_error_is_one_short_sentence():
    net, x = small(), noise(1, 3, 32, 32)
    for call in (lambda: vh.grad_cam(net, x, 1, layer="x" * 9000), lambda: vh.predict(net, x.repeat(1, 2, 1, 1)),
                 lambda: vh.saliency(net, x, "y" * 9000), lambda: vh.occlusion(net, x, 1, patch=2.5),
                 lambda: vh.grad_cam("squeezenet", x), lambda: vh.features(net, x, batch_size=-1)):  # fmt: skip
        with pytest.raises((ValueError, TypeError)) as caught:
            call()
        assert len(str(caught.value)) <= 600 and "\n" not in str(caught.value)
    assert pickle.loads(pickle.dumps(vh.to_input)) is vh.to_input  # for a loader's processes
    own = Odd(net, lambda out: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # one's own errors come as they are
        vh.predict(own, x)


def test_arguments_that_serve_as_the_type_named_are_taken():
    """numpy's numbers, tensors of one number, lists for tuples, arrays for rows of numbers; not True for a count."""
    net, x = small(), noise(2, 3, 32, 32)
    want = vh.occlusion(net, x, 1, patch=8, stride=8).drop
    for one, eight in ((np.int64(1), np.int32(8)), (torch.tensor(1), torch.tensor(8)), ("class 1", np.array(8))):
        assert torch.equal(vh.occlusion(net, x, one, patch=eight, stride=8).drop, want)
    assert torch.equal(vh.upsampled(want, [16, 16]), vh.upsampled(want, (16, 16)))
    rows = noise(12, 5)
    for given in (rows.numpy(), rows.tolist()):
        assert torch.equal(vh.neighbours(given, k=3).indices, vh.neighbours(rows, k=3).indices)
    vh.smoothgrad(net, x, 1, level=np.float32(0.1), samples=2, progress=0)
    for wrong in (True, 2.0, "8", torch.ones(2), None):
        with pytest.raises(TypeError, match="vh.occlusion: patch is a whole number, not"):
            vh.occlusion(net, x, 1, patch=wrong)


# --- numbers that are none ---
def test_nan_is_said_where_it_shows():
    bad, x = small(), noise(1, 3, 32, 32)
    bad[0].weight.data[0] = torch.nan
    for call in (lambda: vh.predict(bad, x), lambda: vh.occlusion(bad, x, 1, patch=8, stride=8),
                 lambda: vh.fool(bad, x, 1), lambda: vh.saliency(bad, x, 1)):  # fmt: skip
        with pytest.raises(ValueError, match="answers NaN"):
            call()
    nans = torch.full((1, 9, 9), torch.nan)
    assert vh.rank_correlation(nans, nans).isnan().all()


def test_one_nan_does_not_empty_an_overlay():
    picture, heat = vh.load_image("koala").crop((0, 0, 140, 140)), torch.rand(7, 7)
    clean = np.asarray(vh.overlay(picture, heat), float)
    heat[0, 0] = torch.nan
    holed = np.asarray(vh.overlay(picture, heat), float)
    assert np.abs(holed - clean)[60:, 60:].max() < 25 and holed[60:, 60:].std() > 10


# --- channels, kinds of numbers ---
def test_a_volume_has_gradients_and_their_means():
    net = seeded(lambda: nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
                                       nn.Linear(4, 3)))  # fmt: skip
    x = noise(2, 1, 8, 9, 10)
    slope = by_autograd(net, x, lambda out: out[:, 1])
    torch.testing.assert_close(vh.gradient(net, x, 1), slope)
    torch.testing.assert_close(vh.smoothgrad(net, x, 1, level=0.0, samples=3), slope)
    found = vh.integrated_gradients(net, x, 1, baseline=torch.zeros(1, 1, 1, 1, 1), steps=64)
    torch.testing.assert_close(found.flatten(1).sum(1), (net(x) - net(x * 0)).detach()[:, 1], rtol=0.02, atol=1e-3)
    for call in (vh.occlusion, vh.grad_cam, vh.cam):
        with pytest.raises(ValueError):
            call(net, x, 1)


def test_other_channels_are_right_or_refused():
    net, x = small(10, channels=1), noise(2, 1, 28, 28)
    base = torch.zeros(1, 1, 1, 1)
    found = vh.integrated_gradients(net, x, 3, baseline=base, steps=64)
    rise = (net(x) - net(torch.zeros_like(x))).detach()[:, 3]
    torch.testing.assert_close(found.sum((1, 2, 3)), rise, rtol=0.02, atol=1e-3)
    with pytest.raises(ValueError, match="give a baseline"):
        vh.integrated_gradients(net, x, 3)
    maps = vh.occlusion(net, x, 3, patch=8, stride=8)
    hidden = x.clone()
    hidden[:, :, :8, :8] = 0
    torch.testing.assert_close(maps.logit[:, 0, 0], net(hidden).detach()[:, 3])
    torch.testing.assert_close(vh.gradient(net, x, 3), by_autograd(net, x, lambda out: out[:, 3]))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_nets_take_ordinary_pictures(kind):
    full, x = small(), noise(1, 3, 32, 32)
    half = copy.deepcopy(full).to(kind)
    assert vh.predict(half, x)[0].probability == pytest.approx(vh.predict(full, x)[0].probability, abs=0.02)
    torch.testing.assert_close(vh.gradient(half, x, 1), vh.gradient(full, x, 1), rtol=0.1, atol=0.01)
    vh.show_images(torch.rand(2, 3, 9, 9).to(kind))


def test_a_bfloat16_net_can_be_maximised():
    found = vh.maximize_activation(small().bfloat16(), 1, size=32, steps=2)
    assert found.image.dtype == torch.float32 and torch.isfinite(found.image).all()


def test_integrated_gradients_are_exact_in_float64():
    net, x = small().double(), noise(1, 3, 32, 32, dtype=torch.float64)
    black = -(torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)
              / torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)).view(1, 3, 1, 1)  # fmt: skip
    torch.testing.assert_close(vh.integrated_gradients(net, x, 1, steps=20),
                               vh.integrated_gradients(net, x, 1, steps=20, baseline=black), rtol=0, atol=1e-14)


@pytest.mark.parametrize("scale", [1e-25, 1e20])
def test_tsne_lays_out_features_of_any_scale(scale):
    groups = torch.arange(60) % 3
    points = vh.tsne((noise(60, 10) + 8 * torch.eye(10)[groups]) * scale, perplexity=8)
    assert torch.isfinite(points).all() and points.std() > 1
    assert vh.knn_agreement(points, groups.tolist(), k=5, metric="euclidean") > 0.95


# --- pictures ---
def test_an_own_file_goes_before_the_library(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (300, 200), "red").save("zebra.webp")
    assert vh.load_image("zebra.webp").size == (300, 200) and vh.load_image("zebra").size != (300, 200)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert vh.load_image("~/zebra.webp").size == (300, 200)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_phones_heic_picture_is_read_upright(tmp_path, orientation):
    from pillow_heif import from_pillow
    picture = vh.load_image("koala")
    held = picture if orientation == 1 else picture.rotate(90, expand=True)  # 6: to be turned by 90 degrees clockwise
    exif = Image.Exif()
    exif[0x0112] = orientation
    from_pillow(held).save(tmp_path / "photo.heic", quality=95, exif=exif.tobytes())
    found = vh.load_image(tmp_path / "photo.heic")
    assert found.size == picture.size
    assert np.abs(np.asarray(found, float) - np.asarray(picture, float)).mean() < 2


def test_a_map_of_another_shape_than_the_picture_is_said():
    with pytest.warns(UserWarning, match="another shape"):
        vh.overlay(np.zeros((375, 500, 3), np.uint8), torch.rand(7, 7))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vh.overlay(np.zeros((375, 500, 3), np.uint8), torch.rand(12, 16))
        vh.overlay(vh.load_image("koala").resize((224, 224)), torch.rand(13, 13))


def test_a_method_of_ones_own_sees_the_net_in_eval_mode():
    net, x, seen = small(), noise(1, 3, 32, 32), []

    def own(model, x, target):
        seen.append(model.training)
        return vh.saliency(model, x, target)

    net.train()
    vh.class_sensitivity(net, x, (0, 1), own)
    assert seen == [False, False] and net.training


def test_fooling_is_explored_on_a_net_with_classes_of_its_own():
    net = small(3)
    found = vh.explore_fooling(net, "koala", steps=2).result
    assert found.label == f"class {int(net(vh.to_input('koala', net)).argmin())}"


def test_an_explorer_asks_for_channels_where_there_are_no_classes():
    net = seeded(lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3)))
    assert isinstance(vh.explore_cam(net, "koala").result.target, vh.Neuron)


def test_a_channel_of_channels_last_maps_is_the_last_axis():
    net, x = vh.load_model("swin_t", weights="random", device="cpu"), noise(1, 3, 224, 224)
    with torch.no_grad(), vh.capture(net, "features.1") as acts:
        net(x)
    maps = acts["features.1"].permute(0, 3, 1, 2)
    torch.testing.assert_close(vh.score(net, x, vh.Neuron("features.1", 5)), maps[:, 5].mean((1, 2)))
    torch.testing.assert_close(vh.score(net, x, vh.Neuron("features.1", 5, 3, 7)), maps[:, 5, 3, 7])
    torch.testing.assert_close(vh.channel_response(net, x, "features.1"), maps.relu().mean((2, 3)))
    torch.testing.assert_close(vh.features(net, x, layer="features.1"), maps.mean((2, 3)))


class Permuted(nn.Module):
    def __init__(self, *order):
        super().__init__()
        self.order = order

    def forward(self, x):
        return x.permute(self.order)


def test_rows_and_columns_of_channels_last_maps_keep_their_places():
    """On a picture that is no square, beside the same net with its channels where they usually are."""
    first, last = (seeded(lambda size=size: nn.Conv2d(*size, 3, 2, 1), seed=3) for size in ((3, 8), (8, 8)))
    end = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), seeded(lambda: nn.Linear(8, 4)))
    usual = nn.Sequential(first, nn.Identity(), nn.Identity(), last, *end).eval()
    odd = nn.Sequential(first, Permuted(0, 2, 3, 1), Permuted(0, 3, 1, 2), last, *end).eval()
    x = noise(2, 3, 32, 64)
    assert torch.equal(vh.grad_cam(odd, x, 1, layer="1", relu=False), vh.grad_cam(usual, x, 1, layer="1", relu=False))
    for mine, theirs in zip(vh.channel_maxima(odd, x, "1"), vh.channel_maxima(usual, x, "1"), strict=True):
        assert torch.equal(mine, theirs)
    assert vh.receptive_field(odd, "1", (32, 64)).box(5, 20) == vh.receptive_field(usual, "1", (32, 64)).box(5, 20)
    wanted = vh.Neuron("1", 3, 5, 20)
    assert torch.equal(vh.score(odd, x, wanted), vh.score(usual, x, wanted))


@pytest.mark.parametrize("special", [0, 1, 2])
def test_tokens_stand_row_by_row_behind_the_class_tokens(special):
    maps = noise(2, 5, 4, 4)
    tokens = torch.cat([noise(2, special, 5, seed=1), maps.flatten(2).transpose(1, 2)], 1)
    assert torch.equal(maps_of(tokens, (64, 64)), maps)
