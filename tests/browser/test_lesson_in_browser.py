"""Lesson 01 in a real JupyterLab in a real browser: it runs, and the slider moves the picture."""

import os
import shutil

import labdriver
import numpy as np
import pytest
from explorerdriver import Explorer
from labdriver import ROOT

LESSON = "01_first_layer_filters.ipynb"
RUN_ALL = 300_000  # ms: it takes a quarter of a minute alone, and shares two cores here

pytestmark = labdriver.needs_browser


@pytest.fixture
def page(open_page):
    """A page that shows a copy of the lesson."""
    shutil.copytree(ROOT / "notebooks", open_page.folder / "notebooks")
    os.symlink(ROOT / "data", open_page.folder / "data")  # lessons may show a picture by its relative link
    page = open_page(f"notebooks/{LESSON}")
    yield page
    page.close()


def test_lesson_runs_and_the_slider_moves_the_picture(page):
    cells = labdriver.run_all(page, RUN_ALL)
    assert [error for _, error in cells if error] == []
    assert cells[-1][0] == len(cells), "every code cell ran"
    labdriver.watch_kernel_errors(page)

    explorer = Explorer(page, page.locator(".vizhelpers-explorer").last, "lesson01")
    low, high = (int(float(explorer.handle.get_attribute(f"aria-value{end}"))) for end in ("min", "max"))
    assert high > low
    explorer.press("Home", low)
    first, first_screen = explorer.picture(), explorer.screen("1-first")
    explorer.press("ArrowRight", low + 1)
    second, second_screen = explorer.picture(unlike=first), explorer.screen("2-next")
    explorer.press("End", high)
    last, last_screen = explorer.picture(unlike=second), explorer.screen("3-last")
    explorer.press("Home", low)
    again, again_screen = explorer.picture(unlike=last), explorer.screen("4-back")

    assert len({first, second, last}) == 3, "the picture's bytes differ at three positions of the slider"
    assert again == first, "back at the start the picture is the first one again"
    for screen in (first_screen, second_screen, last_screen):
        assert screen.std() > 5, "a blank picture on the screen"
    assert not np.array_equal(first_screen, second_screen) and not np.array_equal(second_screen, last_screen)
    np.testing.assert_array_equal(first_screen, again_screen)
    assert labdriver.kernel_errors(page) == []
    assert page.errors == []
    assert page.outside == [], "a request left the machine"
