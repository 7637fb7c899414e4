"""Only what a patch can reach: the short way against the whole net, on nets that it fits and on others."""
import pytest
import torch
from methods import net_of, transformer
from torch import nn

import vizhelpers as vh
from vizhelpers.methods import locality
from vizhelpers.methods.occlusion import Sweep

CUT = ("squeezenet1_1", "vgg16", "resnet18", "googlenet", "densenet121", "alexnet", "mobilenet_v3_large")


@pytest.fixture(scope="module")
def net():
    return vh.load_model("squeezenet1_1", device="cpu")


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name, size", [("squeezenet1_1", (224, 224)), *((name, (131, 170)) for name in CUT)])
def test_the_short_way_is_taken_and_gives_the_same(name, size):
    model, x = net_of(name), noise(2, 3, *size)
    with torch.no_grad():
        sweep = Sweep(model, x, 7, patch=20, stride=20, fill=noise(3, *size, seed=2))
        plain = locality.LocalNet(model, x, sweep.boxes, sweep.filled, {})
        assert len(sweep.net.names) >= 2, "nothing was saved"
        jobs = torch.randperm(sweep.total, generator=torch.Generator().manual_seed(0))[:5]
        got, want = (sweep._answers(one, jobs.tolist()) for one in (sweep.net, plain))
    assert want.std(0).max() > 0
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)


def test_less_is_computed(net):
    """The pixels that reach the first layer, over all positions, against whole pictures."""
    x, seen = vh.to_input("koala", net).cpu(), []
    locality.levels(net, x)  # the fields of a net are looked for once
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
    for (top, left, bottom, right), logit in zip(maps.boxes.tolist(), maps.logit[0].flatten(), strict=True):
        hidden = x.clone()
        hidden[:, :, top:bottom, left:right] = 1.5
        torch.testing.assert_close(logit, model(hidden)[0, 2].detach())


def test_a_fixed_input_size_is_no_obstacle():
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert vh.occlusion(transformer(), x, 3, patch=112, stride=56).logit.shape == (1, 3, 3)
