"""Scenes: hand-computed pixels and masks, layouts without overlap, and every kind of bad request."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from test_images import refused

import vizhelpers  # noqa: F401 - prepares torchvision's import
from vizhelpers.images import DATA, library, load_image
from vizhelpers.scenes import compose_scene


def patch(width, height, colour, alpha=255):
    return Image.new("RGBA", (width, height), (*colour, alpha))


FULL = dict(size=(10, 20), scale=1.0)


def test_scene_by_hand():
    """On grey 100, 8 x 4 pixels of (200, 0, 100): alpha 128 gives 100 + 128/255 * 100 = 150.2, 49.8 and 100."""
    cases = (255, (200, 0, 100), True), (128, (150, 50, 100), True), (127, (150, 50, 100), False)
    for alpha, expected, inside in cases:
        image = patch(8, 8, (200, 0, 100), alpha)
        image.paste((0, 0, 255, 255), (0, 4, 8, 8))
        scene = compose_scene([image], background=(100, 100, 100), boxes=[(0.1, 0, 0.4, 0.8)], **FULL)
        assert scene.image.size == (20, 10) and scene.masks.shape == (1, 10, 20) and scene.masks.dtype == torch.bool
        assert np.abs(np.subtract(scene.image.getpixel((3, 1)), expected)).max() <= (0 if alpha == 255 else 1)
        assert scene.image.getpixel((3, 6)) == (0, 0, 255) and scene.image.getpixel((1, 1)) == (100, 100, 100)
        truth = torch.zeros(10, 20, dtype=torch.bool)
        truth[0 if inside else 4:8, 2:10] = True
        assert torch.equal(scene.masks[0], truth) and scene.names == ("object 1",)


def test_later_objects_take_the_earlier_ones_pixels():
    red, blue = patch(10, 10, (255, 0, 0)), patch(10, 10, (0, 0, 255))
    scene = compose_scene([red, blue], boxes=[(0, 0, 0.5, 1), (0.25, 0, 0.5, 1)], **FULL)
    first, second = torch.zeros(2, 10, 20, dtype=torch.bool)
    first[:, :5], second[:, 5:15] = True, True
    assert torch.equal(scene.masks, torch.stack([first, second]))
    assert [scene.image.getpixel((x, 0)) for x in (4, 5, 15)] == [(255, 0, 0), (0, 0, 255), (128, 128, 128)]
    clipped = compose_scene([red], boxes=[(-0.25, 0, 0.5, 1)], **FULL)
    assert clipped.masks.nonzero()[:, 2].unique().tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("objects", [
    ["koala"], ["cow", "horse"], ["koala", "basketball", "owl"], ["hen"] * 5, ["giraffe"] * 7])
@pytest.mark.parametrize("options", [{}, {"scale": 1.0}, {"scale": 0.6, "jitter": 1.0, "seed": 3, "size": (160, 224)}])
def test_default_layout_is_whole_and_free_of_overlap(objects, options):
    scene = compose_scene(objects, background="taj_mahal", **options)
    assert scene.names == tuple(objects) and scene.masks.sum(0).max() == 1
    for name, mask in zip(objects, scene.masks, strict=True):
        alone = library("objects", subject=name)[0]
        opaque = np.asarray(Image.open(alone.path).getchannel("A")) >= 128
        ys, xs = np.where(mask)
        h, w = (np.ptp(np.where(opaque)[axis]) + 1 for axis in (0, 1))
        assert abs((np.ptp(xs) + 1) / (np.ptp(ys) + 1) / (w / h) - 1) < 0.12, name  # aspect kept
        assert mask.float().mean() / ((np.ptp(xs) + 1) * (np.ptp(ys) + 1) / mask.numel()) == pytest.approx(
            opaque.sum() / (w * h), abs=0.08)  # nothing cut off


@pytest.mark.parametrize("background", ["taj_mahal", (255, 0, 255), None])
def test_masks_are_where_the_scene_differs(background):
    scene = compose_scene(["koala", "basketball"], background=background)
    if isinstance(background, str):
        empty = ImageOps.fit(load_image(background), (224, 224), Image.Resampling.BICUBIC)
    else:
        empty = Image.new("RGB", (224, 224), background or (128, 128, 128))
    differs = torch.from_numpy((np.asarray(scene.image).astype(int) != np.asarray(empty)).any(-1))
    union = scene.masks.any(0)
    near = torch.nn.functional.max_pool2d(union[None].float(), 7, 1, 3)[0] > 0
    assert not (differs & ~near).any()  # nothing beyond the soft edge
    assert (union & ~differs).sum() < 0.005 * union.sum()  # a pixel of the object may equal the background by chance
    assert union.sum() > 8000


def test_seed_and_global_random_state():
    import random
    states = random.getstate(), torch.get_rng_state(), np.random.get_state()[1].copy()
    a, b, c = (compose_scene(["hen", "cow"], jitter=1.0, scale=0.5, seed=s) for s in (1, 1, 2))
    assert torch.equal(a.masks, b.masks) and a.image.tobytes() == b.image.tobytes()
    assert not torch.equal(a.masks, c.masks)
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[1])
    assert np.array_equal(np.random.get_state()[1], states[2])


def test_small_cut_outs_are_enlarged_at_most_twice():
    scene = compose_scene([patch(10, 12, (9, 9, 9))], size=(100, 100))
    assert scene.masks.sum() == pytest.approx(20 * 24, rel=0.15)
    assert compose_scene([patch(10, 10, (9, 9, 9))], size=(100, 100), boxes=[(0, 0, 1, 1)], scale=1).masks.all()


def test_no_halo_from_hidden_colours():
    image = patch(40, 40, (0, 255, 0), 0)  # bright green, but invisible
    image.paste((255, 0, 0, 255), (10, 0, 30, 40))
    scene = compose_scene([image], background=(255, 0, 0), size=(60, 60), boxes=[(0, 0, 0.6, 0.6)])
    assert np.asarray(scene.image)[..., 1].max() <= 1


def test_scene_sources_and_refusals(tmp_path):
    load = Image.open(DATA / "objects/mammals/koala.webp")
    load.save(tmp_path / "mine.png")
    assert compose_scene([tmp_path / "mine.png"]).names == ("mine",)
    assert compose_scene("koala").names == ("koala",)
    assert torch.equal(compose_scene([np.asarray(load)]).masks, compose_scene(["koala"]).masks)
    assert torch.equal(compose_scene(library("objects", subject="koala")).masks, compose_scene(["koala"]).masks)
    red, ok = patch(10, 10, (255, 0, 0)), dict(call=compose_scene)
    whole = [(0, 0, 1, 1)]
    refused(ValueError, "cannot be seen", objects=[red, red], boxes=whole * 2, **ok)
    refused(ValueError, "cannot be seen", objects=[red], boxes=[(1.2, 0, 0.5, 0.5)], **ok)
    refused(ValueError, "cannot be seen", objects=[patch(10, 10, (1, 1, 1), 90)], **ok)
    refused(ValueError, "transparent", objects=[patch(10, 10, (1, 1, 1), 0)], **ok)
    refused(ValueError, "no transparency", objects=["photos/animals/koala"], **ok)
    refused(ValueError, "koala", objects=["koalla"], **ok)
    refused(ValueError, "boxes", objects=[red], boxes=whole * 2, **ok)
    refused(ValueError, "fractions", objects=[red], boxes=[(0, 0, 100, 100)], **ok)
    refused(ValueError, "a pixel or more", objects=[red], boxes=[(0, 0, 0.5, 0)], **ok)
    refused(ValueError, "no objects", objects=[], **ok)
    refused(ValueError, "scale", objects=[red], scale=0, **ok)
    refused(ValueError, "size", objects=[red], size=(20.5, 20), **ok)
    refused(ValueError, "pictures have from 8 x 8", objects=[red], size=(4, 40), **ok)
    refused(ValueError, "background", objects=[red], background=(1, 2), **ok)
    refused(ValueError, "background", objects=[red], background=(1, 2, 300), **ok)
