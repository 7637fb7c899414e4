"""Style transfer by optimising a picture (Gatys et al. 2016): content of one picture, Gram matrices of another."""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from .device import device_of
from .hooks import evaluating, outputs_until, with_gradients
from .images import to_input
from .parametrisation import from_pixels, to_pixels
from .speed import Fast, Pace
from .style_losses import default_net, find_layers, gram, prepared, relative, roughness

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_LAYER = "relu4_2"
SIZES = {"cpu": 224, "gpu": 512}  # pixels: a few seconds either way
SMALLEST = 64  # pixels: a coarse stage below this would show the deep layers nothing


class Stylised(NamedTuple):
    """What `style_transfer` returns; the histories hold one number for each step of the last, full-size stage."""

    image: Tensor  # (3,H,W), 0..1
    history: Tensor  # (T,) the whole loss
    content: Tensor  # (T,) squared distance of the content layer from the photograph's, over the photograph's own
    style: Tensor  # (T,L) squared distance of each Gram matrix from the painting's, over the painting's own
    layers: tuple[str, ...]  # the L style layers


def style_transfer(
    content, style, *, net: nn.Module | None = None, size: int | tuple[int, int] | None = None, steps: int = 45,
    content_weight: float = 0.02, style_layers: Mapping[str, float] | Sequence[str] | None = None,
    content_layer: str = CONTENT_LAYER, total_variation: float = 0.0, average_pooling: bool = False,
    start="content", stages: int = 2, pyramid: int = 4, style_scale: float = 1.0, seed: int = 0,
    callback: Callable[[StyleRun], object] | None = None, progress: bool = False,
) -> Stylised:
    """Paint one picture in the style of another: L-BFGS on the pixels until features and Gram matrices fit.

    Args:
        content: the picture that says what is where; anything `load_image` takes.
        style: the picture that says how it is painted; likewise.
        net: by default VGG16's convolutions; for a net that is no VGG give the layers, too.
        size: shorter side of the result in pixels, or (H, W); by default 224 on a CPU and 512 on a GPU.
        steps: of L-BFGS, one pass forward and back each; two thirds of them at half the size if `stages` is 2.
        content_weight: of the content loss, beside style losses whose weights add up to 1. 0.005 (only the strongest
            shapes stay) to 0.5 (only colours and fine strokes change).
        style_layers: layers, or layers with weights; names as in the papers ("relu3_1") or dotted.
        content_layer: likewise; a "conv" layer is taken before its ReLU, a "relu" layer after it.
        total_variation: weight of the mean squared difference of neighbouring pixels.
        average_pooling: in place of max pooling, in a copy of the net.
        start: "content", "noise", or a picture.
        stages: 1: all steps at the full size; 2: half size first, four times as fast and with broader strokes.
        pyramid: levels of coarser grids that the optimiser moves beside the pixels: large areas then change colour
            in a few steps. 0: the pixels alone, as in the paper.
        style_scale: size of the strokes: the style picture's shorter side over that of the result.
        seed: of the noise.
        callback: called with the run after every step (see `StyleRun`); a true answer stops it.
        progress: show a bar; the stop button returns what there is, also without a bar.

    Returns:
        `Stylised`: the picture and the losses. Both losses are relative: 1 is as far off as an empty picture.

    Raises:
        ValueError: unknown layers, steps or stages below 1, negative weights.

    Example:
        >>> painted = vh.style_transfer("koala", "great_wave", size=128, steps=30)
        >>> vh.show_images(painted.image)

    Source: Gatys, Ecker & Bethge 2016, section 2; the relative losses, the stages and the pyramid are ours.
    Taught in: 11_style_transfer.
    """
    run = StyleRun(
        content, style, net=net, size=size, steps=steps, content_weight=content_weight, style_layers=style_layers,
        content_layer=content_layer, total_variation=total_variation, average_pooling=average_pooling, start=start,
        stages=stages, pyramid=pyramid, style_scale=style_scale, seed=seed,
    )  # fmt: skip
    try:
        with tqdm(total=steps, disable=not progress, unit="step", leave=False) as bar:
            while not run.finished:
                run.step()
                bar.update(1)
                if callback is not None and callback(run):
                    break
    except KeyboardInterrupt:
        if not run.done:
            raise
    return run.result()


class StyleRun:
    """A style transfer that is done step by step: `step()` until `finished`; `image()` and `result()` at any time.

    `losses` has a row for each step of the running stage: the whole, content, and one for each style layer.
    """

    def __init__(
        self, content, style, *, net=None, size=None, steps=45, content_weight=0.02, style_layers=None,
        content_layer=CONTENT_LAYER, total_variation=0.0, average_pooling=False, start="content", stages=2, pyramid=4,
        style_scale=1.0, seed=0,
    ):  # fmt: skip
        if steps < 1 or stages < 1 or pyramid < 0 or not style_scale > 0:
            raise ValueError(
                "Style transfer needs at least 1 step and 1 stage, a pyramid of 0 levels or more and a style_scale "
                f"above 0, not {steps}, {stages}, {pyramid} and {style_scale}."
            )
        net = default_net() if net is None else net
        size = SIZES.get(device_of(net).type, SIZES["gpu"]) if size is None else size
        self.model, self._ready = prepared(net, average_pooling)
        chosen = dict.fromkeys(style_layers or STYLE_LAYERS, 1.0)
        chosen |= style_layers if isinstance(style_layers, Mapping) else {}
        self.layers = tuple(name for name, weight in chosen.items() if weight)
        weights = [chosen[name] for name in self.layers]
        if min([content_weight, total_variation, *weights]) < 0 or not (self.layers or content_weight):
            raise ValueError("Weights are 0 or more, and one of content and style must count.")
        self.weights = [weight / sum(weights) for weight in weights]
        self.content_weight, self.total_variation = content_weight, total_variation
        self._names = find_layers(self.model, [*self.layers, content_layer])
        goal = to_input(content, net, size=size, crop=False)
        self.content_picture, self.style_picture = content, style
        self.net, self.scale, self.start, self.pyramid, self.seed = net, style_scale, start, pyramid, seed
        height, width = goal.shape[2:]
        coarse = [2**k for k in range(stages) if k == 0 or min(height, width) / 2**k >= SMALLEST]
        sizes = [(round(height / k), round(width / k)) for k in reversed(coarse)]
        # of two stages the coarse one takes two thirds of the steps: it makes the picture, the fine one its detail
        shares = [steps - steps * 2 // 3] if len(sizes) > 1 else [steps]
        while len(shares) < len(sizes):
            left = steps - sum(shares)
            shares.insert(0, left if len(shares) == len(sizes) - 1 else left // 2)
        self._plan = [(one, count) for one, count in zip(sizes, shares, strict=True) if count]
        self.total, self.done = steps, 0
        self._stage = -1
        self._next_stage()

    @property
    def finished(self) -> bool:
        return self.done >= self.total

    @property
    def pace(self) -> Pace:
        """How the net is run here: layout, precision, Winograd's filtering; see speed.py."""
        return self._fast.pace

    def image(self) -> Tensor:
        """The picture as it stands, `(3,H,W)` in 0..1 (of the running stage's size)."""
        with torch.no_grad():
            return to_pixels(self.net, self._picture())[0].clamp(0, 1)

    def result(self) -> Stylised:
        table = torch.tensor(self.losses).view(len(self.losses), -1)
        image = self.image()
        size = self._plan[-1][0]
        if image.shape[1:] != size:  # stopped at a coarse stage
            image = F.interpolate(image[None], size=size, mode="bicubic", align_corners=False)[0].clamp(0, 1)
        return Stylised(image, table[:, 0], table[:, 1], table[:, 2:], self.layers)

    def step(self) -> float:
        """One step of L-BFGS; the loss before it."""
        if self._left == 0:
            self._next_stage()

        def closure():
            with with_gradients():
                picture = self._picture()
            loss, gradient = self._fast(picture, self._loss)
            if not torch.isfinite(loss):
                raise RuntimeError("The loss of the style transfer is no longer finite: give other weights.")
            with with_gradients():
                (slope,) = torch.autograd.grad(picture, self._flat, gradient)
            self._flat.grad = slope
            self.losses.append([float(loss), *self._parts])
            return loss

        self._optimiser.step(closure)
        self.done, self._left = self.done + 1, self._left - 1
        return self.losses[-1][0]

    def _next_stage(self) -> None:
        before = self._picture().detach() if self._stage >= 0 else None
        self._stage += 1
        size, self._left = self._plan[self._stage]
        content = to_input(self.content_picture, self.net, size=size)
        side = max(32, round(min(size) * self.scale))
        style = to_input(self.style_picture, self.net, size=side, crop=False)
        if before is not None:
            base = F.interpolate(before, size=size, mode="bicubic", align_corners=False)
        elif not isinstance(self.start, str) or self.start not in ("content", "noise"):
            base = to_input(self.start, self.net, size=size)
        elif self.start == "content":
            base = content.clone()
        else:
            # faint: pooling hides strong noise of single pixels from the deep layers, and it would stay
            noise = torch.rand(content.shape, generator=torch.Generator().manual_seed(self.seed)) * 0.2 + 0.4
            base = from_pixels(self.net, noise.to(content))
        self._base, self.losses = base, []
        deepest = max(0, int(math.log2(min(size))) - 2)
        self._grids = [tuple(-(-side // 2**k) for side in size) for k in range(min(self.pyramid, deepest) + 1)]
        self._flat = torch.zeros(sum(3 * h * w for h, w in self._grids), device=base.device, requires_grad=True)
        self._optimiser = torch.optim.LBFGS([self._flat], max_iter=1, history_size=20)
        with torch.no_grad():
            *_, self._content = self._features(content)
            self._grams = [gram(f) for f in self._features(style)[:-1]]
        key = ("style", tuple(self._names))
        # one probe for all choices of layers: what is fastest for one is for the others
        self._fast = self._ready.get(key) or Fast(self.model, base, self._loss, key=("style",))
        self._ready[key] = self._fast

    def _picture(self) -> Tensor:
        """The start plus what the optimiser moved, grid by grid, `(1,3,H,W)` normalised."""
        picture = self._base
        for part, grid in zip(self._flat.split([3 * h * w for h, w in self._grids]), self._grids, strict=True):
            part = part.view(1, 3, *grid)
            if grid != self._grids[0]:
                part = F.interpolate(part, size=self._grids[0], mode="bilinear", align_corners=False)
            picture = picture + part
        return picture

    def _features(self, x: Tensor) -> list[Tensor]:
        with evaluating(self.model):
            found = outputs_until(self.model, x, *dict.fromkeys(self._names))
        return [found[name] for name in self._names]

    def _loss(self, x: Tensor) -> Tensor:
        *painted, shown = self._features(x)
        style = [relative(gram(f), goal)[0] for f, goal in zip(painted, self._grams, strict=True)]
        content = relative(shown.float(), self._content)[0]
        pixels = to_pixels(self.net, x.float())
        outside = (pixels - pixels.clamp(0, 1)).square().mean()
        self._parts = [float(content.detach()), *(float(s.detach()) for s in style)]
        loss = self.content_weight * content + sum(w * s for w, s in zip(self.weights, style, strict=True))
        return loss + 20 * outside + self.total_variation * roughness(pixels)
