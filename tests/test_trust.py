"""Lesson 13: closed forms on linear nets, weights that come back, scores worked out by hand; explorer and exercises."""
import copy
import math
from importlib import import_module

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import vizhelpers as vh

# the functions have taken the modules' names in the package
table, scoreboard = import_module("vizhelpers.evidence"), import_module("vizhelpers.scoreboard")


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(height=6, width=8, classes=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * height * width, classes)).double().requires_grad_(False)


def tiny(classes=5):
    """Convolutions, batch norm, ReLUs, pooling, linear: every method but CAM's exact identity holds on it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 5, stride=2), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes),
        )  # fmt: skip
    return net.eval().requires_grad_(False)


# --- pointing game and energy ----------------------------------------------------------------------------------------
def test_pointing_game_by_hand():
    maps, masks = torch.full((4, 5, 6), -1.0), torch.zeros(4, 5, 6, dtype=torch.bool)
    maps[0, 1, 4], maps[1, 1, 4], maps[2, 0, 0], maps[2, 4, 5] = 2.0, 2.0, 3.0, 3.0
    masks[0, 1, 4] = masks[1, 1, 3] = masks[2, 0, 0] = True
    masks[3, :2] = True
    got = vh.pointing_game(maps, masks)
    assert got.tolist() == pytest.approx([1, 0, 0.5, 12 / 30])  # hit, miss, two equal places, a flat map
    assert vh.pointing_game(maps, masks, tolerance=1)[1] == 1
    assert vh.pointing_game(maps[2:3], masks[2:3], tolerance=3).tolist() == [0.5]


def test_energy_inside_by_hand_and_from_a_small_map():
    maps, masks = torch.zeros(3, 4, 4), torch.zeros(3, 4, 4, dtype=torch.bool)
    maps[0, 0, 0], maps[0, 3, 3], maps[0, 1, 1] = 3.0, 1.0, -5.0
    masks[0, :2] = masks[1, 0] = masks[2, 0] = True
    maps[1] = -1.0
    assert vh.energy_inside(maps, masks).tolist() == pytest.approx([0.75, 0.25, 0.25])  # nothing positive: as if flat
    small = torch.rand(1, 2, 2, generator=torch.Generator().manual_seed(0))
    want = vh.energy_inside(vh.upsampled(small, (4, 4)), masks[:1])
    assert vh.energy_inside(small, masks[:1]) == want and 0 < want < 1


@pytest.mark.parametrize("maps, masks, says", [
    (torch.zeros(1, 3, 4, 4), torch.ones(1, 4, 4).bool(), "for colours"),
    (torch.full((1, 4, 4), math.nan), torch.ones(1, 4, 4).bool(), "not finite"),
    (torch.zeros(2, 4, 4), torch.ones(1, 4, 4).bool(), "2 maps but 1"),
    (torch.zeros(1, 4, 4), torch.zeros(1, 4, 4).bool(), "at least one pixel"),
    (torch.zeros(1, 4, 4), torch.ones(1, 4, 4), "masks are bool"),
    ("koala", torch.ones(1, 4, 4).bool(), "not str"),
])  # fmt: skip
def test_scores_refuse_in_a_sentence(maps, masks, says):
    for game in (vh.pointing_game, vh.energy_inside):
        with pytest.raises(ValueError, match=says):
            game(maps, masks)


# --- insertion and deletion ------------------------------------------------------------------------------------------
def by_the_linear_net(net, x, c, heat, fill):
    """The two curves in closed form: each pixel adds w * (x - fill)."""
    gain = (net[1].weight[c].view(3, *x.shape[2:]) * (x[0] - fill)).sum(0).flatten()
    steps = gain[heat.flatten().argsort(descending=True)].cumsum(0)
    steps = torch.cat([steps.new_zeros(1), steps])
    low = float(net(torch.full_like(x, fill))[0, c])
    return float(net(x)[0, c]) - steps, low + steps, gain


@pytest.mark.parametrize("fill", [0.0, -0.7])
def test_the_curve_on_a_linear_net_is_known(fill):
    net, x = linear(), noise(1, 3, 6, 8)
    heat = noise(1, 6, 8, seed=4)
    got = vh.insertion_deletion(net, x, 2, heat, steps=48, fill=fill, blur=0, of="score", batch_size=7)
    deletion, insertion, _ = by_the_linear_net(net, x, 2, heat, fill)
    torch.testing.assert_close(got.deletion[0], deletion)
    torch.testing.assert_close(got.insertion[0], insertion)
    area = float(((deletion[1:] + deletion[:-1]) / 2).mean())
    assert float(got.deletion_auc) == pytest.approx(area) and got.fraction.tolist() == pytest.approx(
        [n / 48 for n in range(49)])  # fmt: skip


def test_perfect_is_better_than_random_is_better_than_reversed():
    net, x = linear(), noise(1, 3, 6, 8)
    perfect = by_the_linear_net(net, x, 1, torch.zeros(6, 8), 0.0)[2].view(1, 6, 8)

    def areas(heat):
        found = vh.insertion_deletion(net, x, 1, heat, steps=48, blur=0, of="score")
        return float(found.deletion_auc), float(found.insertion_auc)

    best, worst = areas(perfect), areas(-perfect)
    for seed in range(20):
        between = areas(noise(1, 6, 8, seed=seed))
        assert best[0] < between[0] < worst[0] and best[1] > between[1] > worst[1]


def test_blur_probability_batches_and_ties():
    net, x = tiny(), noise(3, 3, 32, 40).float()
    maps = torch.zeros(3, 4, 5)  # all equal: the order is random, and the same in each call
    got = vh.insertion_deletion(net, x, [0, 1, 2], maps, steps=4, blur=3.0)
    again = vh.insertion_deletion(net, x, [0, 1, 2], maps, steps=4, blur=3.0, batch_size=2, progress=True)
    for a, b in zip(got, again, strict=True):
        torch.testing.assert_close(a, b)
    for n in range(3):
        one = vh.insertion_deletion(net, x[n : n + 1], n, maps[n : n + 1], steps=4, blur=3.0)
        torch.testing.assert_close(one.insertion[0], got.insertion[n])
    p = net(x).softmax(1)[range(3), range(3)]
    torch.testing.assert_close(got.deletion[:, 0], p)
    torch.testing.assert_close(got.insertion[:, -1], p)
    grey = net(torch.zeros_like(x)).softmax(1)[range(3), range(3)]
    torch.testing.assert_close(got.deletion[:, -1], grey)
    blurred = vh.insertion_deletion(net, x, [0, 1, 2], maps, steps=4, blur=3.0, fill="blurred")
    torch.testing.assert_close(blurred.deletion[:, -1], got.insertion[:, 0])
    assert (got.insertion[:, 0] - grey).abs().max() > 1e-6
    flat = vh.insertion_deletion(net, x, vh.Neuron("3", 2), maps, steps=2, of="score")
    torch.testing.assert_close(flat.deletion[:, 0], vh.score(net, x, vh.Neuron("3", 2)))


def test_equal_values_are_not_deleted_from_the_top_down():
    from vizhelpers.trust import pixel_order

    rank = pixel_order(torch.zeros(1, 30, 30), (30, 30))[0]
    assert sorted(rank.flatten().tolist()) == list(range(900))
    assert abs(float(rank[:15].double().mean() - rank[15:].double().mean())) < 60  # from the top down it would be 450


class Stops(nn.Module):
    """A net that is interrupted in its n-th call."""

    def __init__(self, net, calls):
        super().__init__()
        self.net, self.left = net, calls

    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.net(x)


def test_the_stop_button_keeps_what_is_done():
    x = noise(2, 3, 6, 8)
    got = vh.insertion_deletion(Stops(linear(), 4), x, 1, noise(2, 6, 8), steps=4, batch_size=4, blur=0, of="score")
    assert torch.isfinite(got.deletion[0]).all() and torch.isnan(got.insertion_auc[1])
    with pytest.raises(KeyboardInterrupt):
        vh.insertion_deletion(Stops(linear(), 1), x, 1, noise(2, 6, 8), steps=4, batch_size=4, blur=0, of="score")


@pytest.mark.parametrize("change, says", [
    ({"steps": 0}, "1 step or more"), ({"of": "loss"}, "of='loss'"), ({"maps": torch.zeros(2, 6, 8)}, "2 maps for 1"),
    ({"fill": "grey"}, "'grey'"), ({"fill": "blurred", "blur": 0}, "blur above 0"),
    ({"target": vh.Neuron("1", 0)}, "no probability"), ({"target": 3}, "0 to 2"),
])  # fmt: skip
def test_insertion_deletion_refuses_in_a_sentence(change, says):
    given = {"target": 1, "maps": torch.zeros(1, 6, 8)} | change
    with pytest.raises(ValueError, match=says):
        vh.insertion_deletion(linear(), noise(1, 3, 6, 8), given.pop("target"), given.pop("maps"), **given)


# --- similarity ------------------------------------------------------------------------------------------------------
def test_rank_correlation_is_scipy_s_also_with_ties():
    a, b = noise(2, 9, 7), noise(2, 9, 7, seed=1)
    b[1] = (a[1] * 2).round()
    a[0, :4] = 0.25
    for n, got in enumerate(vh.rank_correlation(a, b)):
        assert float(got) == pytest.approx(stats.spearmanr(a[n].flatten(), b[n].flatten()).statistic)
    assert vh.rank_correlation(a, a).tolist() == pytest.approx([1, 1])
    assert vh.rank_correlation(a[1:], -(a[1:] ** 3)).tolist() == pytest.approx([-1])
    assert vh.rank_correlation(a, torch.zeros_like(a)).tolist() == [0, 0]


def test_ssim_by_a_plain_loop():
    a, b = noise(1, 13, 14), noise(1, 13, 14, seed=1)
    b = b + a
    along = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(along, along) / along.sum() ** 2
    p, q = (((m - m.min()) / (m.max() - m.min()))[0].numpy() for m in (a, b))
    found = []
    for r in range(3):
        for c in range(4):
            u, v = p[r : r + 11, c : c + 11], q[r : r + 11, c : c + 11]
            mu, mv = (window * u).sum(), (window * v).sum()
            su, sv = (window * (u - mu) ** 2).sum(), (window * (v - mv) ** 2).sum()
            both = (window * (u - mu) * (v - mv)).sum()
            found.append((2 * mu * mv + 1e-4) * (2 * both + 9e-4) / ((mu**2 + mv**2 + 1e-4) * (su + sv + 9e-4)))
    assert float(vh.ssim(a, b)) == pytest.approx(np.mean(found))
    assert float(vh.ssim(a, 3 * a + 1)) == pytest.approx(1)
    for wrong in (a[:, :8], a[0]):
        with pytest.raises(ValueError):
            vh.ssim(wrong, wrong)
    with pytest.raises(ValueError, match="both be"):
        vh.rank_correlation(a, b[:, :5])


# --- random weights --------------------------------------------------------------------------------------------------
def own(net):
    return [(name, p.clone(), p.data_ptr(), p._version, p.requires_grad) for name, p in net.named_parameters()]


def same(before, net):
    return all(
        torch.equal(p, v) and p.data_ptr() == at and p._version == version and p.requires_grad == wanted
        for (_, p), (_, v, at, version, wanted) in zip(net.named_parameters(), before, strict=True)
    )


def test_stages_from_the_top_down():
    assert vh.stages(tiny()) == ["7", "3", "1", "0"]
    net = vh.load_model("resnet18", weights="random", device="cpu")
    assert vh.stages(net) == ["fc", *(f"layer{n}.{k}" for n in (4, 3, 2, 1) for k in (1, 0)), "bn1", "conv1"]
    assert vh.stages(nn.Linear(2, 2)) == []  # one layer, no parts


def test_weights_come_back_bit_by_bit():
    net = tiny().to(memory_format=torch.channels_last)
    before, state = own(net), copy.deepcopy(net.state_dict())
    for upto in (None, *vh.stages(net), net[3]):
        with vh.randomized(net, upto) as lent:
            assert lent is net
            changed = [name for (name, p), (_, v, *_) in zip(net.named_parameters(), before, strict=True)
                       if not torch.equal(p, v)]  # fmt: skip
            assert "7.weight" in changed and ("0.weight" in changed) == (upto in (None, "0"))
        assert same(before, net)
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), vh.randomized(net):
            raise error
        assert same(before, net)
    assert all(torch.equal(v, state[name]) for name, v in net.state_dict().items())
    for wrong, says in (("nothing", "nearest"), ("2", "no weights")):
        with pytest.raises(ValueError, match=says), vh.randomized(net, wrong):
            raise AssertionError("not reached")


def test_random_weights_cascade_and_keep_their_sizes():
    net, seen = tiny(), {}
    for upto in ("7", "3", "0"):
        with vh.randomized(net, upto, seed=5):
            seen[upto] = {name: p.clone() for name, p in net.named_parameters()}
    assert torch.equal(seen["7"]["7.weight"], seen["0"]["7.weight"])
    assert torch.equal(seen["3"]["3.weight"], seen["0"]["3.weight"])
    assert torch.equal(seen["3"]["0.weight"], net[0].weight) and not torch.equal(seen["0"]["0.weight"], net[0].weight)
    for name, p in net.named_parameters():
        got = seen["0"][name]
        assert torch.equal(got.abs().flatten().sort()[0], p.abs().flatten().sort()[0])
        if p.dim() == 1:
            assert torch.equal(got.sort()[0], p.sort()[0])
    with vh.randomized(net, seed=6):
        assert not torch.equal(net[3].weight, seen["0"]["3.weight"])
    with torch.inference_mode(), vh.randomized(net):
        assert not any(p.is_inference() for p in net.parameters())
        vh.saliency(net, torch.zeros(1, 3, 16, 16) + 1, 1)  # turns inference mode off for itself
    net(torch.zeros(1, 3, 16, 16))  # no inference tensor stayed behind
    loss = net.requires_grad_(True)(torch.ones(1, 3, 16, 16)).sum()
    loss.backward()


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
    for wrong in ("koala", (1, 2, 3)):
        with pytest.raises(ValueError, match="two targets"):
            vh.class_sensitivity(net, x, wrong, "saliency")


# --- evidence and baselines ------------------------------------------------------------------------------------------
def test_evidence_is_the_methods_own():
    net, x = tiny(), noise(2, 3, 48, 56).float()
    got = vh.evidence(net, x, [1, 2])
    assert list(got) == list(table.METHODS)
    assert all(m.shape == (2, 48, 56) and torch.isfinite(m).all() for m in got.values())
    torch.testing.assert_close(got["deconvnet"], vh.deconvnet_gradient(net, x, [1, 2]).abs().amax(1))
    torch.testing.assert_close(got["gradient x input"], vh.gradient_x_input(net, x, [1, 2]).sum(1))
    torch.testing.assert_close(got["Grad-CAM"], vh.upsampled(vh.grad_cam(net, x, [1, 2]), (48, 56)))
    silu = nn.Sequential(nn.Conv2d(3, 4, 5), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 44 * 52, 5)).eval()
    left_out = set(table.METHODS) - set(vh.evidence(silu, x, 1))
    assert left_out == {"deconvnet", "guided backprop", "CAM", "Guided Grad-CAM"}
    for asked, says in ((["guided backprop"], "silu"), (["magic"], "magic")):
        with pytest.raises(ValueError, match=says):
            vh.evidence(silu, x, 1, methods=asked)
    with pytest.raises(ValueError, match="0 to 4"):
        vh.evidence(net, x, 9)


def test_baselines_know_nothing_of_the_net():
    x = torch.zeros(1, 3, 9, 12)
    x[..., 6:] = 2.0  # one upright edge, grey 0 to 2
    got = table.edges(None, x)
    want = torch.zeros(9, 12)
    want[:, 5:7] = 1.0  # half of the step on either side
    torch.testing.assert_close(got[0], want)
    torch.testing.assert_close(table.edges(None, x.transpose(2, 3))[0], want.T)
    bell = table.centre(None, torch.zeros(2, 3, 9, 12, dtype=torch.float64))
    assert bell.shape == (2, 9, 12) and bell[0, 4, 5] == bell[0].max() and torch.equal(bell, bell.flip(1, 2))
    assert float(bell[0, 4, 8] / bell[0, 4, 5]) == pytest.approx(
        math.exp(-(2.5**2) / 18) / math.exp(-(0.5**2) / 18))  # fmt: skip
    dice = table.chance(None, x.expand(2, -1, -1, -1))
    assert torch.equal(dice[0], dice[1]) and dice.unique().numel() > 100


# --- scoreboard ------------------------------------------------------------------------------------------------------
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
    one = vh.compose_scene(["hen"], boxes=[scoreboard.NW], size=(size, size))
    two = vh.compose_scene(["koala", "pineapple"], size=(size, size))
    return [vh.Trial(one.image, one.masks, (1,), ("a",)), vh.Trial(two.image, two.masks, (2, 3), ("b", "c"))]


def test_scoreboard_is_its_parts():
    net, names, both = tiny(), ["saliency", "Grad-CAM", "edges"], cases()
    before = own(net)
    board = vh.scoreboard(net, both, methods=names, steps=3, resamples=50, progress=True)
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
    board = vh.scoreboard(tiny(), cases(), methods=["edges"], steps=2, resamples=20)
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


def test_show_strip():
    picture = torch.rand(3, 8, 8)
    axes = vh.show_strip({"a": [picture, picture], "b": [picture, picture]}, ["left", "right"])
    assert axes.shape == (2, 2) and axes[0, 1].get_title() == "right" and axes[1, 0].get_ylabel() == "b"
    with pytest.raises(ValueError, match="2 pictures in each row"):
        vh.show_strip({"a": [picture]}, ["left", "right"])


# --- explorer --------------------------------------------------------------------------------------------------------
def controls(widget) -> dict:
    found = {widget.description: widget} if hasattr(widget, "description") and hasattr(widget, "value") else {}
    for child in getattr(widget, "children", ()):
        found |= controls(child)
    return found


def test_every_control_of_the_explorer():
    net = tiny()
    explorer = vh.explore_trust(net, "koala", 2, methods=["saliency", "edges"], steps=5)
    parts, x = controls(explorer), vh.to_input("koala", net)
    assert explorer.result[:4][0:2] == ("saliency", "trained") and explorer.result.rank == 1
    for name in ("edges", "saliency"):
        parts["method"].value = name
        want = vh.sanity_check(net, x, 2, name)
        curve = vh.insertion_deletion(net, x, 2, want.maps[0], steps=5)
        for at, stage in enumerate(["trained", *want.stages]):
            parts["random to"].value = stage
            assert explorer.result[:2] == (name, stage)
            torch.testing.assert_close(explorer.result.map, want.maps[at, 0])
            rank = 1.0 if at == 0 else float(want.rank[at - 1])
            assert explorer.result.rank == pytest.approx(rank) and f"{rank:.2f}" in explorer.text.value
        for k in range(6):
            parts["deleted"].value = k
            assert explorer.result.deleted == pytest.approx(k / 5, abs=1e-4)
            assert explorer.result.probability == pytest.approx(float(curve.deletion[0, k]), abs=1e-6)
    pictures = set()
    for k in range(6):
        parts["deleted"].value = k
        pictures.add(explorer.images[2].value)
    assert len(pictures) == 6
    with pytest.raises(ValueError, match="magic"):
        vh.explore_trust(net, "koala", methods=["magic"])


def test_the_explorer_leaves_the_net_alone():
    net = tiny()
    before = own(net)
    explorer = vh.explore_trust(net, "koala", methods=["Grad-CAM"], steps=2)
    controls(explorer)["random to"].value = "0"
    assert same(before, net) and vh.stages(net)[-1] == "0"


# --- exercise 1 ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("answer", [
    lambda heat, mask: bool(mask.flatten()[heat.argmax()]),
    lambda heat, mask: mask[heat == heat.max()].any(),
])  # fmt: skip
def test_pointing_right(answer):
    vh.check_pointing(answer)


@pytest.mark.parametrize("answer, says", [
    (lambda heat, mask: mask.flatten()[heat.abs().argmax()], "row 1, column 6|sign"),
    (lambda heat, mask: mask.T.flatten()[heat.argmax()], "flat index|one highest"),
    (lambda heat, mask: heat[mask].sum() > heat[~mask].sum(), "highest|sign|row 1"),
    (lambda heat, mask: heat[mask].mean() > heat[~mask].mean(), "one highest"),
    (lambda heat, mask: None, "returns nothing"),
])  # fmt: skip
def test_pointing_wrong(answer, says):
    with pytest.raises(AssertionError, match=says):
        vh.check_pointing(answer)


# --- exercise 2 ------------------------------------------------------------------------------------------------------
def deletion(model, x, c, heat, steps, *, descending=True, by=lambda h: h, read=lambda scores: scores, whole=False,
             in_place=False):  # fmt: skip
    order = by(heat).flatten().argsort(descending=descending)
    found = []
    for step in range(steps + 1):
        gone = x if in_place else x.clone()
        gone.flatten(2)[:, : 1 if whole else 3, order[: step * len(order) // steps]] = 0
        found.append(float(read(model(gone))[0, c]))
    return found


@pytest.mark.parametrize("answer", [
    deletion, lambda *a: torch.tensor(deletion(*a)),
    lambda m, x, c, heat, n: vh.insertion_deletion(m, x, c, heat[None], steps=n, of="score", blur=0).deletion[0],
])  # fmt: skip
def test_deletion_right(answer):
    vh.check_deletion(answer)


@pytest.mark.parametrize("change, says", [
    ({"descending": False}, "lowest pixels first"), ({"by": torch.abs}, "rank by magnitude"),
    ({"read": lambda s: s.softmax(1)}, "take the logit"), ({"whole": True}, "all three colours"),
    ({"in_place": True}, "changed x"),
])  # fmt: skip
def test_deletion_wrong(change, says):
    with pytest.raises(AssertionError, match=says):
        vh.check_deletion(lambda *args: deletion(*args, **change))
    with pytest.raises(AssertionError, match="5 points"):
        vh.check_deletion(lambda *args: deletion(*args)[:-1])
    with pytest.raises(AssertionError, match="return 5 numbers"):
        vh.check_deletion(lambda *args: None)


# --- exercise 3 ------------------------------------------------------------------------------------------------------
def lend(model, function, *, keep=torch.clone, back=True, always=True, swallow=False, change=True, call=True):
    kept = [keep(p.data) for p in model.parameters()]
    try:
        for p in model.parameters():
            if change:
                p.data.copy_(torch.randn(p.shape))
        return function() if call else None
    except KeyError:
        if not swallow:
            if not always:
                kept = []
            raise
    finally:
        for p, v in zip(model.parameters(), kept, strict=False):
            if back:
                p.data.copy_(v)


def by_the_package(model, function):
    with vh.randomized(model):
        return function()


@pytest.mark.parametrize("answer", [lend, by_the_package])
def test_with_random_weights_right(answer):
    vh.check_with_random_weights(answer)


@pytest.mark.parametrize("change, says", [
    ({"keep": lambda v: v}, "not given back"), ({"back": False}, "not given back"),
    ({"always": False}, "finally block"), ({"swallow": True}, "come through"), ({"change": False}, "was not random"),
    ({"call": False}, r"call function\(\)"),
])  # fmt: skip
def test_with_random_weights_wrong(change, says):
    with pytest.raises(AssertionError, match=says):
        vh.check_with_random_weights(lambda *args: lend(*args, **change))
