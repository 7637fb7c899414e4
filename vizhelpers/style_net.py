"""Style transfer in one pass (Johnson et al. 2016): a small net, trained once for each painting.

    python -m vizhelpers.style_net --style great_wave --out great_wave.safetensors --steps 600 --seed 0

Progress is kept in FILE.part: the same command goes on where it was stopped, and gives the same net.
"""
from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .device import device as best_device
from .device import device_of
from .hooks import evaluating
from .images import to_input
from .parametrisation import to_pixels
from .pictures import DATA, load_image

# `python -m vizhelpers.style_net` imports the package, and so this file, before it runs it: meant
warnings.filterwarnings("ignore", message="'vizhelpers.style_net' found in sys.modules", category=RuntimeWarning)


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
    """Pictures in, paintings out: two steps down, residual blocks, two steps up (nearest, then a convolution).

    Args:
        width: channels at full size; twice and four times as many further down.
        blocks: residual blocks.

    `forward` takes and returns pixels `(N,3,H,W)` in 0..1, of any size from 8 x 8.
    """

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
    """Write a net as float16 safetensors, with facts about its making in the file's metadata.

    Args:
        net: a trained net.
        path: of the file.
        **facts: words and numbers, such as style, steps and seed.

    Example:
        >>> vh.save_style_net(net, "mine.safetensors", style="my painting")

    Taught in: 11_style_transfer.
    """
    tensors = {name: value.detach().cpu().half().contiguous() for name, value in net.state_dict().items()}
    facts = {"width": net.width, "blocks": net.blocks} | facts
    Path(path).write_bytes(safetensors.torch.save(tensors, {name: str(value) for name, value in facts.items()}))


def load_style_net(name: str | Path, *, device: torch.device | str | None = None) -> StyleNet:
    """A trained style net: one of those in data/style_nets by its painting's name, or a file of your own.

    Args:
        name: such as "great_wave", or the path of a .safetensors file.
        device: by default `vh.device()`.

    Returns:
        The net, eval mode, frozen, float32; `.facts` is what the file says about its making.

    Raises:
        ValueError: there is no such net; those that there are, are listed.

    Example:
        >>> painted = vh.load_style_net("great_wave")(torch.rand(1, 3, 64, 64))

    Taught in: 11_style_transfer.
    """
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
    """The names of the trained nets in data/style_nets.

    Example:
        >>> vh.style_nets()

    Taught in: 11_style_transfer.
    """
    return sorted(path.stem for path in (DATA / "style_nets").glob("*.safetensors"))


def stylise(net: StyleNet, image, *, size: int | tuple[int, int] | None = None) -> Tensor:
    """A picture painted by a style net in one forward pass.

    Args:
        net: see `load_style_net` and `train_style_net`.
        image: anything `load_image` takes.
        size: shorter side in pixels, or (H, W); by default the picture's own size.

    Returns:
        `(3,H,W)` in 0..1, of the asked size to the pixel.

    Raises:
        ValueError: a size below 8 pixels.

    Example:
        >>> vh.stylise(vh.load_style_net("great_wave"), "koala", size=(225, 301)).shape
        torch.Size([3, 225, 301])

    Taught in: 11_style_transfer.
    """
    picture = load_image(image)
    x = to_input(picture, None, size=picture.size[::-1] if size is None else size, crop=False, device=device_of(net))
    with torch.inference_mode(), evaluating(net):
        pixels = to_pixels(net, x).clamp(0, 1).contiguous(memory_format=torch.channels_last)
        return net(pixels)[0].clone()


def main(arguments: list[str] | None = None) -> int:
    """The command line: train one net and write it."""
    from .style_training import train_style_net  # which imports this file

    parser = argparse.ArgumentParser(prog="python -m vizhelpers.style_net", description="Train a style net.")
    parser.add_argument("--style", required=True, help="library name or path of the painting")
    parser.add_argument("--out", required=True, help=".safetensors file to write")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", help="a trained net to begin with (name or file)")
    for option, default in (("content-weight", 0.2), ("total-variation", 2.0), ("rate", 2e-3)):
        parser.add_argument(f"--{option}", type=float, default=default)
    given = parser.parse_args(arguments)
    options = {name: value for name, value in vars(given).items() if name not in ("out", "start")}
    start = load_style_net(given.start, device="cpu") if given.start else None

    def report(step: int, net: StyleNet) -> None:
        if step % 50 == 0 or step == given.steps:
            print(f"{given.style}: step {step} of {given.steps}", flush=True)

    try:
        trained = train_style_net(start=start, keep=f"{given.out}.part", callback=report, **options)
    except (ValueError, FileNotFoundError) as error:
        print(f"vizhelpers: {error}", file=sys.stderr)
        return 1
    if trained.steps < given.steps:
        print(f"stopped at step {trained.steps}; the same command goes on", file=sys.stderr)
        return 1
    command = " ".join(["python -m vizhelpers.style_net", *(sys.argv[1:] if arguments is None else arguments)])
    save_style_net(trained.net, given.out, **{k: v for k, v in options.items()}, command=command, start=given.start)
    Path(f"{given.out}.part").unlink()
    if len(trained.history):
        last = trained.history[-50:].mean(0).tolist()
        print(f"{given.out}: loss {last[0]:.3f}, content {last[1]:.3f}, style {last[2]:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
