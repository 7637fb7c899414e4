"""Figures: what is on the Axes, not only that something was drawn."""
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

import vizhelpers as vh


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_pictures_are_shown_as_they_are():
    images = [Image.new("RGB", (8, 6), (10, 20, 30)), torch.zeros(3, 5, 9)]
    axes = vh.show_images(images, ["a", "b"])
    assert [ax.get_title() for ax in axes] == ["a", "b"]
    assert np.asarray(axes[0].images[0].get_array())[0, 0].tolist() == [10, 20, 30]
    assert axes[1].images[0].get_array().shape == (5, 9, 3)


def test_a_batch_and_a_single_picture():
    assert len(vh.show_images(torch.rand(7, 3, 4, 4), columns=3)) == 7
    assert len(vh.show_images(torch.rand(3, 4, 4), "one")) == 1
    with pytest.raises(ValueError, match="2 pictures and 1 titles"):
        vh.show_images(torch.rand(2, 3, 4, 4), ["only one"])


def test_signed_maps_get_a_symmetric_scale():
    ax = vh.show_map(torch.tensor([[-1.0, 3.0]]))
    assert ax.images[0].get_clim() == (-3, 3) and ax.images[0].get_cmap().name == "RdBu_r"
    ax = vh.show_map(torch.tensor([[1.0, 3.0]]))
    assert ax.images[0].get_clim() == (0, 3) and ax.images[0].get_cmap().name == "viridis"
    assert vh.show_map(torch.zeros(2, 2), limit=5).images[0].get_clim() == (0, 5)
    with pytest.raises(ValueError, match="one map"):
        vh.show_map(torch.zeros(3, 2, 2))


def test_bars_name_the_highest_channels():
    values = torch.zeros(50)
    values[[7, 31]] = torch.tensor([2.0, 5.0])
    ax = vh.show_bars(values, top=2, title="t")
    assert [text.get_text() for text in ax.texts] == ["31", "7"] and ax.get_title() == "t"
    heights = {int(segment[0, 0]): segment[1, 1] for segment in ax.collections[0].get_segments()}
    assert heights[31] == 5 and heights[7] == 2 and heights[0] == 0
    with pytest.raises(ValueError, match="one value per channel"):
        vh.show_bars(torch.zeros(2, 3))


def test_predictions_are_bars_of_probability():
    answer = [vh.targets.Prediction("koala", 0.9, 105, 12.0), vh.targets.Prediction("wombat", 0.05, 106, 9.0)]
    ax = vh.show_predictions(answer)
    assert [bar.get_width() for bar in ax.patches] == [0.9, 0.05]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["koala", "wombat"] and ax.yaxis_inverted()


def test_curves_and_mosaic():
    ax = vh.show_curves([0, 1, 2], {"a": [1, 2, 3], "b": torch.ones(3)}, xlabel="x", ylabel="y")
    assert [line.get_label() for line in ax.lines] == ["a", "b"] and ax.get_xlabel() == "x"
    assert vh.show_mosaic(torch.rand(10, 3, 4, 4)).images[0].get_array().shape == (50, 200, 3)  # each weight 6x6


def test_a_given_axes_is_used():
    _, ax = plt.subplots()
    assert vh.show_map(torch.ones(2, 2), ax=ax) is ax and vh.show_bars(torch.ones(3), ax=ax) is ax
    assert len(plt.get_fignums()) == 1


def test_show_strip():
    picture = torch.rand(3, 8, 8)
    axes = vh.show_strip({"a": [picture, picture], "b": [picture, picture]}, ["left", "right"])
    assert axes.shape == (2, 2) and axes[0, 1].get_title() == "right" and axes[1, 0].get_ylabel() == "b"
    with pytest.raises(ValueError, match="2 pictures in each row"):
        vh.show_strip({"a": [picture]}, ["left", "right"])
