"""Features of a folder of any size: streamed, in finished shards that a rerun goes on from, on one or many processes.

    python -m vizhelpers.embedding DIR --out OUT --net squeezenet1_1
    torchrun --nproc-per-node 4 -m vizhelpers.embedding DIR --out OUT     # also on several machines, one shared OUT

Every process takes the pictures whose name has its rank as checksum modulo WORLD_SIZE. So no process has to wait for
or talk to another, and their number may change from run to run. A shard holds features, names and what could not be
read; it appears under its name when it is complete. A rerun leaves out every name that some shard has already (it does
not notice that a file's content has changed).
"""
from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .collection import picture_files
from .device import device as best_device
from .embedding import feature_layer, features
from .images import to_input
from .models import ModelInfo, load_model


class Shards(NamedTuple):
    """All finished shards of a folder together."""

    names: list[str]
    features: Tensor  # (N,D) float32


def read_shards(out: str | Path) -> Shards:
    """The features that `python -m vizhelpers.embedding DIR --out OUT` has finished so far.

    Args:
        out: the folder OUT.

    Returns:
        `(names, features)`, sorted by name: `features[i]` belongs to `names[i]`, a path below DIR.

    Raises:
        FileNotFoundError: there is no shard.
        ValueError: a damaged shard (the sentence names it).

    Example:
        >>> names, f = vh.read_shards("OUT")

    Taught in: 03_tsne_of_fc7.
    """
    rows: dict[str, Tensor] = {}
    paths = _paths(out)
    if not paths:
        raise FileNotFoundError(f"No finished shard is in {str(out)!r}: run `python -m vizhelpers.embedding` first.")
    for path in paths:
        names = _facts(path)["names"]
        if names:
            with safe_open(path, "pt") as file:
                rows |= dict(zip(names, file.get_tensor("features"), strict=True))
    order = sorted(rows)
    return Shards(order, torch.stack([rows[name] for name in order]) if rows else torch.empty(0, 0))


def unreadable(out: str | Path) -> dict[str, str]:
    """The files that were left out, and why: name -> reason."""
    return {name: why for path in _paths(out) for name, why in _facts(path)["unreadable"].items()}


def _paths(out: str | Path) -> list[Path]:
    return sorted(Path(out).glob("shard-*.safetensors"))


def _facts(path: Path) -> dict:
    try:
        with safe_open(path, "pt") as file:
            return json.loads(file.metadata()["vizhelpers"])
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{str(path)!r} is no shard or is damaged ({error}): delete it and run again.") from None


def _write(out: Path, made_by: str, names: list[str], rows: list[Tensor], bad: dict[str, str]) -> Path:
    """A shard under a name of its own, all at once: whoever sees the name sees all of the file."""
    mark = hashlib.sha256(json.dumps([names, sorted(bad)]).encode()).hexdigest()[:16]
    path, half = out / f"shard-{mark}.safetensors", out / f".half-{mark}-{os.getpid()}"
    facts = json.dumps({"made_by": made_by, "names": names, "unreadable": bad})  # ASCII, also for odd file names
    table = torch.cat(rows).float().contiguous() if rows else torch.empty(0, 0)
    try:
        save_file({"features": table}, half, {"vizhelpers": facts})
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)
    return path


class _Pictures(Dataset):
    """Number -> (name, what the net takes, "") or (name, nothing, why not); runs in the loader's processes."""

    def __init__(self, folder: Path, names: list[str], info: ModelInfo | None):
        self.folder, self.names, self.recipe = folder, names, _Recipe(info)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, n: int) -> tuple[str, Tensor | None, str]:
        try:
            return self.names[n], to_input(self.folder / self.names[n], self.recipe, device="cpu"), ""
        except (ValueError, OSError) as error:
            return self.names[n], None, str(error)


class _Recipe:
    """Stands for the net in `to_input`, without its weights."""

    def __init__(self, info: ModelInfo | None):
        self.viz = info


def _quiet(_: int) -> None:
    """Ctrl-C reaches the loader's processes, too: the main one ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)


class _Stop:
    """Ctrl-C, or torchrun's SIGTERM: while pictures run, the batch is finished first; a second time it is at once."""

    def __init__(self):
        self.gently = self.asked = False

    def __call__(self, *_) -> None:
        if self.asked or not self.gently:
            raise KeyboardInterrupt
        self.asked = True


def _batches(data: _Pictures, size: int, workers: int) -> Iterator[list]:
    return iter(DataLoader(data, size, num_workers=workers, collate_fn=list, worker_init_fn=_quiet))


def _place(local_rank: int) -> torch.device:
    place = best_device()
    if place.type == "cuda" and place.index is None:
        return torch.device("cuda", local_rank % torch.cuda.device_count())
    return place


def run(folder: Path, out: Path, *, net: str, weights: str, layer: str | None, batch: int, workers: int, shard: int,
        say=print, stop: _Stop | None = None) -> int:  # fmt: skip
    """Do this process's part of a folder; returns the number of pictures that are new."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    who = f"[{rank}/{world}] " if world > 1 else ""
    mine = [name for name in picture_files(folder) if zlib.crc32(os.fsencode(name)) % world == rank]
    out.mkdir(parents=True, exist_ok=True)
    model = load_model(net, weights=weights, device=_place(int(os.environ.get("LOCAL_RANK", 0))))
    label = feature_layer(model, layer).label
    made_by, done = f"{label}; {model.viz.weights}", set()
    for path in _paths(out):
        facts = _facts(path)
        if facts["made_by"] != made_by:
            raise ValueError(f"{str(out)!r} holds features of another kind ({facts['made_by']}): choose another --out.")
        done.update(facts["names"], facts["unreadable"])
    todo = [name for name in mine if name not in done]
    say(f"{who}{label}: {len(todo)} pictures to do, {len(mine) - len(todo)} done before")
    names, rows, bad, begun, count, failed = [], [], {}, perf_counter(), 0, 0

    def finish():
        nonlocal names, rows, bad, failed
        if names or bad:
            failed += len(bad)
            _write(out, made_by, names, rows, bad)
            names, rows, bad = [], [], {}
            rate = count / max(perf_counter() - begun, 1e-9)
            left = (len(todo) - count) / max(rate, 1e-9) / 60
            say(f"{who}{count} of {len(todo)}, {rate:.1f} pictures/s, {left:.0f} min to go")

    stop = stop or _Stop()
    stop.gently = True
    try:
        for part in _batches(_Pictures(folder, todo, model.viz), batch, workers) if todo else ():
            bad |= {name: why for name, x, why in part if x is None}
            good = [(name, x) for name, x, _ in part if x is not None]
            if good:
                x = torch.cat([x for _, x in good]).to(next(model.parameters()).device)
                found = features(model, x, layer=layer, batch_size=batch).cpu()
                if len(found) < len(x):  # features returns what it has when it is stopped
                    raise KeyboardInterrupt
                rows.append(found)
                names += [name for name, _ in good]
            count += len(part)
            if len(names) + len(bad) >= shard:
                finish()
            if stop.asked:
                raise KeyboardInterrupt
    finally:
        if len(names) == sum(len(r) for r in rows):  # not between two lines above: what is done is kept
            finish()
    if failed:
        say(f"{who}{failed} files could not be read; vizhelpers.embedding_shards.unreadable({str(out)!r}) names them")
    return count


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0, or 1 and a sentence, or 130 after Ctrl-C."""
    parser = argparse.ArgumentParser("python -m vizhelpers.embedding", description=__doc__.split("\n")[0])
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
    stop = _Stop()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        run(a.folder, a.out, net=a.net, weights=a.weights, layer=a.layer, batch=a.batch_size, workers=a.workers,
            shard=a.shard_size, say=lambda line: print(line, flush=True), stop=stop)  # fmt: skip
    except KeyboardInterrupt:
        print("Stopped; what is done is kept: run the same command again to go on.", file=sys.stderr)
        return 130
    except (ValueError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0
