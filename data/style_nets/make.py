"""Trains a style net for a painting, of the library or of your own (lesson 11), and writes it:

    python data/style_nets/make.py --style my_painting.jpg --start great_wave --out mine.safetensors

Ten minutes on two cores. Ctrl-C keeps what is learned so far; with `--start mine.safetensors` it goes on from there.
data/README.md has the commands that made the nets of this folder.
"""
import argparse
import sys
from pathlib import Path

from safetensors.torch import save_file

import vizhelpers as vh

TEXTS = dict(style="library name or path of the painting", out=".safetensors file to write")
NUMBERS = dict(steps=600, seed=0, content_weight=0.2, total_variation=2.0, rate=2e-3)  # of vh.train_style_net


def save(net: vh.StyleNet, path: str | Path, **facts) -> None:
    """Write a net as float16 safetensors, with facts about its making (style, steps, ...) as metadata."""
    tensors = {name: value.detach().cpu().half().contiguous() for name, value in net.state_dict().items()}
    facts = {"width": net.width, "blocks": net.blocks} | facts
    save_file(tensors, path, {name: str(value) for name, value in facts.items()})


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0, or 1 and a sentence."""
    parser = argparse.ArgumentParser("python data/style_nets/make.py", description=__doc__.split(":")[0])
    for option, text in TEXTS.items():
        parser.add_argument(f"--{option}", required=True, help=text)
    parser.add_argument("--start", help="a trained net to begin with (name or file)")
    for option, default in NUMBERS.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=type(default), default=default)
    given = parser.parse_args(arguments)
    if not given.out.endswith(".safetensors") or not Path(given.out).resolve().parent.is_dir():
        parser.error("--out is a .safetensors file in a folder that there is")
    options = {name: value for name, value in vars(given).items() if name not in ("out", "start")}
    try:
        start = vh.load_style_net(given.start) if given.start else None
        trained = vh.train_style_net(start=start, progress=True, **options)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    done, command = len(trained.history), [parser.prog, *(sys.argv[1:] if arguments is None else arguments)]
    save(trained.net, given.out, **options | {"steps": done}, command=" ".join(command), start=given.start)
    print(f"{given.out}: loss, content, style", [round(value, 3) for value in trained.history[-50:].mean(0).tolist()])
    if done < given.steps:
        print(f"stopped at step {done} of {given.steps}; --start {given.out} goes on from there", file=sys.stderr)
    return int(done < given.steps)


if __name__ == "__main__":
    sys.exit(main())
