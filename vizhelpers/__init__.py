"""vizhelpers: see what a convolutional network sees. `import vizhelpers as vh`; the names below are the public API."""
from importlib import import_module

from . import weights
from .activations import (
    ChannelMaxima,
    Patch,
    ReceptiveField,
    activations,
    channel_maxima,
    channel_response,
    receptive_field,
    top_patches,
)
from .averaged import integrated_gradients, smoothgrad
from .cam import cam, cam_layer, grad_cam, grad_cam_plus_plus, guided_grad_cam, plus_plus_weights, upsampled
from .collection import Embedding, embed, embed_folder
from .cue_conflict import (
    Decision,
    ShapeBias,
    category_probabilities,
    condition_accuracy,
    count_decisions,
    shape_bias,
)
from .cue_set import Stimulus, cue_categories, cue_stimuli
from .deconvnet import deconvnet, transposed_convolution, unpool
from .deep_dream import deep_dream
from .device import device, in_batches, seed
from .dreams import Dream, dreams
from .embedding import FeatureLayer, feature_layer, features, pixels
from .embedding_shards import read_shards
from .evidence import evidence
from .filters import (
    colourfulness,
    first_layer,
    first_layer_filters,
    grating,
    orientation,
    radial_profile,
    responses,
    shift_error,
    spectrum,
)
from .fooling import Fooled, fool
from .gradients import (
    deconvnet_gradient,
    gradient,
    gradient_x_input,
    guided_backprop,
    saliency,
)
from .hooks import capture, evaluating, resolve_layer
from .images import Scene, compose_scene, to_display, to_input
from .layout import Neighbours, grid, knn_agreement, neighbours, trustworthiness, tsne
from .models import (
    ModelInfo,
    Prediction,
    categories,
    class_index,
    class_scores,
    layer_names,
    load_model,
    predict,
    prepare_torchvision,
    resolve_target,
)
from .objective import Neuron, score
from .observers import PUBLISHED_BIAS, PUBLISHED_CONDITIONS, read_answers
from .occlusion import Occlusion, occlusion
from .picture_map import dot_map, grid_picture, group_colours, place, thumbnail_map
from .pictures import Picture, library, load_image
from .relu_rules import relu_rule
from .render import draw_box, gradient_picture, mosaic, overlay, to_picture, to_png
from .sanity import Sanity, class_sensitivity, randomized, sanity_check, stages
from .scoreboard import Scoreboard, Trial, bootstrap, scoreboard, trials
from .segmentation import segment_from_saliency
from .show import show_bars, show_curves, show_images, show_map, show_mosaic, show_predictions
from .show_bias import show_conditions, show_shape_bias
from .show_embedding import show_grid, show_points, show_thumbnails
from .show_trust import show_scoreboard, show_strip
from .similarity import rank_correlation, ssim
from .stimuli import edges, greyscale, heap_texture, on_white, silhouette, skin_texture
from .style import Stylised, style_transfer
from .style_losses import classic_names, gram
from .style_net import StyleNet, load_style_net, save_style_net, style_nets, stylise
from .style_training import Trained, train_style_net
from .synthesis import Maximized, Recipe, maximize_activation, recipe_for
from .trust import InsertionDeletion, energy_inside, insertion_deletion, pointing_game

prepare_torchvision()  # so that a lesson's own `import torchvision` works on every machine; see models.py

# ipywidgets and the checks are loaded when first used: `import vizhelpers` stays quick.
_LATER = {
    "explore": [
        "Explorer", "explore_cam", "explore_deconvnet", "explore_embedding", "explore_features", "explore_filters",
        "explore_fooling", "explore_methods", "explore_observer", "explore_occlusion", "explore_patches",
        "explore_predictions", "explore_relu_rules", "explore_saliency", "explore_stimuli", "explore_style",
        "explore_synthesis", "explore_trust",
    ],  # fmt: skip
    "checks": ["try_check"],
}
_HOME = {name: module for module, names in _LATER.items() for name in names}

__all__ = [
    "ChannelMaxima", "Decision", "Dream", "Embedding", "FeatureLayer", "Fooled", "Maximized", "ModelInfo",
    "Neighbours", "Neuron", "Occlusion", "PUBLISHED_BIAS", "PUBLISHED_CONDITIONS", "Patch", "Picture", "Prediction",
    "ReceptiveField", "Recipe", "Scene", "ShapeBias", "Stimulus", "StyleNet", "Stylised", "Trained", "activations",
    "cam", "cam_layer", "capture", "categories", "category_probabilities", "channel_maxima", "channel_response",
    "class_index", "class_scores", "classic_names", "colourfulness", "compose_scene", "condition_accuracy",
    "count_decisions", "cue_categories", "cue_stimuli", "deconvnet", "deconvnet_gradient", "deep_dream", "device",
    "dot_map", "draw_box", "dreams", "edges", "embed", "embed_folder", "evaluating", "feature_layer", "features",
    "first_layer", "first_layer_filters", "fool", "grad_cam", "grad_cam_plus_plus", "gradient", "gradient_picture",
    "gradient_x_input", "gram", "grating", "greyscale", "grid", "grid_picture", "group_colours", "guided_backprop",
    "guided_grad_cam", "heap_texture", "in_batches", "integrated_gradients", "knn_agreement", "layer_names",
    "library", "load_image", "load_model", "load_style_net", "maximize_activation", "mosaic", "neighbours",
    "occlusion", "on_white", "orientation", "overlay", "pixels", "place", "plus_plus_weights", "predict",
    "prepare_torchvision", "radial_profile", "read_answers", "read_shards", "receptive_field", "recipe_for",
    "relu_rule", "resolve_layer", "resolve_target", "responses", "saliency", "save_style_net", "score", "seed",
    "segment_from_saliency", "shape_bias", "shift_error", "show_bars", "show_conditions", "show_curves",
    "show_grid", "show_images", "show_map", "show_mosaic", "show_points", "show_predictions", "show_shape_bias",
    "show_thumbnails", "silhouette", "skin_texture", "smoothgrad", "spectrum", "style_nets", "style_transfer",
    "stylise", "thumbnail_map", "to_display", "to_input", "to_picture", "to_png", "top_patches", "train_style_net",
    "transposed_convolution", "trustworthiness", "tsne", "unpool", "upsampled", "weights",
    "InsertionDeletion", "Sanity", "Scoreboard", "Trial", "bootstrap", "class_sensitivity", "energy_inside",
    "evidence", "insertion_deletion", "pointing_game", "randomized", "rank_correlation", "sanity_check", "scoreboard",
    "show_scoreboard", "show_strip", "ssim", "stages", "trials",
    *_HOME,
]  # fmt: skip


def __getattr__(name: str):
    if name not in _HOME and not name.startswith("check_"):
        raise AttributeError(f"vizhelpers has no {name!r}; dir(vh) lists what there is.")
    return getattr(import_module(f".{_HOME.get(name, 'checks')}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
