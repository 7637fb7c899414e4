"""Every explorer in a real browser, in JupyterLab and in Notebook 7: each control by mouse and by keyboard, nonsense in
every box, own photographs good and bad, Save, re-runs; it says how much was tried and what held."""

import importlib.util
import re
import time

import labdriver
import pytest
from explorerdriver import SHOWN

import vizhelpers as vh

NOTEBOOK = "explorers.ipynb"
SETUP = """import torch, warnings, ipywidgets, vizhelpers as vh
from collections import OrderedDict
from torch import nn
warnings.simplefilter("ignore")
torch.manual_seed(3)
PWN = "<img src=x onerror=window.pwned=1>"
quick = nn.Sequential(OrderedDict(
    first=nn.Conv2d(3, 6, 5, stride=4), on=nn.ReLU(), features_12_expand3x3=nn.Conv2d(6, 90, 3), relu=nn.ReLU(),
    mean=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), last=nn.Linear(90, 6))).eval().requires_grad_(False)
quick.viz = vh.images.ModelInfo("quick " + PWN, 64, 64, categories=("koala", "espresso", "cat", "wild cat", PWN, "cow"))
net, pictures = vh.load_model("squeezenet1_1"), {"koala": "koala", PWN: "coffee"}
tiny = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
collection = vh.embed(quick, vh.library()[:24:2])
points = torch.rand(12, 2)"""
CELLS = {
    "predictions": "vh.explore_predictions(quick, pictures)",
    "filters": "vh.explore_filters({'quick': quick, 'other': tiny}, 'koala')",
    "features": "vh.explore_features(quick, pictures)",
    "patches": "vh.explore_patches(quick, vh.to_input(['koala', 'coffee'], quick), ['first', 'relu'], progress=False)",
    "embedding": "vh.explore_embedding(collection, maps={3: points, 4: points.flip(0)}, size=300)",
    "saliency": "vh.explore_saliency(quick, pictures, steps=6)",
    "relu rules": "vh.explore_relu_rules(quick, pictures)",
    "cam": "vh.explore_cam(quick, pictures)",
    "two nets": "vh.explore_cam({'quick': quick, 'other': quick}, pictures)",
    "methods": "vh.explore_methods(quick, pictures)",
    "trust": "vh.explore_trust(quick, pictures, methods=['saliency', 'edges'], steps=4)",
    "fooling": "vh.explore_fooling(quick, pictures, 'espresso', steps=3)",
    "occlusion": "vh.explore_occlusion(quick, 'koala', patch=32, stride=32)",
    "synthesis": "vh.explore_synthesis(net, size=32, steps=300)",
    "style": "vh.explore_style(pictures, 'ejiri', net=tiny, size=32, steps=400, style_layers=['relu1_1'], "
             "content_layer='relu1_1')",
    "stimuli": "vh.explore_stimuli({PWN: net})",
}
COUNT = "print(len(ipywidgets.widgets.widget._instances))"
FRONTS = {"lab": "doc/tree", "notebook": "notebooks"}
needs_notebook = pytest.mark.skipif(importlib.util.find_spec("notebook") is None, reason="notebook 7 is not installed")

pytestmark = labdriver.needs_browser


class Walk:
    """Tries what a page's explorers have, one thing after another, and remembers what did not hold."""

    def __init__(self, page, front: str, files):
        self.page, self.front, self.files, self.tried, self.failed = page, front, files, 0, []

    def check(self, held: bool, what: str) -> None:
        self.tried += 1
        if not held:
            self.failed.append(f"{self.name}: {what}")

    def idle(self) -> None:
        self.page.wait_for_timeout(40)
        labdriver.wait_idle(self.page)

    def until(self, condition: str, argument) -> bool:
        """Whether a condition of the page holds within five seconds."""
        end = time.monotonic() + 5
        while not (held := self.page.evaluate(condition, argument)) and time.monotonic() < end:
            self.page.wait_for_timeout(30)
        return bool(held)

    def explorer(self, name: str) -> None:
        self.name = name
        cell = self.page.locator(".jp-CodeCell").nth(1 + list(CELLS).index(name))
        self.box = cell.locator(".vizhelpers-explorer").first
        self.box.wait_for(timeout=60_000)
        for control in self.box.locator("select").all():
            self.dropdown(control)
        for control in self.box.locator(".widget-slider").all():
            self.slider(control)
        for control in self.box.locator("input[type=text]").all():
            self.nonsense(control)
        if self.box.locator("button", has_text="Stop").count():
            self.long_work()
        if self.box.locator("button", has_text="your own").count():
            self.photographs()
        self.tools()
        self.layout(name)

    def pictures(self) -> list:
        return [image.evaluate(SHOWN) for image in self.box.locator("img").all()]

    def note(self) -> str:
        return self.box.inner_text()

    def dropdown(self, control) -> None:
        if not control.is_visible():
            return
        count = control.locator("option").count()
        control.select_option(index=count - 1)  # the mouse
        self.idle()
        self.check(control.evaluate("s => s.selectedIndex") == count - 1 and "Error" not in self.note(), "a drop-down")
        control.focus()
        self.page.keyboard.press("Home")
        self.idle()
        self.check(control.evaluate("s => s.selectedIndex") == 0 and "Error" not in self.note(), "Home in a drop-down")

    def slider(self, control) -> None:
        handle = control.locator(".noUi-handle")
        if not control.is_visible() or handle.get_attribute("aria-disabled") == "true" or control.locator(
                "[disabled]").count():  # fmt: skip
            return
        now = "h => Number(h.getAttribute('aria-valuenow'))"
        low, high = (float(handle.get_attribute(f"aria-value{end}")) for end in ("min", "max"))
        readout = control.locator(".widget-readout")
        for key, goal in (("Home", low), ("End", high)):
            handle.focus()
            self.page.keyboard.press(key)
            self.idle()
            self.check(handle.evaluate(now) == goal and "Error" not in self.note(), f"{key} on a slider")
            self.check(readout.evaluate("r => r.scrollWidth <= r.clientWidth + 1"), "a readout that is cut")
        control.locator("xpath=../button[contains(., '◀')]").click()
        self.idle()
        self.check(handle.evaluate(now) < high, "a step button")
        track = control.locator(".noUi-base").bounding_box()
        self.page.mouse.click(track["x"] + track["width"] * 0.25, track["y"] + track["height"] / 2)
        self.idle()
        self.check(low <= handle.evaluate(now) < high and "Error" not in self.note(), "a click on a slider")

    def nonsense(self, control) -> None:
        if not control.is_visible():
            return
        shown = self.pictures()
        control.fill("<b>qqzz")
        control.press("Enter")
        self.check(self.until("([b, w]) => b.innerText.includes(w)", [self.box.element_handle(), "Error"]), "nonsense")
        self.check(self.pictures() == shown, "nonsense changed the picture")
        chooser = self.box.locator("select").first
        chooser.select_option(index=chooser.evaluate("s => s.options.length - 1 - s.selectedIndex"))
        self.idle()
        self.check("Error" not in self.note(), "an error that stays after the next move")

    def long_work(self) -> None:
        start, stop = self.box.locator("button.mod-success").first, self.box.locator("button", has_text="Stop")
        bar = "b => b.querySelector('.progress-bar').style.width"
        start.click()
        self.until("b => parseFloat(b.querySelector('.progress-bar').style.width) > 0", self.box.element_handle())
        start.click(force=True)  # it is grey already
        stop.evaluate("b => b.click()")
        self.idle()
        self.page.wait_for_timeout(100)
        done = self.box.evaluate(bar)
        self.page.wait_for_timeout(200)
        self.check(self.box.evaluate(bar) == done != "0%", "Stop stops, and keeps what is done")
        if done != "100%":
            start.click()
            held = self.until("([b, w]) => b.querySelector('.progress-bar').style.width !== w",
                              [self.box.element_handle(), done])  # fmt: skip
            self.check(held, "Start goes on")
            stop.evaluate("b => b.click()")
            self.idle()

    def photographs(self) -> None:
        shown = self.pictures()
        self.upload("own.jpg")
        chosen = "b => [...b.querySelectorAll('select')].some(s => s.selectedOptions[0].text === 'own.jpg')"
        self.check(self.until(chosen, self.box.element_handle()), "an own photograph is chosen")
        self.idle()
        self.page.wait_for_timeout(100)
        shown, before = self.pictures(), shown
        self.check(shown != before and "Error" not in self.note(), "and shown")
        self.upload("bad.png")
        self.check(self.until("([b, w]) => b.innerText.includes(w)", [self.box.element_handle(), "bad.png: "]),
                   "a bad file is said")  # fmt: skip
        self.check(self.pictures() == shown, "a bad file changes nothing")

    def upload(self, name: str) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.box.locator("button", has_text="your own").first.click()
        chooser.value.set_files(self.files / name)

    def tools(self) -> None:
        self.box.locator("button", has_text="Save").click()
        self.check(self.until("([b, w]) => b.innerText.includes(w)", [self.box.element_handle(), "saved: "]), "Save")
        found = re.search(r"saved: (\S+)", self.note())
        if found:
            told = vh.read_provenance(found[1])
            self.check(told["explorer"].startswith("explore_") and bool(told["settings"]), "what a saved picture says")
        if self.box.locator("button", has_text="read values").count():
            self.box.locator("button", has_text="read values").click()
            self.idle()
            self.slider(self.box.locator(".widget-slider").last)
            self.check(bool(re.search(r"row \d+, column \d+ of \d+ x \d+: ", self.note())), "a value is read")

    def layout(self, name: str) -> None:
        """At both widths: no picture sticks out, captions lie under their pictures."""
        for width in (1280, 1000):
            self.page.set_viewport_size({"width": width, "height": 1000})
            self.box.scroll_into_view_if_needed()
            wide = self.box.evaluate("b => b.getBoundingClientRect().right")
            for image in self.box.locator("img").all():
                place = image.bounding_box()
                self.check(place["x"] + place["width"] <= max(wide, width) + 2, "a picture's place")
            self.box.screenshot(path=labdriver.SCREENSHOTS / f"{self.front}-{name.replace(' ', '-')}-{width}.png")


@pytest.mark.parametrize("front", ["lab", pytest.param("notebook", marks=needs_notebook)])
def test_every_explorer_by_mouse_and_by_keyboard(front, tmp_path, capsys):
    begun = time.perf_counter()
    labdriver.write_notebook(tmp_path / NOTEBOOK, [SETUP, *CELLS.values(), COUNT])
    vh.load_image("giraffe").save(tmp_path / "own.jpg")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG but not really")
    with labdriver.page_on(tmp_path, NOTEBOOK, f"explorers-{front}.log", FRONTS[front]) as page:
        page.set_viewport_size({"width": 1280, "height": 1000})
        cells = labdriver.run_all(page, 240_000)
        assert [error for _, error in cells if error] == []
        widgets = [counted(page)]
        labdriver.watch_kernel_errors(page)
        walk = Walk(page, front, tmp_path)
        for name in CELLS:
            walk.explorer(name)
        for _ in range(5 if front == "lab" else 1):
            cells = labdriver.run_all(page, 240_000, first=1)
            assert [error for _, error in cells if error] == []
            widgets.append(counted(page))
        walk.name = "all"
        walk.check(len(set(widgets)) == 1, f"re-runs leave widgets: {widgets}")
        walk.check(page.evaluate("window.pwned") is None, "a name became HTML")
        odd = [error for error in labdriver.kernel_errors(page) if not re.search("qqzz|bad.png", error)]
        walk.check(odd == [], f"errors in the kernel: {odd}")
        with capsys.disabled():
            print(f"\n{front}: tried {walk.tried}, passed {walk.tried - len(walk.failed)}, "
                  f"{time.perf_counter() - begun:.0f} s")  # fmt: skip
        assert walk.failed == [] and page.outside == []
        assert front == "notebook" or page.errors == []  # Notebook 7 has one of its own, about settings


def counted(page) -> int:
    text = page.locator(".jp-CodeCell").last.locator(".jp-OutputArea-output").inner_text()
    return int(text.strip())
