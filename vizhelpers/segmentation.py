"""Cutting an object out, started from a saliency map (lesson 05)."""
from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from .pictures import load_image


def segment_from_saliency(
    image, saliency_map: Tensor, *, foreground: float = 0.95, background: float = 0.3, rounds: int = 5
) -> Tensor:
    """Cut the object out with GrabCut, started from the most and the least salient pixels.

    The map is blurred first (by 1/32 of the picture's side), because single pixels of a gradient are noise.

    Args:
        image: the picture that the map belongs to, anything `load_image` takes, of the map's size.
        saliency_map: `(H,W)`, 0 or more.
        foreground: pixels at or above this quantile of the map are taken as object to start from.
        background: pixels at or below this quantile are taken as background to start from.
        rounds: of GrabCut.

    Returns:
        Mask `(H,W)`, bool.

    Raises:
        ValueError: map and picture differ in size, or the quantiles leave nothing to start from.

    Example:
        >>> mask = vh.segment_from_saliency(image, vh.saliency(net, x, "koala")[0])

    Source: Simonyan et al. 2014, section 3.2 (quantiles 0.95 and 0.3); Rother et al. 2004 (GrabCut), by OpenCV.
    Taught in: 05_saliency.
    """
    import cv2  # loaded when needed: it takes a while

    pixels = np.asarray(load_image(image))[..., ::-1].copy()
    m = torch.as_tensor(saliency_map).detach().float().cpu()
    if m.shape != pixels.shape[:2]:
        raise ValueError(f"The map is {tuple(m.shape)} but the picture is {pixels.shape[:2]}: make them one size.")
    if not 0 < background < foreground < 1:
        raise ValueError(f"Quantiles must be 0 < background < foreground < 1, not {background} and {foreground}.")
    if not torch.isfinite(m).all():
        raise ValueError("The map has values that are not finite: find out where the NaN comes from first.")
    smooth = torch.from_numpy(cv2.GaussianBlur(m.numpy(), (0, 0), max(1.0, math.sqrt(m.numel()) / 32)))
    low, likely, high = np.quantile(smooth.numpy(), [background, max(background, 2 * foreground - 1), foreground])
    labels = torch.full(m.shape, cv2.GC_PR_BGD, dtype=torch.uint8)
    labels[smooth > likely] = cv2.GC_PR_FGD  # as many again as are certain: GrabCut may move them
    labels[smooth >= high], labels[smooth <= low] = cv2.GC_FGD, cv2.GC_BGD
    if low >= high:
        raise ValueError("The map is too flat to start GrabCut from: no pixel stands out. Is it all zeros?")
    labels = labels.numpy()
    cv2.setRNGSeed(0)
    cv2.grabCut(pixels, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), rounds, cv2.GC_INIT_WITH_MASK)
    return torch.from_numpy((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))
