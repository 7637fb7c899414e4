"""Figures of lessons 03, 12 and 13: what is on the Axes and in the pixels."""
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import vizhelpers as vh
from vizhelpers.figures import dot_map, grid_picture, group_colours, place, thumbnail_map
from vizhelpers.methods.cue_conflict import CONDITIONS
from vizhelpers.methods.scoreboard import MEASURES, Scoreboard
from vizhelpers.render import figure_pixels


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


# --- lesson 03 --------------------------------------------------------------------------------------------------------
def test_thumbnails_lie_at_their_points():
    assert place([[0, 0], [1, 1]], 100, 10).tolist() == [[10, 89], [89, 10]]
    thumbs = torch.stack([torch.full((3, 8, 8), v) for v in (0.0, 0.5)])
    page = thumbnail_map(torch.tensor([[0.0, 0], [1, 1]]), thumbs, size=100, side=10)
    (x0, y0), (x1, y1) = place(torch.tensor([[0.0, 0], [1, 1]]), 100, 7)
    assert page.shape == (100, 100, 3) and x0 < x1 and y0 > y1
    assert (page[y0, x0] == 0).all() and (page[y1, x1] == 128).all() and (page[50, 50] == 255).all()
    both = grid_picture([[0, 1], [1, 0]], thumbs, side=8)
    assert both.shape == (18, 18, 3) and both[2, 12, 0] == 0 and both[12, 2, 0] == 128 and both[2, 2, 0] == 255
    dots = dot_map([[0, 0], [1, 1]], ["a", "b"], size=60)
    assert {tuple(p) for p in dots.reshape(-1, 3).tolist()} >= {(31, 119, 180), (255, 127, 14)}
    for call in (thumbnail_map, grid_picture):
        with pytest.raises(ValueError, match="1 .* for 2 pictures"):
            call([[0, 0]], thumbs)


def test_maps_of_collections():
    thumbs, groups = torch.rand(37, 3, 8, 8), ["paintings"] * 8 + ["animals"] * 24 + ["balls"] * 5
    points = torch.randn(37, 2)
    ax = vh.show_points(points, groups, title="t")
    assert len(ax.collections) == 3 and "animals (24)" in [t.get_text() for t in ax.get_legend().get_texts()]
    assert sum(len(c.get_offsets()) for c in ax.collections) == 37
    assert vh.show_thumbnails(points, thumbs).images[0].get_array().shape == (1000, 1000, 3)
    assert vh.show_grid(vh.grid(points), thumbs).images[0].get_array().shape == (6 * 143, 7 * 143, 3)
    with pytest.raises(ValueError, match=r"whole numbers: vh.grid\(points\)"):
        vh.show_grid(points, thumbs)
    with pytest.raises(ValueError, match="one group for each"):
        vh.show_points(points, ["a"])
    assert len(set(group_colours(map(str, range(40))).values())) == 40


# --- lesson 12 --------------------------------------------------------------------------------------------------------
def test_shape_bias_and_conditions_show_the_numbers():
    found = {"net": vh.count_decisions([("cat", "dog", "cat"), ("dog", "cat", "cat"), ("dog", "car", "truck")])}
    ax = vh.show_shape_bias(found, published={"humans": 0.96, "AlexNet": 0.43})
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert labels == ["dog", "cat"] and "net: 50%" in ax.get_legend().get_texts()[0].get_text()
    assert list(ax.lines[0].get_xdata()) == [1.0, 0.0] and list(ax.lines[0].get_ydata()) == [1, 0]
    assert {"humans 96%", "AlexNet 43%"} <= {t.get_text() for t in ax.texts}
    accuracy = {"net": dict.fromkeys(CONDITIONS, 0.25), "humans": dict.fromkeys(CONDITIONS, 0.75)}
    ax = vh.show_conditions(accuracy, chance=1 / 16)
    assert sorted({round(bar.get_height(), 2) for bar in ax.patches}) == [0.25, 0.75]
    assert [t.get_text() for t in ax.get_xticklabels()] == list(CONDITIONS)
    for show in (vh.show_shape_bias, vh.show_conditions):
        with pytest.raises(ValueError, match="at least one"):
            show({})


def test_published_names_stand_apart_and_people_are_red():
    found = {who: vh.count_decisions([(c, "z", c) for c in "abcdefgh"]) for who in ("one", "you (ada)", "two")}
    ax = vh.show_shape_bias(found, published=vh.PUBLISHED_BIAS)
    assert [ax.lines[2 * n].get_color() for n in range(3)] == ["tab:blue", "tab:red", "tab:orange"]
    ax.figure.canvas.draw()
    boxes = [t.get_window_extent() for t in ax.texts if "%" in t.get_text()]
    assert len(boxes) == 11 and not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[:n])
    plt.close("all")
    picture = figure_pixels(lambda ax: vh.show_shape_bias(found, ax=ax), 8.0, 3.4)
    assert picture.dtype == np.uint8 and picture.shape[1:] == (640, 3) and not plt.get_fignums()


# --- lesson 13 --------------------------------------------------------------------------------------------------------
def test_the_scoreboard_has_a_panel_for_each_measure():
    mean = torch.tensor([[0.2, 0.4, 0.6, 0.8, float("nan"), 0.1], [0.5, 0.5, 0.95, 0.3, 1.0, 1.0]])
    board = Scoreboard(("saliency", "edges"), MEASURES, mean, mean - 0.1, mean + 0.1, {}, {})
    axes = vh.show_scoreboard(board, title="tiny")
    assert axes.shape == (2, 3) and [t.get_text() for t in axes[0, 0].get_yticklabels()] == ["saliency", "edges"]
    titles = [ax.get_title() for ax in axes.flat]
    assert titles[0] == "pointing game: right is better" and titles[5] == "random weights alike: left is better"
    interval, dot = axes[0, 1].lines[2:]  # of the edges, which never look at the net
    assert interval.get_xdata() == pytest.approx([0.4, 0.6]) and dot.get_xdata() == pytest.approx([0.5])
    assert dot.get_color() == "0.55" and axes[0, 1].lines[1].get_color() == "tab:blue"
