"""Gatys' style transfer: the Gram matrix, the losses, and what an optimised picture must keep to (METHODS)."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vizhelpers as vh
from vizhelpers.images import from_pixels, to_pixels
from vizhelpers.methods import style
from vizhelpers.methods.fast import total_variation
from vizhelpers.methods.style import StyleRun, features, find_layers, relative, with_average_pooling


@pytest.fixture(scope="module")
def chain():
    """Two blocks in the manner of a VGG, with ReLUs in place; random, small, frozen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        layers = []
        for inside, outside in ((3, 8), (8, 8), (8, 12), (12, 12)):
            layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(inplace=True)]
            if len(layers) == 4:
                layers.append(nn.MaxPool2d(2))
        return nn.Sequential(*layers).eval().requires_grad_(False)


SMALL = dict(size=(36, 48), style_layers=["relu1_1", "relu2_1"], content_layer="relu2_2", steps=6)


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# --- the Gram matrix ---
def test_gram_by_hand():
    f = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])  # two channels of 1 x 2
    assert torch.equal(vh.gram(f), torch.tensor([[[5.0, 3.0], [3.0, 9.0]]]) / 4)


def test_gram_is_symmetric_without_negative_eigenvalues_and_single_equals_batch():
    f = noise(3, 6, 4, 5)
    g = vh.gram(f)
    torch.testing.assert_close(g, torch.einsum("nahw,nbhw->nab", f, f) / (6 * 4 * 5))
    assert torch.equal(g, g.transpose(1, 2))
    assert torch.linalg.eigvalsh(g).min() > -1e-12
    for n in range(3):
        torch.testing.assert_close(g[n], vh.gram(f[n : n + 1])[0])
    few = noise(1, 6, 1, 2)  # two places, six channels: four eigenvalues are 0
    assert torch.linalg.eigvalsh(vh.gram(few))[0, :4].abs().max() < 1e-12


def test_gram_forgets_where_things_are():
    f = noise(1, 5, 6, 7)
    moved = f.flatten(2)[:, :, torch.randperm(42, generator=torch.Generator().manual_seed(1))].view_as(f)
    torch.testing.assert_close(vh.gram(moved), vh.gram(f))
    assert not torch.allclose(vh.gram(f.roll(1, 1)), vh.gram(f))  # but not which channel fired


def test_gram_s_gradient():
    f = noise(2, 3, 4, 2).requires_grad_()
    torch.autograd.gradcheck(lambda f: vh.gram(f) * noise(2, 3, 3, seed=9), f)
    wide = noise(1, 4, 3, 3).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(vh.gram(wide), vh.gram(wide.contiguous()))
    with pytest.raises(ValueError, match="N,C,h,w"):
        vh.gram(torch.zeros(3, 4, 5))


# --- layers ---
def test_classic_names_are_those_of_the_paper():
    names = vh.classic_names(vh.load_model("vgg16"))
    assert [names[n] for n in ("conv1_1", "relu1_1", "relu2_1", "relu3_3", "relu4_2", "conv5_1", "pool5")] == [
        f"features.{n}" for n in (0, 1, 6, 15, 20, 24, 30)]  # fmt: skip
    assert len(names) == 13 + 13 + 5


def test_a_conv_layer_is_not_its_relu(chain):
    names = find_layers(chain, ["conv1_1", "relu1_1"])
    conv, relu = features(chain, vh.to_input("koala", chain, size=(36, 48)), names)
    assert conv.min() < 0 <= relu.min()
    assert torch.equal(conv.relu(), relu)
    with pytest.raises(ValueError, match="relu9_9"):
        find_layers(chain, ["relu9_9"])


def test_average_pooling_is_a_copy(chain):
    other = with_average_pooling(chain)
    assert isinstance(chain[4], nn.MaxPool2d)
    f = noise(1, 8, 6, 6, dtype=torch.float32)
    torch.testing.assert_close(other[4](f), F.avg_pool2d(f, 2))


# --- the transfer ---
def test_loss_is_zero_at_the_target(chain):
    square = np.asarray(vh.load_image("koala").resize((48, 48)))
    run = StyleRun(square, square, net=chain, **SMALL | {"size": (48, 48)})
    assert run.step() < 1e-9
    assert relative(noise(1, 4), noise(1, 4)) == 0 and relative(torch.zeros(1, 4), noise(1, 4)) == 1


def test_the_parts_add_up_to_the_loss(chain):
    options = SMALL | {"style_layers": {"relu1_1": 3.0, "relu2_1": 1.0}}
    run = StyleRun("koala", "poppies", net=chain, **options, content_weight=0.4, start="noise")
    loss, result = run.step(), run.result()
    assert result.layers == ("relu1_1", "relu2_1")
    want = 0.4 * result.content[0] + 0.75 * result.style[0, 0] + 0.25 * result.style[0, 1]
    assert loss == pytest.approx(float(want), rel=1e-5)
    start = 0.4 + 0.2 * torch.rand(1, 3, 36, 48, generator=torch.Generator().manual_seed(0))  # seed 0's noise
    x = from_pixels(chain, start)
    goal = vh.to_input("poppies", chain, size=36, crop=False)
    own = relative(vh.gram(chain[:2](x)), vh.gram(chain[:2](goal)))
    assert float(result.style[0, 0]) == pytest.approx(float(own), rel=1e-4)


def test_total_variation_by_hand():
    pixels = torch.zeros(1, 1, 2, 3)
    pixels[0, 0, 0, 0] = 1.0
    assert float(total_variation(pixels)) == pytest.approx(1 / 3 + 1 / 4)


def test_history_falls_inputs_stay_and_a_seed_repeats(chain):
    content = np.asarray(vh.load_image("koala").resize((48, 36)))
    kept, before = content.copy(), [p.clone() for p in chain.parameters()]
    first = vh.style_transfer(content, "poppies", net=chain, **SMALL | {"steps": 15}, start="noise", seed=3)
    assert first.image.shape == (3, 36, 48) and first.image.min() >= 0 and first.image.max() <= 1
    assert first.history[-1] < 0.75 * first.history[0] and first.style.shape == (15, 2)
    assert np.array_equal(content, kept) and all(map(torch.equal, before, chain.parameters()))
    assert not any(m._forward_hooks for m in chain.modules()) and not first.image.requires_grad
    again = vh.style_transfer(content, "poppies", net=chain, **SMALL | {"steps": 15}, start="noise", seed=3)
    assert torch.equal(first.image, again.image)
    other = vh.style_transfer(content, "poppies", net=chain, **SMALL | {"steps": 15}, start="noise", seed=4)
    assert not torch.equal(first.image, other.image)


def test_a_transfer_works_under_no_grad(chain):
    want = vh.style_transfer("koala", "poppies", net=chain, **SMALL).image
    for around in (torch.no_grad(), torch.inference_mode()):
        with around:
            inside = vh.style_transfer("koala", "poppies", net=chain, **SMALL).image.clone()
        assert torch.equal(inside.clone(), want)


def test_bfloat16_ends_near_the_same_loss(chain):
    """Judged in float32: the loss at the first step of a run that is put at the other's result."""
    def loss_at(image):
        run = StyleRun("koala", "poppies", net=chain, **SMALL)
        run._base = from_pixels(chain, image[None])
        return run.step()

    low, full = (vh.style_transfer("koala", "poppies", net=chain, **SMALL | {"steps": 12}, precision=precision)
                 for precision in ("bfloat16", "float32"))  # fmt: skip
    assert low.image.dtype is low.history.dtype is torch.float32 and not torch.equal(low.image, full.image)
    assert low.history[0] == pytest.approx(float(full.history[0]), rel=0.02)
    assert loss_at(low.image) < 0.5 * full.history[0] and loss_at(low.image) < 1.2 * loss_at(full.image)


def test_content_weight_holds_the_content(chain):
    near, far = (vh.style_transfer("koala", "poppies", net=chain, **SMALL | {"steps": 12}, content_weight=w)
                 for w in (10.0, 0.001))  # fmt: skip
    assert near.content[-1] < far.content[-1] and near.style[-1].sum() > far.style[-1].sum()


def test_total_variation_smooths(chain):
    rough, smooth = (vh.style_transfer("koala", "poppies", net=chain, **SMALL | {"steps": 30}, start="noise",
                                       total_variation=w) for w in (0.0, 300.0))  # fmt: skip
    assert total_variation(smooth.image[None]) < 0.5 * total_variation(rough.image[None])


def test_stages_go_from_half_to_full_size(chain):
    sizes, run = [], StyleRun("koala", "poppies", net=chain, **SMALL | {"size": 128, "steps": 6})
    while run.done < run.total:
        run.step()
        sizes.append(min(run.image().shape[1:]))
    assert sizes == [64] * 4 + [128] * 2 and len(run.result().history) == 2


@pytest.mark.parametrize("passes, steps", [(1, 0), (4, 3), (21, 0)])  # in the first, a coarse, the first fine step
def test_a_stopped_transfer_returns_what_it_has(chain, monkeypatch, passes, steps):
    whole, seen = StyleRun._loss, []

    def stop(run, x):
        seen.append(x)
        if len(seen) == passes:
            raise KeyboardInterrupt
        return whole(run, x)

    monkeypatch.setattr(StyleRun, "_loss", stop)
    options = SMALL | {"size": 128, "steps": 30}
    if passes == 1:
        with pytest.raises(KeyboardInterrupt):
            vh.style_transfer("koala", "poppies", net=chain, **options)
        return
    found = vh.style_transfer("koala", "poppies", net=chain, **options)
    assert len(found.history) == steps and min(found.image.shape[1:]) == 128  # enlarged from the coarse stage


@pytest.mark.parametrize("wrong, word", [
    ({"steps": 0}, "at least 1 step"), ({"content_weight": -1.0}, "weights"), ({"content_layer": "relu7_1"}, "relu7_1"),
    ({"style_layers": []}, "1 style layer"), ({"style_layers": {"relu1_1": -1.0}}, "weights"),
    ({"start": "nowhere_at_all"}, "start='content' or 'noise'"),
    ({"stages": 3}, "1 or 2 stages"), ({"content_wait": 1}, "content_weight"), ({"precision": "half"}, "bfloat16"),
])  # fmt: skip
def test_what_cannot_be_is_said(chain, wrong, word):
    with pytest.raises(ValueError, match=word):
        vh.style_transfer("koala", "poppies", net=chain, **SMALL | wrong)


def test_pixels_there_and_back(chain):
    pixels = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(to_pixels(chain, from_pixels(chain, pixels)), pixels)


def test_the_size_follows_the_device(chain, monkeypatch):
    """A GPU gets larger pictures by itself."""
    options = {name: value for name, value in SMALL.items() if name != "size"} | {"stages": 1}
    assert min(StyleRun("koala", "poppies", net=chain, **options).image().shape[1:]) == 224
    monkeypatch.setattr(style, "device_of", lambda net: torch.device("cuda"))
    assert min(StyleRun("koala", "poppies", net=chain, **options).image().shape[1:]) == 512
