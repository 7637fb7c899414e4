"""Hand-ins of every kind, made from an assignment's source and its student version, with the points they should get.

`make grade-check` grades all of them, of each assignment, and prints designed and actual points.
"""
import ast
import copy
import importlib
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
if __name__ == "__main__":  # the gradebook of the real hand-ins stays out of this
    place = tempfile.TemporaryDirectory(prefix="kinds-")
    os.environ["GRADE_BUILD"] = place.name
import grade  # noqa: E402
import hand_in  # noqa: E402
from collect import question_of  # noqa: E402

FULL = 20


def nonsense(text: str) -> str:
    """An answer in which nothing is right: every function returns a string, every class can do nothing."""
    parts = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert parts, f"no function in {text!r}"
    return "\n".join(f"class {p.name}:\n    def __init__(self, *given): pass" if isinstance(p, ast.ClassDef)
                     else f"def {p.name}(*given, **more):\n    return 'nonsense'" for p in parts)  # fmt: skip


def at_every_call(text: str, line: str) -> str:
    """`line` as the first statement of every function in the cell, of methods too."""
    lines = text.split("\n")
    for node in sorted(ast.walk(ast.parse(text)), key=lambda n: getattr(n, "lineno", 0), reverse=True):
        if isinstance(node, ast.FunctionDef):
            first = node.body[0]
            lines.insert(first.lineno - 1, " " * first.col_offset + line)
    return "\n".join(lines)


class HandIn:
    """A student's notebook on the way: the release with cells by grade id, and the source's right answers."""

    def __init__(self, name: str, released: Path):
        self.name = name
        self.notebook = nbformat.read(released, 4)
        self.right = grade.cells_of(grade.WORK / "source" / name / released.name)
        self.cells = {c.metadata.nbgrader.grade_id: c for c in self.notebook.cells if "nbgrader" in c.metadata}
        questions = list(dict.fromkeys(question_of(i) for i, c in self.right.items() if tests(c)))
        self.first, self.second = questions[:2]
        self.quickest = min(questions, key=lambda question: len(self.tests(question)))

    def answers(self, question: str = "") -> dict:
        return {i: c for i, c in self.cells.items() if c.metadata.nbgrader.solution and c.cell_type == "code"
                and question in ("", question_of(i))}  # fmt: skip

    def solve(self):
        for grade_id, cell in self.answers().items():
            cell.source = re.sub(r" *### (BEGIN|END) SOLUTION\n?", "", self.right[grade_id].source)
        return self

    def spoil(self, question: str, change) -> float:
        """Change the answers of a question; the points that are left when it gets none."""
        for cell in self.answers(question).values():
            cell.source = change(cell.source)
        return FULL - sum(c.metadata.nbgrader.points for c in self.tests(question).values())

    def tests(self, question: str = "") -> dict:
        return {i: c for i, c in self.cells.items() if tests(c) and question in ("", question_of(i))}


def tests(cell) -> bool:
    return bool(cell.metadata.nbgrader.grade) and cell.cell_type == "code"


def right(h):
    h.solve()
    return FULL


def wrong(h):
    for question in {question_of(i) for i in h.answers()}:
        h.solve().spoil(question, nonsense)
    h.solve()
    return h.spoil("", nonsense)


def slip(h):
    """The first named slip of the first question; the judge in one process says which cells it fails."""
    slips = importlib.import_module(f"answers_{h.name}").SLIPS
    question, _, answers, cell, _ = next(s for s in slips if f"{h.name.lower()}_{s[0]}" == h.first)
    h.solve()
    for grade_id, answer in answers.items():
        h.cells[grade_id].source = hand_in.changed(h.cells[grade_id].source, answer)
    said = hand_in.judged(h.name, question, answers)
    assert said[cell]
    return FULL - sum(h.cells[key].metadata.nbgrader.points for key, sentence in said.items() if sentence)


def blank(h):
    return 0


def tampered(h):
    """The tests of the first question say `pass`."""
    left = h.solve().spoil(h.first, nonsense)
    for cell in h.tests(h.first).values():
        cell.source = "pass"
    return left


def deleted_cell(h):
    left = h.solve().spoil(h.second, nonsense)
    h.notebook.cells = [c for c in h.notebook.cells if all(c is not t for t in h.tests(h.second).values())]
    return left


def copied_cell(h):
    """Blank copies of the first question's cells, metadata and all, are left above the right ones."""
    blank = [copy.deepcopy(c) for c in (*h.answers(h.first).values(), *h.tests(h.first).values())]
    h.solve()
    h.notebook.cells[1:1] = blank
    return FULL


def lost_metadata(h):
    h.solve()
    for cell in h.notebook.cells:
        cell.metadata.clear()
    return FULL


def warns(h):
    line = "import sys, warnings; warnings.warn('careful'); print('careful', file=sys.stderr)"
    h.solve().spoil(h.first, lambda text: at_every_call(text, line))
    return FULL


def progress_bar(h):
    h.solve().spoil(h.first, lambda text: at_every_call(text, "import tqdm; list(tqdm.tqdm(range(3)))"))
    return FULL


def endless_loop(h):
    """In a question with few tests: each of them takes all the time that a cell has."""
    return h.solve().spoil(h.quickest, lambda text: at_every_call(text, "while True: pass"))


def dies(h):
    return h.solve().spoil(h.first, lambda text: at_every_call(text, "import os; os._exit(1)"))


def leaves(h):
    """`exit()` in a cell of the student's own, between the first and the second question."""
    h.solve()
    number = h.notebook.cells.index([*h.tests(h.first).values()][-1])
    h.notebook.cells.insert(number + 1, nbformat.v4.new_code_cell("exit()"))
    return FULL


def patched_checks(h):
    patch = """
import checks.assignment, checks.kit, vizhelpers
for module in (checks.assignment, checks.kit):
    for name in ("compare", "judge", "run", "untouched", "verdicts", "error_of", "near"):
        setattr(module, name, lambda *a, **k: [])
"""
    return h.solve().spoil(h.first, lambda text: nonsense(text) + patch)


def colab(h):
    """No ids but in the metadata, an older format, Colab's own metadata."""
    h.solve()
    h.notebook.update(nbformat_minor=0)
    h.notebook.metadata.update(colab={"provenance": []}, kernelspec={"name": "python3", "display_name": "Python 3"})
    for cell in h.notebook.cells:
        cell.metadata["id"] = cell.pop("id")
    return FULL


KINDS = (right, wrong, slip, blank, tampered, deleted_cell, copied_cell, lost_metadata, warns, progress_bar,
         endless_loop, dies, leaves, patched_checks, colab)  # fmt: skip


def make(kind, name: str, released: Path, path: Path) -> float:
    """Write a hand-in of this kind; the points that it should get."""
    made = HandIn(name, released)
    if kind is not right:  # the figures cost half the time, and nobody looks at them here
        made.notebook.cells = [cell for cell in made.notebook.cells if not cell.id.endswith("_look")]
    designed = kind(made)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.v4.writes(made.notebook), encoding="utf-8")
    return designed


def main(names: list[str]) -> bool:
    released, designed = {n: p for n, p in grade.release().items() if not names or n in names}, {}
    for name, path in released.items():
        for kind in KINDS:
            who = kind.__name__.replace("_", "-")
            designed[who, name] = make(kind, name, path, grade.BUILD / "in" / who / f"{name}.ipynb")
    rows = grade.main(["grade", str(grade.BUILD / "in"), "--cell", "20"])
    actual = {(row["student"], row["assignment"]): row for row in rows}
    equal = True
    print("kind            " + "".join(f"{name}: designed actual seconds   " for name in released))
    for who in dict.fromkeys(who for who, _ in designed):
        line = f"{who:16}"
        for name in released:
            got = actual.get((who, name), {}).get("automatic")
            equal = equal and got == designed[who, name]
            line += f"{designed[who, name]:12g} {got!s:>6} {actual.get((who, name), {}).get('seconds')!s:>7}   "
        print(line)
    print("all equal" if equal else "NOT EQUAL")
    return equal


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1:]))
