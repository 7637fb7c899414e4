"""Lesson 12: categories, decisions, shape bias, the stimulus set, published results, figures."""
import csv
import importlib.util
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import vizhelpers as vh
from vizhelpers.images import DATA
from vizhelpers.methods.cue_conflict import CONDITIONS, parse_stimulus

SET = DATA / "cue_conflict"

@pytest.fixture(scope="module")
def make():
    """The script that made the set, data/cue_conflict/make.py."""
    spec = importlib.util.spec_from_file_location("make_cue_conflict", SET / "make.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


class Fixed(nn.Module):
    """A net of the 1000 classes that answers by the picture's first pixel: class number red * 4 + green."""

    def __init__(self, classes: int = 1000):
        super().__init__()
        self.classes, self.seen = classes, []
        self.scale = nn.Parameter(torch.tensor(20.0))

    def forward(self, x):
        pixels = (vh.to_display(x) * 255).round().long()
        self.seen.append(pixels)
        number = pixels[:, 0, 0, 0] * 4 + pixels[:, 1, 0, 0]
        return self.scale * torch.nn.functional.one_hot(number % self.classes, self.classes).float()


def picture(number: int, seed: int = 0, side: int = 224) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    pixels[0, 0, :2] = divmod(number, 4)
    return Image.fromarray(pixels)


@pytest.fixture
def authors_folder(tmp_path):
    """Laid out as the authors' stimuli; the number is the class that `Fixed` answers."""
    answers = {"cat/cat7-elephant1.png": 385, "cat/cat8-dog2.png": 281, "dog/dog10-bird2.png": 888,
               "dog/dog1-dog2.png": 152, "truck/truck3-cat1.png": 286, "bird/bird2-bird1.png": 404,
               "knife/knife1-oven2.webp": 766}  # fmt: skip
    for seed, (name, number) in enumerate(answers.items()):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        options = {"lossless": True} if name.endswith("webp") else {}
        picture(number, seed).save(tmp_path / name, **options)
    return tmp_path


# --- categories and names --------------------------------------------------------------------------------------------
def test_the_authors_16_categories_have_207_classes():
    found = vh.cue_categories("authors")
    assert len(found) == 16 and list(found) == sorted(found)
    numbers = [n for each in found.values() for n in each]
    assert len(numbers) == len(set(numbers)) == 207 and 0 <= min(numbers) and max(numbers) < 1000
    sizes = dict(airplane=1, bear=4, bicycle=2, bird=49, boat=5, bottle=7, car=3, cat=6, chair=4, clock=3, dog=109,
                 elephant=2, keyboard=2, knife=1, oven=1, truck=8)  # fmt: skip
    assert {name: len(each) for name, each in found.items()} == sizes


def test_their_classes_are_what_the_category_says():
    labels = vh.categories(vh.load_model("squeezenet1_1", weights="random"))
    found = {name: {labels[n] for n in numbers} for name, numbers in vh.cue_categories("authors").items()}
    assert found["airplane"] == {"airliner"} and found["oven"] == {"rotisserie"} and found["knife"] == {"cleaver"}
    assert found["elephant"] == {"Indian elephant", "African elephant"}
    assert found["cat"] == {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat", "cougar"}
    assert "Chihuahua" not in found["dog"] and {"Japanese spaniel", "Mexican hairless"} <= found["dog"]


def test_the_tables_of_categories_are_readable(make):
    tables = []
    for name in ("authors.csv", "categories.csv"):
        with open(SET / name, newline="", encoding="utf-8") as file:
            tables.append(list(csv.DictReader(file)))
    labels = vh.categories(vh.load_model("squeezenet1_1", weights="random"))
    assert all(labels[int(row["index"])] == row["label"] for rows in tables for row in rows)
    found, rows = vh.cue_categories(), tables[1]
    assert len(found) == 16 and sum(map(len, found.values())) == len(rows) == len({row["index"] for row in rows})
    assert set(found) == set(make.SHAPES) == set(make.TEXTURES)


@pytest.mark.parametrize("stem, want", [("dog10-bird2", ("dog", "bird")), ("cat7-elephant1", ("cat", "elephant")),
                                        ("zebra1", ("zebra", "zebra")), ("a_b3-c12", ("a_b", "c"))])  # fmt: skip
def test_names_tell_shape_and_texture(stem, want):
    assert parse_stimulus(stem) == want


@pytest.mark.parametrize("stem", ["cat", "cat7-", "7-cat1", "cat7-elephant", "cat7-elephant1-dog1", "Cat7"])
def test_other_names_are_refused(stem):
    with pytest.raises(ValueError, match="like cat7-elephant1"):
        parse_stimulus(stem)


def test_missing_things_are_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="a folder per category"):
        vh.cue_stimuli(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="No stimuli like"):
        vh.cue_stimuli(tmp_path)
    with pytest.raises(FileNotFoundError, match="shadow.*silhouette"):
        vh.cue_stimuli(condition="shadow")
    with pytest.raises(FileNotFoundError, match="authors"):
        vh.cue_categories("author")


# --- decisions -------------------------------------------------------------------------------------------------------
def test_a_category_s_probability_is_the_mean_over_its_classes():
    net, x = vh.load_model("squeezenet1_1", weights="random"), torch.randn(3, 3, 64, 64)
    categories = {"dog": tuple(range(151, 160)), "zebra": (340,), "boat": (472, 554)}
    p = np.exp(vh.class_scores(net, x).double().numpy())
    p /= p.sum(1, keepdims=True)
    want = np.stack([p[:, 151:160].sum(1) / 9, p[:, 340], (p[:, 472] + p[:, 554]) / 2], 1)
    np.testing.assert_allclose(vh.category_probabilities(net, x, categories).numpy(), want, rtol=1e-4)


def test_many_classes_do_not_win_by_number():
    class Net(Fixed):
        def forward(self, x):
            scores = torch.full((len(x), 1000), -20.0)
            scores[:, 340], scores[:, 151:160] = 3.0, 2.0
            return scores

    p = vh.category_probabilities(Net(), torch.zeros(1, 3, 8, 8), {"dog": tuple(range(151, 160)), "zebra": (340,)})
    assert p.argmax(1).item() == 1  # by sum it would be a dog: 9 e^2 > e^3


def test_other_nets_and_empty_categories_are_refused():
    with pytest.raises(ValueError, match="this net has 10 classes"):
        vh.category_probabilities(Fixed(10), torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="nothing"):
        vh.category_probabilities(Fixed(), torch.zeros(1, 3, 8, 8), {"nothing": ()})


def test_hand_table_of_six_decisions():
    table = [("cat", "dog", "cat"), ("cat", "car", "car"), ("cat", "dog", "bear"), ("dog", "cat", "dog"),
             ("dog", "cat", "cat"), ("dog", "dog", "dog")]  # fmt: skip
    found = vh.count_decisions(table)
    assert (found.shape, found.texture, found.other) == (2, 2, 1)
    assert found.bias == 0.5 and found.per_class == {"cat": 0.5, "dog": 0.5}
    assert found.rate == 4 / 5 and found.no_conflict == 1.0 and math.isnan(found.outside)
    assert found.ci95 == pytest.approx((0.15003, 0.84997), abs=1e-4)  # by hand: 2 of 4
    assert found.decisions == tuple(map(tuple, table))


def test_nothing_to_count_gives_nan_not_an_error():
    found = vh.count_decisions([("cat", "dog", "car")])
    assert math.isnan(found.bias) and found.ci95 == (0, 1) and found.rate == 0 and math.isnan(found.no_conflict)
    assert math.isnan(found.per_class["cat"])


@pytest.mark.parametrize("k, n", [(0, 5), (1, 7), (8, 10), (120, 200), (30, 30)])
def test_wilson_solves_its_equation(k, n):
    z = 1.959963985
    roots = np.roots([n + z * z, -(2 * k + z * z), k * k / n])  # (p - k/n)^2 = z^2 p (1 - p) / n
    decisions = [("cat", "dog", "cat")] * k + [("cat", "dog", "dog")] * (n - k)
    np.testing.assert_allclose(vh.count_decisions(decisions).ci95, sorted(roots.real.clip(0, 1)), atol=1e-6)


# --- shape bias of a folder ------------------------------------------------------------------------------------------
def test_a_folder_laid_out_as_the_authors(authors_folder):
    found = vh.shape_bias(Fixed(), authors_folder)
    # cat8 by shape; cat7, truck3 and knife1 by texture; dog10 as nothing of the 207 (then the first category)
    assert (found.shape, found.texture, found.other) == (1, 3, 1)
    assert found.bias == 0.25 and found.rate == 0.8 and found.no_conflict == 0.5
    assert found.per_class["cat"] == 0.5 and found.per_class["knife"] == 0 and math.isnan(found.per_class["dog"])
    assert found.outside == pytest.approx(1 / 5, abs=1e-4), "one of five conflict pictures lies outside all categories"


@pytest.mark.filterwarnings("ignore:Only")
def test_pictures_go_in_as_they_are(authors_folder):
    net = Fixed()
    vh.shape_bias(net, authors_folder)
    seen = torch.cat(net.seen)
    for n, s in enumerate(vh.cue_stimuli(authors_folder)):
        want = torch.from_numpy(np.array(Image.open(s.path).convert("RGB"))).permute(2, 0, 1)
        assert torch.equal(seen[n], want.long()), "no resizing, no cropping: every pixel arrives"


@pytest.mark.filterwarnings("ignore:Only")
def test_batches_do_not_matter_and_a_list_is_a_set_too(authors_folder):
    stimuli, authors = vh.cue_stimuli(authors_folder), vh.cue_categories("authors")
    alone = [vh.shape_bias(Fixed(), [s], categories=authors).decisions[0] for s in stimuli]
    together = vh.shape_bias(Fixed(), stimuli, categories=authors).decisions
    assert tuple(alone) == together == vh.shape_bias(Fixed(), str(authors_folder)).decisions


def test_categories_beside_the_folder_are_used(tmp_path):
    (tmp_path / "conflict/kiwi").mkdir(parents=True)
    picture(7).save(tmp_path / "conflict/kiwi/kiwi1-plum1.png")
    (tmp_path / "categories.csv").write_text("category,index\nkiwi,7\nplum,9\n")
    assert vh.shape_bias(Fixed(), tmp_path / "conflict").shape == 1
    with pytest.raises(ValueError, match="kiwi, plum"):
        vh.shape_bias(Fixed(), vh.cue_stimuli(tmp_path / "conflict"))


def test_unequal_sizes_are_refused(authors_folder):
    picture(5, side=256).save(authors_folder / "cat" / "cat9-dog1.png")
    with pytest.raises(ValueError, match="different sizes"):
        vh.shape_bias(Fixed(), authors_folder)


def test_a_blind_net_is_warned_of(authors_folder):
    class Blind(Fixed):
        def forward(self, x):
            return torch.zeros(len(x), 1000).index_fill_(1, torch.tensor([669]), 30.0)  # mosquito net, to everything

    with pytest.warns(UserWarning, match="says little about this net"):
        vh.shape_bias(Blind(), authors_folder)


# --- the embedded set ------------------------------------------------------------------------------------------------
def test_the_set_is_complete_and_small():
    names = sorted(vh.cue_categories())
    pairs = [(s.shape, s.texture) for s in vh.cue_stimuli()]
    assert sorted(pairs) == [(a, b) for a in names for b in names]
    assert sum(a != b for a, b in pairs) == 240
    files = [p for p in SET.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 7e6
    with open(SET / "index.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} == {p.relative_to(SET).as_posix() for p in files if p.suffix == ".webp"}
    assert all(row["licence"] == "GPL-2" and (row["shape_from"] or row["texture_from"]) for row in rows)
    assert all((SET.parent / row[c]).is_file() for row in rows for c in ("shape_from", "texture_from") if row[c])
    for condition in (*CONDITIONS, "conflict"):
        stimuli = vh.cue_stimuli(condition=condition)
        assert {s.shape for s in stimuli} == set(names)
        assert all(s.path.parent.name == s.shape for s in stimuli)
    assert {Image.open(p).size for p in files if p.suffix == ".webp"} == {(224, 224)}
    shown = [{s.path.name for s in vh.cue_stimuli(condition=condition)} for condition in CONDITIONS[:4]]
    assert all(one == shown[0] for one in shown)


def test_every_embedded_net_recognises_every_source(make):
    assert make.unrecognised(SET) == []


def test_the_sources_can_be_made_again(make):
    zebras = [part for part in make.parts() if part.name == "zebra1"]
    for part in [p for p in zebras if p.condition in ("silhouette", "edges")]:
        assert np.array_equal(make.draw(part), Image.open(part.path(SET)).convert("RGB"))  # lossless
    for part in [p for p in zebras if p.condition in ("texture", "original")]:
        saved = np.asarray(Image.open(part.path(SET)).convert("RGB"), float)
        assert np.abs(np.asarray(make.draw(part), float) - saved).mean() < 6


def test_the_command_goes_on_where_it_stopped(make, tmp_path, monkeypatch):
    drawn = []

    def draw(part):
        drawn.append(part)
        return Image.new("RGB", (224, 224), "red")

    few = make.parts({"zebra": ["mammals/zebra"], "bear": ["mammals/european_bear", "mammals/bear"]})
    names = [p.name for p in few if p.condition == "conflict"]
    assert names == ["zebra1-zebra1", "zebra1-bear1", "bear1-zebra1", "bear2-bear1"]
    monkeypatch.setattr(make, "draw", draw)
    monkeypatch.setattr(make, "parts", lambda: few)
    monkeypatch.setattr(make, "unrecognised", lambda folder: [])
    assert make.main([str(tmp_path)]) == 0 and drawn == sorted(few, key=lambda p: p.condition == "conflict")
    gone = few[-1].path(tmp_path)
    gone.unlink()
    assert make.main([str(tmp_path), "--backwards"]) == 0 and drawn[len(few):] == [few[-1]]
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix not in (".webp", ".csv")]
    monkeypatch.setattr(make, "unrecognised", lambda folder: ["zebra1.webp is truck"])
    assert make.main([str(tmp_path)]) == 1


# --- pictures --------------------------------------------------------------------------------------------------------
def test_silhouette_and_white_ground_share_the_mask(make):
    white, black = (np.asarray(f("mammals/zebra")).astype(int) for f in (vh.on_white, make.silhouette))
    assert white.shape == (224, 224, 3) and (white[0] == 255).all()
    inside = black[..., 0] < 128
    assert 0.1 < inside.mean() < 0.5 and (white[black[..., 0] == 255] == 255).all()
    assert np.ptp(np.flatnonzero(inside.any(0))) in range(202, 207)  # 92 % of 224 pixels
    with pytest.raises(ValueError, match="no transparency"):
        make.silhouette(vh.load_image("koala"))


def test_edges_are_lines_where_brightness_jumps(make):
    square = np.full((224, 224, 3), 255, np.uint8)
    square[60:160, 60:160] = 0
    lines = np.asarray(make.edges(square))
    assert set(np.unique(lines)) == {0, 255}
    y, x = np.nonzero(lines[..., 0] == 0)
    ring = np.maximum(abs(y - 109.5), abs(x - 109.5))
    assert 350 < len(y) < 450 and ring.min() > 46 and ring.max() < 53


def test_grey_has_no_colour_and_textures_repeat(make):
    grey = np.asarray(make.greyscale("mammals/zebra"))
    assert (grey[..., 0] == grey[..., 1]).all() and (grey[..., 1] == grey[..., 2]).all()
    skin = np.asarray(vh.skin_texture("mammals/zebra", 63, 36, 52, 112))
    assert np.array_equal(skin[:, :112], skin[:, 112:][:, ::-1]) and np.array_equal(skin[:112], skin[112:][::-1])
    one, two, other = (np.asarray(make.heap_texture("fruit/lemon", 90, 2, seed)) for seed in (0, 0, 1))
    assert np.array_equal(one, two) and not np.array_equal(one, other)


# --- published results -----------------------------------------------------------------------------------------------
def test_published_results_are_read_with_their_sources():
    assert len(vh.PUBLISHED_BIAS) == 11 and list(vh.PUBLISHED_BIAS)[:2] == ["humans", "AlexNet"]
    assert vh.PUBLISHED_BIAS["humans"] == 0.959 and vh.PUBLISHED_BIAS["VGG-16 (torchvision)"] == 0.092
    assert list(vh.PUBLISHED_CONDITIONS) == ["humans", "AlexNet", "GoogLeNet", "ResNet-50", "VGG-16"]
    assert all(tuple(values) == CONDITIONS for values in vh.PUBLISHED_CONDITIONS.values())
    assert list(vh.PUBLISHED_CONDITIONS["humans"].values()) == [0.99, 0.98, 0.75, 0.87, 0.90]
    with open(SET / "published.csv", newline="", encoding="utf-8") as file:
        assert all(row["source"] for row in csv.DictReader(file))
