"""The methods and nets of the common suite (test_rules.py): a new method joins by one line in METHODS."""
from __future__ import annotations

import math
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

    A quarter as wide, and where blocks are repeated they are fewer: the same graph for a fraction of the time. Batch
    norms know the pictures' means and variances, else the values of deep nets are too small to compare.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        if name == "densenet121":  # each of its layers takes what all before it gave: they cannot be left out later
            from torchvision.models import DenseNet  # after vizhelpers

            net = DenseNet(8, (3, 4, 4, 3), 16).requires_grad_(False)
        else:
            net = vh.load_model(name, weights="random", device="cpu")
            for stage in net.features[1:-1] if name == "efficientnet_b0" else []:
                del stage[2:]
            narrow(net)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the one batch counts in full
        net.to(memory_format=torch.channels_last).double().train()(pictures(8))
    return net.eval()


def narrow(net: nn.Module) -> None:
    """Leave a quarter of the channels in every layer, 64 where there are 4096, and scale a weight by what it has lost.
    The pictures' 3 channels and the 1000 classes stay."""
    def fewer(count: int) -> int:
        return count if count in (3, 1000) else 64 if count == 4096 else -(-count // 4)

    for module in net.modules():
        sizes = ("in_channels", "out_channels", "in_features", "out_features", "num_features", "groups")
        vars(module).update({key: fewer(value) for key, value in vars(module).items() if key in sizes and value > 1})
        for key, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if value.dim():
                shape = [fewer(size) for size in value.shape[:2]]
                kept = value[tuple(map(slice, shape))] * math.sqrt(value.shape[1] / shape[1] if value.dim() > 1 else 1)
                setattr(module, key, nn.Parameter(kept, False) if key in module._parameters else kept)


def transformer() -> nn.Module:
    """ViT-B/16 with two narrow layers: it takes 224x224 pixels and nothing else."""
    from torchvision.models import VisionTransformer  # after vizhelpers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VisionTransformer(224, 16, num_layers=2, num_heads=4, hidden_dim=64, mlp_dim=128).eval()


def pictures(count: int = 2, height: int = 64, width: int = 64) -> Tensor:
    """Seeded noise of the range of normalised pictures, `(N,3,H,W)` float64."""
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def leaves(result) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)
