"""The lint itself: the specimen is clean, and each way to break it is named in its own words."""

import json

import pytest
from specimen import specimen
from test_lint import lint, strip


def write(tmp_path, notebook, name="03_tsne_of_fc7"):
    path = tmp_path / f"{name}.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def edit(key, old, new):
    """A change: replace old by new in the source of the cell with that id."""

    def change(notebook):
        cell = next(c for c in notebook["cells"] if c["id"] == key)
        assert old in cell["source"], f"the specimen's cell {key} has no {old!r}"
        cell["source"] = cell["source"].replace(old, new)

    return change


def put(key, **fields):
    return lambda notebook: next(c for c in notebook["cells"] if c["id"] == key).update(fields)


def metadata(**fields):
    return lambda notebook: notebook["metadata"].update(fields)


def drop(key):
    return lambda notebook: notebook["cells"].remove(next(c for c in notebook["cells"] if c["id"] == key))


BROKEN = {
    "output": (put("setup", outputs=[{}]), "has stored outputs"),
    "count": (put("setup", execution_count=3), "has an execution count"),
    "cell metadata": (put("setup", metadata={"collapsed": True}), "metadata ['collapsed']"),
    "widget state": (metadata(widgets={}), "saved widget state"),
    "notebook metadata": (metadata(toc={}), "metadata: ['toc']"),
    "language version": (metadata(language_info={"name": "python", "version": "3.11.7"}), "language_info has"),
    "kernel": (metadata(kernelspec={"name": "viz"}), "kernelspec name must be python3"),
    "double id": (put("play-static", id="setup"), "ids must be unique"),
    "no id": (put("play-static", id=""), "has no id"),
    "absolute path": (edit("b1-code", "mean =", "open('/home/me/x.png')\nmean ="), "absolute path near"),
    "home path": (edit("b1-idea", "What", "In ~/pictures, what"), "absolute path near '~/pictures"),
    "pip": (edit("setup", "import torch\n", "!pip install torch\n"), "no !pip"),
    "magic": (edit("setup", "import torch\n", "%pip install torch\n"), "no !pip, no %pip"),
    "syntax": (edit("b1-code", "x.sum()", "x.sum("), "does not parse"),
    "endless cell": (edit("b1-code", "mean =", "x = x\n" * 26 + "mean ="), "29 non-blank lines, at most 25"),
    "long cell": (edit("b1-code", "mean =", "x = x\n" * 14 + "mean ="), "1 of 9 code cells exceed 15 lines"),
    "no title": (edit("title", "# The mean", "The mean"), "starts with '# <title>'"),
    "no sentence": (edit("title", "One number says how bright a picture is.\n\n", ""), "one sentence"),
    "no facts": (edit("title", " · Runs offline on CPU", ""), "Runs offline on CPU'"),
    "two titles": (edit("end", "## Summary", "# Summary"), "exactly one '# ' heading"),
    "missing section": (edit("play-text", "## Play", "Play"), "missing '## Play'"),
    "own section": (edit("end", "## References", "## Bonus\n\n## References"), "'## Bonus' is not part of the anatomy"),
    "too few minutes": (edit("title", "Time: 5", "Time: 0"), "wants 'Time: 5 minutes, exercises 8 · '"),
    "too long": (edit("end", "The mean", "The mean " * 4000), "at most 45: fold"),
    "order": (edit("end", "## Summary", "## References\n\n- x\n\n## Summary"), "'## References' appears twice"),
    "numbering": (edit("b1-idea", "## 1. ", "## 2. "), "blocks must be numbered"),
    "bullets": (edit("title", "- read it\n- check it", ""), "has 1 bullets"),
    "set-up import": (edit("setup", "import vizhelpers as vh", ""), "must 'import vizhelpers as vh'"),
    "set-up without checks": (edit("setup", "import checks\n", ""), "must 'import checks'"),
    "checks of the package": (edit("ex1-check", "checks.check_", "vh.check_"), "of their own: checks.check_largest"),
    "set-up order": (edit("setup", "import torch\n", "import torchvision\n"), "import vizhelpers before torchvision"),
    "set-up length": (edit("setup", "import torch", "import torch\n" * 9), "set-up cell has 11"),
    "no idea": (edit("b1-idea", "**Idea**", "Idea"), "no line that starts with **Idea**"),
    "long idea": (edit("b1-idea", "The mean", "The mean " * 60), "words, at most 120"),
    "open answer": (edit("b1-idea", "<details>", "<div>"), "no answer folded"),
    "no code": (drop("b1-code"), "**Code** has 0 code cells"),
    "figure without look": (edit("b1-code", "mean =", "vh.show_map(x)\nmean ="), "**Look** (cell 4 draws a figure)"),
    "no assert": (edit("b1-check", "assert ", ""), "no code cell with an assert"),
    "marker order": (edit("b1-idea", "**Idea**", "**Check** x\n\n**Idea**"), "appears 2 times"),
    "unclosed fold": (edit("ex1-folded", "</details>\n\n###", "\n\n###"), "a fold must close"),
    "raw fold": (edit("b1-idea", "</summary>\n\n", "</summary>\n"), "leave a blank line after </summary>"),
    "widget first": (edit("play-static", "torch", "vh.explore_features()\ntorch"), "a static call"),
    "nothing to try": (edit("play-text", "Try this", "Look"), "wants a 'Try this'"),
    "one exercise": (edit("ex1-folded", "### Exercise 2", "Exercise 2"), "1 '### Exercise N' headings"),
    "exercise number": (edit("ex1-folded", "### Exercise 2", "### Exercise 3"), "must begin with '### Exercise 2'"),
    "no difficulty": (edit("exercises", "Easy", "Short"), "exercise 1 names no difficulty"),
    "no minutes": (edit("exercises", "3 minutes", ""), "exercise 1 names no minutes"),
    "no check": (drop("ex2-check"), "exercise 2 has no check cell"),
    "busy check": (edit("ex1-check", "checks.try", "print(1)\nchecks.try"), "the check stands alone"),
    "no stub": (drop("ex1-stub"), "no stub cell above the check that defines 'largest'"),
    "no hint": (edit("ex1-folded", "Hint", "Help"), "no folded hints"),
    "no solution": (edit("ex2-folded", "```python", "```"), "exercise 2 has no folded solution"),
    "other solution": (edit("ex2-folded", "def spread", "def wrong"), "does not mention 'spread'"),
    "no failure": (drop("pitfalls"), "one real failure"),
    "no list": (edit("end", "- Nobody", "Nobody"), "'References' wants a list"),
}


def test_specimen_is_clean(tmp_path):
    assert lint(write(tmp_path, specimen())) == []


def test_an_appendix_and_what_is_folded_under_more_cost_no_minutes(tmp_path):
    notebook, long = specimen(), "word " * 9000
    edit("end", "in nothing.", f"in nothing.\n\n## Appendix: more\n\n{long}")(notebook)
    edit("b1-idea", "**Code**", f"<details><summary>More</summary>\n\n{long}\n\n</details>\n\n**Code**")(notebook)
    assert lint(write(tmp_path, notebook)) == []


@pytest.mark.parametrize("case", BROKEN)
def test_each_break_is_named(tmp_path, case):
    change, words = BROKEN[case]
    notebook = specimen()
    change(notebook)
    messages = lint(write(tmp_path, notebook))
    assert any(words in m for m in messages), f"wanted {words!r} among {messages}"


def test_name_must_be_in_the_table(tmp_path):
    assert "not in DESIGN.md's lesson table" in lint(write(tmp_path, specimen(), "15_more"))[0]


@pytest.mark.parametrize("name", ["90_playground", "A1_first_assignment"])
def test_playground_and_assignments_have_no_anatomy(tmp_path, name):
    notebook = specimen()
    notebook["cells"] = notebook["cells"][:2]
    assert lint(write(tmp_path, notebook, name)) == []


def test_urls_are_not_absolute_paths(tmp_path):
    notebook = specimen()
    edit("end", "Nobody", "[Nobody](https://example.org/home/data/x.pdf), `../data/`")(notebook)
    assert lint(write(tmp_path, notebook)) == []


def test_strip_makes_an_executed_notebook_clean(tmp_path):
    notebook = specimen()
    for change in ("output", "count", "cell metadata", "widget state", "language version", "kernel"):
        BROKEN[change][0](notebook)
    notebook["nbformat_minor"] = 4
    for cell in notebook["cells"]:
        del cell["id"]
    path = write(tmp_path, notebook)
    assert len(lint(path)) > 6
    strip(path)
    assert lint(path) == []
