"""Pictures for nets and back: to_input, to_display, and scenes whose objects have true masks (reading: pictures.py)."""

import math
import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from .device import device as default_device
from .pictures import (
    DATA,
    MAX_PIXELS,
    MIN_SIDE,
    Picture,
    as_colour,
    check_size,
    eight_bit,
    find_picture,
    library,
    load_image,
    read_any,
)

__all__ = ["DATA", "Picture", "Scene", "compose_scene", "library", "load_image", "to_display", "to_input"]
MAX_ZOOM = 2  # a 45-pixel raspberry filling the scene would be a mosaic of its pixels
MAX_ASPECT = 20  # longer strips would grow enormous when their shorter side becomes 256
IMAGENET = {"input_size": 224, "resize_size": 256, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


class Scene(NamedTuple):
    """What `compose_scene` returns: the picture, (M,H,W) bool masks of visible pixels, and M names."""

    image: Image.Image
    masks: Tensor
    names: tuple[str, ...]


def _recipe(model, key):
    return getattr(getattr(model, "viz", None), key, IMAGENET.get(key))


def to_input(image, model=None, *, size: int | tuple[int, int] | None = None, crop: bool = True,
             device=None) -> Tensor:
    """Turns a picture, or a list of them, into what `model` expects: resized, centre-cropped, normalised.

    Args:
        image: anything `load_image` takes, a list of such, or a batch (N,3,H,W) with values 0..1.
        model: its `.viz` says sizes, mean, std and interpolation; without one ImageNet's are used.
        size: side of the square crop in pixels (default the model's, 224); (H, W) resizes to exactly that, no crop.
        crop: False keeps the whole picture and its proportions, shorter side = size.
        device: default the model's device, else `vh.device()`.

    Returns:
        float32 (N,3,H,W), about -2.2..2.7, without gradient history.

    Raises:
        ValueError for sizes below 8, strips longer than 20:1, and pictures of unequal size in one batch.

    Example:
        >>> to_input("koala").shape
        torch.Size([1, 3, 224, 224])

    Source: the ImageNet evaluation preset of torchvision.

    Taught in: 00_start_here.
    """
    many = list(image) if isinstance(image, list | tuple) or getattr(image, "ndim", 0) == 4 else [image]
    if not many:
        raise ValueError("to_input got an empty list; give at least one picture")
    if device is None and isinstance(model, nn.Module):
        device = next((p.device for p in model.parameters()), None)
    pictures = [_resized(load_image(one), model, size, crop) for one in many]
    if len({picture.size for picture in pictures}) > 1:
        raise ValueError("with crop=False the pictures have different sizes; give size=(H, W) or one picture at a time")
    pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2)
    x = pixels.to(device or default_device()).contiguous().float() / 255
    mean, std = (x.new_tensor(_recipe(model, key)).view(1, 3, 1, 1) for key in ("mean", "std"))
    return (x - mean) / std


def _resized(image: Image.Image, model, size, crop: bool) -> Image.Image:
    """torchvision's Resize + CenterCrop on PIL, to the pixel."""
    side, shorter = _recipe(model, "input_size"), _recipe(model, "resize_size")
    sides = size if isinstance(size, tuple | list) else (side if size is None else size,)
    whole = all(isinstance(s, int | np.integer) and s >= MIN_SIDE for s in sides)
    if len(sides) > 2 or not whole or math.prod(sides) > MAX_PIXELS:
        raise ValueError(f"size={size!r} must be one whole number of pixels or (H, W), each at least {MIN_SIDE}")
    bicubic = _recipe(model, "interpolation") == "bicubic"
    method = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    if len(sides) == 2:
        return image.resize((sides[1], sides[0]), method)
    width, height = image.size
    if max(image.size) > MAX_ASPECT * min(image.size):
        raise ValueError(f"the picture of {width} x {height} pixels is longer than {MAX_ASPECT}:1; cut a piece out "
                         "or give size=(H, W)")
    goal = round(sides[0] * shorter / side) if crop else sides[0]
    longer = int(goal * max(image.size) / min(image.size))
    if goal * longer > MAX_PIXELS:
        raise ValueError(f"size={size!r} makes more than {MAX_PIXELS // 10**6} million pixels; choose a smaller one")
    image = image.resize((goal, longer) if width <= height else (longer, goal), method)
    if not crop:
        return image
    left, top = (int(round((s - sides[0]) / 2)) for s in image.size)
    return image.crop((left, top, left + sides[0], top + sides[0]))


def to_display(x: Tensor, model=None) -> Tensor:
    """Undoes the normalisation of `to_input`, for drawing.

    Args:
        x: normalised (N,3,H,W) or (3,H,W); not changed.
        model: the net whose mean and std were used; without one ImageNet's.

    Returns:
        float32 (N,3,H,W) with values 0..1 (clamped), detached, on the CPU.

    Raises:
        TypeError or ValueError when x is no such tensor.

    Example:
        >>> to_display(to_input("koala")).amin() >= 0
        tensor(True)

    Source: inverse of the ImageNet evaluation preset.

    Taught in: 00_start_here.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"to_display takes a tensor from to_input, not {type(x).__name__}; load_image reads pictures")
    if x.ndim not in (3, 4) or x.shape[-3] != 3:
        raise ValueError(f"to_display takes (N,3,H,W) or (3,H,W), not shape {tuple(x.shape)}")
    x = x.detach().to("cpu", torch.float32).reshape(-1, *x.shape[-3:])
    mean, std = (x.new_tensor(_recipe(model, key)).view(1, 3, 1, 1) for key in ("mean", "std"))
    return (x * std + mean).clamp(0, 1)


def compose_scene(objects, *, background=None, size: tuple[int, int] = (224, 224), boxes=None, scale: float = 0.9,
                  jitter: float = 0.0, seed: int = 0) -> Scene:
    """Pastes cut-outs on a background and returns the picture with the true mask of every object.

    Args:
        objects: library names of cut-outs ("koala" means the cut-out here) or pictures with transparency: RGBA PIL
            images, paths, arrays; later ones cover earlier ones.
        background: library name, path or PIL image of a photograph (scaled and cropped to fill), a colour 0..255, or
            None for mid grey.
        size: (H, W) of the scene in pixels.
        boxes: one (left, top, width, height) per object in fractions 0..1 of the scene; the object is fitted into the
            box, centred, proportions kept. Default: a grid without overlap, filled from left to right, where no
            object is enlarged more than twice.
        scale: size of an object relative to its cell or box, above 0, at most 1.
        jitter: 0..1, how far an object may wander from the middle of its cell or box, within it; `seed` decides where.
        seed: makes the jitter repeatable; the global random state is left alone.

    Returns:
        `Scene`: RGB picture, (M,H,W) bool masks of the visible pixels (alpha at least 128, not covered by a later
        object), names ("koala", a file's stem, or "object 1").

    Raises:
        ValueError for unknown names, pictures without transparency, bad boxes and objects that cannot be seen.

    Example:
        >>> scene = compose_scene(["koala", "basketball"], background="taj_mahal")
        >>> scene.masks.shape, scene.names
        (torch.Size([2, 224, 224]), ('koala', 'basketball'))

    Source: cut-outs of data/objects.

    Taught in: 08_class_activation_maps.
    """
    height, width = size = tuple(size)
    if not all(isinstance(side, int) for side in size) or not (0 < scale <= 1 and 0 <= jitter <= 1):
        raise ValueError(f"compose_scene takes size=(H, W) in whole pixels, 0 < scale <= 1 and 0 <= jitter <= 1, "
                         f"not {size}, {scale} and {jitter}")
    check_size((width, height), "the scene")
    objects = list(objects) if isinstance(objects, list | tuple) else [objects]
    if not objects:
        raise ValueError("compose_scene got no objects; name at least one cut-out, such as 'koala'")
    names, cut_outs = zip(*(cut_out(one, number) for number, one in enumerate(objects, 1)), strict=True)
    if background is None or isinstance(background, tuple | list):
        image = Image.new("RGB", (width, height), (128, 128, 128) if background is None else as_colour(background))
    else:
        image = ImageOps.fit(load_image(background), (width, height), Image.Resampling.BICUBIC)
    cells = _grid([c.size for c in cut_outs], width, height) if boxes is None else _pixel_boxes(boxes, names, size)
    chance, masks = random.Random(seed), np.zeros((len(cut_outs), height, width), bool)
    for number, (one, (x0, y0, x1, y1)) in enumerate(zip(cut_outs, cells, strict=True)):
        zoom = scale * min((x1 - x0) / one.width, (y1 - y0) / one.height)
        zoom = min(zoom, MAX_ZOOM) if boxes is None else zoom
        # PIL resizes RGBA with the colour weighted by alpha, so hidden colours make no halo
        one = one.resize([max(1, int(side * zoom + 1e-9)) for side in one.size], Image.Resampling.BICUBIC)
        room = x1 - x0 - one.width, y1 - y0 - one.height
        left, top = (int(free / 2 * (1 + jitter * chance.uniform(-1, 1))) for free in room)
        place, alpha, layer = (x0 + left, y0 + top), one.getchannel("A"), Image.new("L", (width, height))
        image.paste(one.convert("RGB"), place, alpha)
        layer.paste(alpha, place)
        masks[number] = np.asarray(layer) >= 128
        masks[:number] &= ~masks[number]
    for name, mask in zip(names, masks, strict=True):
        if not mask.any():
            raise ValueError(f"{name!r} cannot be seen: it lies outside the scene or under later objects; change boxes")
    return Scene(image, torch.from_numpy(masks), names)


def cut_out(source, number: int = 0) -> tuple[str, Image.Image]:
    picture = find_picture(source, ("objects",)) if isinstance(source, str) else source
    source = picture if isinstance(picture, Picture) else source
    name = Path(source).stem if isinstance(source, str | Path) else getattr(source, "subject", f"object {number}")
    image = eight_bit(read_any(source))
    if image.mode != "RGBA":
        raise ValueError(f"{name!r} has no transparency; a cut-out is RGBA, like those of vh.library(kind='objects')")
    if not (box := image.getchannel("A").getbbox()):
        raise ValueError(f"{name!r} is completely transparent; choose another cut-out")
    return name, image.crop(box)  # empty margins would shrink the object in its box


def _grid(sizes, width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Cells (x0, y0, x1, y1) in pixels, as many columns as make the objects largest, a short last row centred."""
    def cell(columns):
        return width / columns, height / math.ceil(len(sizes) / columns)

    def area(columns):
        return sum(w * h * min(cell(columns)[0] / w, cell(columns)[1] / h) ** 2 for w, h in sizes)

    columns = max(range(len(sizes), 0, -1), key=area)  # the first of equals has most columns: side by side
    (w, h), cells = cell(columns), []
    for number in range(len(sizes)):
        row, column = divmod(number, columns)
        left = (width - w * min(columns, len(sizes) - row * columns)) / 2 + w * column
        cells.append(tuple(round(edge) for edge in (left, row * h, left + w, row * h + h)))
    return cells


def _pixel_boxes(boxes, names, size) -> list[tuple[int, int, int, int]]:
    height, width = size
    if len(boxes) != len(names):
        raise ValueError(f"compose_scene got {len(boxes)} boxes for {len(names)} objects; give one box per object")
    cells = []
    for box in boxes:
        if len(box) != 4 or not all(-2 <= number <= 2 for number in box):
            raise ValueError(f"box {box} must be (left, top, width, height) in fractions of the scene, such as 0.5")
        left, top, w, h = box
        cell = round(left * width), round(top * height), round((left + w) * width), round((top + h) * height)
        if cell[2] <= cell[0] or cell[3] <= cell[1]:
            raise ValueError(f"box {box} is less than one pixel wide or high; enlarge it")
        cells.append(cell)
    return cells
