"""Hand-ins as they come: found in folders and zips, and given back what an editor or a student took away."""
import copy
import os
import re
import shutil
import time
import zipfile
from collections import Counter
from pathlib import Path


def files(folder: Path, scratch: Path, start: Path = Path()):
    """(place below the folder, file) of every plain file; zips are unpacked into scratch, with their files' times."""
    for path in sorted(folder.rglob("*")):
        place = start / path.relative_to(folder)
        if any(part.startswith((".", "__MACOSX")) for part in place.parts) or path.is_symlink() or not path.is_file():
            continue
        if path.suffix == ".zip" and zipfile.is_zipfile(path):
            inside = scratch / place.with_suffix("")
            with zipfile.ZipFile(path) as z:
                for info in z.infolist():
                    os.utime(z.extract(info, inside), (time.mktime((*info.date_time, 0, 0, -1)),) * 2)
            yield from files(inside, scratch, place.with_suffix(""))
        else:
            yield place, path


def assignment_of(path: Path, known: dict[str, dict]) -> str | None:
    """Whose cells it has, whatever the file is called; else what its name says."""
    text = path.read_text(encoding="utf-8", errors="replace")
    best = max(known, key=lambda name: sum(f'"{grade_id}"' in text for grade_id in known[name]))
    named = re.search(r"A\d", path.name)
    return best if any(f'"{grade_id}"' in text for grade_id in known[best]) else named and named[0]


def collect(submissions: Path, scratch: Path, known: dict[str, dict]) -> tuple[dict, list[str]]:
    """(student, assignment) -> file, and what there is to say of it; then sentences about those with nothing."""
    if submissions.suffix == ".zip":
        (scratch / "zip").mkdir(parents=True)
        shutil.copy(submissions, scratch / "zip" / "all.zip")
        found = [(Path(*place.parts[1:]), path) for place, path in files(scratch / "zip", scratch)]
    else:
        found = [*files(submissions, scratch)]
    groups, nothing = {}, {place.parts[0] for place, _ in found}
    for place, path in found:
        if path.suffix == ".ipynb" and (name := assignment_of(path, known)) in known:
            groups.setdefault((Path(place.parts[0]).stem, name), []).append(path)
            nothing.discard(place.parts[0])
    short = {key: re.sub(r"[^\w.@ -]", "-", key[0].split("_")[0]).strip() or key[0] for key in groups}
    times, result = Counter((who, name) for (_, name), who in short.items()), {}
    for (top, name), paths in groups.items():
        who, newest = short[top, name], max(paths, key=lambda path: path.stat().st_mtime)
        who = who if times[who, name] == 1 else re.sub(r"[^\w.@ -]", "-", top)  # anna_lee and anna_smith
        several = [f"of {len(paths)} files the newest, {newest.name}, counts"] if len(paths) > 1 else []
        result[who, name] = newest, several
    return result, [f"{top}: no notebook of {', '.join(known)} is in it." for top in sorted(nothing)]


def question_of(grade_id: str) -> str:
    return "_".join(grade_id.split("_")[:2])


def repair(notebook, released: dict) -> list[str]:
    """Give a hand-in back what graded cells need, whatever editor it went through; what was done, in sentences."""
    marks, said, seen, changed = {cell.id: grade_id for grade_id, cell in released.items()}, [], {}, []
    for cell in reversed(notebook.cells):  # a copy that stands further down is what ran last
        own = cell.metadata.pop("nbgrader", {})
        names = own.get("grade_id"), marks.get(cell.get("id")), marks.get(cell.metadata.get("id"))
        grade_id = next((name for name in names if name in released), None)
        if not grade_id or grade_id in seen:
            said += [f"{grade_id} is there twice, the last one counts"] if grade_id else []
            continue
        seen[grade_id], right = cell, released[grade_id]
        said += [] if own else [f"{grade_id} had lost its metadata"]
        changed += [grade_id] if right.metadata.nbgrader.locked and cell.source != right.source else []
        cell.metadata.nbgrader = copy.deepcopy(right.metadata.nbgrader)
        if cell.cell_type != right.cell_type:
            said.append(f"{grade_id} was no {right.cell_type} cell any more")
            cell.cell_type = right.cell_type
            cell.pop("attachments", None)
    place = 0
    for grade_id, cell in released.items():
        if grade_id in seen:
            place = 1 + next(n for n, other in enumerate(notebook.cells) if other is seen[grade_id])
        else:
            said.append(f"{grade_id} was missing")
            notebook.cells.insert(place, copy.deepcopy(cell))
            place += 1
    for number, cell in enumerate(notebook.cells):  # ids that are new and unique
        cell["id"] = f"cell-{number}"
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
        else:
            [cell.pop(key, None) for key in ("outputs", "execution_count")]
    notebook.update(nbformat=4, nbformat_minor=5)
    said += [f"changed, and put back as handed out: {', '.join(reversed(changed))}"] if changed else []
    lost = [sentence for sentence in said if sentence.endswith("its metadata")]
    return [s for s in said if s not in lost] + ([f"{len(lost)} cells had lost their metadata"] if lost else [])


def take_out(notebook, number: int, released: dict) -> str:
    """Put the stub in place of the answer that stopped the kernel in this cell; a cell without marks is emptied."""
    grade_id = notebook.cells[number].metadata.get("nbgrader", {}).get("grade_id", "")
    answers = [c for c in notebook.cells if (m := c.metadata.get("nbgrader")) and m.solution and c.cell_type == "code"
               and question_of(m.grade_id) == question_of(grade_id)]  # fmt: skip
    changed = [c for c in answers if c.source != released[c.metadata.nbgrader.grade_id].source]
    for cell in changed:
        cell.source = released[cell.metadata.nbgrader.grade_id].source
    if not changed:
        notebook.cells[number].source = "# taken out by the grader: with this cell the kernel stopped"
    return question_of(grade_id) if changed else f"cell {number + 1}"


def year(cells) -> str:
    """What stands in the line `COURSE = ...`."""
    return next((found[1] for cell in cells if (found := re.search(r"^COURSE = (\d+)", cell.source, re.M))), "")
