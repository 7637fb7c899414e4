"""Checks of the exercises of lesson 00_start_here."""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np
import torch
from torch import nn


def check_normalise(normalise: Callable) -> None:
    """Exercise 00.1: `normalise(pixels, mean, std)` gives the `(1,3,H,W)` input by the definition, value by value."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    mean, std = (0.4, 0.5, 0.3), (0.2, 0.25, 0.3)
    want = [[[(int(pixels[r, c, k]) / 255 - mean[k]) / std[k] for c in range(6)] for r in range(4)] for k in range(3)]
    want = torch.tensor([want])
    before = pixels.copy()
    got = normalise(pixels, mean, std)
    assert isinstance(got, torch.Tensor), f"return a torch tensor, not a {type(got).__name__}."
    shape = tuple(got.shape)
    assert len(shape) == 4 or shape != (3, 4, 6), "the batch axis is missing: (3, H, W) should be (1, 3, H, W)."
    assert shape in {(1, 3, 4, 6)}, f"pixels of shape (4, 6, 3) should become (1, 3, 4, 6), not {shape}: permute first."
    assert got.dtype == torch.float32, f"a net computes in torch.float32, but this is {got.dtype}."
    assert (pixels == before).all(), "the caller's pixels were changed: compute on a copy."
    got = got.detach().cpu()
    if torch.allclose(got, want, atol=1e-4):
        return
    m, s = (torch.tensor(v)[:, None, None] for v in (mean, std))
    dealt = torch.from_numpy(pixels).reshape(3, 4, 6) / 255
    slips = {
        "the division by 255 is missing": ((want * s + m) * 255 - m) / s,
        "the pixels were divided by 255 twice": ((want * s + m) / 255 - m) / s,
        "mean and std are for red, green, blue, but the channels are reversed": want.flip(1),
        "reshape deals the numbers out in another order: move the axes with permute(2, 0, 1)": ((dealt - m) / s)[None],
        "the mean was subtracted, but nothing divided by std": want * s,
        "nothing was subtracted or divided but 255": want * s + m,
        "first subtract the mean, then divide by std": (want * s + m) / s - m,
    }
    for sentence, wrong in slips.items():
        assert not torch.allclose(got, wrong, atol=1e-4), f"{sentence}."
    error = (got - want).abs().max().item()
    raise AssertionError(f"values are up to {error:.3g} away from (pixel / 255 - mean) / std, each channel's own.")


def check_layer_shapes(layer_shapes: Callable) -> None:
    """Exercise 00.2: `layer_shapes(model, x, names)` gives every asked layer's output shape and leaves no hook."""
    model = _small_net()
    wanted = {"features.0": (2, 4, 5, 7), "features.2": (2, 6, 3, 5), "head": (2, 3)}
    with torch.no_grad():
        got = layer_shapes(model, torch.zeros(2, 3, 7, 9), list(wanted))
    assert isinstance(got, Mapping), f"return a dictionary name -> shape, not a {type(got).__name__}."
    assert set(got) == set(wanted), f"the names should be {sorted(wanted)}, not {sorted(map(str, got))}."
    for name, shape in wanted.items():
        assert not isinstance(got[name], torch.Tensor), f"{name!r}: give the tensor's shape, not the tensor."
        this = tuple(got[name])
        assert this != shape[1:], f"{name!r}: {this} lacks the first axis, the number of pictures."
        assert this == shape, f"the output of {name!r} has the shape {shape}, not {this}: is it the layer's output?"
    _assert_no_hooks(model, "remove your hooks after the model has run")


def check_share_cut(share_cut: Callable) -> None:
    """Exercise 00.3: `share_cut(model, x, name)` counts negative outputs before an in-place ReLU; no hook is left."""
    model, x = _small_net(), torch.randn(2, 3, 7, 9, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        cuts = {"features.0": 1, "features.1": 2, "features.2": 3}  # how far the net runs by hand
        wants = {name: model.features[:n](x) for name, n in cuts.items()} | {"head": model(x)}
        gots = {name: share_cut(model, x.clone(), name) for name in wants}
    for name, output in wants.items():
        want, got = (output < 0).double().mean().item(), gots[name]
        assert got is not None, "your function returns nothing: end it with `return`."
        got = float(got)
        slip = "an in-place ReLU behind the layer has rewritten what your hook stored: count inside the hook, or clone"
        assert not (got == 0 and want > 0), f"{name!r}: the share is {want:.3f}, not 0: {slip}."
        assert want == 0 or abs(got - 100 * want) > 1e-3, f"{name!r}: {got:.1f} is in percent; give a share, 0 to 1."
        assert abs(got - (1 - want)) > 1e-3 or want == 0.5, f"{name!r}: that is the share that is not negative."
        assert got <= 1, f"{name!r}: {got:g} is a number of values; divide by how many there are."
        assert abs(got - want) < 1e-4, f"{name!r}: {got:.4f} should be {want:.4f}: count what is < 0, of all values."
    _assert_no_hooks(model, "remove your hook after the model has run")
    with suppress(Exception):  # five channels where the net takes three: only what is left behind counts
        share_cut(model, torch.zeros(1, 5, 7, 9), "features.1")
    _assert_no_hooks(model, "when the model raises an error, your hook stays: remove it in `finally:`")


def check_saved(saved_class: type) -> None:
    """Exercise 00.4: the mended class stores true values that gradients flow to and from, and closes."""
    model = _small_net()
    x = torch.randn(1, 3, 7, 9, generator=torch.Generator().manual_seed(1)).requires_grad_()
    alone = model.features[0](x)  # the oracle: the same net, cut in two by hand
    scores = model.head(model.features[1:](alone.clone()).flatten(1))
    (to_picture,) = torch.autograd.grad(alone.sum(), x, retain_graph=True)
    (to_layer,) = torch.autograd.grad(scores.sum(), alone)
    saved = saved_class(model.features[0])
    got = model(x)
    assert torch.allclose(got, scores, atol=1e-5), "with your hook the net answers differently: it may only look."
    output = getattr(saved, "output", None)
    assert isinstance(output, torch.Tensor), "after the net has run, `.output` should be the layer's output tensor."
    rewritten = "(1) .output has no negative value left: the in-place ReLU behind the layer has rewritten it"
    assert (output < 0).any(), f"{rewritten}."
    assert torch.allclose(output, alone, atol=1e-5), "(1) .output does not have the values that the layer put out."
    cases = {
        "(2) no gradient reaches the picture: .output is cut off from the graph": (output.sum(), x, to_picture),
        "(3) the logits do not depend on .output, so they have no gradient to it": (got.sum(), output, to_layer),
    }
    for sentence, (score, place, want) in cases.items():
        try:
            (gradient,) = torch.autograd.grad(score, place, retain_graph=True)
        except RuntimeError:
            raise AssertionError(f"{sentence}.") from None
        assert torch.allclose(gradient, want, atol=1e-5), f"{sentence[:3]} there is a gradient, but not the right one."
    saved.close()
    _assert_no_hooks(model, "close() should remove the hook")


def _small_net() -> nn.Module:
    """Convolution, in-place ReLU, convolution, in-place ReLU, linear: frozen and always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(True), nn.Conv2d(4, 6, 3), nn.ReLU(True))
        parts = OrderedDict(features=features, flat=nn.Flatten(), head=nn.Linear(6 * 3 * 5, 3))
        return nn.Sequential(parts).eval().requires_grad_(False)


def _assert_no_hooks(model: nn.Module, sentence: str) -> None:
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules()), f"{sentence}."
