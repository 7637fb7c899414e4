"""Makes the pictures in this folder: a photograph in the style of four paintings, by Gatys' method, until it rests.

    python data/gatys/make.py [--out FOLDER] [--only great_wave ...]

Coarse first: 120 steps of L-BFGS at half the size, then steps at 400 x 266 until ten of them lower the loss by less
than 1 % (at most 80). A quarter of an hour on two quiet cores. Lesson 11 shows them beside the feed-forward nets.
"""
import argparse
from pathlib import Path

from PIL import Image
from tqdm.auto import tqdm

import vizhelpers as vh
from vizhelpers.methods.style import StyleRun

PHOTO, SIZE = "taj_mahal", (266, 400)
COARSE, FINE = 120, 80  # steps


def paint(style: str) -> Image.Image:
    run = StyleRun(PHOTO, style, size=SIZE, steps=COARSE + FINE, content_weight=0.06, total_variation=0.3)
    run._stages = {0: run._stages[0], COARSE: SIZE}
    losses = []
    for _ in tqdm(range(COARSE + FINE), style):
        losses.append(run.step())
        fine = losses[COARSE:]
        if len(fine) > 20 and min(fine[:-10]) - min(fine) < 0.01 * min(fine):
            break
    print(f"{style}: {len(losses)} steps, loss {losses[0]:.3f} -> {min(losses):.3f}")
    return vh.to_picture(run.image())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--only", nargs="+", default=vh.style_nets()[:4], metavar="PAINTING")
    given = parser.parse_args()
    for name in given.only:
        paint(name).save(given.out / f"{name}.webp", quality=90, method=6)
