"""Film a slider in a real JupyterLab for the README: `python tests/browser/film.py` writes data/readme/slider.webp."""
import io
import tempfile
from pathlib import Path

import labdriver
from explorerdriver import Explorer
from PIL import Image

FILM = labdriver.ROOT / "data" / "readme" / "slider.webp"
CELL = """import vizhelpers as vh
net = vh.load_model("vgg16")
vh.explore_features(net, "india_gate", layers=["features.3", "features.8", "features.15", "features.22"])"""
FRAMES = ([(1, "PageUp")] * 5 + [(0, "ArrowRight")]) * 4  # (slider, key): channel by channel, then the next layer


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        labdriver.write_notebook(Path(folder, "film.ipynb"), [CELL])
        with labdriver.page_on(Path(folder), "film.ipynb", "film.log") as page:
            page.set_viewport_size({"width": 1000, "height": 900})
            labdriver.run_all(page, 120_000)
            explorer = Explorer(page, page.locator(".vizhelpers-explorer").first, "film")
            pictures = []
            for slider, key in FRAMES:
                explorer.use(slider)
                explorer.handle.focus()
                page.keyboard.press(key)
                explorer.settle()
                page.wait_for_timeout(400)
                pictures.append(Image.open(io.BytesIO(explorer.box.screenshot())).convert("RGB"))
    size = tuple(max(p.size[n] for p in pictures) for n in (0, 1))
    pages = [Image.new("RGB", size, "white") for _ in pictures]
    for page, picture in zip(pages, pictures, strict=True):
        page.paste(picture)
    pages[0].save(FILM, save_all=True, append_images=pages[1:], duration=600, loop=0, quality=60, method=6)
    print(f"{FILM}: {len(pages)} frames of {size[0]}x{size[1]}, {FILM.stat().st_size / 1e6:.2f} MB")
    pages[-1].save(labdriver.SCREENSHOTS / "film-last.png")


if __name__ == "__main__":
    main()
