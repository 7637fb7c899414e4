"""Pictures that a class, a channel or a unit wants, by gradient ascent; DeepDream; the shipped gallery (lesson 10)."""
import math
from collections import namedtuple
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..device import finished, info_of, stoppable, table, warn
from ..hooks import outputs_until, resolve_layer, with_gradients
from ..images import DATA, from_pixels, library, to_display, to_input, to_pixels
from ..targets import Neuron, resolve_target, score
from .activations import activations
from .fast import Fast, changed, total_variation

# Square root of the covariance of the colours of the library's photographs, in units of their mean deviation: three
# independent numbers times this are as correlated as red, green and blue are (tests/test_synthesis.py computes it).
COLOURS = ((0.8387, 0.4648, 0.3102), (0.4648, 0.6810, 0.4798), (0.3102, 0.4798, 0.8669))
EDGE = 0.02  # values this near to 0 or 1 are moved away from them before a logit is taken
RATIO, SMALLEST = 1.5, 48  # of DeepDream's octaves; those below so many pixels are left out
Maximized = namedtuple("Maximized", "image history score start weight")
Dream = namedtuple("Dream", "path net name layer channel label score library_score library_picture")


class Pixels:
    """The picture itself is what the optimiser changes."""
    def __init__(self, image: Tensor):
        self.values = self.written(image.detach()).requires_grad_(True)

    def image(self) -> Tensor:
        return self.values

    def written(self, image: Tensor) -> Tensor:
        return image.clone()


class Fourier(Pixels):
    """The optimiser changes the picture's spectrum, each frequency in units of its share in photographs (1/f): a step
    changes large shapes as readily as fine ones. `decorrelate`: light and two colours, not red, green and blue."""
    def __init__(self, image: Tensor, decorrelate: bool = True):
        self.size = tuple(image.shape[-2:])
        self.basis = (torch.tensor(COLOURS) if decorrelate else torch.eye(3)).to(image)
        rows, columns = torch.fft.fftfreq(self.size[0])[:, None], torch.fft.rfftfreq(self.size[1])[None]
        share = 1 / (rows**2 + columns**2).sqrt().clamp(min=1 / max(self.size))
        self.share = (share / share.square().mean().sqrt()).to(image)
        super().__init__(image)

    def spectrum(self) -> Tensor:
        return torch.view_as_complex(self.values) * self.share

    def image(self) -> Tensor:
        planes = torch.fft.irfft2(self.spectrum(), s=self.size, norm="ortho")
        return torch.einsum("ij,njhw->nihw", self.basis, planes).sigmoid()

    def written(self, image: Tensor) -> Tensor:
        planes = torch.einsum("ij,njhw->nihw", self.basis.inverse(), image.clamp(EDGE, 1 - EDGE).logit())
        return torch.view_as_real(torch.fft.rfft2(planes, norm="ortho") / self.share).contiguous()


class Phase(Fourier):
    """The optimiser changes the phases only: each frequency is as strong as on average in photographs (MACO)."""
    def spectrum(self) -> Tensor:
        angles, width = self.values.clone(), self.size[1]
        both = angles[..., :: width if width % 2 else width // 2]  # columns with each frequency and its mirror image,
        both.copy_((both - both.flip(2).roll(1, 2)) / 2)  # which has the opposite phase: the picture is real
        return torch.polar(torch.ones_like(angles), angles) * mean_magnitude(self.size).to(angles)

    def written(self, image: Tensor) -> Tensor:
        return torch.view_as_complex(super().written(image)).angle()


@cache
@with_gradients()
def mean_magnitude(size: tuple[int, int]) -> Tensor:
    """Of each frequency in the library's photographs, `(1,3,H,W//2+1)`: their light and two colours, as `Fourier`'s."""
    total = sum(Fourier(to_display(to_input(p, size=size))).spectrum().detach().abs() for p in library("photos"))
    total[..., 0, 0] = 0  # light and dark ones cancel: mid grey
    return total / len(library("photos"))


WAYS = {"pixels": Pixels, "spectrum": partial(Fourier, decorrelate=False), "decorrelated": Fourier, "phase": Phase}


def blurred(image: Tensor, sigma: float) -> Tensor:
    if sigma <= 0:
        return image
    from torchvision.transforms.functional import gaussian_blur
    reach = max(1, round(3 * sigma))
    image = F.pad(image, [reach] * 4, mode="replicate")
    return gaussian_blur(image, 2 * reach + 1, sigma)[..., reach:-reach, reach:-reach]


def resized(image: Tensor, size: int | tuple[int, int]) -> Tensor:
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)


def moved(image: Tensor, generator: torch.Generator, recipe) -> Tensor:
    """A square picture shifted, turned and scaled by as much as the recipe allows; its gradient undoes the movement.
    Outside is a reflection: of torchvision's zeros a net would soon look for the rim."""
    if recipe.rotate or recipe.scale:
        angle, factor = (2 * torch.rand(2, generator=generator) - 1).tolist()
        angle, factor = math.radians(recipe.rotate * angle), 1 + recipe.scale * factor
        cosine, sine = math.cos(angle) / factor, math.sin(angle) / factor
        turn = image.new_tensor([[[cosine, -sine, 0.0], [sine, cosine, 0.0]]])
        grid = F.affine_grid(turn, image.shape, align_corners=False)
        image = F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    way = torch.randint(-recipe.jitter, recipe.jitter + 1, (2,), generator=generator) if recipe.jitter else (0, 0)
    return torch.roll(image, [int(n) for n in way], (2, 3))


def crops(image: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Random squares, of a quarter to a half of the picture's side, enlarged to that half, with a little noise."""
    parts, whole, half = [], image.shape[-1], image.shape[-1] // 2
    for share, *place in torch.rand(count, 3, generator=generator).tolist():
        side = round(half * (1 + share) / 2)
        top, left = (int(p * (whole - side + 1)) for p in place)
        parts.append(resized(image[..., top : top + side, left : left + side], half))
    return torch.cat(parts) + 0.08 * torch.randn(count, 3, half, half, generator=generator).to(image)


@dataclass(frozen=True)
class Recipe:
    """How a picture is grown; every regulariser is off at 0 or False. `recipe_for` has one for each net. Lesson 10."""
    size: int = 224  # side of the final picture in pixels
    stages: int = 1  # 1: all steps at the final size; more: from coarse to fine
    growth: float = 1.2  # of the side from stage to stage
    steps: int = 100  # of Adam in each stage
    rate: float = 0.05  # Adam's step length (pixels 0..1, or units of the spectrum)
    noise: float = 0.02  # deviation of the noise around mid grey at the start
    l2: float = 0.0  # weight of the mean squared distance of the normalised picture from the mean colour
    tv: float = 0.0  # weight of the total variation
    blur: float = 0.0  # deviation in pixels of the blur after every fourth step
    between: float = 0.0  # deviation in pixels of the blur between the stages
    jitter: int = 0  # largest shift before a step, in pixels
    rotate: float = 0.0  # largest turn before a step, in degrees
    scale: float = 0.0  # largest change of scale before a step, as a share
    crops: int = 0  # random crops in each step, with noise; 0: the whole picture
    parametrization: str = "pixels"  # what is optimised; or "spectrum", "decorrelated" (light and two colours), "phase"

    def __post_init__(self):
        if self.parametrization not in WAYS:
            raise ValueError(f"parametrization is {', '.join(map(repr, WAYS))}, not {self.parametrization!r}.")
        for name, value in vars(self).items():
            least = {"size": 8, "stages": 1, "growth": 1}.get(name, 0)
            if name != "parametrization" and not value >= least:
                raise ValueError(f"{name} of a recipe is at least {least}, not {value!r}.")

    def sizes(self) -> list[int]:
        return [max(8, round(self.size / self.growth**n)) for n in reversed(range(self.stages))]


CLASS = Recipe(steps=256, tv=500, jitter=16, rotate=15, scale=0.2, parametrization="decorrelated")
CHANNEL = Recipe(size=160, stages=6, steps=16, rate=0.03, noise=0.08, between=0.8, jitter=2)
ALEXNET_CHANNEL = replace(CHANNEL, noise=0.2, jitter=4)  # stride 4: a finer shift would see the same pixels


def recipe_for(model: nn.Module, target: int | str | Neuron) -> Recipe:
    """The recorded recipe for a net and a kind of target: a class (at the net's input size), a channel, or one unit.
    `dataclasses.replace`, or keywords of `maximize_activation`, change it. Lesson 10."""
    info = info_of(model)
    if not isinstance(target, Neuron):
        return replace(CLASS, size=getattr(info, "input_size", CLASS.size))
    if target.row is None and target.column is None:
        return ALEXNET_CHANNEL if getattr(info, "name", "") == "alexnet" else CHANNEL
    return replace(CLASS, size=CHANNEL.size, rotate=0, scale=0, jitter=2)  # a unit looks at one place


class Ascent:
    """Activation maximisation step by step, for a loop or for an explorer; complete after every step."""
    @with_gradients()
    def __init__(self, model: nn.Module, target, recipe: Recipe, *, start=None, seed=0, precision="float32"):
        self.model, self.recipe, self.sizes = model, recipe, recipe.sizes()
        self.generator = torch.Generator().manual_seed(seed)
        self.total, self.done, self.history = len(self.sizes) * recipe.steps, 0, []
        like = next(model.parameters(), torch.zeros(1))
        like = like.float() if like.dtype in (torch.float16, torch.bfloat16) else like  # the picture stays in float32
        if start is None:
            start = 0.5 + recipe.noise * torch.randn(3, self.sizes[0], self.sizes[0], generator=self.generator)
        image = start.detach().to(like).reshape(-1, *start.shape[-3:])[:1].clamp(0, 1)
        self.weight = image.new_zeros(recipe.size, recipe.size)
        filtered = isinstance(target, Neuron)
        self.target = (target._replace(layer=resolve_layer(model, target.layer)[0]) if filtered
                       else int(resolve_target(model, target, 1)))  # fmt: skip
        self.start = self._final_score(resized(image, recipe.size))  # a whole pass: shows layers that run twice
        self.fast = Fast(model, precision)
        self.wanted = self.fast.narrowed(self.target) if filtered else self.target
        self._begin(image)

    def _begin(self, image: Tensor) -> None:
        image = resized(image, self.sizes[self.done // max(self.recipe.steps, 1)])
        image = blurred(image, self.recipe.between if self.done else 0)
        self.picture = WAYS[self.recipe.parametrization](image)
        self.adam = torch.optim.Adam([self.picture.values], lr=self.recipe.rate)

    @torch.no_grad()
    def _final_score(self, image: Tensor) -> float:
        return float(score(self.model, from_pixels(self.model, image), self.target))

    @with_gradients()
    def step(self) -> float:
        """One step uphill; returns the score before it."""
        recipe = self.recipe
        if self.done and self.done % recipe.steps == 0:
            self._begin(self.image())
        image = self.picture.image()
        seen = moved(image, self.generator, recipe)
        x = from_pixels(self.model, crops(seen, recipe.crops, self.generator) if recipe.crops else seen)
        value, gradient = self.fast(x, lambda x: score(self.fast.net, x, self.wanted, whole=False))
        loss = recipe.tv * total_variation(image).sum() + recipe.l2 * (x**2).mean()
        wanted = (x * gradient).sum() / len(x)  # its gradient with respect to x is that of the mean score
        self.picture.values.grad, slope = torch.autograd.grad(loss - wanted, [self.picture.values, image])
        self.weight += resized(slope.abs().mean(1, keepdim=True), recipe.size)[0, 0]
        self.adam.step()
        self.done += 1
        blur = recipe.blur if self.done % 4 == 0 else 0
        if blur or recipe.parametrization == "pixels":  # pixels that left 0..1 are put back
            self.picture.values.data.copy_(self.picture.written(blurred(self.image(), blur)))  # Adam holds them
        self.history.append(float(value.mean()))
        return self.history[-1]

    @torch.no_grad()
    def image(self) -> Tensor:
        """The picture as it is now, `(1,3,h,w)`, 0..1, detached."""
        return self.picture.image().clamp(0, 1)

    def result(self) -> Maximized:
        image = resized(self.image(), self.recipe.size)
        return Maximized(image[0], torch.tensor(self.history), self._final_score(image), self.start, self.weight)


def maximize_activation(model: nn.Module, target: int | str | Neuron, *, recipe: Recipe | None = None, seed: int = 0,
                        start: Tensor | None = None, precision="float32", progress=False, **changes) -> Maximized:
    """The picture that a class, a channel or a unit of a layer answers to most, by gradient ascent from `start`.
    `recipe` (by default `recipe_for` this net) says how; keywords change single entries of it: `size=128, steps=20`.
    `start`: `(3,H,W)` in 0..1, by default grey with a little noise. `precision="bfloat16"`: `Fast` in methods/fast.py.
    Returns `.image` `(3,size,size)` in 0..1, `.history` `(T,)` (the score before each step, of the picture as moved or
    cropped), `.score` of the image, `.start`, that of the first one, and `.weight` `(size,size)`, the sum of its
    gradients' magnitudes. Simonyan et al. 2014; Yosinski et al. 2015; Olah et al. 2017; Fel et al. 2023. Lesson 10."""
    recipe = changed(recipe or recipe_for(model, target), changes)
    made = finished(Ascent(model, target, recipe, start=start, seed=seed, precision=precision), progress)
    if made.score == made.start and len(made.history):
        warn(f"The score stayed at {made.score:.3g}: from here every path passes a ReLU that is off: give another "
             "start, such as a photograph's vh.to_display(x, net)[0].")  # fmt: skip
    return made


def deep_dream(model: nn.Module, x: Tensor, layer, *, octaves: int = 4, steps: int = 16, rate: float = 0.008,
               jitter: int = 16, seed: int = 0, precision="float32", progress=False) -> Tensor:  # fmt: skip
    """DeepDream: whatever a layer sees in a picture, make it see more: `(N,3,H,W)` in 0..1.
    The mean of its squared outputs rises, on octaves of the picture, each two thirds of the next, not below 48 pixels,
    by steps of `rate` (pixels 0..1) on average, shifted by up to `jitter`. Mordvintsev et al. 2015. Lesson 10."""
    activations(model, x, layer)  # a whole pass: a layer that is unknown or runs twice shows here
    name, fast = resolve_layer(model, layer)[0], Fast(model, precision)
    image = first = to_pixels(model, x.detach()).clamp(0, 1)
    chance = torch.Generator().manual_seed(seed)

    def energy(x: Tensor) -> Tensor:
        return outputs_until(fast.net, x, name)[name].float().square().flatten(1).mean(1)

    sizes = [tuple(round(side / RATIO**n) for side in x.shape[-2:]) for n in reversed(range(octaves))]
    sizes = [one for one in sizes if min(one) >= SMALLEST] or [tuple(x.shape[-2:])]
    with stoppable(len(sizes) * steps, progress) as bar:
        for one in sizes:
            image = (resized(first, one) + resized(image - resized(first, image.shape[-2:]), one)).clamp(0, 1)
            for _ in range(steps):
                down, right = torch.randint(-jitter, jitter + 1, (2,), generator=chance).tolist()
                rolled = torch.roll(image, (down, right), (2, 3))
                gradient = fast(from_pixels(model, rolled), energy)[1]
                length = gradient.abs().mean((1, 2, 3), keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
                image = torch.roll((rolled + rate * gradient / length).clamp(0, 1), (-down, -right), (2, 3))
                bar.update()
    return image


def dreams(name: str | None = None) -> list[Dream]:
    """The shipped pictures of a `name` ("conv2_2", "conv3_2", "conv4_1", "conv5_3", "class", "pixels", "decorrelated",
    "phase") or all: path, net, name, layer ("features.12" or ""), channel (or class number), label (or ""), score (mean
    of the map, or logit), and library_score of library_picture, the highest of any library picture. Lesson 10."""
    rows = [Dream(DATA / "dreams" / row.pop("file"), **row) for row in table(DATA / "dreams" / "dreams.csv")]
    if name not in (None, *(row.name for row in rows)):
        raise ValueError(f"The gallery has {', '.join(sorted({row.name for row in rows}))}, not {name!r}.")
    return [row._replace(channel=int(row.channel), score=float(row.score), library_score=float(row.library_score))
            for row in rows if name in (None, row.name)]  # fmt: skip
