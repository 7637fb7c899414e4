"""Explorers of maps over the picture: saliency (05), ReLU rules (07), CAM and the method lab (08), the trial (13)."""
from collections.abc import Mapping
from functools import cache, lru_cache

import torch
from torch import nn

from ..device import quiet
from ..hooks import capture, maps_of
from ..images import to_display
from ..methods.activations import activations
from ..methods.cam import cam, map_layers, plus_plus_weights, why_empty
from ..methods.gradients import deconvnet_gradient, gradient, guided_backprop, path, smoothgrad
from ..methods.scoreboard import METHODS, laboratory, sanity_check
from ..methods.trust import insertion_deletion, pixel_order, stages
from ..render import coloured, figure_pixels, gradient_picture, sheet, strongest, titled, to_picture
from ..show import show_curves
from ..targets import Neuron, categories, differentiable, has_classes, layer_names, predict, score, settled
from .base import Classes, Explorer, Map, Pictures, explores, laid, slide, tinted


@explores
def explore_saliency(model: nn.Module | Mapping[str, nn.Module], images, *, steps: int = 32) -> Explorer:
    """Saliency, SmoothGrad, gradient x input, and Integrated Gradients as a walk from black. Lesson 05.
    Signed maps are shown as sums over 4x4 pixels, red for and blue against the class; `.result` has also `map` and
    `path`, the way's points (share, score, attributed)."""
    pictures = Pictures(images, model)
    asked = Classes(model, pictures, layer_names(model, nn.Conv2d)[-1])

    @lru_cache(64)
    def found(picture, target, method, noise, samples):
        x = pictures(picture)
        if method == "Integrated Gradients":
            return path(model, x, target, steps)
        if method == "SmoothGrad":
            return x, None, smoothgrad(model, x, target, level=noise, samples=samples).abs().amax(1)
        g = gradient(model, x, target)
        return x, None, g.abs().amax(1) if method == "saliency" else (g * x).sum(1)

    def look(picture, target, method, noise, samples, point):
        way, walk, maps = found(picture, target, method, noise, samples)
        k, whole, words, how = point if walk else 0, maps[-1].cpu(), "bright: strong", {}
        if method in ("gradient x input", "Integrated Gradients"):
            words, how = "red for, blue against", dict(colours="RdBu_r", blocks=4)
        shown = {picture: to_picture(to_display(way[k], model), side=320),
                 f"{method}, {words}": tinted(maps[k].cpu(), whole, side=320, **how)}  # fmt: skip
        said = f"strongest {float(whole.abs().max()):.3g}"
        if walk:
            here, whole_way = walk[k], walk[-1].score - walk[0].score
            said = (f"{here.share:.0%} of the way: score {here.score:.2f}, attributed so far {here.attributed:.2f} | "
                    f"in all {walk[-1].attributed:.2f}, S(x) - S(black) is {whole_way:.2f}: {steps} points")
        return f"{method} for {asked.label}: {said}", shown, {"map": whole, "path": walk or []}

    smooth = dict(slow=True, acts=lambda method: method == "SmoothGrad")
    point = slide(range(steps + 2), steps + 1, acts=lambda method: method == "Integrated Gradients", play=True)
    return Explorer(look, picture=pictures, target=asked, wait="computing ...",
                    method=["saliency", "SmoothGrad", "gradient x input", "Integrated Gradients"],
                    noise=slide([n / 20 for n in range(11)], 0.05, **smooth),
                    samples=slide(range(1, 65), 8, **smooth), point=point)  # fmt: skip


@explores
def explore_relu_rules(model: nn.Module, images, *, classes=None, layers=None) -> Explorer:
    """The picture and what the three ReLU rules make of it, for a class or for a channel of any layer. Lesson 07.
    `classes`: by default the two most probable of every picture. `.result` has also `target` and `gradients`."""
    pictures, by_channel = Pictures(images, model), "a channel (sliders)"
    layers, first = list(layers or layer_names(model, nn.Conv2d)), pictures()
    if classes is None and has_classes(model, first):
        classes = [p.label for name in pictures.images for p in predict(model, pictures(name), top=2)]
    channels = cache(lambda layer: (range(activations(model, first, layer).shape[1]), None))
    how = dict(slow=True, acts=lambda explain: explain == by_channel)

    @lru_cache(60)  # 3 x 0.6 MB each
    def found(picture, wanted):
        rules = {"gradient": gradient, "deconvnet": deconvnet_gradient, "guided": guided_backprop}
        with quiet():  # a silent target: the text says so
            return {rule: method(model, pictures(picture), wanted)[0].cpu() for rule, method in rules.items()}

    def look(picture, explain, layer, channel, part, colour):
        target, what = explain, explain
        if explain == by_channel:
            target, what = Neuron(layer, channel), f"{layer}, mean of channel {channel}"
        gradients, shown = found(picture, target), {picture: to_picture(to_display(pictures(picture), model), side=224)}
        for rule, g in gradients.items():
            drawn = gradient_picture(g, part=part, grey=colour == "grey")
            shown[f"{rule}, strongest {float(g.abs().max()):.2g}"] = to_picture(drawn, side=224)
        text = f"{what} | {part} values, each on its own scale, {'grey' if part == 'all' else 'black'} is 0"
        return text, shown, {"target": target, "gradients": gradients}

    return Explorer(look, picture=pictures, explain=[*dict.fromkeys(classes or ()), by_channel],
                    layer=slide(layers, layers[len(layers) // 2], **how), channel=slide(channels, **how),
                    part=["all", "positive", "negative"], colour=["RGB", "grey"])  # fmt: skip


@explores
def explore_cam(model: nn.Module | Mapping[str, nn.Module], images, *, layers=None) -> Explorer:
    """Slide over every layer of a net: Grad-CAM or Grad-CAM++ for any class, and CAM where the net has one. Lesson 08.
    `layers`: by default all with maps, blocks as a whole; `.result` is `(picture, target, method, layer, map)`."""
    pictures = Pictures(images, model)
    blocks = map_layers(model, pictures())
    layers, asked = list(layers or blocks), Classes(model, pictures, blocks[-1])

    @lru_cache(16)
    def found(picture, target):  # one pass forward and one back give both maps of every layer
        x = pictures(picture)
        with differentiable(model, x) as leaf, capture(model, *layers) as acts:
            total = score(model, leaf, target).sum()
            grads = torch.autograd.grad(total, [acts[layer] for layer in layers], allow_unused=True)
        try:
            whole = cam(model, x, target)[0].cpu(), ""
        except ValueError as refusal:
            whole = torch.zeros(1, 1), str(refusal)
        heat = {("CAM", layer): whole for layer in layers}
        for layer, g in zip(layers, grads, strict=True):
            a = acts.maps(layer).detach()
            slope = torch.zeros_like(a) if g is None else maps_of(g, x.shape[2:], layer)
            for method, weights in (("Grad-CAM", slope.mean((2, 3))), ("Grad-CAM++", plus_plus_weights(a, slope))):
                one = torch.einsum("nkhw,nk->hw", a, weights).relu().cpu()
                heat[method, layer] = one, "it lies behind" if g is None else "" if one.any() else why_empty(a, g)
        return float(total.detach()), to_picture(to_display(x, model), side=320), heat

    def look(picture, target, method, layer):
        value, shown, heat = found(picture, target)
        one, reason = heat[method, layer]
        place = "the end of the net" if method == "CAM" else layer
        text = (f"{method} of {place}, {one.shape[0]}x{one.shape[1]}, for {asked.label} (score {value:.2f}): "
                f"strongest {float(one.max()):.3g}" + (f" | empty: {reason}" if reason else ""))  # fmt: skip
        return text, {picture: shown, f"{method} over it": laid(one, shown)}, {"map": one}

    return Explorer(look, picture=pictures, target=asked,
                    method=["Grad-CAM", "Grad-CAM++", "CAM"], layer=slide(layers, layers[-1]))  # fmt: skip


@explores
def explore_methods(model: nn.Module | Mapping[str, nn.Module], image) -> Explorer:
    """Every method on one picture and class: red speaks for it, blue against. Lesson 08. With the scale "one for all" a
    colour is the same share of a map's sum everywhere; `.result` has also `raw`, `maps` and `reasons`, by method."""
    pictures = Pictures(image, model)
    asked = Classes(model, pictures, map_layers(model, pictures())[-1])
    found = lru_cache(8)(lambda picture, target: laboratory(model, pictures(picture), target))

    def look(picture, target, scale):
        raw, maps, reasons = found(picture, target)
        shares = {name: m / m.abs().sum().clamp(min=1e-30) for name, m in maps.items()}

        def tiles(top):
            yield titled(to_display(pictures(picture), model), picture, 200)
            for name in sorted(shares | reasons, key=lambda name: METHODS[name].lesson):
                own = top if scale == "one for all" else None
                tile = reasons.get(name) or coloured(shares[name], "RdBu_r", 200, scale=own)
                said = "gradient" if name == "saliency" else name  # here with its sign
                yield titled(tile, f"{said} ({METHODS[name].lesson:02d})", 200)

        top = strongest(torch.stack([*shares.values()])) if shares else 1.0
        missing = f" | nothing from: {', '.join(reasons)}" if reasons else ""
        shown = {"red for, blue against": Map(shares, top, lambda top: sheet([*tiles(top)], columns=4))}
        return f"{asked.label}{missing}", shown, {"raw": raw, "maps": maps, "reasons": reasons}

    return Explorer(look, picture=pictures, target=asked, scale=["each its own", "one for all"], wait="computing ...")


@explores
def explore_trust(model: nn.Module, image, target=None, *, methods=None, steps: int = 20) -> Explorer:
    """One slider makes the weights random from the top down, another deletes the map's best pixels. Lesson 13.
    `methods` are of `evidence`'s; `.result` is `(method, stage, deleted, map, rank, ssim, share, probability)`."""
    pictures = Pictures(image, model)
    asked = cache(lambda picture: int(settled(model, pictures(picture), target)))
    methods = methods or "guided backprop,saliency,gradient x input,deconvnet,Grad-CAM,Guided Grad-CAM,edges".split(",")
    blocks = ["trained", *stages(model)]

    @cache
    def tried(picture, method):
        x, c = pictures(picture), asked(picture)
        found = sanity_check(model, x, c, method)
        both = torch.cat([found.maps[0], METHODS["random"](model, x, c)])
        curves = insertion_deletion(model, torch.cat([x, x]), c, both, steps=steps)
        return found, curves, pixel_order(found.maps[0], tuple(x.shape[2:]))

    def look(picture, method, stage, deleted):
        x, at, (found, curves, order) = pictures(picture), blocks.index(stage), tried(picture, method)
        (curve, other), share = curves.deletion.cpu(), float(curves.fraction[deleted])
        rank, alike = ([1.0, *part[:, 0].tolist()][at] for part in (found.rank, found.ssim))
        weights = f"random from the top down to {stage}" if at else "trained net"
        shown = torch.where((order < round(share * order[0].numel()))[:, None], 0.0, x)
        text = (f"{categories(model)[asked(picture)]} | {method} | {weights}: rank correlation {rank:.2f}, SSIM "
                f"{alike:.2f} | {share:.0%} deleted: {float(curve[deleted]):.1%} (random order "
                f"{float(other[deleted]):.1%})")  # fmt: skip
        maps = found.maps[:, 0].cpu()
        lines = {"in a random order": other, "the map's highest first": curve}
        pages = {"the trained net's map": tinted(maps[0].abs(), side=224),
                 "the map at this stage": tinted(maps[at].abs(), side=224),
                 "without the trained map's highest pixels": to_picture(to_display(shown, model), side=224),
                 "probability over the share of the pixels deleted": figure_pixels(
                     lambda ax: show_curves(curves.fraction, lines, ax=ax).axvline(share, color="tab:red"), 3.25, 2.8)}
        return text, pages, dict(map=maps[at], rank=rank, ssim=alike, share=share, probability=float(curve[deleted]))

    return Explorer(look, picture=pictures, method=list(methods), stage=slide(blocks), deleted=range(steps + 1),
                    wait="computing ...")  # fmt: skip
