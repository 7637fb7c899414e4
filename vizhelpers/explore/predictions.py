"""Choose a picture, see the net's best classes (lesson 00)."""
from __future__ import annotations

import html
from typing import NamedTuple

import ipywidgets as W
import numpy as np
from torch import nn

from ..images import to_input
from ..models import Prediction, predict
from ..render import probability_bars
from .base import Explorer, named


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
    pictures = named(images)
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
