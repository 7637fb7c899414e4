"""Lesson 12's forced choice in a real browser: clicks are answers, answers are in the file, a re-run goes on."""

import io

import labdriver
import numpy as np
import pytest
from labdriver import SCREENSHOTS
from PIL import Image
from playwright.sync_api import TimeoutError

from vizhelpers.methods.cue_conflict import load_answers

NOTEBOOK = "experiment.ipynb"
TRIALS = 9
CELL = f"""import vizhelpers as vh
nets = {{"all texture": vh.count_decisions([(s.shape, s.texture, s.texture) for s in vh.cue_stimuli()])}}
vh.explore_observer(nets, observer="browser", trials={TRIALS})"""

pytestmark = labdriver.needs_browser


@pytest.fixture
def page(open_page):
    """A page with one notebook, the experiment; page.folder is where it writes."""
    labdriver.write_notebook(open_page.folder / NOTEBOOK, [CELL])
    page = open_page(NOTEBOOK)
    yield page
    page.close()


def experiment(page):
    box = page.locator(".vizhelpers-explorer").last
    box.wait_for(timeout=60_000)
    box.scroll_into_view_if_needed()
    return box


def button(box, name: str):
    return box.locator("button", has_text=name).first


def said(page, box, words: str, timeout: float = 30_000) -> None:
    """Wait until the experiment's line of text holds the words."""
    page.wait_for_function("([b, w]) => b.textContent.includes(w)", arg=[box.element_handle(), words], timeout=timeout)


def trial_is_shown(page, box, unlike: str = "") -> str:
    """Wait until the browser has decoded a new picture; its address."""
    page.wait_for_function(
        "([i, old]) => i.src !== old && i.complete && i.naturalWidth === 224",
        arg=[box.locator("img").first.element_handle(), unlike],
        timeout=30_000,
    )
    return box.locator("img").first.get_attribute("src")


def answer(page, box, category: str, left: int) -> None:
    goal = f"{left} to go" if left else f"{TRIALS} of {TRIALS}"
    for _ in range(5):
        page.wait_for_timeout(450)  # sooner than 300 ms after sending is refused: a busy kernel sends late
        button(box, category).click()
        try:
            return said(page, box, goal, timeout=15_000)
        except TimeoutError:
            assert "before the picture came" in box.inner_text()
    raise AssertionError(f"five clicks came too early for {goal!r}")


def test_clicks_are_kept_and_a_rerun_goes_on(page):
    cells = labdriver.run_all(page, 120_000)
    assert [error for _, error in cells if error] == []
    labdriver.watch_kernel_errors(page)
    box = experiment(page)
    file = page.folder / "answers" / "browser.csv"
    assert not file.exists() and button(box, "zebra").is_disabled()

    before = box.locator("img").first.get_attribute("src")
    button(box, "Start").click()
    shown = trial_is_shown(page, box, before)
    moving = bytes(page.evaluate("async u => Array.from(new Uint8Array(await (await fetch(u)).arrayBuffer()))", shown))
    assert Image.open(io.BytesIO(moving)).n_frames == 4, "the browser has the whole trial and keeps its time"
    stages = []
    for wait in (100, 1200):  # the cross or what follows; long after the mask
        page.wait_for_timeout(wait)
        stages.append(np.asarray(Image.open(io.BytesIO(box.locator("img").first.screenshot())).convert("RGB")))
    assert stages[1][20:-20, 20:-20].std() < 2, "at the end an even grey is left"
    page.screenshot(path=SCREENSHOTS / "lesson12-1-trial.png")
    for done in (1, 2, 3):
        answer(page, box, "zebra", TRIALS - done)
    assert [(a.answer, a.trial) for a in load_answers(file)] == [("zebra", 1), ("zebra", 2), ("zebra", 3)]
    assert all(0.3 < a.seconds < 60 for a in load_answers(file))

    cells = labdriver.run_all(page, 120_000)  # the reader runs the cell again
    assert [error for _, error in cells if error] == []
    box = experiment(page)
    said(page, box, f"3 of {TRIALS}")
    button(box, "Go on").click()
    for done in range(4, 7):
        answer(page, box, "violin", TRIALS - done)
    button(box, "Pause").click()
    said(page, box, f"6 of {TRIALS}")
    page.screenshot(path=SCREENSHOTS / "lesson12-2-pause.png")
    button(box, "Go on").click()
    for done in range(7, TRIALS + 1):
        answer(page, box, "truck", TRIALS - done)
    saved = load_answers(file)
    assert len(saved) == len({a.file for a in saved}) == TRIALS
    assert button(box, "Start").count() == 0 and button(box, "zebra").is_disabled()
    chart = box.locator("img").last
    page.wait_for_function("i => i.complete && i.naturalWidth > 400", arg=chart.element_handle())
    page.screenshot(path=SCREENSHOTS / "lesson12-3-end.png")
    assert labdriver.kernel_errors(page) == []
    assert page.errors == []
    assert page.outside == [], "a request left the machine"
