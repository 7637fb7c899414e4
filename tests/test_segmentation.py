"""Segmentation from a map: a scene with a known mask, and what cannot be segmented."""
import numpy as np
import pytest
import torch
from PIL import Image

import vizhelpers as vh


def disc(size=(80, 100), centre=(40, 30), radius=16):
    """A red disc on green, with a little grain: `(picture, mask)`."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    mask = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2
    pixels = np.where(mask[..., None], (200, 40, 40), (40, 160, 60))
    pixels = pixels + np.random.default_rng(0).integers(-9, 9, pixels.shape)
    return Image.fromarray(pixels.astype(np.uint8)), torch.from_numpy(mask)


def iou(a, b):
    return float((a & b).sum() / (a | b).sum())


def test_a_blob_on_part_of_the_object_grows_to_the_object():
    picture, truth = disc()
    rows, columns = np.mgrid[:80, :100]
    seed = torch.from_numpy(np.exp(-((rows - 44) ** 2 + (columns - 33) ** 2) / 150.0))  # off centre, smaller
    found = vh.segment_from_saliency(picture, seed)
    assert found.dtype == torch.bool and found.shape == (80, 100)
    assert iou(found, truth) > 0.95
    assert torch.equal(found, vh.segment_from_saliency(picture, seed))  # seeded


def test_height_and_width_and_the_inputs_keep_their_places():
    picture, truth = disc(size=(60, 120), centre=(20, 90), radius=12)
    pixels, heat = np.asarray(picture).copy(), truth.double()
    kept = pixels.copy(), heat.clone()
    found = vh.segment_from_saliency(pixels, heat)
    assert iou(found, truth) > 0.95
    assert np.array_equal(pixels, kept[0]) and torch.equal(heat, kept[1])


def test_a_composed_scene_from_its_own_mask():
    scene = vh.compose_scene("koala", background="taj_mahal")
    assert iou(vh.segment_from_saliency(scene.image, scene.masks[0].float()), scene.masks[0]) > 0.6


def test_what_cannot_be_segmented_is_one_sentence():
    picture, truth = disc()
    with pytest.raises(ValueError, match=r"map is \(40, 100\) but the picture is \(80, 100\)"):
        vh.segment_from_saliency(picture, truth[:40].float())
    with pytest.raises(ValueError, match="too flat"):
        vh.segment_from_saliency(picture, torch.zeros(80, 100))
    with pytest.raises(ValueError, match="0 < background < foreground < 1"):
        vh.segment_from_saliency(picture, truth.float(), foreground=0.2)
    with pytest.raises(ValueError, match="finite"):
        vh.segment_from_saliency(picture, truth.float() * float("nan"))
