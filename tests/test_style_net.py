"""The style net, its training and its files; the shipped nets."""

import importlib.util

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vizhelpers as vh
from vizhelpers.images import DATA
from vizhelpers.methods import style_net
from vizhelpers.methods.style_net import _crops, _training_pictures

SHIPPED = vh.style_nets()


@pytest.fixture(scope="module")
def small_vgg():
    """In the place of VGG16: eight narrow convolutions in four blocks, so that every classic layer name is there."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layers, inside = [], 3
        for outside, count in ((4, 2), (6, 2), (8, 3), (8, 1)):
            for _ in range(count):
                layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(inplace=True)]
                inside = outside
            layers.append(nn.MaxPool2d(2))
        return nn.Sequential(*layers).eval().requires_grad_(False)


@pytest.fixture
def quick(small_vgg, monkeypatch):
    """Training against the narrow net: what is tested here is the training, not the paintings."""
    monkeypatch.setattr(style_net, "default_net", lambda: small_vgg)
    monkeypatch.setattr(style_net, "CROP", 40)
    monkeypatch.setattr(style_net, "WARM_UP", 2)
    return dict(style="poppies", steps=4)


def small_net():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return vh.StyleNet(4, 1).eval().requires_grad_(False)


# --- the net ---
@pytest.mark.parametrize("size", [(64, 64), (65, 64), (61, 83), (30, 47), (8, 8), (9, 11)])
def test_every_size_is_kept(size):
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    y = small_net()(x)
    assert y.shape == x.shape and y.min() >= 0 and y.max() <= 1
    torch.testing.assert_close(y[:1], small_net()(x[:1]))  # instance norm: no picture sees another


def test_no_zeros_come_in_at_the_border():
    """A constant picture stays constant up to its rim: with zeros around it, it would get a frame."""
    net, x = small_net(), torch.full((1, 3, 32, 32), 0.4)
    assert float(net(x).std((2, 3)).max()) < 1e-4
    framed = F.conv2d(x, net.last[1].weight[:, :3], padding=4)
    assert float(framed.std((2, 3)).max()) > 1e-2


def test_stylise_takes_pictures_and_sizes():
    net = small_net()
    picture = (np.random.default_rng(0).random((37, 50, 3)) * 255).astype(np.uint8)
    kept = picture.copy()
    got = vh.stylise(net, picture)
    want = net(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)[0]
    torch.testing.assert_close(got, want, atol=1e-4, rtol=0)
    assert np.array_equal(picture, kept) and not got.requires_grad
    assert vh.stylise(net, picture, size=(21, 45)).shape == (3, 21, 45)
    assert vh.stylise(net, picture, size=20).shape == (3, 20, 27)
    with pytest.raises(ValueError, match="at least 8"):
        vh.stylise(net, picture, size=4)


@pytest.fixture(scope="module")
def make():
    """The script that makes the shipped nets."""
    spec = importlib.util.spec_from_file_location("make_style_nets", DATA / "style_nets" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_file_keeps_the_net_and_its_facts(make, tmp_path):
    net, path = small_net(), tmp_path / "mine.safetensors"
    make.save(net, path, style="poppies", seed=3)
    again = vh.load_style_net(path)
    assert again.facts == {"width": "4", "blocks": "1", "style": "poppies", "seed": "3"}
    assert not again.training and not any(p.requires_grad for p in again.parameters())
    x = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again(x), net(x), atol=2e-2, rtol=0)  # float16 in the file
    for p, q in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(p.half(), q.half())
    with pytest.raises(ValueError, match="There is no style net 'nobody'"):
        vh.load_style_net("nobody")


# --- the training ---
def test_training_lowers_the_loss_and_repeats(quick):
    first = vh.train_style_net(**quick | {"steps": 15, "rate": 1e-2}, start=small_net())
    assert first.history.shape == (15, 3) and not first.net.training and first.net.width == 4
    assert first.history[-5:, 0].mean() < 0.8 * first.history[:3, 0].mean()
    short = quick | {"steps": 2}
    a, b, other = (vh.train_style_net(**short, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(a.history, b.history) and not torch.equal(a.history, other.history)
    assert (a.net.width, a.net.blocks) == (16, 4)


def test_a_new_net_first_learns_to_return_its_input(quick, monkeypatch):
    def error(net):
        pixels = _crops(7, 0, torch.device("cpu"))
        return float((net(pixels) - pixels).abs().mean().detach())

    monkeypatch.setattr(style_net, "WARM_UP", 60)
    warm = vh.train_style_net("poppies", steps=1)
    monkeypatch.setattr(style_net, "WARM_UP", 0)
    assert error(warm.net) < 0.7 * error(vh.train_style_net("poppies", steps=1).net)


def test_a_stopped_training_keeps_what_is_done_and_start_goes_on(quick):
    def stop(step, net):
        if step == 2:
            raise KeyboardInterrupt

    def furthest(net, other):
        return max(float((p - q).detach().abs().max())
                   for p, q in zip(net.parameters(), other.parameters(), strict=True))

    start = small_net()
    half = vh.train_style_net(**quick, start=start, callback=stop)
    asked = vh.train_style_net(**quick, start=start, callback=lambda step, net: step == 2)
    assert len(half.history) == 2 and torch.equal(half.history, asked.history)
    assert furthest(half.net, asked.net) == 0 and furthest(start, small_net()) == 0  # a copy was trained
    assert furthest(vh.train_style_net("poppies", steps=1, rate=0, start=half.net).net, half.net) == 0
    rest = vh.train_style_net(**quick, start=half.net)
    assert len(rest.history) == 4 and 0 < furthest(rest.net, half.net) < 0.01
    with pytest.raises(ValueError, match="at least one step"):
        vh.train_style_net("poppies", steps=0)


def test_training_with_a_judge_in_bfloat16(quick):
    low, full = (vh.train_style_net(**quick, precision=precision) for precision in ("bfloat16", "float32"))
    assert not torch.equal(low.history, full.history)
    torch.testing.assert_close(low.history, full.history, rtol=0.05, atol=0.01)
    assert all(p.dtype is torch.float32 for p in low.net.parameters())


def test_crops_follow_from_seed_and_step(quick):
    a, b, c, d = (_crops(step, seed, torch.device("cpu")) for step, seed in ((1, 0), (1, 0), (1, 1), (2, 0)))
    assert a.shape == (2, 3, 40, 40) and a.min() >= 0 and a.max() <= 1
    assert torch.equal(a, b) and not torch.equal(a, c) and not torch.equal(a, d)
    pictures = _training_pictures()
    assert len(pictures) == len(vh.library("photos")) + 40 and min(min(p.shape[1:]) for p in pictures) == 176


def test_command_line(make, quick, tmp_path, capsys, monkeypatch):
    out, start = (str(tmp_path / f"{name}.safetensors") for name in ("a", "start"))
    make.save(small_net(), start, style="poppies")
    words = ["--style", "poppies", "--out", out, "--steps", "2", "--seed", "4", "--start", start]
    assert make.main(words) == 0
    facts = vh.load_style_net(out).facts
    assert facts["style"] == "poppies" and facts["seed"] == "4" and facts["steps"] == "2"
    assert facts["command"] == "python data/style_nets/make.py " + " ".join(words)
    assert "loss, content, style" in capsys.readouterr().out
    assert make.main(["--style", "popies", "--out", out]) == 1
    assert "poppies" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # before the training, not after it
        make.main(["--style", "poppies", "--out", str(tmp_path / "nowhere" / "a.safetensors")])
    train = vh.train_style_net
    monkeypatch.setattr(vh, "train_style_net", lambda **o: train(**o, callback=lambda step, net: True), raising=False)
    assert make.main([*words[:5], "9", *words[6:]]) == 1
    assert vh.load_style_net(out).facts["steps"] == "1" and f"--start {out}" in capsys.readouterr().err


# --- the shipped nets ---
def test_shipped_nets_are_documented_and_small():
    assert len(SHIPPED) >= 4 and set(SHIPPED) <= {p.subject for p in vh.library("paintings")}
    assert sum(path.stat().st_size for path in (DATA / "style_nets").iterdir()) < 5e6
    text = (DATA / "README.md").read_text()
    assert "style_nets/" in text
    for name in SHIPPED:
        facts = vh.load_style_net(name, device="cpu").facts
        words = facts["command"].split(" ", 3)[3]  # behind "python -m vizhelpers.style_net", as it was called then
        command = f"python data/style_nets/make.py {words}"
        assert facts["style"] == name and command in text, f"the README lacks {name}'s training command"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_nets_paint(name):
    """The colours come nearer to the painting's, and light and dark stay in place."""
    net = vh.load_style_net(name, device="cpu")
    photo = vh.to_display(vh.to_input("koala", size=(160, 160)))[0]
    painting = vh.to_display(vh.to_input(name, size=(160, 160)))[0]
    painted = vh.stylise(net, "koala", size=(160, 160))

    def colours(picture):
        flat = picture.flatten(1)
        return torch.cat([flat.mean(1), torch.cov(flat).flatten().sqrt().nan_to_num()])

    goal = colours(painting)
    assert (colours(painted) - goal).norm() < (colours(photo) - goal).norm()
    grey = [F.avg_pool2d(p.mean(0)[None], 8).flatten() for p in (photo, painted)]
    assert float(torch.corrcoef(torch.stack(grey))[0, 1]) > 0.3
    rows = painted.mean(0)
    checker = (rows[::2, ::2] + rows[1::2, 1::2] - rows[::2, 1::2] - rows[1::2, ::2]).mean().abs()
    assert float(checker) < 0.02  # no checkerboard
