"""Explorers: a few sliders, one picture each. The only file that imports ipywidgets; thin over compute and render.

Only what ipywidgets 7.7 (Colab) and 8 share is used. Everything a slider can reach is computed beforehand, so that
a step only encodes a picture.
"""
from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import ipywidgets as W
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from .activations import ChannelMaxima, Patch, channel_maxima, receptive_field, top_patches
from .device import device_of
from .filters import colourfulness, first_layer, orientation, spectrum
from .hooks import capture, evaluating, resolve_layer
from .images import to_display, to_input
from .models import Prediction, predict
from .pictures import load_image
from .render import draw_box, mosaic, overlay, palette, probability_bars, to_picture, to_png


class Explorer(W.VBox):
    """Controls, a line of text and pictures; `.result` always holds the numbers behind what is shown.

    Keyboard: click a slider, then arrow keys, Page Up/Down, Home and End; the buttons step by one.
    """

    def __init__(self, controls: Sequence[W.Widget], pictures: int):
        self.result = None
        self.text = W.HTML()
        self.images = [W.Image(format="png", layout=W.Layout(margin="0 8px 0 0")) for _ in range(pictures)]
        rows = [W.HBox([control, *self._steps(control)]) for control in controls]
        top = W.Layout(align_items="flex-start", flex_flow="row wrap")
        super().__init__([*rows, self.text, W.HBox(self.images, layout=top)], layout=W.Layout(align_items="flex-start"))
        self.add_class("vizhelpers-explorer")

    @staticmethod
    def _steps(control: W.Widget) -> list[W.Button]:
        """Two buttons that move a slider by one: Notebook 7 keeps the arrow keys for its own cell cursor."""
        if not isinstance(control, (W.IntSlider, W.SelectionSlider)):
            return []

        def move(by: int):
            if isinstance(control, W.IntSlider):
                control.value = min(max(control.value + by, control.min), control.max)
            else:
                control.index = min(max(control.index + by, 0), len(control.options) - 1)

        buttons = []
        for sign, by, tip in (("◀", -1, "one back"), ("▶", 1, "one on")):
            buttons.append(W.Button(description=sign, tooltip=tip, layout=W.Layout(width="36px")))
            buttons[-1].on_click(lambda _, by=by: move(by))
        return buttons

    def on_change(self, control: W.Widget, action: Callable[[], None]) -> None:
        """Run an action when a control moves; JupyterLab shows its exceptions nowhere, so say them in the text too."""

        def shown(_):
            try:
                action()
            except Exception as error:
                self.text.value = f"<b>{type(error).__name__}</b>: {html.escape(str(error))}"
                raise

        control.observe(shown, "value")

    def put(self, number: int, picture: np.ndarray, colours: str | np.ndarray = "viridis") -> None:
        """Show an array in one of the picture places, pixel for pixel."""
        self.images[number].value = to_png(picture, colours=colours)
        self.images[number].width, self.images[number].height = str(picture.shape[1]), str(picture.shape[0])

    def still(self) -> bytes:
        """The pictures now shown, side by side, as PNG bytes: what GitHub and exported pages show."""
        parts = [Image.open(io.BytesIO(image.value)).convert("RGB") for image in self.images]
        sheet = Image.new("RGB", (sum(p.width + 8 for p in parts) - 8, max(p.height for p in parts)), "white")
        left = 0
        for part in parts:
            sheet.paste(part, (left, 0))
            left += part.width + 8
        buffer = io.BytesIO()
        sheet.save(buffer, "PNG")
        return buffer.getvalue()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.result!r:.80})"

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        bundle["image/png"] = base64.b64encode(self.still()).decode()
        return bundle


def _named(images) -> dict[str, Image.Image]:
    """Pictures by name: from a mapping, a list of names or pictures, or one of them."""
    if isinstance(images, Mapping):
        return {str(name): load_image(image) for name, image in images.items()}
    items = list(images) if isinstance(images, (list, tuple)) else [images]
    if not items:
        raise ValueError("There is no picture to explore: give at least one name, path or picture.")
    names = [str(i) if isinstance(i, (str, bytes)) or hasattr(i, "__fspath__") else f"picture {n}"
             for n, i in enumerate(items)]  # fmt: skip
    return {name: load_image(item) for name, item in zip(names, items, strict=True)}


def _enlarged(picture: np.ndarray, side: int) -> np.ndarray:
    factor = max(1, side // max(picture.shape[:2]))
    return picture.repeat(factor, 0).repeat(factor, 1)


class PredictionResult(NamedTuple):
    picture: str
    predictions: list[Prediction]


def explore_predictions(model: nn.Module, images, *, top: int = 5) -> Explorer:
    """Choose a picture, see the net's best classes with their probabilities.

    Args:
        model: a classifier.
        images: names, pictures, a list of them, or a mapping name -> picture; anything `load_image` takes.
        top: how many classes.

    Returns:
        The widget; `.result` is `(picture, predictions)`.

    Raises:
        ValueError: no picture, or a net without class scores.

    Example:
        >>> vh.explore_predictions(net, ["koala", "coffee", "india_gate"])

    Taught in: 00_start_here.
    """
    pictures = _named(images)
    chooser = W.Dropdown(options=list(pictures), description="picture")
    answers = {name: predict(model, to_input(image, model), top=top) for name, image in pictures.items()}
    explorer = Explorer([chooser], 2)

    def draw():
        found = answers[chooser.value]
        explorer.result = PredictionResult(chooser.value, found)
        small = pictures[chooser.value].copy()
        small.thumbnail((360, 300))
        explorer.put(0, np.asarray(small))
        explorer.put(1, probability_bars([p.label for p in found], [p.probability for p in found]))
        explorer.text.value = f"{html.escape(chooser.value)}: {html.escape(found[0].label)} {found[0].probability:.1%}"

    explorer.on_change(chooser, draw)
    draw()
    return explorer


class FilterResult(NamedTuple):
    net: str
    filter: int
    weights: Tensor  # (3, kh, kw)
    spectrum: Tensor  # (S, S)
    response: Tensor  # (h, w), signed


def explore_filters(models: nn.Module | Mapping[str, nn.Module], image, *, spectrum_size: int = 64) -> Explorer:
    """Slide over first-layer filters: each as a picture, as a Fourier spectrum, and its response on a photograph.

    Args:
        models: one net, or a mapping name -> net.
        image: the photograph; anything `load_image` takes.
        spectrum_size: side of the spectrum in samples.

    Returns:
        The widget; `.result` is `(net, filter, weights, spectrum, response)`.

    Raises:
        ValueError: a net whose first convolution does not see RGB.

    Example:
        >>> vh.explore_filters({"alexnet": alexnet, "vgg16": vgg16}, "giraffe")

    Taught in: 01_first_layer_filters.
    """
    single = getattr(getattr(models, "viz", None), "name", "net")
    nets = dict(models) if isinstance(models, Mapping) else {single: models}
    known = {}
    for name, model in nets.items():
        _, layer = first_layer(model)
        x = to_input(image, model).to(device_of(model))
        with torch.no_grad():
            response = layer(x)[0].float().cpu()
        weights = layer.weight.detach().float().cpu()
        spectra = spectrum(weights, spectrum_size)
        known[name] = (weights, spectra, response, orientation(weights), colourfulness(weights))
    chooser = W.Dropdown(options=list(known), description="net")
    slider = W.IntSlider(0, 0, len(next(iter(known.values()))[0]) - 1, description="filter")
    explorer = Explorer([chooser, slider] if len(known) > 1 else [slider], 3)

    def draw():
        weights, spectra, response, (angle, clarity), colour = known[chooser.value]
        i = slider.value
        explorer.result = FilterResult(chooser.value, i, weights[i], spectra[i], response[i])
        explorer.put(0, _enlarged(mosaic(weights[i : i + 1], columns=1)[:-1, :-1], 224))
        explorer.put(1, _enlarged(mosaic(spectra[i : i + 1], columns=1)[:-1, :-1], 224), "magma")
        top = float(response[i].abs().max()) or 1.0
        explorer.put(2, _enlarged(mosaic(response[i : i + 1] + top, columns=1, limit=2 * top)[:-1, :-1], 224), "RdBu_r")
        explorer.text.value = (
            f"{chooser.value}, filter {i}: weights | spectrum, zero frequency in the middle | response on the "
            f"photograph (red +, blue -)<br>direction {float(angle[i]):.0f}° (clarity {float(clarity[i]):.2f}), "
            f"colour share {float(colour[i]):.2f}, strongest response {top:.2f}"
        )

    def net_changed():
        slider.max = len(known[chooser.value][0]) - 1  # a larger value is clipped, and that draws
        draw()

    explorer.on_change(chooser, net_changed)
    explorer.on_change(slider, draw)
    draw()
    return explorer


class FeatureResult(NamedTuple):
    picture: str
    layer: str
    channel: int
    map: Tensor  # (h, w), signed


def explore_features(model: nn.Module, images, *, layers: Sequence[str] | None = None, page: int = 64) -> Explorer:
    """Slide over layers and channels: the channel's map over the picture, and its neighbours as a mosaic.

    Args:
        model: any net.
        images: names, pictures, a list of them, or a mapping name -> picture; anything `load_image` takes.
        layers: dotted names whose output is a stack of maps; by default every convolution.
        page: maps in one mosaic.

    Returns:
        The widget; `.result` is `(picture, layer, channel, map)`.

    Raises:
        ValueError: no picture, unknown layer, or a layer that gives no maps.

    Example:
        >>> vh.explore_features(net, ["koala", "coffee"])

    Taught in: 02_inside_the_layers.
    """
    pictures = _named(images)
    names = list(layers or [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)])
    reds = palette("viridis").copy()
    reds[255] = (255, 60, 60)  # the last colour is kept for the frame around the chosen channel
    chooser = W.Dropdown(options=list(pictures), description="picture")
    layer = W.SelectionSlider(options=names, description="layer")
    channel = W.IntSlider(0, 0, 0, description="channel")
    explorer = Explorer([chooser, layer, channel], 2)
    known: dict = {}

    def run():
        x = to_input(pictures[chooser.value], model)
        with evaluating(model), torch.no_grad(), capture(model, *names) as acts:
            model(x)
            maps = {name: acts[name][0].float().cpu() for name in names}
        bad = [name for name, a in maps.items() if a.dim() != 3]
        if bad:
            raise ValueError(f"Layer {bad[0]!r} gives no maps (K,h,w) to look at: choose convolutions.")
        known.update(maps=maps, shown=to_picture(to_display(x, model)).resize((320, 320)), pages={})

    def page_of(name: str, number: int) -> np.ndarray:
        if (name, number) not in known["pages"]:
            part = known["maps"][name][number * page : (number + 1) * page].relu()  # what the next layer mostly gets
            shrink = -(-max(part.shape[1:]) // 64)
            if shrink > 1:
                part = torch.nn.functional.avg_pool2d(part[None], shrink, ceil_mode=True)[0]
            scale = max(1, 56 // max(part.shape[1:]))
            pitch = [n * scale + 1 for n in part.shape[1:]]
            known["pages"][name, number] = (mosaic(part, scale=scale).clip(max=254), pitch)
        return known["pages"][name, number]

    def draw():
        name, k = layer.value, channel.value
        a = known["maps"][name][k]
        explorer.result = FeatureResult(chooser.value, name, k, a)
        sheet, (height, width) = page_of(name, k // page)
        row, column = divmod(k % page, 8)
        sheet = sheet.copy()
        tile = sheet[row * height : (row + 1) * height - 1, column * width : (column + 1) * width - 1]
        tile[:2], tile[-2:], tile[:, :2], tile[:, -2:] = 255, 255, 255, 255
        explorer.put(0, np.asarray(overlay(known["shown"], a)))
        explorer.put(1, sheet, reds)
        first = k // page * page
        explorer.text.value = (
            f"{name}, channel {k}: map {a.shape[0]}x{a.shape[1]}, strongest {float(a.max()):.2f}, "
            f"mean {float(a.mean()):.2f} | right: channels {first} to {min(first + page, channel.max + 1) - 1}, "
            "each on its own scale from 0 up"
        )

    def layer_changed():
        channel.max = len(known["maps"][layer.value]) - 1  # a larger value is clipped, and that draws
        draw()

    def picture_changed():
        run()
        layer_changed()

    explorer.on_change(chooser, picture_changed)
    explorer.on_change(layer, layer_changed)
    explorer.on_change(channel, draw)
    picture_changed()
    return explorer


class PatchResult(NamedTuple):
    layer: str
    channel: int
    patches: list[Patch]


def explore_patches(
    model: nn.Module, x: Tensor, layers: Sequence[str] | str, *, count: int = 9,
    maxima: Mapping[str, ChannelMaxima] | None = None, start: int = 0, progress: bool = True,
) -> Explorer:
    """Slide over channels: the patches that excite each most, and the pictures that they come from.

    Args:
        model: any net.
        x: normalised input `(N,3,H,W)`, from `to_input`.
        layers: one dotted name or several.
        count: patches per channel.
        maxima: layer -> what `channel_maxima` returned for it, so that it is not computed again.
        start: the channel to begin with.
        progress: show a bar while the pictures go through the net.

    Returns:
        The widget; `.result` is `(layer, channel, patches)`.

    Raises:
        ValueError: unknown layer, or a layer that gives no maps.

    Example:
        >>> vh.explore_patches(net, vh.to_input(vh.library("photos"), net), "features.12")

    Taught in: 02_inside_the_layers.
    """
    names = [layers] if isinstance(layers, str) else list(layers)
    known = dict(maxima or {})
    if missing := [name for name in names if name not in known]:
        known |= channel_maxima(model, x, missing, progress=progress)
    shown = [to_picture(picture) for picture in to_display(x, model)]
    # the channels of one convolution all see the same field; those of a concatenation do not
    convolutions = [name for name in names if isinstance(resolve_layer(model, name)[1], nn.Conv2d)]
    fields = {name: receptive_field(model, name, tuple(x.shape[-2:])) for name in convolutions}
    layer = W.SelectionSlider(options=names, description="layer")
    channel = W.IntSlider(start, 0, known[names[0]].values.shape[1] - 1, description="channel")
    explorer = Explorer([layer, channel] if len(names) > 1 else [channel], 2)

    def grid(pictures: list[Image.Image], side: int, columns: int = 3) -> np.ndarray:
        sheet = Image.new("RGB", (columns * (side + 4), -(-len(pictures) // columns) * (side + 4)), "white")
        for n, picture in enumerate(pictures):  # a field cut by the border keeps its shape
            whole = ImageOps.pad(picture, (side, side), Image.Resampling.BICUBIC, color="white")
            sheet.paste(whole, (n % columns * (side + 4), n // columns * (side + 4)))
        return np.asarray(sheet)

    def draw():
        name, k = layer.value, channel.value
        patches = top_patches(model, x, name, k, count=count, maxima=known[name], field=fields.get(name))
        explorer.result = PatchResult(name, k, patches)
        crops = [shown[p.picture].crop((p.box[1], p.box[0], p.box[3], p.box[2])) for p in patches]
        explorer.put(0, grid(crops, 112))
        explorer.put(1, grid([draw_box(shown[p.picture], p.box, width=3) for p in patches], 112))
        high = ", ".join(f"{p.value:.1f}" for p in patches[:3])
        explorer.text.value = (
            f"{name}, channel {k}: strongest responses {high}, ... | left: what the unit sees | "
            "right: where in the picture that is"
        )

    def layer_changed():
        channel.max = known[layer.value].values.shape[1] - 1
        draw()

    explorer.on_change(layer, layer_changed)
    explorer.on_change(channel, draw)
    draw()
    return explorer
