"""Pictures: the library, reading anything as a PIL image, a net's normalised input and back.
Whatever takes a picture takes a library name ("koala": photograph before painting before cut-out; "mammals/koala" is
the cut-out), a path, a file's bytes, a PIL image of any usual mode, or an array or tensor (H,W), (H,W,C), (C,H,W),
(1,C,H,W) with C = 1, 3 or 4. The dtype says the scale: uint8 is 0..255, bool and float 0..1."""
import difflib
import importlib.util
import io
import math
import os
from dataclasses import dataclass, make_dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from .device import device as best_device
from .device import device_of, info_of, quiet, table, warn

DATA = Path(os.environ.get("VIZHELPERS_DATA") or Path(__file__).resolve().parent.parent / "data")
MIN_SIDE = 8  # pixels; below this no net of the series sees anything
MAX_PIXELS = 100_000_000  # refused from the header, so that a tiny file cannot fill the memory
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


@cache
def _index(data: Path) -> list[Picture]:
    if not (data / "index.csv").is_file():
        raise FileNotFoundError(f"there is no index.csv in {data}: set VIZHELPERS_DATA to the repository's data folder")
    rows = (row.values() for row in table(data / "index.csv"))
    return sorted((Picture(os.path.splitext(f)[0], data / f, *rest) for f, *rest in rows), key=lambda p: p.name)


def library(kind: str | None = None, group: str | None = None, subject: str | None = None) -> list[Picture]:
    """The pictures in data/ that match every filter, by name, each with name, path, kind, ..., author, source, licence.
    `kind` is "photos", "paintings" or "objects" (cut-outs with a mask); a filter may be a pattern: "w*". Lesson 00."""
    found = _index(DATA)
    for field, wanted in (("kind", kind), ("group", group), ("subject", subject)):
        valid = sorted({getattr(picture, field) for picture in found})
        found = [picture for picture in found if wanted is None or fnmatchcase(getattr(picture, field), wanted)]
        if not found:
            valid = difflib.get_close_matches(wanted, valid, 8, 0)
            raise ValueError(f"no picture has {field} {wanted!r} here; choose from {valid}")
    return found


def find_picture(name: str, kinds=("photos", "paintings", "objects")) -> Picture | None:
    """The library picture of that full name, group/subject or bare subject; the earlier kind wins."""
    key = name.strip().lower().replace(" ", "_").removesuffix(".webp")
    found = [p for p in _index(DATA) if p.kind in kinds and key in (p.name, p.subject, f"{p.group}/{p.subject}")]
    return min(found, key=lambda p: kinds.index(p.kind), default=None)


def load_image(source) -> Image.Image:
    """Any picture as an upright RGB image of its own, 8 x 8 or more; white is under transparency. Lesson 00."""
    image = eight_bit(read_any(source))
    ground = Image.new("RGBA", image.size, "white")
    return image if image.mode == "RGB" else Image.alpha_composite(ground, image).convert("RGB")


def named(images) -> dict[str, Image.Image]:
    """Pictures by name, from a dict, a list of names or pictures, or one of them."""
    if not isinstance(images, dict):
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
    if isinstance(source, Tensor):  # numpy has no bfloat16
        source = (source.detach().float() if source.is_floating_point() else source).cpu().numpy()
    if isinstance(source, np.ndarray):
        return _from_array(source, "the array")
    if isinstance(source, str):
        own = os.path.expanduser(source)  # an own file goes before a library picture of that name
        source = own if Path(own).suffix and os.path.isfile(own) else find_picture(source) or own
    path = source.path if isinstance(source, Picture) else source
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"a picture is a name, path, bytes, array, tensor or PIL image, not {type(source).__name__}")
    if not os.path.isfile(path):
        near = difflib.get_close_matches(Path(path).stem.lower(), {p.subject for p in _index(DATA)}, 4, 0.5)
        error = FileNotFoundError if Path(path).suffix and not os.path.isdir(path) else ValueError
        says = f"there is no library picture and no file (a folder is none) called {str(path)[-60:]!r}"
        raise error(f"{says}; vh.library() lists all names, near this one: {', '.join(near) or 'none'}")
    with open(path, "rb") as file:
        return _decoded(file, f"'{path}' ({os.path.getsize(path)} bytes)")


def _decoded(source, label: str) -> Image.Image:
    """A decoded copy, turned as its EXIF says; the size is checked before decoding."""
    try:
        if importlib.util.find_spec("pillow_heif"):
            importlib.import_module("pillow_heif").register_heif_opener()
        with quiet():  # our own limit says in one sentence what PIL warns of
            image = source if isinstance(source, Image.Image) else Image.open(source)
            check_size(image.size, label)
            return ImageOps.exif_transpose(image)
    except Image.DecompressionBombError:
        raise ValueError(f"{label} has far more than the {MAX_PIXELS // 10**6} million pixels allowed") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ... for the same broken file
        if str(error).startswith(label):  # our own about the size
            raise
        raise ValueError(f"{label} is damaged or not a picture; JPEG, PNG and WebP work, a phone's HEIC where "
                         "pillow-heif is installed") from None  # fmt: skip


def check_size(size: tuple[int, int], label: str) -> None:
    if min(size) < MIN_SIDE or math.prod(size) > MAX_PIXELS:
        limits = f"from {MIN_SIDE} x {MIN_SIDE} to {MAX_PIXELS // 10**6} million"
        raise ValueError(f"{label} has {size[0]} x {size[1]} pixels; pictures have {limits}")


def _from_array(array: np.ndarray, label: str) -> Image.Image:  # 8-bit: L, RGB or RGBA
    if array.dtype != np.uint8 and array.dtype.kind not in "bf":
        raise TypeError(f"{label} holds {array.dtype} values of unknown scale; make it uint8 (0..255) or float (0..1)")
    shape = array.shape
    array = array[0] if array.ndim == 4 and len(array) == 1 else array
    if array.ndim == 3 and array.shape[-1] not in (1, 3, 4):  # as sides these would be too small
        array = np.moveaxis(array, 0, -1)
    if array.ndim < 2 or array.shape[2:] not in ((), (1,), (3,), (4,)):
        raise ValueError(f"{label} has shape {shape}; one picture is (H,W), (H,W,C) or (C,H,W), C = 1, 3 or 4")
    check_size(array.shape[1::-1], label)
    if array.dtype != np.uint8:
        array = array.astype(np.float64)
        low, high = array.min(), array.max()
        if not (low >= -1e-6 and high <= 1 + 1e-6):  # also NaN
            advice = "divide by the value of white, use to_display on what is normalised, mend NaN"
            raise ValueError(f"{label} has values from {low:.3g} to {high:.6g}, outside 0..1: {advice}")
        array = np.rint(array.clip(0, 1) * 255).astype(np.uint8)
    return Image.fromarray(np.array(array[..., 0] if array.shape[2:] == (1,) else array, order="C"))


def eight_bit(image: Image.Image) -> Image.Image:
    """RGBA where there is transparency, else RGB."""
    if image.mode.startswith("I"):  # I and I;16: PIL would clip at 255
        image = _from_array(np.asarray(image) / 65535, f"the picture of mode {image.mode} (white is 65535)")
    if image.mode in ("F", "La"):
        raise ValueError(f"a picture of mode {image.mode} cannot be turned into RGB; give an array of floats 0..1")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def to_input(image, model=None, *, size: int | tuple[int, int] | None = None, crop=True, device=None) -> Tensor:
    """A picture, a list or a batch (N,3,H,W) of values 0..1 as the model (none: ImageNet's) wants it, normalised.
    `size` is the side of the square cut from the middle; `crop=False` keeps the whole picture, its shorter side
    becoming `size`; (H, W) resizes to exactly that. Equal to torchvision's transforms, pixel for pixel. Lesson 00."""
    from torchvision.transforms import InterpolationMode, functional
    many = image if isinstance(image, list | tuple) or getattr(image, "ndim", 0) == 4 else [image]
    place = device or (device_of(model) if isinstance(model, nn.Module) else best_device())
    own = hasattr(model, "viz") or not isinstance(model, nn.Module) or "torchvision" in type(model).__module__
    if not own and (not (part := info_of(model)) or len([*model.children()]) > 1):
        warn(f"This {type(model).__name__} does not say how its pictures are normalised: taken is what "
             f"{part.name if part else 'ImageNet'} has; net.viz = vh.images.ModelInfo(...) says it.")  # fmt: skip
    side, shorter, interpolation = expected(model, "input_size", "resize_size", "interpolation")
    sides = list(size) if isinstance(size, tuple | list) else [side if size is None else size]
    if len(sides) not in (1, 2) or not all(isinstance(s, int | np.integer) and s >= MIN_SIDE for s in sides):
        raise ValueError(f"size={size!r} must be one whole number of pixels or (H, W), each at least {MIN_SIDE}")
    crop, pictures = crop and len(sides) == 1, []
    goal = [round(sides[0] * shorter / side)] if crop else sides
    for picture in map(load_image, many):
        ratio = max(picture.size) / min(picture.size) if len(sides) == 1 else 1
        if goal[0] * goal[-1] * ratio > MAX_PIXELS:
            raise ValueError(f"size={size!r} makes over {MAX_PIXELS // 10**6} million pixels: give less, or (H, W)")
        picture = functional.resize(picture, goal, InterpolationMode(interpolation))
        pictures.append(functional.pil_to_tensor(functional.center_crop(picture, sides) if crop else picture))
    if len({picture.shape for picture in pictures}) != 1:
        raise ValueError("the list is empty, or the pictures have different sizes with crop=False: give size=(H, W)")
    return from_pixels(model, torch.stack(pictures).to(place).float() / 255)


def to_display(x: Tensor, model=None) -> Tensor:
    """Normalised `(N,3,H,W)` or `(3,H,W)` as pixels to be drawn: `(N,3,H,W)`, 0..1 (clamped), on the CPU. Lesson 00."""
    if x.ndim not in (3, 4) or x.shape[-3] != 3:
        raise ValueError(f"to_display takes a tensor (N,3,H,W) or (3,H,W) from to_input, not {tuple(x.shape)}")
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


def black(model, like: Tensor | None = None) -> Tensor:
    """A black pixel as the net's normalised input, `(1,3,1,1)`, with the type and device of `like`."""
    return from_pixels(model, torch.zeros(1, 3, 1, 1) if like is None else like.new_zeros(1, 3, 1, 1))


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps `(N,h,w)` stretched to `(N,H,W)`, bilinearly, cell centres on cell centres. Lesson 08."""
    return nn.functional.interpolate(maps[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]
