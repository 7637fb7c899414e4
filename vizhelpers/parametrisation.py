"""How a picture is written down while it is optimised, and how it is moved about (lesson 10)."""
from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .images import IMAGENET

# Square root of the covariance of the colours of the library's photographs, in units of their mean deviation: three
# independent numbers times this are as correlated as red, green and blue are (tests/test_synthesis.py computes it).
COLOURS = ((0.8387, 0.4648, 0.3102), (0.4648, 0.6810, 0.4798), (0.3102, 0.4798, 0.8669))
EDGE = 0.02  # values this near to 0 or 1 are moved away from them before a logit is taken


class Pixels:
    """The picture itself is what the optimiser changes; values that leave 0..1 are put back."""

    def __init__(self, image: Tensor):
        self.values = image.detach().clone().requires_grad_(True)

    def image(self) -> Tensor:
        return self.values

    @torch.no_grad()
    def put(self, image: Tensor) -> None:
        self.values.copy_(image)

    @torch.no_grad()
    def settle(self) -> None:
        self.values.clamp_(0, 1)


class Fourier:
    """The optimiser changes the picture's spectrum, each frequency in units of its share in photographs (1/f).

    In such units a step changes large shapes as readily as fine ones. With `decorrelate` it also changes light and two
    colour directions instead of red, green and blue. A sigmoid keeps the pixels in 0..1.
    """

    def __init__(self, image: Tensor, decorrelate: bool = True):
        self.size = tuple(image.shape[-2:])
        basis = torch.tensor(COLOURS) if decorrelate else torch.eye(3)
        self.basis = basis.to(image)
        rows = torch.fft.fftfreq(self.size[0])[:, None]
        columns = torch.fft.rfftfreq(self.size[1])[None]
        frequency = (rows**2 + columns**2).sqrt().clamp(min=1 / max(self.size))
        self.share = (1 / frequency / (1 / frequency).square().mean().sqrt()).to(image)
        self.values = self._spectrum(image).requires_grad_(True)

    def image(self) -> Tensor:
        planes = torch.fft.irfft2(torch.view_as_complex(self.values) * self.share, s=self.size, norm="ortho")
        return torch.einsum("ij,njhw->nihw", self.basis, planes).sigmoid()

    @torch.no_grad()
    def _spectrum(self, image: Tensor) -> Tensor:
        planes = torch.einsum("ij,njhw->nihw", self.basis.inverse(), image.clamp(EDGE, 1 - EDGE).logit())
        return torch.view_as_real(torch.fft.rfft2(planes, norm="ortho") / self.share).contiguous()

    @torch.no_grad()
    def put(self, image: Tensor) -> None:
        self.values.copy_(self._spectrum(image))  # in place: the optimiser holds this tensor

    def settle(self) -> None:
        """Nothing to do: the sigmoid keeps the values in 0..1."""


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of `(N,3,H,W)` with the border repeated."""
    if sigma <= 0:
        return image
    reach = max(1, min(round(3 * sigma), min(image.shape[-2:]) - 1))
    places = torch.arange(-reach, reach + 1).to(image)
    kernel = (-0.5 * (places / sigma) ** 2).exp()
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    image = F.conv2d(F.pad(image, (reach, reach, 0, 0), mode="replicate"), kernel, groups=3)
    return F.conv2d(F.pad(image, (0, 0, reach, reach), mode="replicate"), kernel.transpose(2, 3), groups=3)


def resized(image: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Bilinear, antialiased when it gets smaller; the same tensor if it has that size already."""
    size = (size, size) if isinstance(size, int) else tuple(size)
    if tuple(image.shape[-2:]) == size:
        return image
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)


def total_variation(image: Tensor) -> Tensor:
    """Mean squared difference of neighbours, vertically plus horizontally, `(N,)`."""
    rows, columns = image.diff(dim=2), image.diff(dim=3)
    return (rows**2).mean((1, 2, 3)) + (columns**2).mean((1, 2, 3))


def moved(image: Tensor, generator: torch.Generator, *, jitter: int, rotate: float, scale: float) -> Tensor:
    """The picture shifted by up to `jitter` pixels, turned by up to `rotate` degrees, scaled by up to `1 +- scale`.

    Differentiable: the gradient lands where each pixel came from, which undoes the movement.
    """
    if rotate or scale:
        angle, factor = (2 * torch.rand(2, generator=generator) - 1).tolist()
        angle, factor = math.radians(rotate * angle), 1 + scale * factor
        cosine, sine = math.cos(angle) / factor, math.sin(angle) / factor
        aspect = image.shape[3] / image.shape[2]
        turn = torch.tensor([[cosine, -sine / aspect, 0.0], [sine * aspect, cosine, 0.0]]).to(image)
        grid = F.affine_grid(turn.expand(len(image), 2, 3), list(image.shape), align_corners=False)
        image = F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return torch.roll(image, shift(generator, jitter), (2, 3)) if jitter else image


def shift(generator: torch.Generator, jitter: int) -> tuple[int, int]:
    """A random shift of at most `jitter` pixels down and to the right (negative: up and to the left)."""
    down, right = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
    return down, right


def normalisation(model: nn.Module, like: Tensor) -> list[Tensor]:
    """The mean and the deviation of pixels 0..1 that a net's input is normalised with, each `(1,3,1,1)`."""
    info = getattr(model, "viz", None)
    return [like.new_tensor(getattr(info, key, IMAGENET[key])).view(1, 3, 1, 1) for key in ("mean", "std")]


def to_pixels(model: nn.Module, x: Tensor) -> Tensor:
    """Normalised input as pixels 0..1, on its device and attached to the graph; neither clipped nor rounded."""
    mean, std = normalisation(model, x)
    return x * std + mean


def from_pixels(model: nn.Module, pixels: Tensor) -> Tensor:
    """Pixels 0..1 as the net's normalised input; the inverse of `to_pixels`."""
    mean, std = normalisation(model, pixels)
    return (pixels - mean) / std
