"""Hand-ins of every kind: found, mended, and one of each assignment really graded. `make grade-check` grades all."""
import csv
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import nbformat
import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
import alone  # noqa: E402
import grade  # noqa: E402
import hand_in  # noqa: E402
import kinds  # noqa: E402
from collect import collect, repair, take_out  # noqa: E402

NAMES = sorted(path.name[:2] for path in grade.NOTEBOOKS.glob("A?_*.ipynb"))
HARD = dict(zip(NAMES, (kinds.dies, kinds.patched_checks, kinds.endless_loop, kinds.copied_cell), strict=False))


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A build folder of this file's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grade, "BUILD", tmp_path_factory.mktemp("build"))
        patch.setattr(grade, "WORK", grade.BUILD / "course")
        yield grade.BUILD


@pytest.fixture(scope="module")
def released(build):
    return grade.release()


def cells(path: Path) -> dict:
    return {cell.id: cell for cell in nbformat.read(path, 4).cells}


# --- hand out -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NAMES)
def test_student_version_is_the_source_with_stubs(name, released):
    shown, source = cells(released[name]), hand_in.source(name)
    assert [*shown] == [*source]
    for key, cell in source.items():
        hidden = re.compile(r"^ *### BEGIN HIDDEN TESTS\n.*?### END HIDDEN TESTS(\n|$)", re.S | re.M)
        assert shown[key].source == hidden.sub("", hand_in.stub(cell["source"])).rstrip("\n"), key


@pytest.mark.parametrize("name", NAMES)
def test_what_gives_a_solution_away_is_seen(name, released, tmp_path):
    source = grade.WORK / "source" / name / released[name].name
    key, cell = next((k, c) for k, c in grade.cells_of(source).items() if "BEGIN SOLUTION" in c.source)
    notebook = nbformat.read(released[name], 4)
    (_, solution), *_ = grade.REGION.findall(cell.source)
    notebook.cells[0].source += f"\n```python\n{solution}```"
    nbformat.write(notebook, tmp_path / "leak.ipynb")
    with pytest.raises(AssertionError, match=f"shows the solution of {key}"):
        grade.nothing_given_away(source, tmp_path / "leak.ipynb")


def test_another_course_is_one_other_line(released, monkeypatch, tmp_path):
    name = NAMES[-1]
    (tmp_path / "notebooks").mkdir()
    shutil.copy(next(grade.NOTEBOOKS.glob(f"{name}_*.ipynb")), tmp_path / "notebooks")
    monkeypatch.setattr(grade, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(grade, "WORK", tmp_path / "course")
    path = grade.release(2031)[name]
    changed = [(a.source, b.source) for a, b in zip(*(cells(p).values() for p in (released[name], path)), strict=True)
               if a.source != b.source]  # fmt: skip
    (before, after), = changed
    assert "COURSE = 2031" in after and before == after.replace("2031", "2026")


def test_the_archive_has_no_answers(released):
    if not (grade.ROOT / ".git").exists():
        pytest.skip("no git here: the archive is made of what git has")
    with zipfile.ZipFile(grade.course(released)) as z:
        names = [name.removeprefix("course/") for name in z.namelist()]
        assert {f"notebooks/{path.name}" for path in released.values()} <= {*names}
        assert not [n for n in names if "assignments" in n or "INSTRUCTORS" in n or n == "tests/grade.py"]
        assert "notebooks/05_saliency.ipynb" in names and "vizhelpers/hooks.py" in names
        for path in released.values():
            assert "BEGIN" not in z.read(f"course/notebooks/{path.name}").decode()


# --- collect and repair ---------------------------------------------------------------------------------------------
@pytest.fixture
def inbox(released, tmp_path):
    def put(place: str, name: str = NAMES[0]) -> Path:
        path = tmp_path / "in" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(released[name], path))

    return put


def found(folder: Path, released) -> dict:
    known = {name: grade.cells_of(path) for name, path in released.items()}
    result, nothing = collect(folder, folder.parent / "scratch", known)
    return {key: path.name for key, (path, _) in result.items()}, nothing


def test_folders_flat_files_and_names(inbox, released, tmp_path):
    inbox("Zoë Ünal_123_assignsubmission_file/A1 (1).ipynb")
    inbox("bob_9_77_whatever.ipynb", NAMES[-1])
    inbox("carl/repository/notebooks/A1_x.ipynb")
    inbox("carl/.ipynb_checkpoints/A1_x-checkpoint.ipynb")
    inbox("carl/__MACOSX/._A1_x.ipynb")
    inbox("anna_lee.ipynb"), inbox("anna_smith.ipynb")
    (tmp_path / "in" / "dora").mkdir()
    (tmp_path / "in" / "dora" / "essay.txt").write_text("hello")
    (tmp_path / "in" / "eve").symlink_to(released[NAMES[0]].parent)
    result, nothing = found(tmp_path / "in", released)
    first, last = NAMES[0], NAMES[-1]
    assert result == {("Zoë Ünal", first): "A1 (1).ipynb", ("bob", last): "bob_9_77_whatever.ipynb",
                      ("carl", first): "A1_x.ipynb", ("anna_lee", first): "anna_lee.ipynb",
                      ("anna_smith", first): "anna_smith.ipynb"}  # fmt: skip
    assert nothing == [f"dora: no notebook of {', '.join(NAMES)} is in it."]


def test_zip_in_a_zip_and_the_newest_file(inbox, released, tmp_path):
    new, old = inbox("fay/A1-new.ipynb"), inbox("fay/A1.ipynb")
    os.utime(old, (1.0e9, 1.0e9)), os.utime(new, (1.1e9, 1.1e9))
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as z:
        z.write(old, "A1.ipynb"), z.write(new, "A1-new.ipynb")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as z:
        z.write(tmp_path / "inner.zip", "fay_12_file/inner.zip")
    assert found(tmp_path / "in", released)[0] == {("fay", NAMES[0]): "A1-new.ipynb"}
    assert found(tmp_path / "all.zip", released)[0] == {("fay", NAMES[0]): "A1-new.ipynb"}


def test_a_hand_in_of_another_year_is_told(released, tmp_path, monkeypatch):
    name = NAMES[0]
    text = released[name].read_text(encoding="utf-8").replace("COURSE = 2026", "COURSE = 2031")
    (tmp_path / "x.ipynb").write_text(text, encoding="utf-8")
    said = []
    monkeypatch.delattr(grade, "own_place")  # all is said before anything runs
    with pytest.raises(NameError):
        grade.graded(name, "hal", tmp_path / "x.ipynb", released[name], said, 2, None)
    assert said[0] == "it was made for COURSE 2031 and is graded for 2026: make grade COURSE=2031"
    assert len(said) == 2 and "changed, and put back" in said[1]


def test_a_file_that_is_no_notebook_is_a_hand_in_all_the_same(released, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / f"gus_{NAMES[0]}.ipynb").write_text("<html>please log in</html>")
    result, _ = found(tmp_path / "in", released)
    assert result == {("gus", NAMES[0]): f"gus_{NAMES[0]}.ipynb"}


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_repair_gives_every_graded_cell_back(name, kind, released, tmp_path):
    marks = grade.cells_of(released[name])
    kinds.make(kind, name, released[name], tmp_path / "x.ipynb")
    notebook = grade.read(tmp_path / "x.ipynb")
    said = repair(notebook, marks)
    nbformat.validate(notebook)
    back = {c.metadata.nbgrader.grade_id: c for c in notebook.cells if "nbgrader" in c.metadata}
    assert [*back] == [*marks] and all(back[key].metadata.nbgrader == marks[key].metadata.nbgrader for key in marks)
    assert all(back[key].cell_type == marks[key].cell_type for key in marks)
    if kind in (kinds.copied_cell, kinds.lost_metadata, kinds.colab, kinds.right):
        answers = kinds.HandIn(name, released[name]).solve().answers()
        assert all(back[key].source == cell.source for key, cell in answers.items())
    expected = {kinds.deleted_cell: "was missing", kinds.copied_cell: "is there twice", kinds.lost_metadata: "metadata",
                kinds.tampered: "changed, and put back"}  # fmt: skip
    assert any(expected[kind] in s for s in said) if kind in expected else not said


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_that_ends_the_kernel_is_taken_out(name, released, tmp_path):
    marks = grade.cells_of(released[name])
    kinds.make(kinds.dies, name, released[name], tmp_path / "x.ipynb")
    notebook = grade.read(tmp_path / "x.ipynb")
    notebook.cells.append(nbformat.v4.new_code_cell("import os; os._exit(1)"))
    repair(notebook, marks)
    first = kinds.HandIn(name, released[name]).first
    ids = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
    number = ids.index(f"{first}_seen")
    assert take_out(notebook, number, marks) == first
    assert not any("_exit" in cell.source for cell in notebook.cells[:-1])
    assert take_out(notebook, len(notebook.cells) - 1, marks) == f"cell {len(notebook.cells)}"
    assert not any("_exit" in cell.source for cell in notebook.cells)


def test_a_copied_experiment_is_seen(build, released, tmp_path):
    if "A4" not in released:
        pytest.skip("there is no A4")
    table = "observer,trial,file,shape,texture,answer,seconds\n" + "".join(
        f"2026-{{}},{n},a.png,cat,dog,cat,{1 + n / 7:.3f}\n" for n in range(1, 55))  # fmt: skip
    for who, name in {"ann": "ann", "bea": "bea"}.items():
        notebook = nbformat.read(released["A4"], 4)
        answer = next(cell for cell in notebook.cells if cell.id == "a4_q6")
        answer.source = f'def my_answers():\n    return """{table.format(*[name] * 54)}"""'
        path = grade.WORK / "submitted" / who / "A4" / released["A4"].name
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
    assert grade.class_answers(["ann", "bea"], released["A4"]) == {"bea": "ann"}
    (kept,) = (build / "class_answers").glob("*")
    assert kept.name == "2026-ann.csv" and kept.read_text() == table.format(*["ann"] * 54)


# --- alone ----------------------------------------------------------------------------------------------------------
def test_code_of_others_is_alone(monkeypatch):
    """What LEVELS says of the best level here is so: the user, the network, the hidden files, the environment."""
    hide = [Path(__file__).parent]
    options = {"keep": [grade.ROOT, Path(sys.prefix), Path(sys.base_prefix)], "hide": hide}
    level = alone.best_level([grade.ROOT / "pyproject.toml"], **options)
    code = ("import os, json, socket, sys\n"
            "try: net = socket.create_connection(('127.0.0.1', int(os.environ['PORT'])), 2) and 'network'\n"
            "except OSError: net = 'no network'\n"
            f"print(json.dumps([os.getuid(), net, os.path.exists({__file__!r}), 'SECRET' in os.environ]))")  # fmt: skip
    monkeypatch.setenv("SECRET", "x")
    with socket.create_server(("127.0.0.1", 0)) as server, alone.own_place() as place:
        env = {"PORT": str(server.getsockname()[1])}
        argv = alone.command(level, place, [sys.executable, "-c", code], env, **options)
        start = place / "start"
        start.mkdir()
        (place / "file").touch()
        done = subprocess.run([*argv, str(place / "file")], cwd=start, capture_output=True, text=True, check=True)
    user, network, sees, secret = json.loads(done.stdout)
    assert not secret
    if level == 2:
        pytest.skip(f"on this machine what students wrote runs {alone.LEVELS[2]}")
    assert network == "no network"
    assert level == 1 or (user == alone.USER and not sees)


# --- graded ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def graded(build, released):
    """One hand-in of each assignment, each of another hard kind, graded as `make grade` does: what is printed."""
    designed = {name: kinds.make(kind, name, released[name], build / "in" / "ida" / f"{name}.ipynb")
                for name, kind in HARD.items()}  # fmt: skip
    command = [sys.executable, str(grade.ROOT / "tests" / "grade.py"), "grade", str(build / "in"), "--cell", "6"]
    done = subprocess.run(command, env=os.environ | {"GRADE_BUILD": str(build)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return designed, done.stdout


def table(path: Path) -> list[dict]:
    return [*csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(keepends=True))]


def test_hard_hand_ins_get_their_points(graded, build):
    designed, said = graded
    rows = {row["assignment"]: row for row in table(build / "grades.csv")}
    assert {name: float(rows[name]["automatic"]) for name in designed} == designed, said
    assert all(row["of"] == "20.0" and row["of free"] == "5.0" for row in rows.values())
    assert "ends the kernel and was taken out" in rows[NAMES[0]]["what happened"]


def test_marks_reach_gradebook_sheet_and_feedback(graded, build, released, capsys):
    name = NAMES[0]
    sheet = build / f"free_answers_{name}.csv"
    (line,) = table(sheet)
    assert line["question"] == f"{name.lower()}_q7" and line["answer"] == "(no answer)" and line["mark"] == ""
    marks = build / "marked.csv"
    for mark, sentence in {"6": "a mark is a number from 0 to 5, not '6'", "good": "not 'good'"}.items():
        grade.write_csv(marks, grade.SHEET, [line | {"mark": mark}])
        with pytest.raises(SystemExit, match=sentence):
            grade.main(["grade", str(build / "in"), "--marks", str(marks)])
    grade.write_csv(marks, grade.SHEET, [line | {"mark": "4,5", "comment": "The field is too small to see an arch."}])
    start = time.time()
    rows = {row["assignment"]: row for row in grade.main(["grade", str(build / "in"), "--marks", str(marks)])}
    assert "1 marks entered" in capsys.readouterr().out
    assert rows[name]["total"] == rows[name]["automatic"] + 4.5
    page = (build / "feedback" / "ida" / f"{name}.html").read_text(encoding="utf-8")
    assert "The field is too small" in page and "ends the kernel" in page
    assert "HIDDEN TESTS" not in page
    assert all(record.stat().st_mtime < start for record in (grade.WORK / "done").iterdir())  # nothing ran again
