"""One question of an assignment's source, judged in this process: the reference, or answers put in its place."""
import json
import re
import sys
from functools import cache
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS))
SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?### END SOLUTION", re.S | re.M)
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"


@cache
def source(name: str) -> dict:
    """Cell id -> cell of `A1`..., in order."""
    (path,) = NOTEBOOKS.glob(f"{name}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: cell | {"source": "".join(cell["source"])} for cell in cells}


def graded(cell: dict) -> dict:
    return cell["metadata"].get("nbgrader", {})


def questions(name: str) -> list[str]:
    """`q1`, `q2`...: those with cells that a program grades."""
    return list(dict.fromkeys(key.split("_")[1] for key, cell in source(name).items() if is_graded_code(cell)))


def is_graded_code(cell: dict) -> bool:
    return cell["cell_type"] == "code" and bool(graded(cell).get("grade"))


def stub(text: str) -> str:
    """A cell as students get it, as nbgrader's ClearSolutions writes it."""
    return SOLUTION.sub(lambda m: re.sub("^", m[1], STUB, flags=re.M), text)


def changed(text: str, answer) -> str:
    """`answer` is a whole cell, or (old, new) pairs that make a slip of the reference."""
    if isinstance(answer, str):
        return answer
    for old, new in answer:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the reference"
        text = text.replace(old, new)
    return text


@cache
def _begun(name: str, course: int | None) -> dict:
    return _run(name, {}, [key for key in source(name) if key.startswith(f"{name.lower()}_setup")], course)[0]


def _run(name: str, space: dict, keys: list[str], course: int | None, answers=None) -> tuple[dict, dict]:
    said = {}
    for key in keys:
        cell, answer = source(name)[key], (answers or {}).get(key, ())
        if cell["cell_type"] == "code":
            text = changed(cell["source"], answer)
            text = re.sub(r"^COURSE = \d+", f"COURSE = {course}", text, flags=re.M) if course else text
            try:
                exec(compile(text, key, "exec"), space)
            except Exception as error:
                if not is_graded_code(cell):
                    raise
                said[key] = f"{type(error).__name__}: {error}"
            else:
                said |= {key: ""} if is_graded_code(cell) else {}
    return space, said


def judged(name: str, question: str, answers=None, course: int | None = None) -> dict[str, str]:
    """Graded cell -> "" (its points) or what it says, of one question with these answers (cell id -> answer)."""
    start = f"{name.lower()}_{question}"
    keys = [key for key in source(name) if key == start or key.startswith(f"{start}_")]
    return _run(name, dict(_begun(name, course)), [k for k in keys if not k.endswith("_look")], course, answers)[1]
