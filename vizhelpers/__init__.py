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
from .pictures import Picture, library, load_image
from .render import draw_box, mosaic, overlay, to_picture, to_png
from .show import show_bars, show_curves, show_images, show_map, show_mosaic, show_predictions

prepare_torchvision()  # so that a lesson's own `import torchvision` works on every machine; see models.py

# ipywidgets and the checks are loaded when first used: `import vizhelpers` stays quick.
_LATER = {
    "explore": ["Explorer", "explore_features", "explore_filters", "explore_patches", "explore_predictions"],
    "checks": ["try_check"],
}
_HOME = {name: module for module, names in _LATER.items() for name in names}

__all__ = [
    "ChannelMaxima", "ModelInfo", "Patch", "Picture", "Prediction", "ReceptiveField", "Scene", "activations",
    "capture", "categories", "channel_maxima", "channel_response", "class_index", "class_scores", "colourfulness",
    "compose_scene", "device", "draw_box", "evaluating", "first_layer", "first_layer_filters", "grating", "in_batches",
    "layer_names", "library", "load_image", "load_model", "mosaic", "orientation", "overlay", "predict",
    "prepare_torchvision", "radial_profile", "receptive_field", "resolve_layer", "resolve_target", "responses", "seed",
    "shift_error", "show_bars", "show_curves", "show_images", "show_map", "show_mosaic", "show_predictions", "spectrum",
    "to_display", "to_input", "to_picture", "to_png", "top_patches", "weights", *_HOME,
]  # fmt: skip


def __getattr__(name: str):
    if name not in _HOME and not name.startswith("check_"):
        raise AttributeError(f"vizhelpers has no {name!r}; dir(vh) lists what there is.")
    return getattr(import_module(f".{_HOME.get(name, 'checks')}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
