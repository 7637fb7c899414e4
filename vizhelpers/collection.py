"""A collection of pictures as numbers: a list or a folder of your own in one line (lesson 03)."""
from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm.auto import tqdm

from .device import device_of
from .embedding import feature_layer, features
from .images import to_display, to_input
from .models import load_model
from .pictures import Picture, load_image


@dataclass(frozen=True)
class Embedding:
    """A collection of pictures as numbers: what the figures and the explorer of lesson 03 take."""

    names: tuple[str, ...]
    groups: tuple[str, ...]
    features: Tensor  # (N,D)
    pixels: Tensor  # (N,P), 0..1
    thumbs: Tensor  # (N,3,side,side), 0..1, the crop that the net saw
    label: str  # which features these are
    unreadable: dict[str, str] = field(default_factory=dict)  # name -> why it was left out

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Embedding({len(self)} pictures, {len(set(self.groups))} groups, {self.label})"


def embed(
    model: nn.Module, images: Sequence, *, names: Sequence[str] | None = None, groups: Sequence[str] | None = None,
    layer: str | nn.Module | None = None, side: int = 64, batch_size: int = 16, progress: bool = False,
) -> Embedding:
    """Features, small pixels and thumbnails of a collection, each picture read once; unreadable ones are left out.

    Args:
        model: any net.
        images: a list of anything that `load_image` takes; with `vh.library()`, names and groups come along.
        names: one for each; by default the library name, the path, or a number.
        groups: one for each, for colours and for `knn_agreement`.
        layer: as in `features`.
        side: of the thumbnails in pixels.
        batch_size: pictures per pass.
        progress: show a bar; the stop button returns what is done so far.

    Returns:
        An `Embedding`: names, groups, features, pixels, thumbs, label, unreadable.

    Raises:
        ValueError: no picture at all, or as many names or groups as not fit; and as `features`.

    Example:
        >>> vh.embed(net, vh.library())

    Taught in: 03_tsne_of_fc7.
    """
    images = list(images)
    names = list(names or [_name(image, n) for n, image in enumerate(images)])
    groups = list(groups or [getattr(image, "group", None) or getattr(image, "kind", "") for image in images])
    if not images or len(names) != len(images) or len(groups) != len(images):
        raise ValueError(f"There are {len(images)} pictures, {len(names)} names and {len(groups)} groups: give one of "
                         "each for every picture, and at least one picture.")  # fmt: skip
    label, bad, kept, parts = feature_layer(model, layer).label, {}, [], []
    with tqdm(total=len(images), disable=not progress, unit="picture", leave=False) as bar:
        try:
            for at in range(0, len(images), batch_size):
                which = range(at, min(at + batch_size, len(images)))
                good, pictures = [], []
                for n in which:
                    try:
                        pictures.append(_prepared(load_image(images[n]), model, side))
                        good.append(n)
                    except (ValueError, OSError) as error:
                        bad[names[n]] = str(error)
                        warnings.warn(f"{names[n]} is left out: {error}", stacklevel=2)
                if good:
                    x, small, thumbs = (torch.cat(part) for part in zip(*pictures, strict=True))
                    rows = features(model, x.to(device_of(model)), layer=layer, batch_size=batch_size).cpu()
                    parts.append((rows, small.flatten(1), thumbs))
                    kept += good
                bar.update(len(which))
        except KeyboardInterrupt:
            if not kept:
                raise
    if not kept:
        raise ValueError(f"None of the {len(images)} pictures could be read; the first: {next(iter(bad.values()))}")
    rows, small, thumbs = (torch.cat(part) for part in zip(*parts, strict=True))
    named = [tuple(str(words[n]) for n in kept) for words in (names, groups)]
    return Embedding(*named, rows, small, thumbs, label, bad)


def embed_folder(folder: str | Path, model: nn.Module | None = None, **options) -> Embedding:
    """Your own pictures in one line: every picture file below a folder, its subfolders are the groups.

    Args:
        folder: JPEG, PNG, WebP and whatever else Pillow reads; other files and hidden ones are passed over, a picture
            that cannot be read is left out with a warning that names it.
        model: any net; by default SqueezeNet 1.1.
        **options: as `embed`.

    Returns:
        An `Embedding`, names are paths below the folder.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no picture in it.

    Example:
        >>> vh.explore_embedding(vh.embed_folder("my_pictures"))

    Taught in: 03_tsne_of_fc7.
    """
    names = list(picture_files(folder))
    if not names:
        raise ValueError(f"There is no picture file in {str(folder)!r}: it looks for {', '.join(_USUAL)} and others.")
    top = Path(folder).resolve().name
    groups = options.pop("groups", None) or [name.split("/")[0] if "/" in name else top for name in names]
    paths = [Path(folder, name) for name in names]
    return embed(model or load_model(), paths, **{"names": names, "groups": groups} | options)


_USUAL = (".jpg", ".png", ".webp")


def picture_files(folder: str | Path) -> Iterator[str]:
    """Paths below a folder of what looks like a picture by its ending, in alphabetical order folder by folder."""
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {str(folder)!r}; look at the path.")
    endings = tuple(Image.registered_extensions()) + _USUAL
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for file in sorted(files):
            if file.lower().endswith(endings) and not file.startswith("."):
                yield Path(base, file).relative_to(folder).as_posix()


def _name(image, number: int) -> str:
    if isinstance(image, Picture):
        return image.name
    return str(image) if isinstance(image, (str, os.PathLike)) else f"picture {number}"


def _prepared(image: Image.Image, model: nn.Module, side: int) -> tuple[Tensor, ...]:
    """What the net takes, 32 pixels and a thumbnail, each `(1,3,h,w)` on the CPU."""
    small = [to_display(to_input(image, size=s, device="cpu")) for s in (32, side)]
    return to_input(image, model, device="cpu"), *small
