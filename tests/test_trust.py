"""Lesson 13: closed forms on linear nets, weights that come back, scores worked out by hand."""
import copy
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import vizhelpers as vh
from vizhelpers.methods import trust


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
    (torch.zeros(2, 4, 4), torch.ones(1, 4, 4).bool(), "for 2 maps"),
    (torch.zeros(1, 4, 4), torch.zeros(1, 4, 4).bool(), "at least one pixel"),
    (torch.zeros(1, 4, 4), torch.ones(1, 4, 4), "masks are bool"),
    ("koala", torch.ones(1, 4, 4).bool(), "maps is a tensor, not 'koala'"),
])  # fmt: skip
def test_scores_refuse_in_a_sentence(maps, masks, says):
    for game in (vh.pointing_game, vh.energy_inside):
        with pytest.raises((ValueError, TypeError), match=says):
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
def test_the_curve_on_a_linear_net_is_known(fill, monkeypatch):
    monkeypatch.setattr(trust, "batch_for", lambda place: 7)
    net, x = linear(), noise(1, 3, 6, 8)
    heat = noise(1, 6, 8, seed=4)
    got = vh.insertion_deletion(net, x, 2, heat, steps=48, fill=fill, blur=0, of="score")
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


def test_blur_probability_batches_and_ties(monkeypatch):
    net, x = tiny(), noise(3, 3, 32, 40).float()
    maps = torch.zeros(3, 4, 5)  # all equal: the order is random, and the same in each call
    got = vh.insertion_deletion(net, x, [0, 1, 2], maps, steps=4, blur=3.0)
    monkeypatch.setattr(trust, "batch_for", lambda place: 2)
    again = vh.insertion_deletion(net, x, [0, 1, 2], maps, steps=4, blur=3.0, progress=True)
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
    from vizhelpers.methods.trust import pixel_order

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


def test_the_stop_button_keeps_what_is_done(monkeypatch):
    monkeypatch.setattr(trust, "batch_for", lambda place: 4)
    x = noise(2, 3, 6, 8)
    got = vh.insertion_deletion(Stops(linear(), 3), x, 1, noise(2, 6, 8), steps=4, blur=0, of="score")
    assert torch.isfinite(got.deletion[0]).all() and torch.isnan(got.insertion_auc[1])
    with pytest.raises(KeyboardInterrupt):
        vh.insertion_deletion(Stops(linear(), 0), x, 1, noise(2, 6, 8), steps=4, blur=0, of="score")


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
