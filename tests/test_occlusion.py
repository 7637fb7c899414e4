"""Occlusion against closed forms, a plain loop and captum; the short way against the whole net; explorer and checks."""
import asyncio
import base64
import io

import nbformat
import numpy as np
import pytest
import torch
from methods import net_of
from nbclient import NotebookClient
from PIL import Image
from torch import nn

import vizhelpers as vh
from vizhelpers import locality
from vizhelpers.occlusion import Sweep, patch_boxes

CUT = ("squeezenet1_1", "vgg16", "resnet18", "googlenet", "densenet121", "alexnet", "mobilenet_v3_large")


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


# ---- only what a patch can reach ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name, size", [("squeezenet1_1", (224, 224)), *((name, (131, 170)) for name in CUT)])
def test_the_short_way_is_taken_and_gives_the_same(name, size):
    model, x = net_of(name), noise(2, 3, *size)
    with torch.no_grad():
        sweep = Sweep(model, x, 7, patch=20, stride=20, fill=noise(3, *size, seed=2))
        plain = locality.LocalNet(model, x, sweep.boxes, sweep.filled, [])
        assert len(sweep.net.levels) >= 2, "nothing was saved"
        jobs = torch.randperm(sweep.total, generator=torch.Generator().manual_seed(0))[:5]
        pictures, boxes = (jobs // len(sweep.boxes)).tolist(), (jobs % len(sweep.boxes)).tolist()
        got, want = (one.run(sweep._forward, pictures, boxes) for one in (sweep.net, plain))
    assert want.std(0).max() > 0
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)


def test_less_is_computed(net):
    """The pixels that reach the first layer, over all positions, against whole pictures."""
    x, seen = vh.to_input("koala", net).cpu(), []
    handle = net.features[0].register_forward_hook(lambda m, args, out: seen.append(args[0][:, 0].numel()))
    try:
        maps = vh.occlusion(net, x, 105, patch=32, stride=16)
    finally:
        handle.remove()
    assert sum(seen) < 0.2 * maps.logit[0].numel() * 224 * 224


class Skip(nn.Module):
    """A connection past the first layers: no window fits, the net must be run whole."""

    def __init__(self, combine):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2))
        self.past = nn.AvgPool2d(4)
        self.last, self.combine = nn.Linear(4, 5), combine

    def forward(self, x):
        a, b = self.first(x), self.past(x)
        return self.last(self.combine(a, b))


@pytest.mark.parametrize("combine", [
    lambda a, b: (a + b.mean(1, keepdim=True)).mean((2, 3)),       # shapes do not fit: an error inside the net
    lambda a, b: a.mean((2, 3)) + b.amax((1, 2, 3))[:, None],      # shapes fit, values would be wrong
], ids=["shapes", "values"])  # fmt: skip
def test_a_net_that_does_not_pass_through_its_layers_is_run_whole(combine):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Skip(combine).double().eval()
    x = noise(1, 3, 64, 64)
    maps = vh.occlusion(model, x, 2, patch=16, stride=8, fill=1.5)
    logit, _, _ = by_loop(model, x, 2, maps.boxes, torch.full((3, 64, 64), 1.5, dtype=torch.float64))
    torch.testing.assert_close(maps.logit[0].flatten(), logit)


def test_a_fixed_input_size_is_no_obstacle():
    model = vh.load_model("vit_b_16", weights="random", device="cpu")
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert vh.occlusion(model, x, 3, patch=112, stride=56).logit.shape == (1, 3, 3)


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
    with pytest.raises(ValueError, match="does not fit a picture of 24x32"):
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
    early = vh.occlusion(Stops(3), x, 1, patch=8, stride=8, batch_size=4)  # one for the whole picture, two batches
    assert torch.equal(early.logit[0].flatten()[:8], whole.logit[0].flatten()[:8])
    assert early.logit[0].flatten()[8:].isnan().all() and (early.winner[0].flatten()[8:] == -1).all()
    assert not early.drop.isnan().any() and (early.drop[0, 16:] == 0).all()
    with pytest.raises(KeyboardInterrupt):
        vh.occlusion(Stops(1), x, 1, patch=8, stride=8, batch_size=4)


# ---- explorer -------------------------------------------------------------------------------------------------------
def test_explorer_every_control_and_start_without_a_running_loop(net):
    explorer = vh.explore_occlusion(net, "koala")
    assert explorer.result.done == explorer.result.total == 49
    for fill in ("black", "white", "blurred", "grey"):
        explorer.fill.value = fill
        assert explorer.result.done == 0 and explorer.result.fill == fill and "press Start" in explorer.text.value
    explorer.patch.value, explorer.stride.value = 96, 64
    assert not (explorer.patch.continuous_update or explorer.stride.continuous_update)
    explorer.start.click()
    want = vh.occlusion(net, vh.to_input("koala", net), "koala", patch=96, stride=64)
    assert explorer.result[:3] == (96, 64, "grey") and explorer.bar.value == explorer.bar.max == 9
    for a, b in zip(explorer.result.maps, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert "Madagascar" in explorer.text.value or len(explorer.result.maps.winner.unique()) == 1
    assert Image.open(io.BytesIO(base64.b64decode(explorer._repr_mimebundle_()["image/png"]))).width > 800


def test_explorer_fills_are_what_they_say(net):
    explorer = vh.explore_occlusion(net, "koala", patch=96, stride=64)
    for fill, level in (("black", 0), ("white", 255)):
        explorer.fill.value = fill
        top, left, bottom, right = explorer.result.maps.boxes[4].tolist()
        shown = np.asarray(Image.open(io.BytesIO(explorer.images[0].value)).convert("RGB"))
        assert (shown[top + 2 : bottom - 2, left + 2 : right - 2] == level).all()


def test_explorer_stop_really_stops_and_start_goes_on(net):
    async def walk():
        explorer = vh.explore_occlusion(net, "koala")
        explorer.stride.value = 8
        explorer.start.click()
        assert explorer.start.disabled and not explorer.stop.disabled
        await asyncio.sleep(0.15)
        explorer.stop.click()
        done = explorer.result.done
        await asyncio.sleep(0.3)
        assert explorer.result.done == done and 0 < done < explorer.result.total == 22 * 22
        assert "to go" in explorer.text.value and explorer.stop.disabled and explorer.bar.value == done
        explorer.start.click()
        assert explorer.result.done > done
        explorer.patch.value = 64  # moving a control stops the sweep, too
        await asyncio.sleep(0.1)
        assert explorer.result.done == 0 and not explorer.start.disabled

    asyncio.run(walk())


def test_explorer_in_a_kernel_runs_between_cells_and_can_be_stopped(root):
    cells = [
        "import vizhelpers as vh; e = vh.explore_occlusion(vh.load_model('squeezenet1_1'), 'koala')\n"
        "e.stride.value = 4; e.start.click(); first = e.result.done",
        "import asyncio; await asyncio.sleep(0.5)",
        "e.stop.click(); second = e.result.done",
        "await asyncio.sleep(0.5); third = e.result.done",
        "assert 0 < first < second == third < e.result.total, (first, second, third, e.result.total)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(root)}}).execute()


def test_explorer_says_what_is_wrong(net):
    with pytest.raises(ValueError, match="grey, black, white, blurred"):
        vh.explore_occlusion(net, "koala", fill="pink")
    with pytest.raises(ValueError, match="no class scores"):
        vh.explore_occlusion(vh.load_model("alexnet"), "koala")
    explorer = vh.explore_occlusion(net, "koala")
    explorer.on_change(explorer.stride, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        explorer.stride.value = 64
    assert "ZeroDivisionError" in explorer.text.value


# ---- the lesson's checks --------------------------------------------------------------------------------------------
def starts(length, patch, stride):
    found = list(range(0, length - patch + 1, stride))
    return found if found[-1] + patch == length else [*found, length - patch]


@pytest.mark.parametrize("answer, sentence", [
    (lambda n, p, s: list(range(0, n - p + 1, s)), "never hidden"),
    (lambda n, p, s: list(range(0, n, s)), "hangs over the border"),
    (lambda n, p, s: [*range(0, n - p + 1, s), n - p], "twice"),
    (lambda n, p, s: None, "return the list"),
    (lambda n, p, s: list(range(n - p + 1)), "begin at"),
])  # fmt: skip
def test_patch_starts(answer, sentence):
    vh.check_patch_starts(starts)
    vh.check_patch_starts(lambda *a: torch.tensor(starts(*a)))
    with pytest.raises(AssertionError, match=sentence):
        vh.check_patch_starts(answer)


def drop(falls, boxes, height, width, add=True, divide=None):
    total, count = torch.zeros(height, width), torch.zeros(height, width)
    for fall, (top, left, bottom, right) in zip(falls, boxes, strict=True):
        total[top:bottom, left:right] = fall + (total[top:bottom, left:right] if add else 0)
        count[top:bottom, left:right] += 1
    return total / (count.clamp(min=1) if divide is None else divide(count))


@pytest.mark.parametrize("answer, sentence", [
    (lambda *a: drop(*a, divide=lambda c: 1), "sum of the falls"),
    (lambda *a: drop(*a, divide=lambda c: c), "0 / 0"),
    (lambda *a: drop(*a, divide=lambda c: 4), "not by the number of all boxes"),
    (lambda *a: drop(*a, add=False, divide=lambda c: 1), "overwrites"),
    (lambda *a: drop(*a).T, r"\(height, width\)"),
    (lambda *a: None, "return the map"),
])  # fmt: skip
def test_drop_map(answer, sentence):
    vh.check_drop_map(drop)
    with pytest.raises(AssertionError, match=sentence):
        vh.check_drop_map(answer)


def pairs(score, x, boxes, pick=min, copy=True):
    values = {}
    for i in range(len(boxes)):
        for j in range(i + 1, len(boxes)):
            hidden = x.clone() if copy else x
            for top, left, bottom, right in (boxes[i], boxes[j]):
                hidden[:, :, top:bottom, left:right] = 0
            values[i, j] = float(score(hidden))
    return pick(values, key=values.get)


def two_worst(score, x, boxes):
    values = []
    for top, left, bottom, right in boxes:
        hidden = x.clone()
        hidden[:, :, top:bottom, left:right] = 0
        values.append(float(score(hidden)))
    return sorted(sorted(range(len(boxes)), key=values.__getitem__)[:2])


@pytest.mark.parametrize("answer, sentence", [
    (two_worst, "two worst single boxes"),
    (lambda s, x, b: pairs(s, x, b, pick=max), "leaves the score highest"),
    (lambda s, x, b: pairs(s, x, b, copy=False), "wrote into x"),
    (lambda s, x, b: (2, 2), "one box, twice"),
    (lambda s, x, b: 3 * [0], "two box numbers"),
])  # fmt: skip
def test_worst_pair(answer, sentence):
    vh.check_worst_pair(pairs)
    vh.check_worst_pair(lambda *a: pairs(*a)[::-1])
    with pytest.raises(AssertionError, match=sentence):
        vh.check_worst_pair(answer)
