"""Let the lessons be opened without installing, once they are published: `make open ADDRESS=https://host/owner/name`.

It gives every lesson badges and a first cell that does nothing at home and on Colab or Kaggle fetches the repository;
their own packages stay. Run it again with another address to change it. Commit what it changed.
"""
import json
import re
import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
CELL = '''# At home this does nothing. On Colab or Kaggle it fetches the course; their own packages stay.
try:
    import vizhelpers
except ImportError:
    import os
    import subprocess
    import sys
    if not os.path.isdir("course"):
        subprocess.run(["git", "clone", "-q", "--depth", "1", "ADDRESS", "course"], check=True)
    os.chdir("course/notebooks")
    sys.path.insert(0, os.path.dirname(os.getcwd()))'''


def badges(address: str, name: str) -> str:
    """Markdown links that open a lesson elsewhere; all three know addresses of their own host's form."""
    place = re.sub(r"^https?://[^/]+/|\.git$", "", address)
    places = {
        "Colab": f"https://colab.research.google.com/github/{place}/blob/main/notebooks/{name}",
        "Kaggle": f"https://kaggle.com/kernels/welcome?src=https://github.com/{place}/blob/main/notebooks/{name}",
        "Binder": f"https://mybinder.org/v2/gh/{place}/main?urlpath=lab/tree/notebooks/{name}",
    }
    return "Open in " + " · ".join(f"[{where}]({url})" for where, url in places.items())


def opened(path: Path, address: str) -> None:
    """Put badges and first cell into one notebook, in place of those that stand there."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in raw["cells"] if cell["id"] not in ("open-in", "open-badges")]
    badge = {"cell_type": "markdown", "id": "open-badges", "metadata": {}, "source": [badges(address, path.name)]}
    code = {"cell_type": "code", "id": "open-in", "metadata": {}, "execution_count": None, "outputs": [],
            "source": CELL.replace("ADDRESS", address).splitlines(keepends=True)}  # fmt: skip
    raw["cells"] = [cells[0], badge, code, *cells[1:]]
    path.write_text(json.dumps(raw, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1]:
        sys.exit("Say where the repository is published: make open ADDRESS=https://host/owner/name")
    for lesson in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
        opened(lesson, sys.argv[1])
