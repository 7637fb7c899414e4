"""Nets: load one with its preprocessing and class names attached, list its layers, ask it what it sees."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from . import weights as stored
from .device import check_same_device, device_of
from .device import device as best_device
from .efficientnet_lite0 import EfficientNetLite0
from .hooks import evaluating

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
SIN_URL = (
    "https://bitbucket.org/robert_geirhos/texture-vs-shape-pretrained-models/raw/"
    "6f41d2e86fc60566f78de64ecff35cc61eb6436f/resnet50_train_60_epochs-c8e5653e.pth.tar"
)


@dataclass(frozen=True)
class ModelInfo:
    """What a net expects and where it comes from (`net.viz`): mean and std are for RGB in 0..1, sizes are pixels."""

    name: str
    input_size: int = 224
    resize_size: int = 256
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bilinear"
    categories: tuple[str, ...] = ()
    weights: str = ""
    has_classifier: bool = True


class Prediction(NamedTuple):
    """One line of a net's answer: softmax probability and logit of a class."""

    label: str
    probability: float
    index: int
    logit: float


def prepare_torchvision() -> None:
    """Make `import torchvision` work where its compiled operators do not fit this torch (CPU torch on Linux).

    There the import stops at `torchvision::nms`, an operator that no lesson uses. Declaring the two schemas it looks
    for is enough for the Python part. Nothing is declared where the real operators load. `import vizhelpers` calls it.

    Example:
        >>> vh.prepare_torchvision(); import torchvision

    Taught in: 00_start_here.
    """
    spec = None if "torchvision" in sys.modules else importlib.util.find_spec("torchvision")
    if spec is None or sys.platform != "linux" or hasattr(torch.ops.torchvision, "nms"):
        return
    for library in Path(spec.submodule_search_locations[0]).glob("_C*.so"):
        try:
            torch.ops.load_library(library)
            return  # a matching pair: the operators are real
        except OSError:
            continue  # built for another torch
    for name in [name for name in sys.modules if name.startswith("torchvision.")]:
        del sys.modules[name]  # halves that a failed import left behind
    declared = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        declared.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torch._vizhelpers_declared = declared  # dropped (also by a reload of this file), it would take the schemas along


def load_model(
    name: str = "squeezenet1_1", *, weights: str = "auto", device: torch.device | str | None = None
) -> nn.Module:
    """A net ready to look into: eval mode, frozen parameters, channels_last, with `.viz` (see `ModelInfo`).

    Args:
        name: an embedded net (squeezenet1_1, alexnet, vgg16, efficientnet_lite0: no hub needed; the embedded alexnet
            and vgg16 are their convolutions only, `features.N`, and return the last feature map) or any classifier
            of torchvision.
        weights: "auto" (embedded if there are any, else IMAGENET1K_V1), "embedded", an official name such as
            "IMAGENET1K_V1" (needs a network once), "random" (the whole architecture, always the same numbers),
            or "SIN" (resnet50 trained on Stylized-ImageNet).
        device: where to put it; by default `vh.device()`.

    Returns:
        The module. It takes `(N,3,H,W)`, normalised with `net.viz.mean` and `net.viz.std`.

    Raises:
        ValueError: unknown net or weights; the nearest names are listed.
        RuntimeError: the weights cannot be had; the sentence says what to do.

    Example:
        >>> net = vh.load_model("squeezenet1_1")
        >>> net.viz.input_size
        224

    Source: Iandola et al. 2016 (SqueezeNet v1.1), Krizhevsky 2014, Simonyan & Zisserman 2015, Tan & Le 2019.

    Taught in: 00_start_here.
    """
    _check_name(name)
    if weights == "auto":
        weights = "embedded" if name in stored.EMBEDDED else "IMAGENET1K_V1"
    with torch.random.fork_rng(devices=[]):  # building a net draws random numbers; the caller's stay as they are
        torch.manual_seed(0)
        if weights == "embedded":
            net, info = _embedded(name)
        elif weights == "random":
            net = EfficientNetLite0() if name == "efficientnet_lite0" else _build(name)
            info = _info(name, None, "random numbers (torch seed 0): an untrained net")
        elif weights == "SIN":
            net, info = _stylized(name)
        else:
            net, info = _official(name, weights)
    net.viz = info
    net.eval().requires_grad_(False)
    return net.to(device=best_device() if device is None else device, memory_format=torch.channels_last)


def layer_names(model: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...] | None = None) -> list[str]:
    """Dotted names of a net's layers, in the order in which they are defined.

    Args:
        model: any module.
        kinds: a module type or several, e.g. `nn.Conv2d`; by default every leaf (module without parts).

    Returns:
        Names for `vh.capture` and every `layer=`.

    Example:
        >>> vh.layer_names(net, torch.nn.Conv2d)[:2]
        ['features.0', 'features.3.squeeze']

    Taught in: 00_start_here.
    """
    named = [(name, module) for name, module in model.named_modules() if name]
    if kinds is None:
        return [name for name, module in named if next(module.children(), None) is None]
    return [name for name, module in named if isinstance(module, kinds)]


def categories(model: nn.Module) -> tuple[str, ...]:
    """The class names of a net, in the order of its outputs.

    Args:
        model: any classifier. Without `.viz` the names are ImageNet's for 1000 outputs, else "class 0", "class 1", ...

    Returns:
        One name per class.

    Raises:
        ValueError: the net has no classifier, or the number of its classes cannot be seen.

    Example:
        >>> vh.categories(net)[967]
        'espresso'

    Taught in: 00_start_here.
    """
    info = getattr(model, "viz", None)
    if isinstance(info, ModelInfo):
        _check_classifier(model)
        if info.categories:
            return info.categories
    last = [module for module in model.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    linear = [module for module in last if isinstance(module, nn.Linear)]
    if not last:
        raise ValueError(f"{type(model).__name__} has no linear layer or convolution, so no classes to count.")
    return _labels(linear[-1].out_features if linear else last[-1].out_channels)


def class_index(model: nn.Module, target: int | str) -> int:
    """The number of a class given by number or name.

    Args:
        model: any classifier.
        target: a number from 0 on, or a label: any case, the whole of it or a part that only one label has.

    Returns:
        Index into the net's output.

    Raises:
        ValueError: out of range (the range is named), unknown or ambiguous (the nearest labels are named).

    Example:
        >>> vh.class_index(net, "Espresso")
        967

    Taught in: 00_start_here.
    """
    labels = categories(model)
    if not isinstance(target, str):
        try:
            index = int(target)
            whole = index == target and not isinstance(target, bool)
        except (TypeError, ValueError):
            whole = False
        if not whole:
            raise ValueError(f"A class is a whole number or a label, not {target!r}.")
        if not 0 <= index < len(labels):
            raise ValueError(f"There is no class {index}: this net's classes go from 0 to {len(labels) - 1}.")
        return index
    wanted, lower = target.strip().lower(), [label.lower() for label in labels]
    found = [i for i, label in enumerate(lower) if label == wanted]
    found = found or [i for i, label in enumerate(lower) if wanted and wanted in label]
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(f"{i} {labels[i]!r}" for i in found[:6]) + (", ..." if len(found) > 6 else "")
        raise ValueError(f"{len(found)} classes match {target!r}: {some}; give the number or the whole label.")
    near = difflib.get_close_matches(wanted, lower, n=4, cutoff=0.4) or lower[:3]
    some = ", ".join(repr(labels[lower.index(label)]) for label in near)
    raise ValueError(f"No class is called {target!r}; nearest: {some}.")


def resolve_target(model: nn.Module, target: int | str | Sequence[int | str] | Tensor, n: int) -> Tensor:
    """One class number per picture of a batch.

    Args:
        model: any classifier.
        target: a class number or label for all, or `n` of them (a sequence or a tensor).
        n: pictures in the batch.

    Returns:
        LongTensor `(n,)` on the model's device.

    Raises:
        ValueError: not `n` targets, or one that `class_index` refuses.

    Example:
        >>> vh.resolve_target(net, ["koala", 967], 2).tolist()
        [105, 967]

    Taught in: 05_saliency.
    """
    single = isinstance(target, (int, str)) or getattr(target, "ndim", 1) == 0
    if not single and (not hasattr(target, "__len__") or getattr(target, "ndim", 1) != 1):
        raise ValueError(f"A target is a class number, a label, or one of them per picture, not {target!r}.")
    targets = [target] * n if single else list(target)
    if len(targets) != n:
        raise ValueError(f"There are {len(targets)} targets for {n} pictures: give one for all, or one for each.")
    return torch.tensor([class_index(model, t) for t in targets], dtype=torch.long, device=device_of(model))


def class_scores(model: nn.Module, x: Tensor) -> Tensor:
    """The logits of a net in eval mode, attached to the graph if the caller records gradients.

    Args:
        model: any classifier.
        x: normalised pictures `(N,3,H,W)` on the model's device.

    Returns:
        `(N,C)`, unbounded.

    Raises:
        ValueError: the net has no classifier, or does not return one row of scores per picture.
        RuntimeError: picture and net are on different devices.

    Example:
        >>> vh.class_scores(net, x).shape
        torch.Size([1, 1000])

    Taught in: 05_saliency.
    """
    _check_classifier(model)
    check_same_device(model, x)
    with evaluating(model):
        out = model(x)
    out = getattr(out, "logits", out)  # nets with auxiliary heads return a tuple with names
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(x):
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(f"{type(model).__name__} returns {shape}, not class scores (N,C): {_OTHER_NET}.")
    return out


def predict(model: nn.Module, x: Tensor, *, top: int = 5) -> list[Prediction] | list[list[Prediction]]:
    """What a net sees: its most probable classes.

    Args:
        model: any classifier; its mode is left as it was.
        x: normalised pictures `(N,3,H,W)` on the model's device.
        top: how many classes; all of them if there are fewer.

    Returns:
        `top` predictions, most probable first, for one picture; a list of such lists for N > 1.

    Raises:
        ValueError, RuntimeError: as `class_scores`.

    Example:
        >>> vh.predict(net, x)[0].label
        'espresso'

    Taught in: 00_start_here.
    """
    if top < 1:
        raise ValueError(f"top is the number of classes to list, at least 1, not {top}.")
    with torch.no_grad():
        logits = class_scores(model, x).float()
    info = getattr(model, "viz", None)
    labels = info.categories if isinstance(info, ModelInfo) and info.categories else _labels(logits.shape[1])
    probabilities = logits.softmax(1)
    rows = []
    for row, chances in zip(logits, probabilities, strict=True):
        best = chances.topk(min(top, len(chances))).indices.tolist()
        rows.append([Prediction(labels[i], chances[i].item(), i, row[i].item()) for i in best])
    return rows[0] if len(rows) == 1 else rows


_OTHER_NET = "use load_model('alexnet', weights='IMAGENET1K_V1') with a network, or squeezenet1_1 or efficientnet_lite0"


def _check_classifier(model: nn.Module) -> None:
    info = getattr(model, "viz", None)
    if isinstance(info, ModelInfo) and not info.has_classifier:
        raise ValueError(
            f"This {info.name} holds only its convolutions, so it has no class scores: use load_model('{info.name}', "
            "weights='IMAGENET1K_V1') with a network, or squeezenet1_1 or efficientnet_lite0 offline."
        )


def _labels(count: int) -> tuple[str, ...]:
    if count != 1000:
        return tuple(f"class {i}" for i in range(count))
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    return tuple(_IMAGENET_CATEGORIES)


def _check_name(name: str) -> None:
    import torchvision

    known = [*stored.EMBEDDED, *torchvision.models.list_models(module=torchvision.models)]
    if name not in known:
        near = difflib.get_close_matches(str(name).lower(), dict.fromkeys(known), n=4, cutoff=0.4) or stored.EMBEDDED
        raise ValueError(f"There is no net called {name!r}; nearest: {', '.join(near)}.")


def _build(name: str, **options) -> nn.Module:
    import torchvision

    if name in ("googlenet", "inception_v3"):
        options.setdefault("init_weights", False)  # theirs takes a minute, and every use here overwrites or seeds it
    return torchvision.models.get_model(name, weights=None, **options)


def _info(name: str, official, sentence: str, **changes) -> ModelInfo:
    """ModelInfo from the transforms and the class names that torchvision records beside its weights."""
    if official is None:
        lite = dict(mean=(127 / 255,) * 3, std=(128 / 255,) * 3, interpolation="bicubic")
        changes = (lite if name == "efficientnet_lite0" else {}) | changes
        return ModelInfo(name, categories=_labels(1000), weights=sentence, **changes)
    how = official.transforms()
    return ModelInfo(
        name, how.crop_size[0], how.resize_size[0], tuple(how.mean), tuple(how.std), how.interpolation.value,
        tuple(official.meta["categories"]), sentence,
    )


def _embedded(name: str) -> tuple[nn.Module, ModelInfo]:
    state = stored.embedded_state_dict(name)
    sentence = f"embedded: {stored.EMBEDDED[name].about}, from {stored.EMBEDDED[name].archive.requirement}"
    with torch.device("meta"):  # no time spent on numbers that the file overwrites
        if name == "efficientnet_lite0":
            net = EfficientNetLite0()
        else:
            net = _build(name)
        if name in ("alexnet", "vgg16"):
            net = nn.Sequential(OrderedDict(features=net.features))
    if name == "squeezenet1_1":
        state = fold_caffe_input(state)
    net.load_state_dict(state, strict=True, assign=True)
    whole = name not in ("alexnet", "vgg16")
    info = _info(name, None, sentence, has_classifier=whole)
    return net, info


def fold_caffe_input(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Let a net made for Caffe's BGR 0..255 minus mean take ImageNet-normalised RGB, by changing its first layer.

    With v the normalised value, Caffe's input is 255 (std v + mean) - caffe_mean: linear, so it goes into weight and
    bias (exactly, as this layer has no padding).
    """
    mean, std = torch.tensor(IMAGENET_MEAN).double(), torch.tensor(IMAGENET_STD).double()
    offset = 255 * mean - torch.tensor(CAFFE_MEAN_BGR).double().flip(0)
    weight = state["features.0.weight"].double().flip(1)  # BGR -> RGB
    bias = state["features.0.bias"].double() + (weight.sum((2, 3)) * offset).sum(1)
    weight = weight * (255 * std)[:, None, None]
    return state | {"features.0.weight": weight.float(), "features.0.bias": bias.float()}


def _official(name: str, weights: str) -> tuple[nn.Module, ModelInfo]:
    import torchvision

    choices = {} if name == "efficientnet_lite0" else torchvision.models.get_model_weights(name).__members__
    if weights not in choices:
        also = ["auto", "random"] + ["embedded"] * (name in stored.EMBEDDED) + ["SIN"] * (name == "resnet50")
        raise ValueError(f"{name} has no weights {weights!r}; there are: {', '.join([*choices, *also])}.")
    official = choices[weights]
    options = {}
    if name in ("googlenet", "inception_v3"):
        # torchvision's builders set these together with the official weights: the weights were trained in TensorFlow
        # on another normalisation, which transform_input restores inside the net, and hold the auxiliary heads
        options = dict(transform_input=True, aux_logits=True)
    elif name.startswith("vit_"):
        options = dict(image_size=official.meta["min_size"][0])
    net = _build(name, **options)
    net.load_state_dict(stored.official_state_dict(official.url))
    if name == "googlenet":  # its auxiliary heads are untrained, and torchvision drops them
        net.aux_logits, net.aux1, net.aux2 = False, None, None
    return net, _info(name, official, f"torchvision's official {weights}")


def _stylized(name: str) -> tuple[nn.Module, ModelInfo]:
    if name != "resnet50":
        raise ValueError(f"The Stylized-ImageNet weights fit resnet50 only, not {name}.")
    net = _build(name)
    state = stored.official_state_dict(SIN_URL)["state_dict"]
    net.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
    return net, _info(name, None, "trained on Stylized-ImageNet (Geirhos et al. 2019)")
