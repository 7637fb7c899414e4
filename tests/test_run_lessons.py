"""`make lessons`: a line per lesson, readable pages, a failure that stops nothing and is not hidden."""

import base64
import re
from pathlib import Path

import nbformat
import pytest
import run_lessons

WIDGET_WITH_STILL = """from IPython.display import display
png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
view = {"version_major": 2, "version_minor": 0, "model_id": "none"}
display({"application/vnd.jupyter.widget-view+json": view, "image/png": png, "text/plain": "still"}, raw=True)"""


def write(path, *sources):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_markdown_cell("# Title")] + [nbformat.v4.new_code_cell(s) for s in sources]
    nbformat.write(notebook, path)


@pytest.fixture(scope="module")
def lessons(tmp_path_factory):
    """A folder with a lesson that fails and, after it, one that works."""
    folder = tmp_path_factory.mktemp("notebooks")
    write(folder / "00_fails.ipynb", "1 + 1", "1 / 0", "print('not reached')")
    figure = "import os; assert os.path.exists('01_works.ipynb')\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    write(folder / "01_works.ipynb", figure, WIDGET_WITH_STILL)
    return folder


def test_every_lesson_gets_a_line_and_a_page(lessons, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert run_lessons.main(["--notebooks", str(lessons), "--out", str(tmp_path)]) == 1
    fails, works, last = capsys.readouterr().out.splitlines()
    assert fails.startswith("00_fails") and fails.endswith(" s  FAILED  cell 3: ZeroDivisionError: division by zero")
    assert works.startswith("01_works") and works.endswith(" s  ok")
    assert last.startswith("1 of 2 lessons ran")
    assert "ZeroDivisionError" in (tmp_path / "00_fails.html").read_text()
    page = (tmp_path / "01_works.html").read_text()
    assert page.count('src="data:image/png;base64,') == 2, "the figure and the widget's still picture"
    assert '<script type="application/vnd.jupyter.widget' not in page
    assert 'src="http' not in page and 'src=""' not in page


def test_one_lesson_by_name(lessons, tmp_path, capsys):
    assert run_lessons.main(["--notebooks", str(lessons), "--out", str(tmp_path), "01_works"]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["01_works.html"]


def test_unknown_lesson_is_an_error(lessons, tmp_path, capsys):
    assert run_lessons.main(["--notebooks", str(lessons), "--out", str(tmp_path), "02_none"]) == 1
    assert "No such lesson" in capsys.readouterr().err


def test_mathjax_only_where_there_is_a_formula():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("costs 5 $")])
    assert "mathjax/" not in run_lessons.to_html(notebook, "x", Path()).lower()
    notebook.cells[0].source = "area $a^2$"
    assert "mathjax/" in run_lessons.to_html(notebook, "x", Path()).lower()


def test_folded_text_stays_folded_and_linked_pictures_come_along(tmp_path):
    (tmp_path / "a b.png").write_bytes(b"picture")
    source = "<details><summary>Answer</summary>\n\nIt is **two**.\n\n</details>\n\n![alt](a%20b.png)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(source)])
    page = run_lessons.to_html(notebook, "x", tmp_path)
    fold = re.search(r"<details><summary>Answer</summary>(.*?)</details>", page, re.S)
    assert "<strong>two</strong>" in fold[1]
    assert f"data:image/png;base64,{base64.b64encode(b'picture').decode()}" in page
