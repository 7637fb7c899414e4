"""Activation maximisation per step, against the loop that people copy: paired, in one run, same sizes and losses.

    python tests/benchmarks/bench_synthesis.py [--size 160] [--steps 8] [--layers features.7 ...] [--busy]

Plain is the usual loop: the net as torchvision gives it (contiguous, float32, weights trainable), a forward hook, the
whole net in every pass, loss.backward(). Frozen is the same with the weights frozen, and in our layout the same in
channels_last. All start from one picture and take the same Adam steps in pixels 0..1. In our layout the copied loop
must give our scores in the first steps, and at the end ours must not be more than 2 % lower. (Adam steps by a
gradient's sign where it is near 0, and rounding decides that: another layout parts the scores by some percent.)
"""
from __future__ import annotations

import argparse
import copy
import os
from statistics import median
from time import perf_counter, process_time

import torch

import vizhelpers as vh
from vizhelpers.methods.synthesis import Ascent

NAMES = {"features.7": "conv2_2", "features.12": "conv3_2", "features.17": "conv4_1", "features.28": "conv5_3"}
clock = perf_counter


class Copied:
    """The loop that is found in posts, as a step function."""

    def __init__(self, net, layer: str, channel: int, start, rate: float):
        self.net, self.channel = net, channel
        self.mean = torch.tensor(net.viz.mean).view(1, 3, 1, 1)
        self.std = torch.tensor(net.viz.std).view(1, 3, 1, 1)
        self.image = start.clone().requires_grad_(True)
        self.adam = torch.optim.Adam([self.image], lr=rate)
        self.hook = net.get_submodule(layer).register_forward_hook(self.keep)

    def keep(self, module, args, output):
        self.out = output.clone()  # the ReLU behind it works in place

    def step(self) -> float:
        self.adam.zero_grad()
        self.net((self.image - self.mean) / self.std)
        loss = -self.out[0, self.channel].mean()
        loss.backward()
        self.adam.step()
        with torch.no_grad():
            self.image.clamp_(0, 1)
        return -float(loss.detach())


def compare(layer: str, channel: int, size: int, steps: int) -> None:
    net = vh.load_model("vgg16", device="cpu")
    plain = copy.deepcopy(net).to(memory_format=torch.contiguous_format).requires_grad_(True)
    frozen = copy.deepcopy(plain).requires_grad_(False)
    start = (0.5 + 0.08 * torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    recipe = vh.Recipe(size=size, steps=steps, rate=0.03)
    loops = {"ours": Ascent(net, vh.Neuron(layer, channel), recipe, start=start)} | {
        name: Copied(one, layer, channel, start, recipe.rate)
        for name, one in {"plain": plain, "frozen": frozen, "in our layout": copy.deepcopy(net)}.items()
    }
    spent, score = {who: [] for who in loops}, {who: [] for who in loops}
    for _ in range(steps):  # in turns, so that a busy moment hits all alike
        for who, loop in loops.items():
            begun = clock()
            score[who].append(loop.step())
            spent[who].append(clock() - begun)
    ours = spent.pop("ours")[1:]
    times = {who: median(a / b for a, b in zip(seconds[1:], ours, strict=True)) for who, seconds in spent.items()}
    ahead = score["ours"][-1] / score["in our layout"][-1] - 1
    early = max(abs(a / b - 1) for a, b in zip(score["ours"][:3], score["in our layout"], strict=False))
    print(
        f"{NAMES.get(layer, layer)} {size} px: {1e3 * median(ours):6.1f} ms a step; as long: "
        f"{', '.join(f'{who} {ratio:.2f}x' for who, ratio in times.items())}; scores after {steps} steps "
        f"{', '.join(f'{values[-1]:.2f}' for values in score.values())} (beside the copied loop in our layout "
        f"{ahead:+.2%}, the first steps {early:.4%} apart)   (goals: 2x of plain, 2 %)", flush=True,
    )  # fmt: skip
    assert early < 1e-3 and ahead > -0.02, "the loops do not climb the same hill"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", nargs="+", default=list(NAMES))
    parser.add_argument("--channel", type=int, default=20)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--busy", action="store_true", help="one thread, processor time: for a machine in use")
    options = parser.parse_args()
    if options.busy:
        global clock
        clock = process_time
        torch.set_num_threads(1)
    print(f"{torch.get_num_threads()} threads, {clock.__name__}, load {os.getloadavg()[0]:.1f} at the start")
    for layer in options.layers:
        compare(layer, options.channel, options.size, options.steps)


if __name__ == "__main__":
    main()
