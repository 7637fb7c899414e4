"""Explorers: a few sliders and pictures. The only room that imports ipywidgets; thin over compute and render.

Only what ipywidgets 7.7 (Colab) and 8 share is used. Everything a slider can reach is computed beforehand where that
is possible, so that a step only encodes a picture. One explorer, one file.
"""
from .base import Explorer
from .cam import explore_cam
from .cue_conflict import explore_observer
from .deconvnet import explore_deconvnet
from .embedding import explore_embedding
from .features import explore_features
from .filters import explore_filters
from .fooling import explore_fooling
from .methods import explore_methods
from .occlusion import explore_occlusion
from .patches import explore_patches
from .predictions import explore_predictions
from .relu_rules import explore_relu_rules
from .saliency import explore_saliency
from .stimuli import explore_stimuli
from .style import explore_style
from .synthesis import explore_synthesis
from .trust import explore_trust

__all__ = [
    "Explorer", "explore_cam", "explore_deconvnet", "explore_embedding", "explore_features", "explore_filters",
    "explore_fooling", "explore_methods", "explore_observer", "explore_occlusion", "explore_patches",
    "explore_predictions", "explore_relu_rules", "explore_saliency", "explore_stimuli", "explore_style",
    "explore_synthesis", "explore_trust",
]  # fmt: skip
