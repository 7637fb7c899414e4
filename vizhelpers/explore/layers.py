"""Explorers of what is inside a net: predictions (00), filters (01), maps and patches (02), the deconvnet (04)."""
from collections.abc import Mapping
from functools import cache

import torch
from PIL import Image, ImageOps
from torch import nn

from .. import render
from ..device import device_of, info_of, quiet
from ..hooks import capture, evaluating
from ..images import named, to_display, to_input
from ..methods.activations import channel_maxima, receptive_field, top_patches
from ..methods.deconvnet import deconvnet
from ..methods.filters import colourfulness, first_layer, orientation, spectrum
from ..targets import layer_names, predict
from .base import Explorer, slide


def explore_predictions(model: nn.Module, images) -> Explorer:
    """Choose a picture, see the net's best classes; `.result` is `(picture, predictions)`. Lesson 00."""
    pictures = named(images)
    answers = {name: predict(model, to_input(image, model)) for name, image in pictures.items()}

    def look(picture):
        found, small = answers[picture], pictures[picture].copy()
        small.thumbnail((360, 300))
        bars = render.probability_bars([p.label for p in found], [p.probability for p in found])
        return f"{picture}: {found[0].label} {found[0].probability:.1%}", [small, bars], {"predictions": found}

    return Explorer(look, picture=list(pictures))


def explore_filters(models: nn.Module | Mapping[str, nn.Module], image, *, spectrum_size: int = 64) -> Explorer:
    """Slide over first-layer filters of a net, or of nets by name: weights, Fourier spectrum, response on a photograph.
    `.result` is `(net, filter, weights, spectrum, response)`. Lesson 01."""
    nets = dict(models) if isinstance(models, Mapping) else {getattr(info_of(models), "name", "net"): models}
    layers = {name: first_layer(model)[1] for name, model in nets.items()}

    @cache
    def known(net):
        weights = layers[net].weight.detach().float().cpu()
        with torch.no_grad():
            response = layers[net](to_input(image, nets[net]))[0].float().cpu()
        return weights, spectrum(weights, spectrum_size), response, *orientation(weights), colourfulness(weights)

    def look(net, filter):
        w, spectra, response, angle, clarity, colour = (values[filter] for values in known(net))
        top = float(response.abs().max())
        text = (f"{net}, filter {filter}: weights | spectrum, zero frequency in the middle | response on the "
                f"photograph (red +, blue -)\ndirection {float(angle):.0f}° (clarity {float(clarity):.2f}), "
                f"colour share {float(colour):.2f}, strongest response {top:.2f}")  # fmt: skip
        pictures = [render.to_picture(render.mosaic(w[None], columns=1)[:-1, :-1]),
                    render.coloured(spectra, "magma", scale=(float(spectra.min()), float(spectra.max()))),
                    render.coloured(response, "RdBu_r", scale=top or 1.0)]  # fmt: skip
        whole = [ImageOps.scale(p, max(1, 224 // max(p.size)), Image.Resampling.NEAREST) for p in pictures]
        return text, whole, dict(weights=w, spectrum=spectra, response=response)

    return Explorer(look, net=list(nets), filter=slide(lambda net: (range(len(layers[net].weight)), None)))


def explore_features(model: nn.Module, images, *, layers=None) -> Explorer:
    """Slide over layers (by default every convolution) and channels: the channel's map over the picture, and its
    neighbours as a mosaic. `.result` is `(picture, layer, channel, map)`. Lesson 02."""
    pictures, layers = named(images), list(layers or layer_names(model, nn.Conv2d))

    @cache
    def known(picture):
        x = to_input(pictures[picture], model)
        with evaluating(model), torch.no_grad(), capture(model, *layers) as acts:
            model(x)
        maps = {layer: acts.maps(layer)[0].float().cpu() for layer in layers}
        return render.to_picture(to_display(x, model), side=320), maps

    def look(picture, layer, channel):
        shown, maps = known(picture)
        a, first = maps[layer][channel], channel // 64 * 64
        page = maps[layer][first : first + 64].relu()  # what the next layer mostly gets
        text = (f"{layer}, channel {channel}: map {a.shape[0]}x{a.shape[1]}, strongest {float(a.max()):.2f}, "
                f"mean {float(a.mean()):.2f} | right: channels {first} to {first + len(page) - 1}, each on its own "
                "scale from 0 up")  # fmt: skip
        return text, [render.overlay(shown, a), render.marked_mosaic(page, channel - first)], {"map": a}

    return Explorer(look, picture=list(pictures), layer=slide(layers),
                    channel=slide(lambda picture, layer: (range(len(known(picture)[1][layer])), None)))  # fmt: skip


def _strongest(model, x, layers, count, maxima, start, slow, progress):
    """What both explorers of patches need: pictures, `found(layer, channel)` with the field's size, the controls."""
    layers = [layers] if isinstance(layers, str) else list(layers)
    maxima = maxima or channel_maxima(model, x, layers, progress=progress)
    shown = [render.to_picture(picture) for picture in to_display(x, model)]
    field = cache(lambda layer, channel: receptive_field(model, layer, tuple(x.shape[-2:]), channel=channel))

    def found(layer, channel):
        # the channels of one convolution all see the same field; those of a concatenation do not
        seen = field(layer, None if isinstance(model.get_submodule(layer), nn.Conv2d) else channel)
        patches = top_patches(model, x, layer, channel, count=count, maxima=maxima[layer], field=seen)
        crops = [p.cut(shown[p.picture]) for p in patches]
        high = ", ".join(f"{p.value:.1f}" for p in patches[:3])
        return patches, crops, seen.size[0], f"{layer}, channel {channel}: strongest responses {high}, ..."

    channel = slide(lambda layer: (range(maxima[layer].values.shape[1]), None), start, slow=slow)
    return shown, found, dict(layer=slide(layers, slow=slow), channel=channel)


def explore_patches(model: nn.Module, x, layers, *, count=9, maxima=None, start=0, progress=True) -> Explorer:
    """Slide over channels, from `start`: the patches of `x` that excite each most, and where they are. `maxima` is what
    `channel_maxima` gave for these layers. `.result` is `(layer, channel, patches)`. Lesson 02."""
    shown, found, controls = _strongest(model, x, layers, count, maxima, start, False, progress)

    def look(layer, channel):
        patches, crops, _, said = found(layer, channel)
        framed = [render.draw_box(shown[p.picture], p.box, width=3) for p in patches]
        text = f"{said} | left: what the unit sees | right: where in the picture that is"
        return text, [render.sheet(crops, side=112), render.sheet(framed, side=112)], {"patches": patches}

    return Explorer(look, **controls)


def explore_deconvnet(model: nn.Module, x, layers, *, count=9, maxima=None, start=0, progress=True) -> Explorer:
    """As `explore_patches`, on a chain such as AlexNet: each patch beside its reconstruction.
    `.result` is `(layer, channel, patches, reconstructions)`. Lesson 04."""
    _, found, controls = _strongest(model, x, layers, count, maxima, start, True, progress)

    def look(layer, channel):
        patches, crops, side, said = found(layer, channel)
        with quiet():  # a silent channel: the text says so
            strongest = torch.stack([x[p.picture] for p in patches]).to(device_of(model))
            back = deconvnet(model, strongest, layer, channel).cpu()
        cut = [p.cut(render.to_picture(g)) for p, g in zip(patches, render.gradient_picture(back), strict=True)]
        text = (f"{said} | left: the {side} pixels that each unit sees | right: their reconstructions, each on its own "
                "scale, grey is 0")  # fmt: skip
        if silent := sum(p.value <= 0 for p in patches):
            text += f"\n{silent} of these pictures leave the channel silent: nothing to reconstruct"
        pictures = [render.sheet(crops, side=128), render.sheet(cut, side=128, ground=128)]
        return text, pictures, {"patches": patches, "reconstructions": back}

    return Explorer(look, **controls)
