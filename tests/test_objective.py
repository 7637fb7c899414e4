"""What a method explains: class scores and neurons, and the leaf that gradients are taken at."""
import pytest
import torch
from methods import net_of, pictures
from torch import nn

import vizhelpers as vh
from vizhelpers.objective import differentiable, input_gradient


def tiny() -> nn.Module:
    """Convolution, in-place ReLU, pooling, convolution, linear: float64, always the same, frozen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(5, 6, 3),
                            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))  # fmt: skip
    return net.double().eval().requires_grad_(False)


def test_score_is_the_logit_of_the_class_asked_for():
    net, x = tiny(), pictures(2, 8, 10)
    logits = net(x)
    assert torch.equal(vh.score(net, x, 2), logits[:, 2])
    assert torch.equal(vh.score(net, x, [3, 0]), torch.stack([logits[0, 3], logits[1, 0]]))
    assert torch.equal(vh.score(net, x, torch.tensor([1, 1])), logits[:, 1])
    assert torch.equal(vh.score(net, x), logits.amax(1))


def test_score_of_a_label_is_that_of_its_number():
    net, x = net_of("resnet18"), pictures(1)
    assert torch.equal(vh.score(net, x, "koala"), vh.score(net, x, 105))


def test_score_of_a_neuron_is_what_its_layer_puts_out_before_an_in_place_relu():
    net, x = tiny(), pictures(2, 8, 10)
    maps = net[0](x)  # (2, 5, 8, 10), signed
    assert (maps < 0).any()
    torch.testing.assert_close(vh.score(net, x, vh.Neuron("0", 4)), maps[:, 4].mean((1, 2)))
    assert torch.equal(vh.score(net, x, vh.Neuron(net[0], 4, 7, 9)), maps[:, 4, 7, 9])
    assert torch.equal(vh.score(net, x, vh.Neuron("6", 1)), net(x)[:, 1])


@pytest.mark.parametrize("neuron, says", [
    (vh.Neuron("0", 5), "channels 0 to 4, not 5"),
    (vh.Neuron("0", -1), "channels 0 to 4"),
    (vh.Neuron("0", 1, 8, 0), r"no unit at row and column \(8, 0\)"),
    (vh.Neuron("0", 1, 3), "no unit"),
    (vh.Neuron("6", 1, 0, 0), "no unit"),
    (vh.Neuron("7", 1), "nearest"),
])  # fmt: skip
def test_wrong_neurons_are_named(neuron, says):
    with pytest.raises(ValueError, match=says):
        vh.score(tiny(), pictures(1, 8, 10), neuron)


def test_a_net_of_convolutions_has_no_class_but_has_neurons():
    net = vh.load_model("vgg16", weights="random", device="cpu")
    net.classifier, net.avgpool = nn.Identity(), nn.Identity()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    net.forward = lambda x: net.features(x)
    with pytest.raises(ValueError, match="not class scores"):
        vh.saliency(net, x, 5)
    assert vh.saliency(net, x, vh.Neuron("features.28", 5)).shape == (1, 64, 64)


def test_the_leaf_is_a_copy_and_gradients_are_on_whatever_is_around():
    net, x = tiny(), pictures(1, 8, 10)
    for outer in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with outer(), differentiable(net, x) as leaf:
            assert leaf.requires_grad and leaf.is_leaf and torch.is_grad_enabled()
            assert leaf.data_ptr() != x.data_ptr()
    assert not x.requires_grad


def test_a_unit_sees_its_receptive_field_only():
    net, x = tiny(), pictures(1, 8, 10)
    g = input_gradient(net, x, vh.Neuron("0", 2, 4, 6))[0]
    inside = torch.zeros(8, 10, dtype=torch.bool)
    inside[3:6, 5:8] = True
    assert torch.equal(g[:, 3:6, 5:8], net[0].weight[2]) and not g[:, ~inside].any()
