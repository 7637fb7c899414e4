"""Lesson 12: categories, decisions, shape bias, the stimulus set, observers, explorers and exercise checks."""
import csv
import io
import math

import ipywidgets as W
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import vizhelpers as vh
from vizhelpers import observers, stimulus_set
from vizhelpers.cue_conflict import wilson
from vizhelpers.cue_set import CONDITIONS, parse_stimulus

SET = vh.pictures.DATA / "cue_conflict"


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


def test_the_embedded_categories_are_a_readable_table():
    with open(SET / "categories.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = vh.categories(vh.load_model("squeezenet1_1", weights="random"))
    assert all(labels[int(row["index"])] == row["label"] for row in rows)
    found = vh.cue_categories()
    assert len(found) == 16 and sum(map(len, found.values())) == len(rows) == len({row["index"] for row in rows})
    assert set(found) == set(stimulus_set.SHAPES) == set(stimulus_set.TEXTURES)


@pytest.mark.parametrize("stem, want", [("dog10-bird2", ("dog", "bird")), ("cat7-elephant1", ("cat", "elephant")),
                                        ("zebra1", ("zebra", "zebra")), ("a_b3-c12", ("a_b", "c"))])  # fmt: skip
def test_names_tell_shape_and_texture(stem, want):
    assert parse_stimulus(stem) == want


@pytest.mark.parametrize("stem", ["cat", "cat7-", "7-cat1", "cat7-elephant", "cat7-elephant1-dog1", "Cat7"])
def test_other_names_are_refused(stem):
    with pytest.raises(ValueError, match="like cat7-elephant1"):
        parse_stimulus(stem)


def test_missing_things_are_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="one folder per category"):
        vh.cue_stimuli(tmp_path / "nothing")
    with pytest.raises(ValueError, match="holds no stimuli"):
        vh.cue_stimuli(tmp_path)
    with pytest.raises(ValueError, match="silhouette"):
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
    np.testing.assert_allclose(wilson(k, n), sorted(roots.real.clip(0, 1)), atol=1e-6)


# --- shape bias of a folder ------------------------------------------------------------------------------------------
def test_a_folder_laid_out_as_the_authors(authors_folder):
    found = vh.shape_bias(Fixed(), authors_folder, batch_size=2)
    # cat8 by shape; cat7, truck3 and knife1 by texture; dog10 as nothing of the 207 (then the first category)
    assert (found.shape, found.texture, found.other) == (1, 3, 1)
    assert found.bias == 0.25 and found.rate == 0.8 and found.no_conflict == 0.5
    assert found.per_class["cat"] == 0.5 and found.per_class["knife"] == 0 and math.isnan(found.per_class["dog"])
    assert found.outside == pytest.approx(1 / 5, abs=1e-4), "one of five conflict pictures lies outside all categories"


@pytest.mark.filterwarnings("ignore:Only")
def test_pictures_go_in_as_they_are(authors_folder):
    net = Fixed()
    vh.shape_bias(net, authors_folder, batch_size=3)
    seen = torch.cat(net.seen)
    for n, s in enumerate(vh.cue_stimuli(authors_folder)):
        want = torch.from_numpy(np.array(Image.open(s.path).convert("RGB"))).permute(2, 0, 1)
        assert torch.equal(seen[n], want.long()), "no resizing, no cropping: every pixel arrives"


@pytest.mark.filterwarnings("ignore:Only")
def test_batches_do_not_matter_and_a_list_is_a_set_too(authors_folder):
    stimuli, authors = vh.cue_stimuli(authors_folder), vh.cue_categories("authors")
    found = [vh.shape_bias(Fixed(), stimuli, categories=authors, batch_size=n) for n in (1, 16)]
    assert found[0].decisions == found[1].decisions == vh.shape_bias(Fixed(), str(authors_folder)).decisions


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


def test_every_embedded_net_recognises_every_source():
    assert stimulus_set.unrecognised(SET) == []


def test_the_sources_can_be_made_again():
    zebras = [part for part in stimulus_set.parts() if part.name == "zebra1"]
    for part in [p for p in zebras if p.condition in ("silhouette", "edges")]:
        assert np.array_equal(stimulus_set.draw(part), Image.open(part.path(SET)).convert("RGB"))  # lossless
    for part in [p for p in zebras if p.condition in ("texture", "original")]:
        saved = np.asarray(Image.open(part.path(SET)).convert("RGB"), float)
        assert np.abs(np.asarray(stimulus_set.draw(part), float) - saved).mean() < 6


def test_the_command_goes_on_where_it_stopped(tmp_path, monkeypatch):
    drawn = []

    def draw(part):
        drawn.append(part)
        return Image.new("RGB", (224, 224), "red")

    few = stimulus_set.parts({"zebra": ["mammals/zebra"], "bear": ["mammals/european_bear", "mammals/bear"]})
    names = [p.name for p in few if p.condition == "conflict"]
    assert names == ["zebra1-zebra1", "zebra1-bear1", "bear1-zebra1", "bear2-bear1"]
    monkeypatch.setattr(stimulus_set, "draw", draw)
    monkeypatch.setattr(stimulus_set, "parts", lambda: few)
    monkeypatch.setattr(stimulus_set, "unrecognised", lambda folder: [])
    assert stimulus_set.main([str(tmp_path)]) == 0 and drawn == sorted(few, key=lambda p: p.condition == "conflict")
    gone = few[-1].path(tmp_path)
    gone.unlink()
    assert stimulus_set.main([str(tmp_path), "--backwards"]) == 0 and drawn[len(few):] == [few[-1]]
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix not in (".webp", ".csv")]
    monkeypatch.setattr(stimulus_set, "unrecognised", lambda folder: ["zebra1.webp is truck"])
    assert stimulus_set.main([str(tmp_path)]) == 1


# --- pictures --------------------------------------------------------------------------------------------------------
def test_silhouette_and_white_ground_share_the_mask():
    white, black = (np.asarray(f("mammals/zebra")).astype(int) for f in (vh.on_white, vh.silhouette))
    assert white.shape == (224, 224, 3) and (white[0] == 255).all()
    inside = black[..., 0] < 128
    assert 0.1 < inside.mean() < 0.5 and (white[black[..., 0] == 255] == 255).all()
    assert np.ptp(np.flatnonzero(inside.any(0))) in range(202, 207)  # 92 % of 224 pixels
    with pytest.raises(ValueError, match="no transparency"):
        vh.silhouette(vh.load_image("koala"))


def test_edges_are_lines_where_brightness_jumps():
    square = np.full((224, 224, 3), 255, np.uint8)
    square[60:160, 60:160] = 0
    lines = np.asarray(vh.edges(square))
    assert set(np.unique(lines)) == {0, 255}
    y, x = np.nonzero(lines[..., 0] == 0)
    ring = np.maximum(abs(y - 109.5), abs(x - 109.5))
    assert 350 < len(y) < 450 and ring.min() > 46 and ring.max() < 53


def test_grey_has_no_colour_and_textures_repeat():
    grey = np.asarray(vh.greyscale("mammals/zebra"))
    assert (grey[..., 0] == grey[..., 1]).all() and (grey[..., 1] == grey[..., 2]).all()
    skin = np.asarray(vh.skin_texture("mammals/zebra", 63, 36, 52, 112))
    assert np.array_equal(skin[:, :112], skin[:, 112:][:, ::-1]) and np.array_equal(skin[:112], skin[112:][::-1])
    one, two, other = (np.asarray(vh.heap_texture("fruit/lemon", 90, 2, seed)) for seed in (0, 0, 1))
    assert np.array_equal(one, two) and not np.array_equal(one, other)


# --- observers -------------------------------------------------------------------------------------------------------
def test_a_trial_is_one_picture_with_its_own_clock():
    moving = Image.open(io.BytesIO(observers.trial_picture(SET / "original/zebra/zebra1.webp")))
    assert moving.n_frames == 4 and moving.info["loop"] == 1
    want = observers.trial_frames(SET / "original/zebra/zebra1.webp")
    for n, milliseconds in enumerate((300, 200, 200)):
        moving.seek(n)
        assert moving.info["duration"] == milliseconds and np.array_equal(moving.convert("RGB"), want[n])
    moving.seek(3)
    assert np.ptp(np.asarray(moving.convert("RGB"))) == 0, "at last an even grey"


def test_the_mask_is_pink():
    values = np.asarray(observers.pink_noise(224, 3), float)[..., 0]
    power = np.abs(np.fft.fft2(values - values.mean()))
    radius = np.hypot(*np.meshgrid(*[np.fft.fftfreq(224)] * 2))
    means = [power[(radius >= low) & (radius < 2 * low)].mean() for low in (0.02, 0.04, 0.08, 0.16)]
    assert all(1.6 < a / b < 2.4 for a, b in zip(means, means[1:], strict=False)), "amplitude halves with every octave"


def test_the_order_is_the_observer_s_own_and_balanced():
    stimuli = vh.cue_stimuli()
    order = observers.trial_order(stimuli, "ada", 54)
    assert order == observers.trial_order(stimuli, "ada", 54) != observers.trial_order(stimuli, "bob", 54)
    assert len(set(order)) == 54 and sum(s.shape == s.texture for s in order) == 6
    counts = [sum(s.shape == name != s.texture for s in order) for name in vh.cue_categories()]
    assert set(counts) == {3}


def test_answers_are_read_back_and_pooled(tmp_path):
    for who, said in (("ada", "cat"), ("bob", "dog")):
        for n in (1, 2):
            one = observers.Answer(who, n, f"cat{n}-dog1.webp", "cat", "dog", said, 0.81234)
            observers.save_answer(observers.answer_file(tmp_path, who), one)
    found = vh.read_answers(tmp_path)
    assert {who: vh.count_decisions(d).bias for who, d in found.items()} == {"ada": 1.0, "bob": 0.0}
    assert vh.count_decisions(found["ada"] + found["bob"]).bias == 0.5
    assert observers.load_answers(tmp_path / "ada.csv")[1] == ("ada", 2, "cat2-dog1.webp", "cat", "dog", "cat", 0.812)
    assert vh.read_answers([tmp_path / "bob.csv"]).keys() == {"bob"} == vh.read_answers(tmp_path / "bob.csv").keys()
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="columns"):
        vh.read_answers(tmp_path)
    (tmp_path / "bad.csv").write_text(",".join(observers.COLUMNS) + "\nada,x,f,cat,dog,cat,1\n")
    with pytest.raises(ValueError, match="damaged"):
        vh.read_answers(tmp_path / "bad.csv")
    with pytest.raises(ValueError, match="letters"):
        observers.answer_file(tmp_path, "../ada")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no answers"):
        vh.read_answers(tmp_path / "empty")


# --- explorers -------------------------------------------------------------------------------------------------------
@pytest.fixture
def clock(monkeypatch):
    """A kernel clock that the test moves."""
    from vizhelpers.explore import cue_conflict

    now = [0.0]
    monkeypatch.setattr(cue_conflict, "perf_counter", lambda: now[0])
    return now


def click_through(experiment, clock, count, by="shape"):
    for _ in range(count):
        clock[0] += 1.0
        stimulus = experiment._current
        experiment.choices[getattr(stimulus, by)].click()


def test_the_experiment_from_start_to_end_and_again(tmp_path, clock):
    nets = {"net": vh.count_decisions([("zebra", "truck", "truck"), ("truck", "zebra", "truck")])}
    options = dict(observer="ada", trials=18, folder=tmp_path / "answers")
    one = vh.explore_observer(nets, **options)
    assert one.result[:3] == ("ada", 0, 18) and not (tmp_path / "answers").exists(), "no file before the first answer"
    assert all(b.disabled for b in one.choices.values()) and set(one.choices) == set(vh.cue_categories())
    one.choices["zebra"].click()
    assert one.result.done == 0, "a click before Start is nothing"
    one.start.click()
    first = one.images[0].value
    assert Image.open(io.BytesIO(first)).n_frames == 4
    clock[0] += 0.1
    one.choices["zebra"].click()
    assert one.result.done == 0 and "before the picture" in one.text.value
    click_through(one, clock, 5)
    assert one.images[0].value != first and one.result.done == 5 and one.bar.value == 5
    waiting, chart = one._current, one.images[1].value
    one.pause.click()
    assert one.images[1].value != chart and "Shape bias 100%" in one.text.value and not one.start.disabled
    again = vh.explore_observer(nets, **options)  # the cell is run again: nothing is lost
    assert again.result.done == 5 and [a.file for a in again.answers] == [a.file for a in one.answers]
    again.start.click()
    assert again._current == waiting
    click_through(again, clock, 13, by="texture")
    assert again.result.done == again.result.total == 18 and again.start.disabled and again._current is None
    saved = vh.read_answers(tmp_path / "answers")["ada"]
    assert again.result.bias == vh.count_decisions(saved) and again.result.bias.no_conflict == 1.0
    assert again.result.bias.shape + again.result.bias.texture == 16
    assert len(again.still()) > 1000 and again._repr_mimebundle_()["image/png"]


def test_observers_are_kept_apart_and_bad_names_are_said(tmp_path, clock):
    one = vh.explore_observer(observer="ada", trials=9, folder=tmp_path)
    one.start.click()
    click_through(one, clock, 2)
    one.name.value = "bob"
    assert one.result[:3] == ("bob", 0, 9)
    one.name.value = "ada"
    assert one.result.done == 2
    with pytest.raises(ValueError, match="letters"):
        one.name.value = "a/b"
    assert "letters" in one.text.value


def test_an_answer_that_cannot_be_saved_is_said(tmp_path, clock):
    (tmp_path / "answers").write_text("a file where the folder should be")
    one = vh.explore_observer(observer="ada", trials=9, folder=tmp_path / "answers")
    one.start.click()
    clock[0] += 1
    one.choices["zebra"].click()
    assert "Error" in one.text.value and one.result.done == 0


def test_the_stimulus_browser_walks_everything():
    class Quick(Fixed):
        def forward(self, x):
            return super().forward(x) * 0.2

    stimuli = [s for s in vh.cue_stimuli() if {s.shape, s.texture} <= {"zebra", "truck", "bear"}]
    explorer = vh.explore_stimuli({"net": Quick()}, stimuli)
    shape, texture = (next(c.children[0] for c in explorer.children if isinstance(c, W.HBox) and
                           getattr(c.children[0], "description", "") == d) for d in ("shape", "texture"))  # fmt: skip
    pictures = set()
    for a in shape.options:
        for b in texture.options:
            shape.value, texture.value = a, b
            assert explorer.result.stimulus[1:] == (a, b) and explorer.result.decisions["net"][:2] == (a, b)
            assert 0 <= explorer.result.outside["net"] <= 1
            pictures.add(explorer.images[0].value)
    assert len(pictures) == 9
    with pytest.raises(ValueError, match="at least one net"):
        vh.explore_stimuli({})


# --- figures ---------------------------------------------------------------------------------------------------------
def test_figures_show_the_numbers():
    found = {"net": vh.count_decisions([("cat", "dog", "cat"), ("dog", "cat", "cat"), ("dog", "car", "truck")])}
    ax = vh.show_shape_bias(found, published={"humans": 0.96, "AlexNet": 0.43})
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert labels == ["dog", "cat"] and "net: 50%" in ax.get_legend().get_texts()[0].get_text()
    assert list(ax.lines[0].get_xdata()) == [1.0, 0.0] and list(ax.lines[0].get_ydata()) == [1, 0]
    assert {"humans 96%", "AlexNet 43%"} <= {t.get_text() for t in ax.texts}
    accuracy = {"net": dict.fromkeys(CONDITIONS, 0.25), "humans": dict.fromkeys(CONDITIONS, 0.75)}
    ax = vh.show_conditions(accuracy, chance=1 / 16)
    assert sorted({round(bar.get_height(), 2) for bar in ax.patches}) == [0.25, 0.75]
    for show in (vh.show_shape_bias, vh.show_conditions):
        with pytest.raises(ValueError, match="at least one"):
            show({})


# --- exercises -------------------------------------------------------------------------------------------------------
def decisions_by(score, logits=False):
    def answer(values, categories):
        p = values if logits else values.softmax(1)
        table = torch.stack([score(p[:, list(i)]) for i in categories.values()], 1)
        return [list(categories)[k] for k in table.argmax(1).tolist()]
    return answer


def test_check_category_decision():
    vh.check_category_decision(decisions_by(lambda p: p.mean(1)))
    for wrong, words in ((decisions_by(lambda p: p.sum(1)), "sum"), (decisions_by(lambda p: p.amax(1)), "largest"),
                         (decisions_by(lambda p: p.mean(1), logits=True), "softmax"),
                         (lambda *a: [1, 2, 3, 4], "names"),
                         (lambda *a: "zebra", "list"), (lambda *a: ["dog"] * 4, "should be")):  # fmt: skip
        with pytest.raises(AssertionError, match=words):
            vh.check_category_decision(wrong)


def bias_of(table, conflict=True, others=False, texture=False):
    rows = [r for r in table if not conflict or r[0] != r[1]]
    shape, other = (sum(r[2] == r[k] for r in rows) for k in (0, 1))
    if shape + other == 0:
        return math.nan
    return (other if texture else shape) / (len(rows) if others else shape + other)


def test_check_shape_bias():
    vh.check_shape_bias(bias_of)
    for wrong, words in (
        (lambda t: bias_of(t, others=True), "wrong answers"), (lambda t: bias_of(t, conflict=False), "no conflict"),
        (lambda t: bias_of(t, texture=True), "texture bias"), (lambda t: None, "one number"),
        (lambda t: 0.0 if math.isnan(bias_of(t)) else bias_of(t), "nan"), (lambda t: 1 / 1.5 / 2, "bias of 1"),
    ):  # fmt: skip
        with pytest.raises(AssertionError, match=words):
            vh.check_shape_bias(wrong)


def bootstrap(decisions, rounds, seed, whole=True):
    rng = np.random.default_rng(seed)
    names = sorted({d[0] for d in decisions})
    groups = {n: [d for d in decisions if d[0] == n] for n in names}
    found = []
    for _ in range(rounds):
        if whole:
            drawn = [d for n in rng.choice(names, len(names)) for d in groups[n]]
        else:
            drawn = [decisions[k] for k in rng.integers(len(decisions), size=len(decisions))]
        found.append(bias_of(drawn))
    return tuple(np.quantile(found, [0.025, 0.975]))


def test_check_bootstrap():
    vh.check_bootstrap(bootstrap)
    for wrong, words in (
        (lambda d, r, s: bootstrap(d, r, s, whole=False), "independent"), (lambda d, r, s: None, "two numbers"),
        (lambda d, r, s: bootstrap(d, r, None), "same seed"), (lambda d, r, s: (0.9, 0.1), "low first"),
    ):  # fmt: skip
        with pytest.raises(AssertionError, match=words):
            vh.check_bootstrap(wrong)
