"""Makes the stimulus set of lesson 12 from the library's cut-outs: `python data/cue_conflict/make.py FOLDER`.

Every ordered pair of the 16 categories gives one stimulus: 240 with a conflict, 16 without. The command can be stopped
and started again: what lies in the folder is not made twice. It ends with an error if a net of NETS does not recognise
a source picture. About 6 seconds of CPU time a stimulus. There is no chance in it beyond the seeds in TEXTURES; another
processor or version of PyTorch rounds otherwise, so the pictures may differ by what nobody sees.
"""
from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

import vizhelpers as vh
from vizhelpers.methods.cue_conflict import CONDITIONS, Stimulus, decide, parse_stimulus
from vizhelpers.scenes import cut_out

SIDE = 224  # of every picture, in pixels

NETS = ("squeezenet1_1", "efficientnet_lite0")

SHAPES = {
    "balloon": ["vehicles/balloon360"], "bear": ["mammals/european_bear"],
    "broccoli": ["vegetables/broccoli"], "cat": ["mammals/tiger", "mammals/tiger_sumatran"],
    "citrus": ["fruit/lemon"], "corn": ["vegetables/corn"],
    "drum": ["instruments/drum_tomtom_floor", "instruments/drumkit"], "elephant": ["mammals/elephant"],
    "flamingo": ["birds/pink_flamingo"], "frog": ["reptiles_amphibians/frog", "reptiles_amphibians/frog_1"],
    "mushroom": ["mushrooms/cep_1", "mushrooms/cep_2"], "pineapple": ["fruit/pineapple"],
    "strawberry": ["fruit/strawberry2"], "truck": ["vehicles/garbagetruck", "vehicles/firetruck"],
    "violin": ["instruments/violin", "instruments/cello"], "zebra": ["mammals/zebra"],
}  # fmt: skip

# How each texture is made: ("skin", cut-out, left, top, side, tile) or ("heap", cut-out, size, layers, seed).
TEXTURES = {
    "balloon": ("skin", "vehicles/balloon360", 57, 48, 132, 112),
    "bear": ("skin", "mammals/european_bear", 72, 48, 120, 112),
    "broccoli": ("heap", "vegetables/broccoli", 130, 3, 1), "cat": ("skin", "mammals/tiger", 72, 51, 60, 112),
    "citrus": ("heap", "fruit/lemon", 110, 2, 1), "corn": ("skin", "vegetables/corn", 150, 9, 68, 224),
    "drum": ("heap", "instruments/drum_tomtom_floor", 110, 3, 1),
    "elephant": ("skin", "mammals/elephant", 69, 18, 71, 224), "flamingo": ("heap", "birds/pink_flamingo", 110, 2, 1),
    "frog": ("skin", "reptiles_amphibians/frog", 69, 24, 56, 112), "mushroom": ("heap", "mushrooms/cep_2", 70, 3, 1),
    "pineapple": ("heap", "fruit/pineapple", 110, 3, 1), "strawberry": ("skin", "fruit/strawberry2", 54, 183, 76, 224),
    "truck": ("skin", "vehicles/firetruck", 60, 18, 100, 112), "violin": ("heap", "instruments/violin", 130, 2, 1),
    "zebra": ("skin", "mammals/zebra", 63, 36, 52, 224),
}  # fmt: skip

# Strong strokes up to relu4_1; the shape comes from the start and from a weak content loss. Half as many steps and a
# content weight of 0.05 leave the object's own texture visible, and both nets then look far less biased.
TRANSFER = dict(size=(SIDE, SIDE), steps=40, content_weight=0.02, content_layer="relu4_2",
                style_layers=("relu1_1", "relu2_1", "relu3_1", "relu4_1"))  # fmt: skip


# --- pictures --------------------------------------------------------------------------------------------------------
def silhouette(source) -> Image.Image:
    """A cut-out's black silhouette on a white square: shape without anything else (Geirhos et al. 2019, section 2)."""
    alpha = cut_out(source)[1].getchannel("A")
    black = Image.new("RGBA", alpha.size, "black")
    black.putalpha(alpha)
    return vh.on_white(black)


def greyscale(image) -> Image.Image:
    """A picture without its colours, as RGB with three equal channels."""
    return vh.load_image(image).convert("L").convert("RGB")


def edges(image) -> Image.Image:
    """A line drawing: Canny's edges, black on white (Canny 1986, by OpenCV; Geirhos et al. 2019, section 2)."""
    import cv2

    grey = cv2.GaussianBlur(np.asarray(vh.load_image(image).convert("L")), (0, 0), 1.0)
    return Image.fromarray(255 - cv2.Canny(grey, 80, 160, L2gradient=True)).convert("RGB")


def heap_texture(source, size: int, layers: float, seed: int) -> Image.Image:
    """Small copies of an object, turned and thrown on one another until they cover the picture `layers` times.

    `size` is a copy's longer side in pixels. Geirhos et al. 2019, appendix A.1 (textures of man-made objects).
    """
    rng, whole = np.random.default_rng(seed), cut_out(source)[1]
    scale = size / max(whole.size)
    one = whole.resize([max(1, round(s * scale)) for s in whole.size], Image.Resampling.LANCZOS)
    picture = Image.new("RGBA", (SIDE, SIDE), "white")
    area = np.asarray(one.getchannel("A")).sum() / 255
    for _ in range(int(layers * (SIDE + size) ** 2 / area)):
        copy = one.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else one
        copy = copy.rotate(rng.uniform(-25, 25), expand=True, resample=Image.Resampling.BICUBIC)
        left, top = (int(n) for n in rng.integers(-size, SIDE, 2))
        layer = Image.new("RGBA", picture.size)
        layer.paste(copy, (left, top))
        picture = Image.alpha_composite(picture, layer)
    return picture.convert("RGB")


def texture(category: str) -> Image.Image:
    """The texture picture of a category."""
    kind, source, *numbers = TEXTURES[category]
    return {"skin": vh.skin_texture, "heap": heap_texture}[kind](source, *numbers)


# --- the set ---------------------------------------------------------------------------------------------------------
class Part(NamedTuple):
    """A file of the set: its condition, its name without ending, and the cut-outs that it shows."""

    condition: str
    name: str
    shape: str = ""
    texture: str = ""

    def path(self, folder: Path) -> Path:
        return folder / self.condition / parse_stimulus(self.name)[0] / f"{self.name}.webp"


def parts(shapes: Mapping[str, Sequence[str]] = SHAPES) -> list[Part]:
    """Everything the set consists of; a category's shapes take turns over the textures."""
    found = []
    for category, sources in shapes.items():
        for number, source in enumerate(sources, 1):
            found += [Part(one, f"{category}{number}", source) for one in CONDITIONS if one != "texture"]
        found.append(Part("texture", f"{category}1", texture=TEXTURES[category][1]))
        for turn, other in enumerate(shapes):
            number = turn % len(sources)
            name = f"{category}{number + 1}-{other}1"
            found.append(Part("conflict", name, sources[number], TEXTURES[other][1]))
    return found


def draw(part: Part) -> Image.Image:
    """The picture of one part; a conflict takes seconds."""
    shape, other = parse_stimulus(part.name)
    if part.condition == "conflict":
        return vh.to_picture(vh.style_transfer(vh.on_white(part.shape), texture(other), **TRANSFER).image)
    if part.condition == "texture":
        return texture(shape)
    if part.condition == "silhouette":
        return silhouette(part.shape)
    return {"original": vh.load_image, "greyscale": greyscale, "edges": edges}[part.condition](vh.on_white(part.shape))


def unrecognised(folder: Path, nets: Sequence[str] = NETS) -> list[str]:
    """The source pictures that some net puts into another category, with that net and category."""
    wrong = []
    sources = [Stimulus(part.path(folder), *parse_stimulus(part.name)) for part in parts()
               if part.condition in ("original", "texture")]  # fmt: skip
    for name in nets:
        for one, d in zip(sources, decide(vh.load_model(name), sources, vh.cue_categories())[0], strict=True):
            if d.answer != d.shape:
                wrong.append(f"{one.path.parent.parent.name}/{one.path.name} is {d.answer} for {name}")
    return wrong


def save(pictures: Sequence[Part], folder: Path) -> None:
    """Draw and save what is not there yet."""
    for part in tqdm(pictures, unit="picture"):
        path = part.path(folder)
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        flat = part.condition in ("silhouette", "edges")
        half = path.with_suffix(f".{os.getpid()}")  # an interrupted run leaves no half picture under the final name
        draw(part).save(half, "WEBP", quality=100 if flat else 88, lossless=flat, method=6)
        half.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the set; 1 if a source picture is not recognised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent)
    parser.add_argument("--backwards", action="store_true", help="for a second process, which meets the first halfway")
    options, every = parser.parse_args(arguments), parts()
    folder = options.folder
    save([part for part in every if part.condition != "conflict"], folder)
    if wrong := unrecognised(folder):
        print("Other cut-outs or textures are needed: " + "; ".join(wrong), file=sys.stderr)
        return 1
    conflict = [part for part in every if part.condition == "conflict"]
    save(conflict[::-1] if options.backwards else conflict, folder)
    with open(folder / "index.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "condition", "shape", "texture", "shape_from", "texture_from", "licence"])
        for part in sorted(every, key=lambda part: str(part.path(folder))):
            shape, other = parse_stimulus(part.name)
            sources = [f"objects/{one}.webp" if one else "" for one in (part.shape, part.texture)]
            words = [shape if part.shape else "", other if part.texture or part.condition == "original" else ""]
            rows.writerow([part.path(folder).relative_to(folder).as_posix(), part.condition, *words, *sources, "GPL-2"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
