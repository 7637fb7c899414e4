"""Many passes through one net: autograd's numbers, from a private copy; the net itself stays as it was."""
import pytest
import torch
from torch import nn

import vizhelpers as vh
from vizhelpers.hooks import capture, outputs_until
from vizhelpers.methods.fast import Fast, changed


class Net(nn.Module):
    """With an in-place ReLU behind the layer that is looked at, and a buffer that every pass writes to."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.first = nn.Conv2d(3, 24, 3, padding=1)
            self.second = nn.Conv2d(24, 32, 3, padding=1)
            self.relu = nn.ReLU(inplace=True)
            self.last = nn.Linear(32, 4)
        self.register_buffer("passes", torch.zeros(()))
        self.eval()

    def forward(self, x):
        self.passes += 1
        return self.last(self.relu(self.second(self.first(x))).mean((2, 3)))


X = torch.randn(2, 3, 17, 22, generator=torch.Generator().manual_seed(2))


def at_second(net):
    return lambda x: outputs_until(net, x, "second")["second"][:, 5].square().mean((1, 2))


def by_autograd(net, x, loss_of):
    leaf = x.clone().requires_grad_(True)
    value = loss_of(net)(leaf)
    return value.detach(), torch.autograd.grad(value.sum(), leaf)[0]


@pytest.mark.parametrize("loss_of", [at_second, lambda net: lambda x: net(x)[:, 1]])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_the_copy_gives_autograd_s_numbers(loss_of, kind):
    net, x = Net().to(kind), X.to(kind)
    fast = Fast(net)
    for got, want in zip(fast(x, loss_of(fast.net)), by_autograd(net, x, loss_of), strict=True):
        torch.testing.assert_close(got, want)
        assert not got.requires_grad and got.dtype is kind


def test_bfloat16_is_near_and_comes_back_in_float32():
    net = Net()
    low = Fast(net, "bfloat16")
    value, gradient = low(X, at_second(low.net))
    want = by_autograd(net, X, at_second)
    assert value.dtype is gradient.dtype is torch.float32 and not torch.equal(gradient, want[1])
    torch.testing.assert_close(value, want[0], rtol=0.02, atol=0)
    assert torch.cosine_similarity(gradient.flatten(), want[1].flatten(), 0) > 0.99
    with pytest.raises(ValueError, match="'float32' or 'bfloat16', not 'half'"):
        Fast(net, "half")


def test_modes_around_it_are_no_matter():
    want = by_autograd(Net(), X, at_second)
    for around in (torch.inference_mode(), torch.no_grad(), torch.autocast("cpu", torch.bfloat16)):
        with around:
            net = Net()  # in inference mode its weights are of the kind that takes part in no gradient
            fast = Fast(net)
            got = tuple(part.clone() for part in fast(X.clone(), at_second(fast.net)))
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a.clone(), b)


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_net_stays_as_it_was(precision, error):
    net = Net().train()
    before = {name: (p, p.clone(), p._version, p.data_ptr()) for name, p in net.state_dict(keep_vars=True).items()}
    fast = Fast(net, precision)

    def loss(x):
        if error:
            raise error("planted")
        return fast.net(x)[:, 0]

    if error:
        with pytest.raises(error):
            fast(X, loss)
    else:
        fast(X, loss)
        assert fast.net.passes == 1
    for name, p in net.state_dict(keep_vars=True).items():
        same, value, version, place = before[name]
        assert p is same and torch.equal(p, value) and p._version == version and p.data_ptr() == place
        assert p.grad is None and p.requires_grad == (name != "passes")
    assert all("forward" not in vars(module) and not module._forward_hooks for module in net.modules())
    assert net.training and net.second.training and not fast.net.training


def test_the_copy_is_frozen_and_in_channels_last():
    copied = Fast(Net()).net
    assert not any(p.requires_grad for p in copied.parameters())
    assert copied.first.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_only_the_channel_that_is_wanted_is_computed(kind):
    net, x, neuron = Net().to(kind), X.to(kind), vh.Neuron("second", 27)
    want = by_autograd(net, x, lambda net: lambda x: vh.score(net, x, neuron))
    fast = Fast(net)
    narrow = fast.narrowed(neuron)
    assert narrow == vh.Neuron("second", 0) and fast.net.second.weight.shape[0] == 1
    torch.testing.assert_close(fast(x, lambda x: vh.score(fast.net, x, narrow, whole=False)), want)
    hooked = Net()
    hooked.second.register_forward_hook(lambda module, args, out: out * (torch.arange(32) == 27)[:, None, None])
    assert Fast(hooked).narrowed(neuron) == neuron  # what hangs on the layer may count on all its channels
    assert Fast(Net()).narrowed(vh.Neuron("relu", 3)) == vh.Neuron("relu", 3)


def test_nets_that_are_hard_to_copy():
    def mean_of(net):
        return lambda x: net(x).mean((1, 2, 3))

    def check(net):
        fast = Fast(net)
        torch.testing.assert_close(fast(X, mean_of(fast.net)), by_autograd(net, X, mean_of))
        return fast.net

    conv = torch.nn.utils.weight_norm(nn.Conv2d(3, 4, 3))  # its weight is computed: no leaf, which deepcopy refuses
    conv(X)
    assert check(nn.Sequential(conv)) is not conv
    own = nn.Sequential(nn.Conv2d(3, 4, 3))
    own.forward = lambda x: own[0](x).tanh()  # knows this net, so a copy would run it all the same
    assert check(own) is own
    wrapped = nn.DataParallel(nn.Sequential(nn.Conv2d(3, 4, 3)))
    assert check(wrapped).module[0].weight is not wrapped.module[0].weight


def test_a_pass_ends_behind_the_last_layer():
    net, ran = Net(), []
    handles = [m.register_forward_hook(lambda m, a, o, name=name: ran.append(name)) for name, m in net.named_children()]
    found = outputs_until(net, X, "first", net.second)
    for handle in handles:
        handle.remove()
    assert "relu" not in ran and "last" not in ran and list(found) == ["first", "second"]
    with capture(net, "first", "second") as acts:
        net(X)
    assert all(torch.equal(found[name], acts[name]) for name in found)
    assert found["second"].min() < 0  # not rewritten by the in-place ReLU
    assert not net.first._forward_hooks and not net.second._forward_hooks
    with pytest.raises(ValueError, match="nearest: second"):
        outputs_until(net, X, "secnd")


def test_unknown_options_are_answered_with_those_that_there_are():
    assert changed(vh.Recipe(), {"jitter": 3}) == vh.Recipe(jitter=3)
    with pytest.raises(ValueError, match="no option 'jiter'; there are size, .* jitter"):
        changed(vh.Recipe(), {"jiter": 3})
