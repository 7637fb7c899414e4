"""Every explorer in a real browser, in JupyterLab and in Notebook 7: each control by mouse and by keyboard, nonsense in
every box, own photographs good and bad, Save, re-runs; it says how much was tried and what held. Notebook 7, which
differs by its keys, gets one explorer of each kind."""

import importlib.util
import re
import time

import labdriver
import psutil
import pytest

import vizhelpers as vh

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
CELLS = {  # the last four are walked in Notebook 7, too
    "predictions": "vh.explore_predictions(quick, pictures)",
    "filters": "vh.explore_filters({'quick': quick, 'other': tiny}, 'koala')",
    "patches": "vh.explore_patches(quick, vh.to_input(['koala', 'coffee'], quick), ['first', 'relu'], progress=False)",
    "embedding": "vh.explore_embedding(collection, maps={3: points, 4: points.flip(0)}, size=300)",
    "saliency": "vh.explore_saliency(quick, pictures, steps=6)",
    "relu rules": "vh.explore_relu_rules(quick, pictures)",
    "cam": "vh.explore_cam(quick, pictures)",
    "methods": "vh.explore_methods(quick, pictures)",
    "trust": "vh.explore_trust(quick, pictures, methods=['saliency', 'edges'], steps=4)",
    "occlusion": "vh.explore_occlusion(quick, 'koala', patch=32, stride=32)",
    "style": "vh.explore_style(pictures, 'ejiri', net=tiny, size=32, steps=400, style_layers=['relu1_1'], "
             "content_layer='relu1_1')",
    "stimuli": "vh.explore_stimuli({PWN: net})",
    "features": "vh.explore_features(quick, pictures)",
    "two nets": "vh.explore_cam({'quick': quick, 'other': quick}, pictures)",
    "fooling": "vh.explore_fooling(quick, pictures, 'espresso', steps=3)",
    "synthesis": "vh.explore_synthesis(net, size=32, steps=300)",
}
COUNT = "print(len(ipywidgets.widgets.widget._instances))"
FRONTS = {"lab": ("doc/tree", [*CELLS]), "notebook": ("notebooks", [*CELLS][-4:])}  # address, explorers
needs_notebook = pytest.mark.skipif(importlib.util.find_spec("notebook") is None, reason="notebook 7 is not installed")

pytestmark = labdriver.needs_browser


class Walk:
    """Tries what a page's explorers have, one thing after another, and remembers what did not hold."""

    def __init__(self, page, front: str):
        self.page, self.front, self.names, self.tried, self.failed = page, front, FRONTS[front][1], 0, []

    def check(self, held: bool, what: str) -> None:
        self.tried += 1
        if not held:
            self.failed.append(f"{self.name}: {what}")

    def idle(self) -> None:
        """Wait until the kernel has been idle for 80 ms: a change is sent within 50 ms, and another may follow it."""
        self.page.evaluate("""async () => {
            const {context} = window.jupyterapp.shell.currentWidget;
            for (let since = performance.now(); performance.now() - since < 80;) {
                await new Promise(done => setTimeout(done, 10));
                if (context.sessionContext.session?.kernel?.status !== 'idle') since = performance.now();
            }}""")

    def still(self) -> None:
        """Wait until the explorer's pictures are there and it has not moved for 200 ms: a click goes to a place."""
        self.box.evaluate("""async b => {
            let before = '', same = 0;
            while (same < 4) {
                await new Promise(done => setTimeout(done, 50));
                const {top, height} = b.getBoundingClientRect();
                const now = [...b.querySelectorAll('img')].every(i => i.complete) ? `${top} ${height}` : '';
                same = now && now === before ? same + 1 : 0;
                before = now;
            }}""")

    def until(self, condition: str, argument) -> bool:
        """Whether a condition of the page holds before long."""
        end = time.monotonic() + 20
        while not (held := self.page.evaluate(condition, argument)) and time.monotonic() < end:
            self.page.wait_for_timeout(30)
        return bool(held)

    def look_at(self, name: str) -> None:
        self.name = name
        cell = self.page.locator(".jp-CodeCell").nth(1 + self.names.index(name))
        self.box = cell.locator(".vizhelpers-explorer").first
        self.box.wait_for(timeout=60_000)

    def explorer(self, name: str) -> None:
        self.look_at(name)
        self.page.evaluate("n => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = n; }",
                           1 + self.names.index(name))  # else the first click moves the page
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

    def pictures(self) -> list[str]:
        """The addresses of the pictures: each picture that comes has one of its own."""
        return self.box.evaluate("b => [...b.querySelectorAll('img')].map(i => i.src)")

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
        low, high = (float(handle.get_attribute(f"aria-value{end}")) for end in ("min", "max"))
        readout = control.locator(".widget-readout")

        def stands(below: float, least: float = low) -> bool:
            """Whether the slider, which may be drawn anew, comes to stand in a range."""
            end, now = time.monotonic() + 20, least - 1
            while not least <= now < below and time.monotonic() < end:
                self.page.wait_for_timeout(30)
                now = float(handle.get_attribute("aria-valuenow"))
            return least <= now < below and "Error" not in self.note()

        handle.focus()
        self.page.keyboard.press("End")
        self.idle()
        self.check(stands(high + 1e-9, high), "End on a slider")
        whole = """r => r.scrollWidth <= r.clientWidth + 1
            && r.getBoundingClientRect().right <= r.parentElement.getBoundingClientRect().right + 1"""
        self.check(readout.evaluate(whole), "a readout that is cut")
        self.still()
        control.locator("xpath=../button[contains(., '◀')]").click()
        self.idle()
        self.check(stands(high), "a step button")
        track = control.locator(".noUi-base").bounding_box()
        self.page.mouse.click(track["x"] + track["width"] * 0.25, track["y"] + track["height"] / 2)
        self.idle()
        self.check(stands(high), "a click on a slider")

    def nonsense(self, control) -> None:
        if not control.is_visible():
            return
        self.idle()
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
        chooser.value.set_files(self.page.folder / name)

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
            said = "b => /row \\d+, column \\d+ of \\d+ x \\d+: /.test(b.innerText)"
            self.check(self.until(said, self.box.element_handle()), "a value is read")

    def layout(self, width: int) -> None:
        """No picture sticks out of a page of this width."""
        self.page.set_viewport_size({"width": width, "height": 1000})
        for name in self.names:
            self.look_at(name)
            self.box.scroll_into_view_if_needed()
            wide, ends = self.box.evaluate("""b => [b.getBoundingClientRect().right,
                [...b.querySelectorAll('img')].map(i => i.getBoundingClientRect().right)]""")
            for end in ends:
                self.check(end <= max(wide, width) + 2, "a picture's place")
            self.box.screenshot(path=labdriver.SCREENSHOTS / f"{self.front}-{name.replace(' ', '-')}-{width}.png")


@pytest.mark.parametrize("front", ["lab", pytest.param("notebook", marks=needs_notebook)])
def test_every_explorer_by_mouse_and_by_keyboard(front, open_page, capsys):
    begun, (address, names) = time.perf_counter(), FRONTS[front]
    vh.load_image("giraffe").save(open_page.folder / "own.jpg")
    (open_page.folder / "bad.png").write_bytes(b"\x89PNG but not really")
    labdriver.write_notebook(open_page.folder / f"{front}.ipynb", [SETUP, *(CELLS[name] for name in names), COUNT])
    page = open_page(f"{front}.ipynb", address)
    assert [error for _, error in labdriver.run_all(page, 240_000) if error] == []
    labdriver.watch_kernel_errors(page)
    walk, widgets = Walk(page, front), [counted(page)]
    page.set_viewport_size({"width": 1280, "height": 1000})
    for name in names:
        walk.explorer(name)
    for width in (1280, 1000):
        walk.layout(width)
    for _ in range(5):
        assert [error for _, error in labdriver.run_all(page, 240_000, first=1) if error] == []
    widgets.append(counted(page))
    walk.name = "all"
    walk.check(len(set(widgets)) == 1, f"re-runs leave widgets: {widgets}")
    walk.check(page.evaluate("window.pwned") is None, "a name became HTML")
    odd = [error for error in labdriver.kernel_errors(page) if not re.search("qqzz|bad.png", error)]
    walk.check(odd == [], f"errors in the kernel: {odd}")
    spent = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    with capsys.disabled():
        print(f"\n{front}: tried {walk.tried}, passed {walk.tried - len(walk.failed)}, "
              f"{time.perf_counter() - begun:.0f} s, {sum(s.user + s.system for s in spent):.0f} s of CPU so far")
    outside, errors = page.outside, page.errors
    page.close()
    assert walk.failed == [] and outside == []
    assert front == "notebook" or errors == []  # Notebook 7 has one of its own, about settings


def counted(page) -> int:
    text = page.locator(".jp-CodeCell").last.locator(".jp-OutputArea-output").inner_text()
    return int(text.strip())
