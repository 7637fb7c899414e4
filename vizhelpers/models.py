"""Nets: load one with its preprocessing and class names attached (`net.viz`), from embedded or official weights."""
import difflib
from collections import OrderedDict
from unittest import mock

import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from . import weights as stored
from .device import device as best_device
from .images import ModelInfo
from .targets import imagenet_categories

CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
CONVOLUTIONS = ("alexnet", "vgg16")  # embedded without their fully connected layers
SIN_URL = ("https://bitbucket.org/robert_geirhos/texture-vs-shape-pretrained-models/raw/"
           "6f41d2e86fc60566f78de64ecff35cc61eb6436f/resnet50_train_60_epochs-c8e5653e.pth.tar")  # fmt: skip
LITE0_STAGES = ((1, 16, 1, 3, 1), (6, 24, 2, 3, 2), (6, 40, 2, 5, 2), (6, 80, 3, 3, 2), (6, 112, 3, 5, 1),
                (6, 192, 4, 5, 2), (6, 320, 1, 3, 1))  # widen, channels, blocks, kernel, first stride  # fmt: skip


def load_model(name: str = "squeezenet1_1", *, weights: str = "auto", device=None) -> nn.Module:
    """A net ready to look into: eval mode, frozen, channels_last, with `.viz` (input size, mean, std, categories, ...).
    `name`: squeezenet1_1, efficientnet_lite0, the convolutions of alexnet and vgg16 (all embedded: no hub needed), or
    any classifier of torchvision. `weights`: "auto" (embedded, else IMAGENET1K_V1), "embedded", an official name (needs
    a network once), "random" (always the same) or "SIN" (resnet50 trained on Stylized-ImageNet). Lesson 00."""
    known = [*stored.EMBEDDED, *torchvision.models.list_models(module=torchvision.models)]
    if name not in known:
        near = difflib.get_close_matches(str(name).lower(), dict.fromkeys(known), n=4, cutoff=0.4) or stored.EMBEDDED
        raise ValueError(f"There is no net called {name!r}; nearest: {', '.join(near)}.")
    if weights == "auto":
        weights = "embedded" if name in stored.EMBEDDED else "IMAGENET1K_V1"
    with torch.random.fork_rng(devices=[]):  # building a net draws random numbers; the caller's stay as they are
        torch.manual_seed(0)
        if weights == "embedded":
            net, about = _embedded(name)
        elif weights == "random":
            net, about = _built(name), dict(weights="random numbers (torch seed 0): an untrained net")
        elif weights == "SIN" and name == "resnet50":
            net, about = _built(name), dict(weights="trained on Stylized-ImageNet (Geirhos et al. 2019)")
            state = stored.official_state_dict(SIN_URL)["state_dict"]
            net.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
        else:
            net, about = _official(name, weights)
    if name == "efficientnet_lite0":
        about |= dict(mean=(127 / 255,) * 3, std=(128 / 255,) * 3, interpolation="bicubic")
    net.viz = ModelInfo(name, categories=imagenet_categories(), **about)
    return net.eval().requires_grad_(False).to(device=device or best_device(), memory_format=torch.channels_last)


def _built(name: str) -> nn.Module:
    if name == "efficientnet_lite0":
        return EfficientNetLite0()
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}  # theirs takes a minute
    return torchvision.models.get_model(name, weights=None, **options)


def _embedded(name: str) -> tuple[nn.Module, dict]:
    state = safetensors.torch.load_file(stored.embedded(name))
    with torch.device("meta"):  # no time spent on numbers that the file overwrites
        net = _built(name)
    if name in CONVOLUTIONS:
        net = nn.Sequential(OrderedDict(features=net.features))
    net.load_state_dict(fold_caffe_input(state) if name == "squeezenet1_1" else state, assign=True)
    about = f"embedded: {stored.EMBEDDED[name].about}, from {stored.EMBEDDED[name].requirement}"
    return net, dict(weights=about, has_classifier=name not in CONVOLUTIONS)


def fold_caffe_input(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Let a net made for Caffe's BGR 0..255 minus mean take ImageNet-normalised RGB, by changing its first layer."""
    # with v the normalised value, Caffe's input is 255 (std v + mean) - caffe_mean: linear, so weight and bias take it
    mean, std = torch.tensor(ModelInfo.mean).double(), torch.tensor(ModelInfo.std).double()
    offset = 255 * mean - torch.tensor(CAFFE_MEAN_BGR).double().flip(0)
    weight = state["features.0.weight"].double().flip(1)  # BGR -> RGB
    bias = state["features.0.bias"].double() + (weight.sum((2, 3)) * offset).sum(1)
    weight = weight * (255 * std)[:, None, None]
    return state | {"features.0.weight": weight.float(), "features.0.bias": bias.float()}


def _official(name: str, weights: str) -> tuple[nn.Module, dict]:
    choices = {} if name == "efficientnet_lite0" else torchvision.models.get_model_weights(name).__members__
    if weights not in choices:
        also = ["auto", "random"] + ["embedded"] * (name in stored.EMBEDDED) + ["SIN"] * (name == "resnet50")
        raise ValueError(f"{name} has no weights {weights!r}; there are: {', '.join([*choices, *also])}.")
    official = choices[weights]
    state = stored.official_state_dict(official.url)
    with mock.patch.object(official, "get_state_dict", lambda **_: state):  # from our cache, checked
        net = torchvision.models.get_model(name, weights=official)  # torchvision knows what is special about each net
    how = official.transforms()
    sizes = dict(input_size=how.crop_size[0], resize_size=how.resize_size[0], interpolation=how.interpolation.value)
    return net, dict(weights=f"torchvision's official {weights}", mean=tuple(how.mean), std=tuple(how.std), **sizes)


def _conv(ins: int, outs: int, kernel: int = 1, stride: int = 1, groups: int = 1, relu: bool = True) -> nn.Sequential:
    """Convolution, batch norm, ReLU6. At stride 2 TensorFlow pads even sizes more on the right and below than left."""
    parts = OrderedDict()
    if stride == 2:
        parts["pad"] = nn.ZeroPad2d(((kernel - 2) // 2, (kernel - 1) // 2) * 2)
    parts["conv"] = nn.Conv2d(ins, outs, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups, bias=False)
    parts["bn"] = nn.BatchNorm2d(outs, eps=1e-3)
    if relu:
        parts["relu"] = nn.ReLU6(inplace=True)
    return nn.Sequential(parts)


class InvertedResidual(nn.Sequential):
    """Widen (1x1), filter each channel by itself, narrow (1x1); added to the input where the shapes agree."""
    def __init__(self, ins: int, outs: int, kernel: int, stride: int, widen: int):
        super().__init__()
        if widen > 1:
            self.expand = _conv(ins, ins * widen)
        self.depthwise = _conv(ins * widen, ins * widen, kernel, stride, groups=ins * widen)
        self.project = _conv(ins * widen, outs, relu=False)
        self.residual = stride == 1 and ins == outs

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-B0 without squeeze-and-excitation, ReLU6 for SiLU, fixed stem and head; torchvision has none."""
    def __init__(self):
        super().__init__()
        blocks, ins = [_conv(3, 32, 3, 2)], 32
        for widen, outs, repeats, kernel, stride in LITE0_STAGES:
            for i in range(repeats):
                blocks.append(InvertedResidual(ins, outs, kernel, stride if i == 0 else 1, widen))
                ins = outs
        self.features = nn.Sequential(*blocks, _conv(ins, 1280))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))
