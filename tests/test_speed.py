"""Many passes through one net: every pace gives the same numbers, the pass ends early, the net stays as it was."""
import pytest
import torch
from torch import nn

from vizhelpers import speed
from vizhelpers.hooks import capture, outputs_until
from vizhelpers.speed import PLAIN, Fast, Pace


class Net(nn.Module):
    """Wide enough for Winograd's convolution, with an in-place ReLU behind the layer that is looked at."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.first = nn.Conv2d(3, 128, 3, padding=1)
            self.second = nn.Conv2d(128, 128, 3, padding=1)
            self.relu = nn.ReLU(inplace=True)
            self.last = nn.Linear(128, 4)
        self.eval()

    def forward(self, x):
        return self.last(self.relu(self.second(self.first(x))).mean((2, 3)))


@pytest.fixture(scope="module")
def net():
    return Net()


X = torch.randn(2, 3, 17, 22, generator=torch.Generator().manual_seed(2))


def at_second(net):
    return lambda x: outputs_until(net, x, "second")["second"][:, 5].square().mean((1, 2))


def by_autograd(net, x, loss):
    leaf = x.clone().requires_grad_(True)
    value = loss(leaf)
    return value.detach(), torch.autograd.grad(value.sum(), leaf)[0]


@pytest.mark.parametrize("pace", [PLAIN, Pace(), Pace(winograd=True)])
def test_every_pace_gives_autograd_s_numbers(net, pace):
    for loss in (at_second(net), lambda x: net(x)[:, 1]):
        want = by_autograd(net, X, loss)
        got = Fast(net, X, loss, pace=pace)(X, loss)
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))
            assert not a.requires_grad and a.dtype is torch.float32


def test_bfloat16_is_near_and_refused_where_it_is_not(net):
    loss = at_second(net)
    want = by_autograd(net, X, loss)
    got = Fast(net, X, loss, pace=Pace(dtype=torch.bfloat16))(X, loss)
    assert got[0].dtype is got[1].dtype is torch.float32
    assert not torch.equal(got[1], want[1]) and speed._alike(got, want)
    assert not speed._alike((want[0] * 1.03, want[1]), want)
    assert not speed._alike((want[0], want[1] + want[1].std() * torch.randn(want[1].shape)), want)


@pytest.mark.parametrize("pace", [PLAIN, Pace(), Pace(winograd=True)])
def test_inference_mode_around_it_is_no_matter(net, pace):
    loss = at_second(net)
    want = by_autograd(net, X, loss)
    with torch.inference_mode():
        got = Fast(net, X.clone(), loss, pace=pace)(X.clone(), loss)
        found = tuple(part.clone() for part in got)
    for a, b in zip(found, want, strict=True):
        torch.testing.assert_close(a.clone(), b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))


def test_double_precision_stays_double():
    net = Net().double()
    loss = at_second(net)
    want = by_autograd(net, X.double(), loss)
    for a, b in zip(Fast(net, X.double(), loss, key=("double",))(X.double(), loss), want, strict=True):
        torch.testing.assert_close(a, b)


def test_one_channel_is_that_channel():
    for net in (Net(), Net().double()):
        x = X.to(net.first.weight.dtype)
        want = by_autograd(net, x, lambda x, net=net: outputs_until(net, x, "second")["second"][:, 77].mean((1, 2)))
        seen = []

        def loss(x, net=net, seen=seen):
            out = outputs_until(net, x, "second")["second"]
            seen.append(out.shape[1])
            return out[:, 0].mean((1, 2))

        got = Fast(net, x, loss, pace=Pace(winograd=True), only=(net.second, 77))(x, loss)
        assert seen == [1]
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("pace", [PLAIN, Pace(winograd=True), Pace(dtype=torch.bfloat16)])
def test_the_net_stays_as_it_was(pace, error):
    net = Net().train()
    before = {name: (p, p.clone(), p._version) for name, p in net.named_parameters()}

    def loss(x):
        if error:
            raise error("planted")
        return net(x)[:, 0]

    fast = Fast(net, X, loss, pace=pace)
    if error:
        with pytest.raises(error):
            fast(X, loss)
    else:
        fast(X, loss)
    for name, p in net.named_parameters():
        assert p is before[name][0] and torch.equal(p, before[name][1]) and p._version == before[name][2]
        assert p.grad is None and p.requires_grad
    assert all("forward" not in vars(module) for module in net.modules()) and net.training


def test_the_probe_runs_once_for_a_net_and_key(net, monkeypatch):
    calls = []

    def loss(x):
        calls.append(1)
        return net(x)[:, 0]

    monkeypatch.setattr(speed, "_found", {})
    first = Fast(net, X, loss, key=("a",))
    probed = len(calls)
    assert probed >= 6 and isinstance(first.pace, Pace)
    assert Fast(net, X, loss, key=("a",)).pace == first.pace and len(calls) == probed
    Fast(net, X, loss, key=("b",))
    assert len(calls) > probed


def test_the_fastest_wins_by_a_clear_margin(net, monkeypatch):
    """Times are given out by hand; in one of the rounds something else keeps the machine busy."""
    loss, run, ran = at_second(net), Fast.__call__, []
    monkeypatch.setattr(Fast, "__call__", lambda self, x, loss: ran.append(self.pace) or run(self, x, loss))
    for plain, want in ((0.9, Pace()), (0.5, PLAIN)):
        times = {PLAIN: [plain, 9.0, plain], Pace(): [9.0, 1.0, 1.0]}
        monkeypatch.setattr(speed, "_seconds", lambda call, device, times=times: (
            call() and times.get(ran[-1], [9.0] * 3).pop(0)))  # fmt: skip
        monkeypatch.setattr(speed, "_found", {})
        assert Fast(net, X, loss, key=("times",)).pace == want


def test_a_pass_ends_behind_the_last_layer(net):
    ran = []
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
