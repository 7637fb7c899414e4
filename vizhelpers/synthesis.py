"""Pictures that a class, a channel or a unit wants, by gradient ascent (lesson 10)."""
from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .hooks import resolve_layer, with_gradients
from .models import resolve_target
from .objective import Neuron, score
from .parametrisation import Fourier, Pixels, blurred, moved, normalisation, resized, total_variation
from .speed import Fast

EVERY = 4  # steps from one blur to the next


@dataclass(frozen=True)
class Recipe:
    """How a picture is grown; every regulariser is off at 0 or False. `recipe_for` has one for each net.

    Args:
        size: side of the final picture in pixels.
        stages: 1: all steps at the final size; more: from coarse to fine, each stage `growth` times larger.
        growth: of the side from stage to stage.
        steps: of Adam in each stage.
        rate: Adam's step length (pixels 0..1, or units of the spectrum).
        noise: deviation of the noise around mid grey at the start.
        l2: weight of the mean squared distance of the normalised picture from the mean colour.
        tv: weight of the total variation.
        blur: deviation in pixels of the blur after every fourth step.
        between: deviation in pixels of the blur between the stages.
        jitter: largest shift before a step, in pixels.
        rotate: largest turn before a step, in degrees.
        scale: largest change of scale before a step, as a share.
        fourier: optimise the spectrum, each frequency in units of its share in photographs, instead of the pixels.
        decorrelate: with `fourier`: optimise light and two colour directions instead of red, green and blue.
    """

    size: int = 224
    stages: int = 1
    growth: float = 1.2
    steps: int = 100
    rate: float = 0.05
    noise: float = 0.02
    l2: float = 0.0
    tv: float = 0.0
    blur: float = 0.0
    between: float = 0.0
    jitter: int = 0
    rotate: float = 0.0
    scale: float = 0.0
    fourier: bool = False
    decorrelate: bool = False

    def sizes(self) -> list[int]:
        """The side of each stage's picture, the last one the final one."""
        return [max(8, round(self.size / self.growth**n)) for n in reversed(range(self.stages))]


# What was found to give good pictures, by trying (see the lesson's "Look" texts).
CLASS = Recipe(
    size=224, steps=256, rate=0.05, tv=500, jitter=16, rotate=15, scale=0.2, fourier=True, decorrelate=True
)
CHANNEL = Recipe(size=160, stages=6, steps=16, rate=0.03, noise=0.08, between=0.8, jitter=2)
RECIPES = {
    "squeezenet1_1": (CLASS, CHANNEL),
    "vgg16": (CLASS, CHANNEL),
    "alexnet": (CLASS, replace(CHANNEL, noise=0.2, jitter=4)),  # stride 4: a finer shift would see the same pixels
}


class Maximized(NamedTuple):
    """What `maximize_activation` returns."""

    image: Tensor  # (3,H,W), 0..1
    history: Tensor  # (T,) the score before each step, of the picture as it was moved
    score: float  # of the image as it is, in float32
    start: float  # of the picture at the start, at the final size


def recipe_for(model: nn.Module, target: int | str | Neuron) -> Recipe:
    """The recorded recipe for a net and a kind of target: a class, a channel, or one unit.

    Args:
        model: any net; one that is not known gets SqueezeNet's recipe, at its own input size.
        target: class number, label, or a `Neuron`.

    Returns:
        A `Recipe`; `dataclasses.replace` or keywords of `maximize_activation` change it.

    Example:
        >>> vh.recipe_for(net, "koala").fourier
        True

    Taught in: 10_activation_maximization.
    """
    info = getattr(model, "viz", None)
    of_class, of_channel = RECIPES.get(getattr(info, "name", ""), (CLASS, CHANNEL))
    if not isinstance(target, Neuron):
        return replace(of_class, size=getattr(info, "input_size", of_class.size))
    if target.row is None and target.column is None:
        return of_channel
    return replace(of_class, size=of_channel.size, rotate=0, scale=0, jitter=2)  # a unit looks at one place


class Ascent:
    """Activation maximisation step by step, for a loop or for an explorer; complete after every step."""

    def __init__(self, model: nn.Module, target, recipe: Recipe, *, start: Tensor | None = None, seed: int = 0):
        self.model, self.recipe = model, recipe
        self.generator = torch.Generator().manual_seed(seed)
        like = next(model.parameters(), torch.zeros(1))
        self.mean, self.std = normalisation(model, like)
        self.sizes = recipe.sizes()
        self.total, self.done, self.history = len(self.sizes) * recipe.steps, 0, []
        if start is None:
            noise = torch.randn(1, 3, self.sizes[0], self.sizes[0], generator=self.generator)
            image = (0.5 + recipe.noise * noise).to(like).clamp(0, 1)
        else:
            image = start.detach().to(like).reshape(-1, *start.shape[-3:])[:1].clamp(0, 1)
        whole = self.normalised(resized(image, recipe.size))
        with torch.no_grad():  # one complete pass: unknown classes, layers and units, and layers that run twice, show
            self.target = target if isinstance(target, Neuron) else resolve_target(model, target, 1)
            self.start = float(score(model, whole, self.target))
        self.only = _single(model, self.target)
        self._begin(image)
        # the last stages take nearly all the time
        self.fast = Fast(model, whole, self._score, only=self.only, key=_key(model, self.target))

    def _begin(self, image: Tensor) -> None:
        """A stage begins: the picture at its size, a fresh optimiser."""
        recipe = self.recipe
        image = resized(image, self.sizes[min(self.done // max(recipe.steps, 1), len(self.sizes) - 1)])
        if self.done:
            image = blurred(image, recipe.between)
        with with_gradients():
            self.picture = Fourier(image, recipe.decorrelate) if recipe.fourier else Pixels(image)
            self.adam = torch.optim.Adam([self.picture.values], lr=recipe.rate)

    def normalised(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std

    def _score(self, x: Tensor) -> Tensor:
        if self.only is None:
            return score(self.model, x, self.target, whole=False)
        return score(self.model, x, self.target._replace(channel=0), whole=False)

    def step(self) -> float:
        """One step uphill; returns the score before it."""
        recipe = self.recipe
        if self.done and self.done % recipe.steps == 0:
            self._begin(self.image())
        with with_gradients():
            image = self.picture.image()
            x = moved(image, self.generator, jitter=recipe.jitter, rotate=recipe.rotate, scale=recipe.scale)
            x = self.normalised(x)
            value, gradient = self.fast(x, self._score)
            loss = recipe.tv * total_variation(image).sum() + recipe.l2 * (x**2).mean()
            wanted = (x * gradient).sum()  # its gradient with respect to x is the score's
            self.picture.values.grad = torch.autograd.grad(loss - wanted, self.picture.values)[0]
            self.adam.step()
            self.picture.settle()
        self.done += 1
        self.history.append(float(value))
        if recipe.blur and self.done % EVERY == 0:
            with with_gradients():
                self.picture.put(blurred(self.image(), recipe.blur))
        return self.history[-1]

    @torch.no_grad()
    def image(self) -> Tensor:
        """The picture as it is now, `(1,3,h,w)`, 0..1, detached."""
        return self.picture.image().detach().clone().clamp(0, 1)

    @torch.no_grad()
    def result(self) -> Maximized:
        image = resized(self.image(), self.recipe.size)
        final = float(score(self.model, self.normalised(image), self.target))
        return Maximized(image[0], torch.tensor(self.history), final, self.start)


def maximize_activation(
    model: nn.Module, target: int | str | Neuron, *, recipe: Recipe | None = None, start: Tensor | None = None,
    seed: int = 0, progress: bool = False, **changes,
) -> Maximized:
    """Draw the picture that a class, a channel or a unit of a layer answers to most, by gradient ascent.

    Args:
        model: any net; run in eval mode, in the layout and precision that is fastest here.
        target: class number or label, or a `Neuron`: a channel of any layer, or one unit of it.
        recipe: how; by default the one recorded for this net (`recipe_for`).
        start: picture `(3,H,W)` or `(1,3,H,W)`, 0..1, to begin with; by default mid grey with a little noise.
        seed: of the noise and the movements.
        progress: show a bar; the stop button returns the picture as it is, also without a bar.
        **changes: of single entries of the recipe: size, stages, growth, steps, rate, noise, l2, tv, blur, between,
            jitter, rotate, scale, fourier, decorrelate (see `Recipe`).

    Returns:
        `Maximized`: `.image` `(3,size,size)` in 0..1, `.history` `(T,)`, `.score` and `.start`.

    Raises:
        ValueError: unknown class, layer, channel, unit or entry of the recipe; values out of range.

    Example:
        >>> found = vh.maximize_activation(net, vh.Neuron("features.6", 11), steps=10)
        >>> found.score > found.start
        True

    Source: Simonyan et al. 2014, equation 1; Yosinski et al. 2015, section 3; Olah et al. 2017 (spectrum, movements).
    Taught in: 10_activation_maximization.
    """
    recipe = checked(recipe or recipe_for(model, target), changes)
    with with_gradients():
        ascent = Ascent(model, target, recipe, start=start, seed=seed)
    with tqdm(total=ascent.total, disable=not progress, unit="step", leave=False) as bar:
        try:
            while ascent.done < ascent.total:
                ascent.step()
                bar.update(1)
        except KeyboardInterrupt:
            if not ascent.done:
                raise
    return ascent.result()


def checked(recipe: Recipe, changes: dict) -> Recipe:
    """The recipe with the changes, if all of it makes sense."""
    names = [field.name for field in fields(Recipe)]
    if unknown := [name for name in changes if name not in names]:
        raise ValueError(f"A recipe has no {unknown[0]!r}; it has {', '.join(names)}.")
    recipe = replace(recipe, **changes)
    for name in names:
        least = {"size": 8, "stages": 1, "growth": 1}.get(name, 0)
        if not getattr(recipe, name) >= least:
            raise ValueError(f"{name} of a recipe is at least {least}, not {getattr(recipe, name)!r}.")
    if recipe.decorrelate and not recipe.fourier:
        raise ValueError("decorrelate needs fourier=True: pixels are optimised as red, green and blue.")
    return recipe


def _single(model: nn.Module, target) -> tuple[nn.Conv2d, int] | None:
    """The convolution and channel of a target that needs no other channel of its layer."""
    if not isinstance(target, Neuron):
        return None
    module = resolve_layer(model, target.layer)[1]
    return (module, target.channel) if type(module) is nn.Conv2d and module.groups == 1 else None


def _key(model: nn.Module, target) -> tuple:
    return (resolve_layer(model, target.layer)[0],) if isinstance(target, Neuron) else ("class",)
