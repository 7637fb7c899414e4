"""The rules of the notebook lint: each yields "where: what is wrong, what to do" for one lesson."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator

from lesson import HEADING, MARKER, MARKERS, Exercise, Lesson, Section, split, try_check
from minutes import MOST, minutes, stated

NAMES = """00_start_here 01_first_layer_filters 02_inside_the_layers 03_tsne_of_fc7 04_deconvnet 05_saliency
06_fooling_images 07_guided_backprop 08_class_activation_maps 09_occlusion 10_activation_maximization
11_style_transfer 12_texture_vs_shape 13_can_we_trust_these_maps""".split()
ABSOLUTE = re.compile(r"(?<![\w.:/<])/(?:home|root|Users|tmp|work|usr|var|mnt|opt|content|srv|data)/|\b[A-Z]:\\|~/")
FIGURE = re.compile(r"\b(?:vh\.(?:show_\w+|overlay)|plt\.\w+)\s*\(")
STATIC_KEYS = {"kernelspec", "language_info"}


# --- rules for every notebook: each yields "where: what is wrong, what to do" -------------------------------------
def name(lesson: Lesson) -> Iterator[str]:
    stem = lesson.path.stem
    if stem not in NAMES and stem != "90_playground" and not re.fullmatch(r"A\d+_[a-z0-9_]+", stem):
        yield f"file name: {stem} is not in DESIGN.md's lesson table (nor 90_playground, nor A<number>_<name>)"


def stripped(lesson: Lesson) -> Iterator[str]:
    for i, cell in enumerate(lesson.cells, 1):
        if cell.get("outputs"):
            yield f"cell {i}: has stored outputs; strip them (--strip)"
        if cell.get("execution_count") is not None:
            yield f"cell {i}: has an execution count; strip it (--strip)"
        allowed = {"tags", "nbgrader"} | ({"deletable", "editable"} if "nbgrader" in cell["metadata"] else set())
        if extra := sorted(set(cell["metadata"]) - allowed):  # a student version's cells are locked
            yield f"cell {i}: metadata {extra} is not allowed, only 'tags'; strip it (--strip)"
    if "widgets" in lesson.raw["metadata"]:
        yield "notebook metadata: has saved widget state; strip it (--strip)"
    if extra := sorted(set(lesson.raw["metadata"]) - STATIC_KEYS - {"widgets"}):
        yield f"notebook metadata: {extra} is not allowed, only {sorted(STATIC_KEYS)}; strip it (--strip)"
    if extra := sorted(set(lesson.raw["metadata"].get("language_info", {})) - {"name"}):
        yield f"notebook metadata: language_info has {extra}, allowed is only 'name'; strip it (--strip)"


def kernel(lesson: Lesson) -> Iterator[str]:
    if lesson.raw["metadata"].get("kernelspec", {}).get("name") != "python3":
        yield "notebook metadata: kernelspec name must be python3 (--strip sets it)"
    if (lesson.raw.get("nbformat"), lesson.raw.get("nbformat_minor", 0) >= 5) != (4, True):
        yield "notebook: must be nbformat 4.5 or later (cell ids) (--strip sets it)"


def ids(lesson: Lesson) -> Iterator[str]:
    seen: dict[str, int] = {}
    for i, cell in enumerate(lesson.cells, 1):
        key = cell.get("id")
        if not key:
            yield f"cell {i}: has no id (--strip gives it one)"
        elif key in seen:
            yield f"cell {i}: has the id {key!r} of cell {seen[key]}; ids must be unique"
        seen.setdefault(key, i)


def portable(lesson: Lesson) -> Iterator[str]:
    for p in lesson.parts:
        if hit := ABSOLUTE.search(p.text):
            yield f"cell {p.cell}: absolute path near {p.text[hit.start() : hit.start() + 30].splitlines()[0]!r}"
        if not p.code:
            continue
        magics = [line.strip() for line in p.text.splitlines() if re.match(r"\s*(!|%)", line)]
        try:
            ast.parse(p.text)
        except SyntaxError as e:
            if magics:
                yield f"cell {p.cell}: {magics[0]!r}: lessons use no shell commands or magics (no !pip, no %pip)"
            else:
                yield f"cell {p.cell}, line {e.lineno}: does not parse: {e.msg}"


def checks(lesson: Lesson) -> Iterator[str]:
    for p in lesson.parts:
        if hit := re.search(r"\bvh\.(check_\w*|try_check)", p.text):
            yield f"cell {p.cell}: {hit[0]!r}: the checks are a package of their own: checks.{hit[1]}"


def short_cells(lesson: Lesson) -> Iterator[str]:
    sizes = {p.cell: sum(1 for line in p.text.splitlines() if line.strip()) for p in lesson.code}
    if not sizes:
        yield "notebook: has no code cell"
        return
    for cell in [*sizes]:
        n, most = sizes[cell], 25
        marks = lesson.cells[cell - 1]["metadata"].get("nbgrader", {})
        if marks.get("grade") or marks.get("solution"):
            most = 50  # what students do not get to see, or write themselves
            del sizes[cell]
        if n == 0:
            yield f"cell {cell}: is an empty code cell"
        if n > most:
            yield f"cell {cell}: has {n} non-blank lines, at most {most}"
    for p in lesson.code:
        for i, line in enumerate(p.text.splitlines(), 1):
            if len(line) > 100:
                yield f"cell {p.cell}, line {i}: is {len(line)} characters wide, at most 100 (a page cuts off the rest)"
    if sizes and (median := statistics.median(sizes.values())) > 6:
        yield f"notebook: the median code cell has {median:g} non-blank lines, at most 6"
    long = [c for c, n in sizes.items() if n > 15]
    if len(long) > 0.1 * len(sizes):
        yield f"notebook: {len(long)} of {len(sizes)} code cells exceed 15 lines (cells {long}), at most 10 %"


# --- rules for the numbered lessons ------------------------------------------------------------------------------
def opening(lesson: Lesson) -> Iterator[str]:
    first = lesson.parts[0] if lesson.parts else None
    if first is None or first.code or not re.match(r"# \S", first.text):
        yield "cell 1: must be markdown that starts with '# <title>'"
        return
    paragraphs = [p.strip() for p in re.split(r"\n\s*\n", first.text) if p.strip()]
    if len(paragraphs) < 3 or not paragraphs[1].endswith((".", "?", "!")) or len(paragraphs[1].split()) > 45:
        yield "cell 1: wants title, blank line, one sentence (<= 45 words, with its full stop), blank line, 'Time' line"
    facts = [line for line in first.text.splitlines() if line.count("·") == 2]
    if not any(re.search(r"Time.*·.*Needs.*·.*Runs offline on CPU", line) for line in facts):
        yield "cell 1: wants a line 'Time: 40 minutes · Needs: lesson 00 · Runs offline on CPU'"
    elif not any(line.startswith(f"{stated(lesson)} · ") for line in facts):
        yield f"cell 1: wants '{stated(lesson)} · ', as tests/notebooks/minutes.py counts"
    if (body := minutes(lesson)[0]) > MOST:
        yield f"notebook: its body takes {body:.0f} minutes, at most {MOST}: fold some under 'More'"
    if sum(len(h[0]) == 1 for p in lesson.parts if not p.code for h in HEADING.findall(_unfenced(p.text))) != 1:
        yield "notebook: must have exactly one '# ' heading, the title"


def _unfenced(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)


def sections(lesson: Lesson) -> Iterator[str]:
    titles = [s.title for s in lesson.sections]
    blocks = [t for t in titles if re.match(r"\d", t)]
    want = ["You will be able to", "Setup", *blocks, "Play", "Exercises", "Pitfalls", "Summary", "References"]
    want += [t for t in titles if t.startswith("Appendix: ")]
    if not blocks:
        yield "notebook: has no numbered block ('## 1. ...')"
    if titles != want:
        problems = [f"missing '## {t}'" for t in want if t not in titles]
        problems += [f"'## {t}' is not part of the anatomy" for t in titles if t not in want]
        problems += [f"'## {t}' appears twice" for t in sorted(set(titles)) if titles.count(t) > 1]
        yield f"headings: {'; '.join(problems) or 'wrong order'} (order: {' | '.join(want)})"
    if [t.split(" ")[0] for t in blocks] != [f"{i}." for i in range(1, len(blocks) + 1)]:
        yield f"headings: blocks must be numbered '## 1. ', '## 2. ', ...; found {blocks}"
    if able := lesson.section("You will be able to"):
        bullets = re.findall(r"^\s*[-*] \S", able.markdown, re.M)
        if not 3 <= len(bullets) <= 5:
            yield f"cell {able.cell}: 'You will be able to' has {len(bullets)} bullets, wants 3 to 5"
    if (summary := lesson.section("Summary")) and len(summary.markdown.split()) < 10:
        yield f"cell {summary.cell}: 'Summary' is nearly empty"
    if (refs := lesson.section("References")) and not re.search(r"^\s*(?:[-*]|\d+\.) \S", refs.markdown, re.M):
        yield f"cell {refs.cell}: 'References' wants a list (paper, section; where our code differs)"
    if (pitfalls := lesson.section("Pitfalls")) and not pitfalls.code:
        yield f"cell {pitfalls.cell}: 'Pitfalls' wants one real failure, shown by a code cell"


def setup(lesson: Lesson) -> Iterator[str]:
    section = lesson.section("Setup")
    if not section:
        return
    if len(section.code) != 1:
        yield f"cell {section.cell}: 'Setup' has {len(section.code)} code cells, wants exactly one"
    for p in section.code:
        if (n := sum(1 for line in p.text.splitlines() if line.strip())) > 10:
            yield f"cell {p.cell}: the set-up cell has {n} non-blank lines, at most 10"
    code = "\n".join(p.text for p in lesson.code)
    vh, tv = (re.search(rf"^(?:import|from) {m}\b", code, re.M) for m in ("vizhelpers", "torchvision"))
    if not any("import vizhelpers as vh" in p.text for p in section.code):
        yield f"cell {section.cell}: the set-up cell must 'import vizhelpers as vh'"
    if re.search(r"\bchecks\.", code) and not any(re.search(r"^import checks\b", p.text, re.M) for p in section.code):
        yield f"cell {section.cell}: the set-up cell must 'import checks', which the exercises use"
    if tv and vh and tv.start() < vh.start():
        yield "notebook: import vizhelpers before torchvision (it makes torchvision importable beside CPU torch)"


def blocks(lesson: Lesson) -> Iterator[str]:
    for block in lesson.sections:
        if re.match(r"\d+\.", block.title):
            yield from (f"block '{block.title}', {m}" for m in _block(block))


def _block(block: Section) -> Iterator[str]:
    _, marked = split(block.parts, MARKER, lambda m: m[1])
    titles = [s.title for s in marked]
    figure = next((p.cell for p in block.code if FIGURE.search(p.text)), None)
    for marker in MARKERS:
        if titles.count(marker) > 1:
            yield f"cell {block.cell}: the marker **{marker}** appears {titles.count(marker)} times, wants one"
        if marker not in titles and (marker != "Look" or figure):
            why = f" (cell {figure} draws a figure)" if marker == "Look" else ""
            yield f"cell {block.cell}: has no line that starts with **{marker}**{why}"
    if [t for t in MARKERS if t in titles] != list(dict.fromkeys(titles)):
        yield f"cell {block.cell}: markers in the order {titles}, wants {list(MARKERS)}"
    for s in marked:
        if s.title == "Idea" and (n := len(s.markdown.split())) > 120:
            yield f"cell {s.cell}: **Idea** has {n} words, at most 120"
        if s.title == "Predict" and not s.folded:
            yield f"cell {s.cell}: **Predict** has no answer folded in <details><summary>..</summary> .. </details>"
        if s.title == "Code" and not 1 <= len(s.code) <= 3:
            yield f"cell {s.cell}: **Code** has {len(s.code)} code cells, wants 1 to 3"
        if s.title == "Check" and not any(_asserts(p.tree) for p in s.code):
            yield f"cell {s.cell}: **Check** has no code cell with an assert after it"


def _asserts(tree: ast.Module) -> bool:
    calls = [n.func for n in ast.walk(tree) if isinstance(n, ast.Call)]
    return any(isinstance(n, ast.Assert) for n in ast.walk(tree)) or any(
        isinstance(f, ast.Attribute) and f.attr.startswith("assert_") for f in calls
    )


def folds(lesson: Lesson) -> Iterator[str]:
    for p in lesson.parts:
        if p.code:
            continue
        opened, closed = (len(re.findall(t, p.text, re.I)) for t in (r"<details", r"</details>"))
        if opened != closed:
            yield f"cell {p.cell}: {opened} <details> but {closed} </details>; a fold must close in its own cell"
        if re.search(r"</summary>(?!\s*?\n[ \t]*\n)(?=.*?[`*].*?</details>)", p.text, re.S | re.I):
            yield f"cell {p.cell}: leave a blank line after </summary>, or the markdown in the fold is shown raw"


def play(lesson: Lesson) -> Iterator[str]:
    section = lesson.section("Play")
    if not section:
        return
    if not section.code:
        yield f"cell {section.cell}: 'Play' has no code cell"
    elif "vh.explore_" in section.code[0].text:
        yield f"cell {section.code[0].cell}: a static call (a cell without vh.explore_) stands above the first widget"
    if not re.search(r"try this", section.markdown, re.I):
        yield f"cell {section.cell}: 'Play' wants a 'Try this' in its text"


def exercises(lesson: Lesson) -> Iterator[str]:
    if not lesson.section("Exercises"):
        return
    found = lesson.exercises
    if not 2 <= len(found) <= 4:
        yield f"cell {lesson.section('Exercises').cell}: {len(found)} '### Exercise N' headings, wants 2 to 4"
    for i, exercise in enumerate(found, 1):
        if not re.match(rf"Exercise {i}\b", exercise.title):
            yield f"cell {exercise.cell}: '### {exercise.title}' must begin with '### Exercise {i}'"
        yield from (f"cell {exercise.cell}: exercise {i} {m}" for m in _exercise(exercise))


def _exercise(e: Exercise) -> Iterator[str]:
    facts = f"{e.title}\n{e.markdown}"
    if not re.search(r"\b(easy|medium|hard)\b", facts, re.I):
        yield "names no difficulty (easy, medium or hard)"
    if not re.search(r"\b\d+\s*min", facts):
        yield "names no minutes ('10 minutes')"
    if not e.check or not e.check[1].startswith("check_"):
        yield "has no check cell; it holds only 'checks.try_check(checks.check_xxx, answer)'"
    elif not e.stub:
        yield f"has no stub cell above the check that defines '{e.check[2]}'"
    if any("try_check" in p.text and not try_check(p) for p in e.code):
        yield "has a cell with other code beside checks.try_check(checks.check_xxx, answer); the check stands alone"
    if not any(s.lower().startswith("hint") for s, _ in e.folded):
        yield "has no folded hints (<details><summary>Hint</summary>, blank line, text, </details>)"
    if not e.solution:
        yield "has no folded solution (<details><summary>Solution</summary>, blank line, ```python fence, </details>)"
    elif e.check:
        try:
            if e.check[2] not in ast.unparse(ast.parse(e.solution)):
                yield f"has a solution that does not mention '{e.check[2]}'"
        except SyntaxError as error:
            yield f"has a solution that does not parse: {error.msg}"


EVERY = (name, stripped, kernel, ids, portable, checks, short_cells, folds)
ANATOMY = (opening, sections, setup, blocks, play, exercises)
