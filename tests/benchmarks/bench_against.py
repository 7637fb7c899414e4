"""Every method in this tree and in another checkout of the project, in turns on one machine: what became slower?

    python tests/benchmarks/bench_against.py OTHER_CHECKOUT [--rounds 7] [--only grad_cam ...]

Each tree has a process of its own, which stays; a round times one call in the other tree and one in this. Printed are
the medians and the median of the rounds' ratios, this over other: below 1 this tree is faster.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

WORKER = '''
import json, sys, time, warnings
import torch
import vizhelpers as vh
warnings.simplefilter("ignore")
net, vgg, lite = vh.load_model("squeezenet1_1"), vh.load_model("vgg16"), vh.load_model("efficientnet_lite0")
x, xv, xl = vh.to_input("koala", net), vh.to_input("koala", vgg), vh.to_input("koala", lite)
library = [p.path for p in vh.library("photos")[:16]]
batch = vh.to_input(library, net)
heat = vh.grad_cam(net, x, 105)
channel = vh.Neuron("features.21", 7)
calls = {
    "load_model": lambda: vh.load_model("squeezenet1_1"),
    "to_input": lambda: vh.to_input(library, net),
    "predict": lambda: vh.predict(net, x),
    "activations": lambda: vh.activations(net, x, "features.12"),
    "channel_maxima": lambda: vh.channel_maxima(net, batch, ["features.6", "features.12"]),
    "receptive_field": lambda: vh.receptive_field(vgg, "features.28", (224, 224)),
    "features": lambda: vh.features(net, batch),
    "deconvnet": lambda: vh.deconvnet(vgg, xv, "features.28", 7),
    "saliency": lambda: vh.saliency(net, x, 105),
    "guided_backprop": lambda: vh.guided_backprop(net, x, 105),
    "smoothgrad": lambda: vh.smoothgrad(net, x, 105, samples=16),
    "integrated_gradients": lambda: vh.integrated_gradients(net, x, 105, steps=32),
    "fool": lambda: vh.fool(net, x, "espresso", steps=5),
    "cam": lambda: vh.cam(net, x, 105),
    "grad_cam": lambda: vh.grad_cam(net, x, 105),
    "grad_cam, layer": lambda: vh.grad_cam(net, x, 105, layer="features.12"),
    "grad_cam_plus_plus": lambda: vh.grad_cam_plus_plus(lite, xl, 105),
    "guided_grad_cam": lambda: vh.guided_grad_cam(net, x, 105),
    "occlusion": lambda: vh.occlusion(net, x, 105, patch=16, stride=16),
    "occlusion, lite": lambda: vh.occlusion(lite, xl, 105, patch=32, stride=16),
    "maximize conv2_2": lambda: vh.maximize_activation(vgg, vh.Neuron("features.7", 7), steps=6, stages=1),
    "maximize conv4_1": lambda: vh.maximize_activation(vgg, vh.Neuron("features.17", 7), steps=6, stages=1),
    "maximize conv5_3": lambda: vh.maximize_activation(vgg, vh.Neuron("features.28", 7), steps=6, stages=1),
    "maximize class": lambda: vh.maximize_activation(net, 105, steps=12),
    "style_transfer": lambda: vh.style_transfer("koala", "great_wave", net=vgg, size=224, steps=8, stages=1),
    "stylise": lambda: vh.stylise(vh.load_style_net("great_wave"), "koala"),
    "shape_bias": lambda: vh.shape_bias(net, vh.cue_stimuli()[:40]),
    "insertion_deletion": lambda: vh.insertion_deletion(net, x, 105, heat, steps=10),
    "sanity_check": lambda: vh.sanity_check(net, x, 105, "Grad-CAM"),
    "evidence": lambda: vh.evidence(net, x, 105),
}
print(json.dumps([vh.__file__, list(calls)]), flush=True)
for line in sys.stdin:
    call = calls[line.strip()]
    start = time.perf_counter()
    try:
        call()
        said = time.perf_counter() - start
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    print(json.dumps(said), flush=True)
'''


class Tree:
    def __init__(self, folder: Path):
        self.process = subprocess.Popen([sys.executable, "-c", WORKER], cwd=folder, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)  # fmt: skip
        self.file, self.calls = json.loads(self.process.stdout.readline())

    def seconds(self, call: str) -> float | str:
        self.process.stdin.write(call + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path, help="a checkout of another version")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+")
    options = parser.parse_args()
    other, this = Tree(options.other.resolve()), Tree(Path(__file__).resolve().parents[2])
    if other.file == this.file:
        sys.exit(f"Both trees are {this.file}: give another checkout.")
    print(f"other: {other.file}\nthis:  {this.file}\nload {os.getloadavg()[0]:.1f} at the start")
    for call in options.only or this.calls:
        first = other.seconds(call), this.seconds(call)  # warm: kernels chosen, sizes known
        if any(isinstance(t, str) for t in first):
            print(f"{call:22} {first}")
            continue
        repeats = max(options.rounds, min(40, round(options.rounds * 0.2 / max(this.seconds(call), 0.002))))
        rounds = [(other.seconds(call), this.seconds(call)) for _ in range(repeats)]
        then, now = (median(r[k] for r in rounds) for k in (0, 1))
        ratio = median(b / a for a, b in rounds)
        print(f"{call:22} other {1e3 * then:8.1f} ms   this {1e3 * now:8.1f} ms   ratio {ratio:.3f}   "
              f"({repeats} rounds)", flush=True)  # fmt: skip
    print(f"load {os.getloadavg()[0]:.1f} at the end")
    return 0


if __name__ == "__main__":
    sys.exit(main())
