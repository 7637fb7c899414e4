"""The rules (a) to (j) that every method of the package keeps, on one net of every kind of graph."""
from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from methods import LAYERS, METHODS, leaves, net_of, pictures

import vizhelpers as vh

TARGET, OTHER = 5, 400  # the first is a class for which no Grad-CAM of any net is empty


def pytest_generate_tests(metafunc):
    """Every method on every net for which it is defined."""
    if "net_and_layer" in metafunc.fixturenames:
        pairs = [(method, net) for method in METHODS for net in method.nets]
        ids = [f"{method.name}-{net}" for method, net in pairs]
        metafunc.parametrize("method, net_and_layer", pairs, ids=ids, indirect=["net_and_layer"])
    elif "method" in metafunc.fixturenames:
        metafunc.parametrize("method", METHODS, ids=lambda method: method.name)


@pytest.fixture
def net_and_layer(request):
    net = net_of(request.param)
    yield net, LAYERS[request.param]
    net.eval().requires_grad_(False)


@pytest.fixture
def want(net_and_layer, method, request):
    return plain(method, request.node.callspec.params["net_and_layer"])


@cache
def plain(method, name):
    """What a method gives for the usual pictures, called once as a user would."""
    return method.call(net_of(name), pictures(), TARGET, LAYERS[name])


@cache
def elsewhere(name):
    """The net on CUDA where there is one; else in the CPU's other memory layout, which runs other kernels."""
    other = copy.deepcopy(net_of(name))
    return other.cuda() if torch.cuda.is_available() else other.to(memory_format=torch.contiguous_format)


def same(first, second, **tolerance):
    for a, b in zip(leaves(first), leaves(second), strict=True):
        torch.testing.assert_close(a, b, **tolerance)


def footprint(net):
    """Everything a method could leave behind in a net: modes, flags, gradients, hooks, parameter values."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return (
        [(name, m.training, *(len(getattr(m, kind)) for kind in hooks)) for name, m in net.named_modules()],
        [(name, p.requires_grad, p.grad is None, p._version) for name, p in net.named_parameters()],
        [(name, b._version) for name, b in net.named_buffers()],
        torch.is_grad_enabled(),
    )


def test_a_runs_in_eval_mode_and_restores_each_mode(net_and_layer, method, want):
    net, layer = net_and_layer
    x = pictures()
    net.train()
    mixed = [m for m in net.modules() if not list(m.children())][::2]
    for module in mixed:
        module.eval()
    before = footprint(net)
    same(method.call(net, x, TARGET, layer), want)
    assert footprint(net) == before


def test_b_c_h_repeats_leaves_everything_alone_and_returns_raw_values(net_and_layer, method, want):
    net, layer = net_and_layer
    x = pictures()
    kept, before = x.clone(), footprint(net)
    method.call(net, x, OTHER, layer)
    again = method.call(net, x, TARGET, layer)
    same(again, want, rtol=0, atol=0)
    assert any(part.any() for part in leaves(again))  # zeros would equal zeros everywhere
    assert footprint(net) == before
    assert torch.equal(x, kept) and not x.requires_grad and x.grad is None
    for part in leaves(again):
        assert not part.requires_grad and part.grad_fn is None and part.device == x.device and len(part) == len(x)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_c_also_after_an_error_or_the_stop_button(net_and_layer, method, error):
    net, layer = net_and_layer

    def stop(*_):
        raise error("planted")

    handle = list(net.modules())[-1].register_forward_hook(stop)
    before = footprint(net)
    try:
        with pytest.raises(error, match="planted"):
            method.call(net, pictures(), TARGET, layer)
        assert footprint(net) == before
    finally:
        handle.remove()


def test_d_a_batch_equals_single_pictures(net_and_layer, method, want):
    net, layer = net_and_layer
    x = pictures()
    for n in range(len(x)):
        for a, b in zip(leaves(want), leaves(method.call(net, x[n : n + 1], TARGET, layer)), strict=True):
            torch.testing.assert_close(a[n : n + 1], b)


def test_d_one_target_for_each_picture(method):
    if not method.takes_target:
        assert not method.takes_target  # nothing to check: this method looks at no class
        return
    net, layer = net_of("resnet18"), LAYERS["resnet18"]
    with pytest.raises(ValueError, match="2"):
        method.call(net, pictures(2), [1, 2, 3], layer)


def test_e_height_and_width_keep_their_places(net_and_layer, method):
    net, layer = net_and_layer
    x = pictures(1, 64, 96)
    parts = leaves(method.call(net, x, TARGET, layer))
    if parts[0].dim() >= 3:
        assert parts[0].shape[-1] > parts[0].shape[-2]
    assert all(torch.isfinite(part.double()).all() for part in parts)


def test_f_another_backend_gives_the_same(net_and_layer, method, want, request):
    _, layer = net_and_layer
    other, x = elsewhere(request.node.callspec.params["net_and_layer"]), pictures()
    x = x.cuda() if torch.cuda.is_available() else x.to(memory_format=torch.channels_last)
    got = tuple(part.cpu() for part in leaves(method.call(other, x, TARGET, layer)))
    same(got, leaves(want), rtol=1e-6, atol=1e-8)


def test_g_no_grad_outside_and_trainable_or_frozen_parameters(net_and_layer, method, want):
    net, layer = net_and_layer
    x = pictures()
    with torch.no_grad():
        same(method.call(net, x, TARGET, layer), want)
    with torch.inference_mode():
        inside = tuple(part.clone() for part in leaves(method.call(net, x, TARGET, layer)))
    same(inside, leaves(want))
    net.requires_grad_(True)
    same(method.call(net, x, TARGET, layer), want)
    assert all(p.grad is None for p in net.parameters())


def test_j_unknown_layers_and_classes_are_named(method):
    net, layer = net_of("resnet18"), LAYERS["resnet18"]
    if method.takes_layer:
        with pytest.raises(ValueError, match=r"layer3\.1\.conv2"):
            method.call(net, pictures(1), TARGET, "layer3.1.conv9")
    if method.takes_target:
        with pytest.raises(ValueError, match="999"):
            method.call(net, pictures(1), 1000, layer)
        with pytest.raises(ValueError, match="koala"):
            method.call(net, pictures(1), "koalla", layer)


def test_wrong_device_is_one_sentence(method):
    net, layer = net_of("resnet18"), LAYERS["resnet18"]
    if method.name == "channel_maxima":  # moves each batch to the model by itself: a library can stay on the CPU
        return
    with pytest.raises(RuntimeError, match="on meta but the model is on cpu"):
        method.call(net, pictures(1).to("meta"), TARGET, layer)
    with pytest.raises(TypeError, match="use vh.to_input"):
        method.call(net, "koala", TARGET, layer)


def test_every_public_method_is_held_to_the_rules():
    """A compute function that takes (model, x, ...) must be in METHODS, or be named here with a reason."""
    import inspect

    elsewhere = {
        "category_probabilities": "class_scores plus a softmax and means; tests in test_cue_conflict.py",
        "cam_layer": "gives a name, no numbers; tests in test_cam.py",
        "class_sensitivity": "two maps of a method that keeps the rules itself; tests in test_scoreboard.py",
        "predict": "class_scores plus a softmax and names; tests in test_models.py",
        "top_patches": "picks from channel_maxima; tests in test_activations.py",
    }
    public = {name for name in vh.__all__ if inspect.isfunction(getattr(vh, name))
              and list(inspect.signature(getattr(vh, name)).parameters)[:2] == ["model", "x"]
              and not name.startswith("explore_")}  # fmt: skip
    assert public == {method.name for method in METHODS} | set(elsewhere)
