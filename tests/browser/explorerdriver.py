"""An explorer on a page: keys and clicks go in, pictures come out."""

from __future__ import annotations

import io

import labdriver
import numpy as np
from PIL import Image

SHOWN = """async i => i.complete && i.naturalWidth > 0
    ? Array.from(new Uint8Array(await (await fetch(i.src)).arrayBuffer())) : []"""


class Explorer:
    """One explorer: its box on the page, a slider of it, and a picture of it, by number."""

    def __init__(self, page, box, name: str, slider: int = 0, picture: int = 0):
        self.page, self.box, self.name = page, box, name
        self.box.wait_for(timeout=120_000)
        self.box.scroll_into_view_if_needed()
        self.use(slider, picture)

    def use(self, slider: int = 0, picture: int = 0) -> None:
        """From now on this slider and this picture."""
        self.handle = self.box.locator(".widget-slider .noUi-handle").nth(slider)
        self.image = self.box.locator("img").nth(picture)

    def press(self, key: str, value: int) -> None:
        """Press a key on the slider and wait until slider and kernel have settled on value."""
        self.handle.focus()
        self.page.keyboard.press(key)
        self.page.wait_for_function(
            "([h, v]) => Number(h.getAttribute('aria-valuenow')) === v", arg=[self.handle.element_handle(), value]
        )
        self.settle()

    def settle(self) -> None:
        self.page.wait_for_timeout(100)  # the change travels to the kernel, which is idle until it arrives
        labdriver.wait_idle(self.page)

    def click(self, name: str) -> None:
        """Click a button by its words."""
        self.box.locator("button", has_text=name).first.click()

    def text(self) -> str:
        return self.box.inner_text()

    def wait_for_text(self, words: str, timeout: float = 60_000) -> None:
        """Wait until the explorer says these words."""
        self.page.wait_for_function(
            "([b, w]) => b.textContent.includes(w)", arg=[self.box.element_handle(), words], timeout=timeout
        )

    def picture(self, unlike: bytes | None = None) -> bytes:
        """The picture file that the page shows, once it is loaded; waits up to 20 s for one unlike the given one."""
        for _ in range(100):
            found = bytes(self.image.evaluate(SHOWN))
            if found and found != unlike:
                return found
            self.page.wait_for_timeout(200)
        return found

    def screen(self, step: str) -> np.ndarray:
        """The pixels of the picture on the screen; keeps a screenshot of the page."""
        self.page.screenshot(path=labdriver.SCREENSHOTS / f"{self.name}-{step}.png")
        return np.asarray(Image.open(io.BytesIO(self.image.screenshot())).convert("RGB"))
