"""The house rules of DESIGN: floors import downwards only, and each kind of code has its room."""
import ast
import re
from pathlib import Path

import pytest

import vizhelpers as vh

PACKAGE = Path(vh.__file__).parent
FLOORS = [
    {"archives", "weights", "device"},
    {"pictures", "hooks", "relu_rules", "efficientnet_lite0", "models", "images", "objective",
     "speed", "winograd"},
    {"filters", "activations", "embedding", "embedding_shards", "collection", "layout", "deconvnet", "gradients",
     "averaged", "segmentation", "cam",
     "locality", "occlusion", "deep_dream", "dreams", "fooling", "parametrisation", "synthesis", "style",
     "style_losses", "style_net", "style_training", "cue_conflict", "cue_set", "observers", "stimuli", "trust",
     "evidence", "sanity", "scoreboard", "similarity"},
    {"render", "picture_map", "show", "show_bias", "show_embedding", "show_trust", "stimulus_set"},
    {"explore", "checks"},
]  # fmt: skip
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    """Rooms of this package that a file imports, also inside functions."""
    own, found = room(path), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            up = path.parent if node.level == 1 else path.parent.parent
            if up != PACKAGE:
                continue  # within the same room
            found |= {(node.module or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vizhelpers"):
            found |= {(node.module.split(".") + [node.names[0].name])[1]}
    return found - {own}


def test_every_room_has_a_floor():
    assert {room(path) for path in FILES} <= set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_floors_import_downwards(path):
    """From the floors below; on the same floor only without a circle (checked by importing at all)."""
    higher = {name for name in imported(path) if FLOOR[name] > FLOOR[room(path)]}
    assert not higher, f"{path.name} on floor {FLOOR[room(path)]} imports {higher} from above"


@pytest.mark.parametrize("pattern, rooms", [
    (r"\.register_(forward|full_backward|backward|module)\w*hook|\.register_hook", {"hooks", "checks"}),
    (r"^\s*(import|from) ipywidgets", {"explore"}),
    (r"matplotlib\.pyplot|plt\.", {"show"}),
    (r"\bplt\.show\(|savefig\(", set()),
    (r"except[^:]*:\s*(pass|\.\.\.)\s*$", set()),
])  # fmt: skip
def test_each_kind_of_code_has_its_room(pattern, rooms):
    elsewhere = [path.name for path in FILES if room(path) not in rooms and re.search(pattern, path.read_text(), re.M)]
    assert not elsewhere


def test_public_functions_have_full_docstrings():
    for name in vh.__all__:
        thing = getattr(vh, name)
        if callable(thing) and not isinstance(thing, type):
            text = thing.__doc__ or ""
            assert "Example:" in text and "Taught in:" in text, f"vh.{name} lacks an example or its lesson"
            assert len(text.splitlines()[0]) > 20, f"vh.{name}: the first line is its sentence"
