"""Style transfer in one pass (Johnson et al. 2016): a small net, trained once for each painting (lesson 11).

`python -m vizhelpers.methods.style_net --style great_wave --out great_wave.safetensors` keeps progress in FILE.part;
the same command goes on where it was stopped, and gives the same net.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
from collections import namedtuple
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..device import device as best_device
from ..device import device_of, stoppable
from ..hooks import evaluating, with_gradients
from ..images import DATA, from_pixels, library, load_image, to_input, to_pixels
from ..scenes import compose_scene
from .fast import Fast, total_variation
from .style import default_net, features, find_layers, gram, relative

STYLE_LAYERS, CONTENT_LAYER = ("relu1_1", "relu2_1", "relu3_1", "relu4_1"), "relu3_3"  # of VGG16
STYLE_SIDE, LOADED_SIDE, CROP = 256, 176, 128  # pixels
Trained = namedtuple("Trained", "net history steps")


def _convolution(inside: int, outside: int, size: int, stride: int = 1, norm: bool = True) -> nn.Sequential:
    """Reflection, not zeros, at the border: zeros would draw a frame."""
    parts = [nn.ReflectionPad2d(size // 2), nn.Conv2d(inside, outside, size, stride)]
    return nn.Sequential(*parts, *([nn.InstanceNorm2d(outside, affine=True)] if norm else []))


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = _convolution(width, width, 3), _convolution(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x).relu())


class StyleNet(nn.Module):
    """Pixels `(N,3,H,W)` in 0..1 in, painted pixels out, of any size from 8 x 8; `width` channels at full size, twice
    and four times as many after each of the two steps down. Lesson 11."""

    def __init__(self, width: int = 16, blocks: int = 4):
        super().__init__()
        self.width, self.blocks = width, blocks
        self.down = nn.ModuleList([_convolution(3, width, 9), _convolution(width, 2 * width, 3, 2),
                                   _convolution(2 * width, 4 * width, 3, 2)])  # fmt: skip
        self.middle = nn.Sequential(*(_Residual(4 * width) for _ in range(blocks)))
        self.up = nn.ModuleList([_convolution(4 * width, 2 * width, 3), _convolution(2 * width, width, 3)])
        self.last = _convolution(width, 3, 9, norm=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        y = F.pad(2 * x - 1, (0, -width % 4, 0, -height % 4), mode="reflect")  # halved twice and doubled twice
        for part in self.down:
            y = part(y).relu()
        y = self.middle(y)
        for part in self.up:  # a transposed convolution would leave a checkerboard
            y = part(F.interpolate(y, scale_factor=2, mode="nearest")).relu()
        return self.last(y)[:, :, :height, :width].sigmoid()


def save_style_net(net: StyleNet, path: str | Path, **facts) -> None:
    """Write a net as float16 safetensors, with facts about its making (style, steps, ...) as metadata."""
    tensors = {name: value.detach().cpu().half().contiguous() for name, value in net.state_dict().items()}
    facts = {"width": net.width, "blocks": net.blocks} | facts
    Path(path).write_bytes(safetensors.torch.save(tensors, {name: str(value) for name, value in facts.items()}))


def load_style_net(name: str | Path, *, device: torch.device | str | None = None) -> StyleNet:
    """A trained net, frozen: of data/style_nets by its painting's name, or a .safetensors file of your own.
    `.facts` is what the file says about its making. Lesson 11."""
    path = Path(name) if str(name).endswith(".safetensors") else DATA / "style_nets" / f"{name}.safetensors"
    if not path.is_file():
        raise ValueError(f"There is no style net {str(name)!r}; there are {', '.join(style_nets())}.")
    with safetensors.safe_open(path, "pt") as file:
        facts = file.metadata()
    net = StyleNet(int(facts["width"]), int(facts["blocks"]))
    net.load_state_dict({key: value.float() for key, value in safetensors.torch.load_file(path).items()})
    net.facts = facts
    net.eval().requires_grad_(False)
    return net.to(best_device() if device is None else device, memory_format=torch.channels_last)


def style_nets() -> list[str]:
    """The names of the trained nets in data/style_nets."""
    return sorted(path.stem for path in (DATA / "style_nets").glob("*.safetensors"))


def stylise(net: StyleNet, image, *, size: int | tuple[int, int] | None = None) -> Tensor:
    """A picture painted by a style net in one forward pass: `(3,H,W)` in 0..1, of the asked size to the pixel.
    `size`: shorter side, or (H, W), by default the picture's own; 8 at least. Lesson 11."""
    picture = load_image(image)
    x = to_input(picture, None, size=picture.size[::-1] if size is None else size, crop=False, device=device_of(net))
    with torch.inference_mode(), evaluating(net):
        pixels = to_pixels(net, x).clamp(0, 1).contiguous(memory_format=torch.channels_last)
        return net(pixels)[0].clone()


# --- training ---
def train_style_net(
    style, *, steps: int = 600, seed: int = 0, start: StyleNet | None = None, content_weight: float = 0.2,
    total_variation: float = 2.0, rate: float = 2e-3, batch: int = 2, warm_up: int = 150, width=16, blocks=4,
    precision: str = "float32", keep=None, callback: Callable[[int, StyleNet], object] | None = None, progress=False,
) -> Trained:
    """Train a net that paints any picture in one style, on `batch` crops of 128 pixels a step: `.net`, `.history`
    `(T,3)` (loss, content, style of this call's steps), `.steps` (all behind the net). `start`: a net to copy and go on
    from; without one, `warm_up` steps first teach the net to return its input. `rate` falls to a twentieth. `keep`: a
    file to go on from in a second call. A true answer of `callback(step, net)` stops.
    Johnson, Alahi & Fei-Fei 2016, section 3; instance norm: Ulyanov et al. 2016. Lesson 11."""
    if steps < 1 or batch < 1:
        raise ValueError(f"Training takes at least one step with one crop, not {steps} and {batch}.")
    recipe = dict(steps=steps, seed=seed, content_weight=content_weight, rate=rate, total_variation=total_variation,
                  batch=batch, warm_up=0 if start else warm_up)  # fmt: skip
    training = _Training(style, start, width, blocks, precision, **recipe)
    if keep and Path(keep).is_file():
        training.resume(keep)
    with stoppable(steps, progress, enough=lambda: training.history) as bar:
        bar.update(training.done)
        while training.done < steps:
            training.step()
            bar.update()
            if keep and training.done % 50 == 0:
                training.save(keep)
            if callback is not None and callback(training.done, training.net):
                break
    if keep:
        training.save(keep)
    return Trained(training.net.eval(), torch.tensor(training.history).view(-1, 3), training.done)


class _Training:
    """The state of a training; every step's crops follow from seed and step number alone, so that it can go on."""

    @with_gradients()
    def __init__(self, style, start: StyleNet | None, width: int, blocks: int, precision: str = "float32", **recipe):
        self.recipe, self.vgg = recipe, default_net()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe["seed"])
            self.net = StyleNet(width, blocks) if start is None else StyleNet(start.width, start.blocks)
        if start is not None:
            self.net.load_state_dict(start.state_dict())
        self.net.to(device_of(self.vgg), memory_format=torch.channels_last).train()
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=recipe["rate"])
        self.done, self.history, self.fast = 0, [], Fast(self.vgg, precision)
        self.names = find_layers(self.vgg, [*STYLE_LAYERS, CONTENT_LAYER])
        painting = to_input(style, self.vgg, size=STYLE_SIDE, crop=False)
        with torch.no_grad():
            self.grams = [gram(f) for f in features(self.vgg, painting, self.names)[:-1]]
        for number in range(recipe["warm_up"]):
            pixels = self.batch(-1 - number)
            self._learn((self.net(pixels) - pixels).abs().mean())

    def _learn(self, out: Tensor, slope: Tensor | None = None):
        self.optimiser.zero_grad()
        out.backward(slope)
        self.optimiser.step()

    @with_gradients()
    def step(self) -> None:
        recipe, numbers = self.recipe, []
        for group in self.optimiser.param_groups:
            group["lr"] = recipe["rate"] * (1 - 0.95 * self.done / recipe["steps"])
        pixels = self.batch(self.done)
        with torch.no_grad():
            content = features(self.vgg, from_pixels(self.vgg, pixels), self.names)[-1]

        def loss(x: Tensor) -> Tensor:
            *painted, shown = features(self.fast.net, x, self.names)
            style = sum(relative(gram(f), goal).mean() for f, goal in zip(painted, self.grams, strict=True))
            parts = relative(shown.float(), content).mean(), style / len(painted)
            numbers.extend(float(part.detach()) for part in parts)
            rough = total_variation(to_pixels(self.vgg, x.float())).mean()
            return parts[1] + recipe["content_weight"] * parts[0] + recipe["total_variation"] * rough

        x = from_pixels(self.vgg, self.net(pixels))
        value, slope = self.fast(x, loss)
        self._learn(x, slope)
        self.done += 1
        self.history.append([float(value), *numbers])

    def batch(self, number: int) -> Tensor:
        """Seeded crops `(batch,3,128,128)`, mirrored half of the time."""
        chance = torch.Generator().manual_seed(self.recipe["seed"] * 1_000_003 + number + 500_000)
        pictures, crops = _training_pictures(), []
        for _ in range(self.recipe["batch"]):
            pixels = pictures[int(torch.randint(len(pictures), (1,), generator=chance))]
            top, left = (int(torch.randint(side - CROP + 1, (1,), generator=chance)) for side in pixels.shape[1:])
            crop = pixels[:, top : top + CROP, left : left + CROP]
            crops.append(crop.flip(2) if torch.rand(1, generator=chance) < 0.5 else crop)
        return (torch.stack(crops).float() / 255).to(device_of(self.net)).contiguous(memory_format=torch.channels_last)

    def save(self, path: str | Path) -> None:
        state = dict(net=self.net.state_dict(), optimiser=self.optimiser.state_dict(), done=self.done)
        torch.save(state | {"recipe": json.dumps(self.recipe)}, f"{path}.new")
        os.replace(f"{path}.new", path)

    def resume(self, path: str | Path) -> None:
        state = torch.load(path, weights_only=True)
        if state["recipe"] != json.dumps(self.recipe):
            raise ValueError(f"{str(path)!r} belongs to a training with other settings: delete it or give them again.")
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.done = state["done"]


@lru_cache(maxsize=1)
def _training_pictures() -> list[Tensor]:
    """The photographs and forty composed scenes as uint8 `(3,H,W)`, shorter side 176."""
    photos, cut_outs = library("photos"), [p.name for p in library("objects")]
    chance = torch.Generator().manual_seed(0)
    images = [load_image(photo) for photo in photos]
    for number in range(40):
        pair = [cut_outs[int(i)] for i in torch.randperm(len(cut_outs), generator=chance)[:2]]
        behind = photos[int(torch.randint(len(photos), (1,), generator=chance))]
        images.append(compose_scene(pair, background=behind.name, size=(176, 224), jitter=1, seed=number).image)
    sizes = [[max(LOADED_SIDE, round(side * LOADED_SIDE / min(i.size))) for side in i.size] for i in images]
    return [torch.from_numpy(np.array(i.resize(s))).permute(2, 0, 1) for i, s in zip(images, sizes, strict=True)]


def main(arguments: list[str] | None = None) -> int:
    """The command line: train one net and write it."""
    parser = argparse.ArgumentParser(prog="python -m vizhelpers.methods.style_net", description="Train a style net.")
    for option, text in dict(style="library name or path of the painting", out=".safetensors file to write").items():
        parser.add_argument(f"--{option}", required=True, help=text)
    parser.add_argument("--start", help="a trained net to begin with (name or file)")
    for option, default in dict(steps=600, seed=0, content_weight=0.2, total_variation=2.0, rate=2e-3).items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=type(default), default=default)
    given = parser.parse_args(arguments)
    options = {name: value for name, value in vars(given).items() if name not in ("out", "start")}
    try:
        start = load_style_net(given.start, device="cpu") if given.start else None
        trained = train_style_net(start=start, keep=f"{given.out}.part", progress=True, **options)
    except (ValueError, FileNotFoundError) as error:
        print(f"vizhelpers: {error}", file=sys.stderr)
        return 1
    if trained.steps < given.steps:
        print(f"stopped at step {trained.steps}; the same command goes on", file=sys.stderr)
        return 1
    command = " ".join([parser.prog, *(sys.argv[1:] if arguments is None else arguments)])
    save_style_net(trained.net, given.out, **options, command=command, start=given.start)
    Path(f"{given.out}.part").unlink()
    print(f"{given.out}: loss, content, style", [round(value, 3) for value in trained.history[-50:].mean(0).tolist()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
