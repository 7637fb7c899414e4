"""Lesson 02 in a real JupyterLab in a real browser: it runs, and the slider moves the picture."""

import io
import os
import shutil
from pathlib import Path

import labdriver
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
LESSON = "02_inside_the_layers.ipynb"
SCREENSHOTS = ROOT / "build" / "screenshots"
RUN_ALL = 300_000  # ms: lesson 02 takes well under a minute alone, and shares two cores here
# The lesson's last explorer; its first slider.
EXPLORER = ".jp-Notebook .vizhelpers-explorer"

pytestmark = pytest.mark.skipif(
    labdriver.browser_path() is None,
    reason="no Chromium or Chrome on this machine; `make test` installs Debian's where it is root (build/apt.log)",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page on a throw-away JupyterLab that shows copies of the lessons; page.base, page.outside, page.errors."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    os.symlink(ROOT / "data", folder / "data")  # lessons may show a picture by its relative link
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with (
        labdriver.server(folder, log=SCREENSHOTS / "jupyterlab.log") as (base, token),
        sync_playwright() as playwright,
    ):
        browser = labdriver.launch(playwright)
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.outside, page.errors = [], []
        page.on("request", lambda r: page.outside.append(r.url) if _leaves(r.url, base) else None)
        page.on("pageerror", lambda e: page.errors.append(str(e)))
        labdriver.open_notebook(page, base, token, f"notebooks/{LESSON}")
        yield page
        browser.close()


def _leaves(url: str, base: str) -> bool:
    return not url.startswith((base, base.replace("http", "ws"), "data:", "blob:"))


class Explorer:
    """The widget on the page: keys go in, pictures come out."""

    def __init__(self, page):
        self.page = page
        self.box = page.locator(EXPLORER).last
        self.handle = self.box.locator(".widget-slider .noUi-handle").first
        self.image = self.box.locator("img").first
        self.handle.wait_for(timeout=60_000)
        self.box.scroll_into_view_if_needed()

    def press(self, key: str, value: int) -> None:
        """Press a key on the slider and wait until slider and kernel have settled on value."""
        self.handle.focus()
        self.page.keyboard.press(key)
        self.page.wait_for_function(
            "([h, v]) => Number(h.getAttribute('aria-valuenow')) === v", arg=[self.handle.element_handle(), value]
        )
        self.page.wait_for_timeout(100)  # the change travels to the kernel, which is idle until it arrives
        labdriver.wait_idle(self.page)

    def picture(self, unlike: bytes | None = None) -> bytes:
        """The picture file that the page shows, once it is loaded; waits up to 20 s for one unlike the given one."""
        for _ in range(100):
            found = bytes(self.image.evaluate(SHOWN))
            if found and found != unlike:
                return found
            self.page.wait_for_timeout(200)
        return found

    def screen(self, name: str) -> np.ndarray:
        """The pixels of the picture on the screen; keeps a screenshot of the page."""
        self.page.screenshot(path=SCREENSHOTS / f"lesson02-{name}.png")
        return np.asarray(Image.open(io.BytesIO(self.image.screenshot())).convert("RGB"))


SHOWN = """async i => i.complete && i.naturalWidth > 0
    ? Array.from(new Uint8Array(await (await fetch(i.src)).arrayBuffer())) : []"""


def test_lesson_runs_and_the_slider_moves_the_picture(page):
    cells = labdriver.run_all(page, RUN_ALL)
    assert [error for _, error in cells if error] == []
    assert cells[-1][0] == len(cells), "every code cell ran"
    labdriver.watch_kernel_errors(page)

    explorer = Explorer(page)
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
