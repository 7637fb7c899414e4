"""From numbers to pixels: hand-computed pictures."""
import io

import numpy as np
import pytest
import torch
from PIL import Image

import vizhelpers as vh
from vizhelpers.render import palette, probability_bars


@pytest.mark.parametrize("shape", [(3, 4, 6), (1, 3, 4, 6), (4, 6, 3), (4, 6), (1, 4, 6)])
def test_every_shape_of_a_picture(shape):
    picture = vh.to_picture(np.full(shape, 0.5, np.float32))
    assert picture.mode == "RGB" and picture.size == (6, 4) and picture.getpixel((5, 3)) == (128, 128, 128)


def test_float_is_clipped_and_rounded_and_uint8_is_kept():
    values = torch.tensor([[-1.0, 0.0, 1.0, 2.0, 0.5 / 255, 0.4 / 255]])
    assert np.asarray(vh.to_picture(values))[0, :, 0].tolist() == [0, 0, 255, 255, 1, 0]
    exact = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(np.asarray(vh.to_picture(exact))[..., 1], exact)


def test_channels_stay_in_order():
    red = torch.zeros(3, 5, 7)
    red[0] = 1
    assert vh.to_picture(red).getpixel((6, 4)) == (255, 0, 0)


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (5, 4, 4), (4,), (3, 3, 3, 3, 3)])
def test_what_is_no_picture_is_said(shape):
    with pytest.raises(ValueError, match=r"not \(") as error:
        vh.to_picture(np.zeros(shape))
    assert "\n" not in str(error.value)


def test_mosaic_of_maps_by_hand():
    maps = np.array([[[0, 1], [2, 4]], [[5, 5], [5, 5]], [[-1, 0], [0, 1]]], np.float32)
    each = vh.mosaic(maps, columns=2)
    assert each.tolist() == [[0, 63, 0, 0, 0, 0], [127, 255, 0, 0, 0, 0], [0] * 6,
                             [0, 127, 0, 0, 0, 0], [127, 255, 0, 0, 0, 0], [0] * 6]  # fmt: skip
    shared = vh.mosaic(maps, columns=3, shared=True)
    assert shared[:2, :2].tolist() == [[42, 85], [127, 212]] and shared[0, 3] == 255 and shared[0, 6] == 0
    assert vh.mosaic(maps[:1], columns=1, limit=8)[:2, :2].tolist() == [[0, 31], [63, 127]]


def test_mosaic_enlarges_without_smoothing():
    big = vh.mosaic(np.array([[[0.0, 1.0]]]), columns=1, scale=3)
    assert big.shape == (4, 7) and (big[:3, :3] == 0).all() and (big[:3, 3:6] == 255).all()


def test_mosaic_of_filters_keeps_zero_grey():
    filters = torch.zeros(2, 3, 1, 2)
    filters[0, 0, 0, 0], filters[0, 2, 0, 1], filters[1, 1, 0, 0] = 2.0, -2.0, 1.0
    each = vh.mosaic(filters, columns=2)
    assert each[0, 0].tolist() == [255, 128, 128] and each[0, 1].tolist() == [128, 128, 0]
    assert each[0, 3].tolist() == [128, 255, 128]
    assert vh.mosaic(filters, columns=2, shared=True)[0, 3].tolist() == [128, 191, 128]


def test_mosaic_changes_nothing_and_takes_zeros():
    maps = torch.zeros(4, 3, 3)
    assert not vh.mosaic(maps).any() and not maps.any()
    with pytest.raises(ValueError, match="mosaic takes"):
        vh.mosaic(torch.zeros(3, 3))


def test_png_is_lossless_through_its_colour_table():
    picture = np.arange(256, dtype=np.uint8).reshape(8, 32)
    back = np.asarray(Image.open(io.BytesIO(vh.to_png(picture))).convert("RGB"))
    assert np.array_equal(back, palette("viridis")[picture])
    rgb = np.stack([picture] * 3, -1)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(vh.to_png(rgb)))), rgb)


def test_overlay_puts_heat_where_the_map_is_large():
    """One hot cell on 160x224, rows and columns not swapped, negatives dark, the picture itself unchanged."""
    image = Image.new("RGB", (224, 160), (100, 100, 100))
    heat = torch.zeros(5, 7)
    heat[1, 5] = 3.0
    heat[4, 0] = -9.0
    out = np.asarray(vh.overlay(image, heat, opacity=1.0), int).sum(2)
    row, column = divmod(int(out.argmax()), 224)
    assert out.shape == (160, 224) and 32 <= row < 64 and 160 <= column < 192
    assert out[150, 5] == out[5, 5] and image.getpixel((0, 0)) == (100, 100, 100)
    plain = np.asarray(vh.overlay(image, torch.zeros(5, 7), opacity=0.0))
    assert (plain == 100).all()


def test_overlay_is_bilinear_without_aligned_corners():
    eye = torch.eye(3)[None, None]
    want = torch.nn.functional.interpolate(eye, (30, 30), mode="bilinear", align_corners=False)[0, 0]
    got = np.asarray(vh.overlay(np.zeros((30, 30, 3), np.uint8), torch.eye(3), opacity=1.0, colours="gray"))[..., 0]
    assert np.abs(got / 255 - (want / want.max()).numpy()).max() < 2 / 255


def test_box_is_drawn_inside_its_pixels_on_a_copy():
    image = Image.new("RGB", (20, 10))
    a = np.asarray(vh.draw_box(image, (2, 4, 8, 15), colour="red", width=1))[..., 0]
    rows, columns = np.nonzero(a)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 7, 4, 14)
    assert a[4, 8] == 0 and not np.asarray(image).any()


def test_probability_bars_are_as_long_as_they_say():
    a = probability_bars(["koala", "a label that is much too long to fit"], [1.0, 0.25], width=440)
    blue = (a == (31, 119, 180)).all(-1)
    assert a.shape == (52, 440, 3) and blue[13].sum() == 211 and blue[39].sum() in range(52, 55)
