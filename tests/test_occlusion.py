"""Occlusion against closed forms, a plain loop and captum."""

import pytest
import torch
from torch import nn

import vizhelpers as vh
from vizhelpers.methods.occlusion import patch_boxes


@pytest.fixture(scope="module")
def net():
    return vh.load_model("squeezenet1_1", device="cpu")


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(height=24, width=32, classes=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * height * width, classes)).double()


def by_loop(net, x, target, boxes, fill):
    """The plainest way: one forward pass for each position, in a copy."""
    rows = []
    for top, left, bottom, right in boxes.tolist():
        hidden = x.clone()
        hidden[0, :, top:bottom, left:right] = fill[:, top:bottom, left:right]
        with torch.no_grad():
            rows.append(net(hidden)[0])
    logits = torch.stack(rows)
    return logits[:, target], logits.softmax(1)[:, target], logits.argmax(1)


# ---- closed forms ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("patch, stride", [(5, 3), (8, 8), (7, 4), (24, 1)])
@pytest.mark.parametrize("fill", [0.0, -0.7, "tensor"])
def test_on_a_linear_net_the_effect_is_w_times_x_minus_fill(patch, stride, fill):
    net, x = linear(), noise(2, 3, 24, 32)
    fill = noise(3, 24, 32, seed=5) if fill == "tensor" else fill
    maps = vh.occlusion(net, x, [0, 2], patch=patch, stride=stride, fill=fill)
    for n, target in enumerate((0, 2)):
        term = net[1].weight[target].view(3, 24, 32) * (x[n] - fill)
        want = [float(term[:, t:b, left:right].detach().sum()) for t, left, b, right in maps.boxes.tolist()]
        falls = (maps.score[n] - maps.logit[n]).flatten()
        torch.testing.assert_close(falls, torch.tensor(want, dtype=torch.float64), rtol=0, atol=1e-12)


def test_stride_equal_to_patch_sums_to_the_whole_effect():
    net, x = linear(), noise(1, 3, 24, 32)
    maps = vh.occlusion(net, x, 1, patch=8, stride=8, fill=0.3)
    want = net(x)[0, 1] - net(torch.full_like(x, 0.3))[0, 1]
    torch.testing.assert_close((maps.score - maps.logit).sum(), want.detach(), rtol=0, atol=1e-11)


def test_drop_is_the_mean_over_the_patches_that_cover_a_pixel():
    net, x = linear(), noise(1, 3, 24, 32)
    maps = vh.occlusion(net, x, 1, patch=7, stride=4)
    falls = (maps.score - maps.logit[0]).flatten()
    for row, column in ((0, 0), (23, 31), (11, 17), (3, 30)):
        over = [f for f, (t, left, b, r) in zip(falls, maps.boxes.tolist(), strict=True)
                if t <= row < b and left <= column < r]  # fmt: skip
        torch.testing.assert_close(maps.drop[0, row, column], torch.stack(over).mean())


@pytest.mark.parametrize("length, patch, stride", [(10, 4, 3), (10, 4, 4), (224, 42, 14), (224, 64, 20), (9, 9, 2),
                                                   (31, 5, 9)])  # fmt: skip
def test_every_pixel_is_hidden_and_no_patch_is_cut(length, patch, stride):
    boxes, rows, columns = patch_boxes(length, length + 1, patch, stride)
    hidden = torch.zeros(length, length + 1, dtype=torch.bool)
    for top, left, bottom, right in boxes.tolist():
        assert bottom - top == right - left == patch
        hidden[top:bottom, left:right] = True
    # a stride beyond the patch leaves gaps on purpose, but never at the border
    assert (hidden.all() or stride > patch) and hidden[[0, -1]][:, [0, -1]].all()
    assert rows * columns == len(boxes) == len(set(map(tuple, boxes.tolist())))


# ---- a loop, captum -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("batch_size", [1, 5, None])
def test_batched_equals_the_loop_and_the_input_is_untouched(net, batch_size):
    x = vh.to_input("sheep", net, size=128).cpu()
    fill, kept = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(3)), x.clone()
    maps = vh.occlusion(net, x, "ram", patch=32, stride=24, fill=fill, batch_size=batch_size)
    logit, probability, winner = by_loop(net, x, vh.class_index(net, "ram"), maps.boxes, fill)
    torch.testing.assert_close(maps.logit[0].flatten(), logit, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(maps.probability[0].flatten(), probability, rtol=1e-3, atol=1e-5)
    assert torch.equal(maps.winner[0].flatten(), winner) and len(winner.unique()) > 1
    assert torch.equal(x, kept)


@pytest.mark.parametrize("patch, stride", [(21, 7), (8, 8)])
def test_captum_gives_the_same_map_at_the_same_positions(net, patch, stride):
    from captum.attr import Occlusion

    x = vh.to_input("koala", net, size=112).cpu()
    maps = vh.occlusion(net, x, "koala", patch=patch, stride=stride)
    with torch.no_grad():
        theirs = Occlusion(net).attribute(
            x, (3, patch, patch), strides=(3, stride, stride), target=105, baselines=0, perturbations_per_eval=16
        )
    assert maps.logit[0].numel() == 196 and maps.drop.abs().max() > 1
    torch.testing.assert_close(maps.drop, theirs[:, 0], rtol=0, atol=1e-4)


def test_captum_differs_where_the_steps_do_not_reach_the_border(net):
    """There captum cuts its last patch; here it is pushed back, so that all patches are equally large."""
    from captum.attr import Occlusion

    x = vh.to_input("koala", net, size=96).cpu()
    ours = vh.occlusion(net, x, "koala", patch=40, stride=32).drop
    with torch.no_grad():
        theirs = Occlusion(net).attribute(x, (3, 40, 40), strides=(3, 32, 32), target=105, baselines=0)[:, 0]
    torch.testing.assert_close(ours[0, 0, 0], theirs[0, 0, 0], atol=1e-4, rtol=0)
    assert (ours[0, -1, -1] - theirs[0, -1, -1]).abs() > 1e-2


# ---- targets, errors, stopping --------------------------------------------------------------------------------------
@pytest.mark.parametrize("layer", ["features.0", "features.4.expand3x3", "features.7", "features.12"])
def test_a_neuron_of_any_layer_stands_for_a_class(net, layer):
    x = vh.to_input("koala", net, size=160).cpu()
    for unit in (vh.Neuron(layer, 3), vh.Neuron(layer, 3, 4, 5)):
        maps = vh.occlusion(net, x, unit, patch=32, stride=32)
        assert maps.probability.isnan().all() and (maps.winner == -1).all()
        want = []
        for top, left, bottom, right in maps.boxes.tolist():
            hidden = x.clone()
            hidden[:, :, top:bottom, left:right] = 0
            a = vh.activations(net, hidden, layer)[0, 3]
            want.append(float(a.mean() if unit.row is None else a[4, 5]))
        torch.testing.assert_close(maps.logit[0].flatten(), torch.tensor(want), rtol=1e-4, atol=1e-4)


def test_no_target_is_each_pictures_most_probable_class(net):
    x = vh.to_input(["koala", "coffee"], net, size=128).cpu()
    best = vh.class_scores(net, x).argmax(1).tolist()
    for a, b in zip(vh.occlusion(net, x, patch=64, stride=64), vh.occlusion(net, x, best, patch=64, stride=64),
                    strict=True):  # fmt: skip
        assert torch.equal(a, b)


@pytest.mark.parametrize("options", [{"patch": 0}, {"stride": 0}, {"patch": 25}])
def test_what_does_not_fit_is_refused(options):
    with pytest.raises(ValueError, match="does not fit a picture of 24x32|is 0: it must be at least 1"):
        vh.occlusion(linear(), noise(1, 3, 24, 32), 0, **({"patch": 8, "stride": 8} | options))


def test_the_stop_button_keeps_what_is_done():
    class Stops(nn.Module):
        def __init__(self, after):
            super().__init__()
            self.inner, self.left = linear(), after

        def forward(self, x):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return self.inner(x)

    x = noise(1, 3, 24, 32)
    whole = vh.occlusion(linear(), x, 1, patch=8, stride=8)
    early = vh.occlusion(Stops(4), x, 1, patch=8, stride=8, batch_size=4)  # a trial, the whole picture, two batches
    assert torch.equal(early.logit[0].flatten()[:8], whole.logit[0].flatten()[:8])
    assert early.logit[0].flatten()[8:].isnan().all() and (early.winner[0].flatten()[8:] == -1).all()
    assert not early.drop.isnan().any() and (early.drop[0, 16:] == 0).all()
    with pytest.raises(KeyboardInterrupt):
        vh.occlusion(Stops(1), x, 1, patch=8, stride=8, batch_size=4)
