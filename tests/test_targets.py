"""What a net is asked: classes by name and number, scores, neurons, and the leaf that gradients are taken at."""
import numpy as np
import pytest
import torch
from methods import net_of, pictures
from torch import nn

import vizhelpers as vh
from vizhelpers import targets
from vizhelpers.targets import differentiable, score_and_gradient


@pytest.fixture(scope="module")
def squeezenet():
    return vh.load_model("squeezenet1_1", device="cpu")


@pytest.fixture(scope="module")
def somebodys():
    """A net of nobody's: no `.viz`, five classes, dropout, one part in another mode than the rest."""
    torch.manual_seed(0)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(4, 5)]
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *head)


# --- classes ----------------------------------------------------------------------------------------------------------
def test_class_index(squeezenet):
    index = targets.class_index
    assert index(squeezenet, "Espresso") == index(squeezenet, 967) == index(squeezenet, np.int64(967)) == 967
    assert index(squeezenet, "spresso ma") == 550  # a part that one label has
    assert index(squeezenet, "hen") == 8  # the whole label wins over parts of others
    assert index(squeezenet, torch.tensor(7)) == 7
    for target, sentence in [
        (1000, "no class 1000: this net's classes go from 0 to 999"), (-1, "no class -1"),
        ("koalla", "No class is called 'koalla'; nearest: 'koala'"), ("terrier", "classes match 'terrier': "),
        ("", "No class is called ''"), (1.5, "whole number or a label, not 1.5"), (None, "not None"),
        (True, "not True"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            index(squeezenet, target)


def test_resolve_target(squeezenet):
    resolve = targets.resolve_target
    assert resolve(squeezenet, "koala", 3).tolist() == [105, 105, 105]
    assert resolve(squeezenet, ["koala", 967], 2).tolist() == [105, 967]
    assert resolve(squeezenet, torch.tensor([1, 2]), 2).tolist() == [1, 2]
    assert resolve(squeezenet, torch.tensor(4), 2).tolist() == [4, 4]
    assert resolve(squeezenet, 5, 1).dtype == torch.long
    with pytest.raises(ValueError, match="2 targets for 3 pictures"):
        resolve(squeezenet, [1, 2], 3)
    with pytest.raises(ValueError, match="no class 1000"):
        resolve(squeezenet, [1, 1000], 2)
    assert resolve(squeezenet, np.array([1, 2]), 2).tolist() == [1, 2]
    for wrong, said in ((torch.zeros(2, 2), r"not \[0.0, 0.0\]"), (torch.ones(2), "not 1.0"), ({1}, r"not \{1\}")):
        with pytest.raises(ValueError, match="whole number or a label, " + said):
            resolve(squeezenet, wrong, 2)


def test_somebody_elses_net(somebodys):
    x = torch.randn(2, 3, 16, 16)
    assert targets.categories(somebodys) == ("class 0", "class 1", "class 2", "class 3", "class 4")
    assert targets.class_index(somebodys, "class 3") == 3
    somebodys.train()
    somebodys[1].eval()
    two, again = targets.predict(somebodys, x, top=9), targets.predict(somebodys, x, top=9)
    assert two == again  # dropout is off inside
    assert somebodys.training and somebodys[4].training and not somebodys[1].training
    one = targets.predict(somebodys, x[:1], top=2)
    assert [len(row) for row in two] == [5, 5] and len(one) == 2 and isinstance(one[0], targets.Prediction)
    somebodys.eval()
    logits = somebodys(x[:1])[0]
    assert one[0].index == int(logits.argmax()) and one[0].logit == pytest.approx(logits.max().item(), abs=1e-5)
    assert one[0].probability == pytest.approx((logits.max() - logits.logsumexp(0)).exp().item(), abs=1e-5)
    assert sum(p.probability for p in two[0]) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="top is 0: it must be at least 1"):
        vh.predict(somebodys, x, top=0)


def test_thousand_outputs_get_imagenets_names():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 1000))
    assert targets.categories(net)[967] == "espresso"
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 40 * 40, 1000))
    with pytest.raises(ValueError, match=r"does not run on \(1, 3, 28, 28\) .* of the size in net.viz"):
        targets.categories(net)
    net.viz = vh.images.ModelInfo("mine", input_size=40)
    assert targets.categories(net)[967] == "espresso"
    assert targets.categories(nn.Sequential(nn.Conv2d(3, 7, 1), nn.Flatten()))[6] == "class 6"
    with pytest.raises(ValueError, match="not class scores"):
        targets.categories(nn.ReLU())


def test_a_list_of_labels_belongs_to_a_head_of_its_length(squeezenet):
    """A wrapper is looked through, a fine-tuned head is not given ImageNet's names."""
    x = torch.randn(1, 3, 64, 64)
    assert vh.categories(nn.DataParallel(squeezenet)) == squeezenet.viz.categories
    assert vh.predict(nn.Sequential(squeezenet), x) == vh.predict(squeezenet, x)
    tuned = nn.Sequential(squeezenet, nn.Linear(1000, 7))
    assert vh.categories(tuned) == tuple(f"class {i}" for i in range(7))
    assert {p.label for p in vh.predict(tuned, x, top=7)} == set(vh.categories(tuned))
    with pytest.raises(ValueError, match="from 0 to 6"):
        vh.score(tuned, x, 105)


def test_settled_targets_stay_and_follow_their_rows(somebodys):
    somebodys.eval()
    x = torch.randn(3, 3, 16, 16)
    own = targets.settled(somebodys, x, None)
    assert torch.equal(own, somebodys(x).argmax(1)) and own.dtype == torch.long and not own.requires_grad
    assert targets.settled(somebodys, x, "class 3").tolist() == [3, 3, 3]
    assert targets.of_rows(torch.tensor([4, 0, 2]), [2, 0, 0]).tolist() == [2, 4, 4]
    neuron = vh.Neuron("0", 1)
    assert targets.settled(somebodys, x, neuron) is neuron is targets.of_rows(neuron, [0])


def test_class_scores(somebodys):
    somebodys.eval()
    x = torch.randn(1, 3, 16, 16, requires_grad=True)
    scores = targets.class_scores(somebodys, x)
    (gradient,) = torch.autograd.grad(scores.sum(), x)
    assert scores.shape == (1, 5) and gradient.abs().sum() > 0
    with pytest.raises(ValueError, match=r"returns \(1, 4, 14, 14\), not class scores \(N,C\)"):
        targets.class_scores(somebodys[:2], x)
    with pytest.raises(RuntimeError, match="is on meta but the model is on cpu"):
        vh.class_scores(somebodys, x.to("meta"))


def test_layer_names(squeezenet, somebodys):
    assert targets.layer_names(somebodys) == ["0", "1", "2", "3", "4", "5"]
    assert targets.layer_names(somebodys, (nn.Conv2d, nn.Linear)) == ["0", "5"]
    convolutions = targets.layer_names(squeezenet, nn.Conv2d)
    assert len(convolutions) == 26 and convolutions[:3] == ["features.0", "features.3.squeeze", "features.3.expand1x1"]


# --- what a method explains -------------------------------------------------------------------------------------------
def tiny() -> nn.Module:
    """Convolution, in-place ReLU, pooling, convolution, linear: float64, always the same, frozen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(5, 6, 3),
                            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))  # fmt: skip
    return net.double().eval().requires_grad_(False)


def test_score_is_the_logit_of_the_class_asked_for():
    net, x = tiny(), pictures(2, 8, 10)
    logits = net(x)
    assert torch.equal(vh.score(net, x, 2), logits[:, 2])
    assert torch.equal(vh.score(net, x, [3, 0]), torch.stack([logits[0, 3], logits[1, 0]]))
    assert torch.equal(vh.score(net, x, torch.tensor([1, 1])), logits[:, 1])
    assert torch.equal(vh.score(net, x), logits.amax(1))


def test_score_of_a_label_is_that_of_its_number():
    net, x = net_of("resnet18"), pictures(1)
    assert torch.equal(vh.score(net, x, "koala"), vh.score(net, x, 105))


def test_score_of_a_neuron_is_what_its_layer_puts_out_before_an_in_place_relu():
    net, x = tiny(), pictures(2, 8, 10)
    maps = net[0](x)  # (2, 5, 8, 10), signed
    assert (maps < 0).any()
    torch.testing.assert_close(vh.score(net, x, vh.Neuron("0", 4)), maps[:, 4].mean((1, 2)))
    assert torch.equal(vh.score(net, x, vh.Neuron(net[0], 4, 7, 9)), maps[:, 4, 7, 9])
    assert torch.equal(vh.score(net, x, vh.Neuron("6", 1)), net(x)[:, 1])


@pytest.mark.parametrize("neuron, says", [
    (vh.Neuron("0", 5), "channels 0 to 4, not 5"),
    (vh.Neuron("0", -1), "channels 0 to 4"),
    (vh.Neuron("0", 1, 8, 0), r"no unit at row and column \(8, 0\)"),
    (vh.Neuron("0", 1, 3), "no unit"),
    (vh.Neuron("6", 1, 0, 0), "no unit"),
    (vh.Neuron("7", 1), "nearest"),
])  # fmt: skip
def test_wrong_neurons_are_named(neuron, says):
    with pytest.raises(ValueError, match=says):
        vh.score(tiny(), pictures(1, 8, 10), neuron)


def test_a_net_of_convolutions_has_no_class_but_has_neurons():
    net = vh.load_model("vgg16", weights="random", device="cpu")
    net.classifier, net.avgpool = nn.Identity(), nn.Identity()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    net.forward = lambda x: net.features(x)
    with pytest.raises(ValueError, match="not class scores"):
        vh.saliency(net, x, 5)
    assert vh.saliency(net, x, vh.Neuron("features.28", 5)).shape == (1, 64, 64)


def test_the_leaf_is_a_copy_and_gradients_are_on_whatever_is_around():
    net, x = tiny(), pictures(1, 8, 10)
    for outer in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with outer(), differentiable(net, x) as leaf:
            assert leaf.requires_grad and leaf.is_leaf and torch.is_grad_enabled()
            assert leaf.data_ptr() != x.data_ptr()
    assert not x.requires_grad


def test_a_unit_sees_its_receptive_field_only():
    net, x = tiny(), pictures(1, 8, 10)
    value, (g,) = score_and_gradient(net, x, vh.Neuron("0", 2, 4, 6))
    assert torch.equal(value, vh.score(net, x, vh.Neuron("0", 2, 4, 6)))
    inside = torch.zeros(8, 10, dtype=torch.bool)
    inside[3:6, 5:8] = True
    assert torch.equal(g[:, 3:6, 5:8], net[0].weight[2]) and not g[:, ~inside].any()
