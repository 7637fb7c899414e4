"""First-layer filters as pictures, as spectra, and what their stride loses (lesson 01).
Filters are `(K,C,kh,kw)`, signed. Which frequencies they hold is the question of Zeiler & Fergus 2014, section 4.1."""
import math

import torch
from torch import Tensor, nn


def first_layer(model: nn.Module) -> tuple[str, nn.Conv2d]:
    """The first convolution that sees the picture (three input channels): its dotted name and module. Lesson 01."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3 and module.groups == 1:
            return name, module
    raise ValueError(f"This {type(model).__name__} has no convolution with 3 input channels, so no RGB filters.")


def first_layer_filters(model: nn.Module) -> Tensor:
    """A copy of the first convolution's weights `(K,3,kh,kw)`. Krizhevsky et al. 2012, figure 3. Lesson 01."""
    return first_layer(model)[1].weight.detach().clone(memory_format=torch.contiguous_format)


def _share(part: Tensor, total: Tensor) -> Tensor:
    """A part of a total of 0 or more; 0 where there is nothing."""
    return part / torch.where(total > 0, total, 1)


def spectrum(filters: Tensor, size: int = 64) -> Tensor:
    """The magnitude of each filter's 2-D Fourier transform, `(K,size,size)`, zero frequency in the middle. Lesson 01.
    Colours: root of the sum of squares. Column j: the horizontal frequency `(j - size//2) / size` cycles per pixel."""
    if filters.dim() != 4 or size < max(filters.shape[-2:]):
        raise ValueError(f"Filters are (K,C,kh,kw), no larger than size={size}, not {tuple(filters.shape)}; one filter "
                         "is filters[i : i + 1].")  # fmt: skip
    transform = torch.fft.fft2(filters, s=(size, size))
    return torch.fft.fftshift(transform.abs().square().sum(1).sqrt(), dim=(-2, -1))


def radial_profile(spectra: Tensor, bins: int = 16) -> tuple[Tensor, Tensor]:
    """The share of each filter's energy in rings around zero frequency: frequencies `(bins,)`, shares `(K,bins)`.
    The rings go from 0 to 0.5 cycles per pixel, the last has the corners too; a row sums to 1 (zeros: 0). Lesson 01."""
    size = spectra.shape[-1]
    if spectra.dim() != 3 or spectra.shape[-2] != size or size % 2:
        raise ValueError(f"radial_profile takes spectra (K,S,S) with S even, not {tuple(spectra.shape)}.")
    along = (torch.arange(size, device=spectra.device) - size // 2) / size
    ring = (torch.hypot(along[:, None], along) * 2 * bins).long().clamp(max=bins - 1).flatten()
    energy = spectra.square().flatten(1)
    inside = energy.new_zeros(len(energy), bins).index_add_(1, ring, energy)
    centres = (torch.arange(bins, dtype=energy.dtype, device=energy.device) + 0.5) / (2 * bins)
    return centres, _share(inside, inside.sum(1, keepdim=True))


def orientation(filters: Tensor) -> tuple[Tensor, Tensor]:
    """The direction in which each filter's pattern changes fastest, and how clear that is: angle and clarity, `(K,)`.
    The angle is in degrees, 0 to 180 (0: upright stripes, 90: lying ones); the clarity goes from 0 (a blob) to 1 (a
    grating). Structure tensor, Bigun & Granlund 1987, inside the filter, so that its border is no edge. Lesson 01."""
    if filters.dim() != 4 or min(filters.shape[-2:]) < 2:
        raise ValueError(f"Filters are (K,C,kh,kw), to have a direction 2x2 or more, not {tuple(filters.shape)}; one "
                         "filter is filters[i : i + 1].")  # fmt: skip
    across, down = filters.diff(dim=-1), filters.diff(dim=-2)
    gx, gy = across[..., 1:, :] + across[..., :-1, :], down[..., :, 1:] + down[..., :, :-1]
    xx, yy, xy = (product.sum((1, 2, 3)) for product in (gx * gx, gy * gy, gx * gy))
    angle = torch.rad2deg(torch.atan2(2 * xy, xx - yy) / 2) % 180
    return angle, _share(torch.hypot(2 * xy, xx - yy), xx + yy)


def colourfulness(filters: Tensor) -> Tensor:
    """The share of an RGB filter's energy that no grey one has, `(K,)`, 0 to 1. Krizhevsky et al. 2012; lesson 01."""
    if filters.dim() != 4 or filters.shape[1] != 3:
        raise ValueError(f"colourfulness takes RGB filters (K,3,kh,kw), not {tuple(filters.shape)}.")
    energy = filters.square().sum((1, 2, 3))
    grey = 3 * filters.mean(1).square().sum((1, 2))
    return _share(energy - grey, energy).clamp(0, 1)


def grating(frequency: float, angle: float = 0.0, size: int = 224, phase: float = 0.0) -> Tensor:
    """A grey sine grating `(1,3,size,size)` in -1..1 that wraps around, so that shifting it never shows an edge.
    `frequency` is in cycles per pixel, 0 to 0.5: the nearest that wraps around is taken. `angle` is the direction of
    the wave in degrees (0: left to right), as is `phase`. Lesson 01."""
    if not 0 <= frequency <= 0.5:
        raise ValueError(f"A pixel grid holds 0 to 0.5 cycles per pixel, not {frequency}.")
    turn = math.radians(angle)
    kx, ky = (round(frequency * f * size) for f in (math.cos(turn), math.sin(turn)))
    at = torch.arange(size, dtype=torch.float64) * (2 * math.pi / size)
    wave = torch.cos(kx * at + ky * at[:, None] - math.radians(phase))
    return wave.float().expand(1, 3, size, size).contiguous()


def responses(filters: Tensor, x: Tensor, stride: int = 1) -> Tensor:
    """Signed responses of filters to a picture `(N,C,H,W)` that wraps around: `(N,K,H/stride,W/stride)`. Lesson 01."""
    kh, kw = filters.shape[-2:]
    if not filters.dim() == x.dim() == 4 or x.shape[1] != filters.shape[1] or x.shape[2] < kh or x.shape[3] < kw:
        raise ValueError("Filters (K,C,kh,kw) take pictures (N,C,H,W) of kh x kw pixels or more, not "
                         f"{tuple(filters.shape)} and {tuple(x.shape)}.")  # fmt: skip
    if stride < 1 or x.shape[2] % stride or x.shape[3] % stride:
        raise ValueError(f"A picture of {tuple(x.shape[2:])} pixels does not divide into steps of {stride} pixels.")
    top, left = (kh - 1) // 2, (kw - 1) // 2
    padded = nn.functional.pad(x.to(filters), (left, kw - 1 - left, top, kh - 1 - top), mode="circular")
    return torch.conv2d(padded, filters, stride=stride)


def shift_error(filters: Tensor, x: Tensor, stride: int, shift: int = 1) -> Tensor:
    """How wrongly each filter's map, slid along, foretells its response when the picture moves to the right, `(K,)`.
    The picture `(1,C,H,W)` wraps around and moves by `shift` pixels, the map by `shift / stride` units (Fourier
    interpolation). Given is rms of the difference / rms of the response at every pixel: 0 is no aliasing, 2 a foretold
    wave that is the negative of the true one. A silent filter has 0. Lesson 01."""
    if len(x) != 1:
        raise ValueError(f"shift_error takes one picture (1,C,H,W), not {tuple(x.shape)}.")
    every = responses(filters, x)[0]
    before, after = (responses(filters, moved, stride)[0] for moved in (x, x.roll(shift, -1)))
    frequency = torch.fft.fftfreq(before.shape[-1], dtype=every.dtype, device=every.device)  # cycles per unit
    turned = torch.fft.fft(before) * torch.exp(-2j * math.pi * shift / stride * frequency)
    wrong = (torch.fft.ifft(turned).real - after).square().mean((1, 2)).sqrt()
    size = every.square().mean((1, 2)).sqrt()
    # below what rounding alone produces there is no response to speak of
    floor = 100 * torch.finfo(every.dtype).eps * filters.abs().sum((1, 2, 3)) * x.abs().max().to(filters)
    return torch.where(size <= floor, 0, _share(wrong, size))
