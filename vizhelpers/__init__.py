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
from .deconvnet import deconvnet, transposed_convolution, unpool
from .device import device, in_batches, seed
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
from .gradients import (
    deconvnet_gradient,
    gradient,
    gradient_x_input,
    guided_backprop,
    saliency,
)
from .hooks import capture, evaluating, resolve_layer
from .images import Scene, compose_scene, to_display, to_input
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
from .occlusion import Occlusion, occlusion
from .pictures import Picture, library, load_image
from .relu_rules import relu_rule
from .render import draw_box, gradient_picture, mosaic, overlay, to_picture, to_png
from .segmentation import segment_from_saliency
from .show import show_bars, show_curves, show_images, show_map, show_mosaic, show_predictions
from .synthesis import Fooled, fool

prepare_torchvision()  # so that a lesson's own `import torchvision` works on every machine; see models.py

# ipywidgets and the checks are loaded when first used: `import vizhelpers` stays quick.
_LATER = {
    "explore": [
        "Explorer", "explore_cam", "explore_deconvnet", "explore_features", "explore_filters", "explore_fooling",
        "explore_methods", "explore_occlusion", "explore_patches", "explore_predictions", "explore_relu_rules",
        "explore_saliency",
    ],  # fmt: skip
    "checks": ["try_check"],
}
_HOME = {name: module for module, names in _LATER.items() for name in names}

__all__ = [
    "ChannelMaxima", "Fooled", "ModelInfo", "Neuron", "Occlusion", "Patch", "Picture", "Prediction", "ReceptiveField",
    "Scene", "activations", "cam", "cam_layer", "capture", "categories", "channel_maxima", "channel_response",
    "class_index", "class_scores", "colourfulness", "compose_scene", "deconvnet", "deconvnet_gradient", "device",
    "draw_box", "evaluating", "first_layer", "first_layer_filters", "fool", "grad_cam", "grad_cam_plus_plus",
    "gradient", "gradient_picture", "gradient_x_input", "grating", "guided_backprop", "guided_grad_cam", "in_batches",
    "integrated_gradients", "layer_names", "library", "load_image", "load_model", "mosaic", "occlusion", "orientation",
    "overlay", "plus_plus_weights", "predict", "prepare_torchvision", "radial_profile", "receptive_field", "relu_rule",
    "resolve_layer", "resolve_target", "responses", "saliency", "score", "seed", "segment_from_saliency",
    "shift_error", "show_bars", "show_curves", "show_images", "show_map", "show_mosaic", "show_predictions",
    "smoothgrad", "spectrum", "to_display", "to_input", "to_picture", "to_png", "top_patches",
    "transposed_convolution", "unpool", "upsampled", "weights", *_HOME,
]  # fmt: skip


def __getattr__(name: str):
    if name not in _HOME and not name.startswith("check_"):
        raise AttributeError(f"vizhelpers has no {name!r}; dir(vh) lists what there is.")
    return getattr(import_module(f".{_HOME.get(name, 'checks')}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
