"""vizhelpers: see what a convolutional network sees. `import vizhelpers as vh`; the names below are the public API.

Everywhere: `model` is any `nn.Module`, run in eval mode and left as it was; `x` is a normalised batch `(N,3,H,W)` on
the model's device, from `vh.to_input`; `target` is a class number or label, one for each picture, a `vh.Neuron` (a
channel or unit of a layer), or None for each picture's own most probable class; `layer` is a dotted name or a module.
Results are detached, on the same device, signed and not normalised: drawing normalises. `progress=True` shows a bar;
the stop button ends a long loop and returns what is done so far. Errors are one sentence that says what to do."""
from importlib import import_module
from inspect import isfunction

from .device import device as device  # at once: later the file of that name would take the function's place
from .device import prepare_torchvision
from .guard import guarded

prepare_torchvision()  # so that a lesson's own `import torchvision` works on every machine

_TABLE = {
    "device": "in_batches seed",
    "hooks": "capture evaluating resolve_layer",
    "images": "library load_image to_display to_input upsampled",
    "scenes": "compose_scene on_white skin_texture",
    "models": "load_model",
    "targets": "Neuron categories class_index class_scores layer_names predict resolve_target score",
    "render": "draw_box gradient_picture mosaic overlay to_picture to_png",
    "show": "show_bars show_curves show_images show_map show_mosaic show_predictions show_strip",
    "figures": "show_conditions show_grid show_points show_scoreboard show_shape_bias show_thumbnails",
    "methods.filters": "colourfulness first_layer first_layer_filters grating orientation radial_profile responses "
                       "shift_error spectrum",
    "methods.activations": "activations channel_maxima channel_response receptive_field top_patches",
    "methods.embedding": "embed embed_folder feature_layer features grid knn_agreement neighbours pixels "
                         "trustworthiness tsne",
    "methods.shards": "read_shards",
    "methods.deconvnet": "deconvnet transposed_convolution unpool",
    "methods.gradients": "deconvnet_gradient gradient gradient_x_input guided_backprop integrated_gradients relu_rule "
                         "saliency segment_from_saliency smoothgrad",
    "methods.fooling": "fool",
    "methods.cam": "cam cam_layer grad_cam grad_cam_plus_plus guided_grad_cam plus_plus_weights",
    "methods.occlusion": "occlusion",
    "methods.synthesis": "Recipe deep_dream dreams maximize_activation recipe_for",
    "methods.style": "classic_names gram style_transfer",
    "methods.style_net": "StyleNet load_style_net style_nets stylise train_style_net",
    "methods.cue_conflict": "PUBLISHED_BIAS PUBLISHED_CONDITIONS category_probabilities condition_accuracy "
                            "count_decisions cue_categories cue_stimuli read_answers shape_bias",
    "methods.trust": "energy_inside insertion_deletion pointing_game randomized rank_correlation ssim stages",
    "methods.scoreboard": "bootstrap class_sensitivity evidence sanity_check scoreboard trials",
    "explore.base": "read_provenance",
    "explore.layers": "explore_deconvnet explore_features explore_filters explore_patches explore_predictions",
    "explore.maps": "explore_cam explore_methods explore_relu_rules explore_saliency explore_trust",
    "explore.making": "explore_fooling explore_occlusion explore_style explore_synthesis",
    "explore.embedding": "explore_embedding",
    "explore.observer": "explore_observer explore_stimuli",
}  # fmt: skip
_HOME = {name: module for module, names in _TABLE.items() for name in names.split()}
__all__ = sorted(["device", "prepare_torchvision", *_HOME])


def __getattr__(name: str):
    if name in _HOME:
        found = getattr(import_module(f".{_HOME[name]}", __name__), name)
        return guarded(found) if isfunction(found) else found
    if name in ("weights", "methods", "explore", *_TABLE):
        return import_module(f".{name}", __name__)
    raise AttributeError(f"vizhelpers has no {name!r}; dir(vh) lists what there is.")


def __dir__() -> list[str]:
    return __all__
