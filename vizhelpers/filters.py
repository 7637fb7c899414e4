"""First-layer filters as pictures, as spectra, and what their stride loses (lesson 01)."""
from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def first_layer(model: nn.Module) -> tuple[str, nn.Conv2d]:
    """The first convolution that sees the picture: its dotted name and module.

    Args:
        model: any net whose first convolution has three input channels.

    Returns:
        `(name, module)`.

    Raises:
        ValueError: no convolution with three input channels.

    Example:
        >>> vh.first_layer(vh.load_model("alexnet"))[0]
        'features.0'

    Taught in: 01_first_layer_filters.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3 and module.groups == 1:
            return name, module
    raise ValueError(f"This {type(model).__name__} has no convolution with 3 input channels, so no RGB filters.")


def first_layer_filters(model: nn.Module) -> Tensor:
    """The weights of the first convolution, one small RGB picture per filter.

    Args:
        model: any net whose first convolution has three input channels.

    Returns:
        A detached copy `(K,3,kh,kw)`, signed, in the units of normalised input.

    Raises:
        ValueError: no convolution with three input channels.

    Example:
        >>> vh.first_layer_filters(vh.load_model("alexnet")).shape
        torch.Size([64, 3, 11, 11])

    Source: Krizhevsky et al. 2012, figure 3.
    Taught in: 01_first_layer_filters.
    """
    return first_layer(model)[1].weight.detach().clone(memory_format=torch.contiguous_format)


def _check_filters(filters: Tensor) -> None:
    if filters.dim() != 4:
        raise ValueError(f"Filters are (K,C,kh,kw), not {tuple(filters.shape)}: one filter is filters[i : i + 1].")


def spectrum(filters: Tensor, size: int = 64) -> Tensor:
    """The magnitude of each filter's 2-D Fourier transform, zero frequency in the middle.

    The three colour channels are transformed one by one and joined as the root of the sum of squares.

    Args:
        filters: `(K,C,kh,kw)`, signed.
        size: side of the zero-padded transform; at least the filter's own size.

    Returns:
        `(K,size,size)`, 0 or more; column j is the horizontal frequency `(j - size//2) / size` cycles per pixel.

    Raises:
        ValueError: `filters` is not `(K,C,kh,kw)`, or `size` is smaller than the filter.

    Example:
        >>> float(vh.spectrum(torch.ones(1, 1, 3, 3), 8)[0, 4, 4])  # zero frequency: the sum of the weights
        9.0

    Source: Zeiler & Fergus 2014, section 4.1, argues with these frequencies without measuring them.
    Taught in: 01_first_layer_filters.
    """
    _check_filters(filters)
    if size < max(filters.shape[-2:]):
        raise ValueError(f"size={size} is smaller than the {tuple(filters.shape[-2:])} filters: take at least that.")
    transform = torch.fft.fft2(filters, s=(size, size))
    return torch.fft.fftshift(transform.abs().square().sum(1).sqrt(), dim=(-2, -1))


def radial_profile(spectra: Tensor, bins: int = 16) -> tuple[Tensor, Tensor]:
    """The share of each filter's energy in rings of equal width around zero frequency.

    Args:
        spectra: magnitudes `(K,S,S)` from `spectrum`.
        bins: rings between 0 and 0.5 cycles per pixel; what lies in the corners beyond goes into the last ring.

    Returns:
        `(frequency, share)`: the rings' centres `(bins,)` in cycles per pixel and `(K,bins)`, each row summing to 1
        (a filter of zeros has a row of zeros).

    Raises:
        ValueError: `spectra` is not `(K,S,S)` with S even, or `bins` is below 1.

    Example:
        >>> frequency, share = vh.radial_profile(vh.spectrum(filters))
        >>> bool((share.sum(1) - 1).abs().max() < 1e-5)
        True

    Source: Zeiler & Fergus 2014, section 4.1.
    Taught in: 01_first_layer_filters.
    """
    size = spectra.shape[-1]
    if spectra.dim() != 3 or spectra.shape[-2] != size or size % 2:
        raise ValueError(f"radial_profile takes spectra (K,S,S) with S even, not {tuple(spectra.shape)}.")
    if bins < 1:
        raise ValueError(f"bins is {bins}: ask for at least one ring.")
    along = (torch.arange(size, device=spectra.device) - size // 2) / size
    radius = torch.hypot(along[:, None], along[None, :])
    ring = (radius * 2 * bins).long().clamp(max=bins - 1).flatten()
    energy = spectra.square().flatten(1)
    share = torch.zeros(len(spectra), bins, dtype=energy.dtype, device=energy.device).index_add_(1, ring, energy)
    total = share.sum(1, keepdim=True)
    centres = (torch.arange(bins, dtype=energy.dtype, device=energy.device) + 0.5) / (2 * bins)
    return centres, share / torch.where(total > 0, total, 1)


def orientation(filters: Tensor) -> tuple[Tensor, Tensor]:
    """The direction in which each filter's pattern changes fastest, and how clear that direction is.

    Args:
        filters: `(K,C,kh,kw)`, signed.

    Returns:
        `(angle, clarity)`, both `(K,)`: the angle in degrees, 0 to 180, of the wave (0: changes from left to
        right, so the stripes stand upright; 90: changes from top to bottom), and 0 (no direction: a blob)
        to 1 (a pure grating).

    Example:
        >>> upright = torch.tensor([1., -1., 1., -1.]).expand(1, 1, 4, 4)
        >>> [round(float(v)) for v in vh.orientation(upright)]
        [0, 1]

    Raises:
        ValueError: `filters` is not `(K,C,kh,kw)`, or 1x1 filters, which have no direction.

    Source: structure tensor, Bigun & Granlund 1987, on differences inside the filter, so its border is no edge.
    Taught in: 01_first_layer_filters.
    """
    _check_filters(filters)
    if min(filters.shape[-2:]) < 2:
        raise ValueError("A filter of one pixel has no direction: orientation needs at least 2x2.")
    across, down = filters.diff(dim=-1), filters.diff(dim=-2)
    gx, gy = across[..., 1:, :] + across[..., :-1, :], down[..., :, 1:] + down[..., :, :-1]
    xx, yy, xy = (product.sum((1, 2, 3)) for product in (gx * gx, gy * gy, gx * gy))
    angle = torch.rad2deg(torch.atan2(2 * xy, xx - yy) / 2) % 180
    total = xx + yy
    return angle, torch.hypot(2 * xy, xx - yy) / torch.where(total > 0, total, 1)


def colourfulness(filters: Tensor) -> Tensor:
    """The share of each filter's energy that a grey filter (three equal channels) cannot express.

    Args:
        filters: `(K,3,kh,kw)`, signed.

    Returns:
        `(K,)` from 0 (grey) to 1 (pure colour contrast); 0 for a filter of zeros.

    Raises:
        ValueError: not three channels.

    Example:
        >>> vh.colourfulness(torch.tensor([1., 1., 1., 1., -1., 0.]).view(2, 3, 1, 1)).tolist()
        [0.0, 1.0]

    Source: the two kinds of AlexNet filters, Krizhevsky et al. 2012, section 6.1.
    Taught in: 01_first_layer_filters.
    """
    if filters.dim() != 4 or filters.shape[1] != 3:
        raise ValueError(f"colourfulness takes RGB filters (K,3,kh,kw), not {tuple(filters.shape)}.")
    energy = filters.square().sum((1, 2, 3))
    grey = 3 * filters.mean(1).square().sum((1, 2))
    return ((energy - grey) / torch.where(energy > 0, energy, 1)).clamp(0, 1)


def grating(frequency: float, angle: float = 0.0, size: int = 224, phase: float = 0.0) -> Tensor:
    """A grey sine grating that wraps around at its borders, so that shifting it never shows an edge.

    Args:
        frequency: wanted cycles per pixel, 0 to 0.5; the nearest frequency that wraps around is taken.
        angle: direction of the wave in degrees (0: left to right).
        size: side in pixels.
        phase: in degrees.

    Returns:
        `(1,3,size,size)` in -1..1.

    Raises:
        ValueError: the frequency is outside 0..0.5, which no pixel grid can hold.

    Example:
        >>> bool(torch.allclose(vh.grating(0.25)[0, 0, 0, :4], torch.tensor([1., 0., -1., 0.]), atol=1e-5))
        True

    Taught in: 01_first_layer_filters.
    """
    if not 0 <= frequency <= 0.5:
        raise ValueError(f"A pixel grid holds 0 to 0.5 cycles per pixel, not {frequency}.")
    turn = math.radians(angle)
    kx, ky = (round(frequency * f * size) for f in (math.cos(turn), math.sin(turn)))
    at = torch.arange(size, dtype=torch.float64) * (2 * math.pi / size)
    wave = torch.cos(kx * at[None, :] + ky * at[:, None] - math.radians(phase))
    return wave.float().expand(1, 3, size, size).contiguous()


def _check_stride(x: Tensor, stride: int) -> None:
    if stride < 1 or x.shape[-1] % stride or x.shape[-2] % stride:
        raise ValueError(f"A picture of {tuple(x.shape[-2:])} pixels does not divide into steps of {stride} pixels.")


def responses(filters: Tensor, x: Tensor, stride: int = 1) -> Tensor:
    """Each filter's response on a picture that wraps around at its borders.

    Args:
        filters: `(K,C,kh,kw)`, signed.
        x: `(N,C,H,W)`, at least as large as a filter, H and W multiples of the stride; taken to the filters' device
            and floating-point type.
        stride: pixels from one unit to the next.

    Returns:
        `(N,K,H/stride,W/stride)`, signed, without bias, before the ReLU.

    Raises:
        ValueError: a side is no multiple of the stride, or picture and filters do not fit.

    Example:
        >>> vh.responses(vh.first_layer_filters(net), vh.grating(0.1), stride=4).shape[-2:]
        torch.Size([56, 56])

    Taught in: 01_first_layer_filters.
    """
    _check_filters(filters)
    (kh, kw), sides = filters.shape[-2:], tuple(x.shape[-2:])
    if x.dim() != 4 or x.shape[1] != filters.shape[1] or sides[0] < kh or sides[1] < kw:
        raise ValueError(f"Filters {tuple(filters.shape)} take pictures (N,{filters.shape[1]},H,W) of {kh}x{kw} pixels "
                         f"or more, not {tuple(x.shape)}.")  # fmt: skip
    _check_stride(x, stride)
    top, left = (kh - 1) // 2, (kw - 1) // 2
    padded = F.pad(x.to(filters), (left, kw - 1 - left, top, kh - 1 - top), mode="circular")
    return F.conv2d(padded, filters, stride=stride)


def shift_error(filters: Tensor, x: Tensor, stride: int, shift: int = 1) -> Tensor:
    """How wrongly a layer's response map, slid along, foretells its response to the shifted picture.

    The picture moves `shift` pixels to the right. Where the grid of units is fine enough, the new map is the old one
    moved by `shift / stride` units (Fourier interpolation); what differs is aliasing.

    Args:
        filters: `(K,C,kh,kw)`, signed.
        x: `(1,C,H,W)`, taken as wrapping around at its borders; H and W multiples of the stride.
        stride: pixels from one unit to the next.
        shift: pixels.

    Returns:
        `(K,)`: rms of the difference / rms of the filter's response at every pixel. 0: nothing is aliased; 2: the
        foretold wave is the negative of the true one. A filter that does not respond at all has 0.

    Raises:
        ValueError: several pictures, or as `responses`.

    Example:
        >>> float(vh.shift_error(torch.ones(1, 3, 1, 1), vh.grating(0.1), stride=4)) < 1e-4
        True

    Source: Zeiler & Fergus 2014, section 4.1 (the stride of 4 aliases); the sampling theorem.
    Taught in: 01_first_layer_filters.
    """
    if len(x) != 1:
        raise ValueError(f"shift_error takes one picture (1,C,H,W), not {tuple(x.shape)}.")
    _check_stride(x, stride)
    every = responses(filters, x)[0]  # at every pixel: a layer of stride s keeps every s-th of these
    before, after = (full[:, ::stride, ::stride] for full in (every, every.roll(shift, -1)))
    frequency = torch.fft.fftfreq(before.shape[-1], dtype=every.dtype, device=every.device)  # cycles per unit
    turned = torch.fft.fft(before) * torch.exp(-2j * math.pi * shift / stride * frequency)
    wrong = (torch.fft.ifft(turned).real - after).square().mean((1, 2)).sqrt()
    size = every.square().mean((1, 2)).sqrt()
    # below what rounding alone produces there is no response to speak of
    floor = 100 * torch.finfo(every.dtype).eps * filters.abs().sum((1, 2, 3)) * x.abs().max().to(filters)
    return torch.where(size <= floor, 0, wrong / torch.where(size > 0, size, 1))
