"""The explorers of lessons 03, 10, 11 and 13 in a real browser: keys move them, Start grows, Stop stops."""

import io
import re

import labdriver
import numpy as np
import pytest
from explorerdriver import Explorer
from PIL import Image

pytestmark = labdriver.needs_browser
NOTEBOOK = "explorers.ipynb"
CELLS = {
    "embedding": """import vizhelpers as vh, torch
net = vh.load_model("squeezenet1_1")
e = vh.embed(net, [*vh.library()[:40:2], *[p for p in vh.library() if p.name.endswith('koala')][:1]])
points = vh.tsne(e.features, perplexity=5)
vh.explore_embedding(e, maps={5: points, 7: vh.tsne(e.features, perplexity=7)})""",
    "synthesis": "vh.explore_synthesis(net, size=64, steps=400)",
    "style": "vh.explore_style(['koala', 'coffee'], ['great_wave', 'spring'], size=64, steps=60, stages=1)",
    "trust": "vh.explore_trust(net, 'koala', methods=['guided backprop', 'Grad-CAM'], steps=5)",
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with one explorer in each cell, all run."""
    folder = tmp_path_factory.mktemp("lab")
    labdriver.write_notebook(folder / NOTEBOOK, list(CELLS.values()))
    with labdriver.page_on(folder, NOTEBOOK, "jupyterlab-explorers.log") as page:
        cells = labdriver.run_all(page, 240_000)
        assert [error for _, error in cells if error] == []
        labdriver.watch_kernel_errors(page)
        yield page
        assert labdriver.kernel_errors(page) == [] and page.errors == [] and page.outside == []


def explorer(page, name: str, **which) -> Explorer:
    box = page.locator(".jp-CodeCell").nth(list(CELLS).index(name)).locator(".vizhelpers-explorer")
    return Explorer(page, box, f"explorer-{name}", **which)


def steps_done(widget: Explorer) -> int:
    return int(re.search(r"step (\d+) of", widget.text()).group(1))


def stopped_and_gone_on(page, widget: Explorer, start: str) -> None:
    """Start; watch it move; Stop; nothing moves any more; Start goes on from there; another choice forgets it."""
    before = widget.picture()
    widget.click(start)
    moved = widget.picture(unlike=before)
    assert moved != before, "the picture changes while the steps run"
    widget.click("Stop")
    widget.settle()
    page.wait_for_timeout(300)
    done, kept = steps_done(widget), widget.picture()
    page.wait_for_timeout(1500)
    assert steps_done(widget) == done and widget.picture() == kept, "Stop stops"
    widget.screen("stopped")
    widget.click(start)
    widget.picture(unlike=kept)
    page.wait_for_timeout(500)
    assert steps_done(widget) > done, "Start goes on from where it stood"
    widget.use(slider=0)
    widget.press("Home", int(float(widget.handle.get_attribute("aria-valuemin"))))
    widget.press("ArrowRight", int(float(widget.handle.get_attribute("aria-valuemin"))) + 1)
    page.wait_for_timeout(500)
    assert "step" not in widget.text() or steps_done(widget) == 0, "another choice begins anew"
    widget.screen("another")


def test_the_map_follows_the_slider_and_the_name(page):
    widget = explorer(page, "embedding")
    widget.press("Home", 0)
    widget.wait_for_text("perplexity 5")
    first = widget.picture()
    widget.press("ArrowRight", 1)
    second = widget.picture(unlike=first)
    assert first != second
    widget.wait_for_text("perplexity 7")
    widget.use(slider=1)
    widget.press("ArrowRight", 1)
    third = widget.picture(unlike=second)
    assert third != second
    box = widget.box.locator("input[type=text]").last
    box.fill("koala")
    box.press("Enter")
    widget.wait_for_text("koala (red)")
    assert widget.picture(unlike=third) != third
    widget.screen("found")
    assert np.asarray(Image.open(io.BytesIO(widget.picture()))).std() > 5


def test_a_picture_grows_and_stops(page):
    stopped_and_gone_on(page, explorer(page, "synthesis", picture=2), "Grow one")


def test_a_painting_is_painted_and_stops(page):
    stopped_and_gone_on(page, explorer(page, "style", picture=2), "Start")


def test_random_weights_and_deleted_pixels_at_the_keyboard(page):
    widget = explorer(page, "trust", picture=1)
    trained = widget.picture()
    widget.press("ArrowRight", 1)
    random = widget.picture(unlike=trained)
    assert random != trained and "random from the top down" in widget.text()
    widget.screen("random")
    widget.use(slider=1, picture=2)
    whole = widget.picture()
    widget.press("End", 5)
    assert widget.picture(unlike=whole) != whole and "100% deleted" in widget.text()
    widget.screen("deleted")
