"""Features of a folder of any size, in finished shards that a rerun goes on from, on one or many processes (lesson 03).

    python -m vizhelpers.methods.shards DIR --out OUT --net squeezenet1_1
    torchrun --nproc-per-node 4 -m vizhelpers.methods.shards DIR --out OUT    # on several machines, too, one shared OUT

Of WORLD_SIZE processes each takes every WORLD_SIZE-th picture. A shard appears when it is complete; a rerun leaves out
what some shard has. Ctrl-C, or torchrun's SIGTERM, keeps all batches but the running one."""
import argparse
import json
import os
import signal
import sys
from collections import namedtuple
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ..device import device_of
from ..images import to_input
from ..models import load_model
from .embedding import feature_layer, features, picture_files

Shards = namedtuple("Shards", "names features")


def read_shards(out: str | Path) -> Shards:
    """What is finished in OUT, `(names, features (N,D))`, sorted by name; names are paths below DIR. Lesson 03."""
    rows = {}
    for facts, file in _shards(out):
        rows |= zip(facts["names"], file.get_tensor("features"), strict=True)
    if not rows:
        raise FileNotFoundError(f"No finished shard is in {str(out)!r}: first run python -m vizhelpers.methods.shards.")
    return Shards(sorted(rows), torch.stack([rows[name] for name in sorted(rows)]))


def unreadable(out: str | Path) -> dict[str, str]:
    """The files that were left out, and why: name -> reason."""
    return {name: why for facts, _ in _shards(out) for name, why in facts["unreadable"].items()}


def _shards(out: str | Path) -> Iterator[tuple[dict, safe_open]]:
    """What each shard says of itself (made_by, names, unreadable), and the open file."""
    for path in sorted(Path(out).glob("shard-*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                yield json.loads(file.metadata()["vizhelpers"]), file
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{str(path)!r} is no shard or is damaged ({error}): delete it and run again.") from None


def _write(out: Path, made_by: str, rows: dict[str, Tensor], bad: dict[str, str]) -> None:
    """A shard under a name of its own, all at once: whoever sees the name sees all of the file."""
    facts = json.dumps({"made_by": made_by, "names": [*rows], "unreadable": bad})  # ASCII, also for odd file names
    table = torch.stack([*rows.values()]).float() if rows else torch.empty(0, 0)
    half = out / f".half-{uuid4().hex}"
    try:
        save_file({"features": table}, half, {"vizhelpers": facts})
        half.replace(out / f"shard-{uuid4().hex}.safetensors")
    finally:
        half.unlink(missing_ok=True)


def _read(folder: Path, net: SimpleNamespace, names: list[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What the net takes of each file, and of the others why they could not be read; runs in the loader's processes."""
    good, bad = {}, {}
    for name in names:
        try:  # an array: a shared tensor that nobody fetches any more, after Ctrl-C, is complained about
            good[name] = to_input(folder / name, net, device="cpu").numpy()
        except (ValueError, OSError) as error:
            bad[name] = str(error)
    return good, bad


def _deaf(worker: int) -> None:
    """Ctrl-C goes to all processes of a terminal: those that read wait for the one that stops."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run(folder: Path, out: Path, net: str, batch_size: int, workers: int, shard_size: int) -> None:
    """Do this process's part of a folder."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    who = f"[{rank}/{world}] " if world > 1 else ""
    mine = picture_files(folder)[rank::world]
    out.mkdir(parents=True, exist_ok=True)
    if torch.cuda.is_available():  # each process of a machine on a GPU of its own
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
    model = load_model(net)
    made_by, before, rows, bad = f"{feature_layer(model).label}; {model.viz.weights}", set(), {}, {}
    for facts, _ in _shards(out):
        if facts["made_by"] != made_by:
            raise ValueError(f"{str(out)!r} holds other features ({facts['made_by']}): choose another --out.")
        before.update(facts["names"], facts["unreadable"])
    todo = [name for name in mine if name not in before]
    print(f"{who}{made_by}: {len(todo)} pictures to do, {len(mine) - len(todo)} done before", flush=True)
    read = partial(_read, folder, SimpleNamespace(viz=model.viz))  # the processes that read need no more of the net
    loader = DataLoader(todo, batch_size, num_workers=workers, collate_fn=read, worker_init_fn=_deaf)
    try:
        for good, why in tqdm(loader, who, mininterval=5):
            if good:
                x = torch.from_numpy(np.concatenate([*good.values()])).to(device_of(model))
                rows |= zip(good, features(model, x, batch_size=len(x)).cpu(), strict=True)
            bad |= why
            if len(rows) + len(bad) >= shard_size:
                _write(out, made_by, rows, bad)
                rows, bad = {}, {}
    finally:  # also after Ctrl-C: what is done is kept
        if rows or bad:
            _write(out, made_by, rows, bad)
    if damaged := len(unreadable(out)):
        print(f"{who}{damaged} files could not be read; methods.shards.unreadable({str(out)!r}) names them")


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0, or 1 and a sentence, or 130 after Ctrl-C."""
    parser = argparse.ArgumentParser("python -m vizhelpers.methods.shards", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="pictures, also in subfolders")
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards; a rerun goes on from them")
    parser.add_argument("--net", default="squeezenet1_1", help="a name that load_model takes")
    parser.add_argument("--batch-size", type=int, default=64, help="pictures per pass")
    parser.add_argument("--workers", type=int, default=2, help="reading processes per process")
    parser.add_argument("--shard-size", type=int, default=4096, help="pictures per file of OUT")
    options = vars(parser.parse_args(arguments))
    try:
        run(**options)
    except (KeyboardInterrupt, SystemExit):
        print("Stopped; what is done is kept: run the same command again to go on.", file=sys.stderr)
        return 130
    except (ValueError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # with the second torchrun ends its processes
        # no KeyboardInterrupt: `features` ends quietly at one, and the next batch would begin
        signal.signal(number, lambda *_: sys.exit(130))
    sys.exit(main())
