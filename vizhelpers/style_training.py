"""Training a style net: seeded crops of the library, the losses of style transfer, a checkpoint (lesson 11)."""
from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .device import device_of
from .hooks import evaluating, outputs_until
from .images import compose_scene, to_input
from .parametrisation import from_pixels, to_pixels
from .pictures import library, load_image
from .speed import Fast
from .style_losses import default_net, find_layers, gram, relative, roughness
from .style_net import StyleNet

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
CONTENT_LAYER = "relu3_3"
STYLE_SIDE, LOADED_SIDE, CROP = 256, 176, 128  # pixels


class Trained(NamedTuple):
    """What `train_style_net` returns."""

    net: StyleNet
    history: Tensor  # (T,3) loss, content and style of every step of this call
    steps: int  # steps behind the net, earlier calls included


def train_style_net(
    style, *, steps: int = 600, seed: int = 0, start: StyleNet | None = None, content_weight: float = 0.2,
    total_variation: float = 2.0, rate: float = 2e-3, batch: int = 2, warm_up: int = 150, width: int = 16,
    blocks: int = 4, keep: str | Path | None = None, callback: Callable[[int, StyleNet], object] | None = None,
    progress: bool = False,
) -> Trained:
    """Train a net that paints any picture in one style, on crops of the library's photographs and on composed scenes.

    Args:
        style: the painting; anything `load_image` takes.
        steps: of Adam, each on `batch` crops of 128 pixels.
        seed: of the net's first weights and of the crops.
        start: a trained net to begin with (a copy is trained): another painting then takes fewer steps.
        content_weight: of the content loss (relu3_3 of VGG16) beside the mean of the style losses (relu1_1 to relu4_1).
        total_variation: weight of the mean squared difference of neighbouring pixels.
        rate: Adam's step length at the start; it falls to a twentieth.
        batch: crops in a step.
        warm_up: steps before the first one, in which the net learns to return its input, on pixels alone (cheap); none
            with `start`.
        width: see `StyleNet`.
        blocks: see `StyleNet`.
        keep: a file for what is needed to go on: a second call with it continues.
        callback: called with step number and net; a true answer stops the training.
        progress: show a bar; the stop button returns the net as it is.

    Returns:
        `Trained`: the net in eval mode, the losses, the steps done.

    Raises:
        ValueError: steps or batch below 1, or `keep` belongs to another training.

    Example:
        >>> vh.train_style_net("great_wave", steps=2, warm_up=2, width=4, blocks=1).steps
        2

    Source: Johnson, Alahi & Fei-Fei 2016, section 3; instance norm: Ulyanov et al. 2016.
    Taught in: 11_style_transfer.
    """
    if steps < 1 or batch < 1:
        raise ValueError(f"Training takes at least one step with one crop, not {steps} and {batch}.")
    training = _Training(style, start, width, blocks, steps=steps, seed=seed, content_weight=content_weight, rate=rate,
                         total_variation=total_variation, batch=batch, warm_up=0 if start else warm_up)  # fmt: skip
    training.resume(keep)
    try:
        with tqdm(total=steps, initial=training.done, disable=not progress, unit="step", leave=False) as bar:
            while training.done < steps:
                training.step()
                bar.update(1)
                if keep and training.done % 50 == 0:
                    training.save(keep)
                if callback is not None and callback(training.done, training.net):
                    break
    except KeyboardInterrupt:
        if not training.history:
            raise
    if keep:
        training.save(keep)
    return Trained(training.net.eval(), torch.tensor(training.history).view(-1, 3), training.done)


class _Training:
    """The state of a training; every step's crops follow from seed and step number alone, so that it can go on."""

    def __init__(self, style, start: StyleNet | None, width: int, blocks: int, **recipe):
        self.recipe, seed = recipe, recipe["seed"]
        self.vgg, place = default_net(), device_of(default_net())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = StyleNet(width, blocks) if start is None else StyleNet(start.width, start.blocks)
        if start is not None:
            self.net.load_state_dict(start.state_dict())
        self.net.to(place, memory_format=torch.channels_last).requires_grad_(True).train()
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=recipe["rate"])
        self.done, self.history = 0, []
        self.pictures = _training_pictures()
        self.names = find_layers(self.vgg, [*STYLE_LAYERS, CONTENT_LAYER])
        painting = to_input(style, self.vgg, size=STYLE_SIDE, crop=False)
        with torch.no_grad():
            self.grams = [gram(f) for f in self._features(painting)[:-1]]
        self.fast = None
        for number in range(self.recipe["warm_up"]):
            pixels = self.batch(-1 - number)
            self._learn(pixels, lambda painted, pixels=pixels: (painted - pixels).abs().mean())

    def step(self) -> None:
        steps, rate = self.recipe["steps"], self.recipe["rate"]
        for group in self.optimiser.param_groups:
            group["lr"] = rate * (1 - 0.95 * self.done / steps)
        pixels = self.batch(self.done)
        with torch.no_grad():
            content = self._features(from_pixels(self.vgg, pixels))[-1]
        numbers = {}

        def loss(x: Tensor) -> Tensor:
            *painted, shown = self._features(x)
            style = sum(relative(gram(f), goal).mean() for f, goal in zip(painted, self.grams, strict=True))
            numbers["content"], numbers["style"] = relative(shown.float(), content).mean(), style / len(painted)
            smooth = self.recipe["total_variation"] * roughness(to_pixels(self.vgg, x.float()))
            return numbers["style"] + self.recipe["content_weight"] * numbers["content"] + smooth

        painted = self.net(pixels)
        x = from_pixels(self.vgg, painted)
        if self.fast is None:
            self.fast = Fast(self.vgg, x.detach(), loss, key=("style_net", *self.names))
        value, slope = self.fast(x, loss)
        self.optimiser.zero_grad()
        x.backward(slope)
        self.optimiser.step()
        self.done += 1
        self.history.append([float(value), *(float(numbers[part].detach()) for part in ("content", "style"))])

    def batch(self, number: int) -> Tensor:
        """Seeded crops `(batch,3,128,128)`, mirrored half of the time."""
        chance = torch.Generator().manual_seed(self.recipe["seed"] * 1_000_003 + number + 500_000)
        crops = []
        for _ in range(self.recipe["batch"]):
            pixels = self.pictures[int(torch.randint(len(self.pictures), (1,), generator=chance))]
            top, left = (int(torch.randint(side - CROP + 1, (1,), generator=chance)) for side in pixels.shape[1:])
            crop = pixels[:, top : top + CROP, left : left + CROP]
            crops.append(crop.flip(2) if torch.rand(1, generator=chance) < 0.5 else crop)
        return (torch.stack(crops).float() / 255).to(device_of(self.net)).contiguous(memory_format=torch.channels_last)

    def _learn(self, pixels: Tensor, loss: Callable[[Tensor], Tensor]) -> None:
        self.optimiser.zero_grad()
        loss(self.net(pixels)).backward()
        self.optimiser.step()

    def _features(self, x: Tensor) -> list[Tensor]:
        with evaluating(self.vgg):
            found = outputs_until(self.vgg, x, *self.names)
        return [found[name] for name in self.names]

    def save(self, path: str | Path) -> None:
        state = dict(net=self.net.state_dict(), optimiser=self.optimiser.state_dict(), done=self.done)
        torch.save(state | {"recipe": json.dumps(self.recipe)}, f"{path}.new")
        os.replace(f"{path}.new", path)

    def resume(self, path: str | Path | None) -> None:
        if path is None or not Path(path).is_file():
            return
        state = torch.load(path, weights_only=True)
        if state["recipe"] != json.dumps(self.recipe):
            raise ValueError(f"{str(path)!r} belongs to a training with other settings: delete it or give them again.")
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.done = state["done"]


@lru_cache(maxsize=1)
def _training_pictures() -> list[Tensor]:
    """The library's photographs and forty composed scenes as uint8 `(3,H,W)`, shorter side 176 pixels."""
    photos, cut_outs = library("photos"), [p.name for p in library("objects")]
    chance = torch.Generator().manual_seed(0)
    images = [load_image(photo) for photo in photos]
    for number in range(40):
        pair = [cut_outs[int(i)] for i in torch.randperm(len(cut_outs), generator=chance)[:2]]
        behind = photos[int(torch.randint(len(photos), (1,), generator=chance))]
        images.append(compose_scene(pair, background=behind.name, size=(176, 224), jitter=1, seed=number).image)
    found = []
    for image in images:
        zoom = LOADED_SIDE / min(image.size)
        image = image.resize([max(LOADED_SIDE, round(side * zoom)) for side in image.size])
        found.append(torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(*image.size[::-1], 3))
    return [pixels.permute(2, 0, 1) for pixels in found]
