"""Explorers of what is inside a net: predictions (00), filters (01), maps and patches (02), the deconvnet (04)."""
from collections.abc import Mapping
from functools import cache, lru_cache

import torch
from PIL import Image, ImageOps
from torch import nn
from torch.nn.functional import avg_pool2d

from .. import render
from ..device import device_of, quiet
from ..hooks import capture, evaluating
from ..images import to_display, to_input
from ..methods.activations import channel_maxima, receptive_field, top_patches
from ..methods.deconvnet import deconvnet
from ..methods.filters import colourfulness, first_layer, orientation, spectrum
from ..targets import layer_names, predict
from .base import Explorer, Map, Pictures, by_name, explores, laid, slide


@explores
def explore_predictions(model: nn.Module, images) -> Explorer:
    """Choose a picture, see the net's best classes; `.result` is `(picture, predictions)`. Lesson 00."""
    pictures = Pictures(images, model)

    def look(picture):
        found, small = predict(model, pictures(picture)), ImageOps.contain(pictures.images[picture], (360, 300))
        bars = render.probability_bars([p.label for p in found], [p.probability for p in found])
        shown = {picture: small, "the five most probable classes": bars}
        return f"{picture}: {found[0].label} {found[0].probability:.1%}", shown, {"predictions": found}

    return Explorer(look, picture=pictures)


def explore_filters(models: nn.Module | Mapping[str, nn.Module], image, *, spectrum_size: int = 64) -> Explorer:
    """Slide over first-layer filters of a net, or of nets by name: weights, Fourier spectrum, response on a photograph.
    `.result` is `(net, filter, weights, spectrum, response)`. Lesson 01."""
    nets, pictures = by_name(models), Pictures(image)
    layers = {name: first_layer(model)[1] for name, model in nets.items()}

    @lru_cache(8)
    def known(net, picture):
        w = layers[net].weight.detach().float().cpu()
        with torch.no_grad():
            response = layers[net](to_input(pictures.images[picture], nets[net]))[0].float().cpu()
        return w, spectrum(w, spectrum_size), *orientation(w), colourfulness(w), response

    def enlarged(picture):
        return ImageOps.scale(picture, max(1, 224 // max(picture.size)), Image.Resampling.NEAREST)

    def look(picture, net, filter):
        w, spectra, angle, clarity, colour, response = (values[filter] for values in known(net, picture))
        top = float(response.abs().max())
        text = (f"{net}, filter {filter}: direction {float(angle):.0f}° (clarity {float(clarity):.2f}), "
                f"colour share {float(colour):.2f}, strongest response {top:.2f}")  # fmt: skip
        magma = render.coloured(spectra, "magma", scale=(float(spectra.min()), float(spectra.max())))
        shown = {"weights": enlarged(render.to_picture(render.mosaic(w[None], columns=1)[:-1, :-1])),
                 "spectrum, zero frequency in the middle": enlarged(magma),
                 f"response on {picture} (red +, blue -)": Map({"": response}, top or 1.0, lambda top: enlarged(
                     render.coloured(response, "RdBu_r", scale=top)))}  # fmt: skip
        return text, shown, dict(weights=w, spectrum=spectra, response=response)

    return Explorer(look, nets=nets, picture=pictures, net=list(nets),
                    filter=slide(lambda net: (range(len(layers[net].weight)), None)))  # fmt: skip


@explores
def explore_features(model: nn.Module | Mapping[str, nn.Module], images, *, layers=None) -> Explorer:
    """Slide over layers (by default every convolution) and channels of a net, or of nets by name: the channel's map
    over the picture, and its neighbours as a mosaic. `.result` is `(picture, layer, channel, map)`. Lesson 02."""
    pictures, layers = Pictures(images, model), list(layers or layer_names(model, nn.Conv2d))
    seen = cache(lambda picture: render.to_picture(to_display(pictures(picture), model), side=320))

    @cache
    def known(picture):
        with evaluating(model), torch.no_grad(), capture(model, *layers) as acts:
            model(pictures(picture))
        maps = {layer: acts.maps(layer)[0].float().cpu() for layer in layers}
        return {layer: (a, avg_pool2d(a.relu()[None], -(-max(a.shape[1:]) // 64), ceil_mode=True)[0])
                for layer, a in maps.items()}  # tiles of what the next layer gets, at most 64 a side  # fmt: skip

    def look(picture, layer, channel):
        (maps, tiles), first = known(picture)[layer], channel // 64 * 64
        a, page = maps[channel], tiles[first : first + 64]
        text = (f"{layer}, channel {channel}: map {a.shape[0]}x{a.shape[1]}, strongest {float(a.max()):.2f}, "
                f"mean {float(a.mean()):.2f}")  # fmt: skip
        words = f"channels {first} to {first + len(page) - 1}, each on its own scale from 0 up"
        mosaic = render.marked_mosaic(page, channel - first)
        return text, {f"channel {channel} over {picture}": laid(a, seen(picture)), words: mosaic}, {"map": a}

    return Explorer(look, picture=pictures, layer=slide(layers),
                    channel=slide(lambda picture, layer: (range(len(known(picture)[layer][0])), None)))  # fmt: skip


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


@explores
def explore_patches(model: nn.Module, x, layers, *, count=9, maxima=None, start=0, progress=True) -> Explorer:
    """Slide over channels, from `start`: the patches of `x` that excite each most, and where they are. `maxima` is what
    `channel_maxima` gave for these layers. `.result` is `(layer, channel, patches)`. Lesson 02."""
    shown, found, controls = _strongest(model, x, layers, count, maxima, start, False, progress)

    def look(layer, channel):
        patches, crops, _, said = found(layer, channel)
        framed = [render.draw_box(shown[p.picture], p.box, width=3) for p in patches]
        return said, {"what the unit sees": render.sheet(crops, side=112),
                      "where in the picture that is": render.sheet(framed, side=112)}, {"patches": patches}

    return Explorer(look, **controls)


@explores
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
        if silent := sum(p.value <= 0 for p in patches):
            said += f"\n{silent} of these pictures leave the channel silent: nothing to reconstruct"
        shown = {f"the {side} pixels that each unit sees": render.sheet(crops, side=128),
                 "their reconstructions, each on its own scale, grey is 0": render.sheet(cut, side=128, ground=128)}
        return said, shown, {"patches": patches, "reconstructions": back}

    return Explorer(look, **controls)
