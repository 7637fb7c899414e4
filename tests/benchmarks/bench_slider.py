"""What a slider step costs in the kernel: 64 channels as one mosaic, a map over the picture, two PNGs.

    python tests/benchmarks/bench_slider.py
"""
from statistics import median
from time import perf_counter

import vizhelpers as vh


def steps(explorer, slider) -> list[float]:
    """Milliseconds of each step over the whole slider, there and back."""
    spent = []
    for value in [*range(slider.max + 1), *range(slider.max - 1, -1, -1)]:
        start = perf_counter()
        slider.value = value
        spent.append(1e3 * (perf_counter() - start))
        assert explorer.result.channel == value
    return spent


if __name__ == "__main__":
    print("target: median under 50 ms")
    cases = {"squeezenet1_1": ["features.0", "features.6.expand3x3"], "vgg16": ["features.5", "features.28"]}
    for name, layers in cases.items():
        net = vh.load_model(name)
        for layer in layers:
            explorer = vh.explore_features(net, "koala", layers=[layer])
            spent = steps(explorer, explorer.controls["channel"])
            shape = "x".join(map(str, explorer.result.map.shape))
            print(f"{name:14s} {layer:22s} map {shape:8s} median {median(spent):5.1f} ms, slowest {max(spent):5.1f} ms")
