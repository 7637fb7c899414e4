"""Pictures: the library, reading anything as a PIL image, a net's normalised input and back.

Whatever takes a picture takes a library name ("koala": photograph before painting before cut-out;
"objects/mammals/koala" is exact), a path, a file's bytes, a PIL image of any usual mode, or an array or tensor (H,W),
(H,W,C), (C,H,W), (1,C,H,W) with C = 1, 3 or 4. The dtype says the scale: uint8 is 0..255, bool and float 0..1.
"""
import csv
import difflib
import io
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from .device import device as best_device
from .device import device_of, info_of, quiet

DATA = Path(os.environ.get("VIZHELPERS_DATA") or Path(__file__).resolve().parent.parent / "data")
MIN_SIDE = 8  # pixels; below this no net of the series sees anything
MAX_PIXELS = 100_000_000  # refused from the header, so that a tiny file cannot fill the memory
MAX_ASPECT = 20  # longer strips would grow enormous when their shorter side becomes 256
Picture = make_dataclass("Picture", "name path kind group subject author source licence".split(), frozen=True)


@dataclass(frozen=True)
class ModelInfo:
    """What a net expects and where it comes from (`net.viz`): mean and std are for RGB in 0..1, sizes are pixels."""
    name: str
    input_size: int = 224
    resize_size: int = 256
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    categories: tuple[str, ...] = ()
    weights: str = ""
    has_classifier: bool = True


@lru_cache
def _index(data: Path) -> list[Picture]:
    if not (data / "index.csv").is_file():
        raise FileNotFoundError(f"there is no index.csv in {data}: set VIZHELPERS_DATA to the repository's data folder")
    with open(data / "index.csv", newline="", encoding="utf-8") as file:
        rows = {row.pop("file"): row for row in csv.DictReader(file)}
    return sorted((Picture(os.path.splitext(f)[0], data / f, **row) for f, row in rows.items()), key=lambda p: p.name)


def library(kind: str | None = None, group: str | None = None, subject: str | None = None) -> list[Picture]:
    """The pictures in data/ that match every filter, by name; each has name, path, kind, ..., author, source, licence.
    `kind` is "photos", "paintings" or "objects" (cut-outs with a mask); a filter may be a pattern ("wind*"). Lesson 00.
    """
    found = _index(DATA)
    for field, wanted in (("kind", kind), ("group", group), ("subject", subject)):
        valid = sorted({getattr(picture, field) for picture in found})
        found = [picture for picture in found if wanted is None or fnmatchcase(getattr(picture, field), wanted)]
        if not found:
            near = ", ".join(map(repr, difflib.get_close_matches(wanted, valid, 8, 0)))
            raise ValueError(f"no picture has {field} {wanted!r} here; choose from {near}")
    return list(found)


def find_picture(name: str, kinds=("photos", "paintings", "objects")) -> Picture | None:
    """The library picture of that full name, group/subject or bare subject; the earlier kind wins."""
    key = name.strip().lower().replace(" ", "_").removesuffix(".webp")
    for kind in kinds:
        for p in _index(DATA):
            if p.kind == kind and key in (p.name, p.subject, f"{p.group}/{p.subject}"):
                return p


def load_image(source, *, background: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """Any picture as an upright RGB image of its own, 8 x 8 or more; `background` is under transparency. Lesson 00."""
    image = eight_bit(read_any(source))
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, as_colour(background)), image).convert("RGB")


def named(images) -> dict[str, Image.Image]:
    """Pictures by name, from a mapping, a list of names or pictures, or one of them."""
    if not isinstance(images, Mapping):
        items = images if isinstance(images, list | tuple) else [images]
        images = {one if isinstance(one, str | Path) else f"picture {n}": one for n, one in enumerate(items)}
    if not images:
        raise ValueError("There is no picture to explore: give at least one name, path or picture.")
    return {str(name): load_image(image) for name, image in images.items()}


def read_any(source) -> Image.Image:
    """The upright picture in whatever mode it has."""
    if isinstance(source, bytes | bytearray | memoryview):
        return _decoded(io.BytesIO(source), f"the picture in these {len(source)} bytes")
    if isinstance(source, Image.Image):
        return _decoded(source, "the picture")
    if isinstance(source, Tensor):
        source = source.detach().float() if source.is_floating_point() else source  # numpy has no bfloat16
        return _from_array(source.cpu().numpy(), "the tensor")
    if isinstance(source, np.ndarray):
        return _from_array(source, "the array")
    source = find_picture(source) or source if isinstance(source, str) else source
    path = source.path if isinstance(source, Picture) else source
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"a picture is a name, path, bytes, array, tensor or PIL image, not {type(source).__name__}")
    if not os.path.exists(path):
        near = difflib.get_close_matches(Path(path).stem.lower(), {p.subject for p in _index(DATA)}, 4, 0.5)
        near = f"the nearest library names are {', '.join(near)}" if near else "vh.library() lists what the library has"
        error = FileNotFoundError if isinstance(path, Path) or Path(path).suffix else ValueError
        raise error(f"there is no library picture and no file called {str(path)[-60:]!r}; {near}")
    if os.path.isdir(path):
        raise ValueError(f"'{path}' is a folder, not a picture; name one file in it")
    with open(path, "rb") as file:
        return _decoded(file, f"'{path}' ({os.path.getsize(path)} bytes)")


def _decoded(source, label: str) -> Image.Image:
    """A decoded copy, turned as its EXIF says; the size is checked before decoding."""
    with quiet():  # our own limit says in one sentence what PIL warns of
        try:
            image = source if isinstance(source, Image.Image) else Image.open(source)
        except Image.DecompressionBombError:
            raise ValueError(f"{label} has far more than the {MAX_PIXELS // 10**6} million pixels allowed") from None
        except Exception:
            raise ValueError(f"{label} is damaged or not a picture; JPEG, PNG and WebP always work") from None
        check_size(image.size, label)
        try:
            return ImageOps.exif_transpose(image)
        except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ... for the same broken file
            raise ValueError(f"{label} is damaged and cannot be decoded ({error}); get it again") from None


def check_size(size: tuple[int, int], label: str) -> None:
    says = f"{label} has {size[0]} x {size[1]} pixels"
    if math.prod(size) > MAX_PIXELS:
        raise ValueError(f"{says}, more than the {MAX_PIXELS // 10**6} million allowed")
    if min(size) < MIN_SIDE:
        raise ValueError(f"{says} and is too small; it needs at least {MIN_SIDE} x {MIN_SIDE}")


def _from_array(array: np.ndarray, label: str) -> Image.Image:  # 8-bit: L, RGB or RGBA
    if array.dtype != np.uint8 and array.dtype.kind not in "bf":
        raise TypeError(f"{label} holds {array.dtype} values of unknown scale; make it uint8 (0..255) or float (0..1)")
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    shape = array.shape
    if array.ndim == 3 and shape[-1] not in (1, 3, 4):  # as sides these would be too small
        array = np.moveaxis(array, 0, -1)
    if array.ndim != 2 and (array.ndim != 3 or array.shape[-1] not in (1, 3, 4)):
        raise ValueError(f"{label} has shape {shape}; one picture is (H,W), (H,W,C) or (C,H,W), C = 1, 3 or 4")
    check_size(array.shape[1::-1], label)
    if array.dtype != np.uint8:
        array = array.astype(np.float64)
        low, high = array.min(), array.max()
        if not np.isfinite(low + high):
            raise ValueError(f"{label} contains NaN or infinite values; mend it before it is shown to a net")
        if low < -1e-6 or high > 1 + 1e-6:
            what = "looks normalised; use to_display" if low < 0 else "is outside 0..1; divide it by the value of white"
            raise ValueError(f"{label} with values from {low:.3g} to {high:.6g} {what} first")
        array = np.rint(array.clip(0, 1) * 255).astype(np.uint8)
    return Image.fromarray(np.array(array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array, order="C"))


def eight_bit(image: Image.Image) -> Image.Image:
    """RGBA where there is transparency, else RGB."""
    if image.mode.startswith("I"):  # I and I;16: PIL would clip at 255
        image = _from_array(np.asarray(image) / 65535, f"the picture of mode {image.mode} (white is 65535)")
    if image.mode in ("F", "La"):
        raise ValueError(f"a picture of mode {image.mode} cannot be turned into RGB; give an array of floats 0..1")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def as_colour(colour) -> tuple[int, ...]:
    if isinstance(colour, tuple | list) and len(colour) == 3 and all(c in range(256) for c in colour):
        return tuple(map(int, colour))
    raise ValueError(f"a background colour is three numbers 0..255, not {colour!r}")


def to_input(image, model=None, *, size: int | tuple[int, int] | None = None, crop=True, device=None) -> Tensor:
    """A picture, a list or a batch (N,3,H,W) of values 0..1 as the model (none: ImageNet's) wants it, normalised.
    `size` is the side of the square cut from the middle; `crop=False` keeps the whole picture, its shorter side
    becoming `size`; (H, W) resizes to exactly that. Equal to torchvision's transforms, pixel for pixel. Lesson 00."""
    from torchvision.transforms.functional import pil_to_tensor
    many = list(image) if isinstance(image, list | tuple) or getattr(image, "ndim", 0) == 4 else [image]
    if not many:
        raise ValueError("to_input got an empty list; give at least one picture")
    place = device or (device_of(model) if isinstance(model, nn.Module) else best_device())
    pictures = [_resized(load_image(one), model, size, crop) for one in many]
    if len({picture.size for picture in pictures}) > 1:
        raise ValueError("with crop=False the pictures have different sizes; give size=(H, W) or one picture at a time")
    return from_pixels(model, torch.stack([pil_to_tensor(picture) for picture in pictures]).to(place).float() / 255)


def _resized(image: Image.Image, model, size, crop: bool) -> Image.Image:
    from torchvision.transforms import InterpolationMode, functional
    side, shorter, interpolation = expected(model, "input_size", "resize_size", "interpolation")
    how, size = InterpolationMode(interpolation), side if size is None else size
    sides = list(size) if isinstance(size, tuple | list) else [size]
    whole = all(isinstance(s, int | np.integer) and s >= MIN_SIDE for s in sides)
    if len(sides) > 2 or not whole or math.prod(sides) > MAX_PIXELS:
        raise ValueError(f"size={size!r} must be one whole number of pixels or (H, W), each at least {MIN_SIDE}")
    if len(sides) == 2:
        return functional.resize(image, sides, how)
    goal, ratio = round(sides[0] * shorter / side) if crop else int(sides[0]), max(image.size) / min(image.size)
    if ratio > MAX_ASPECT or goal * goal * ratio > MAX_PIXELS:
        raise ValueError(f"size={size!r} makes a picture longer than {MAX_ASPECT}:1 or larger than "
                         f"{MAX_PIXELS // 10**6} million pixels; cut a piece out or give size=(H, W)")  # fmt: skip
    image = functional.resize(image, goal, how)
    return functional.center_crop(image, sides[0]) if crop else image


def inputs_of(images, model: nn.Module) -> dict[str, Tensor]:
    """Name -> normalised input `(1,3,H,W)` of pictures as `named` takes them."""
    return {name: to_input(image, model) for name, image in named(images).items()}


def to_display(x: Tensor, model=None) -> Tensor:
    """Normalised `(N,3,H,W)` or `(3,H,W)` as pixels to be drawn: `(N,3,H,W)`, 0..1 (clamped), on the CPU. Lesson 00."""
    if not isinstance(x, Tensor) or x.ndim not in (3, 4) or x.shape[-3] != 3:
        found = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"to_display takes a tensor (N,3,H,W) or (3,H,W) from to_input, not {found}")
    return to_pixels(model, x.detach().to("cpu", torch.float32).reshape(-1, *x.shape[-3:])).clamp(0, 1)


def expected(model, *keys: str) -> list:
    """What a net expects of a picture: from its `.viz`, else ImageNet's (see `ModelInfo`)."""
    return [getattr(info_of(model), key, getattr(ModelInfo, key)) for key in keys]


def normalisation(model, like: Tensor) -> list[Tensor]:
    """The mean and the deviation of pixels 0..1 that a net's input is normalised with, each `(1,3,1,1)`."""
    return [like.new_tensor(value).view(1, 3, 1, 1) for value in expected(model, "mean", "std")]


def to_pixels(model, x: Tensor) -> Tensor:
    """Normalised input as pixels 0..1, on its device and attached to the graph; neither clipped nor rounded."""
    mean, std = normalisation(model, x)
    return x * std + mean


def from_pixels(model, pixels: Tensor) -> Tensor:
    """Pixels 0..1 as the net's normalised input; the inverse of `to_pixels`."""
    mean, std = normalisation(model, pixels)
    return (pixels - mean) / std


def black(model) -> Tensor:
    """A black pixel as the net's normalised input, `(1,3,1,1)`, on the CPU."""
    return from_pixels(model, torch.zeros(1, 3, 1, 1))


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps `(N,h,w)` stretched to `(N,H,W)`, bilinearly, cell centres on cell centres. Lesson 08."""
    return nn.functional.interpolate(maps[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]
