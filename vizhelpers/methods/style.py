"""Style transfer by optimising a picture (Gatys et al. 2016): content of one, Gram matrices of another (lesson 11)."""
import copy
from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..device import device_of, finished
from ..hooks import evaluating, outputs_until, resolve_layer, with_gradients
from ..images import from_pixels, to_input, to_pixels
from ..models import load_model
from .fast import Fast, changed, total_variation

SMALLEST = 64  # pixels: a coarse stage below this would show the deep layers nothing
Stylised = namedtuple("Stylised", "image history content style layers")


def gram(features: Tensor) -> Tensor:
    """Gram matrix of a layer `(N,C,h,w)`: how much two channels are on at the same places, `F F^T / (C h w)`.
    `(N,C,C)`, float32 or wider, no negative eigenvalues. Gatys et al. 2016, equations 3 and 4. Lesson 11."""
    if features.dim() != 4:
        raise ValueError(f"gram takes the output of a convolutional layer (N,C,h,w), not {tuple(features.shape)}.")
    n, channels, height, width = features.shape
    wide = features if features.dtype == torch.float64 else features.float()  # a sum of 50,000: no place for bfloat16
    with torch.autocast(features.device.type, enabled=False):
        rows = wide.permute(0, 2, 3, 1).reshape(n, height * width, channels)
        return rows.transpose(1, 2) @ rows / (channels * height * width)


def relative(got: Tensor, goal: Tensor) -> Tensor:
    """Squared distance over the goal's own squared length, `(N,)`: 0 at the goal, 1 for nothing at all."""
    return (got - goal).square().flatten(1).sum(1) / goal.square().flatten(1).sum(1).clamp(min=1e-12)


def classic_names(model: nn.Module) -> dict[str, str]:
    """The papers' names of a VGG's layers ("relu4_2") -> their dotted names here ("features.20"), for any net whose
    convolutions lie in one chain; pooling ends a block. Simonyan & Zisserman 2015, table 1. Lesson 11."""
    names, block, number = {}, 1, 0
    for dotted, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            number += 1
            names[f"conv{block}_{number}"] = dotted
        elif isinstance(module, nn.ReLU) and number:
            names[f"relu{block}_{number}"] = dotted
        elif isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
            names[f"pool{block}"] = dotted
            block, number = block + 1, 0
    return names


def find_layers(model: nn.Module, layers: Sequence[str]) -> list[str]:
    classic = classic_names(model)
    return [resolve_layer(model, classic.get(layer, layer))[0] for layer in layers]


def features(model: nn.Module, x: Tensor, names: Sequence[str]) -> list[Tensor]:
    with evaluating(model):
        found = outputs_until(model, x, *names)
    return [found[name] for name in names]


@lru_cache(maxsize=1)
def default_net() -> nn.Module:
    return load_model("vgg16")


def with_average_pooling(net: nn.Module) -> nn.Module:
    net = copy.deepcopy(net)
    for name, part in list(net.named_modules()):
        if isinstance(part, nn.MaxPool2d):
            net.set_submodule(name, nn.AvgPool2d(part.kernel_size, part.stride, part.padding, part.ceil_mode))
    return net


@dataclass(frozen=True)
class Choices:
    """The options of `style_transfer`. Layers are named as in the papers ("relu3_1") or dotted."""
    size: int | tuple[int, int] | None = None  # shorter side of the result in pixels, or (H, W); 224, on a GPU 512
    steps: int = 45  # of L-BFGS, one pass forward and back each; with two stages two thirds of them at half the size
    content_weight: float = 0.02  # beside the weighted mean of the style losses
    style_layers: Sequence[str] | Mapping[str, float] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    content_layer: str = "relu4_2"  # a "conv" layer is taken before its ReLU, a "relu" layer after it
    total_variation: float = 0.0  # weight of the mean squared difference of neighbouring pixels
    average_pooling: bool = False  # in place of max pooling, in a copy of the net
    start: str = "content"  # or "noise"
    stages: int = 2  # 1: all steps at the full size; 2: half size first: four times as fast, broader strokes
    pyramid: int = 4  # coarser grids that move beside the pixels, so that large areas change colour in a few steps
    seed: int = 0  # of the noise
    precision: str = "float32"  # or "bfloat16": see `Fast` in methods/fast.py

    def __post_init__(self):
        layers = self.weights().values()
        low = min(self.steps - 1, self.pyramid, self.content_weight, self.total_variation, *layers, sum(layers) - 1e-9)
        if low < 0 or self.stages not in (1, 2) or self.start not in ("content", "noise"):
            raise ValueError("Give at least 1 step and 1 style layer, 1 or 2 stages, pyramid and weights of 0 or more, "
                             "and start='content' or 'noise'.")  # fmt: skip

    def weights(self) -> dict[str, float]:
        layers = self.style_layers
        return dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)


def style_transfer(content, style, *, net: nn.Module | None = None, progress: bool = False, **options) -> Stylised:
    """Paint one picture in the style of another by L-BFGS; the options are the fields of `Choices` in methods/style.py.
    Returns `.image` `(3,H,W)` in 0..1, the style `.layers`, and of the full-size steps `.history` `(T,)`, `.content`
    `(T,)` and `.style` `(T,L)`: squared distances over the goal's own (ours). `net`: by default VGG16; else give
    layers, too. `stages=1, pyramid=0, start="noise"` is the way of Gatys, Ecker & Bethge 2016, section 2. Lesson 11."""
    return finished(StyleRun(content, style, net=net, **options), progress)


class StyleRun:
    """A style transfer step by step; `losses` has a row for each step of the running stage: whole, content, styles."""
    @with_gradients()
    def __init__(self, content, style, *, net: nn.Module | None = None, **options):
        self.choices = choices = changed(Choices(), options)
        self.net = default_net() if net is None else net
        self.layers, weights = tuple(choices.weights()), [*choices.weights().values()]
        self.weights = [weight / sum(weights) for weight in weights]
        self._names = find_layers(self.net, [*self.layers, choices.content_layer])
        self._model = with_average_pooling(self.net) if choices.average_pooling else self.net
        self._fast = Fast(self._model, choices.precision)
        self._pictures = content, style
        side = choices.size or (224 if device_of(self.net).type == "cpu" else 512)  # a few seconds either way
        full = tuple(to_input(content, self.net, size=side, crop=False).shape[2:])
        self.total, self.done = choices.steps, 0
        coarse = choices.steps * 2 // 3 if choices.stages == 2 and min(full) >= 2 * SMALLEST else 0
        self._stages = {0: tuple(round(side / 2) for side in full), coarse: full}  # step -> size from there on
        self._begin()

    def image(self) -> Tensor:
        """The picture as it stands, `(3,H,W)` in 0..1 (of the running stage's size)."""
        with torch.no_grad():
            return to_pixels(self.net, self._picture())[0].clamp(0, 1)

    def result(self) -> Stylised:
        table, size = torch.tensor(self.losses).view(-1, 2 + len(self.layers)), [*self._stages.values()][-1]
        image = F.interpolate(self.image()[None], size, mode="bicubic")[0].clamp(0, 1)  # stopped at the coarse stage
        return Stylised(image, table[:, 0], table[:, 1], table[:, 2:], self.layers)

    @with_gradients()
    def step(self) -> float:
        """One step of L-BFGS; the loss before it."""
        if self.done and self.done in self._stages:
            self._begin()

        def closure():
            picture = self._picture()
            loss, gradient = self._fast(picture, self._loss)
            if not torch.isfinite(loss):
                raise RuntimeError("The loss of the style transfer is no longer finite: give other weights.")
            for grid, slope in zip(self._grids, torch.autograd.grad(picture, self._grids, gradient), strict=True):
                grid.grad = slope
            self.losses.append([float(loss), *self._parts])
            return loss

        self._optimiser.step(closure)
        self.done += 1
        return self.losses[-1][0]

    def _begin(self) -> None:
        size, choices = self._stages[self.done], self.choices
        content = to_input(self._pictures[0], self.net, size=size)
        style = to_input(self._pictures[1], self.net, size=max(32, min(size)), crop=False)
        if self.done:
            self._base = F.interpolate(self._picture().detach(), size, mode="bicubic")
        elif choices.start == "content":
            self._base = content
        else:
            # faint: pooling hides strong noise of single pixels from the deep layers, and it would stay
            noise = torch.rand(content.shape, generator=torch.Generator().manual_seed(choices.seed)) * 0.2 + 0.4
            self._base = from_pixels(self.net, noise.to(content))
        levels = min(choices.pyramid, max(0, min(size).bit_length() - 3))  # the coarsest has 4 pixels or more
        sizes = [[-(-side // 2**k) for side in size] for k in range(levels + 1)]
        self._grids = [torch.zeros(1, 3, *s, device=content.device, requires_grad=True) for s in sizes]
        self._optimiser, self.losses = torch.optim.LBFGS(self._grids, max_iter=1, history_size=20), []
        with torch.no_grad():
            self._content = features(self._model, content, self._names)[-1]
            self._grams = [gram(f) for f in features(self._model, style, self._names)[:-1]]

    def _picture(self) -> Tensor:
        """The start plus what the optimiser moved, grid by grid, `(1,3,H,W)` normalised."""
        pixels, *coarser = self._grids
        return sum((F.interpolate(g, pixels.shape[2:], mode="bilinear") for g in coarser), self._base + pixels)

    def _loss(self, x: Tensor) -> Tensor:
        *painted, shown = features(self._fast.net, x, self._names)
        style = [relative(gram(f), goal)[0] for f, goal in zip(painted, self._grams, strict=True)]
        content = relative(shown.float(), self._content)[0]
        self._parts = [float(content.detach()), *(float(s.detach()) for s in style)]
        pixels = to_pixels(self.net, x.float())
        outside = (pixels - pixels.clamp(0, 1)).square().mean()
        loss = self.choices.content_weight * content + sum(w * s for w, s in zip(self.weights, style, strict=True))
        return loss + 20 * outside + self.choices.total_variation * total_variation(pixels).mean()
