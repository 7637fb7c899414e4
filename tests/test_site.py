"""The site's own parts: broken links are found, every public function has its place (`make site` builds all of it)."""
import json
import subprocess
import sys
from pathlib import Path

import vizhelpers as vh

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "site"))
import build  # noqa: E402


def test_broken_links_and_pictures_without_words_are_found(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.html").write_text(
        '<p id="here"></p><a href="#here"></a><a href="#gone"></a><a href="sub/b.html#there"></a><img src="no.png">'
        '<a href="sub/b.html#nowhere"></a><a href="https://elsewhere"></a><a href="sub/"></a>')
    (tmp_path / "sub" / "b.html").write_text('<h2 id="there"></h2><img src="../a.html" alt="x">', encoding="utf-8")
    assert build.broken(tmp_path) == [
        "a.html: #gone: no such place", "a.html: 1 pictures have no alt text", "a.html: no.png does not exist",
        "a.html: sub/ does not exist", "a.html: sub/b.html#nowhere: no such place"]  # fmt: skip


def test_every_public_function_has_a_place_with_its_words(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "SOURCE", tmp_path)
    build.api({"grad_cam": ["08_class_activation_maps"]})
    text = "\n".join(page.read_text(encoding="utf-8") for page in (tmp_path / "api").glob("*.md"))
    places = [f"({build.anchor(name)})=" for name in vh.__all__ if name != "prepare_torchvision"]
    assert [place for place in places if text.count(place) != 1] == []
    assert "vh.grad_cam(model, x, target=None, *, layer=None, relu=True)" in text
    assert "Selvaraju et al. 2017" in text and "[08](../notebooks/08_class_activation_maps.ipynb)" in text


def test_a_lesson_opens_where_nothing_is_installed(tmp_path, root):
    """In a Python that does not find the package, against a local clone: the lesson's own first cells run."""
    import open as opener

    sys.path.insert(0, str(root / "tests" / "notebooks"))
    from test_lint import lint

    lesson = tmp_path / "00_start_here.ipynb"
    lesson.write_bytes((root / "notebooks" / lesson.name).read_bytes())
    opener.opened(lesson, "https://host/owner/name")
    opener.opened(lesson, root.as_uri())  # again, with another address
    assert lint(lesson) == []
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(lesson.read_text(encoding="utf-8"))["cells"]}
    assert cells["open-badges"].count("00_start_here.ipynb") == 3 and cells["open-in"].count(root.as_uri()) == 1
    hidden = "import sys\nsys.modules['vizhelpers'] = None\n"
    seen = "\ndel sys.modules['vizhelpers']\nimport vizhelpers, checks\nprint(vizhelpers.__file__, checks.__file__)"
    done = subprocess.run([sys.executable, "-c", hidden + cells["open-in"] + seen + "\n", ""], cwd=tmp_path,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(str(tmp_path / "course") in path for path in done.stdout.split())
