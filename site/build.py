"""Build the site: `make site`. Lessons are executed, the API pages written from docstrings, links checked.

Usage: python site/build.py [--executed FOLDER]     (a folder of executed copies, to build without running them again)
"""
import argparse
import inspect
import re
import shutil
import subprocess
import sys
import textwrap
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import nbformat

import vizhelpers as vh

HERE, ROOT = Path(__file__).parent, Path(__file__).resolve().parents[1]
SOURCE, SITE = ROOT / "build" / "site-source", ROOT / "build" / "site"
sys.path.insert(0, str(ROOT / "tests"))
from run_lessons import still_pictures  # noqa: E402


def code_of(notebook) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


def anchor(name: str) -> str:
    return f"vh-{name.replace('_', '-').lower()}"


def alternative(cell, heading: str) -> str:
    """What a figure is, for whom it is read aloud: where it stands, and the call that drew it."""
    call = re.findall(r"vh\.(\w+)", cell.source)
    return f"Figure in “{heading}”" + (f", drawn by vh.{call[-1]}" if call else "")


def lesson(path: Path, used: dict[str, list[str]]) -> str:
    """Write an executed copy with still pictures, alt texts and links to the functions it uses; its title."""
    notebook, heading = nbformat.read(path, 4), path.stem
    still_pictures(notebook)
    names = [n for n in vh.__all__ if re.search(rf"\bvh\.{n}\b", code_of(notebook))]
    for name in names:
        used.setdefault(name, []).append(path.stem)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = next(iter(re.findall(r"^#+ (.+)$", cell.source, re.M)[-1:]), heading)
        else:
            cell.metadata["mystnb"] = {"image": {"alt": alternative(cell, heading)}}
    links = ", ".join(f"[`vh.{name}`](#{anchor(name)})" for name in names)
    notebook.cells.append(nbformat.v4.new_markdown_cell(f"## Functions of this lesson\n\n{links}"))
    nbformat.write(notebook, SOURCE / "notebooks" / path.name)
    return re.findall(r"^# (.+)$", notebook.cells[0].source, re.M)[0]


def signature(name: str, thing) -> str:
    """`vh.name(...)` with the defaults, without the types."""
    if not callable(thing):
        return f"vh.{name}"
    plain = inspect.signature(thing)
    empty = inspect.Parameter.empty
    plain = plain.replace(parameters=[p.replace(annotation=empty) for p in plain.parameters.values()])
    return "\n    ".join(textwrap.wrap(f"vh.{name}{plain.replace(return_annotation=empty)}", 96))


def api(used: dict[str, list[str]]) -> None:
    """A page for each module: signature, docstring, the lessons that use it."""
    pages, folder = [], SOURCE / "api"
    folder.mkdir()
    for module, names in {**vh._TABLE, "device": f"device {vh._TABLE['device']}"}.items():
        text = [f"# {module.rpartition('.')[2]}\n\n`vizhelpers/{module.replace('.', '/')}.py`\n"]
        for name in names.split():
            thing = getattr(vh, name)
            said = inspect.getdoc(thing) if callable(thing) else "A table of the literature's numbers."
            lessons = ", ".join(f"[{stem[:2]}](../notebooks/{stem}.ipynb)" for stem in used.get(name, []))
            text.append(f"({anchor(name)})=\n## {name}\n\n```python\n{signature(name, thing)}\n```\n")
            text.append(f"{said.replace('>>>', '    >>>')}\n\n{f'Used in: {lessons}' if lessons else ''}\n")
        (folder / f"{module}.md").write_text("\n".join(text), encoding="utf-8")
        pages.append(module)
    everywhere = inspect.getdoc(vh).partition("\n\n")[2]
    index = f"# Functions\n\n{everywhere}\n\n```{{toctree}}\n:maxdepth: 1\n" + "\n".join(pages) + "\n```\n"
    (folder / "index.md").write_text(index, encoding="utf-8")


def prepare(executed: Path) -> None:
    shutil.rmtree(SOURCE, ignore_errors=True)
    (SOURCE / "notebooks").mkdir(parents=True)
    (SOURCE / "data").symlink_to(ROOT / "data")
    used, titles = {}, {}
    for path in sorted(executed.glob("*.ipynb")):
        titles[path.stem] = lesson(path, used)
    api(used)
    shown = [stem for stem in titles if (ROOT / "data" / "readme" / f"{stem}.webp").is_file()]
    gallery = [f"[![{titles[stem]}](data/readme/{stem}.webp)](notebooks/{stem}.ipynb) "
               f"[{stem[:2]} {titles[stem]}](notebooks/{stem}.ipynb)" for stem in shown]  # fmt: skip
    rows = "".join(f"| {' | '.join((gallery[n:n + 2] + [''])[:2])} |\n" for n in range(0, len(gallery), 2))
    index = (HERE / "index.md").read_text(encoding="utf-8")
    index = index.replace("GALLERY", f"| | |\n|---|---|\n{rows}")
    index = index.replace("LESSONS", "\n".join(f"{stem[:2]} {titles[stem]} <notebooks/{stem}>" for stem in titles))
    (SOURCE / "index.md").write_text(index, encoding="utf-8")
    for name in ("conf.py", "glossary.md", "style.css"):
        shutil.copy(HERE / name, SOURCE / name)


class Links(HTMLParser):
    """What a page points to, and the places in it that can be pointed to."""
    def __init__(self, page: Path):
        super().__init__()
        self.to, self.ids, self.unnamed = [], set(), 0
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.to += [found[key] for key in ("href", "src") if found.get(key)]
        self.ids |= {found[key] for key in ("id", "name") if found.get(key)}
        self.unnamed += tag == "img" and "alt" not in found


def broken(site: Path) -> list[str]:
    """Links between pages and files of the site that lead nowhere, and pictures without an alternative text."""
    pages, said = {page: Links(page) for page in site.rglob("*.html") if "_static" not in page.parts}, []
    for page, links in pages.items():
        said += [f"{page.name}: {links.unnamed} pictures have no alt text"] * bool(links.unnamed)
        for link in links.to:
            if re.match(r"[a-z]+:|//", link):  # another site, or data
                continue
            file, _, place = unquote(link).partition("#")
            goal = (page.parent / file.partition("?")[0]).resolve() if file else page
            goal = goal / "index.html" if goal.is_dir() else goal
            if not goal.is_file():
                said.append(f"{page.name}: {link} does not exist")
            elif place and goal in pages and place not in pages[goal].ids:
                said.append(f"{page.name}: {link}: no such place")
    return sorted(set(said))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--executed", type=Path)
    executed = parser.parse_args().executed
    if executed is None:
        executed = ROOT / "build" / "executed"
        shutil.rmtree(executed, ignore_errors=True)
        run = [sys.executable, str(ROOT / "tests" / "run_lessons.py"), "--copies", str(executed), "--jobs", "2"]
        if subprocess.run(run).returncode:
            return 1
    prepare(executed)
    shutil.rmtree(SITE, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(SOURCE), str(SITE)]
    if subprocess.run(command).returncode:
        return 1
    wrong = broken(SITE)
    print("\n".join(wrong[:50]) or f"{len([*SITE.rglob('*.html')])} pages in {SITE}, no broken link")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
