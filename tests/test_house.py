"""The house rules of a thin package: how much there is, floors that import downwards, each kind of code in its room."""
import ast
import doctest
import importlib
import re
from functools import cache
from pathlib import Path

import pytest
import torch

import vizhelpers as vh

PACKAGE = Path(vh.__file__).parent
FILES = {".".join(p.relative_to(PACKAGE).with_suffix("").parts): p for p in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}
MOST_LINES, MOST_IN_EXPLORE, MOST_FILES, MOST_FLOORS, LONGEST_DOCSTRING = 6000, 1300, 40, 6, 8


@cache
def imported(name: str) -> frozenset[str]:
    """Files of this package that a file imports, also inside functions."""
    found, here = set(), name.split(".")[:-1]
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - node.level + 1] + (node.module.split(".") if node.module else [])
            found |= {".".join([*base, alias.name]) for alias in node.names} | {".".join(base)}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vizhelpers."):
            found.add(node.module.removeprefix("vizhelpers."))
    return frozenset((found & set(FILES)) - {"__init__"})


def floor(name: str, above: tuple[str, ...] = ()) -> int:
    """1 for a file that imports none of the others, else one more than the highest that it imports."""
    assert name not in above, f"a circle of imports: {' -> '.join([*above[above.index(name):], name])}"
    return 1 + max((floor(other, (*above, name)) for other in imported(name)), default=0)


def docstrings():
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and (text := ast.get_docstring(node)):
                yield f"{name}.{node.name}", text


def test_the_package_is_thin(capsys):
    each = {name: len(path.read_text().splitlines()) for name, path in FILES.items()}
    lines, explore = sum(each.values()), sum(count for name, count in each.items() if name.startswith("explore."))
    floors = {name: floor(name) for name in FILES}
    longest = max(len(text.splitlines()) for _, text in docstrings())
    with capsys.disabled():
        print(f"\nvizhelpers: {lines} lines, {explore} of them in explore, in {len(FILES)} files on "
              f"{max(floors.values())} floors, 0 circles; longest docstring {longest} lines")  # fmt: skip
        for number in range(1, max(floors.values()) + 1):
            print(f"  floor {number}:", *sorted(name for name in FILES if floors[name] == number))
    assert lines <= MOST_LINES and explore <= MOST_IN_EXPLORE and len(FILES) <= MOST_FILES
    assert max(floors.values()) <= MOST_FLOORS


def test_docstrings_are_short():
    long = [name for name, text in docstrings() if len(text.splitlines()) > LONGEST_DOCSTRING]
    assert not long


def test_the_ground_does_not_know_the_methods_nor_the_methods_the_figures():
    upwards = [
        (name, other)
        for name in FILES for other in imported(name)
        if (other.startswith("explore.") and not name.startswith("explore."))
        or (other.startswith("methods.") and not name.startswith(("methods.", "explore.")))
        or (other in ("show", "figures") and name.startswith("methods."))
    ]  # fmt: skip
    assert not upwards


@pytest.mark.parametrize("pattern, rooms", [
    (r"\.register_(forward|full_backward|backward|module)\w*hook|\.register_hook", {"hooks"}),
    (r"^\s*(import|from) ipywidgets", {"explore"}),
    (r"matplotlib\.pyplot|plt\.", {"show", "figures"}),
    (r"\bplt\.show\(|savefig\(", set()),
    (r"except[^:]*:\s*(pass|\.\.\.)\s*$", set()),
    (r"perf_counter|process_time|\btime\.time\(", {"methods.shards", "explore"}),  # a wait, a step, an answer
])  # fmt: skip
def test_each_kind_of_code_has_its_room(pattern, rooms):
    found = [name for name, path in FILES.items() if re.search(pattern, path.read_text(), re.M)]
    elsewhere = [name for name in found if not rooms & {name, name.split(".")[0]}]  # a room is a file or a folder
    assert not elsewhere


def test_every_public_name_is_there_once_and_says_what_it_gives():
    names = [name for names in vh._TABLE.values() for name in names.split()]
    assert len(names) == len(set(names))
    for name in vh.__all__:
        thing = getattr(vh, name)
        if callable(thing):
            assert len((thing.__doc__ or "").splitlines()[0]) > 20, f"vh.{name}: the first line is its sentence"
    with pytest.raises(AttributeError, match="vizhelpers has no 'nonsense'"):
        vh.nonsense  # noqa: B018


@pytest.fixture(scope="module")
def at_hand():
    """What stands in the examples of docstrings without being made there."""
    net = vh.load_model("squeezenet1_1")
    return dict(vh=vh, torch=torch, net=net, x=vh.to_input("koala", net), lite=vh.load_model("efficientnet_lite0"),
                vgg=vh.load_model("vgg16"))  # fmt: skip


EXAMPLES = [name for name, tree in TREES.items() if ">>>" in FILES[name].read_text()]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_in_docstrings_run(name, at_hand, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"vizhelpers.{name}".removesuffix(".__init__"))
    result = doctest.testmod(module, extraglobs=at_hand, optionflags=doctest.ELLIPSIS)
    assert result.attempted and not result.failed
