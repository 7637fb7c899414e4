"""The ReLU rules: the 2x2 table, captum on a plain net, every spelling of a ReLU, no value changed forwards."""
import warnings

import pytest
import torch
import torch.nn.functional as F
from methods import net_of, pictures
from torch import nn

import vizhelpers as vh
from vizhelpers.gradients import deconvnet_gradient, guided_backprop
from vizhelpers.relu_rules import RULES, relu_rule

# Activation off or on, gradient from above negative or positive: the four cases of METHODS' table.
A = torch.tensor([[-1.0, -2.0], [3.0, 4.0]], dtype=torch.float64)
G = torch.tensor([[-5.0, 6.0], [-7.0, 8.0]], dtype=torch.float64)
TABLE = {
    "gradient": torch.tensor([[0.0, 0.0], [-7.0, 8.0]], dtype=torch.float64),
    "deconvnet": torch.tensor([[0.0, 6.0], [0.0, 8.0]], dtype=torch.float64),
    "guided": torch.tensor([[0.0, 0.0], [0.0, 8.0]], dtype=torch.float64),
}

SPELLINGS = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu in place": lambda t: F.relu(t, inplace=True),
    "F.relu in place, by position": lambda t: F.relu(t, True),
    "F.relu, input by name": lambda t: F.relu(input=t),
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "tensor.relu": lambda t: t.relu(),
    "tensor.relu_": lambda t: t.relu_(),
    "operator": torch.ops.aten.relu.default,
    "operator in place": torch.ops.aten.relu_.default,
    "F.threshold": lambda t: F.threshold(t, 0, 0),
    "F.threshold, by name, in place": lambda t: F.threshold(t, threshold=0.0, value=0.0, inplace=True),
    "nn.Threshold": nn.Threshold(0.0, 0.0),
    "torch.threshold_": lambda t: torch.threshold_(t, 0, 0),
}
SIXES = {
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": nn.ReLU6(inplace=True),
    "F.relu6": F.relu6,
    "F.relu6 in place": lambda t: F.relu6(t, True),
    "nn.Hardtanh": nn.Hardtanh(0, 6),
    "F.hardtanh, by position": lambda t: F.hardtanh(t, 0.0, 6.0),
    "F.hardtanh, by position, in place": lambda t: F.hardtanh(t, 0, 6, True),
    "F.hardtanh, by name": lambda t: F.hardtanh(t, max_val=6, min_val=0, inplace=True),
    "F.hardtanh_": lambda t: F.hardtanh_(t, 0, 6),
}


def back(function, x, g, rule):
    """Forward value, gradient with respect to x and the count, of one function under a rule."""
    leaf = x.clone().requires_grad_()
    with relu_rule(rule) as mode:
        out = function(leaf * 1)  # a copy that is no leaf, so that it may be changed in place
    return out.detach(), torch.autograd.grad(out, leaf, g)[0], mode.count


# ---- one ReLU -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("rule", RULES)
def test_the_table_for_every_spelling_of_a_relu(spelling, rule):
    out, got, count = back(SPELLINGS[spelling], A, G, rule)
    assert torch.equal(got, TABLE[rule]) and count == 1
    assert torch.equal(out, A.clamp(min=0))


@pytest.mark.parametrize("spelling", SIXES)
def test_relu6_is_off_at_both_ends(spelling):
    x = torch.tensor([-1.0, 0.0, 2.0, 6.0, 9.0])
    g = torch.tensor([3.0, 3.0, -3.0, 3.0, 3.0])
    for rule, want in (("gradient", [0, 0, -3, 0, 0]), ("deconvnet", [3, 3, 0, 3, 3]), ("guided", [0, 0, 0, 0, 0])):
        out, got, count = back(SIXES[spelling], x, g, rule)
        assert got.tolist() == want and out.tolist() == [0, 0, 2, 6, 6] and count == 1
    assert back(SIXES[spelling], x, g.abs(), "guided")[1].tolist() == [0, 0, 3, 0, 0]


def test_a_relu_clipped_elsewhere_keeps_its_own_top():
    x = torch.tensor([-1.0, 2.0, 6.0, 20.0])
    out, got, _ = back(nn.Hardtanh(0, 20), x, torch.ones(4), "guided")
    assert got.tolist() == [0, 1, 1, 0] and out.tolist() == [0, 2, 6, 20]


def test_the_gradient_rule_is_pytorchs_gradient_bit_for_bit():
    """Also where something is not finite: 0 * inf would be nan."""
    inf, nan = float("inf"), float("nan")
    x = torch.tensor([-1.0, 0.0, -0.0, 1.0, nan, inf, -inf, 1.0, -1.0])
    g = torch.tensor([inf, -1.0, 1.0, inf, 2.0, -3.0, nan, nan, -2.0])
    for function in (F.relu, F.relu6):
        leaf = x.clone().requires_grad_()
        out = function(leaf)
        (want,) = torch.autograd.grad(out, leaf, g)
        got_out, got, _ = back(function, x, g, "gradient")
        for one, other in ((got, want), (got_out, out.detach())):
            assert torch.equal(one.view(torch.int32), other.view(torch.int32))
    assert back(F.relu, x, g, "guided")[1][:3].tolist() == [0, 0, 0]


def test_the_mask_counts_and_not_the_activation():
    x = torch.tensor([2.0, 5.0])
    assert back(F.relu, x, torch.tensor([1.0, 3.0]), "guided")[1].tolist() == [1, 3]  # not 2 and 15


def test_the_gradient_of_the_gradient_follows_the_rule_too():
    x = torch.tensor([2.0, -3.0], dtype=torch.float64, requires_grad=True)
    with relu_rule("guided"):
        y = (F.relu(x) ** 3).sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    (gg,) = torch.autograd.grad(g.sum(), x)
    assert g.tolist() == [12, 0] and gg.tolist() == [12, 0]


# ---- in place -------------------------------------------------------------------------------------------------------
def test_in_place_is_in_place_and_on_a_view_changes_the_base():
    leaf = torch.tensor([[-1.0, 2.0], [-3.0, 4.0]], requires_grad=True)
    base = leaf * 1
    with relu_rule("guided"):
        row = base[1]
        out = F.relu(row, inplace=True)
    assert out is row or out.data_ptr() == row.data_ptr()
    assert base.tolist() == [[-1, 2], [0, 4]]
    (got,) = torch.autograd.grad(base, leaf, torch.tensor([[-1.0, 1.0], [1.0, -1.0]]))
    assert got.tolist() == [[-1, 1], [0, 0]]  # the rule holds for the row that went through the ReLU, and only there
    (got,) = torch.autograd.grad(back_base(leaf), leaf, torch.ones(2, 2))
    assert got.tolist() == [[1, 1], [0, 1]]


def back_base(leaf):
    base = leaf * 1
    with relu_rule("guided"):
        base[1].relu_()
    return base


def test_in_place_where_pytorch_refuses_it_is_refused_too():
    leaf = torch.tensor([1.0, -1.0], requires_grad=True)
    with relu_rule("guided"), pytest.raises(RuntimeError, match="leaf"):
        leaf.relu_()
    with relu_rule("guided"):
        out = F.relu(leaf * 1)
        out.add_(1)  # overwrites what the ReLU has to remember
        with pytest.raises(RuntimeError, match="modified by an inplace"):
            torch.autograd.grad(out.sum(), leaf)


def test_in_place_after_capture_leaves_what_was_captured():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3)).double().eval()
    x = pictures(1, 8, 8).requires_grad_()
    with relu_rule("guided"), vh.capture(net, "0", "1") as acts:
        out = net(x)
    assert (acts["0"] < 0).any() and torch.equal(acts["1"], acts["0"].clamp(min=0))
    above, below = torch.autograd.grad(out[:, 0].sum(), [acts["1"], acts["0"]])
    assert (above < 0).any()
    torch.testing.assert_close(below, above.clamp(min=0) * (acts["0"] > 0), rtol=0, atol=0)


# ---- nets -----------------------------------------------------------------------------------------------------------
# Modules in the net, and how often a ReLU runs: ResNet runs one module several times, GoogLeNet and the end of
# DenseNet have functions, and MobileNetV2 has ReLU6.
COUNTS = {
    "alexnet": (7, 7), "vgg16": (15, 15), "squeezenet1_1": (26, 26), "resnet18": (9, 17), "googlenet": (0, 57),
    "densenet121": (120, 121), "mobilenet_v2": (35, 35),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_every_relu_is_counted_and_no_forward_value_changes(name):
    net = net_of(name)
    modules, runs = COUNTS[name]
    assert sum(isinstance(m, (nn.ReLU, nn.ReLU6)) for m in net.modules()) == modules
    x = pictures(1)
    with torch.no_grad():
        want = net(x)
        for rule in RULES:
            with relu_rule(rule) as mode:
                assert torch.equal(net(x), want)
            assert mode.count == runs


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "mobilenet_v2"])
def test_the_gradient_rule_on_a_whole_net_is_the_gradient(name):
    net, x = net_of(name), pictures(1)
    leaf = x.clone().requires_grad_()
    with relu_rule("gradient"):
        (got,) = torch.autograd.grad(net(leaf)[:, 7].sum(), leaf)
    assert torch.equal(got, vh.gradient(net, x, 7))


def plain(seed=0):
    """AlexNet-like, its ReLUs modules that are neither in place nor shared: the only kind that captum can do."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(12 * 3 * 5, 16), nn.ReLU(), nn.Linear(16, 9),
    ).double().eval()  # fmt: skip


@pytest.mark.parametrize("method, theirs", [(guided_backprop, "GuidedBackprop"), (deconvnet_gradient, "Deconvolution")])
@pytest.mark.parametrize("target", [0, 5])
def test_equals_captum(method, theirs, target):
    import captum.attr

    net, x = plain(), pictures(2, 32, 48)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum says that it sets hooks
        want = getattr(captum.attr, theirs)(net).attribute(x.clone().requires_grad_(), target=target).detach()
    got = method(net, x, target)
    assert want.abs().max() > 0
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-15)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(vh.gradient(net, x, target), want)


class Functional(nn.Module):
    """The same net three ways: separate modules, one shared in-place module, functions."""

    def __init__(self, base, act):
        super().__init__()
        self.parts, self.act = nn.ModuleList(m for m in base if not isinstance(m, nn.ReLU)), act
        last = len(self.parts) - 1
        self.after = {n for n, m in enumerate(self.parts) if isinstance(m, (nn.Conv2d, nn.Linear)) and n != last}

    def forward(self, x):
        for n, part in enumerate(self.parts):
            x = self.act(part(x)) if n in self.after else part(x)
        return x


@pytest.mark.parametrize("act", [nn.ReLU(inplace=True), F.relu, torch.relu_], ids=["shared", "F.relu", "relu_"])
def test_shared_in_place_and_functional_relus_make_no_difference(act):
    base, x = plain(), pictures(1, 32, 48)
    other = Functional(base, act).eval()
    for method in (guided_backprop, deconvnet_gradient):
        torch.testing.assert_close(method(other, x, 3), method(base, x, 3), rtol=0, atol=0)


def test_by_hand_through_three_layers():
    """Linear, ReLU, linear, ReLU, linear, with every number on paper."""
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]])  # x = (1, 2): z = (1, 2, -1), a = (1, 2, 0)
    second = torch.tensor([[1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]])  # z = (-1, 1), a = (0, 1)
    third = torch.tensor([[1.0, 1.0]])
    net = nn.Sequential(*(nn.Linear(*w.T.shape, bias=False) for w in (first, second, third)))
    for layer, w in zip(net, (first, second, third), strict=True):
        layer.weight.data = w
    net.insert(1, nn.ReLU())
    net.insert(3, nn.ReLU())
    x = torch.tensor([[1.0, 2.0]])
    for rule, want in (
        ("gradient", [-1, 1]),  # (1,1) -> (0,1) -> (-1,1,1) -> mask (1,1,0): (-1,1,0)
        ("deconvnet", [2, -2]),  # (1,1) -> both pass -> (0,0,2) -> (0,0,2): 2*(1,-1)
        ("guided", [0, 1]),  # (1,1) -> (0,1) -> (-1,1,1) -> (0,1,0)
    ):
        assert back(net, x, torch.ones(1, 1), rule)[1].tolist() == [want]


# ---- the block ------------------------------------------------------------------------------------------------------
def test_the_rule_is_fixed_where_the_forward_pass_runs():
    leaf = A.clone().requires_grad_()
    outside = F.relu(leaf)
    with relu_rule("guided") as mode:
        inside = F.relu(leaf)
        (got,) = torch.autograd.grad(outside, leaf, G)
    assert torch.equal(got, TABLE["gradient"]) and mode.count == 1
    assert torch.equal(torch.autograd.grad(inside, leaf, G)[0], TABLE["guided"])


@pytest.mark.parametrize("outer", RULES)
@pytest.mark.parametrize("inner", RULES)
def test_of_nested_rules_the_innermost_holds(outer, inner):
    leaf = A.clone().requires_grad_()
    with relu_rule(outer) as around:
        with relu_rule(inner) as mode:
            first = F.relu(leaf)
            in_place = F.relu(leaf * 1, inplace=True)
        second = F.relu(leaf)
    assert torch.equal(torch.autograd.grad(first, leaf, G)[0], TABLE[inner])
    assert torch.equal(torch.autograd.grad(in_place, leaf, G)[0], TABLE[inner])
    assert torch.equal(torch.autograd.grad(second, leaf, G)[0], TABLE[outer])
    assert mode.count == 2 and around.count == 3


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_after_an_error(error):
    with pytest.raises(error, match="planted"), relu_rule("guided"):
        raise error("planted")
    leaf = A.clone().requires_grad_()
    assert torch.equal(torch.autograd.grad(F.relu(leaf), leaf, G)[0], TABLE["gradient"])


def test_an_unknown_rule_is_named():
    with pytest.raises(ValueError, match="'gradient', 'deconvnet' and 'guided', not 'guied'"), relu_rule("guied"):
        pass


@pytest.mark.parametrize("other", [
    nn.SiLU(), nn.GELU(), nn.ELU(), nn.ELU(inplace=True), nn.CELU(), nn.SELU(inplace=True), torch.selu_, torch.celu_,
    torch.rrelu_, nn.LeakyReLU(), nn.PReLU(), nn.Hardswish(), nn.Mish(), nn.Softplus(), nn.Tanh(), torch.tanh_,
    nn.Hardtanh(), nn.Threshold(0.1, 0.0), nn.Threshold(0.0, -1.0), nn.Softsign(), nn.LogSigmoid(), nn.Softshrink(),
], ids=lambda f: getattr(f, "__name__", str(f)))  # fmt: skip
def test_other_activations_are_refused_by_name_except_for_the_plain_gradient(other):
    x = torch.tensor([-2.0, 3.0])
    for rule in ("deconvnet", "guided"):
        with pytest.raises(ValueError, match=f"the {rule} rule is defined for ReLU only"), relu_rule(rule):
            other(x.clone())
    with relu_rule("gradient") as mode:
        torch.testing.assert_close(other(x.clone()).shape, x.shape)
    assert mode.count == 0


@pytest.mark.parametrize("name, activation", [("mobilenet_v3_large", "hardswish"), ("efficientnet_b0", "silu")])
def test_nets_with_other_activations_are_refused(name, activation):
    for method in (guided_backprop, deconvnet_gradient):
        with pytest.raises(ValueError, match=f"This net uses {activation}"):
            method(net_of(name), pictures(1), 7)


def test_a_net_without_any_relu_is_refused():
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    with pytest.raises(ValueError, match="No ReLU ran in this Sequential"):
        guided_backprop(net, pictures(1, 8, 8), 1)


def test_autocast_and_the_memory_layout_stay_as_they_are():
    net = vh.load_model("alexnet", weights="random", device="cpu")
    x = pictures(1).float().contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        leaf = x.clone().requires_grad_()
        want = net(leaf)
        (g,) = torch.autograd.grad(want[:, 7].sum(), leaf)
        with relu_rule("gradient"):
            got = net(leaf)
        (h,) = torch.autograd.grad(got[:, 7].sum(), leaf)
    assert got.dtype == want.dtype == torch.bfloat16 and torch.equal(got, want)
    torch.testing.assert_close(h, g, rtol=1e-2, atol=1e-2 * float(g.abs().max()))
    with relu_rule("guided"):
        assert F.relu(x).is_contiguous(memory_format=torch.channels_last)


def test_a_neuron_stands_for_a_class():
    """The unit's own ReLU has no part in it: the score is taken before."""
    net, x = net_of("vgg16"), pictures(1)
    leaf = x.clone().requires_grad_()
    with relu_rule("guided") as mode, vh.capture(net, "features.7") as acts:
        net(leaf)
    (want,) = torch.autograd.grad(acts["features.7"][0, 5, 3, 4], leaf)
    torch.testing.assert_close(guided_backprop(net, x, vh.Neuron("features.7", 5, 3, 4)), want)
    assert mode.count == 15 and want.abs().max() > 0


# ---- how it is drawn ------------------------------------------------------------------------------------------------
def test_gradient_pictures_put_zero_where_it_belongs_and_keep_the_signs_apart():
    g = torch.tensor([4.0, -2.0, 0.0, 1.0]).view(1, 2, 2).repeat(3, 1, 1)
    want = {"all": [1, 0.25, 0.5, 0.625], "positive": [1, 0, 0, 0.25], "negative": [0, 0.5, 0, 0]}
    for part, values in want.items():
        for grey, channels in ((False, 3), (True, 1)):
            got = vh.gradient_picture(g, part=part, grey=grey, limit=4)
            assert got.shape == (channels, 2, 2)
            torch.testing.assert_close(got, torch.tensor(values).view(1, 2, 2).repeat(channels, 1, 1))
    red = torch.zeros(3, 1, 2)
    red[0, 0, 1], red[1, 0, 1] = 1.0, -1.0
    grey = vh.gradient_picture(red, grey=True, limit=1)
    assert grey[0, 0].tolist() == pytest.approx([0.5, 0.5 + (0.299 - 0.587) / 2])


def test_gradient_pictures_of_a_batch_and_of_nothing():
    g = torch.randn(2, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    g[1] *= 100
    got = vh.gradient_picture(g)
    torch.testing.assert_close(got[1], vh.gradient_picture(g[1]))
    assert got.shape == g.shape and 0.001 < (got[0] == 1).float().mean() + (got[0] == 0).float().mean() < 0.01
    assert (vh.gradient_picture(torch.zeros(3, 2, 2)) == 0.5).all()
    assert (vh.gradient_picture(torch.ones(3, 2, 2), part="negative") == 0).all()
    with pytest.raises(ValueError, match="not \\(2, 2\\)"):
        vh.gradient_picture(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="'all', 'positive' and 'negative', not 'pos'"):
        vh.gradient_picture(g, part="pos")


# ---- explorer -------------------------------------------------------------------------------------------------------
def controls(explorer):
    cells = [c for row in explorer.children for c in getattr(row, "children", ())]
    return {c.description: c for c in cells if hasattr(c, "value") and hasattr(c, "description")}


def test_the_explorer_shows_what_the_methods_return():
    net = vh.load_model("squeezenet1_1")
    explorer = vh.explore_relu_rules(net, {"k": "koala", "c": "coffee"}, layers=["features.0", "features.3.squeeze"])
    parts = controls(explorer)
    assert parts["explain"].options == ("koala", "Madagascar cat", "espresso", "consomme", "a channel (sliders)")
    assert parts["layer"].disabled and len(explorer.images) == 4
    x = {"k": vh.to_input("koala", net), "c": vh.to_input("coffee", net)}
    for picture, label in (("k", "espresso"), ("c", "espresso"), ("c", "koala")):
        parts["picture"].value, parts["explain"].value = picture, label
        assert explorer.result[:2] == (picture, label)
        torch.testing.assert_close(explorer.result.gradients["guided"], guided_backprop(net, x[picture], label)[0])
        torch.testing.assert_close(explorer.result.gradients["gradient"], vh.gradient(net, x[picture], label)[0])
    parts["explain"].value = "a channel (sliders)"
    for layer, channels in (("features.0", 64), ("features.3.squeeze", 16)):
        parts["layer"].value = layer
        assert parts["channel"].max == channels - 1 and not parts["layer"].disabled
        parts["channel"].value = channels - 1
        unit = vh.Neuron(layer, channels - 1)
        assert explorer.result.target == unit
        want = deconvnet_gradient(net, x["c"], unit)[0]
        torch.testing.assert_close(explorer.result.gradients["deconvnet"], want)
    parts["channel"].value = 15
    parts["layer"].value = "features.0"  # the same channel of a wider layer
    assert explorer.result.target == vh.Neuron("features.0", 15) and parts["channel"].max == 63


def test_the_explorers_parts_and_colours_change_the_pictures_only():
    net = vh.load_model("squeezenet1_1")
    explorer = vh.explore_relu_rules(net, "koala", classes=["koala"], side=96)
    parts, seen, gradients = controls(explorer), set(), explorer.result.gradients
    for part in ("all", "positive", "negative"):
        for colour in ("RGB", "grey"):
            parts["part"].value, parts["colour"].value = part, colour
            assert explorer.result.part == part and explorer.result.gradients is gradients
            assert part in explorer.text.value
            seen.add(explorer.images[3].value)
    assert len(seen) == 6 and explorer.images[3].width == "96"


def test_the_explorer_on_a_net_without_class_scores():
    explorer = vh.explore_relu_rules(vh.load_model("alexnet"), "koala", layers=["features.6"])
    parts = controls(explorer)
    assert parts["explain"].options == ("a channel (sliders)",)
    parts["channel"].value = 7
    assert explorer.result.target == vh.Neuron("features.6", 7) and explorer.result.gradients["guided"].any()


# ---- exercise checks ------------------------------------------------------------------------------------------------
def backward(a, g, rule):
    return g * ((a > 0) if rule != "deconvnet" else 1) * ((g > 0) if rule != "gradient" else 1)


@pytest.mark.parametrize("answer, sentence", [
    (lambda a, g, rule: backward(a, g, "gradient"), "does what 'gradient' should do"),
    (lambda a, g, rule: backward(a, g, "guided"), "does what 'guided' should do"),
    (lambda a, g, rule: backward(a, g, rule) * a, "multiply by its mask"),
    (lambda a, g, rule: backward(a, g, rule).sign(), "not only its mask"),
    (lambda a, g, rule: g.clamp_(min=0), "inputs were changed"),
    (lambda a, g, rule: g, "the result is"),
])  # fmt: skip
def test_check_relu_backward_names_the_mistake(answer, sentence):
    with pytest.raises(AssertionError, match=sentence):
        vh.check_relu_backward(answer)


def walk(model, x, c, rule="guided", scale=1.0):
    leaf = x.clone().requires_grad_()
    with relu_rule(rule):
        return torch.autograd.grad(model(leaf)[0, c] * scale, leaf)[0]


def with_backward(model, x, c):
    leaf = x.clone().requires_grad_()
    model.requires_grad_(True)
    with relu_rule("guided"):
        model(leaf)[0, c].backward()
    return leaf.grad


def swapped(model, x, c):
    model[1] = nn.ReLU()
    return walk(model, x, c)


@pytest.mark.parametrize("answer, sentence", [
    (lambda m, x, c: walk(m, x, c, "gradient"), "the plain gradient"),
    (lambda m, x, c: walk(m, x, c, "deconvnet"), "the deconvnet's rule"),
    (lambda m, x, c: walk(m, x, 7 - c), "explains class"),
    (lambda m, x, c: walk(m, x, c, scale=2), "differ from the hand-made"),
    (lambda m, x, c: walk(m, x, c)[0], "Return the gradient of x"),
    (lambda m, x, c: walk(m, x.requires_grad_(), c), "x requires a gradient now"),
    (with_backward, "have a .grad now"), (swapped, "has other modules now"),
])  # fmt: skip
def test_check_guided_names_the_mistake(answer, sentence):
    with pytest.raises(AssertionError, match=sentence):
        vh.check_guided(answer)


def parts_of(g):
    scaled = [p / p.abs().max().clamp(min=1e-12) for p in (g, g.clamp(min=0), (-g).clamp(min=0))]
    return scaled[0] / 2 + 0.5, scaled[1], scaled[2]


@pytest.mark.parametrize("answer, sentence", [
    (lambda g: ((g - g.min()) / (g.max() - g.min()), *parts_of(g)[1:]), "Stretched from min to max"),
    (lambda g: (parts_of(g)[0], g.clamp(min=0) / g.max(), (-g).clamp(min=0) / -g.min()), "do not divide by it"),
    (lambda g: (*parts_of(g)[:2], -parts_of(g)[2]), "drawn as its size"),
    (lambda g: parts_of(g)[:2], "Return three pictures"),
    (lambda g: (parts_of(g)[0], parts_of(g)[2], parts_of(g)[1]), "The positive part"),
])  # fmt: skip
def test_check_parts_names_the_mistake(answer, sentence):
    with pytest.raises(AssertionError, match=sentence):
        vh.check_parts(answer)


def test_the_checks_accept_right_answers():
    vh.check_relu_backward(backward)
    vh.check_relu_backward(lambda a, g, rule: back(F.relu, a, g, rule)[1])
    vh.check_guided(walk)
    vh.check_guided(guided_backprop)
    vh.check_parts(parts_of)
