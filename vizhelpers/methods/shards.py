"""Features of a folder of any size, in finished shards that a rerun goes on from, on one or many processes (lesson 03).

    python -m vizhelpers.methods.shards DIR --out OUT --net squeezenet1_1
    torchrun --nproc-per-node 4 -m vizhelpers.methods.shards DIR --out OUT    # on several machines, too, one shared OUT

Every process takes the pictures whose name has its rank as checksum modulo WORLD_SIZE, so none has to wait for or talk
to another, and their number may change from run to run. A shard (features, names, what could not be read) appears under
its name when it is complete. A rerun leaves out every name that some shard has (it does not notice changed files).
Ctrl-C, or torchrun's SIGTERM, ends a process at once and keeps all batches but the running one; a kill -9 keeps the
finished shards.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import zlib
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..device import device as best_device
from ..device import device_of
from ..images import to_input
from ..models import load_model
from .embedding import feature_layer, features, picture_files


class Shards(NamedTuple):
    """All finished shards of a folder together."""

    names: list[str]
    features: Tensor  # (N,D) float32


def read_shards(out: str | Path) -> Shards:
    """What `python -m vizhelpers.methods.shards DIR --out OUT` has finished, `(names, features (N,D))`, sorted by name.

    The names are paths below DIR. Lesson 03.
    """
    rows: dict[str, Tensor] = {}
    shards = _shards(out)
    if not shards:
        raise FileNotFoundError(f"No finished shard is in {str(out)!r}: first run python -m vizhelpers.methods.shards.")
    for path, facts in shards.items():
        if facts["names"]:
            with safe_open(path, "pt") as file:
                rows |= dict(zip(facts["names"], file.get_tensor("features"), strict=True))
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


class _Pictures(Dataset):
    """Number -> (name, what the net takes, "") or (name, nothing, why not); runs in the loader's processes."""

    def __init__(self, folder: Path, names: list[str], info):
        self.folder, self.names, self.viz = folder, names, info  # with `.viz` it stands for the net in `to_input`

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, n: int) -> tuple[str, np.ndarray | None, str]:
        try:  # an array: a shared tensor that nobody fetches any more, after Ctrl-C, is complained about
            return self.names[n], to_input(self.folder / self.names[n], self, device="cpu").numpy(), ""
        except (ValueError, OSError) as error:
            return self.names[n], None, str(error)


def _quiet(_: int) -> None:
    """Ctrl-C reaches the loader's processes, too: the main one ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)


def run(a: argparse.Namespace) -> None:
    """Do this process's part of a folder."""
    rank, local, world = (int(os.environ.get(name, default)) for name, default in
                          (("RANK", 0), ("LOCAL_RANK", 0), ("WORLD_SIZE", 1)))  # fmt: skip
    place, who = best_device(), f"[{rank}/{world}] " if world > 1 else ""
    if place.type == "cuda" and place.index is None:
        place = torch.device("cuda", local % torch.cuda.device_count())
    mine = [name for name in picture_files(a.folder) if zlib.crc32(os.fsencode(name)) % world == rank]
    a.out.mkdir(parents=True, exist_ok=True)
    model = load_model(a.net, weights=a.weights, device=place)
    label = feature_layer(model, a.layer).label
    made_by, before = f"{label}; {model.viz.weights}", set()
    for facts in _shards(a.out).values():
        if facts["made_by"] != made_by:
            raise ValueError(f"{str(a.out)!r} holds other features ({facts['made_by']}): choose another --out.")
        before.update(facts["names"], facts["unreadable"])
    todo, begun, count, failed = [name for name in mine if name not in before], perf_counter(), 0, 0
    print(f"{who}{label}: {len(todo)} pictures to do, {len(mine) - len(todo)} done before", flush=True)
    rows, bad = {}, {}

    def finish():
        nonlocal count, failed
        if rows or bad:
            _write(a.out, made_by, rows, bad)
            count, failed = count + len(rows) + len(bad), failed + len(bad)
            rows.clear(), bad.clear()
            rate = count / (perf_counter() - begun)
            left = (len(todo) - count) / rate / 60
            print(f"{who}{count} of {len(todo)}, {rate:.1f} pictures/s, {left:.0f} min to go", flush=True)

    loader = DataLoader(_Pictures(a.folder, todo, model.viz), a.batch_size, num_workers=a.workers, collate_fn=list,
                        worker_init_fn=_quiet)  # fmt: skip
    try:
        for part in loader:
            good = {name: x for name, x, _ in part if x is not None}
            if good:
                x = torch.from_numpy(np.concatenate([*good.values()])).to(device_of(model))
                found = features(model, x, layer=a.layer, batch_size=len(x)).cpu()
                rows |= dict(zip(good, found, strict=False))
                if len(found) < len(good):  # features returns what it has when it is stopped
                    raise KeyboardInterrupt
            bad |= {name: why for name, x, why in part if x is None}
            if len(rows) + len(bad) >= a.shard_size:
                finish()
    finally:  # also after Ctrl-C: what is done is kept
        finish()
    if failed:
        print(f"{who}{failed} files could not be read; vizhelpers.methods.shards.unreadable({str(a.out)!r}) names them")


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0, or 1 and a sentence, or 130 after Ctrl-C."""
    parser = argparse.ArgumentParser("python -m vizhelpers.methods.shards", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="pictures, also in subfolders")
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards; a rerun goes on from them")
    parser.add_argument("--net", default="squeezenet1_1", help="a name that load_model takes (%(default)s)")
    parser.add_argument("--weights", default="auto", help="as load_model: auto, IMAGENET1K_V1, ... (%(default)s)")
    parser.add_argument("--layer", help="a layer by name instead of the last before the classifier")
    parser.add_argument("--batch-size", type=int, default=64, help="pictures per pass (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="reading processes per process; 0: none (%(default)s)")
    parser.add_argument("--shard-size", type=int, default=4096, help="pictures per file of OUT (%(default)s)")
    a = parser.parse_args(arguments)
    if a.batch_size < 1 or a.workers < 0 or a.shard_size < 1:
        parser.error("--batch-size and --shard-size are at least 1, --workers at least 0")
    try:
        run(a)
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
