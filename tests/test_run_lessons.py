"""`make lessons`: a line per lesson, readable pages, a failure that stops nothing and is not hidden."""

import base64
import json
import re
from pathlib import Path

import assert_numbers
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
    assert re.fullmatch(r"00_fails +\d+\.\d s +FAILED  cell 3: ZeroDivisionError: division by zero", fails)
    peak = re.fullmatch(r"01_works +\d+\.\d s +(\d\.\d\d) GB  ok", works)
    assert 0.05 < float(peak[1]) < 1, "what a kernel with matplotlib holds"
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


def test_the_copies_for_three_ways_note_both_sides_of_every_comparison(tmp_path):
    cell = """x = 3  # stays
for y in (1, 2): assert 0 < y < x, 'y is between'  # é
assert all(v > 1
           for v in (2, 5))
assert x"""
    seen = []
    exec(assert_numbers.noting(cell, 7), {"_side": lambda where, value: seen.append((where, value)) or value})
    assert seen == [("7.1.1", 1), ("7.1.2", 3), ("7.1.1", 2), ("7.1.2", 3), ("7.2.1", 2), ("7.2.1", 5), ("7.3.1", 3)]
    assert assert_numbers.noting("%matplotlib inline\nassert x", 1) == "%matplotlib inline\nassert x"


def test_numbers_alike_and_not(tmp_path, capsys):
    for way, number in zip(assert_numbers.WAYS, (1.0, 1.00001, 1.0), strict=True):
        (folder := tmp_path / way.replace(" ", "_")).mkdir()
        lines = [["4.1.1", [number]], ["5.1.1", [2 * round(number, 1) + (way == "AVX2")]], ["5.1.2", "koala"]]
        (folder / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert_numbers.compare(["a"], tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("3 sides of comparisons, of them alike to four digits: 2") and said[1].split()[1] == "5.1.1"
