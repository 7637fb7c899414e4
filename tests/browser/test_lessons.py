"""In a real JupyterLab in a real browser: lesson 01 runs and its slider moves the picture; in lesson 12's forced choice
clicks are answers, answers are in the file, and a re-run goes on."""

import io
import os
import shutil

import labdriver
import numpy as np
from explorerdriver import Explorer
from labdriver import ROOT, SCREENSHOTS
from PIL import Image
from playwright.sync_api import TimeoutError

from vizhelpers.methods.cue_conflict import load_answers

LESSON = "01_first_layer_filters.ipynb"
RUN_ALL = 300_000  # ms: it takes ten seconds alone, and shares two cores here
NOTEBOOK = "experiment.ipynb"
TRIALS = 6
CELL = f"""import vizhelpers as vh
nets = {{"all texture": vh.count_decisions([(s.shape, s.texture, s.texture) for s in vh.cue_stimuli()])}}
vh.explore_observer(nets, observer="browser", trials={TRIALS})"""

pytestmark = labdriver.needs_browser


def test_lesson_runs_and_the_slider_moves_the_picture(open_page):
    shutil.copytree(ROOT / "notebooks", open_page.folder / "notebooks")
    os.symlink(ROOT / "data", open_page.folder / "data")  # lessons may show a picture by its relative link
    page = open_page(f"notebooks/{LESSON}")
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


def test_clicks_are_kept_and_a_rerun_goes_on(open_page):
    labdriver.write_notebook(open_page.folder / NOTEBOOK, [CELL])
    page = open_page(NOTEBOOK)
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
    for done in (1, 2):
        answer(page, box, "zebra", TRIALS - done)
    assert [(a.answer, a.trial) for a in load_answers(file)] == [("zebra", 1), ("zebra", 2)]
    assert all(0.3 < a.seconds < 60 for a in load_answers(file))

    cells = labdriver.run_all(page, 120_000)  # the reader runs the cell again
    assert [error for _, error in cells if error] == []
    box = experiment(page)
    said(page, box, f"2 of {TRIALS}")
    button(box, "Go on").click()
    for done in range(3, 5):
        answer(page, box, "violin", TRIALS - done)
    button(box, "Pause").click()
    said(page, box, f"4 of {TRIALS}")
    page.screenshot(path=SCREENSHOTS / "lesson12-2-pause.png")
    button(box, "Go on").click()
    for done in range(5, TRIALS + 1):
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
    page.close()
