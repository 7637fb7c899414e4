"""Checks of the exercises of lesson 08_class_activation_maps."""
from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _same(got, want: Tensor, **tolerance) -> bool:
    return got.shape == want.shape and torch.allclose(got.detach().to(want), want, **tolerance)


def check_cam_map(answer: Callable) -> None:
    """Exercise 1 of lesson 08: `answer(maps (K,h,w), weights (C,K), c) -> (h,w)`, the weighted sum for class c."""
    generator = torch.Generator().manual_seed(4)
    maps, weights = torch.randn(6, 3, 5, generator=generator), torch.randn(4, 6, generator=generator)
    for c in (2, 0):
        want = sum(float(weights[c, k]) * maps[k] for k in range(6))
        got = answer(maps.clone(), weights.clone(), c)
        assert isinstance(got, Tensor), f"Return a tensor (h, w); yours is a {type(got).__name__}."
        assert tuple(got.shape) == (3, 5), f"The map should have the shape (h, w) = (3, 5), not {tuple(got.shape)}."
        assert not _same(got, want.relu(), atol=1e-5), "A ReLU cut off what speaks against the class: CAM keeps it."
        assert not _same(got, want / 6, atol=1e-5), "This is the mean over the channels: add them up."
        assert _same(got, want, atol=1e-5), f"Take row c of the weights, and add up weights[{c}, k] * maps[k] over k."


def check_grad_cam(answer: Callable) -> None:
    """Exercise 2 of lesson 08: `answer(model, x (1,3,H,W), c, layer) -> (h,w)`, Grad-CAM with one's own hook."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        model = nn.Sequential(
            nn.Conv2d(3, 5, 3, stride=2), nn.ReLU(inplace=True), nn.Conv2d(5, 8, 3), nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten(), nn.Linear(48, 4),
        ).eval()  # fmt: skip
        model.requires_grad_(False)
        x = torch.randn(1, 3, 15, 21)
    for number, c in ((2, 1), (3, 2)):
        kept = x.clone()
        got = answer(model, x, c, model[number])
        assert not model[number]._forward_hooks, "A hook is left on the layer: call its handle's remove()."
        assert torch.equal(x, kept), "Your function changed the input x: leave it as it is."
        assert isinstance(got, Tensor), f"Return a tensor (h, w); yours is a {type(got).__name__}."
        a = x.clone()
        for part in model[: number + 1]:
            a = part(a)
        a = a.detach().clone().requires_grad_()
        out = a.clone()
        for part in model[number + 1 :]:
            out = part(out)
        (g,) = torch.autograd.grad(out[0, c], a)
        a, g = a.detach()[0], g[0]
        alpha = g.mean((1, 2), keepdim=True)
        signed = (alpha * a).sum(0)
        h, w = signed.shape
        assert tuple(got.shape) == (h, w), f"The map should have the layer's size {h, w}, not {tuple(got.shape)}."
        close = dict(rtol=1e-3, atol=1e-7)
        assert not _same(got, signed, **close), "The last step is missing: keep only the positive part of the sum."
        assert not _same(got, h * w * signed.relu(), **close), "alpha is the mean of the gradient, not its sum."
        assert not _same(got, (g * a).sum(0).relu(), **close), (
            "Here each unit is multiplied by its own gradient: average the gradient over a channel's positions first."
        )
        assert not _same(got, (alpha * a).relu().sum(0), **close), "The ReLU comes last: first add up, signed."
        assert not _same(got, (alpha.relu() * a).sum(0).relu(), **close), "Negative alphas count too: no ReLU on alpha."
        assert number == 3 or not _same(got, (alpha * a.relu()).sum(0).relu(), **close), (
            "The layer's output lost its negative values: an in-place ReLU behind it rewrote what your hook kept; "
            "let the hook return a clone."
        )
        assert _same(got, signed.relu(), **close), "The numbers differ: relu(sum over k of alpha_k * A_k), for class c."


def check_plus_plus_weights(answer: Callable) -> None:
    """Exercise 3 of lesson 08: `answer(maps (K,h,w), g (K,h,w)) -> (K,)`, the weights of Grad-CAM++ (equation 19)."""
    generator = torch.Generator().manual_seed(8)
    toy_maps = torch.tensor([[1.0, 1, 1, 1], [1, 0, 0, 0], [2, 1, 0, 0]]).view(3, 2, 2)
    toy_g = torch.tensor([[1.0, 1, 1, 1], [1, 0, 0, 0], [0.5, -0.5, 0, 0]]).view(3, 2, 2)
    maps, g = torch.rand(4, 3, 5, generator=generator), torch.randn(4, 3, 5, generator=generator) / 15
    for a, v in ((toy_maps, toy_g), (maps, 1e-5 * g), (maps, g)):
        want = []
        for k in range(len(a)):
            total, terms = float(a[k].double().sum()), v[k].double().flatten().tolist()
            want.append(sum(t**2 / (2 * t**2 + total * t**3) * t for t in terms if t > 0))
        want = torch.tensor(want)
        got = answer(a.clone(), v.clone())
        assert isinstance(got, Tensor), f"Return a tensor (K,); yours is a {type(got).__name__}."
        assert tuple(got.shape) == (len(a),), f"One weight per channel: {(len(a),)}, not {tuple(got.shape)}."
        assert not torch.isnan(got).any(), "There is a NaN: where g is 0 the fraction is 0/0, and alpha is 0 there."
        tiny = float(v.abs().max()) < 1e-4
        assert not tiny or _same(got, want, rtol=1e-3, atol=0), (
            "With gradients near 1e-6 your weights are wrong, though right with larger ones: an epsilon in the "
            "denominator swamps g^2, or g^3 underflows; cancel g^2 instead."
        )
        assert _same(got, want, rtol=1e-3, atol=1e-7), (
            f"The weights are {[round(n, 4) for n in want.tolist()]}, not {[round(n, 4) for n in got.tolist()]}: "
            "alpha = g^2 / (2 g^2 + (sum of A over the whole channel) g^3), then the sum of alpha * relu(g)."
        )


def check_energy_inside(answer: Callable) -> None:
    """Exercise 4 of lesson 08: `answer(heat (h,w), mask (H,W)) -> float`, the share of a stretched map in a mask."""
    heat = torch.tensor([[0.0, 4, 0], [1, 0, 2]])
    mask = torch.zeros(32, 48, dtype=torch.bool)
    mask[:16, 14:40] = True

    def share(**how) -> float:
        big = F.interpolate(heat[None, None], size=(32, 48), **how)[0, 0]
        return float(big[mask].sum() / big.sum())

    kept = heat.clone()
    got = float(answer(heat, mask))
    assert torch.equal(heat, kept), "Your function changed the map it was given: leave it as it is."
    assert 0 <= got <= 1, f"A share lies between 0 and 1, not {got:.3f}: divide by the sum over the whole map."
    want = share(mode="bilinear", align_corners=False)
    aligned, nearest = share(mode="bilinear", align_corners=True), share(mode="nearest")
    assert abs(got - aligned) > 1e-4, "align_corners=True pulls the cells outwards: use False."
    assert abs(got - nearest) > 1e-4, "The map was stretched without interpolation: use mode='bilinear'."
    assert abs(got - float(mask.float().mean())) > 1e-4, "This is the mask's share of the picture, not the map's."
    assert abs(got - want) < 1e-3, f"The share is {want:.3f}, not {got:.3f}: stretch the map, then sum inside / sum."
    assert abs(float(answer(5 * heat, mask)) - want) < 1e-3, "The share must not depend on the map's scale."
