"""Maps from one gradient with respect to the picture: saliency (05), the ReLU rules (04, 07)."""
from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from .objective import Target, differentiable, input_gradient, score
from .relu_rules import relu_rule


def gradient(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """The gradient of the target's score with respect to the normalised picture.

    Args:
        model: any net.
        x: normalised pictures `(N,3,H,W)`.
        target: class number or label, one per picture, a `Neuron`, or None for each picture's most probable class.

    Returns:
        `(N,3,H,W)`, signed, in score per unit of normalised input.

    Raises:
        ValueError, RuntimeError: as `score`.

    Example:
        >>> vh.gradient(net, x, "koala").shape
        torch.Size([1, 3, 224, 224])

    Source: Simonyan et al. 2014, section 3.
    Taught in: 05_saliency.
    """
    return warn_if_zero(input_gradient(model, x, target), "gradient")


def saliency(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """Saliency: at each pixel the largest magnitude of the gradient over the three colours.

    Args:
        model: any net.
        x: normalised pictures `(N,3,H,W)`.
        target: as `gradient`.

    Returns:
        `(N,H,W)`, 0 or more.

    Raises:
        ValueError, RuntimeError: as `score`.

    Example:
        >>> vh.saliency(net, x, "koala").shape
        torch.Size([1, 224, 224])

    Source: Simonyan et al. 2014, section 3.1.
    Taught in: 05_saliency.
    """
    return gradient(model, x, target).abs().amax(1)


def gradient_x_input(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """Gradient times input: to first order what each value of the normalised picture adds to the score.

    Args:
        model: any net.
        x: normalised pictures `(N,3,H,W)`; 0 is the mean colour of the training set.
        target: as `gradient`.

    Returns:
        `(N,3,H,W)`, signed, in units of the score; sum over colours for a map.

    Raises:
        ValueError, RuntimeError: as `score`.

    Example:
        >>> vh.gradient_x_input(net, x, "koala").sum(1)  # one map (N,H,W)

    Source: Shrikumar et al. 2016, section 3.1.
    Taught in: 05_saliency.
    """
    return gradient(model, x, target) * x.detach()


def guided_backprop(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """Guided backpropagation: the gradient with only positive values let through at every ReLU.

    Args:
        model: a net whose activations are ReLUs (or ReLU6).
        x: normalised pictures `(N,3,H,W)`.
        target: as `gradient`.

    Returns:
        `(N,3,H,W)`, signed; `.clamp(min=0)` and `(-g).clamp(min=0)` are its positive and negative part.

    Raises:
        ValueError: a net with other activations, or without any ReLU; and as `score`.

    Example:
        >>> vh.guided_backprop(net, x, "koala").shape
        torch.Size([1, 3, 224, 224])

    Source: Springenberg et al. 2015, figure 1.
    Taught in: 07_guided_backprop.
    """
    return warn_if_zero(_with_rule(model, x, target, "guided"), "guided backpropagation")


def deconvnet_gradient(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """The deconvnet on any net: backpropagation whose ReLU looks at the signal instead of the activation.

    Args:
        model: a net whose activations are ReLUs (or ReLU6).
        x: normalised pictures `(N,3,H,W)`.
        target: as `gradient`; a `Neuron` for a reconstruction as in the paper.

    Returns:
        `(N,3,H,W)`, signed.

    Raises:
        ValueError: as `guided_backprop`.

    Example:
        >>> vh.deconvnet_gradient(vgg16, x, vh.Neuron("features.28", 5, 7, 7)).shape
        torch.Size([1, 3, 224, 224])

    Source: Simonyan et al. 2014, section 4 (equivalence); Zeiler & Fergus 2014, section 2.1.
    Taught in: 04_deconvnet.
    """
    return warn_if_zero(_with_rule(model, x, target, "deconvnet"), "the deconvnet")


def _with_rule(model: nn.Module, x: Tensor, target: Target, name: str) -> Tensor:
    with differentiable(model, x) as leaf, relu_rule(name) as rule:
        total = score(model, leaf, target).sum()
        if not rule.count:
            raise ValueError(f"No ReLU ran in this {type(model).__name__}: there is nothing for {name} to change.")
        (found,) = torch.autograd.grad(total, leaf)
    return found


def warn_if_zero(found: Tensor, method: str) -> Tensor:
    """The same tensor; a map of zeros is said aloud, with its usual cause."""
    empty = [n for n, one in enumerate(found) if not one.any()]
    if empty:
        which = "" if len(found) == 1 else f" for picture {', '.join(map(str, empty))}"
        warnings.warn(
            f"{method} is zero everywhere{which}: every path to the target passes a ReLU that is off.", stacklevel=3
        )
    return found
