"""CAM and its kin: hand-computed cases, identities, other libraries where they are right and the number where not."""
import warnings
from itertools import product

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from methods import net_of, pictures
from torch import nn

import vizhelpers as vh
from vizhelpers.methods.cam import map_layers

TOY = [([1, 1, 1, 1], [1, 1, 1, 1], 2 / 3), ([1, 0, 0, 0], [1, 0, 0, 0], 1 / 3),
       ([2, 1, 0, 0], [0.5, -0.5, 0, 0], 1 / 7)]  # fmt: skip


def four(values, scale=1.0):
    return scale * torch.tensor(values, dtype=torch.float64).view(1, 1, 2, 2)


class Small(nn.Module):
    """Convolution, ReLU, average pooling, linear layer; 2 channels, 3 classes; all weights set by hand."""

    def __init__(self, weights=((1.0, -1.0), (-1.0, -1.0), (2.0, 0.5)), bias=0.0, after=None):
        super().__init__()
        self.conv, self.relu, self.after = nn.Conv2d(3, 2, 1), nn.ReLU(inplace=True), after or nn.Identity()
        self.fc = nn.Linear(2, 3)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).view(2, 3, 1, 1))
            self.conv.bias.fill_(bias)
            self.fc.weight.copy_(torch.tensor(weights))
            self.fc.bias.copy_(torch.tensor([0.25, 0.5, -1.0]))
        self.double().eval()

    def forward(self, x):
        return self.fc(self.after(self.relu(self.conv(x))).mean((2, 3)))


SMALL_X = torch.tensor([[[[1.0, 2, 0], [0, 4, 0]], [[0, 1.0, 0], [3, 0, 0]], [[9.0, 9, 9], [9, 9, 9]]]]).double()


# ---- Grad-CAM++ -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("maps", "g", "weight"), TOY)
def test_plus_plus_toy_numbers(maps, g, weight):
    found = vh.plus_plus_weights(four(maps), four(g))
    assert found.shape == (1, 1) and abs(float(found) - weight) < 1e-6


def test_plus_plus_is_equation_19_unit_by_unit():
    generator = torch.Generator().manual_seed(3)
    maps = torch.rand(2, 3, 4, 5, generator=generator).double()
    g = torch.randn(2, 3, 4, 5, generator=generator).double()
    g[0, 0, :2] = 0
    want = torch.zeros(2, 3).double()
    for n, k, i, j in product(range(2), range(3), range(4), range(5)):
        a, v = float(maps[n, k].sum()), float(g[n, k, i, j])
        want[n, k] += v**2 / (2 * v**2 + a * v**3) * max(v, 0) if v else 0
    torch.testing.assert_close(vh.plus_plus_weights(maps, g), want, rtol=1e-12, atol=1e-14)


def test_plus_plus_alpha_is_the_ratio_of_higher_derivatives():
    """Equation 10 of the paper for Y = exp(S), S linear in A, by differentiating three times."""
    a = torch.tensor([0.3, 0.8, 0.0, 0.5], dtype=torch.float64, requires_grad=True)
    g = torch.tensor([0.4, -0.2, 0.7, 0.1], dtype=torch.float64)
    y, weight = (a * g).sum().exp(), 0.0
    (first,) = torch.autograd.grad(y, a, create_graph=True)
    for i in range(4):
        second = torch.autograd.grad(first[i], a, create_graph=True)[0][i]
        third = torch.autograd.grad(second, a, retain_graph=True)[0][i]
        alpha = second / (2 * second + a.sum() * third)
        weight += (alpha * (first[i] / y).relu()).item()
    assert abs(float(vh.plus_plus_weights(a.detach().view(1, 1, 2, 2), g.view(1, 1, 2, 2))) - weight) < 1e-12


@pytest.mark.parametrize("scale", [1e-3, 1e-9, 1e-25])
def test_plus_plus_at_small_gradients(scale):
    """alpha goes to one half as g goes to 0; also in float32, where g^2 would underflow to 0."""
    found = vh.plus_plus_weights(four([1, 1, 1, 1]).float(), four([1, 1, -1, 0], scale).float())
    assert abs(float(found) / scale - 1) < 3 * scale + 1e-6


def test_plus_plus_without_positive_gradient_is_zero_and_never_nan():
    for maps, g in ((four([0, 0, 0, 0]), four([0, 0, 0, 0])), (four([2, 0, 0, 0]), four([-1, -1, -1, 0]))):
        assert vh.plus_plus_weights(maps, g).tolist() == [[0.0]]


def test_pytorch_grad_cam_swamps_small_gradients_with_its_epsilon():
    """It adds 1e-6 to the denominator: right at gradients of 1, 51 times too small at gradients of 1e-4."""
    from pytorch_grad_cam import GradCAMPlusPlus

    def theirs(maps, g):
        return float(GradCAMPlusPlus.get_cam_weights(None, None, None, None, maps.numpy(), g.numpy())[0, 0])

    for maps, g, weight in TOY:
        assert abs(theirs(four(maps), four(g)) - weight) < 1e-5
    small = four([1, 1, 1, 1], 1e-4)
    right = float(vh.plus_plus_weights(four([1, 1, 1, 1]), small))
    assert abs(right - 4e-4 / (2 + 4e-4)) < 1e-12
    assert 50 < right / theirs(four([1, 1, 1, 1]), small) < 52


def test_torchcam_never_divides():
    """Its division works on a copy (`alpha[mask].div_`), so the weight is sum ReLU(g)^3: 4 where 0.6667 is right."""
    from torchcam.methods import GradCAMpp

    net = Small(weights=((4.0, 0.0), (0, 0), (0, 0)))  # g = 4 / 4 positions = 1
    x = torch.ones(1, 3, 2, 2).double()
    with GradCAMpp(net, "relu", input_shape=(3, 2, 2)) as extractor:
        weights = extractor._get_weights(0, net(x.requires_grad_()))[0]
    assert weights[0].tolist() == [4.0, 0.0]
    ours = vh.grad_cam_plus_plus(net, x.detach(), 0, layer="relu")
    torch.testing.assert_close(ours, torch.full((1, 2, 2), 2 / 3).double())


def test_plus_plus_map_by_hand():
    maps, (h, w) = SMALL_X[:, :2], (2, 3)
    # class 0: g = 1/6 on channel 0, -1/6 on channel 1; sum of channel 0 is 7
    weight = h * w * (1 / 6) / (2 + 7 / 6)
    torch.testing.assert_close(vh.grad_cam_plus_plus(Small(), SMALL_X, 0, layer="relu"), weight * maps[:, 0])


# ---- CAM and Grad-CAM -----------------------------------------------------------------------------------------------
def test_cam_and_grad_cam_by_hand():
    net = Small()
    by_hand = SMALL_X[:, 0] - SMALL_X[:, 1]  # class 0 weighs the channels 1 and -1
    assert torch.equal(vh.cam(net, SMALL_X, 0), by_hand)
    torch.testing.assert_close(vh.grad_cam(net, SMALL_X, 0, layer="relu", relu=False), by_hand / 6)
    torch.testing.assert_close(vh.grad_cam(net, SMALL_X, 0), by_hand.relu() / 6)


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "densenet121", "efficientnet_b0"])
def test_cam_identity_and_grad_cam(name):
    """The mean of the map plus the bias is the logit; Grad-CAM before its ReLU is the map divided by h*w."""
    net, x = net_of(name), pictures(2, 64, 96)
    maps = vh.cam(net, x, [7, 400])
    head = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    logits = vh.class_scores(net, x)
    want = logits[[0, 1], [7, 400]] - head.bias[[7, 400]]
    torch.testing.assert_close(maps.mean((1, 2)), want, rtol=1e-5, atol=1e-12)
    signed = vh.grad_cam(net, x, [7, 400], relu=False)
    if name == "densenet121":  # its last layer stands before a functional ReLU, CAM's maps behind it
        assert signed.shape == maps.shape
    else:
        torch.testing.assert_close(signed * maps[0].numel(), maps, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "squeezenet1_1"])
def test_cam_identity_on_the_embedded_nets(name):
    net = vh.load_model(name, device="cpu")
    x = vh.to_input("koala", net)
    logit = float(vh.class_scores(net, x)[0, 105])
    heat = vh.cam(net, x, "koala").double()
    if name == "squeezenet1_1":  # its ReLU stands between the map and the mean
        assert float(heat.min()) < 0 and abs(float(heat.relu().mean()) / logit - 1) < 1e-5
    else:
        assert abs((float(heat.mean()) + float(net.classifier[1].bias[105])) / logit - 1) < 1e-5


def test_cam_takes_the_most_probable_class_by_default():
    net, x = net_of("resnet18"), pictures()
    best = vh.class_scores(net, x).argmax(1)
    assert torch.equal(vh.cam(net, x), vh.cam(net, x, best))
    assert torch.equal(vh.grad_cam(net, x), vh.grad_cam(net, x, best))


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "mobilenet_v3_large"])
def test_cam_refuses_other_ends_in_one_sentence(name):
    with pytest.raises(ValueError, match=r"global average pooling and then one linear layer.*use grad_cam\.$"):
        vh.cam(net_of(name), pictures(1), 7)


def test_cam_refuses_what_only_looks_like_it():
    class Maximum(Small):
        def forward(self, x):
            return self.fc(self.relu(self.conv(x)).amax((2, 3)))

    class Probability(Small):
        def forward(self, x):
            return super().forward(x).softmax(1)

    for net in (Maximum(), Probability()):
        with pytest.raises(ValueError, match="use grad_cam"):
            vh.cam(net, SMALL_X, 0)
    with pytest.raises(ValueError, match="use grad_cam"):
        vh.cam(Small(), SMALL_X, vh.Neuron("conv", 0))


@pytest.mark.parametrize(("name", "layers"), [
    ("resnet18", ["layer4", "layer2.0", "layer3.1.conv2"]), ("googlenet", ["inception4c"]),
    ("squeezenet1_1", ["features.12", "features.7"]), ("densenet121", ["features.norm5"]),
])  # fmt: skip
def test_grad_cam_equals_captum(name, layers):
    net, x = net_of(name), pictures(2, 64, 96)
    for layer in layers:
        theirs = LayerGradCam(net, vh.resolve_layer(net, layer)[1]).attribute(x.clone(), target=7)
        torch.testing.assert_close(vh.grad_cam(net, x, 7, layer=layer, relu=False), theirs[:, 0].detach())


def test_grad_cam_equals_pytorch_grad_cam():
    """A net that keeps the picture's size: theirs stretches by OpenCV and scales to 0..1, and only the latter bites."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1), nn.ReLU(),
                        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 5)).eval()  # fmt: skip
    x = torch.randn(2, 3, 12, 20)
    with GradCAM(net, [net[3]]) as cam:
        theirs = torch.from_numpy(np.array(cam(x, [ClassifierOutputTarget(2)] * 2)))
    ours = vh.grad_cam(net, x, 2, layer="3")
    low, high = ours.amin((1, 2), keepdim=True), ours.amax((1, 2), keepdim=True)
    torch.testing.assert_close((ours - low) / (high - low), theirs.float(), rtol=1e-4, atol=1e-4)


def test_neuron_as_target_on_a_net_without_classes():
    net = vh.load_model("vgg16", device="cpu")
    x = vh.to_input("koala", net, size=64)
    heat = vh.grad_cam(net, x, vh.Neuron("features.28", 3), layer="features.22")
    with vh.capture(net, "features.22", "features.28") as acts:
        net(x.clone().requires_grad_())
    (g,) = torch.autograd.grad(acts["features.28"][0, 3].mean(), acts["features.22"])
    want = (g.mean((2, 3), keepdim=True) * acts["features.22"]).sum(1).relu()
    torch.testing.assert_close(heat, want.detach())


def test_layers_that_do_not_fit_are_named():
    net, x = net_of("resnet18"), pictures(1)
    with pytest.raises(ValueError, match="reaches layer 'layer4'"):
        vh.grad_cam(net, x, vh.Neuron("layer2", 0), layer="layer4")
    with pytest.raises(ValueError, match="not maps"):
        vh.grad_cam(net, x, 7, layer="fc")
    with pytest.raises(ValueError, match="ran 2 times"):
        vh.grad_cam(net, x, 7, layer="layer4.1.relu")
    with pytest.raises(ValueError, match="This Sequential has no late maps"):
        vh.grad_cam(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 5)).double(), x, 1)
    assert torch.equal(vh.grad_cam(net, x, 7, layer=net.layer3), vh.grad_cam(net, x, 7, layer="layer3"))


# ---- layers ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "layer"), [
    ("alexnet", "features.11"), ("vgg16", "features.29"), ("squeezenet1_1", "features.12"), ("resnet18", "layer4.1"),
    ("googlenet", "inception5b"), ("densenet121", "features.norm5"), ("mobilenet_v3_large", "features.16"),
    ("efficientnet_b0", "features.8"),
])  # fmt: skip
def test_cam_layer(name, layer):
    assert vh.cam_layer(net_of(name), pictures(1)) == layer


def test_cam_layer_of_a_tiny_picture_is_not_kept_for_others():
    net = vh.load_model("resnet18", weights="random", device="cpu")
    assert vh.cam_layer(net, torch.zeros(1, 3, 32, 32)) == "layer3.1"  # layer4 is 1x1 there
    assert vh.cam_layer(net, torch.zeros(1, 3, 64, 64)) == "layer4.1"


def test_a_net_that_was_changed_is_looked_at_again():
    net = Small()
    assert vh.cam_layer(net, SMALL_X) == "relu"
    net.relu = nn.Sequential(nn.ReLU(), nn.ReLU())
    assert vh.cam_layer(net, SMALL_X) == "relu.1"
    torch.testing.assert_close(vh.grad_cam(net, SMALL_X, 0), vh.grad_cam(Small(), SMALL_X, 0))
    net.fc = nn.Sequential(nn.Dropout(), net.fc)  # CAM's head has another name now
    assert torch.equal(vh.cam(net, SMALL_X, 0), vh.cam(Small(), SMALL_X, 0))


def test_map_layers_are_the_blocks_on_the_way():
    names = map_layers(net_of("squeezenet1_1"), pictures(1))
    fires = [f"features.{n}" for n in (3, 4, 6, 7, 9, 10, 11, 12)]
    assert names == ["features.0", "features.1", *fires, "classifier.1", "classifier.2"]


# ---- upsampling, empty maps, Guided Grad-CAM ------------------------------------------------------------------------
def test_upsampling_of_one_hot_cell():
    """A hot cell of a 5x7 map on 160x224: the tent of bilinear interpolation around the cell's own centre."""
    maps = torch.zeros(1, 5, 7).double()
    maps[0, 1, 4] = 3.0
    found = vh.upsampled(maps, (160, 224))[0]

    def tent(length, cell):
        return (1 - (torch.arange(length) + 0.5 - (cell + 0.5) * 32).abs().double() / 32).clamp(min=0)

    torch.testing.assert_close(found, 3.0 * tent(160, 1)[:, None] * tent(224, 4)[None])
    assert found.shape == (160, 224) and found.argmax() in (47 * 224 + 143, 47 * 224 + 144, 48 * 224 + 143)
    torch.testing.assert_close(found.sum(), torch.tensor(3.0 * 32 * 32).double())


@pytest.mark.parametrize(("net", "target", "cause"), [
    (Small(), 1, "negative before the ReLU"),  # both channels speak against class 1
    (Small(bias=-100.0), 0, "silent"),
    (Small(after=nn.Threshold(50.0, 0.0)), 0, "gradient is 0 everywhere"),
])  # fmt: skip
def test_an_empty_map_is_zeros_with_its_cause(net, target, cause):
    for method in (vh.grad_cam, vh.grad_cam_plus_plus):
        with pytest.warns(UserWarning, match=cause) as caught:
            found = method(net, SMALL_X, target, layer="relu")
        assert found.shape == (1, 2, 3) and not found.any()
        assert len(caught) == 1 and caught[0].filename == __file__


def test_the_empty_picture_of_a_batch_is_named():
    both = torch.cat([SMALL_X, torch.ones_like(SMALL_X)])  # there channel 1 outweighs channel 0 everywhere
    with pytest.warns(UserWarning, match="for picture 1: all weighted sums"):
        vh.grad_cam(Small(weights=((1.0, -20.0), (0, 0), (0, 0))), both, 0, layer="relu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert vh.grad_cam(Small(), SMALL_X, 0).any()  # no warning where there is something


def test_guided_grad_cam_is_the_product_for_one_class():
    net, x = net_of("squeezenet1_1"), pictures(2, 64, 96)
    heat = vh.upsampled(vh.grad_cam(net, x, [7, 400]), (64, 96))
    want = heat[:, None] * vh.guided_backprop(net, x, [7, 400])
    torch.testing.assert_close(vh.guided_grad_cam(net, x, [7, 400]), want)
    best = vh.class_scores(net, x).argmax(1)
    assert torch.equal(vh.guided_grad_cam(net, x), vh.guided_grad_cam(net, x, best))
