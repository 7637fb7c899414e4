"""One call that works for each public function, on a tiny net: any_machine.py repeats them on another device."""
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import vizhelpers as vh


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def tiny():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, 2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 5),
        ).eval()


def calls() -> dict[str, dict]:
    """One call that works for each public function."""
    net, x, maps = tiny(), noise(2, 3, 32, 32), noise(2, 7, 7).abs()
    masks = torch.zeros(2, 32, 32, dtype=torch.bool)
    masks[:, 4:12, 4:12] = True
    picture = Image.fromarray((noise(40, 50, 3).abs().clamp(0, 1) * 255).byte().numpy())
    cut = Image.new("RGBA", (30, 40), (200, 10, 10, 255))
    points, groups, thumbs, filters = (
        noise(12, 2),
        ["a", "b", "c"] * 4,
        noise(12, 3, 8, 8).clamp(0, 1),
        noise(6, 3, 5, 5),
    )
    asked, layered = dict(model=net, x=x, target=1), dict(model=net, x=x, layer="3")
    decisions = [("cat", "dog", "cat"), ("cat", "dog", "dog"), ("cat", "cat", "cat")]
    bias = {"net": vh.count_decisions(decisions)}
    folder = tempfile.mkdtemp()
    picture.save(Path(folder, "one.png"))
    style = vh.StyleNet(4, 1)
    trial = type(vh.trials(vh.load_model(device="cpu"), count=1)[0])(picture.resize((32, 32)), masks[:1], (1,), ("a",))
    conv = net[0]
    found = {
        name: dict(asked)
        for name in "cam deconvnet_gradient grad_cam grad_cam_plus_plus gradient gradient_x_input "
        "guided_backprop guided_grad_cam saliency score".split()
    }
    found |= {name: dict(layered) for name in "activations channel_maxima channel_response features".split()}
    found |= {name: dict(model=net, x=x) for name in "cam_layer class_scores predict".split()}
    found |= {
        name: dict(model=net)
        for name in "categories classic_names feature_layer first_layer first_layer_filters layer_names stages".split()
    }
    found |= {
        f"show_{name}": arguments
        for name, arguments in {
            "bars": dict(values=noise(9), top=2),
            "conditions": dict(found={"n": {"a": 0.5, "b": 0.2}}, chance=0.1),
            "curves": dict(x=noise(4), curves={"a": noise(4)}),
            "grid": dict(cells=vh.grid(points), thumbs=thumbs),
            "images": dict(images=thumbs[:3], titles=["a", "b", "c"], columns=2, height=1.0),
            "map": dict(values=noise(5, 5)),
            "mosaic": dict(maps=noise(5, 4, 4), columns=2),
            "points": dict(points=points, groups=groups),
            "predictions": dict(predictions=vh.predict(net, x[:1])),
            "shape_bias": dict(found=bias),
            "strip": dict(rows={"a": [picture]}, columns=["x"]),
            "thumbnails": dict(points=points, thumbs=thumbs, side=10),
        }.items()
    }
    return found | {
        "bootstrap": dict(values=noise(3, 8), groups=torch.arange(8) // 2, resamples=50),
        "class_index": dict(model=net, target="class 2"),
        "colourfulness": dict(filters=filters),
        "class_sensitivity": dict(model=net, x=x, targets=(0, 1), method="saliency"),
        "compose_scene": dict(objects=[cut, cut], background=picture, size=(48, 64), scale=0.9, jitter=0.2, seed=1),
        "count_decisions": dict(decisions=decisions),
        "cue_categories": dict(source="embedded"),
        "cue_stimuli": dict(condition="conflict"),
        "dreams": dict(name="class"),
        "deconvnet": dict(model=net, x=x, layer="3", channel=1, unit=(0, 0)),
        "deep_dream": dict(model=net, x=noise(1, 3, 64, 64), layer="3", octaves=1, steps=1, rate=0.01, jitter=2),
        "draw_box": dict(image=picture, box=(1, 2, 9, 9), width=1),
        "embed": dict(model=net, images=[picture, picture], names=["a", "b"], groups=["a", "b"]),
        "embed_folder": dict(folder=folder, model=net),
        "energy_inside": dict(maps=maps, masks=masks),
        "evidence": dict(model=net, x=x, target=1, methods=["saliency", "edges"]),
        "fool": dict(model=net, x=x, target=1, confidence=0.3, step=20.0, steps=2, shrink=1, record=True),
        "gradient_picture": dict(g=noise(3, 9, 9), part="all", grey=True, limit=1.0),
        "gram": dict(features=noise(1, 4, 5, 5)),
        "grid": dict(points=points),
        "grating": dict(frequency=0.2, angle=10.0, size=32, phase=5.0),
        "in_batches": dict(function=lambda part: part.sum((1, 2, 3)), inputs=x, batch_size=1),
        "insertion_deletion": dict(model=net, x=x, target=1, maps=maps, steps=2, fill=0.0, blur=2.0, of="probability"),
        "integrated_gradients": dict(model=net, x=x, target=1, baseline=torch.zeros(1, 3, 1, 1), steps=2),
        "knn_agreement": dict(features=noise(12, 5), labels=groups, k=2, metric="cosine"),
        "library": dict(kind="photos", group="animals"),
        "load_image": dict(source=picture),
        "load_model": dict(name="squeezenet1_1", weights="auto", device="cpu"),
        "load_style_net": dict(name="great_wave", device="cpu"),
        "maximize_activation": dict(model=net, target=1, seed=0, size=32, steps=1, precision="float32"),
        "mosaic": dict(maps=noise(5, 4, 4), columns=2, scale=2, shared=True),
        "neighbours": dict(features=noise(12, 5), picture=2, k=3, metric="cosine"),
        "occlusion": dict(model=net, x=x, target=1, patch=16, stride=16, fill=0.0, batch_size=2),
        "on_white": dict(source=cut),
        "orientation": dict(filters=filters),
        "overlay": dict(image=picture, heat=noise(8, 10), opacity=0.5),
        "pixels": dict(images=[picture], side=16),
        "plus_plus_weights": dict(maps=noise(1, 3, 4, 4), g=noise(1, 3, 4, 4)),
        "pointing_game": dict(maps=maps, masks=masks, tolerance=1),
        "radial_profile": dict(spectra=noise(4, 16, 16), bins=4),
        "rank_correlation": dict(a=maps, b=maps),
        "read_answers": dict(source=folder),
        "read_shards": dict(out=folder),
        "receptive_field": dict(model=net, layer="3", input_size=(32, 32), channel=0),
        "recipe_for": dict(model=net, target=1),
        "resolve_layer": dict(model=net, layer="3"),
        "resolve_target": dict(model=net, target=1, n=2),
        "responses": dict(filters=filters, x=noise(1, 3, 16, 16), stride=2),
        "sanity_check": dict(model=net, x=x, target=1, method="saliency", upto=["7"], seed=0),
        "scoreboard": dict(model=net, cases=[trial], methods=["saliency", "edges"], steps=1),
        "seed": dict(number=1),
        "segment_from_saliency": dict(image=picture, saliency_map=noise(40, 50).abs()),
        "shift_error": dict(filters=filters, x=noise(1, 3, 16, 16), stride=2, shift=1),
        "skin_texture": dict(source=cut, left=1, top=1, side=8, tile=32),
        "smoothgrad": dict(model=net, x=x, target=1, level=0.1, samples=2, seed=1),
        "spectrum": dict(filters=filters, size=16),
        "ssim": dict(a=noise(1, 16, 16), b=noise(1, 16, 16)),
        "style_transfer": dict(
            content=picture,
            style=picture,
            net=tiny(),
            size=16,
            steps=1,
            stages=1,
            pyramid=0,
            style_layers=["1"],
            content_layer="3",
        ),
        "stylise": dict(net=style, image=picture, size=16),
        "to_display": dict(x=x, model=net),
        "to_input": dict(image=picture, model=net, size=32, crop=True, device="cpu"),
        "to_picture": dict(image=thumbs[0], side=9),
        "to_png": dict(picture=np.zeros((4, 4), np.uint8)),
        "top_patches": dict(model=net, x=x, layer="3", channel=1, count=2),
        "transposed_convolution": dict(convolution=conv, y=noise(1, 8, 7, 7), input_size=(15, 15)),
        "trustworthiness": dict(features=noise(12, 5), points=points, k=2, metric="cosine"),
        "tsne": dict(features=noise(12, 5), perplexity=3),
        "unpool": dict(y=noise(1, 2, 2, 2), switches=torch.zeros(1, 2, 2, 2, dtype=torch.long), input_size=(4, 4)),
        "upsampled": dict(maps=maps, size=(16, 16)),
    }


LEFT_OUT = {
    "capture": "a context: its errors are those of resolve_layer",
    "evaluating": "a context",
    "randomized": "a context",
    "category_probabilities": "needs a net of 1000 classes: seconds a try",
    "shape_bias": "the same",
    "condition_accuracy": "the same",
    "trials": "the same",
    "device": "takes nothing",
    "prepare_torchvision": "takes nothing",
    "style_nets": "takes nothing",
    "train_style_net": "a minute a try",
    "show_scoreboard": "takes what scoreboard gives",
}
