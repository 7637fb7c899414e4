"""Hooks: what capture records is true and in the graph, and nothing stays behind, however the block ends."""

from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vizhelpers as vh


@pytest.fixture
def net():
    """Convolution, in-place ReLU, convolution, pool, linear: small and always the same."""
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3), nn.ReLU(inplace=True))
    model = nn.Sequential()
    model.features = features
    model.pool = nn.AdaptiveAvgPool2d(1)
    model.flat = nn.Flatten()
    model.head = nn.Linear(5, 2)
    return model.eval()


@pytest.fixture
def x():
    return torch.randn(2, 3, 8, 10, generator=torch.Generator().manual_seed(1))


def hooks_in(model):
    names = ["_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"]
    names += ["_forward_hooks_always_called", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs"]
    return sum(len(getattr(module, name)) for module in model.modules() for name in names)


class Branches(nn.Module):
    """Built in a test from a forward function and its parts."""

    def __init__(self, forward, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self._function = forward

    def forward(self, x):
        return self._function(self, x)


# ---- what is recorded -----------------------------------------------------------------------------------------------
def test_the_value_is_the_layers_own_output_although_an_in_place_relu_follows(net, x):
    first = net.features[0](x)
    second = net.features[2](first.relu())
    with vh.capture(net, "features.0", "features.2") as acts:
        net(x)
    assert (acts["features.0"] < 0).any()
    torch.testing.assert_close(acts["features.0"], first)
    torch.testing.assert_close(acts["features.2"], second)


def test_a_naive_hook_would_have_been_rewritten(net, x):
    kept = []
    handle = net.features[0].register_forward_hook(lambda module, inputs, output: kept.append(output))
    with torch.no_grad():
        net(x)
    handle.remove()
    assert (kept[0] >= 0).all()


def test_the_recorded_tensor_is_in_the_graph_in_both_directions(net, x):
    x.requires_grad_()
    with vh.capture(net, "features.0") as acts:
        logits = net(x)
    first = net.features[0](x)
    rest = net.head(net.pool(net.features[2](first.relu()).relu()).flatten(1))
    (want,) = torch.autograd.grad(rest[:, 1].sum(), first, retain_graph=True)
    (got,) = torch.autograd.grad(logits[:, 1].sum(), acts["features.0"], retain_graph=True)
    torch.testing.assert_close(got, want)
    (want,) = torch.autograd.grad(first[:, 2].sum(), x)
    (got,) = torch.autograd.grad(acts["features.0"][:, 2].sum(), x)
    torch.testing.assert_close(got, want)


def test_capturing_changes_neither_the_answer_nor_its_gradient(net, x):
    x.requires_grad_()
    plain = net(x)
    with vh.capture(net) as acts:
        watched = net(x)
    assert len(acts) > 0
    torch.testing.assert_close(watched, plain, rtol=0, atol=0)
    a, b = (torch.autograd.grad(out.sum(), x)[0] for out in (plain, watched))
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_functional_in_place_relu_after_a_module(x):
    """DenseNet's way: F.relu(features, inplace=True) on what the last module gave."""
    parts = {"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4)}
    model = Branches(lambda m, x: F.relu(m.norm(m.conv(x)), inplace=True), **parts).eval()
    with vh.capture(model, "norm") as acts:
        out = model(x)
    assert (acts["norm"] < 0).any()
    torch.testing.assert_close(acts["norm"].relu(), out)


def test_an_in_place_sum_of_a_residual_block(x):
    def forward(m, x):
        out = m.conv(x)
        out += x
        return out

    model = Branches(forward, conv=nn.Conv2d(3, 3, 3, padding=1))
    with vh.capture(model, "conv") as acts:
        out = model(x)
    torch.testing.assert_close(acts["conv"], model.conv(x))
    torch.testing.assert_close(out, model.conv(x) + x)


def test_two_passes_keep_the_last(net, x):
    with vh.capture(net, "features.0") as acts:
        net(x)
        net(2 * x)
        assert len(acts.calls["features.0"]) == 1
    torch.testing.assert_close(acts["features.0"], net.features[0](2 * x))


def test_no_layers_means_every_leaf(net, x):
    with vh.capture(net) as acts:
        net(x)
    leaves = ["features.0", "features.1", "features.2", "features.3", "pool", "flat", "head"]
    assert list(acts) == leaves and len(acts) == 7
    assert acts["pool"].shape == (2, 5, 1, 1) and acts["head"].shape == (2, 2)
    torch.testing.assert_close(acts["features.1"], acts["features.0"].relu())


def test_a_module_is_as_good_as_its_name(net, x):
    with vh.capture(net, net.features[0], net.features) as acts:
        net(x)
    assert list(acts) == ["features.0", "features"]
    assert acts[net.features[0]] is acts["features.0"]
    torch.testing.assert_close(acts["features"], net.features(x))


def test_nested_captures_agree_and_go_one_by_one(net, x):
    with vh.capture(net, "features.0") as outer:
        with vh.capture(net, "features.0", "head") as inner:
            net(x)
        among = hooks_in(net)
        torch.testing.assert_close(outer["features.0"], inner["features.0"])
        kept = inner["features.0"]
        net(2 * x)
        assert inner["features.0"] is kept  # its hooks are gone, so it keeps what it had
    assert among > 0 and hooks_in(net) == 0
    torch.testing.assert_close(outer["features.0"], net.features[0](2 * x))


def test_it_reads_like_a_mapping_before_and_after_the_run(net, x):
    with vh.capture(net, "head", "features.0") as acts:
        assert len(acts) == 0 and list(acts) == [] and "head" not in acts
        with pytest.raises(ValueError, match="'head' has not run yet: call the model inside the `with` block first"):
            acts["head"]
        net(x)
    assert list(acts) == ["head", "features.0"] and "head" in acts and "features.2" not in acts and 3 not in acts
    assert {name: tuple(a.shape) for name, a in acts.items()} == {"head": (2, 2), "features.0": (2, 4, 6, 8)}
    with pytest.raises(ValueError, match="'features.2' was not captured; captured: head, features.0"):
        acts["features.2"]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_without_gradients(net, x, mode):
    with mode(), vh.capture(net, "features.0") as acts:
        net(x)
    assert not acts["features.0"].requires_grad
    torch.testing.assert_close(acts["features.0"], net.features[0](x).detach())


def test_frozen_parameters_do_not_cut_the_graph(net, x):
    net.requires_grad_(False)
    x.requires_grad_()
    with vh.capture(net, "features.2") as acts:
        logits = net(x)
    (gradient,) = torch.autograd.grad(logits.sum(), acts["features.2"])
    assert gradient.abs().sum() > 0


def test_channels_last_is_kept(net, x):
    net = net.to(memory_format=torch.channels_last)
    seen = []
    handle = net.features[1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with vh.capture(net, "features.0") as acts:
        net(x.to(memory_format=torch.channels_last))
    handle.remove()
    for a in (acts["features.0"], seen[0]):
        assert a.is_contiguous(memory_format=torch.channels_last) and not a.is_contiguous()


# ---- layers that run several times, or return no tensor --------------------------------------------------------------
def shared(m, x):
    return m.relu(m.two(m.relu(m.one(x))))


@pytest.fixture
def twice():
    torch.manual_seed(0)
    return Branches(shared, one=nn.Conv2d(3, 3, 1), two=nn.Conv2d(3, 3, 1), relu=nn.ReLU(inplace=True))


def test_a_layer_that_runs_twice_is_refused_and_calls_has_all(twice, x):
    with vh.capture(twice, "relu") as acts:
        out = twice(x)
    with pytest.raises(ValueError, match=r"'relu' ran 2 times in one forward pass.*acts.calls\['relu'\]\[i\]"):
        acts["relu"]
    first, second = acts.calls["relu"]
    torch.testing.assert_close(first, twice.one(x).relu())
    torch.testing.assert_close(second, out)


def test_calls_of_the_last_pass_only(twice, x):
    with vh.capture(twice, "relu") as acts:
        twice(x)
        twice(3 * x)
    assert len(acts.calls["relu"]) == 2
    torch.testing.assert_close(acts.calls["relu"][0], twice.one(3 * x).relu())


def test_resnets_shared_relu(x):
    net = vh.load_model("resnet18", weights="random", device="cpu")
    with torch.no_grad(), vh.capture(net, "layer1.0.relu", "layer1.0", "layer1.0.bn1") as acts:
        net(torch.randn(1, 3, 64, 64))
    with pytest.raises(ValueError, match="ran 2 times"):
        acts["layer1.0.relu"]
    first, second = acts.calls["layer1.0.relu"]
    torch.testing.assert_close(first, acts["layer1.0.bn1"].relu())
    torch.testing.assert_close(second, acts["layer1.0"])
    assert (acts["layer1.0.bn1"] < 0).any()


def test_a_net_walked_by_hand_has_every_call_and_is_refused_as_one(net, x):
    """Without a call of the model itself there is no pass to tell the calls apart: nothing is chosen silently."""
    with vh.capture(net, "features.0") as acts:
        for factor in (1, 2):
            net.features(factor * x)
    torch.testing.assert_close(acts.calls["features.0"][1], net.features[0](2 * x))
    with pytest.raises(ValueError, match="ran 2 times"):
        acts["features.0"]


def test_an_output_that_is_no_tensor_is_refused_with_a_sentence(x):
    pair = Branches(lambda m, x: (x, x + 1))
    model = Branches(lambda m, x: m.pair(x)[1], pair=pair)
    with vh.capture(model, "pair") as acts:
        out = model(x)
    with pytest.raises(ValueError, match="'pair' returns a tuple, not a tensor: capture a part of it"):
        acts["pair"]
    torch.testing.assert_close(out, x + 1)
    assert len(acts.calls["pair"][0]) == 2


# ---- nothing stays behind --------------------------------------------------------------------------------------------
def test_hooks_are_gone_after_a_normal_end(net, x):
    with vh.capture(net, "features.0") as acts:
        assert hooks_in(net) > 0
        net(x)
    assert hooks_in(net) == 0
    net(2 * x)
    torch.testing.assert_close(acts["features.0"], net.features[0](x))  # later runs are not recorded


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_hooks_are_gone_after_an_exception_in_the_block(net, error):
    with pytest.raises(error, match="mine"), vh.capture(net):
        raise error("mine")
    assert hooks_in(net) == 0


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_hooks_are_gone_after_a_module_that_raises(net, x, error):
    def stop(module, x):
        raise error("mine")

    net.pool = Branches(stop)
    with pytest.raises(error, match="mine"), vh.capture(net, "features.0", "head") as acts:
        net(x)
    assert hooks_in(net) == 0 and list(acts) == ["features.0"]


def test_hooks_are_gone_after_an_unknown_layer(net):
    with pytest.raises(ValueError), vh.capture(net, "features.0", "nowhere"):
        raise AssertionError("the block must not be entered")
    assert hooks_in(net) == 0


def test_hooks_are_gone_when_a_class_is_out_of_range(net, x):
    with pytest.raises(IndexError), vh.capture(net, "features.0"):
        torch.autograd.grad(net(x)[:, 99].sum(), x)
    assert hooks_in(net) == 0


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_pass_that_broke_off_does_not_spoil_the_next(net, x, error):
    breaks = [True]

    def stop_once(module, x):
        if breaks:
            breaks.pop()
            raise error("mine")
        return x.mean((2, 3), keepdim=True)

    net.pool = Branches(stop_once)
    with vh.capture(net, "features.0") as acts:
        with pytest.raises(error):
            net(x)
        net(2 * x)
        net(3 * x)
    torch.testing.assert_close(acts["features.0"], net.features[0](3 * x))


def test_the_users_own_hooks_stay(net, x):
    seen = []
    mine = [net.features[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape)),
            net.head.register_forward_pre_hook(lambda module, inputs: None)]  # fmt: skip
    before = hooks_in(net)
    with vh.capture(net):
        net(x)
    assert hooks_in(net) == before == 2 and seen == [(2, 4, 6, 8)]
    for handle in mine:
        handle.remove()


def test_capture_leaves_modes_parameters_and_the_input_alone(net, x):
    net.train()
    before, grads = x.clone(), [p.requires_grad for p in net.parameters()]
    with vh.capture(net, "head"):
        net(x)
    assert net.training and torch.equal(x, before)
    assert [p.requires_grad for p in net.parameters()] == grads and all(p.grad is None for p in net.parameters())


# ---- names -----------------------------------------------------------------------------------------------------------
def test_resolve_layer_by_name_and_by_module(net):
    assert vh.resolve_layer(net, "features.2") == ("features.2", net.features[2])
    assert vh.resolve_layer(net, net.features[2]) == ("features.2", net.features[2])
    assert vh.resolve_layer(net, net.features)[0] == "features"


def test_a_layers_name_in_a_wrapper_is_understood(net):
    wrapped = nn.DataParallel(net)
    for name in ("features.2", "module.features.2", "_orig_mod.module.features.2"):
        assert vh.resolve_layer(wrapped, name) == ("features.2", net.features[2])
    with torch.no_grad(), vh.capture(wrapped, "module.features.2") as acts:
        wrapped(torch.zeros(1, 3, 8, 10))
    assert torch.equal(acts["module.features.2"], acts["features.2"])
    own = nn.Sequential(OrderedDict(module=nn.Conv2d(3, 2, 3)))  # a part of that name stays what it is
    assert vh.resolve_layer(own, "module") == ("module", own.module)
    with pytest.raises(ValueError, match="no layer 'module.features.9'"):
        vh.resolve_layer(wrapped, "module.features.9")


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("feature.2", "There is no layer 'feature.2' in this Sequential; nearest: features.2"),
        ("features.22", "nearest: features.2"),
        ("", "There is no layer ''"),
        ("zzzz", "nearest: features"),
        (3, "layer is a text or a module, not 3"),
        (None, "layer is a text or a module, not None"),
        (nn.Conv2d(3, 4, 3), "This Conv2d is not part of the Sequential that was given"),
    ],
)
def test_resolve_layer_says_what_is_wrong(net, layer, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence.replace(".", r"\.")):
        vh.resolve_layer(net, layer)
    with pytest.raises(ValueError), vh.capture(net, layer):
        raise AssertionError("the block must not be entered")
    assert hooks_in(net) == 0


def test_the_layer_of_another_net_of_the_same_kind_is_refused(net):
    other = vh.load_model("squeezenet1_1", weights="random", device="cpu")
    with pytest.raises(ValueError, match="not part of the Sequential"), vh.capture(net, other.features[0]):
        raise AssertionError("the block must not be entered")


# ---- evaluating ------------------------------------------------------------------------------------------------------
def modes(model):
    return {name: module.training for name, module in model.named_modules()}


def mix(net):
    net.train()
    net.features.eval()
    net.features[2].train()
    return modes(net)


def test_evaluating_gives_every_part_its_own_mode_back(net):
    before = mix(net)
    assert set(before.values()) == {True, False}
    with vh.evaluating(net) as same:
        assert same is net and not any(modes(net).values())
    assert modes(net) == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_evaluating_gives_the_modes_back_after_an_exception(net, error):
    before = mix(net)
    with pytest.raises(error), vh.evaluating(net):
        raise error
    assert modes(net) == before


def test_evaluating_is_not_no_grad(net, x):
    with vh.evaluating(net.train()):
        assert torch.is_grad_enabled() and net(x).requires_grad


def test_evaluating_turns_dropout_off_and_leaves_running_statistics(x):
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)).train()
    with vh.evaluating(model):
        assert torch.equal(model(x), model(x))
    assert model[0].num_batches_tracked == 0
    assert not torch.equal(model(x), model(x)) and model[0].num_batches_tracked == 2


# ---- with_gradients --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("outer", [torch.no_grad, torch.inference_mode])
def test_with_gradients_inside_what_forbids_them(net, x, outer):
    from vizhelpers.hooks import with_gradients

    with outer():
        with with_gradients():
            leaf = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(net(leaf).sum(), leaf)
        assert not torch.is_grad_enabled()
    assert gradient.abs().sum() > 0 and torch.is_grad_enabled()
