"""Makes the gallery in this folder: pictures that filters and classes want, and dreams.csv.

    python data/dreams/make.py [--out FOLDER] [--only conv3_2 ...]

Filters of VGG16, classes of SqueezeNet, and four classes of EfficientNet-Lite0 in three ways: as pixels, as a
decorrelated spectrum, as phases. Seeded; half an hour on one quiet core. `dreams.csv` has one row for each picture: the
score of the file as it ships (reloaded, 8 bits), and the strongest of all library pictures for the same target at the
same size.
"""
from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import vizhelpers as vh
from vizhelpers.hooks import outputs_until

LAYERS = {"conv2_2": "features.7", "conv3_2": "features.12", "conv4_1": "features.17", "conv5_3": "features.28"}
SIZE, COUNT = 160, 16  # pixels of a filter's picture, filters of a layer
CLASSES = ("goldfish", "flamingo", "koala", "tarantula", "school bus", "pizza", "pineapple", "volcano",
           "castle", "strawberry", "jellyfish", "monarch")  # fmt: skip
RATES = {"pixels": 0.02, "decorrelated": 0.05, "phase": 0.1}  # Adam's, for each parametrization
NAMES = [*LAYERS, "class", *RATES]
COLUMNS = ("file", "net", "name", "layer", "channel", "label", "score", "library_score", "library_picture")


def make(out: Path, only: list[str]) -> None:
    """Grow, save, reload and measure the pictures of some layers; the rows of the others stay as they are."""
    out.mkdir(parents=True, exist_ok=True)
    for name in only:
        nets = {"class": "squeezenet1_1", **dict.fromkeys(RATES, "efficientnet_lite0")}
        net = vh.load_model(nets.get(name, "vgg16"), device="cpu")
        targets, size = targets_of(net, name)
        best, rows = strongest(net, list(targets.values()), size), []
        for (file, target), (library_score, picture) in zip(targets.items(), best, strict=True):
            image = vh.maximize_activation(net, target, recipe=recipe_of(net, name, target, size)).image
            levels = (image * 255).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(levels).save(out / file, quality=88, method=6)
            x = vh.to_input(Image.open(out / file), net, size=(size, size))
            with torch.no_grad():
                value = float(vh.score(net, x, target))
            filtered = isinstance(target, vh.Neuron)
            unit = (target.layer, target.channel, "") if filtered else ("", target, vh.categories(net)[target])
            rows.append(dict(zip(COLUMNS, (file, net.viz.name, name, *unit, f"{value:.3f}", f"{library_score:.3f}",
                                           picture), strict=True)))  # fmt: skip
            print(rows[-1], flush=True)
        write(out / "dreams.csv", name, rows)


def recipe_of(net, name: str, target, size: int) -> vh.Recipe:
    """The net's own recipe, but for the deepest layer, whose filters want whole things: in pixels, from coarse to fine,
    they drown in fine noise. The three ways differ in how the picture is written, and Adam's rate for it, alone."""
    if name == "conv5_3":
        return vh.Recipe(size=size, steps=24, rate=0.08, jitter=8, rotate=8, scale=0.1, parametrization="decorrelated")
    if name in RATES:
        return vh.Recipe(size=size, steps=160, crops=4, rate=RATES[name], parametrization=name)
    return replace(vh.recipe_for(net, target), size=size)


def write(table: Path, name: str, rows: list[dict]) -> None:
    """Put a layer's rows in place of its old ones."""
    if table.is_file():
        with open(table, newline="", encoding="utf-8") as file:
            rows = rows + [row for row in csv.DictReader(file) if row["name"] != name]
    rows.sort(key=lambda row: (NAMES.index(row["name"]), int(row["channel"])))
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def targets_of(net, name: str) -> tuple[dict, int]:
    """File -> target, and the side of the pictures; filters are spread evenly over the layer's channels."""
    if name not in LAYERS:
        labels, size = (CLASSES, 224) if name == "class" else (CLASSES[:4], 256)
        return {f"{name}_{label.replace(' ', '_')}.webp": vh.class_index(net, label) for label in labels}, size
    layer = LAYERS[name]
    channels = np.linspace(0, net.get_submodule(layer).out_channels - 1, COUNT).round().astype(int).tolist()
    return {f"{name}_{channel:03d}.webp": vh.Neuron(layer, channel) for channel in channels}, SIZE


@torch.no_grad()
def strongest(net, targets: list, size: int) -> list[tuple[float, str]]:
    """For each target the highest score of any library picture, and its name; one pass for each picture."""
    found, pictures = [], vh.library()
    for picture in pictures:
        x = vh.to_input(picture, net, size=size)
        if isinstance(targets[0], vh.Neuron):
            layer = targets[0].layer
            means = outputs_until(net, x, layer)[layer][0].mean((1, 2))
            found.append([float(means[target.channel]) for target in targets])
        else:
            scores = vh.class_scores(net, x)[0]
            found.append([float(scores[target]) for target in targets])
    best = np.array(found).argmax(0)
    return [(found[n][k], pictures[n].name) for k, n in enumerate(best)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    options = parser.parse_args()
    make(options.out, options.only)
