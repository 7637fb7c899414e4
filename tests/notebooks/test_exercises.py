"""Every exercise in a real kernel: its stub is 'not solved yet', says why, and breaks nothing; its solution passes.

One copy of each lesson is executed: its exercises, and of the cells before them those that bind a name which they use
(nbval has run all of them, each lesson in a kernel of its own). After each check cell the copy gets the folded
solution, the bare check (which raises when it disagrees) and the check cell once more. All copies share one kernel, so
that PyTorch is imported once: each begins by forgetting all names.
"""

import ast
import builtins
import re
import symtable

import nbformat
import pytest
from lesson import NOTEBOOKS, Lesson
from nbclient import NotebookClient
from specimen import specimen

CELL_TIMEOUT = 180  # seconds, as for nbval
FORGET = '%reset -f\n__import__("torch").manual_seed(0);'  # without leaving the name torch behind


def names(code: str) -> tuple[set[str], set[str], set[str]]:
    """The names that a cell sets anew, those that it may set or change, and those that it uses from before."""
    anew, changed, uses = set(), set(), set()
    for statement in ast.parse(re.sub(r"^[%!].*$", "", code, flags=re.M)).body:
        top = symtable.symtable(ast.unparse(statement), "cell", "exec")
        inner, used = [*top.get_children()], {s.get_name() for s in top.get_symbols() if s.is_referenced()}
        while inner:  # functions and comprehensions: what they take from outside
            table = inner.pop()
            used |= {s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced()}
            inner += table.get_children()
        bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
        uses |= used - anew - set(dir(builtins))
        if isinstance(statement, ast.AugAssign):
            uses |= bound - anew
        changed |= bound
        if isinstance(statement, ast.Assign | ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom):
            anew |= bound
        for node in ast.walk(statement):
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
                changed.add(node.value.id)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):  # kept.append(x)
                owner = node.value.func.value if isinstance(node.value.func, ast.Attribute) else None
                changed |= {owner.id} - {"vh", "checks", "plt", "torch", "F"} if isinstance(owner, ast.Name) else set()
    return anew, changed, uses


def needed(cells: list[str], wanted: str, first: int) -> set[int]:
    """Of code cells 1, 2, ...: all from `first` on, and of those before it what they and `wanted` depend on."""
    keep = set(range(first, len(cells) + 1))
    uses = names(wanted)[2].union(*(names(cells[i - 1])[2] for i in keep))
    for i in range(first - 1, 0, -1):
        anew, changed, used = names(cells[i - 1])
        if (anew | changed) & uses:
            keep.add(i)
            uses = uses - anew | used
    return keep


def test_needed_follows_names_backwards():
    cells = ["import torch", "a = 1", "b = slow()", "b = torch.ones(a)", "b[0] = 2", "c = slow()", "def f(): return b"]
    assert needed(cells, "f() + d", first=7) == {1, 2, 4, 5, 7}


def instrument(path) -> tuple[nbformat.NotebookNode, list[dict]]:
    """A copy that also solves every exercise, and for each exercise its cells: {"name", "unsolved", "solved"}."""
    exercises = Lesson.read(path).exercises
    notebook = nbformat.read(path, 4)
    last = max(e.check[0].cell for e in exercises)
    wanted = " \n".join(e.solution for e in exercises)
    keep = needed([c.source if c.cell_type == "code" else "" for c in notebook.cells[:last]], wanted,
                  first=min(e.stub.cell for e in exercises))  # fmt: skip
    cells, found = [], []
    for i, cell in enumerate(notebook.cells[:last], 1):
        if i not in keep:
            continue
        cells.append(cell)
        for e in exercises:
            check_cell, check, answer = e.check
            if check_cell.cell == i:
                solution = nbformat.v4.new_code_cell(e.solution)
                bare = nbformat.v4.new_code_cell(f"checks.{check}({answer})")
                again = nbformat.v4.new_code_cell(cell.source)
                cells += [solution, bare, again]
                found.append({"name": e.title, "unsolved": cell, "solved": again})
    notebook.cells = [nbformat.v4.new_code_cell(FORGET), *cells]
    return notebook, found


def printed(cell) -> str:
    """What a cell wrote to stdout."""
    return "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout").strip()


@pytest.fixture(scope="module")
def kernel():
    client = NotebookClient(nbformat.v4.new_notebook(), timeout=CELL_TIMEOUT, kernel_name="python3",
                            resources={"metadata": {"path": str(NOTEBOOKS)}})  # fmt: skip
    with client.setup_kernel():
        yield client


def run_exercises(path, kernel) -> list[str]:
    """Execute the instrumented copy; what is wrong, one sentence each."""
    kernel.nb, found = instrument(path)
    kernel.execute(cleanup_kc=False)
    wrong = []
    for exercise in found:
        unsolved, solved = printed(exercise["unsolved"]), printed(exercise["solved"])
        if not re.match(r"not solved yet: (\S+\s+){3,}\S+", unsolved, re.I):
            wrong.append(f"{exercise['name']}: the stub's check prints {unsolved!r}, not 'not solved yet: <sentence>'")
        if "correct" not in solved.lower() or "not solved" in solved.lower():
            wrong.append(f"{exercise['name']}: the solution's check prints {solved!r}, not 'correct'")
    return wrong


def pytest_generate_tests(metafunc):
    if "notebook" in metafunc.fixturenames:
        found = [p for p in sorted(NOTEBOOKS.glob("*.ipynb")) if Lesson.read(p).exercises]
        metafunc.parametrize("notebook", found, ids=[p.stem for p in found])


def test_solutions_pass_and_stubs_do_not(notebook, kernel):
    wrong = run_exercises(notebook, kernel)
    assert not wrong, "\n".join(wrong)


def test_a_copy_begins_without_the_names_of_the_one_before(kernel):
    cells = ["import torch\nleft = torch.rand(1)", FORGET, "print(sorted({'left', 'torch'} & set(globals())))"]
    kernel.nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    kernel.execute(cleanup_kc=False)
    assert printed(kernel.nb.cells[-1]) == "[]"


STAND_IN = """import torch
class checks:
    def check_largest(f):
        assert f(torch.tensor([1., 5.])) == 5, "largest([1, 5]) should be 5, the largest value"
    def check_spread(f):
        assert f(torch.tensor([1., 5.])) == {spread}, "spread([1, 5]) should be 4, the largest minus the smallest"
    def try_check(check, answer):
        try:
            check(answer)
        except AssertionError as error:
            print("not solved yet:", error)
            return False
        print("correct")
        return True
"""


@pytest.mark.parametrize(("spread", "fails"), [("4", False), ("7", True), ("f(torch.tensor([1., 5.]))", True)])
def test_the_test_tells_right_from_wrong(tmp_path, kernel, spread, fails):
    """The specimen with checks of our own: sound; a check that refuses the solution; a check that passes the stub."""
    notebook = nbformat.from_dict(specimen())
    next(c for c in notebook.cells if c.id == "setup").source = STAND_IN.replace("{spread}", spread)
    nbformat.write(notebook, tmp_path / "03_tsne_of_fc7.ipynb")
    try:
        wrong = run_exercises(tmp_path / "03_tsne_of_fc7.ipynb", kernel)
    except Exception as error:  # the bare check raised in the kernel
        wrong = [str(error)]
    assert bool(wrong) is fails, wrong
