"""Class activation maps: CAM, Grad-CAM, Grad-CAM++ and Guided Grad-CAM (lesson 08)."""
from __future__ import annotations

import warnings
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .device import check_same_device
from .gradients import guided_backprop
from .hooks import capture, evaluating, resolve_layer, with_gradients
from .models import class_scores, resolve_target
from .objective import Neuron, Target, score

_probed: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], _Anatomy]] = WeakKeyDictionary()
_NO_LAYERS_OF_THEIR_OWN = (nn.Sequential, nn.Dropout, nn.Dropout2d, nn.Identity, nn.Flatten, nn.Unflatten)


class _Anatomy(NamedTuple):
    layers: tuple[str, ...]  # that put out maps, in running order
    head: str | None  # the last linear layer or convolution that ran


def _anatomy(model: nn.Module, x: Tensor) -> _Anatomy:
    """Where a net keeps its maps, by running it once; remembered for each model and size of picture."""
    check_same_device(model, x)
    known = _probed.setdefault(model, {})
    size = tuple(x.shape[1:])
    if size not in known:
        modules = {name: module for name, module in model.named_modules() if name}
        with torch.no_grad(), evaluating(model), capture(model, *modules) as acts:
            model(x[:1])
        ran = acts.in_order()
        layers = tuple(
            name for name in ran
            if len(acts.calls(name)) == 1 and isinstance(out := acts.calls(name)[0], Tensor)
            and out.dim() == 4 and max(out.shape[2:]) > 1
            and type(modules[name]) not in _NO_LAYERS_OF_THEIR_OWN and "Pool" not in type(modules[name]).__name__
        )  # fmt: skip
        heads = [name for name in ran if isinstance(modules[name], (nn.Linear, nn.Conv2d))]
        known[size] = _Anatomy(layers, heads[-1] if heads else None)
    return known[size]


def map_layers(model: nn.Module, x: Tensor) -> list[str]:
    """The layers on the way through a net that put out maps, in running order, blocks as a whole."""
    layers = _anatomy(model, x).layers
    outer = [name for name in layers if not any(name.startswith(block + ".") for block in layers)]
    return outer if len(outer) > 2 else list(layers)


def cam_layer(model: nn.Module, x: Tensor) -> str:
    """The layer that CAM methods take by default: the last stack of maps before pooling and classifier.

    Args:
        model: any convolutional net.
        x: a normalised picture `(1,3,H,W)` to run it on; run once per model and size, and remembered.

    Returns:
        Dotted name.

    Raises:
        ValueError: no layer of the net puts out maps.

    Example:
        >>> vh.cam_layer(vh.load_model("squeezenet1_1"), x)
        'features.12'

    Taught in: 08_class_activation_maps.
    """
    found = [n for n in _anatomy(model, x).layers if n.split(".")[0] not in ("classifier", "fc", "head")]
    if not found:
        raise ValueError(f"No layer of this {type(model).__name__} puts out maps (N,K,h,w): name one with layer=.")
    return found[-1]


def cam(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """CAM: the last feature maps, weighted by how the linear layer behind global average pooling reads them.

    Args:
        model: a net that ends in global average pooling and one linear layer (ResNet, GoogLeNet, DenseNet, ...), or in
            a 1x1 convolution and global average pooling (SqueezeNet, whose ReLU behind it is left out here).
        x: normalised pictures `(N,3,H,W)`.
        target: class number or label, one per picture, or None for each picture's most probable class.

    Returns:
        `(N,h,w)`, signed, in logits: the mean over positions plus the class's bias is the logit (for SqueezeNet the
        bias is in the map, and the logit is the mean of its positive part).

    Raises:
        ValueError: the net does not end that way, so its logit is no mean of maps.

    Example:
        >>> vh.cam(vh.load_model("efficientnet_lite0"), x, "koala").shape
        torch.Size([1, 7, 7])

    Source: Zhou et al. 2016, equation 2.
    Taught in: 08_class_activation_maps.
    """
    layer, name = cam_layer(model, x), _anatomy(model, x).head
    refusal = ValueError(f"CAM needs global average pooling and then one linear layer, and this {type(model).__name__} "
                         "does not end so for what was asked: use grad_cam.")  # fmt: skip
    if isinstance(target, Neuron) or name is None:
        raise refusal
    head = resolve_layer(model, name)[1]
    with torch.no_grad():
        with capture(model, layer, name) as acts:
            logits = class_scores(model, x)
        maps, out, weight, bias = acts[layer], acts[name], head.weight.flatten(1), head.bias
        wanted = logits.argmax(1) if target is None else resolve_target(model, target, len(x)).to(x.device)

        def explains(maps: Tensor) -> bool:
            """Whether the mean over these maps gives all the logits, not only one by chance."""
            if not one_per_class and maps.shape[1] != weight.shape[1]:
                return False
            means = maps.mean((2, 3)) if one_per_class else F.linear(maps.mean((2, 3)), weight, bias)
            return means.shape == logits.shape and bool((means - logits).abs().max() <= 1e-3 * logits.abs().max())

        one_per_class = out.dim() == 4 and max(out.shape[2:]) > 1  # a convolution with a map for each class
        if one_per_class and (explains(out) or explains(out.relu())):
            return out[torch.arange(len(x)), wanted]
        for used in (maps, maps.relu()):  # DenseNet's last ReLU is a function behind its last layer
            if not one_per_class and explains(used):
                return torch.einsum("nkhw,nk->nhw", used, weight[wanted])
    raise refusal


def _maps_and_gradients(model: nn.Module, x: Tensor, target: Target, layer) -> tuple[Tensor, Tensor]:
    """The layer's maps A and dS/dA, both `(N,K,h,w)`, detached; nothing before the layer is differentiated."""
    check_same_device(model, x)
    layer = cam_layer(model, x) if layer is None else layer
    with with_gradients(), capture(model, layer, leaf=True) as acts:
        total = score(model, x.detach().clone(), target).sum()
        maps = acts[layer]
        if maps.dim() != 4:
            raise ValueError(f"Layer {layer!r} gives {tuple(maps.shape)}, not maps (N,K,h,w): choose an earlier one.")
        (g,) = torch.autograd.grad(total, maps, allow_unused=True) if total.requires_grad else (None,)
    if g is None:
        raise ValueError(f"The target does not depend on layer {layer!r}: choose a layer before it.")
    return maps.detach(), g


def grad_cam(
    model: nn.Module, x: Tensor, target: Target = None, *, layer: str | nn.Module | None = None, relu: bool = True
) -> Tensor:
    """Grad-CAM: a layer's maps, each weighted by the mean gradient of the score over its positions.

    Args:
        model: any net.
        x: normalised pictures `(N,3,H,W)`.
        target: class number or label, one per picture, a `Neuron` of a later layer, or None for each picture's most
            probable class.
        layer: dotted name or module; by default `cam_layer`.
        relu: keep only what speaks for the target, as in the paper; False returns the signed sum.

    Returns:
        `(N,h,w)`, 0 or more (signed without `relu`), not normalised.

    Raises:
        ValueError: as `score`, or a layer without maps, or one that the target does not depend on.

    Example:
        >>> heat = vh.grad_cam(net, x, "koala"); vh.overlay(image, heat)

    Source: Selvaraju et al. 2017, equations 1 and 2.
    Taught in: 08_class_activation_maps.
    """
    maps, g = _maps_and_gradients(model, x, target, layer)
    found = torch.einsum("nkhw,nk->nhw", maps, g.mean((2, 3)))
    return _positive(found, maps, g, "Grad-CAM") if relu else found


def grad_cam_plus_plus(
    model: nn.Module, x: Tensor, target: Target = None, *, layer: str | nn.Module | None = None
) -> Tensor:
    """Grad-CAM++: like Grad-CAM, each channel weighted by its positive gradients, so that several instances count.

    Args:
        model: any net.
        x: normalised pictures `(N,3,H,W)`.
        target: as `grad_cam`.
        layer: dotted name or module; by default `cam_layer`.

    Returns:
        `(N,h,w)`, 0 or more, not normalised.

    Raises:
        ValueError: as `grad_cam`.

    Example:
        >>> vh.grad_cam_plus_plus(net, x, "hen").shape
        torch.Size([1, 13, 13])

    Source: Chattopadhyay et al. 2018, equations 10 (weights) and 19 (alpha).
    Taught in: 08_class_activation_maps.
    """
    maps, g = _maps_and_gradients(model, x, target, layer)
    found = torch.einsum("nkhw,nk->nhw", maps, plus_plus_weights(maps, g))
    return _positive(found, maps, g, "Grad-CAM++")


def plus_plus_weights(maps: Tensor, g: Tensor) -> Tensor:
    """The channel weights of Grad-CAM++: a channel's positive gradients, each weighted by its alpha.

    alpha = g^2 / (2 g^2 + sum(A) g^3) = 1 / (2 + sum(A) g) where g is not 0, and 0 elsewhere. Cancelled like this it
    needs no epsilon in the denominator, which would swamp g^2 when gradients are small.

    Args:
        maps: A, `(N,K,h,w)`, 0 or more: with signed maps (before a ReLU) the denominator can come near 0.
        g: dS/dA, `(N,K,h,w)`, signed.

    Returns:
        `(N,K)`, 0 or more for maps of 0 or more.

    Example:
        >>> vh.plus_plus_weights(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
        tensor([[0.6667]])

    Source: Chattopadhyay et al. 2018, equations 10 and 19; S is the logit, where the paper's exp(S) would only
    multiply all weights of a picture by one number.
    Taught in: 08_class_activation_maps.
    """
    below = 2 + maps.sum((2, 3), keepdim=True) * g
    usable = (g != 0) & (below != 0)
    alpha = torch.where(usable, 1 / torch.where(usable, below, 1), 0)
    return (alpha * g.relu()).sum((2, 3))


def guided_grad_cam(
    model: nn.Module, x: Tensor, target: Target = None, *, layer: str | nn.Module | None = None
) -> Tensor:
    """Guided Grad-CAM: guided backpropagation times Grad-CAM stretched to the picture, both for the same target.

    Args:
        model: a net whose activations are ReLUs.
        x: normalised pictures `(N,3,H,W)`.
        target: as `grad_cam`.
        layer: of the Grad-CAM; by default `cam_layer`.

    Returns:
        `(N,3,H,W)`, signed.

    Raises:
        ValueError: as `grad_cam` and `guided_backprop`.

    Example:
        >>> vh.guided_grad_cam(net, x, "koala").shape
        torch.Size([1, 3, 224, 224])

    Source: Selvaraju et al. 2017, section 3.2.
    Taught in: 08_class_activation_maps.
    """
    if target is None:
        with torch.no_grad():
            target = class_scores(model, x).argmax(1)
    heat = upsampled(grad_cam(model, x, target, layer=layer), x.shape[-2:])
    return heat[:, None] * guided_backprop(model, x, target)


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps stretched to the size of the picture, bilinearly, cell centres on cell centres (`align_corners=False`).

    Args:
        maps: `(N,h,w)`.
        size: (H, W) in pixels.

    Returns:
        `(N,H,W)`.

    Example:
        >>> vh.upsampled(heat, x.shape[-2:]).shape
        torch.Size([1, 224, 224])

    Taught in: 08_class_activation_maps.
    """
    return F.interpolate(maps[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]


def why_empty(maps: Tensor, g: Tensor) -> str:
    """The cause of a map of zeros, from the layer's maps and gradients."""
    if not maps.any():
        return "the layer is silent on this picture"
    if not g.any():
        return "the score's gradient is 0 everywhere in the layer (a ReLU between them is off)"
    return "all weighted sums are 0 or negative before the ReLU: nothing here speaks for the target"


def _positive(found: Tensor, maps: Tensor, g: Tensor, method: str) -> Tensor:
    positive = found.relu()
    for n in (~positive.flatten(1).any(1)).nonzero()[:, 0].tolist():
        which = f" for picture {n}" if len(found) > 1 else ""
        warnings.warn(f"{method} is zero everywhere{which}: {why_empty(maps[n], g[n])}.", stacklevel=3)
    return positive
