"""What a slider step costs in the kernel, explorer by explorer: the median, and what 95 of 100 steps stay under.

    python tests/benchmarks/bench_slider.py
"""
from statistics import median, quantiles
from time import perf_counter

import ipywidgets as W
import torch

import vizhelpers as vh

STEPS = 100  # of a slider, there and back, at most


def steps(explorer, name: str) -> list[float]:
    """Milliseconds of each step over a slider, there and back, once what it needs has been computed."""
    slider, spent = explorer.controls[name], []
    trait, count = ("value", slider.max) if isinstance(slider, W.IntSlider) else ("index", len(slider.options) - 1)
    there = [*range(0, count + 1, max(1, 2 * count // STEPS))]
    for value in [*there, *there[::-1], *there]:
        start = perf_counter()
        setattr(slider, trait, value)
        spent.append(1e3 * (perf_counter() - start))
    return spent[len(there) :]


if __name__ == "__main__":
    net, vgg = vh.load_model("squeezenet1_1"), vh.load_model("vgg16")
    chain = vh.load_model("alexnet")
    x = vh.to_input(["koala", "coffee", "india_gate", "giraffe"], chain)
    collection = vh.embed(net, vh.library()[:60])
    saliency = vh.explore_saliency(net, "koala")
    saliency.set(method="Integrated Gradients")
    cases = [
        ("filters", vh.explore_filters(net, "koala"), "filter"),
        ("features, 111x111", vh.explore_features(net, "koala", layers=["features.0"]), "channel"),
        ("features, 224x224", vh.explore_features(vgg, "koala", layers=["features.0"]), "channel"),
        ("features, two nets", vh.explore_features({"a": net, "b": vgg}, "koala"), "channel"),
        ("patches", vh.explore_patches(chain, x, ["features.3"], progress=False), "channel"),
        ("deconvnet", vh.explore_deconvnet(chain, x, ["features.3"], progress=False), "channel"),
        ("embedding", vh.explore_embedding(collection, maps={5: torch.rand(60, 2)}), "picture"),
        ("saliency's point", saliency, "point"),
        ("cam", vh.explore_cam(net, "koala"), "layer"),
        ("trust", vh.explore_trust(net, "koala", methods=["Grad-CAM"]), "deleted"),
        ("fooling", vh.explore_fooling(net, "koala", "goldfish"), "step"),
    ]
    print("target: under 50 ms where the tensors are there")
    for label, explorer, name in cases:
        spent = steps(explorer, name)
        print(f"{label:20s} {name:8s} median {median(spent):6.1f} ms, p95 {quantiles(spent, n=20)[-1]:6.1f} ms")
