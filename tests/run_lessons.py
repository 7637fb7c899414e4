"""Execute every lesson top to bottom and write it as HTML with its pictures inside: `make lessons`.

Usage: python tests/run_lessons.py [--notebooks FOLDER] [--out FOLDER] [--copies FOLDER] [--jobs 2] [NAME ...]

One line per lesson: name, seconds, the most memory that its kernel held, ok or FAILED with the error. A failure does
not stop the others; the exit status is 1 if one failed. The page of a failed lesson is written too, up to the error. A
widget is shown by the still picture in its output. Pages load nothing from anywhere, except MathJax where the lesson
contains a formula; without a network such a formula is shown as its TeX source.
"""

from __future__ import annotations

import argparse
import base64
import mimetypes
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import nbformat
from assert_numbers import prepared
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter

ROOT = Path(__file__).resolve().parents[1]
WIDGET = "application/vnd.jupyter.widget-view+json"
CELL_TIMEOUT = 600  # seconds: generous, these are no tests
# Resident memory at its peak in GB; getrusage, which macOS has, begins on Linux with what the parent held.
PEAK = """import pathlib, re, resource
status = pathlib.Path("/proc/self/status")
print(int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) / 1e6 if status.exists()
      else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9)"""
PICTURE = re.compile(r'(<img\b[^>]*\bsrc=")(?!data:|https?:)([^"]+)(")')  # a link relative to the lesson
FORMULA = re.compile(r"\$[^\s$][^$]*\$|\\[(\[]|\\begin\{")


def still_pictures(notebook: nbformat.NotebookNode) -> None:
    """Leave a widget's still picture (or its text): a live view in a page without a kernel would stay empty."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if WIDGET in data and len(data) > 1:
                del data[WIDGET]
    notebook.metadata.pop("widgets", None)


def embedded(picture: Path) -> str:
    """A picture file as a data URL. (nbconvert's embed_images closes every <details> before its content.)"""
    kind = mimetypes.guess_type(picture.name)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(picture.read_bytes()).decode()}"


def to_html(notebook: nbformat.NotebookNode, title: str, folder: Path) -> str:
    """One self-contained page; folder is where the lesson's relative picture links start."""
    still_pictures(notebook)
    exporter = HTMLExporter(template_name="lab")
    exporter.require_js_url = exporter.jquery_url = exporter.mermaid_js_url = ""
    if not any(c.cell_type == "markdown" and FORMULA.search(c.source) for c in notebook.cells):
        exporter.mathjax_url = ""
    page = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title, "path": str(folder)}})[0]
    page = re.sub(r'<script src="">\s*</script>', "", page)
    return PICTURE.sub(lambda m: m[1] + embedded(folder / unquote(m[2])) + m[3], page)


def execute(notebook: nbformat.NotebookNode, folder: Path) -> str | None:
    """Run every cell in place, the kernel starting in folder; the error in one line, or None."""
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources=resources,
        store_widget_state=False,
        extra_arguments=["--log-level=ERROR"],  # else every kernel warns on the terminal that it listens on loopback
    )
    try:
        client.execute()
    except CellExecutionError as error:
        number = 1 + max(i for i, c in enumerate(notebook.cells) if c.get("outputs") or c.get("execution_count"))
        return f"cell {number}: {error.ename}: {str(error.evalue).splitlines()[0] if error.evalue else ''}".rstrip(": ")
    except (CellTimeoutError, DeadKernelError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return None


def run(path: Path, out: Path, numbers: bool = False, copies: Path | None = None) -> bool:
    """Execute one lesson, write its page, print its line; whether it went well."""
    start = time.perf_counter()
    notebook = nbformat.read(path, 4)
    if numbers:
        prepared(notebook, (out / f"{path.stem}.jsonl").resolve())
    notebook.cells.append(nbformat.v4.new_code_cell(PEAK))
    error = execute(notebook, path.parent)
    last = notebook.cells.pop()
    peak = "" if error else f"{float(last.outputs[0].text):5.2f} GB"
    if copies:
        nbformat.write(notebook, copies / path.name)
    page = out / f"{path.stem}.html"
    page.write_text(to_html(notebook, path.stem, path.parent), encoding="utf-8")
    said = f"FAILED  {error}" if error else "ok"
    print(f"{path.stem:36} {time.perf_counter() - start:6.1f} s {peak:>8}  {said}", flush=True)
    return error is None


def main(arguments: list[str] | None = None) -> int:
    """Run the lessons that were asked for; the exit status."""
    parser = argparse.ArgumentParser(description="Execute the lessons and write them as HTML.")
    parser.add_argument("names", nargs="*", help="lessons such as 02_inside_the_layers (default: all)")
    parser.add_argument("--notebooks", type=Path, default=ROOT / "notebooks")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "lessons")
    parser.add_argument("--copies", type=Path, help="write the executed notebooks into this folder, too")
    parser.add_argument("--jobs", type=int, default=1, help="lessons at the same time, each then on one thread")
    parser.add_argument("--numbers", action="store_true", help="write what the asserts compare to OUT/NAME.jsonl")
    options = parser.parse_args(arguments)
    lessons = sorted(p for p in options.notebooks.glob("*.ipynb") if not p.stem.startswith("A"))  # no solutions
    lessons = [p for p in lessons if not options.names or p.stem in options.names]
    if not lessons or len(lessons) < len(options.names):
        print(f"No such lesson in {options.notebooks}: {' '.join(options.names) or '*.ipynb'}", file=sys.stderr)
        return 1
    os.environ.pop("MPLBACKEND", None)  # inherited by the kernels, it would keep their figures off the page
    options.out.mkdir(parents=True, exist_ok=True)
    if options.copies:
        options.copies.mkdir(parents=True, exist_ok=True)
    if options.jobs > 1:
        os.environ["OMP_NUM_THREADS"] = "1"
    with ThreadPoolExecutor(options.jobs) as pool:
        results = [*pool.map(lambda path: run(path, options.out, options.numbers, options.copies), lessons)]
    print(f"{sum(results)} of {len(results)} lessons ran; pages in {options.out}")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
