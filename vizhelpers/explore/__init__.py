"""Explorers: a few sliders and pictures. The only room that imports ipywidgets; thin over compute and render.

Only what ipywidgets 7.7 (Colab) and 8 share is used. Everything a slider can reach is computed beforehand where that
is possible, so that a step only encodes a picture. One explorer, one file.
"""
from .base import Explorer
from .features import explore_features
from .filters import explore_filters
from .patches import explore_patches
from .predictions import explore_predictions

__all__ = ["Explorer", "explore_features", "explore_filters", "explore_patches", "explore_predictions"]
