"""environment.yml has the versions of constraints.txt, inside the ranges of pyproject.toml, and can be installed.

Nothing here asks conda-forge, so nothing is said about the channel. Run as a program, this prints the pip part as a
requirements file (for `make test-environment`), with "oldest" the lowest versions allowed (for `make test-oldest`).
"""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / "environment.yml"
ENV = yaml.safe_load(ENVIRONMENT.read_text(encoding="utf-8"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ITSELF = "-e ."
BY_CONDA = {"torch": "pytorch-cpu", "torchvision": "torchvision"}  # there by this name, in the package's own range
EXACT = [Requirement(s) for s in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if s[0] != "#"]


def pip_lines() -> list[str]:
    """The pip section, without comments."""
    (lines,) = [d["pip"] for d in ENV["dependencies"] if isinstance(d, dict)]
    return lines


def pins() -> dict[str, Requirement]:
    """Requirements of the pip section by canonical name."""
    return {canonicalize_name(Requirement(s).name): Requirement(s) for s in pip_lines() if s != ITSELF}


def test_only_the_allowed_keys():
    assert set(ENV) == {"name", "channels", "dependencies"}
    assert ENV["channels"] == ["conda-forge"]


def ranges() -> dict[str, Requirement]:
    """What the package itself asks for, by canonical name."""
    return {canonicalize_name(r.name): r for r in map(Requirement, PYPROJECT["project"]["dependencies"])}


def test_conda_brings_python_pip_and_the_cpu_build_of_torch():
    assert PYPROJECT["project"]["requires-python"] == ">=3.11"
    torch = [f"{there}{ranges()[name].specifier}" for name, there in BY_CONDA.items()]
    assert [d for d in ENV["dependencies"] if isinstance(d, str)] == ["python=3.11", *torch, "pip"]


def test_pins_are_exact_public_and_not_repeated():
    names = [canonicalize_name(Requirement(s).name) for s in pip_lines() if s != ITSELF]
    assert len(names) == len(set(names)), "a package is pinned twice"
    for requirement in pins().values():
        (specifier,) = requirement.specifier
        assert specifier.operator == "==" and "+" not in specifier.version, f"{requirement}: want ==X.Y.Z, no '+...'"


def test_pins_are_the_constraints_and_inside_the_ranges():
    exact = {canonicalize_name(r.name): r for r in EXACT}
    assert pins() == {name: r for name, r in exact.items() if name not in BY_CONDA}
    assert ranges().keys() == exact.keys()
    for name, allowed in ranges().items():
        (specifier,), (pin,) = allowed.specifier, exact[name].specifier
        assert specifier.operator == ">=" and specifier.contains(pin.version), f"{allowed} and {pin}"


def test_every_pin_is_what_is_installed():
    installed = {r.name: importlib.metadata.version(r.name) for r in EXACT}
    wrong = [f"{r} but {installed[r.name]}" for r in EXACT if not r.specifier.contains(installed[r.name])]
    assert not wrong, f"{wrong}: run `make test-setup`"


def test_every_pin_has_a_reason():
    for path, pin in ((ENVIRONMENT, r"^\s+- (?!pip:|conda-forge$)\S"), (ROOT / "pyproject.toml", r'^\s+"[^"]+[=>]=')):
        lines = [s for s in path.read_text(encoding="utf-8").splitlines() if re.match(pin, s)]
        bare = [s.strip() for s in lines if not re.search(r"# used in \S+", s)]
        assert len(lines) >= len(pins()) and not bare, f"{path.name} has no '# used in ...: ...' beside {bare}"


def test_reasons_agree():
    pattern = r"([a-z-]+)[=>]=\S+?\"?,?\s+(# used in .*)"
    here = re.findall(pattern, ENVIRONMENT.read_text(encoding="utf-8").replace("pytorch-cpu", "torch"))
    there = dict(re.findall(pattern, (ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    assert here == [(name, there[name]) for name, _ in here]


def test_the_package_itself_is_there():
    assert pip_lines().count(ITSELF) == 1, "Binder's notebooks import vizhelpers: the pip part ends with '-e .'"


def test_pip_part_resolves(tmp_path):
    """pip's own resolver on the pip part, without an index: every pin and all it depends on fit and are here, and
    where there is a torch, as conda-forge's, no other one is brought."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("\n".join(pip_lines()) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*command, "-r", requirements], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    would = re.findall(r"^Would install (.*)$", done.stdout, re.M)
    assert would in ([], [f"vizhelpers-{PYPROJECT['project']['version']}"]), f"not installed yet: {would}"


if __name__ == "__main__":
    if "oldest" in sys.argv:
        print("\n".join(s.replace(">=", "==") + ".*" for s in PYPROJECT["project"]["dependencies"]))
    else:
        print("\n".join(s.replace(ITSELF, f"-e {ROOT}") for s in pip_lines()))
