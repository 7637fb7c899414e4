"""Class activation maps: CAM, Grad-CAM, Grad-CAM++ and Guided Grad-CAM (lesson 08)."""
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..hooks import capture, evaluating, maps_of, with_gradients
from ..images import upsampled
from ..targets import Neuron, Target, class_scores, resolve_target, score, settled
from .gradients import guided_backprop, said_if_zero

Layer = str | nn.Module | None  # a dotted name, a module, or the method's own choice
_NO_LAYERS_OF_THEIR_OWN = (nn.Sequential, nn.Dropout, nn.Dropout2d, nn.Identity, nn.Flatten, nn.Unflatten)
_known: WeakKeyDictionary[nn.Module, tuple] = WeakKeyDictionary()  # net -> (size, *its modules), what was seen


def _anatomy(model: nn.Module, x: Tensor) -> tuple[list[str], str | None, bool]:
    """The layers that put out maps, in running order, the last linear layer or convolution, if tokens (N,T,D) run."""
    modules = {name: module for name, module in model.named_modules() if name}
    key = (x.shape[1:], *modules.items())
    if _known.get(model, ("",))[0] != key:
        with torch.no_grad(), evaluating(model), capture(model, *modules) as acts:
            model(x[:1])
        layers = [name for name, (out, *more) in acts.calls.items() if not more and isinstance(out, Tensor)
                  and out.dim() == 4 and max(out.shape[2:]) > 1 and "Pool" not in type(modules[name]).__name__
                  and type(modules[name]) not in _NO_LAYERS_OF_THEIR_OWN]  # fmt: skip
        heads = [name for name in acts.calls if isinstance(modules[name], (nn.Linear, nn.Conv2d))]
        tokens = any(isinstance(outs[0], Tensor) and outs[0].dim() == 3 for outs in acts.calls.values())
        _known[model] = key, (layers, [None, *heads][-1], tokens)
    return _known[model][1]


def map_layers(model: nn.Module, x: Tensor) -> list[str]:
    """The layers on the way through a net that put out maps, in running order, blocks as a whole."""
    layers = _anatomy(model, x)[0]
    if not layers:
        raise ValueError(f"No layer of this {type(model).__name__} puts out maps (N,K,h,w) and runs once.")
    outer = [name for name in layers if not any(name.startswith(block + ".") for block in layers)]
    return outer if len(outer) > 2 else layers


def cam_layer(model: nn.Module, x: Tensor) -> str:
    """The layer that CAM methods take by default: the last stack of maps before pooling and classifier. Lesson 08."""
    layers, _, tokens = _anatomy(model, x)
    found = [n for n in layers if not {"classifier", "fc", "head"} & {*n.split(".")}]
    if not found or (len(found) == 1 and tokens):
        raise ValueError(f"This {type(model).__name__} has no late maps (N,K,h,w): name a layer with layer=. Tokens "
                         "(N,T,D) are taken as a grid where their number, without class tokens, is a square.")
    return found[-1]


@torch.no_grad()
def cam(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """CAM, `(N,h,w)`, signed: the last maps, weighted as the linear layer behind their global average reads them.
    The map's mean plus the class's bias is the logit. Of a net that ends in a 1x1 convolution (SqueezeNet) the bias is
    in the map and the logit the mean of its positive part. Others are refused. Zhou et al. 2016, eq. 2; lesson 08."""
    refusal = ValueError(f"CAM needs global average pooling and then one linear layer, and this {type(model).__name__} "
                         "does not end so for what was asked: use grad_cam.")  # fmt: skip
    layer, head = cam_layer(model, x), _anatomy(model, x)[1]
    if isinstance(target, Neuron) or head is None:
        raise refusal
    with capture(model, layer, head) as acts:
        logits = class_scores(model, x)
    wanted = logits.argmax(1) if target is None else resolve_target(model, target, len(x), logits.shape[1])
    maps, out, last = acts[layer], acts[head], model.get_submodule(head)

    def explains(means: Tensor) -> bool:  # all the logits, not only one by chance
        return means.shape == logits.shape and bool((means - logits).abs().max() <= 1e-3 * logits.abs().max())

    own = out.dim() == 4 and max(out.shape[2:]) > 1  # a convolution with a map for each class
    if own and (explains(out.mean((2, 3))) or explains(out.relu().mean((2, 3)))):
        return out[torch.arange(len(x)), wanted]
    weight = last.weight.flatten(1)
    for used in (maps, maps.relu()):  # DenseNet's last ReLU is a function behind its last layer
        if used.shape[1] == weight.shape[1] and explains(F.linear(used.mean((2, 3)), weight, last.bias)):
            return torch.einsum("nkhw,nk->nhw", used, weight[wanted])
    raise refusal


def grad_cam(model: nn.Module, x: Tensor, target: Target = None, *, layer: Layer = None, relu: bool = True) -> Tensor:
    """Grad-CAM, `(N,h,w)`, 0 or more: a layer's maps, each weighted by the score's mean gradient there.
    `relu=False` keeps what speaks against the target. Selvaraju et al. 2017, equations 1 and 2; lesson 08."""
    maps, g = _maps_and_gradients(model, x, target, layer)
    found = torch.einsum("nkhw,nk->nhw", maps, g.mean((2, 3)))
    return said_if_zero(found.relu(), "Grad-CAM", lambda n: why_empty(maps[n], g[n])) if relu else found


def grad_cam_plus_plus(model: nn.Module, x: Tensor, target: Target = None, *, layer: Layer = None) -> Tensor:
    """Grad-CAM++, `(N,h,w)`, 0 or more: Grad-CAM with `plus_plus_weights`. Chattopadhyay et al. 2018; lesson 08."""
    maps, g = _maps_and_gradients(model, x, target, layer)
    found = torch.einsum("nkhw,nk->nhw", maps, plus_plus_weights(maps, g)).relu()
    return said_if_zero(found, "Grad-CAM++", lambda n: why_empty(maps[n], g[n]))


def plus_plus_weights(maps: Tensor, g: Tensor) -> Tensor:
    """Grad-CAM++'s weights `(N,K)` from a layer's maps A, 0 or more, and dS/dA, both `(N,K,h,w)`.
    A channel's positive gradients, each times alpha = g^2 / (2 g^2 + sum(A) g^3) = 1 / (2 + sum(A) g), or 0 where g is
    0: cancelled like this it needs no epsilon, which would swamp small gradients. S is the logit; the paper's exp(S)
    only multiplies all weights by one number. Chattopadhyay et al. 2018, equations 10 and 19; lesson 08."""
    below = 2 + maps.sum((2, 3), keepdim=True) * g
    usable = (g != 0) & (below != 0)
    alpha = torch.where(usable, 1 / torch.where(usable, below, 1), 0)
    return (alpha * g.relu()).sum((2, 3))


def guided_grad_cam(model: nn.Module, x: Tensor, target: Target = None, *, layer: Layer = None) -> Tensor:
    """Guided backpropagation times Grad-CAM stretched to the picture, `(N,3,H,W)`. Selvaraju et al. 2017; lesson 08."""
    target = settled(model, x, target)
    heat = upsampled(grad_cam(model, x, target, layer=layer), x.shape[-2:])
    return heat[:, None] * guided_backprop(model, x, target)


def _maps_and_gradients(model: nn.Module, x: Tensor, target: Target, layer: Layer) -> tuple[Tensor, Tensor]:
    """The layer's maps A and dS/dA, both `(N,K,h,w)`, detached; nothing before the layer is differentiated."""
    layer = cam_layer(model, x) if layer is None else layer
    with with_gradients(), capture(model, layer, leaf=True) as acts:
        total = score(model, x.detach().clone(), target).sum()
        maps, out = acts.maps(layer), acts[layer]
        (g,) = torch.autograd.grad(total, out, allow_unused=True) if total.requires_grad else (None,)
    if g is None:
        raise ValueError(f"No gradient of the target reaches layer {layer!r}: it lies behind, or no_grad, detach or a "
                         "step without a derivative cuts the way. Choose another layer.")  # fmt: skip
    return maps.detach(), maps_of(g, x.shape[2:], layer)


def why_empty(maps: Tensor, g: Tensor) -> str:
    """The cause of a map of zeros, from the layer's maps and gradients."""
    if not maps.any():
        return "the layer is silent on this picture"
    if not g.any():
        return "the score's gradient is 0 everywhere in the layer (a ReLU between them is off)"
    return "all weighted sums are 0 or negative before the ReLU: nothing here speaks for the target"
