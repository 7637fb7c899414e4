"""Lesson 13's one table of methods, and the trial: baselines, random weights, two classes, the scoreboard."""
import math

import pytest
import torch
from test_trust import noise, own, same, tiny
from torch import nn

import vizhelpers as vh
from vizhelpers.methods import scoreboard
from vizhelpers.methods.scoreboard import BASELINES, METHODS, Trial, laboratory


# --- the table of methods ---------------------------------------------------------------------------------------------
def test_evidence_is_the_methods_own():
    net, x = tiny(), noise(2, 3, 48, 56).float()
    got = vh.evidence(net, x, [1, 2])
    assert list(got) == list(METHODS)
    assert all(m.shape == (2, 48, 56) and torch.isfinite(m).all() for m in got.values())
    torch.testing.assert_close(got["deconvnet"], vh.deconvnet_gradient(net, x, [1, 2]).abs().amax(1))
    torch.testing.assert_close(got["gradient x input"], vh.gradient_x_input(net, x, [1, 2]).sum(1))
    torch.testing.assert_close(got["Grad-CAM"], vh.upsampled(vh.grad_cam(net, x, [1, 2]), (48, 56)))
    silu = nn.Sequential(nn.Conv2d(3, 4, 5), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 44 * 52, 5)).eval()
    left_out = set(METHODS) - set(vh.evidence(silu, x, 1))
    assert left_out == {"deconvnet", "guided backprop", "CAM", "Guided Grad-CAM"}
    for asked, says in ((["guided backprop"], "silu"), (["magic"], "magic")):
        with pytest.raises(ValueError, match=says):
            vh.evidence(silu, x, 1, methods=asked)
    with pytest.raises(ValueError, match="0 to 4"):
        vh.evidence(net, x, 9)



def test_baselines_know_nothing_of_the_net():
    x = torch.zeros(1, 3, 9, 12)
    x[..., 6:] = 2.0  # one upright edge, grey 0 to 2
    got = scoreboard.edges(None, x)
    want = torch.zeros(9, 12)
    want[:, 5:7] = 1.0  # half of the step on either side
    torch.testing.assert_close(got[0], want)
    torch.testing.assert_close(scoreboard.edges(None, x.transpose(2, 3))[0], want.T)
    bell = scoreboard.centre(None, torch.zeros(2, 3, 9, 12, dtype=torch.float64))
    assert bell.shape == (2, 9, 12) and bell[0, 4, 5] == bell[0].max() and torch.equal(bell, bell.flip(1, 2))
    assert float(bell[0, 4, 8] / bell[0, 4, 5]) == pytest.approx(
        math.exp(-(2.5**2) / 18) / math.exp(-(0.5**2) / 18))  # fmt: skip
    dice = scoreboard.chance(None, x.expand(2, -1, -1, -1))
    assert torch.equal(dice[0], dice[1]) and dice.unique().numel() > 100


def test_the_laboratory_shows_what_the_trial_judges():
    net, x = tiny(), noise(1, 3, 48, 56).float()
    raw, maps, reasons = laboratory(net, x, 1)
    judged = vh.evidence(net, x, 1)
    assert set(raw) == set(maps) == set(METHODS) - set(BASELINES) and next(iter(raw)) == "deconvnet"  # lesson 04
    for name, found in raw.items():
        small = found.abs().amax(0) if name not in ("gradient x input", "Integrated Gradients") else found.sum(0)
        small = vh.upsampled(found[None], (48, 56))[0] if found.dim() == 2 else small
        torch.testing.assert_close(small, judged[name][0])
        torch.testing.assert_close(maps[name], found.sum(0) if found.dim() == 3 else small)
    silu = nn.Sequential(nn.Conv2d(3, 4, 5), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 44 * 52, 5)).eval()
    raw, maps, reasons = laboratory(silu, x, 1)
    assert set(reasons) == {"deconvnet", "guided backprop", "CAM", "Guided Grad-CAM"}
    assert not reasons.keys() & raw.keys() and "silu" in reasons["guided backprop"]


# --- random weights, two classes --------------------------------------------------------------------------------------
def test_sanity_check_is_its_parts():
    net, x = tiny(), noise(2, 3, 24, 28).float()
    before = own(net)
    got = vh.sanity_check(net, x, 1, "guided backprop", seed=3, progress=True)
    assert got.stages == ("7", "3", "1", "0") and got.maps.shape == (5, 2, 24, 28) and same(before, net)
    torch.testing.assert_close(got.maps[0], vh.guided_backprop(net, x, 1).abs().amax(1))
    with vh.randomized(net, "3", seed=3):
        there = vh.guided_backprop(net, x).abs().amax(1)  # of what the random net itself says
    torch.testing.assert_close(got.maps[2], there)
    torch.testing.assert_close(got.rank[1], vh.rank_correlation(there, got.maps[0]))
    torch.testing.assert_close(got.ssim[1], vh.ssim(there, got.maps[0]))
    edges = vh.sanity_check(net, x, None, "edges", upto=["3"])
    assert edges.rank.tolist() == [[pytest.approx(1)] * 2] and edges.ssim.tolist() == [[pytest.approx(1)] * 2]
    neuron = vh.Neuron("3", 1)
    found = vh.sanity_check(net, x, neuron, vh.saliency, upto=["0"])
    with vh.randomized(net, "0"):
        torch.testing.assert_close(found.maps[1], vh.saliency(net, x, neuron))
    with pytest.raises(ValueError, match="No method is called"):
        vh.sanity_check(net, x, 1, "magic")



def test_sanity_check_gives_the_weights_back_when_a_method_fails():
    net, x = tiny(), noise(1, 3, 24, 28).float()
    before, calls = own(net), []

    def fails_later(model, x, target):
        calls.append(model[7].weight.clone())
        if len(calls) == 3:
            raise RuntimeError("planted")
        return vh.saliency(model, x, target)

    with pytest.raises(RuntimeError, match="planted"):
        vh.sanity_check(net, x, 1, fails_later)
    assert same(before, net) and not torch.equal(calls[2], net[7].weight)

    def stopped(model, x, target):
        calls.append(None)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return vh.saliency(model, x, target)

    assert vh.sanity_check(net, x, 1, stopped).stages == ("7",) and same(before, net)



def test_class_sensitivity():
    net, x = tiny(), noise(2, 3, 24, 28).float()
    for name in ("saliency", "guided backprop", "Grad-CAM", "edges"):
        assert vh.class_sensitivity(net, x, (1, 1), name).tolist() == pytest.approx([1, 1])
    assert vh.class_sensitivity(net, x, (0, 4), "edges").tolist() == pytest.approx([1, 1])
    a, b = vh.saliency(net, x, 0), vh.saliency(net, x, 4)
    want = vh.rank_correlation(a, b)
    torch.testing.assert_close(vh.class_sensitivity(net, x, (0, 4), vh.saliency), want)
    assert want.max() < 1
    with pytest.raises(ValueError, match="two targets"):
        vh.class_sensitivity(net, x, (1, 2, 3), "saliency")
    with pytest.raises(TypeError, match="targets is a tuple, not 'koala'"):
        vh.class_sensitivity(net, x, "koala", "saliency")


# --- the trial --------------------------------------------------------------------------------------------------------
def test_bootstrap_of_the_mean():
    values = torch.stack([torch.full((40,), 0.5), noise(40)]).double()
    mean, low, high = vh.bootstrap(values, resamples=4000)
    assert (mean[0], low[0], high[0]) == (0.5, 0.5, 0.5)
    half = 1.96 * float(values[1].std(correction=0)) / 40**0.5
    assert float(mean[1] - low[1]) == pytest.approx(half, rel=0.1) and float(high[1] - mean[1]) == pytest.approx(
        half, rel=0.1)  # fmt: skip
    twice = values.repeat_interleave(4, dim=1)  # every value four times: no more knowledge, if drawn together
    groups = torch.arange(40).repeat_interleave(4)
    together, apart = vh.bootstrap(twice, groups, resamples=4000), vh.bootstrap(twice, resamples=4000)
    assert float(together[2][1] - together[1][1]) == pytest.approx(2 * half, rel=0.1)
    assert float(apart[2][1] - apart[1][1]) == pytest.approx(half, rel=0.1)
    with pytest.raises(ValueError, match="group for each"):
        vh.bootstrap(values, torch.zeros(3))



def cases(size=48):
    """Two scenes, one with two classes; the net is `tiny`, so the classes mean nothing."""
    one = vh.compose_scene(["hen"], boxes=[(0.02, 0.02, 0.6, 0.6)], size=(size, size))
    two = vh.compose_scene(["koala", "pineapple"], size=(size, size))
    return [Trial(one.image, one.masks, (1,), ("a",)), Trial(two.image, two.masks, (2, 3), ("b", "c"))]



def test_scoreboard_is_its_parts():
    net, names, both = tiny(), ["saliency", "Grad-CAM", "edges"], cases()
    before = own(net)
    board = vh.scoreboard(net, both, methods=names, steps=3, progress=True)
    assert same(before, net) and board.methods == tuple(names) and board.mean.shape == (3, 6)
    assert board.trials["pointing game"].tolist() == [0, 1, 1] and board.trials["two classes alike"].tolist() == [1]
    case = both[1]
    x = vh.to_input(case.image, net, size=(48, 48))
    heat = vh.saliency(net, x, 3)
    assert board.values["energy inside"][0, 2] == pytest.approx(float(vh.energy_inside(heat, case.masks[1:])))
    assert board.values["pointing game"][0, 2] == float(vh.pointing_game(heat, case.masks[1:], tolerance=15))
    alike = vh.class_sensitivity(net, x, (2, 3), "saliency")
    assert board.values["two classes alike"][0, 0] == pytest.approx(float(alike))
    heat = vh.saliency(net, x, 2)
    curves = vh.insertion_deletion(net, x, 2, heat, steps=3, fill="blurred", of="score")
    whole = float(vh.score(net, x, 2).clamp(min=1e-6))
    assert board.values["deletion"][0, 1] == pytest.approx(float(curves.deletion_auc) / whole, rel=1e-4)
    with vh.randomized(net, "3", seed=1):  # the upper two of its four blocks
        untaught = vh.saliency(net, x)
    want = float(vh.rank_correlation(untaught, heat))
    assert board.values["random weights alike"][0, 1] == pytest.approx(want, abs=1e-6)
    at = names.index("edges")
    assert board.mean[at, 4] == pytest.approx(1) and board.mean[at, 5] == pytest.approx(1)
    assert torch.equal(board.mean, torch.stack([board.values[m].mean(1) for m in board.measures], 1))
    assert (board.low <= board.mean + 1e-9).all() and (board.mean <= board.high + 1e-9).all()
    axes = vh.show_scoreboard(board, title="tiny")
    assert axes.shape == (2, 3) and [t.get_text() for t in axes[0, 0].get_yticklabels()] == names
    with pytest.raises(ValueError, match="no scene"):
        vh.scoreboard(net, [])



def test_scoreboard_keeps_the_scenes_that_are_done(monkeypatch):
    judged = scoreboard._judged

    def stop(model, case, *rest):
        if len(case.targets) == 2:
            raise KeyboardInterrupt
        return judged(model, case, *rest)

    monkeypatch.setattr(scoreboard, "_judged", stop)
    board = vh.scoreboard(tiny(), cases(), methods=["edges"], steps=2)
    assert board.values["pointing game"].shape == (1, 1) and torch.isnan(board.mean[0, 4])
    with pytest.raises(KeyboardInterrupt):
        vh.scoreboard(tiny(), cases()[1:], methods=["edges"])



def test_trials_are_scenes_that_the_net_sees():
    net = vh.load_model("squeezenet1_1", device="cpu")
    found = vh.trials(net, count=2, top=3)
    assert [t.names for t in found] == [("hen",), ("koala", "pineapple")]
    for t in found:
        logits = vh.class_scores(net, vh.to_input(t.image, net, size=(224, 224)))[0]
        assert all(c in logits.topk(3).indices for c in t.targets)
        assert t.masks.shape == (len(t.targets), 224, 224) and t.masks.dtype == torch.bool
    middle = found[0].masks[0, 112, 112]
    assert not middle  # in a corner
