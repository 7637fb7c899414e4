"""What the loops that optimise a picture share (lessons 10 and 11): one arithmetic, options, total variation.
It is float32 in channels_last on a private, frozen copy of the net, on every machine; bfloat16 on request."""
import copy
from collections.abc import Callable
from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from ..hooks import evaluating, with_gradients
from ..targets import Neuron


class Fast:
    """`fast(x, loss)`: the loss, and the gradient of its sum with respect to x; both detached, in x's own type.
    `loss` takes x and runs `fast.net`, the copy. With precision "bfloat16" its convolutions and linear layers multiply
    in 16 bits: faster where the hardware has units for it (AMX, GPUs), slower elsewhere."""
    def __init__(self, model: nn.Module, precision: str = "float32"):
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision is 'float32' or 'bfloat16', not {precision!r}.")
        self.low, self.net = precision == "bfloat16", model
        # a forward that was put on a module runs this net, not a copy of it
        self.private = not any("forward" in vars(module) for module in model.modules())
        if not self.private:
            return
        with with_gradients():  # what is made in inference mode could not take part in a gradient
            computed = [t for m in model.modules() for t in vars(m).values() if isinstance(t, Tensor)]
            self.net = copy.deepcopy(model, {id(t): t.detach().clone() for t in computed}).eval()  # else refused
            self.net.requires_grad_(False).to(memory_format=torch.channels_last)
            for module in self.net.modules():
                if self.low and isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                    module.bfloat16()

    def narrowed(self, neuron: Neuron) -> Neuron:
        """The neuron in the copy, where a convolution computes that one channel only, as its channel 0."""
        conv, k = self.net.get_submodule(neuron.layer), neuron.channel
        hooked = conv._forward_hooks or conv._forward_pre_hooks  # which may count on all channels
        if not self.private or type(conv) is not nn.Conv2d or conv.groups > 1 or hooked:
            return neuron
        for name, value in list(conv.named_parameters()):
            setattr(conv, name, nn.Parameter(value[k : k + 1], requires_grad=False))
        return neuron._replace(channel=0)

    def __call__(self, x: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        with with_gradients(), evaluating(self.net):
            leaf = x.detach().clone(memory_format=torch.channels_last).requires_grad_(True)
            with torch.autocast(x.device.type, torch.bfloat16, enabled=self.low):
                value = loss(leaf)
                (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach().to(x.dtype), gradient


def changed(recipe, changes: dict):
    """A recipe (a frozen dataclass) with some entries changed; an unknown one is answered with those that there are."""
    names = [field.name for field in fields(recipe)]
    if unknown := [name for name in changes if name not in names]:
        raise ValueError(f"There is no option {unknown[0]!r}; there are {', '.join(names)}.")
    return replace(recipe, **changes)


def total_variation(image: Tensor) -> Tensor:
    """Mean squared difference of neighbours, vertically plus horizontally: `(N,3,H,W)` -> `(N,)`."""
    return image.diff(dim=2).square().mean((1, 2, 3)) + image.diff(dim=3).square().mean((1, 2, 3))
