"""What pictures there are and how one is read: library names, files, bytes, arrays and tensors become PIL images."""

import csv
import difflib
import io
import math
import os
import warnings
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

DATA = Path(os.environ.get("VIZHELPERS_DATA") or Path(__file__).resolve().parent.parent / "data")
MIN_SIDE = 8  # pixels; below this no net of the series sees anything
MAX_PIXELS = 100_000_000  # refused from the header, so that a tiny file cannot fill the memory


@dataclass(frozen=True)
class Picture:
    """One picture of the library; every function that takes a picture takes it, too."""

    name: str
    path: Path
    kind: str
    group: str
    subject: str
    author: str
    source: str
    licence: str


@lru_cache
def _index(data: Path) -> tuple[Picture, ...]:
    if not (data / "index.csv").is_file():
        raise FileNotFoundError(f"there is no index.csv in {data}: set VIZHELPERS_DATA to the repository's data folder")
    with open(data / "index.csv", newline="", encoding="utf-8") as file:
        rows = [(row.pop("file"), row) for row in csv.DictReader(file)]
    return tuple(sorted((Picture(name=os.path.splitext(f)[0], path=data / f, **row) for f, row in rows),
                        key=lambda picture: picture.name))


def library(kind: str | None = None, group: str | None = None, subject: str | None = None) -> list[Picture]:
    """Lists the pictures in data/ that match every filter, sorted by name.

    Args:
        kind: "photos", "paintings" or "objects" (cut-outs with an alpha mask); each filter may be a pattern ("wind*").
        group: such as "animals" or "monuments"; paintings have the empty group "".
        subject: such as "koala".

    Returns:
        a list of `Picture` (name, path, kind, group, subject, author, source, licence).

    Raises:
        ValueError naming the valid or nearest values when nothing matches.

    Example:
        >>> [p.name for p in library(subject="koala")]
        ['objects/mammals/koala', 'photos/animals/koala']

    Source: data/README.md.

    Taught in: 00_start_here.
    """
    found = list(_index(DATA))
    for field, wanted in (("kind", kind), ("group", group), ("subject", subject)):
        if wanted is None:
            continue
        valid = sorted({getattr(picture, field) for picture in found})
        found = [picture for picture in found if fnmatchcase(getattr(picture, field), wanted)]
        if not found:
            shown = valid if len(valid) <= 25 else difflib.get_close_matches(str(wanted), valid, 5, 0.4) or valid[:5]
            raise ValueError(f"no picture has {field} {wanted!r} here; choose from {', '.join(map(repr, shown))}")
    return found


def find_picture(name: str, kinds=("photos", "paintings", "objects")) -> Picture | None:
    """The library picture of that full name, group/subject or bare subject; the earlier kind wins."""
    key = name.strip().lower().replace(" ", "_").removesuffix(".webp")
    pictures = _index(DATA)
    exact = [p for p in pictures if p.name == key]
    close = [p for k in kinds for p in pictures if p.kind == k and key in (p.subject, f"{p.group}/{p.subject}")]
    hits = exact or [p for p in close if p.kind == close[0].kind]
    if len(hits) > 1:
        raise ValueError(f"{name!r} is not unique in the library; choose from {', '.join(p.name for p in hits)}")
    return hits[0] if hits else None


def _nearest(name: str) -> str:
    """A half sentence with the library names closest to a misspelt one."""
    key = Path(name).stem.lower()
    subjects = {p.subject for p in _index(DATA)}
    near = difflib.get_close_matches(key, subjects, 4, 0.6)
    near += sorted(s for s in subjects if len(key) > 2 and key in s and s not in near)[:3]
    return f"the nearest library names are {', '.join(near)}" if near else "vh.library() lists what the library has"


def check_size(size, label):
    width, height = size
    if width * height > MAX_PIXELS:
        raise ValueError(f"{label} has {width} x {height} pixels, more than the {MAX_PIXELS // 10**6} million allowed; "
                         "make it smaller first")
    if min(size) < MIN_SIDE:
        raise ValueError(f"{label} is too small ({width} x {height} pixels); it needs at least {MIN_SIDE} x {MIN_SIDE}")


def _loaded(image: Image.Image, label: str) -> Image.Image:
    """A decoded, upright copy; the size is checked before decoding."""
    check_size(image.size, label)
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ... for the same broken file
        raise ValueError(f"{label} is damaged and cannot be decoded ({error}); get the file again") from None


def _decoded(file, label: str) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit says it in one sentence
        try:
            image = Image.open(file)
        except Image.DecompressionBombError:
            raise ValueError(f"{label} announces far more than the {MAX_PIXELS // 10**6} million pixels allowed; "
                             "make it smaller first") from None
        except UnidentifiedImageError:
            raise ValueError(f"{label} is not a picture that can be read; JPEG, PNG and WebP always work") from None
        except Exception as error:
            raise ValueError(f"{label} has a damaged header ({error}); get the file again") from None
        with image:
            return _loaded(image, label)


def _from_file(path: Path, label: str) -> Image.Image:
    if path.is_dir():
        raise ValueError(f"{label} is a folder, not a picture; name one file in it")
    if path.stat().st_size == 0:
        raise ValueError(f"{label} is empty (0 bytes); get the file again")
    with open(path, "rb") as file:
        return _decoded(file, label)


def _from_array(array: np.ndarray, value_range, *, label: str, channels_first: bool) -> Image.Image:
    """8-bit picture (L, RGB or RGBA) from values whose scale follows from the dtype or is said."""
    if array.dtype.kind not in "buif":
        raise TypeError(f"{label} holds {array.dtype} values; numbers are needed")
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3:
        first, last = (array.shape[axis] in (1, 3, 4) for axis in (0, -1))
        if first and (channels_first or not last):
            array = np.moveaxis(array, 0, -1)
    if array.ndim != 2 and (array.ndim != 3 or array.shape[-1] not in (1, 3, 4)):
        raise ValueError(f"{label} has shape {tuple(array.shape)}; one picture is (H, W), (H, W, C) or (C, H, W) "
                         "with C = 1, 3 or 4")
    check_size(array.shape[1::-1], label)
    top = {"b1": 1, "u1": 255, "u2": 65535}.get(array.dtype.str[1:], 1 if array.dtype.kind == "f" else None)
    top = value_range if value_range is not None else top
    if top is None:
        raise ValueError(f"{label} holds {array.dtype} values of unknown scale; say value_range=255 or another top")
    if array.dtype != np.uint8 or top != 255:
        values = array.astype(np.float64)
        if not np.isfinite(values).all():
            raise ValueError(f"{label} contains NaN or infinite values; mend it before it is shown to a net")
        low, high = values.min(), values.max()
        if low < -1e-6 * top:
            raise ValueError(f"{label} has negative values (down to {low:.3g}) and looks normalised; "
                             "turn it into a picture with to_display first")
        if high > top * (1 + 1e-6):
            raise ValueError(f"{label} has values up to {high:.6g}, outside 0..{top:g}; say which value means white, "
                             "for example value_range=255")
        array = np.rint(values.clip(0, top) * (255 / top)).astype(np.uint8)
    return Image.fromarray(np.array(array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array, order="C"))


def read_any(source, value_range=None) -> Image.Image:
    """The upright picture in whatever mode it has."""
    if value_range is not None and not (isinstance(value_range, int | float) and 0 < value_range < math.inf):
        raise ValueError(f"value_range={value_range!r} must be the number that means white, such as 1, 255 or 65535")
    if isinstance(source, Picture):
        source = source.path
    if isinstance(source, str):
        if picture := find_picture(source):
            source = picture.path
        elif not os.path.exists(source):
            if os.path.splitext(source)[1] or os.path.isabs(source):
                raise FileNotFoundError(f"there is no file {source!r}; {_nearest(source)}")
            raise ValueError(f"there is no library picture and no file called {source[:60]!r}; {_nearest(source)}")
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if not os.path.exists(path):
            raise FileNotFoundError(f"there is no file {str(path)!r}; {_nearest(str(path))}")
        return _from_file(path, repr(str(path)))
    if isinstance(source, bytes | bytearray | memoryview):
        if not len(source):
            raise ValueError("the picture's bytes are empty; read the file again")
        return _decoded(io.BytesIO(source), "the picture in these bytes")
    if isinstance(source, Image.Image):
        image = _loaded(source, "the picture")
        if image.mode[0] in "IF" and value_range is not None:
            return _from_array(np.asarray(image), value_range, label="the picture", channels_first=False)
        return image
    if isinstance(source, np.ndarray):
        return _from_array(source, value_range, label="the array", channels_first=False)
    if isinstance(source, Tensor):
        tensor = source.detach().cpu()
        tensor = tensor.float() if tensor.is_floating_point() else tensor  # numpy has no bfloat16
        return _from_array(tensor.numpy(), value_range, label="the tensor", channels_first=True)
    raise TypeError(f"a picture can be a library name, a path, bytes, an array, a tensor or a PIL image, "
                    f"not {type(source).__name__}")


def eight_bit(image: Image.Image) -> Image.Image:
    """RGBA where there is transparency, else RGB; deep modes are scaled where PIL would clip."""
    if image.mode[0] in "IF":  # I and I;16: 0..65535, F: 0..1
        array = np.asarray(image)
        image = _from_array(array, 1 if image.mode == "F" else 65535, label=f"the picture of mode {image.mode}",
                            channels_first=False)
    image = image.convert("LA") if image.mode == "La" else image  # La converts to nothing else
    try:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    except ValueError:
        raise ValueError(f"a picture of mode {image.mode} cannot be turned into RGB; save it as PNG first") from None


def load_image(source, *, background: tuple[int, int, int] = (255, 255, 255),
               value_range: float | None = None) -> Image.Image:
    """Reads any picture as upright 8-bit RGB, transparency laid on `background`; `source` is left unchanged.

    Args:
        source: library name ("koala": photograph before painting before cut-out; "objects/mammals/koala" is exact),
            `Picture`, path, file content as bytes, PIL image, array (H,W), (H,W,C) or (C,H,W), or tensor, also
            (1,C,H,W); C = 1, 3 or 4. Scale by dtype: uint8 0..255, uint16 0..65535, bool, float 0..1.
        background: colour 0..255 under transparent pixels.
        value_range: the value that means white in an array, tensor or PIL image of mode I or F, when the dtype's
            is not meant; 8-bit pictures and files do not use it.

    Returns:
        a new PIL image of mode RGB, at least 8 x 8 and at most 100 million pixels.

    Raises:
        FileNotFoundError, ValueError or TypeError with one sentence that says what to do.

    Example:
        >>> load_image("koala").mode
        'RGB'

    Source: Pillow's decoders.

    Taught in: 00_start_here.
    """
    image = eight_bit(read_any(source, value_range))
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, as_colour(background)), image).convert("RGB")


def as_colour(colour) -> tuple[int, ...]:
    try:
        if len(colour) == 3 and all(0 <= int(c) <= 255 and int(c) == c for c in colour):
            return tuple(int(c) for c in colour)
    except (TypeError, ValueError):
        raise ValueError(f"a background colour is three numbers 0..255, not {colour!r}") from None
    raise ValueError(f"a background colour is three numbers 0..255, not {colour!r}")
