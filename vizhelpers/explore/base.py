"""What all explorers share: controls, a line of text, pictures, step buttons, errors said on the page."""
from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Mapping, Sequence

import ipywidgets as W
import numpy as np
from PIL import Image

from ..pictures import load_image
from ..render import to_png


class Explorer(W.VBox):
    """Controls, a line of text and pictures; `.result` always holds the numbers behind what is shown.

    Keyboard: click a slider, then arrow keys, Page Up/Down, Home and End; the buttons step by one.
    """

    def __init__(self, controls: Sequence[W.Widget], pictures: int):
        self.result = None
        self.text = W.HTML()
        self.images = [W.Image(format="png", layout=W.Layout(margin="0 8px 0 0")) for _ in range(pictures)]
        rows = [W.HBox([control, *self._steps(control)]) for control in controls]
        for control in controls:  # room for a long layer name beside the slider
            if isinstance(control, (W.IntSlider, W.SelectionSlider)):
                control.layout = W.Layout(width="480px", max_width="80%")
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

        control.observe(lambda _: self.said(action), "value")

    def said(self, action: Callable[[], None]) -> None:
        """Run an action of a control, a button or a clock; say on the page what went wrong."""
        try:
            action()
        except Exception as error:
            self.text.value = f"<b>{type(error).__name__}</b>: {html.escape(str(error))}"
            raise

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


def named(images) -> dict[str, Image.Image]:
    """Pictures by name: from a mapping, a list of names or pictures, or one of them."""
    if isinstance(images, Mapping):
        return {str(name): load_image(image) for name, image in images.items()}
    items = list(images) if isinstance(images, (list, tuple)) else [images]
    if not items:
        raise ValueError("There is no picture to explore: give at least one name, path or picture.")
    names = [str(i) if isinstance(i, (str, bytes)) or hasattr(i, "__fspath__") else f"picture {n}"
             for n, i in enumerate(items)]  # fmt: skip
    return {name: load_image(item) for name, item in zip(names, items, strict=True)}


def enlarged(picture: np.ndarray, side: int) -> np.ndarray:
    """A small array with every value as a square, about `side` pixels in all, without smoothing."""
    factor = max(1, side // max(picture.shape[:2]))
    return picture.repeat(factor, 0).repeat(factor, 1)
