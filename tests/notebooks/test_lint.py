"""Notebook lint: stripped, portable, short cells, and the anatomy of DESIGN.md.

For authors: `python tests/notebooks/test_lint.py notebooks/01_x.ipynb` lists what to mend, and
`python tests/notebooks/test_lint.py --strip notebooks/01_x.ipynb` first removes outputs, counts and stray metadata.
specimen.py beside this file builds a minimal lesson that passes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from lesson import NOTEBOOKS, Lesson
from lint_rules import ANATOMY, EVERY, NAMES


def lint(path) -> list[str]:
    """Every rule a notebook breaks, as 'where: what' sentences; an empty list is a clean notebook."""
    lesson = Lesson.read(path)
    rules = EVERY if re.match(r"90_|A\d", lesson.path.stem) else EVERY + ANATOMY
    return [f"{message} [{rule.__name__}]" for rule in rules for message in rule(lesson)]


def strip(path) -> None:
    """Remove outputs, counts and stray metadata from a notebook file; give ids where they are missing."""
    raw = json.loads(Path(path).read_text(encoding="utf-8"))
    raw.update(nbformat=4, nbformat_minor=max(5, raw.get("nbformat_minor", 0)))
    spec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    raw["metadata"] = {"kernelspec": spec, "language_info": {"name": "python"}}
    for i, cell in enumerate(raw["cells"], 1):
        cell["metadata"] = {k: v for k, v in cell["metadata"].items() if k in ("tags", "nbgrader")}
        cell.setdefault("id", f"cell-{i:03d}")
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    Path(path).write_text(json.dumps(raw, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def pytest_generate_tests(metafunc):
    if "notebook" in metafunc.fixturenames:
        found = sorted(NOTEBOOKS.glob("*.ipynb"))
        metafunc.parametrize("notebook", found, ids=[p.stem for p in found])


def test_notebook_is_clean(notebook):
    broken = lint(notebook)
    assert not broken, "\n".join([f"{notebook.name} breaks {len(broken)} rules:", *broken])


def test_the_promised_lessons_are_there():
    missing = [n for n in NAMES[:3] if not (NOTEBOOKS / f"{n}.ipynb").is_file()]
    assert not missing, f"notebooks/ lacks {missing}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lint lesson notebooks.")
    parser.add_argument("--strip", action="store_true", help="first remove outputs, counts and stray metadata")
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(NOTEBOOKS.glob("*.ipynb")))
    options = parser.parse_args()
    failed = 0
    for path in options.notebooks:
        if options.strip:
            strip(path)
        messages = lint(path)
        failed += bool(messages)
        print(f"{path}: {'clean' if not messages else f'{len(messages)} to mend'}")
        print("".join(f"  {m}\n" for m in messages), end="")
    sys.exit(bool(failed))
