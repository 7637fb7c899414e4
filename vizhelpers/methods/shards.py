"""Features of a folder of any size, in finished shards that a rerun goes on from, on one or many processes (lesson 03).

    python -m vizhelpers.methods.shards DIR --out OUT --net squeezenet1_1
    torchrun --nproc-per-node 4 -m vizhelpers.methods.shards DIR --out OUT    # on several machines, too, one shared OUT

Every process takes the pictures whose name has its rank as checksum modulo WORLD_SIZE, so none waits for another, and
their number may change from run to run. A shard (features, names, what could not be read) appears under its name when
it is complete; a rerun leaves out every name that some shard has. Ctrl-C, or torchrun's SIGTERM, ends a process at once
and keeps all batches but the running one.
"""
import argparse
import hashlib
import json
import os
import signal
import sys
import zlib
from collections import namedtuple
from functools import partial
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader

from ..device import device as best_device
from ..images import to_input
from ..models import load_model
from .embedding import feature_layer, features, picture_files

Shards = namedtuple("Shards", "names features")
OPTIONS = {"--net": ("squeezenet1_1", "a name that load_model takes"), "--batch-size": (64, "pictures per pass"),
           "--workers": (2, "reading processes per process"), "--shard-size": (4096, "pictures per file of OUT")}


def read_shards(out: str | Path) -> Shards:
    """What is finished in OUT, `(names, features (N,D))`, sorted by name; names are paths below DIR. Lesson 03."""
    rows, shards = {}, _shards(out)
    if not shards:
        raise FileNotFoundError(f"No finished shard is in {str(out)!r}: first run python -m vizhelpers.methods.shards.")
    for path, facts in shards.items():
        with safe_open(path, "pt") as file:
            rows |= zip(facts["names"], file.get_tensor("features"), strict=True)
    order = sorted(rows)
    return Shards(order, torch.stack([rows[name] for name in order]) if rows else torch.empty(0, 0))


def unreadable(out: str | Path) -> dict[str, str]:
    """The files that were left out, and why: name -> reason."""
    return {name: why for facts in _shards(out).values() for name, why in facts["unreadable"].items()}


def _shards(out: str | Path) -> dict[Path, dict]:
    """Each shard, and what it says of itself: made_by, names, unreadable."""
    found = {}
    for path in sorted(Path(out).glob("shard-*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                found[path] = json.loads(file.metadata()["vizhelpers"])
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{str(path)!r} is no shard or is damaged ({error}): delete it and run again.") from None
    return found


def _write(out: Path, made_by: str, rows: dict[str, Tensor], bad: dict[str, str]) -> None:
    """A shard under a name of its own, all at once: whoever sees the name sees all of the file."""
    mark = hashlib.sha256(json.dumps([*rows, sorted(bad)]).encode()).hexdigest()[:16]
    path, half = out / f"shard-{mark}.safetensors", out / f".half-{mark}-{os.getpid()}"
    facts = json.dumps({"made_by": made_by, "names": [*rows], "unreadable": bad})  # ASCII, also for odd file names
    table = torch.stack([*rows.values()]).float() if rows else torch.empty(0, 0)
    try:
        save_file({"features": table}, half, {"vizhelpers": facts})
        os.replace(half, path)
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


def _quiet(_: int) -> None:
    """Ctrl-C reaches the loader's processes, too: the main one ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)


def run(a: argparse.Namespace) -> None:
    """Do this process's part of a folder."""
    rank, local = (int(os.environ.get(name, 0)) for name in ("RANK", "LOCAL_RANK"))
    place, world = best_device(), int(os.environ.get("WORLD_SIZE", 1))
    who = f"[{rank}/{world}] " if world > 1 else ""
    if place.type == "cuda" and place.index is None:
        place = torch.device("cuda", local % torch.cuda.device_count())
    mine = [name for name in picture_files(a.folder) if zlib.crc32(os.fsencode(name)) % world == rank]
    a.out.mkdir(parents=True, exist_ok=True)
    model = load_model(a.net, device=place)
    label = feature_layer(model).label
    made_by, before = f"{label}; {model.viz.weights}", set()
    for facts in _shards(a.out).values():
        if facts["made_by"] != made_by:
            raise ValueError(f"{str(a.out)!r} holds other features ({facts['made_by']}): choose another --out.")
        before.update(facts["names"], facts["unreadable"])
    todo, begun, count, rows, bad = [name for name in mine if name not in before], perf_counter(), 0, {}, {}
    print(f"{who}{label}: {len(todo)} pictures to do, {len(mine) - len(todo)} done before", flush=True)

    def finish():
        nonlocal count
        if rows or bad:
            _write(a.out, made_by, rows, bad)
            count += len(rows) + len(bad)
            rows.clear()
            bad.clear()
            rate = count / (perf_counter() - begun)
            left = (len(todo) - count) / rate / 60
            print(f"{who}{count} of {len(todo)}, {rate:.1f} pictures/s, {left:.0f} min to go", flush=True)

    read = partial(_read, a.folder, SimpleNamespace(viz=model.viz))
    try:
        for good, why in DataLoader(todo, a.batch_size, num_workers=a.workers, collate_fn=read, worker_init_fn=_quiet):
            if good:
                x = torch.from_numpy(np.concatenate([*good.values()])).to(place)
                found = features(model, x, batch_size=len(x)).cpu()
                rows |= zip(good, found, strict=False)
                if len(found) < len(good):  # features returns what it has when it is stopped
                    raise KeyboardInterrupt
            bad |= why
            if len(rows) + len(bad) >= a.shard_size:
                finish()
    finally:  # also after Ctrl-C: what is done is kept
        finish()
    if damaged := len(unreadable(a.out)):
        print(f"{who}{damaged} files could not be read; methods.shards.unreadable({str(a.out)!r}) names them")


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0, or 1 and a sentence, or 130 after Ctrl-C."""
    parser = argparse.ArgumentParser("python -m vizhelpers.methods.shards", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="pictures, also in subfolders")
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards; a rerun goes on from them")
    for option, (default, text) in OPTIONS.items():
        parser.add_argument(option, type=type(default), default=default, help=f"{text} (%(default)s)")
    try:
        run(parser.parse_args(arguments))
    except KeyboardInterrupt:
        print("Stopped; what is done is kept: run the same command again to go on.", file=sys.stderr)
        return 130
    except (ValueError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # with it torchrun ends its processes
    sys.exit(main())
