"""Every method of the series, and three baselines that know nothing of the net, as maps of one kind (lesson 13)."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .averaged import integrated_gradients, smoothgrad
from .cam import cam, grad_cam, grad_cam_plus_plus, guided_grad_cam, upsampled
from .gradients import deconvnet_gradient, gradient_x_input, guided_backprop, saliency
from .objective import Target
from .occlusion import occlusion

Method = Callable[[nn.Module, Tensor, Target], Tensor]
GREY = 0.299, 0.587, 0.114


def edges(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """Strength of the Sobel edges of the grey picture: a map that no net had a part in."""
    grey = (x.detach() * x.new_tensor(GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
    across = x.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    both = torch.stack([across, across.T])[:, None]
    return F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), both).norm(dim=1)


def centre(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """A Gaussian in the middle, a quarter of the picture wide: "objects tend to be there"."""
    def bell(length: int) -> Tensor:
        away = (torch.arange(length, dtype=x.dtype, device=x.device) - (length - 1) / 2) / (length / 4)
        return torch.exp(-(away**2) / 2)

    height, width = x.shape[2:]
    return (bell(height)[:, None] * bell(width)).expand(len(x), -1, -1).clone()


def chance(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """Noise, the same for every picture."""
    noise = torch.rand(x.shape[2:], generator=torch.Generator().manual_seed(0))
    return noise.to(x).expand(len(x), -1, -1).clone()


def _sizes(method: Method) -> Method:
    return lambda model, x, target: method(model, x, target).abs().amax(1)


def _sum(method: Method) -> Method:
    return lambda model, x, target: method(model, x, target).sum(1)


BASELINES: dict[str, Method] = {"edges": edges, "centre": centre, "random": chance}
METHODS: dict[str, Method] = {
    "saliency": saliency,
    "SmoothGrad": _sizes(lambda model, x, target: smoothgrad(model, x, target, samples=8)),
    "gradient x input": _sum(gradient_x_input),
    "Integrated Gradients": _sum(lambda model, x, target: integrated_gradients(model, x, target, steps=8)),
    "deconvnet": _sizes(deconvnet_gradient),
    "guided backprop": _sizes(guided_backprop),
    "CAM": cam,
    "Grad-CAM": grad_cam,
    "Grad-CAM++": grad_cam_plus_plus,
    "Guided Grad-CAM": _sizes(guided_grad_cam),
    "occlusion": lambda model, x, target: occlusion(model, x, target, patch=48, stride=32).drop,
} | BASELINES  # fmt: skip


def method_called(method: str | Method) -> Method:
    """A method of the table by its name; any function `(model, x, target)` as it is."""
    if not isinstance(method, str):
        return method
    if method not in METHODS:
        raise ValueError(f"No method is called {method!r}; there are {', '.join(METHODS)}.")
    return METHODS[method]


def evidence(
    model: nn.Module, x: Tensor, target: Target = None, *, methods: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """The maps of many methods, each in one form: a value per pixel, large where the evidence is.

    Saliency, SmoothGrad, the deconvnet, guided backprop and Guided Grad-CAM give the largest magnitude over the
    colours; gradient x input and Integrated Gradients the signed sum over them; CAM and its like are stretched to the
    picture; occlusion is the fall of the score (patch 48, stride 32). "edges" (Sobel), "centre" (a Gaussian in the
    middle) and "random" are baselines: they never look at the net.

    Args:
        model: any net.
        x: normalised pictures `(N,3,H,W)`.
        target: class number or label, one per picture, or None for each picture's most probable class.
        methods: names out of these; by default all that are defined for the net (guided rules need ReLUs, CAM needs
            global average pooling).

    Returns:
        Name -> `(N,H,W)`, signed, not normalised.

    Raises:
        ValueError: an unknown name, or a method asked for by name that is not defined for this net.

    Example:
        >>> vh.evidence(net, x, "koala", methods=["saliency", "edges"])["edges"].shape
        torch.Size([1, 224, 224])

    Source: lessons 04 to 09; edges as a baseline: Adebayo et al. 2018, figure 1.
    Taught in: 13_can_we_trust_these_maps.
    """
    found = {}
    for name in METHODS if methods is None else methods:
        try:
            maps = method_called(name)(model, x, target)
        except ValueError:
            if methods is not None or not found:  # what is wrong for the first method is wrong for all
                raise
            continue
        found[name] = maps if maps.shape[1:] == x.shape[2:] else upsampled(maps, tuple(x.shape[2:]))
    return found
