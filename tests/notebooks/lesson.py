"""Read a lesson notebook as sections, blocks and exercises: shared by the lint and by the exercise test."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"

OPENERS = ("open-badges", "open-in")  # cells that site/open.py writes: not the lesson's own
DETAILS = re.compile(r"<details[^>]*>\s*<summary>(.*?)</summary>(.*?)</details>", re.S | re.I)
FENCE = re.compile(r"^(```+|~~~+).*?^\1[ \t]*$", re.S | re.M)
PYTHON = re.compile(r"^```python[ \t]*\n(.*?)^```[ \t]*$", re.S | re.M)
HEADING = re.compile(r"^(#{1,6})[ \t]+(.*?)[ \t#]*$", re.M)
MARKERS = ("Idea", "Predict", "Code", "Look", "Check")
MARKER = re.compile(rf"^\*\*({'|'.join(MARKERS)})[.:]?\*\*", re.M)


@dataclass(frozen=True)
class Part:
    """A piece of one cell: a whole code cell, or the markdown between two headings or markers."""

    cell: int  # 1-based, as people count
    code: bool
    text: str

    @property
    def tree(self) -> ast.Module:
        """The parsed code; empty where it does not parse, which has a rule of its own."""
        try:
            return ast.parse(self.text)
        except SyntaxError:
            return ast.Module(body=[], type_ignores=[])


@dataclass
class Section:
    """A heading (or marker) and what follows it, up to the next one of its kind."""

    title: str
    cell: int
    parts: list[Part] = field(default_factory=list)

    @property
    def markdown(self) -> str:
        return "\n\n".join(p.text for p in self.parts if not p.code)

    @property
    def code(self) -> list[Part]:
        return [p for p in self.parts if p.code]

    @property
    def folded(self) -> list[tuple[str, str]]:
        """(summary, body) of every <details>."""
        return [(re.sub(r"<[^>]+>", "", s).strip(), body) for s, body in DETAILS.findall(self.markdown)]


def _mask(text: str) -> str:
    """Blank out fenced code, keeping every offset, so that a `# comment` in it is no heading."""
    return FENCE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def split(parts: list[Part], pattern: re.Pattern, title) -> tuple[list[Part], list[Section]]:
    """Cut parts at the markdown matches of pattern for which title(match) is not None.

    Returns: (the parts before the first cut, the sections).
    """
    before: list[Part] = []
    sections: list[Section] = []
    for part in parts:
        cuts = [] if part.code else [(m, title(m)) for m in pattern.finditer(_mask(part.text)) if title(m) is not None]
        first = cuts[0][0].start() if cuts else len(part.text)
        if part.text[:first].strip():
            (sections[-1].parts if sections else before).append(Part(part.cell, part.code, part.text[:first]))
        if not cuts:
            continue
        ends = [m.start() for m, _ in cuts[1:]] + [len(part.text)]
        for (m, name), end in zip(cuts, ends, strict=True):
            sections.append(Section(name, part.cell))
            if part.text[m.end() : end].strip():
                sections[-1].parts.append(Part(part.cell, False, part.text[m.end() : end]))
    return before, sections


def level(n: int):
    """A title function for split(): headings of exactly n hashes."""
    return lambda m: m[2] if len(m[1]) == n else None


@dataclass
class Lesson:
    """A notebook file: raw JSON, cells as parts, and the `##` sections."""

    path: Path
    raw: dict

    @classmethod
    def read(cls, path) -> Lesson:
        return cls(Path(path), json.loads(Path(path).read_text(encoding="utf-8")))

    @property
    def cells(self) -> list[dict]:
        return self.raw.get("cells", [])

    @property
    def parts(self) -> list[Part]:
        return [
            Part(i, c["cell_type"] == "code", "".join(c["source"]))
            for i, c in enumerate(self.cells, 1)
            if c["cell_type"] in ("code", "markdown") and c.get("id") not in OPENERS
        ]

    @property
    def code(self) -> list[Part]:
        return [p for p in self.parts if p.code]

    @property
    def sections(self) -> list[Section]:
        return split(self.parts, HEADING, level(2))[1]

    def section(self, title: str) -> Section | None:
        return next((s for s in self.sections if s.title == title), None)

    @property
    def exercises(self) -> list[Exercise]:
        section = self.section("Exercises")
        found = split(section.parts, HEADING, level(3))[1] if section else []
        return [Exercise(s.title, s.cell, s.parts) for s in found]


def try_check(part: Part) -> tuple[str, str] | None:
    """(check name, answer name) where the cell is only `checks.try_check(checks.check_xxx, answer)`, else None."""
    match part.tree.body:
        case [
            ast.Expr(
                ast.Call(
                    func=ast.Attribute(ast.Name("checks"), "try_check"),
                    args=[ast.Attribute(ast.Name("checks"), check), ast.Name(answer)],
                    keywords=[],
                )
            )
        ]:
            return check, answer
    return None


def defined(part: Part) -> set[str]:
    """The names that a cell defines at its top level."""
    names = {n.name for n in part.tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    targets = [t for n in part.tree.body if isinstance(n, ast.Assign) for t in n.targets]
    return names | {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}


class Exercise(Section):
    """`### Exercise N`: stub cell, check cell, folded hints and solution."""

    @property
    def check(self) -> tuple[Part, str, str] | None:
        """(check cell, check name, answer name)."""
        return next(((p, *try_check(p)) for p in self.code if try_check(p)), None)

    @property
    def stub(self) -> Part | None:
        """The cell before the check that defines the answer."""
        if not self.check:
            return None
        cell, _, answer = self.check
        return next((p for p in self.code if p.cell < cell.cell and answer in defined(p)), None)

    @property
    def solution(self) -> str | None:
        """The python code of the folded solution."""
        bodies = [body for summary, body in self.folded if summary.lower().startswith("solution")]
        code = "\n".join(c for body in bodies for c in PYTHON.findall(body))
        return code or None
