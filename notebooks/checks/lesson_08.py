"""Checks of the exercises of lesson 08_class_activation_maps."""
import torch
from torch import nn

from .kit import judge, net, noise


def check_cam_map(answer):
    """Exercise 08.1: `answer(maps (K,h,w), weights (C,K), c) -> (h,w)`, the weighted sum for class c."""
    maps, weights = noise(6, 3, 5), noise(4, 6, seed=2)
    for c in (2, 0):
        want = sum(float(weights[c, k]) * maps[k] for k in range(6))
        judge(answer, want, {
            "a ReLU cut off what speaks against the class: CAM keeps it": want.relu(),
            "this is the mean over the channels: add them up": want / 6,
            "negative weights count too, with their sign": torch.einsum("k,khw->hw", weights[c].relu(), maps),
        }, maps, weights, c, hint=f"take row c of the weights, add up weights[{c}, k] * maps[k] over k")  # fmt: skip


def check_grad_cam(answer):
    """Exercise 08.2: `answer(model, x (1,3,H,W), c, layer) -> (h,w)`, Grad-CAM with one's own hook."""
    model = net(nn.Conv2d(3, 5, 3, stride=2), nn.ReLU(True), nn.Conv2d(5, 8, 3), nn.ReLU(True),
                nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten(), nn.Linear(48, 4), seed=5)  # fmt: skip
    x = noise(1, 3, 15, 21)
    for number, c in ((2, 1), (3, 2)):
        a = model[: number + 1](x).requires_grad_()  # the oracle: the net, cut in two by hand
        (g,) = torch.autograd.grad(model[number + 1 :](a.clone())[0, c], a)
        a, g = a.detach()[0], g[0]
        alpha = g.mean((1, 2), keepdim=True)
        signed = (alpha * a).sum(0)
        judge(answer, signed.relu(), {
            "the last step is missing: keep only the positive part of the sum": signed,
            "alpha is the mean of the gradient, not its sum": signed.relu() * a[0].numel(),
            "each unit is multiplied by its own gradient: average it over a channel first": (g * a).sum(0).relu(),
            "the ReLU comes last: first add up, signed": (alpha * a).relu().sum(0),
            "negative alphas count too: no ReLU on alpha": (alpha.relu() * a).sum(0).relu(),
            "an in-place ReLU rewrote what your hook kept: let it return a clone": (alpha * a.relu()).sum(0).relu(),
        }, model, x, c, model[number], hint="relu(sum over k of alpha_k * A_k), for class c")  # fmt: skip


def check_plus_plus_weights(answer):
    """Exercise 08.3: `answer(maps (K,h,w), g (K,h,w)) -> (K,)`, the weights of Grad-CAM++ (equation 19)."""
    toy = torch.tensor([[1.0, 1, 1, 1], [1, 0, 0, 0], [2, 1, 0, 0]]).view(3, 2, 2)
    toy_g = torch.tensor([[1.0, 1, 1, 1], [1, 0, 0, 0], [0.5, -0.5, 0, 0]]).view(3, 2, 2)
    maps, g = noise(4, 3, 5).sigmoid(), noise(4, 3, 5, seed=2) / 15
    for a, v in ((toy, toy_g), (maps, 1e-5 * g), (maps, g)):
        total, d = a.double().sum((1, 2), keepdim=True), v.double()

        def weights(gate=torch.relu, epsilon=0.0, total=total, d=d):
            alpha = torch.where(d != 0, d**2 / (2 * d**2 + total * d**3 + epsilon), 0)
            return (alpha * gate(d)).sum((1, 2))

        judge(answer, weights(), {
            "with small gradients an epsilon in the denominator swamps g^2: cancel g^2 instead": weights(epsilon=1e-6),
            "alpha is multiplied by g, not by relu(g): count only what speaks for the class": weights(gate=lambda d: d),
        }, a, v, hint="alpha = g^2 / (2 g^2 + (sum of A over the whole channel) g^3), then the sum of "
            "alpha * relu(g); with small gradients g^3 must not underflow")  # fmt: skip


def check_energy_inside(answer):
    """Exercise 08.4: `answer(heat (h,w), mask (H,W)) -> float`, the share of a stretched map in a mask."""
    heat, mask = torch.tensor([[0.5, 4, 0.5], [1, 0.5, 2]]), torch.zeros(32, 48, dtype=torch.bool)
    mask[:16, 14:40] = True

    def share(less=0, **how):
        big = nn.functional.interpolate(heat[None, None] - less, size=(32, 48), **how)[0, 0]
        return big[mask].sum() / big.sum()

    for scale in (1, 5):  # the share must not depend on the map's scale
        judge(answer, share(mode="bilinear", align_corners=False), {
            "align_corners=True pulls the cells outwards: use False": share(mode="bilinear", align_corners=True),
            "the map was stretched without interpolation: use mode='bilinear'": share(mode="nearest"),
            "this is the mask's share of the picture, not the map's": mask.float().mean(),
            "scaled from min to max, the map has lost its lowest value: use it as it is": share(0.5, mode="bilinear"),
        }, scale * heat, mask, tol=1e-3,
            hint="a share lies between 0 and 1: stretch the map, then the sum inside / the sum of all")  # fmt: skip
