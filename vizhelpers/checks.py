"""Checks of the exercises: each takes the reader's function or answer and says in one sentence what is wrong."""
from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np
import torch
from torch import nn


def try_check(check: Callable, *answers) -> None:
    """Run a check on an answer and say how it went, without stopping the lesson.

    Args:
        check: one of the `vh.check_...` functions.
        *answers: what the reader wrote: functions or values.

    Example:
        >>> vh.try_check(vh.check_normalise, my_normalise)
        Not solved yet: replace `raise NotImplementedError` by your code, then run both cells again.

    Taught in: 00_start_here.
    """
    try:
        check(*answers)
    except NotImplementedError:
        print("Not solved yet: replace `raise NotImplementedError` by your code, then run both cells again.")
    except AssertionError as reason:
        print(f"Not solved yet: {reason}")
    except Exception as error:
        print(f"Not solved yet: your code stopped with {type(error).__name__}: {error}")
    else:
        print("Correct.")


# ---- 00_start_here --------------------------------------------------------------------------------------------------


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


# ---- 01_first_layer_filters -----------------------------------------------------------------------------------------


def check_filter_to_rgb(filter_to_rgb: Callable) -> None:
    """Exercise 01.1: `filter_to_rgb(weights (3,h,w))` gives `(h,w,3)` in 0..1 on a symmetric scale, 0 as mid grey."""
    weights = torch.tensor([-0.5, 0.2, 0.1, 0.0, 0.3, -0.1, 0.05, 0.0, 0.25, -0.3, 0.1, 0.2]).view(3, 2, 2)
    want = torch.tensor([[[0.5 + float(weights[c, i, j]) for c in range(3)] for j in range(2)] for i in range(2)])
    for scale in (1.0, 0.01, 40.0):  # the same picture, however strong the filter is
        given = weights * scale
        before = given.clone()
        got = filter_to_rgb(given)
        assert torch.equal(given, before), "the weights themselves were changed: compute on a copy, they are the net's."
        assert got is not None, "return the picture."
        got = torch.as_tensor(got).detach().float().cpu()
        assert got.shape != (3, 2, 2), "a picture is (height, width, colour): permute(1, 2, 0) at the end."
        assert got.shape == (2, 2, 3), f"weights (3, 2, 2) become a picture (2, 2, 3), not {tuple(got.shape)}."
        if torch.allclose(got, want, atol=1e-5):
            continue
        flat, rows = want - 0.5, want.flatten()
        slips = {
            "negative weights are cut off at 0, so half of the filter is lost: put 0 at mid grey": flat.clamp(0) * 2,
            "stretching from min to max gives weight 0 a different grey in every filter: divide by the largest "
            "magnitude": (want - rows.min()) / (rows.max() - rows.min()),
            "divide by the largest magnitude, not by the largest weight: here -0.5 is the strongest": flat / 0.6 + 0.5,
            "each channel has a scale of its own, which changes the colours: one maximum for all three":
                flat / flat.abs().amax((0, 1)) / 2 + 0.5,
            "reshape deals the numbers out in another order: use permute(1, 2, 0)":
                want.permute(2, 0, 1).reshape(2, 2, 3),
        }  # fmt: skip
        for sentence, wrong in slips.items():
            assert not torch.allclose(got, wrong, atol=1e-4), f"{sentence}."
        assert float(got.min()) >= -1e-6 and float(got.max()) <= 1 + 1e-6, (
            f"values must lie in 0..1, but yours go from {float(got.min()):.2f} to {float(got.max()):.2f}."
        )
        raise AssertionError("values differ from 0.5 + w / (2 * largest magnitude); weight 0 must be 0.5 exactly.")
    dead = torch.as_tensor(filter_to_rgb(torch.zeros(3, 2, 2))).float().cpu()
    assert torch.allclose(dead, torch.full((2, 2, 3), 0.5)), "a filter of zeros must become flat grey 0.5, not NaN."


def check_ring_share(ring_share: Callable) -> None:
    """Exercise 01.2: `ring_share(magnitude (S,S), low, high)` is the share of the energy with low <= radius < high."""
    magnitude = torch.rand(12, 12, generator=torch.Generator().manual_seed(0)) + 0.1

    def truth(low, high, power=2, middle=6, unit=12):
        cells = [(float(magnitude[i, j]) ** power, math.hypot(i - middle, j - middle) / unit)
                 for i in range(12) for j in range(12)]  # fmt: skip
        return sum(e for e, radius in cells if low <= radius < high) / sum(e for e, _ in cells)

    for low, high in ((0.1, 0.3), (0.0, 0.21), (0.26, 0.8)):
        before = magnitude.clone()
        got = float(ring_share(magnitude, low, high))
        assert torch.equal(magnitude, before), "the spectrum itself was changed: compute on a copy."
        if abs(got - truth(low, high)) < 1e-4:
            continue
        slips = {
            "energy is the magnitude squared": truth(low, high, power=1),
            "zero frequency lies in the middle, at [S // 2, S // 2], not in the corner": truth(low, high, middle=0),
            "the radius is in cycles per pixel: divide the distance in samples by S": truth(low, high, unit=1),
            "divide by the energy of all frequencies": truth(low, high) * float(magnitude.square().sum()),
        }
        for sentence, wrong in slips.items():
            assert abs(got - wrong) > 1e-4 * max(1, abs(wrong)), f"{sentence}."
        raise AssertionError(f"between {low} and {high} lies {truth(low, high):.4f} of this energy, not {got:.4f}.")
    assert abs(float(ring_share(magnitude, 0.0, 1.0)) - 1) < 1e-4, "all rings together must hold everything: 1."


def check_aliased_frequency(aliased_frequency: Callable) -> None:
    """Exercise 01.3: `aliased_frequency(f, stride)` is the slow frequency whose samples every `stride` px are f's."""
    for f, stride in ((0.05, 4), (0.1, 4), (0.2, 4), (0.23, 4), (0.3, 4), (0.45, 4), (0.3, 2), (0.2, 2), (0.4, 1),
                      (0.26, 3), (-0.2, 4)):  # fmt: skip
        want = min((f - k / stride for k in range(-stride - 1, stride + 2)), key=abs)
        got = float(aliased_frequency(f, stride))
        if abs(got - want) < 1e-6:
            continue
        case = f"A wave of {f} cycles per pixel seen every {stride} px"
        assert abs(got - want * stride) > 1e-6, f"{case}: {got:.3f} is in cycles per unit; divide by the stride."
        assert abs(got + want) > 1e-6, f"{case} runs at {want:.3f}, not {got:.3f}: the sign says which way it moves."
        assert abs(got - f) > 1e-6, f"{case} is too fine for that grid, it cannot stay {f}."
        turns = (got - want) * stride
        assert abs(turns - round(turns)) > 1e-6, (
            f"{case}: {got:.3f} has the same samples, but {want:.3f} is slower: between -1/(2 stride) and 1/(2 stride)."
        )
        raise AssertionError(f"{case} looks like {want:.3f}, not {got:.3f}: take off whole multiples of 1/stride.")


# ---- 02_inside_the_layers -------------------------------------------------------------------------------------------


def check_channel_response(answer: Callable) -> None:
    """Exercise 1 of lesson 02: mean of the positive part of a hooked layer; `answer(model, x, layer) -> (N, K)`."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 3, stride=2),
                              nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)).eval()  # fmt: skip
        x = torch.randn(2, 3, 12, 16)
    before = x.clone()
    for number in (0, 2):
        layer = model[number]
        got = answer(model, x, layer)
        assert not layer._forward_hooks, "A hook is left on the layer: keep the handle and call handle.remove()."
        assert isinstance(got, torch.Tensor), f"Return a tensor (N, K); yours is a {type(got).__name__}."
        out = x
        for part in model[:number]:
            out = part(out.clone())
        out = F.conv2d(out, layer.weight, layer.bias, layer.stride, layer.padding).detach()
        shape = (2, out.shape[1])
        assert tuple(got.shape) == shape, f"The result should have the shape (N, K) = {shape}, not {tuple(got.shape)}."
        assert not torch.allclose(got, out.mean((2, 3)), atol=1e-5), (
            "These are means of the signed output: take the positive part of every unit first, then the mean."
        )
        assert not torch.allclose(got, out.mean((2, 3)).relu(), atol=1e-5), (
            "Here the mean came before the ReLU: take the positive part of every unit first, then the mean."
        )
        assert not torch.allclose(got, out.relu().amax((2, 3)), atol=1e-5), "This is the maximum, not the mean."
        assert torch.allclose(got, out.relu().mean((2, 3)), atol=1e-4), (
            "The numbers differ from the mean over positions of the layer's positive output: is it the right layer?"
        )
    assert torch.equal(x, before), "Your function changed the input x: leave it as it is."


def check_receptive_field(answer: Callable) -> None:
    """Exercise 2 of lesson 02: `answer(chain of (kernel, stride, padding, dilation)) -> (size, jump, start)`."""
    import torch
    import torch.nn.functional as F

    chains = [
        [(3, 1, 1, 1)],
        [(3, 1, 1, 1), (3, 1, 1, 1), (2, 2, 0, 1), (3, 1, 1, 1)],
        [(11, 4, 2, 1), (3, 2, 0, 1), (5, 1, 2, 1)],
        [(3, 2, 1, 1), (3, 1, 4, 4), (3, 2, 0, 2)],
        [(1, 1, 0, 1), (7, 2, 3, 1), (3, 2, 1, 1), (1, 1, 0, 1)],
    ]
    for chain in chains:
        x = torch.ones(1, 1, 1, 600, dtype=torch.float64, requires_grad=True)  # the truth: what the gradient reaches
        out = x
        for kernel, stride, padding, dilation in chain:
            weight = torch.ones(1, 1, 1, kernel, dtype=torch.float64)
            out = F.conv2d(out, weight, None, (1, stride), (0, padding), (1, dilation))
        middle = out.shape[-1] // 2
        reach = []
        for unit in (middle, middle + 1):
            (g,) = torch.autograd.grad(out[0, 0, 0, unit], x, retain_graph=True)
            # a dilated kernel leaves gaps; the field spans them
            reach.append(g[0, 0, 0].nonzero())
        first, last = int(reach[0].min()), int(reach[0].max())
        jump = int(reach[1].min()) - first
        truth = (last - first + 1, jump, first - jump * middle)
        got = answer(list(chain))
        assert got is not None and len(got) == 3, "Return three numbers: (size, jump, start)."
        for name, mine, true, reason in zip(
            ("size", "jump", "start"), got, truth,
            ("the field grows by (kernel - 1) * dilation * jump, with the jump from before this layer",
             "the jump is the product of all strides so far",
             "start goes down by padding * jump, with the jump from before this layer"), strict=True,
        ):  # fmt: skip
            assert int(mine) == true, f"For the chain {chain} the {name} is {true}, not {mine}: {reason}."


def check_top_pictures(answer: Callable) -> None:
    """Exercise 3 of lesson 02: `answer(values (N, K), channel, count) -> list of picture numbers`, strongest first."""
    import torch

    values = torch.tensor([[3.0, -9.0], [9.0, -2.0], [1.0, -5.0], [7.0, -1.0], [5.0, -7.0]])
    for channel, count, truth in ((0, 3, [1, 3, 4]), (1, 2, [3, 1]), (0, 9, [1, 3, 4, 0, 2])):
        got = answer(values.clone(), channel, count)
        got = [int(n) for n in got]
        assert got != truth[::-1] or count == 1, "The order is reversed: the strongest picture comes first."
        assert got != values[:, channel].argsort()[:count].tolist(), "These are the weakest: sort descending."
        assert len(got) == len(truth), f"Asked for {count} of {len(values)} pictures, you return {len(got)} numbers."
        assert got == truth, (
            f"For channel {channel} the {count} strongest are {truth}, not {got}: sort that channel's column, and "
            "return picture numbers, not values."
        )


def check_separating_channel(answer: Callable) -> None:
    """Exercise 4 of lesson 02: `answer(responses (N, K), member (N,)) -> (channel, auc)`."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        noisy = torch.rand(20, 12)
    member = torch.arange(20) % 4 == 1
    noisy[member, 7] += 0.6
    sparse = torch.zeros(8, 3)  # ties at 0, as after a ReLU
    sparse[:2, 0] = torch.tensor([1.0, 0.0])
    sparse[0, 1], sparse[5, 1] = 9.0, 8.0
    sparse[:, 2] = torch.tensor([0.3, 0.2, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    cases = [(noisy, member), (sparse, torch.arange(8) < 2)]
    for responses, inside in cases:
        scores = []
        for column in responses.T.tolist():
            a = [v for v, i in zip(column, inside.tolist(), strict=True) if i]
            b = [v for v, i in zip(column, inside.tolist(), strict=True) if not i]
            scores.append(sum((p > q) + 0.5 * (p == q) for p in a for q in b) / (len(a) * len(b)))
        best = max(range(len(scores)), key=scores.__getitem__)
        got = answer(responses.clone(), inside.clone())
        assert got is not None and len(got) == 2, "Return two things: (channel, auc)."
        channel, auc = int(got[0]), float(got[1])
        assert channel == best, (
            f"The channel with the highest AUC is {best} ({scores[best]:.3f}), not {channel} ({scores[channel]:.3f}): "
            "compare every member with every other picture; a difference of means is not the AUC."
        )
        assert abs(auc - scores[best]) < 1e-3, (
            f"The AUC of channel {best} is {scores[best]:.3f}, not {auc:.3f}: a tie counts one half, and the mean is "
            "over all pairs."
        )
