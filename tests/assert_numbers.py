"""The numbers that the lessons' asserts compare, on this machine run three ways: `make lessons-three-ways`.

    python tests/assert_numbers.py [NAME ...]

Runs every lesson (`run_lessons.py`) as it is, with AVX2 only, and on one thread; in the executed copies each assert
first notes the sides of its comparisons. Prints each number that is not the same in all three to four digits, and a
line per lesson; the exit status is 1 if a lesson failed. The numbers themselves are in build/three_ways/*.json.
"""
from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WAYS = {
    "as it is": {},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
PRELUDE = '''
def _side(where, value):
    import json, os
    import numpy as np
    a = value.detach().cpu().double().numpy() if hasattr(value, "detach") else value
    try:
        a = np.asarray(a, dtype=float)
        facts = a.ravel().tolist() if a.size <= 8 else [float(np.min(a)), float(np.mean(a)), float(np.max(a))]
    except (TypeError, ValueError):
        facts = str(sorted(map(str, a)) if isinstance(a, (set, frozenset)) else a)[:80]  # sets have no order
    with open(os.environ["VIZHELPERS_NUMBERS"], "a") as file:
        print(json.dumps([where, facts]), file=file)
    return value
'''


class _Sides(ast.NodeTransformer):
    """Wraps both sides of every comparison, and what is asserted without one."""

    def __init__(self, where: str):
        self.where, self.count = where, 0

    def noted(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Constant):
            return node
        self.count += 1
        return ast.Call(ast.Name("_side", ast.Load()), [ast.Constant(f"{self.where}.{self.count}"), node], [])

    def visit_Compare(self, node: ast.Compare) -> ast.Compare:
        return ast.Compare(self.noted(node.left), node.ops, [self.noted(side) for side in node.comparators])


def noting(code: str, cell: int) -> str:
    """A cell whose asserts note what they compare; everything else stays to the letter."""
    try:
        asserts = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Assert)]
        asserts.sort(key=lambda node: (node.lineno, node.col_offset))
    except SyntaxError:  # a cell with an IPython command
        return code
    lines = code.splitlines()
    for number, node in reversed([*enumerate(asserts, 1)]):  # from the end: what stands before keeps its place
        sides = _Sides(f"{cell}.{number}")
        test = sides.visit(node.test)
        test = test if sides.count else sides.noted(test)
        said = "" if node.msg is None else f", {ast.unparse(node.msg)}"
        before, behind = (lines[n - 1].encode() for n in (node.lineno, node.end_lineno))  # ast counts bytes
        before, behind = before[: node.col_offset].decode(), behind[node.end_col_offset :].decode()
        line = f"{before}assert {ast.unparse(ast.fix_missing_locations(test))}{said}{behind}"
        lines[node.lineno - 1 : node.end_lineno] = [line]
    return "\n".join(lines)


def prepared(notebook, numbers: Path) -> None:
    """Changes a notebook that is about to be executed: its asserts write to a file."""
    for n, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.source = noting(cell.source, n)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    first.source = f'import os; os.environ["VIZHELPERS_NUMBERS"] = {str(numbers)!r}\n{PRELUDE}\n{first.source}'


def alike(values: list[list]) -> bool:
    """What one side was in each of the ways: the same to four digits."""
    if len({len(v) for v in values}) > 1 or any(isinstance(fact, str) for v in values for fact in v):
        return all(v == values[0] for v in values)
    return all(max(same) - min(same) <= 1e-4 * max(map(abs, same)) + 1e-9 for same in zip(*values, strict=True))


def compare(names: list[str], out: Path) -> None:
    for name in names:
        table = {}  # where -> for each way what was noted there
        for number, way in enumerate(WAYS):
            path = out / way.replace(" ", "_") / f"{name}.jsonl"
            for line in path.read_text().splitlines() if path.exists() else []:
                where, facts = json.loads(line)
                table.setdefault(where, [[] for _ in WAYS])[number] += facts if isinstance(facts, list) else [facts]
        other = {where: values for where, values in table.items() if not alike(values)}
        print(f"{name:32} {len(table)} sides of comparisons, of them alike to four digits: {len(table) - len(other)}")
        for where, values in other.items():
            said = (" ".join(f"{f:.5g}" if isinstance(f, float) else f[:30] for f in v[:4]) for v in values)
            print(f"    cell {where:10}", "  |  ".join(said))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="lessons such as 02_inside_the_layers (default: all)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "three_ways")
    options = parser.parse_args()
    names = options.names or sorted(p.stem for p in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    failed = False
    for way, setting in WAYS.items():
        out = options.out / way.replace(" ", "_")
        out.mkdir(parents=True, exist_ok=True)
        for name in names:
            (out / f"{name}.jsonl").unlink(missing_ok=True)
        print(f"== {way} {setting or ''}", flush=True)
        command = [sys.executable, str(ROOT / "tests" / "run_lessons.py"), "--out", str(out), "--numbers", *names]
        failed |= subprocess.run(command, env=os.environ | setting).returncode != 0
    compare(names, options.out)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
