"""Style transfer in one pass (Johnson et al. 2016): a small net, trained once for each painting (lesson 11)."""
from collections import namedtuple
from functools import lru_cache
from pathlib import Path

import numpy as np
import safetensors
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..device import device as best_device
from ..device import device_of, stoppable
from ..hooks import evaluating, with_gradients
from ..images import DATA, from_pixels, library, load_image, to_input, to_pixels
from ..scenes import compose_scene
from .fast import Fast
from .fast import total_variation as roughness
from .style import default_net, features, find_layers, gram, relative

STYLE_LAYERS, CONTENT_LAYER = ("relu1_1", "relu2_1", "relu3_1", "relu4_1"), "relu3_3"  # of VGG16
STYLE_SIDE, LOADED_SIDE, CROP = 256, 176, 128  # pixels
BATCH, WARM_UP = 2, 150  # crops a step, steps in which a new net learns to return its input
Trained = namedtuple("Trained", "net history")


def _convolution(inside: int, outside: int, size: int, stride: int = 1) -> nn.Sequential:
    """Reflection, not zeros, at the border: zeros would draw a frame."""
    convolution = nn.Conv2d(inside, outside, size, stride)
    return nn.Sequential(nn.ReflectionPad2d(size // 2), convolution, nn.InstanceNorm2d(outside, affine=True))


class StyleNet(nn.Module):
    """Pixels `(N,3,H,W)` in 0..1 in, painted pixels out, of any size from 8 x 8; `width` channels at full size, twice
    and four times as many after each of the two steps down. Lesson 11."""
    def __init__(self, width: int = 16, blocks: int = 4):
        super().__init__()
        self.width, self.blocks = width, blocks
        self.down = nn.ModuleList([_convolution(3, width, 9), _convolution(width, 2 * width, 3, 2),
                                   _convolution(2 * width, 4 * width, 3, 2)])  # fmt: skip
        pairs = [{name: _convolution(4 * width, 4 * width, 3) for name in ("first", "second")} for _ in range(blocks)]
        self.middle = nn.ModuleList(map(nn.ModuleDict, pairs))
        self.up = nn.ModuleList([_convolution(4 * width, 2 * width, 3), _convolution(2 * width, width, 3)])
        self.last = nn.Sequential(nn.ReflectionPad2d(4), nn.Conv2d(width, 3, 9))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        y = F.pad(2 * x - 1, (0, -width % 4, 0, -height % 4), mode="reflect")  # halved twice and doubled twice
        for part in self.down:
            y = part(y).relu()
        for part in self.middle:
            y = y + part["second"](part["first"](y).relu())
        for part in self.up:  # a transposed convolution would leave a checkerboard
            y = part(F.interpolate(y, scale_factor=2, mode="nearest")).relu()
        return self.last(y)[:, :, :height, :width].sigmoid()


def load_style_net(name: str | Path, *, device: torch.device | str | None = None) -> StyleNet:
    """A trained net, frozen, by its painting's name, or your own file that data/style_nets/make.py wrote (its
    `save(net, path)` writes any, the float16 safetensors read here); `.facts`: how it was made. Lesson 11."""
    path = Path(name) if str(name).endswith(".safetensors") else DATA / "style_nets" / f"{name}.safetensors"
    if not path.is_file():
        raise ValueError(f"There is no style net {str(name)!r}; there are {', '.join(style_nets())}.")
    with safetensors.safe_open(path, "pt") as file:
        facts, tensors = file.metadata(), {key: file.get_tensor(key).float() for key in file.keys()}
    net = StyleNet(int(facts["width"]), int(facts["blocks"]))
    net.load_state_dict(tensors)
    net.facts = facts
    return net.eval().requires_grad_(False).to(device or best_device(), memory_format=torch.channels_last)


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


@with_gradients()
def train_style_net(style, *, steps=600, seed=0, start: StyleNet | None = None, content_weight=0.2, total_variation=2.0,
                    rate=2e-3, precision="float32", callback=None, progress=False) -> Trained:  # fmt: skip
    """Train a net that paints any picture in one style, on two crops of 128 pixels a step: `.net`, and `.history`
    `(T,3)` (loss, content, style of each step). `start`: a net to copy and go on from; without one, 150 steps before
    the first teach a new net to return its input. `rate` falls to a twentieth. A true answer of `callback(step, net)`
    stops. Johnson, Alahi & Fei-Fei 2016, section 3; instance norm: Ulyanov et al. 2016. Lesson 11."""
    if steps < 1:
        raise ValueError(f"Training takes at least one step, not {steps}.")
    vgg, history = default_net(), []
    fast, names = Fast(vgg, precision), find_layers(vgg, [*STYLE_LAYERS, CONTENT_LAYER])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = StyleNet() if start is None else StyleNet(start.width, start.blocks)
    if start is not None:
        net.load_state_dict(start.state_dict())
    net.to(device_of(vgg), memory_format=torch.channels_last).train()
    adam = torch.optim.Adam(net.parameters(), lr=rate)
    with torch.no_grad():
        painting = to_input(style, vgg, size=STYLE_SIDE, crop=False)
        grams = [gram(f) for f in features(vgg, painting, names)[:-1]]

    def learn(loss: Tensor) -> None:
        adam.zero_grad()
        loss.backward()
        adam.step()

    def step(pixels: Tensor) -> list[float]:
        with torch.no_grad():
            goal = features(vgg, from_pixels(vgg, pixels), names)[-1]
        x = from_pixels(vgg, net(pixels))
        with torch.autocast(x.device.type, torch.bfloat16, enabled=fast.low):
            *painted, shown = features(fast.net, x, names)
            styles = [relative(gram(f), wanted).mean() for f, wanted in zip(painted, grams, strict=True)]
            parts = relative(shown.float(), goal).mean(), sum(styles) / len(styles)
            rough = total_variation * roughness(to_pixels(vgg, x)).mean()
        loss = parts[1] + content_weight * parts[0] + rough
        learn(loss)
        return [float(part.detach()) for part in (loss, *parts)]

    for number in range(WARM_UP if start is None else 0):
        pixels = _crops(-1 - number, seed, device_of(vgg))
        learn((net(pixels) - pixels).abs().mean())
    with stoppable(steps, progress, enough=lambda: history) as bar:
        for number in range(steps):
            adam.param_groups[0]["lr"] = rate * (1 - 0.95 * number / steps)
            history.append(step(_crops(number, seed, device_of(vgg))))
            bar.update()
            if callback is not None and callback(number + 1, net):
                break
    return Trained(net.eval(), torch.tensor(history))


def _crops(number: int, seed: int, place: torch.device) -> Tensor:
    """A step's crops `(2,3,128,128)`, mirrored half of the time; they follow from its number and the seed alone."""
    chance = torch.Generator().manual_seed(seed * 1_000_003 + number + 500_000)
    pictures, crops = _training_pictures(), []
    for _ in range(BATCH):
        pixels = pictures[int(torch.randint(len(pictures), (1,), generator=chance))]
        top, left = (int(torch.randint(side - CROP + 1, (1,), generator=chance)) for side in pixels.shape[1:])
        crop = pixels[:, top : top + CROP, left : left + CROP]
        crops.append(crop.flip(2) if torch.rand(1, generator=chance) < 0.5 else crop)
    return (torch.stack(crops).float() / 255).to(place, memory_format=torch.channels_last)


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
