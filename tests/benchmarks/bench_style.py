"""Gatys' style transfer per iteration, beside the plain loop that is copied everywhere: same sizes, losses, optimiser.

    python tests/benchmarks/bench_style.py [--size 224] [--steps 40] [--rounds 5] [--busy]

The plain loop runs torchvision's layers as they come (float32, contiguous, two factors in each Gram matrix, pixels as
parameters): with the weights trainable, as a net is loaded and as older copies leave it; with the weights frozen; and
cut off behind the last layer. Ours is `StyleRun` with one stage and no pyramid, so that all minimise the same function
of the pixels; then as it comes, with the pyramid, until it reaches the plain loop's last loss.
"""
from __future__ import annotations

import argparse
import copy
import os
from statistics import median
from time import perf_counter, process_time

import torch
from torch import nn

import vizhelpers as vh
from vizhelpers.methods.style import Choices, StyleRun, find_layers

CONTENT_WEIGHT = 0.02


class Plain:
    """Style transfer as most notebooks have it."""

    def __init__(self, net: nn.Module, content: torch.Tensor, style: torch.Tensor, whole: bool):
        names = find_layers(net, [*Choices.style_layers, Choices.content_layer])
        self.layers = [int(name.split(".")[-1]) for name in names]
        self.net = net if whole else net[: max(self.layers) + 1]
        with torch.no_grad():
            self.goal = self.features(content)[-1].clone()
            self.grams = [self.gram(f) for f in self.features(style)[:-1]]
        info = vh.load_model("vgg16").viz
        self.mean, self.std = (torch.tensor(v).view(1, 3, 1, 1) for v in (info.mean, info.std))
        self.image = content.clone().requires_grad_(True)
        self.optimiser = torch.optim.LBFGS([self.image], max_iter=1, history_size=20)

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        found = {}
        for number, layer in enumerate(self.net):
            x = layer(x)
            if number in self.layers:
                found[number] = x
        return [found[number] for number in self.layers]

    @staticmethod
    def gram(f: torch.Tensor) -> torch.Tensor:
        n, c, h, w = f.shape
        rows = f.view(n, c, h * w)
        return rows @ rows.transpose(1, 2) / (c * h * w)

    def loss(self) -> torch.Tensor:
        *painted, shown = self.features(self.image)
        style = sum(((self.gram(f) - g) ** 2).sum() / (g**2).sum() for f, g in zip(painted, self.grams, strict=True))
        pixels = self.image * self.std + self.mean
        outside = ((pixels - pixels.clamp(0, 1)) ** 2).mean()
        content = ((shown - self.goal) ** 2).sum() / (self.goal**2).sum()
        return style / len(self.grams) + CONTENT_WEIGHT * content + 20 * outside

    def step(self) -> float:
        def closure():
            self.optimiser.zero_grad()
            loss = self.loss()
            loss.backward()
            self.last = loss.item()
            return loss

        self.optimiser.step(closure)
        return self.last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=40, help="to compare the final losses")
    parser.add_argument("--rounds", type=int, default=5, help="for the time of a step, in turns")
    parser.add_argument("--busy", action="store_true", help="one thread, processor time: for a machine in use")
    options = parser.parse_args()
    clock = process_time if options.busy else perf_counter
    if options.busy:
        torch.set_num_threads(1)
    print(f"{torch.get_num_threads()} threads, {clock.__name__}, load {os.getloadavg()[0]:.1f} at the start")
    net, size = vh.load_model("vgg16", device="cpu"), (options.size, options.size)
    content, style = vh.to_input("koala", net, size=size), vh.to_input("great_wave", net, size=options.size, crop=False)
    plain_net = copy.deepcopy(net.features).to(memory_format=torch.contiguous_format)
    for number, layer in enumerate(plain_net):
        if isinstance(layer, nn.ReLU):
            plain_net[number] = nn.ReLU(inplace=False)
    trainable = copy.deepcopy(plain_net).requires_grad_(True)
    runs = {"plain, trainable": Plain(trainable, content, style, True)}
    runs["plain, frozen"] = Plain(plain_net, content, style, True)
    runs["plain, cut off"] = Plain(plain_net, content, style, False)
    same = {"net": net, "size": size, "stages": 1, "steps": 10_000, "content_weight": CONTENT_WEIGHT}
    runs["ours"] = StyleRun("koala", "great_wave", pyramid=0, **same)
    spent, losses = {name: [] for name in runs}, {name: [] for name in runs}
    for number in range(max(options.steps, options.rounds + 2)):
        for name, run in runs.items():  # in turns, so that a busy moment hits all alike
            if number > options.rounds + 1 and name in ("plain, trainable", "plain, frozen"):
                continue  # the same numbers as the one that is cut off
            begun = clock()
            losses[name].append(run.step())
            spent[name].append(clock() - begun)
    for name in runs:
        ratio = median(a / b for a, b in zip(spent[name][2:], spent["ours"][2:], strict=False))
        print(f"{name:18s} {1e3 * median(spent[name][2:]):7.0f} ms a step, {ratio:.2f}x ours; "
              f"loss {losses[name][0]:.4f} -> {losses[name][-1]:.4f} after {len(losses[name])} steps")  # fmt: skip
    goal, run, begun, number = losses["plain, cut off"][-1], StyleRun("koala", "great_wave", **same), clock(), 1
    while run.step() > goal:
        number += 1
    took = clock() - begun
    print(f"final loss, ours over plain: {losses['ours'][-1] / goal:.4f}")
    print(f"as it comes, with the pyramid: that loss after {number} steps and {took:.1f} s, the plain loop's "
          f"{len(losses['plain, cut off'])} steps took {sum(spent['plain, cut off']):.1f} s "
          f"({sum(spent['plain, cut off']) / took:.1f}x)\nload {os.getloadavg()[0]:.1f} at the end")  # fmt: skip


if __name__ == "__main__":
    main()
