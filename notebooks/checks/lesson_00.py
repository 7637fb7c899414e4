"""Checks of the exercises of lesson 00_start_here."""
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from .kit import calls, compare, error_of, hooks, judge, net, noise, run


def small_net() -> nn.Sequential:
    features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(True), nn.Conv2d(4, 6, 3), nn.ReLU(True))
    return net(OrderedDict(features=features, flat=nn.Flatten(), head=nn.Linear(6 * 3 * 5, 3)))


def check_normalise(answer):
    """Exercise 00.1: `answer(pixels (H,W,3) uint8, mean, std) -> (1,3,H,W)`, by the definition, value by value."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    mean, std = (0.4, 0.5, 0.3), (0.2, 0.25, 0.3)
    want = torch.tensor([[[[(int(pixels[r, c, k]) / 255 - mean[k]) / std[k] for c in range(6)] for r in range(4)]
                          for k in range(3)]])  # fmt: skip
    got = run(answer, pixels, mean, std)
    assert isinstance(got, Tensor), f"return a torch tensor, not a {type(got).__name__}."
    assert got.dtype == torch.float32, f"a net computes in torch.float32, but this is {got.dtype}."
    m, s = (torch.tensor(v)[:, None, None] for v in (mean, std))
    unit, dealt = want * s + m, torch.from_numpy(pixels).reshape(1, 3, 4, 6) / 255
    compare(got, want, {
        "the batch axis is missing: (3, H, W) should be (1, 3, H, W)": want[0],
        "the channels come last here, but a net wants (1, 3, H, W): permute first": want.permute(0, 2, 3, 1),
        "rows and columns are swapped: permute first, with (2, 0, 1)": want.transpose(2, 3),
        "the division by 255 is missing": (unit * 255 - m) / s,
        "the pixels were divided by 255 twice": (unit / 255 - m) / s,
        "mean and std are for red, green, blue, but the channels are reversed": want.flip(1),
        "reshape deals the numbers out in another order: move the axes with permute(2, 0, 1)": (dealt - m) / s,
        "the mean was subtracted, but nothing divided by std": want * s,
        "nothing was subtracted or divided but 255": unit,
        "first subtract the mean, then divide by std": unit / s - m,
    }, hint="(pixel / 255 - mean) / std, with each channel's own mean and std")  # fmt: skip


def check_layer_shapes(answer):
    """Exercise 00.2: `answer(model, x, names)` gives every asked layer's output shape and leaves no hook."""
    wanted = {"features.0": (2, 4, 5, 7), "features.2": (2, 6, 3, 5), "head": (2, 3)}
    for mode in (True, False):
        model = small_net().train(mode)
        with calls(model) as runs:
            got = run(answer, model, torch.zeros(2, 3, 7, 9), list(wanted))
        assert len(runs) < 2, f"your function ran the model {len(runs)} times: ask for all layers, then run it once."
    assert isinstance(got, Mapping), f"return a dictionary name -> shape, not a {type(got).__name__}."
    assert set(got) == set(wanted), f"the names should be {sorted(wanted)}, not {sorted(map(str, got))}."
    for name, shape in wanted.items():
        assert not isinstance(got[name], Tensor), f"{name!r}: give the tensor's shape, not the tensor."
        this = tuple(got[name])
        assert this != shape[1:], f"{name!r}: {this} lacks the first axis, the number of pictures."
        assert this == shape, f"the output of {name!r} has the shape {shape}, not {this}: is it the layer's output?"


def check_share_cut(answer):
    """Exercise 00.3: `answer(model, x, name) -> float`, the share of negative outputs before an in-place ReLU."""
    model, x = small_net(), noise(2, 3, 7, 9)
    outputs = {f"features.{n}": model.features[: n + 1](x) for n in range(3)} | {"head": model(x)}
    for name, output in outputs.items():
        share = (output < 0).float().mean()
        with calls(model):
            judge(answer, share, {
                "an in-place ReLU behind the layer has rewritten what your hook stored: count in the hook, or clone": 0,
                "this is in percent; give a share, 0 to 1": 100 * share,
                "that is the share that is not negative": 1 - share,
                "this is a number of values; divide by how many there are": (output < 0).sum(),
            }, model, x, name, hint=f"for {name!r} count what is < 0, of all values")  # fmt: skip
    error = error_of(answer, model, torch.zeros(1, 5, 7, 9), "features.1")  # five channels where the net takes three
    assert not hooks(model), "when the model raises an error, your hook stays: remove it in `finally:`."
    assert isinstance(error, RuntimeError), "the model's error must come through: `finally:`, not `except:`."


def check_saved(answer):
    """Exercise 00.4: the mended class stores true values that gradients flow to and from, and closes."""
    model, x = small_net(), noise(1, 3, 7, 9).requires_grad_()
    alone = model.features[0](x)  # the oracle: the same net, cut in two by hand
    scores = model.head(model.features[1:](alone.clone()).flatten(1))
    saved = answer(model.features[0])
    got = model(x)
    assert torch.allclose(got, scores, atol=1e-5), "with your hook the net answers differently: it may only look."
    output = getattr(saved, "output", None)
    assert isinstance(output, Tensor), "after the net has run, `.output` should be the layer's output tensor."
    assert (output < 0).any(), "(1) .output has no negative value left: the in-place ReLU behind has rewritten it."
    assert torch.allclose(output, alone, atol=1e-5), "(1) .output does not have the values that the layer put out."
    cases = {
        "(2) no gradient reaches the picture: .output is cut off from the graph": (output, x, alone, x),
        "(3) the logits do not depend on .output, so they have no gradient to it": (got, output, scores, alone),
    }
    for sentence, (top, place, true_top, true_place) in cases.items():
        (want,) = torch.autograd.grad(true_top.sum(), true_place, retain_graph=True)
        try:
            (gradient,) = torch.autograd.grad(top.sum(), place, retain_graph=True)
        except RuntimeError:
            raise AssertionError(f"{sentence}.") from None
        assert torch.allclose(gradient, want, atol=1e-5), f"{sentence[:3]} there is a gradient, but not the right one."
    saved.close()
    assert not hooks(model), "close() should remove the hook."
