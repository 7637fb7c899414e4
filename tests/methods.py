"""The methods and nets of the common suite (test_rules.py): a new method joins by one line in METHODS."""
from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

import vizhelpers as vh

# One net of every kind of graph: in-place and functional ReLU, Fire, Inception, residual, dense, depthwise,
# squeeze-and-excitation; and in each a layer in the middle and one near the end.
LAYERS = {
    "alexnet": "features.8",
    "vgg16": "features.21",
    "squeezenet1_1": "features.9",
    "resnet18": "layer3.1.conv2",
    "googlenet": "inception4c",
    "densenet121": "features.denseblock3",
    "mobilenet_v3_large": "features.12",
    "efficientnet_b0": "features.6",
}


class Method(NamedTuple):
    """How the suite calls a method: `call(net, x, target, layer)` gives a tensor or a tuple whose rows are pictures."""

    name: str
    call: Callable[[nn.Module, Tensor, object, str], Tensor | tuple]
    takes_layer: bool = False
    takes_target: bool = False
    nets: tuple = tuple(LAYERS)  # the nets for which it is defined


RELU_NETS = ("alexnet", "vgg16", "squeezenet1_1", "resnet18", "googlenet", "densenet121")
FEW = ("squeezenet1_1", "resnet18", "mobilenet_v3_large")  # for what only calls methods that run on all
GAP_NETS = ("squeezenet1_1", "resnet18", "googlenet", "densenet121", "efficientnet_b0")
METHODS = [
    Method("activations", lambda net, x, target, layer: vh.activations(net, x, layer), takes_layer=True),
    Method("channel_response", lambda net, x, target, layer: vh.channel_response(net, x, layer), takes_layer=True),
    Method("channel_maxima", lambda net, x, target, layer: tuple(vh.channel_maxima(net, x, layer)), takes_layer=True),
    Method("features", lambda net, x, target, layer: (vh.features(net, x), vh.features(net, x, layer=layer)),
           takes_layer=True),
    Method("class_scores", lambda net, x, target, layer: vh.class_scores(net, x)),
    Method("score", lambda net, x, target, layer: vh.score(net, x, target), takes_target=True),
    Method("gradient", lambda net, x, target, layer: vh.gradient(net, x, target), takes_target=True),
    Method("saliency", lambda net, x, target, layer: vh.saliency(net, x, target), takes_target=True),
    Method("gradient_x_input", lambda net, x, target, layer: vh.gradient_x_input(net, x, target), takes_target=True),
    Method("smoothgrad", lambda net, x, target, layer: vh.smoothgrad(net, x, target, samples=3), takes_target=True),
    Method("integrated_gradients", lambda net, x, target, layer: vh.integrated_gradients(net, x, target, steps=3),
           takes_target=True),
    Method("guided_backprop", lambda net, x, target, layer: vh.guided_backprop(net, x, target), takes_target=True,
           nets=RELU_NETS),
    Method("deconvnet_gradient", lambda net, x, target, layer: vh.deconvnet_gradient(net, x, target), takes_target=True,
           nets=RELU_NETS),
    Method("cam", lambda net, x, target, layer: vh.cam(net, x, target), takes_target=True, nets=GAP_NETS),
    Method("grad_cam", lambda net, x, target, layer: vh.grad_cam(net, x, target, layer=layer), takes_layer=True,
           takes_target=True),
    Method("grad_cam_plus_plus", lambda net, x, target, layer: vh.grad_cam_plus_plus(net, x, target),
           takes_target=True),
    Method("guided_grad_cam", lambda net, x, target, layer: vh.guided_grad_cam(net, x, target), takes_target=True,
           nets=RELU_NETS),
    Method("deconvnet", lambda net, x, target, layer: vh.deconvnet(net, x, layer, 5), takes_layer=True,
           nets=("alexnet", "vgg16")),
    Method("occlusion", lambda net, x, target, layer: vh.occlusion(net, x, target, patch=16, stride=24)[:5],
           takes_target=True),
    Method("evidence", lambda net, x, target, layer: tuple(vh.evidence(net, x, target, methods=["saliency", "edges"])
                                                           .values()), takes_target=True, nets=FEW),
    Method("insertion_deletion", lambda net, x, target, layer: tuple(vh.insertion_deletion(
        net, x, target, x.mean(1) if isinstance(x, Tensor) else x, steps=2, of="score")[1:]),
           takes_target=True, nets=FEW),
    Method("sanity_check", lambda net, x, target, layer: tuple(part.transpose(0, 1) for part in vh.sanity_check(
        net, x, target, "saliency", upto=vh.stages(net)[1:2])[1:]), takes_target=True, nets=FEW),
    Method("fool", lambda net, x, target, layer: tuple(vh.fool(net, x, target, steps=2)[:-1]), takes_target=True),
    Method("deep_dream", lambda net, x, target, layer: vh.deep_dream(net, x, layer, octaves=1, steps=1),
           takes_layer=True),
]


@cache
def net_of(name: str) -> nn.Module:
    """A net with random weights, fixed seed, float64, so that values can be compared to the last digits.

    The wide fully connected layers of AlexNet and VGG16 are narrowed, and VGG16's convolutions: the same graph for a
    twentieth of the time.
    """
    net = vh.load_model(name, weights="random", device="cpu")
    if name in ("alexnet", "vgg16"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if name == "vgg16":
                from torchvision.models import vgg

                depth = [16, 16, "M", 32, 32, "M", 64, 64, 64, "M", 128, 128, 128, "M", 128, 128, 128, "M"]
                net.features = vgg.make_layers(depth).eval().requires_grad_(False).to(memory_format=torch.channels_last)
            wide = [n for n, m in net.classifier.named_children() if isinstance(m, nn.Linear)]
            sizes = [net.classifier[int(wide[0])].in_features // (4 if name == "vgg16" else 1), 64, 64, 1000]
            for n, inputs, outputs in zip(wide, sizes[:-1], sizes[1:], strict=True):
                net.classifier[int(n)] = nn.Linear(inputs, outputs).requires_grad_(False)
    return net.double()


def pictures(count: int = 2, height: int = 64, width: int = 64) -> Tensor:
    """Seeded noise of the range of normalised pictures, `(N,3,H,W)` float64."""
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def leaves(result) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)
