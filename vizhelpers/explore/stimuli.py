"""Look through the conflict stimuli, and see what each net makes of them (lesson 12)."""
from __future__ import annotations

import html
from collections.abc import Mapping
from typing import NamedTuple

import ipywidgets as W
import numpy as np
import torch
from PIL import Image
from torch import nn

from ..cue_conflict import Decision, category_probabilities
from ..cue_set import Stimulus, cue_categories, cue_stimuli
from ..images import to_input
from ..models import class_scores, predict
from ..pictures import load_image
from ..render import probability_bars
from .base import Explorer

SIDE = 280  # of the stimulus on the page, in pixels


class StimulusResult(NamedTuple):
    stimulus: Stimulus
    decisions: dict[str, Decision]
    outside: dict[str, float]  # probability of all classes that are in no category


def explore_stimuli(models: Mapping[str, nn.Module], stimuli: list[Stimulus] | None = None) -> Explorer:
    """Choose a shape and a texture, see the stimulus and what each net makes of it.

    Args:
        models: name -> classifier of the 1000 ImageNet classes.
        stimuli: from `cue_stimuli`; by default the embedded conflict set.

    Returns:
        The widget; `.result` is `(stimulus, decisions, outside)`, the latter two by net.

    Raises:
        ValueError: no net, or no stimulus.

    Example:
        >>> vh.explore_stimuli({"SqueezeNet": net})

    Taught in: 12_texture_vs_shape.
    """
    stimuli = cue_stimuli() if stimuli is None else stimuli
    if not models or not stimuli:
        raise ValueError("Give at least one net, such as {'SqueezeNet': net}, and at least one stimulus.")
    by_pair = {(s.shape, s.texture): s for s in stimuli}
    categories = cue_categories()
    shapes, textures = (sorted({pair[k] for pair in by_pair}) for k in (0, 1))
    first = next((pair for pair in by_pair if pair[0] != pair[1]), next(iter(by_pair)))
    shape = W.Dropdown(options=shapes, value=first[0], description="shape")
    texture = W.Dropdown(options=textures, value=first[1], description="texture")
    explorer = Explorer([shape, texture], 1 + len(models))

    def draw():
        stimulus = by_pair.get((shape.value, texture.value))
        if stimulus is None:
            raise ValueError(f"The set has no {shape.value} with the texture of {texture.value}.")
        image = load_image(stimulus.path)
        explorer.put(0, np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)))
        lines, decisions, outside = [], {}, {}
        for place, (name, model) in enumerate(models.items(), 1):
            x = to_input(image, model, size=image.size[::-1])
            mean = category_probabilities(model, x, categories)[0]
            inside = sorted({i for numbers in categories.values() for i in numbers})
            with torch.no_grad():
                outside[name] = 1 - float(class_scores(model, x).softmax(1)[0, inside].sum())
            share, labels = mean / mean.sum(), list(categories)
            order = share.argsort(descending=True).tolist()
            decisions[name] = Decision(stimulus.shape, stimulus.texture, labels[order[0]])
            explorer.put(place, probability_bars([labels[k] for k in order[:6]], [float(share[k]) for k in order[:6]]))
            best = predict(model, x, top=1)[0]
            strongest = f"strongest class: {html.escape(best.label)} {best.probability:.0%}"
            lines.append(f"<b>{html.escape(name)}</b> decides {labels[order[0]]}; outside the categories lies "
                         f"{outside[name]:.0%} of its probability ({strongest})")  # fmt: skip
        explorer.result = StimulusResult(stimulus, decisions, outside)
        lines.append(f"bars, left to right {html.escape(', '.join(models))}: mean probability of a category's classes, "
                     "as a share of all categories")  # fmt: skip
        explorer.text.value = "<br>".join(lines)

    for control in (shape, texture):
        explorer.on_change(control, draw)
    draw()
    return explorer
