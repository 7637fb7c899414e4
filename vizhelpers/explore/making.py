"""Explorers that make something: fooling images (06), occlusion (09), activation maximisation (10), style (11)."""
from collections import Counter
from dataclasses import replace
from functools import lru_cache

import ipywidgets as W
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from ..device import device_of, in_batches
from ..images import from_pixels, load_image, to_display
from ..methods.fooling import fool
from ..methods.occlusion import Sweep
from ..methods.style import StyleRun, default_net
from ..methods.synthesis import Ascent, dreams, recipe_for
from ..render import coloured, note, probability_bars, to_picture
from ..targets import Neuron, categories, class_index, probabilities
from .base import Explorer, Pictures, Stepwise, by_name, explores, private, slide, tinted

SIDE = 224  # of each picture on the page, in pixels


@explores
def explore_fooling(model: nn.Module, images, target=None, *, step: float = 40, steps: int = 40) -> Explorer:
    """Choose a picture and a class, then slide over the steps of `fool`: the picture, the change, what the net says.
    The box takes a number, a label, or a part that only one label has; it begins with what the first picture is least
    taken for. `.result` is `(picture, label, step, fooled, probabilities)`, the last `(T+1,C)`. Lesson 06."""
    pictures, labels = Pictures(images, model), categories(model)
    target = int(probabilities(model, pictures()).argmin()) if target is None else target

    @lru_cache(16)
    def run(picture, label):
        c = class_index(model, int(label) if label.isdigit() else label)
        found = fool(model, pictures(picture), c, step=step, steps=steps, record=True)
        with torch.no_grad():
            said = in_batches(lambda part: probabilities(model, part), from_pixels(model, found.frames[0]))
        return c, found, said.cpu()

    def look(picture, label, step):
        c, found, said = run(picture, label)
        now, change = found.frames[0, step].cpu(), (found.frames[0, step] - found.start[0]).cpu()
        best = said[step].topk(min(5, said.shape[1])).indices.tolist()
        shown = best if c in best else [*best[:-1], c]
        bars = probability_bars([labels[i] for i in shown], said[step, shown].tolist(), width=380)
        text = (f"{picture} as {labels[c]}: {float(said[step, c]):.1%} after step {step} of {len(said) - 1} | "
                f"change L2 {float(change.norm()) * 255:.0f}, Linf {float(change.abs().max()) * 255:.1f} of 255")
        shown = {f"after step {step}": now, "grey + 20 x change": 0.5 + 20 * change, "what the net says": bars}
        return text, shown, {"label": labels[c], "fooled": found, "probabilities": said}

    box = W.Combobox(value=labels[class_index(model, target)], options=list(dict.fromkeys(labels)), description="class",
                     placeholder="type a part of its name, then Enter", continuous_update=False)  # fmt: skip
    ends = slide(lambda picture, label: (range(count := len(run(picture, label)[2])), count - 1))
    return Explorer(look, picture=pictures, label=box, step=ends,
                    wait="The net is being fooled; this takes a few seconds ...")  # fmt: skip


@explores
def explore_occlusion(model: nn.Module, image, target=None, *, patch=56, stride=28) -> Stepwise:
    """Choose patch and stride (in pixels) and fill, press Start and watch the three maps grow; Stop ends it after the
    running batch. `.result` is `(patch, stride, fill, maps, done, total)`, `maps` an `Occlusion`. Lesson 09."""
    from torchvision.transforms.functional import gaussian_blur
    pictures, labels = Pictures(image, model), categories(model)
    largest = min(pictures().shape[2:]) // 2
    fills = {"grey": torch.zeros_like,  # normalised: there 0 is the training set's mean
             "black": lambda x: from_pixels(model, torch.zeros_like(x)),
             "white": lambda x: from_pixels(model, torch.ones_like(x)),
             "blurred": lambda x: gaussian_blur(x, 63, 12.0)}  # fmt: skip

    def make(picture, patch, stride, fill):
        x = pictures(picture)
        return Sweep(model, x, target, patch=patch, stride=stride, fill=fills[fill](x)[0])

    def look(run, picture, patch, stride, fill):
        sweep = run.job or make(picture, patch, stride, fill)
        maps, x = sweep.result(), sweep.x
        known, low, high, worst = maps.logit[0].flatten()[: sweep.done].cpu(), 0.0, 1.0, len(maps.boxes) // 2
        if sweep.done:
            low, high, worst = float(known.min()), float(known.max()), int(known.argmin())
        top, left, bottom, right = maps.boxes[worst].tolist()
        harmed = x.clone()
        harmed[0, :, top:bottom, left:right] = sweep.filled[:, top:bottom, left:right]
        (winner, legend), how = _class_map(maps.winner[0], labels), dict(side=SIDE, colours="viridis")
        shown = {"the most harmful patch": to_picture(to_display(harmed, model), side=SIDE),
                 "probability (dark 0, bright 1)": tinted(maps.probability[0], (0.0, 1.0), **how),
                 f"logit (dark {low:.1f}, bright {high:.1f})": tinted(maps.logit[0], (low, high), **how),
                 "the winner": winner}  # fmt: skip
        said = f"logit {float(maps.score[0]):.1f}, lowest {low:.1f}" if sweep.done else "press Start"
        text = f"{labels[int(sweep.target)]} | {sweep.done} of {sweep.total} positions | {said}\nthe winner: {legend}"
        return text, shown, {"maps": maps, "done": sweep.done, "total": sweep.total}

    explorer = Stepwise(make, look, picture=pictures, patch=slide(range(8, largest + 1, 8), patch, slow=True),
                        stride=slide(range(4, 65, 4), stride, slow=True), fill=[*fills])  # fmt: skip
    explorer.said(explorer.begin, True)  # so that there is something to see before the first click
    return explorer


def _class_map(winner: Tensor, labels: tuple[str, ...]) -> tuple[Image.Image, str]:
    """A colour for each winning class, the most frequent first, and what the colours mean."""
    frequent = [number for number, _ in Counter(winner[winner >= 0].tolist()).most_common()]
    colours = "blue orange green red purple brown pink olive cyan".split()
    places = dict(zip(frequent, (0, 1, 2, 3, 4, 5, 6, 8, 9), strict=False))  # in tab10, whose 7 is grey
    known = [[places.get(number, 7) if number >= 0 else torch.nan for number in line] for line in winner.tolist()]
    legend = [f"{colour} {labels[number]}" for colour, number in zip(colours, frequent, strict=False)]
    picture = coloured(known, "tab10", SIDE, scale=(-0.5, 9.5))
    return picture, ", ".join(legend) + (", others grey" if len(frequent) > 9 else "")


@explores
def explore_synthesis(model: nn.Module, *, size: int | None = None, steps: int = 96) -> Stepwise:
    """Slide over the shipped gallery of what filters and classes want, and grow any of them anew while you watch.
    `model` is VGG16 (filters) or SqueezeNet 1.1 (classes); `size` of what grows is by default 128 on a CPU, else 224.
    `.result` has also `channel`, `dream`, `live` (an image), `history`, `done` and `total`. Lesson 10."""
    (net,), layers = by_name(model), {}
    for row in dreams():
        if row.net == net:
            layers.setdefault(row.name, []).append(row)
    if not layers:
        known = ", ".join(sorted({row.net for row in dreams()}))
        raise ValueError(f"There is no gallery for {net} (there is for {known}); use vh.maximize_activation.")
    size = size or (128 if device_of(model).type == "cpu" else 224)

    def make(layer, picture, seed):
        row = layers[layer][picture]
        target = Neuron(row.layer, row.channel) if row.layer else row.channel
        recipe = recipe_for(model, target)
        return Ascent(model, target, replace(recipe, size=size, steps=max(1, steps // recipe.stages)), seed=seed)

    def look(run, layer, picture, seed):
        row, job, numbers = layers[layer][picture], run.job, dict(live=None, history=[], done=0, total=1)
        words = [f"{row.name}, channel {row.channel}" if row.layer else row.label, f"grown picture {row.score:.1f}",
                 f"strongest library picture {row.library_score:.1f} ({row.library_picture})"]  # fmt: skip
        if job:
            numbers = dict(live=job.image()[0], history=list(job.history), done=job.done, total=job.total)
        if job and job.done:
            words.append(f"live: step {job.done} of {job.total}, {job.history[0]:.1f} to {job.history[-1]:.1f}")
        shown = {"from the gallery": load_image(row.path), "the library picture that excites it most": load_image(
            row.library_picture), "what you grow": to_picture(job.image()) if job else note("press Grow one", SIDE)}
        shown = {words: ImageOps.fit(p, (SIDE, SIDE), Image.Resampling.BICUBIC) for words, p in shown.items()}
        return " | ".join(words), shown, dict(channel=row.channel, dream=row, **numbers)

    layer = W.Dropdown(options=[*layers], value=[*layers][-1])  # the deepest has most to see
    return Stepwise(make, look, button="Grow one", every=4, layer=layer,
                    picture=slide(lambda layer: (range(len(layers[layer])), 0)), seed=range(10))  # fmt: skip


def explore_style(contents, styles, *, net=None, size: int | None = None, steps: int = 45, **options) -> Stepwise:
    """Choose a picture, a painting and the content's weight, press Start and watch; Stop keeps what there is.
    `size` is the shorter side, by default 144 on a CPU, else 384 pixels; `options` are of `style_transfer`. `.result`
    has also `image` `(3,H,W)` in 0..1, `done`, `total` and `losses` `(T,)` or None. Lesson 11."""
    contents, styles, net = Pictures(contents), Pictures(styles), private(default_net() if net is None else net)
    size = size or (144 if device_of(net).type == "cpu" else 384)

    def make(picture, painting, content, start):
        return StyleRun(contents.images[picture], styles.images[painting], net=net, size=size, steps=steps,
                        content_weight=content, start=start, **options)  # fmt: skip

    def look(run, picture, painting, content, start):
        job, done = run.job, run.job.done if run.job else 0
        image = job.image().cpu() if job else torch.tensor(np.array(contents.images[picture])).permute(2, 0, 1) / 255
        losses = torch.tensor([row[0] for row in job.losses]) if done else None
        words = [f"step {done} of {steps}", f"loss {float(losses[-1]):.3f}" if done else "press Start"]
        pages = {"picture": contents.images[picture], "painting": styles.images[painting], "result": image}
        pages = {words: to_picture(p, side=256) for words, p in pages.items()}
        return " | ".join(words), pages, dict(image=image, done=done, total=steps, losses=losses)

    weights = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
    return Stepwise(make, look, nets=by_name(net), picture=contents, painting=styles,
                    content=slide(weights, 0.02, slow=True), start=["content", "noise"])  # fmt: skip
