"""Explorers: a few sliders and pictures. The only room that imports ipywidgets; thin over compute and render.

Only what ipywidgets 7.7 (Colab) and 8 share is used. Everything a slider can reach is computed beforehand where that
is possible, so that a step only encodes a picture. One explorer, one file.
"""
from .base import Explorer
from .cam import explore_cam
from .deconvnet import explore_deconvnet
from .features import explore_features
from .filters import explore_filters
from .fooling import explore_fooling
from .methods import explore_methods
from .occlusion import explore_occlusion
from .patches import explore_patches
from .predictions import explore_predictions
from .relu_rules import explore_relu_rules
from .saliency import explore_saliency

__all__ = [
    "Explorer", "explore_cam", "explore_deconvnet", "explore_features", "explore_filters", "explore_fooling",
    "explore_methods", "explore_occlusion", "explore_patches", "explore_predictions", "explore_relu_rules",
    "explore_saliency",
]  # fmt: skip
