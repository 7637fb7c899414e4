"""Lesson 12's observers: trials that keep their own time, answers that stay, the experiment, the stimulus browser."""
import io

import numpy as np
import pytest
from PIL import Image
from torch import nn

import vizhelpers as vh
from vizhelpers.explore import observer
from vizhelpers.images import DATA, load_image
from vizhelpers.methods import cue_conflict as cue

SET = DATA / "cue_conflict"


# --- trials and answers ----------------------------------------------------------------------------------------------
def test_a_trial_is_one_picture_with_its_own_clock():
    moving = Image.open(io.BytesIO(cue.trial_picture(SET / "original/zebra/zebra1.webp")))
    assert moving.n_frames == 4 and moving.info["loop"] == 1
    pictures = []
    for n, milliseconds in enumerate((300, 200, 200, 100)):
        moving.seek(n)
        assert moving.info["duration"] == milliseconds
        pictures.append(np.asarray(moving.convert("RGB")))
    cross, stimulus, _, last = pictures
    assert np.array_equal(stimulus, load_image(SET / "original/zebra/zebra1.webp"))
    assert np.ptp(last) == 0 and (last == 128).all(), "at last an even grey"
    rows, columns = np.nonzero((cross == 0).all(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (102, 122, 102, 122), "a cross in the middle"


def test_the_mask_is_pink():
    moving = Image.open(io.BytesIO(cue.trial_picture(SET / "original/zebra/zebra1.webp", seed=3)))
    moving.seek(2)
    values = np.asarray(moving.convert("RGB"), float)[..., 0]
    power = np.abs(np.fft.fft2(values - values.mean()))
    radius = np.hypot(*np.meshgrid(*[np.fft.fftfreq(224)] * 2))
    means = [power[(radius >= low) & (radius < 2 * low)].mean() for low in (0.02, 0.04, 0.08, 0.16)]
    assert all(1.6 < a / b < 2.4 for a, b in zip(means, means[1:], strict=False)), "amplitude halves with every octave"


def test_the_order_is_the_observer_s_own_and_balanced():
    stimuli = vh.cue_stimuli()
    order = cue.trial_order(stimuli, "ada", 54)
    assert order == cue.trial_order(stimuli, "ada", 54) != cue.trial_order(stimuli, "bob", 54)
    assert len(set(order)) == 54 and sum(s.shape == s.texture for s in order) == 6
    counts = [sum(s.shape == name != s.texture for s in order) for name in vh.cue_categories()]
    assert set(counts) == {3}


def test_answers_are_read_back_and_pooled(tmp_path):
    for who, said in (("ada", "cat"), ("bob", "dog")):
        lines = [f"{who},{n},cat{n}-dog1.webp,cat,dog,{said},0.812" for n in (1, 2)]
        (tmp_path / f"{who}.csv").write_text("\n".join([",".join(cue.Answer._fields), *lines]))
    found = vh.read_answers(tmp_path)
    assert {who: vh.count_decisions(d).bias for who, d in found.items()} == {"ada": 1.0, "bob": 0.0}
    assert vh.count_decisions(found["ada"] + found["bob"]).bias == 0.5
    assert cue.load_answers(tmp_path / "ada.csv")[1] == ("ada", 2, "cat2-dog1.webp", "cat", "dog", "cat", 0.812)
    assert vh.read_answers(tmp_path / "bob.csv").keys() == {"bob"}
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="columns"):
        vh.read_answers(tmp_path)
    (tmp_path / "bad.csv").write_text(",".join(cue.Answer._fields) + "\nada,x,f,cat,dog,cat,1\n")
    with pytest.raises(ValueError, match="damaged"):
        vh.read_answers(tmp_path / "bad.csv")
    with pytest.raises(ValueError, match="letters"):
        vh.explore_observer(observer="../ada", folder=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no answers"):
        vh.read_answers(tmp_path / "empty")


# --- explorers -------------------------------------------------------------------------------------------------------
@pytest.fixture
def clock(monkeypatch):
    """A kernel clock that the test moves."""
    now = [0.0]
    monkeypatch.setattr(observer, "perf_counter", lambda: now[0])
    return now


def click_through(experiment, clock, count, by="shape"):
    for _ in range(count):
        clock[0] += 1.0
        stimulus = experiment.current
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
    first = one.trial.value
    assert Image.open(io.BytesIO(first)).n_frames == 4
    clock[0] += 0.1
    one.choices["zebra"].click()
    assert one.result.done == 0 and "before the picture" in one.text.value
    click_through(one, clock, 5)
    assert one.trial.value != first and one.result.done == 5 and one.bar.value == 5
    waiting, chart = one.current, one.images[0].value
    one.pause.click()
    assert one.images[0].value != chart and "Shape bias 100%" in one.text.value and not one.start.disabled
    again = vh.explore_observer(nets, **options)  # the cell is run again: nothing is lost
    assert again.result.done == 5 and [a.file for a in again.answers] == [a.file for a in one.answers]
    again.start.click()
    assert again.current == waiting
    click_through(again, clock, 13, by="texture")
    assert again.result.done == again.result.total == 18 and again.start.disabled and again.current is None
    saved = vh.read_answers(tmp_path / "answers")["ada"]
    head, first, *_ = (tmp_path / "answers" / "ada.csv").read_text().splitlines()
    assert head == "observer,trial,file,shape,texture,answer,seconds" and first.startswith("ada,1,")
    assert again.result.bias == vh.count_decisions(saved) and again.result.bias.no_conflict == 1.0
    assert again.result.bias.shape + again.result.bias.texture == 16
    assert len(again._repr_mimebundle_()["image/png"]) > 1000


def test_observers_are_kept_apart_and_bad_names_are_said(tmp_path, clock):
    one = vh.explore_observer(observer="ada", trials=9, folder=tmp_path)
    one.start.click()
    click_through(one, clock, 2)
    one.controls["observer"].value = "bob"
    assert one.result[:3] == ("bob", 0, 9)
    one.controls["observer"].value = "ada"
    assert one.result.done == 2
    with pytest.raises(ValueError, match="letters"):
        one.controls["observer"].value = "a/b"
    assert "letters" in one.note.value


def test_an_answer_that_cannot_be_saved_is_said(tmp_path, clock):
    (tmp_path / "answers").write_text("a file where the folder should be")
    one = vh.explore_observer(observer="ada", trials=9, folder=tmp_path / "answers")
    one.start.click()
    clock[0] += 1
    one.choices["zebra"].click()
    assert "Error" in one.note.value and one.result.done == 0


def test_the_stimulus_browser_walks_everything():
    class Quick(nn.Module):
        """Answers by the picture's mean colour."""

        def forward(self, x):
            number = (x.mean((1, 2, 3)) * 1e5).long() % 1000
            return 4 * nn.functional.one_hot(number, 1000).float()

    explorer = vh.explore_stimuli({"net": Quick()})
    shape, texture = explorer.controls["shape"], explorer.controls["texture"]
    assert shape.options == texture.options == tuple(vh.cue_categories())
    assert shape.value != texture.value, "a conflict to begin with"
    pictures = set()
    for a in ("zebra", "truck", "bear"):
        for b in ("zebra", "truck", "bear"):
            shape.value, texture.value = a, b
            assert explorer.result.stimulus[1:] == explorer.result.decisions["net"][:2] == explorer.result[:2] == (a, b)
            assert 0 <= explorer.result.outside["net"] <= 1
            pictures.add(explorer.images[0].value)
    assert len(pictures) == 9
    with pytest.raises(ValueError, match="at least one net"):
        vh.explore_stimuli({})


def test_the_chart_of_the_nets_stands_there_from_the_start(tmp_path):
    nets = {"all texture": vh.count_decisions([(s.shape, s.texture, s.texture) for s in vh.cue_stimuli()])}
    one = vh.explore_observer(nets, observer="ada", trials=9, folder=tmp_path)
    assert one.others == nets and Image.open(io.BytesIO(one.images[0].value)).width == 640
