"""From numbers to pixels: hand-computed pictures."""
import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

import vizhelpers as vh
from vizhelpers import render
from vizhelpers.render import coloured, palette, probability_bars


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


def test_png_is_lossless_in_the_picture_s_own_mode():
    picture = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(8, 32))
    picture.putpalette(palette("viridis").tobytes())
    back = Image.open(io.BytesIO(vh.to_png(picture)))
    assert back.mode == "P" and np.array_equal(np.asarray(back.convert("RGB")), palette("viridis")[np.asarray(picture)])
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
    got = np.asarray(vh.overlay(np.zeros((30, 30, 3), np.uint8), torch.eye(3), opacity=1.0)).astype(int)
    value = np.abs(got[:, :, None] - render.palette("inferno")).sum(3).argmin(2)  # the colour's place in the map
    assert np.abs(value / 255 - (want / want.max()).numpy()).max() < 2 / 255


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


# --- what explorers put on the page -----------------------------------------------------------------------------------
def step(picture, colours="viridis"):
    """Which of the 256 colours each pixel has."""
    return (np.asarray(picture)[:, :, None].astype(int) == palette(colours)).all(-1).argmax(-1).tolist()


def test_a_map_is_coloured_from_0_up_or_around_0_and_nan_is_grey():
    values = torch.tensor([[-3.0, 0.0, 1.0, 2.0, 4.0, 9.0]])
    assert step(coloured(values, scale=4)) == [[0, 0, 63, 127, 255, 255]]
    assert step(coloured(values, "RdBu_r", scale=4), "RdBu_r") == [[31, 127, 159, 191, 255, 255]]
    assert step(coloured(values, scale=(1.0, 3.0))) == [[0, 0, 0, 127, 255, 255]]
    values[0, 2] = float("nan")
    assert np.asarray(coloured(values, scale=4))[0, 2].tolist() == [235, 235, 235]
    assert step(coloured(torch.zeros(1, 2))) == [[0, 0]]
    assert step(coloured(torch.zeros(1, 1), "RdBu_r"), "RdBu_r") == [[127]]


def test_the_strongest_colour_is_what_half_a_per_cent_exceeds():
    values = torch.arange(1.0, 1001).view(10, 100)
    top = float(np.quantile(values.numpy(), 0.995))
    assert step(coloured(values))[0][:3] == [int(v / top * 255) for v in (1, 2, 3)]
    assert step(coloured(values / 7, scale=values / 7)) == step(coloured(values))
    assert step(coloured(values, scale=-2 * values))[0][99] == int(100 / (2 * top) * 255)  # magnitudes count
    lonely = torch.zeros(40, 40)
    lonely[3, 4] = 7
    assert step(coloured(lonely))[3][4] == 255  # the 99.5th percentile is 0: then the largest


def test_blocks_are_added_up_before_they_are_coloured_also_in_the_scale():
    values = torch.tensor([[1.0, -1, 4, 0], [-1, 1, 0, 4], [2, 2, 0, 0], [2, 2, 0, 0]])
    assert step(coloured(values, "RdBu_r", blocks=2, scale=8), "RdBu_r") == [[127, 255], [255, 127]]
    assert step(coloured(values, blocks=2, scale=torch.full((4, 4), 4.0))) == [[0, 127], [127, 0]]


def test_sizes_enlarge_without_and_reduce_with_smoothing():
    values = torch.tensor([[0.0, 4.0, 0.0], [4.0, 0.0, 4.0]])
    big = coloured(values, side=50, scale=4)
    assert big.size == (75, 50) and np.unique(step(big)).tolist() == [0, 255]
    assert step(big)[0][24] == 0 and step(big)[0][25] == 255 and step(big)[25][24] == 255
    small = np.asarray(coloured(torch.arange(16.0).repeat(16, 1), "gray", 4))
    assert small.shape == (4, 4, 3) and 20 < small[0, 0, 0] < small[0, 1, 0] < small[0, 2, 0] < 240
    assert vh.to_picture(big, 100).size == (150, 100)


def test_a_sheet_places_tiles_in_rows():
    tiles = [Image.new("RGB", (6, 4), (n, 0, 0)) for n in (10, 20, 30)]
    page = render.sheet(tiles, 2)
    assert page.size == (12, 8)
    assert [page.getpixel(at)[0] for at in ((0, 0), (6, 3), (5, 4), (6, 4))] == [10, 20, 30, 255]
    page = render.sheet(tiles, side=12, ground=128)  # 12 x 8 pixels of each, in the middle of its square
    assert page.size == (48, 16) and page.getpixel((0, 1)) == (128, 128, 128) and page.getpixel((16, 2)) == (20, 0, 0)
    assert page.getpixel((12, 0)) == page.getpixel((0, 15)) == (255, 255, 255)


def test_titled_tiles_and_rows():
    tile = render.titled(torch.zeros(1, 3, 5, 5), "a name", 40)
    assert tile.size == (48, 68) and tile.getpixel((39, 61)) == (0, 0, 0) and tile.getpixel((40, 62)) == (255, 255, 255)
    assert np.asarray(tile)[:22].min() < 100  # the title
    empty = np.asarray(render.titled("it says why there is no map, in as many words as fit", "a name", 80))[22:-6, :-8]
    assert empty[-1, -1].tolist() == [235] * 3 and (empty < 100).any()
    line = render.row([Image.new("RGB", (4, 9)), np.zeros((5, 3, 3), np.uint8)])
    assert line.size == (15, 9) and line.getpixel((3, 8)) == line.getpixel((12, 4)) == (0, 0, 0)
    assert line.getpixel((5, 2)) == line.getpixel((13, 5)) == (255, 255, 255)


def test_the_marked_map_has_a_frame_and_the_others_are_as_in_the_mosaic():
    maps = torch.rand(10, 7, 7, generator=torch.Generator().manual_seed(0))
    page = np.asarray(render.marked_mosaic(maps, 9).convert("RGB"))
    plain = palette()[vh.mosaic(maps, scale=8).clip(max=254)]
    row, column = np.nonzero((page != plain).any(-1))
    assert (row.min(), row.max(), column.min(), column.max()) == (57, 112, 57, 112)  # the second row's second map
    assert (page[57, 57:113] == (255, 60, 60)).all() and (page[59:111, 59:111] == plain[59:111, 59:111]).all()
    assert render.marked_mosaic(torch.rand(8, 50, 34), 0).size == (8 * 35, 51)


def test_curves_as_pixels():
    """As the trial's explorer draws them, with a red line at the share that the slider means."""
    x, figures, places = torch.linspace(0, 1, 5), plt.get_fignums(), []
    for share in (0.25, 0.75):
        a = render.figure_pixels(lambda ax, share=share: vh.show_curves(x, {"falling": 1 - x}, ax=ax).axvline(
            share, color="tab:red"), 3.25, 2.8).astype(int)  # fmt: skip
        blue, red = (a[..., 2] - a[..., 0] > 60).sum(), (a[..., 0] - a[..., 2] > 60).nonzero()[1]
        assert a.shape == (224, 260, 3) and blue > 100 and len(red) > 100 and np.ptp(red) < 4
        places.append(red.mean())
    assert 80 < places[1] - places[0] < 130 and plt.get_fignums() == figures


def test_gradient_pictures_put_zero_where_it_belongs_and_keep_the_signs_apart():
    g = torch.tensor([4.0, -2.0, 0.0, 1.0]).view(1, 2, 2).repeat(3, 1, 1)
    want = {"all": [1, 0.25, 0.5, 0.625], "positive": [1, 0, 0, 0.25], "negative": [0, 0.5, 0, 0]}
    for part, values in want.items():
        for grey, channels in ((False, 3), (True, 1)):
            got = vh.gradient_picture(g, part=part, grey=grey, limit=4)
            assert got.shape == (channels, 2, 2)
            torch.testing.assert_close(got, torch.tensor(values).view(1, 2, 2).repeat(channels, 1, 1))
    red = torch.zeros(3, 1, 2)
    red[0, 0, 1], red[1, 0, 1] = 1.0, -1.0
    grey = vh.gradient_picture(red, grey=True, limit=1)
    assert grey[0, 0].tolist() == pytest.approx([0.5, 0.5 + (0.299 - 0.587) / 2])


def test_gradient_pictures_of_a_batch_and_of_nothing():
    g = torch.randn(2, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    g[1] *= 100
    got = vh.gradient_picture(g)
    torch.testing.assert_close(got[1], vh.gradient_picture(g[1]))
    assert got.shape == g.shape and 0.001 < (got[0] == 1).float().mean() + (got[0] == 0).float().mean() < 0.01
    assert (vh.gradient_picture(torch.zeros(3, 2, 2)) == 0.5).all()
    assert (vh.gradient_picture(torch.ones(3, 2, 2), part="negative") == 0).all()
    with pytest.raises(ValueError, match="not \\(2, 2\\)"):
        vh.gradient_picture(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="'all', 'positive' and 'negative', not 'pos'"):
        vh.gradient_picture(g, part="pos")
