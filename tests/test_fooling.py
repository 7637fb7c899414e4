"""Fooling pictures: closed forms on linear nets, the box, the round trip, the batch, the stop button, SqueezeNet."""
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import vizhelpers as vh


class Linear(nn.Module):
    """Class scores linear in the normalised picture; `viz` only says how pixels were normalised."""

    def __init__(self, classes=2, side=8, scale=0.4, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.5)):
        super().__init__()
        weights = torch.randn(classes, 3 * side * side, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        self.head = nn.Linear(3 * side * side, classes).double()
        self.head.weight.data, self.head.bias.data = weights * scale, torch.zeros(classes, dtype=torch.float64)
        self.viz = vh.images.ModelInfo("linear", side, side, mean, std, categories=tuple("abcdefgh"[:classes]))
        self.std = torch.tensor(std, dtype=torch.float64).view(3, 1, 1)
        self.mean = torch.tensor(mean, dtype=torch.float64).view(3, 1, 1)

    def forward(self, x):
        return self.head(x.flatten(1))

    def normalised(self, pixels):
        return (pixels - self.mean) / self.std

    def slope(self):
        """Gradient of (score 1 - score 0) with respect to pixels 0..1, `(3,H,W)`: the chain rule by hand."""
        w = self.head.weight[1] - self.head.weight[0]
        return (w.view(3, 8, 8) / self.std).detach()


def grey(count=1):
    """Nearly grey pixels, far from 0 and 1."""
    noise = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return 0.5 + 0.05 * noise


def lead(net, pixels):
    scores = net(net.normalised(pixels))
    return (scores[:, 1] - scores[:, 0]).detach()


def test_each_step_of_a_linear_net_is_the_closed_form():
    """Two classes: log-odds of class 1 are w.p, so a step of length s adds s|w| to them, whatever the picture is."""
    net, pixels = Linear(), grey()
    step = 5.0
    found = vh.fool(net, net.normalised(pixels), 1, confidence=0.999, step=step, steps=4)
    gain = step / 255 * net.slope().norm()
    want = torch.sigmoid(lead(net, pixels)[:, None] + gain * torch.arange(5))
    torch.testing.assert_close(found.history, want)
    assert (found.history.diff() > 0).all()
    torch.testing.assert_close(found.l2, torch.tensor([4 * step], dtype=torch.float64))
    direction = net.slope() / net.slope().norm()
    torch.testing.assert_close(found.difference[0], 4 * step / 255 * direction)
    torch.testing.assert_close(found.linf[0], 4 * step * direction.abs().max())


def test_shrinking_finds_the_distance_to_the_boundary():
    net, pixels = Linear(), grey()
    x = net.normalised(pixels)
    loser = int(lead(net, pixels)[0] < 0)  # the class that the net does not see
    distance = 255 * (lead(net, pixels).abs() / net.slope().norm())
    long = vh.fool(net, x, loser, confidence=0, step=60)
    short = vh.fool(net, x, loser, confidence=0, step=60, shrink=60)
    assert long.l2 > 1.05 * distance, "the first flip overshoots; else this test says nothing"
    assert distance <= short.l2 <= 1.01 * distance
    assert short.confidence >= 0.5 and torch.equal(short.steps, long.steps)


def test_values_stay_in_the_box_and_the_step_is_not_lost_there():
    net = Linear(scale=1e-3)  # so weak that the wanted confidence is out of reach
    pixels = (net.slope() > 0).double()[None]  # every value already where class 1 wants it
    pixels[0, 0, 0, :4] = 0.5
    with pytest.warns(UserWarning, match="cannot move picture"):
        found = vh.fool(net, net.normalised(pixels), 1, step=500, steps=9)
    assert found.picture.min() == 0 and found.picture.max() == 1
    change = found.difference[0].clone()
    assert (change[0, 0, :4].abs() == 0.5).all()  # these four went all the way
    change[0, 0, :4] = 0
    assert change.abs().max() < 1e-9
    net = Linear()
    other = vh.fool(net, net.normalised(pixels), 0, step=200, steps=50)
    assert other.picture.min() >= 0 and other.picture.max() <= 1 and other.fooled.all()


def test_a_picture_that_is_there_already_takes_no_step():
    net, pixels = Linear(), grey()
    winner = int(lead(net, pixels)[0] > 0)
    found = vh.fool(net, net.normalised(pixels), winner, confidence=0.5, shrink=5)
    assert found.steps.tolist() == [0] and found.l2.tolist() == [0] and found.fooled.all()
    assert found.history.shape == (1, 1)
    torch.testing.assert_close(found.picture, pixels)


def test_the_wanted_confidence_is_reached_and_not_much_more():
    net, pixels = Linear(), grey()
    loser = int(lead(net, pixels)[0] < 0)
    for wanted in (0.0, 0.5, 0.9, 0.99):
        found = vh.fool(net, net.normalised(pixels), loser, confidence=wanted, step=2, steps=500)
        last, before = found.history[0, -1], found.history[0, -2]
        assert last >= max(wanted, 0.5) > before
        torch.testing.assert_close(found.confidence, found.history[:, -1])


def test_confidence_below_a_half_still_wants_the_target_to_win():
    net = Linear(classes=6)
    x = net.normalised(grey())
    target = int(net(x).argmin())
    found = vh.fool(net, x, target, confidence=0, step=3)
    assert net(net.normalised(found.picture)).argmax() == target
    frames = vh.fool(net, x, target, confidence=0, step=3, record=True).frames[0]
    winners = net(net.normalised(frames)).argmax(1).tolist()
    assert winners[-1] == target and target not in winners[:-1]


def test_what_is_said_of_the_rounded_picture_is_what_a_file_gets():
    net = Linear(classes=4)
    x = net.normalised(grey(3))
    found = vh.fool(net, x, [0, 1, 2], step=20)
    assert found.rounded.dtype == torch.uint8
    assert (found.rounded.double() / 255 - found.picture).abs().max() <= 0.5 / 255 + 1e-12
    for n in range(3):
        buffer = io.BytesIO()
        Image.fromarray(found.rounded[n].permute(1, 2, 0).numpy()).save(buffer, "PNG")
        again = torch.from_numpy(np.array(Image.open(io.BytesIO(buffer.getvalue())))).permute(2, 0, 1).double() / 255
        p = net(net.normalised(again)[None]).softmax(1)[0]
        torch.testing.assert_close(found.rounded_confidence[n], p[n])
        assert found.winner[n] == p.argmax()


def test_rounding_can_undo_a_small_change_and_the_report_says_so():
    """Every value changes by less than half a grey level: the file is the original."""
    net = Linear()
    pixels = grey().mul(255).round().div(255)
    net.head.bias.data[1] -= lead(net, pixels)[0] + 0.004 * net.slope().norm()  # class 1 loses by a hair
    found = vh.fool(net, net.normalised(pixels), 1, confidence=0, step=0.2)
    assert found.confidence > 0.5 and 0 < found.linf < 0.5
    assert not found.fooled.any() and found.winner[0] == 0 and found.rounded_confidence < 0.5
    assert torch.equal(found.rounded, (pixels * 255).round().byte())


def test_a_batch_gives_what_single_pictures_give():
    net = Linear(classes=5)
    x, targets = net.normalised(grey(4)), [0, 1, 2, 3]
    together = vh.fool(net, x, targets, step=6, shrink=10, record=True)
    assert len(set(together.steps.tolist())) > 1, "they must end at different steps for this test to mean anything"
    for n, target in enumerate(targets):
        alone = vh.fool(net, x[n : n + 1], target, step=6, shrink=10, record=True)
        k = int(alone.steps)
        for name in ("picture", "confidence", "steps", "l2", "linf", "rounded", "rounded_confidence", "winner"):
            torch.testing.assert_close(getattr(together, name)[n], getattr(alone, name)[0])
        torch.testing.assert_close(together.history[n, : k + 1], alone.history[0])
        assert (together.history[n, k:] == together.history[n, k]).all()  # done: it keeps its last value
        torch.testing.assert_close(together.frames[n, : k + 1], alone.frames[0])


def test_frames_start_at_the_picture_and_end_at_the_result():
    net = Linear()
    pixels = grey()
    loser = int(lead(net, pixels)[0] < 0)
    found = vh.fool(net, net.normalised(pixels), loser, step=5, record=True)
    assert found.frames.shape == (1, int(found.steps) + 1, 3, 8, 8)
    torch.testing.assert_close(found.frames[:, 0], pixels)
    assert torch.equal(found.frames[:, -1], found.picture)
    said = net(net.normalised(found.frames[0])).softmax(1)[:, loser]
    torch.testing.assert_close(said, found.history[0], check_dtype=False)


@pytest.mark.parametrize("calls, shrink", [(3, 0), (9, 20)])
def test_the_stop_button_returns_what_there_is(calls, shrink):
    """Stopped in the ascent, or while the change is being made smaller."""
    net = Linear()
    x = net.normalised(grey())
    loser = int(lead(net, grey())[0] < 0)
    step = 60 if shrink else 2
    plain = vh.fool(net, x, loser, confidence=0.9, step=step, steps=50)
    count = {"left": int(plain.steps) + 1 + calls if shrink else calls}
    assert shrink or plain.steps > calls

    def stop(*_):
        count["left"] -= 1
        if count["left"] == -1:
            raise KeyboardInterrupt

    handle = net.head.register_forward_hook(stop)
    found = vh.fool(net, x, loser, confidence=0.9, step=step, steps=50, shrink=shrink)
    handle.remove()
    if shrink:
        assert found.confidence >= 0.9 and found.l2 < plain.l2
    else:
        assert found.history.shape == (1, calls) and found.steps.tolist() == [calls - 1]
        torch.testing.assert_close(found.confidence, found.history[:, -1])


def test_a_dead_gradient_is_said_and_ends_the_search():
    class Dead(Linear):
        def forward(self, x):
            return super().forward(x * 0)

    net = Dead()
    with pytest.warns(UserWarning, match=r"cannot move picture \[0, 1\]"):
        found = vh.fool(net, net.normalised(grey(2)), 1, confidence=0.9, steps=50)
    assert torch.isfinite(found.history).all() and found.history.shape == (2, 1) and (found.l2 == 0).all()


def test_bad_requests_are_one_sentence():
    net = Linear()
    x = net.normalised(grey(2))
    with pytest.raises(ValueError, match="No class is called 'zebra'; nearest"):
        vh.fool(net, x, "zebra")
    with pytest.raises(ValueError, match="0 to 1"):
        vh.fool(net, x, 2)
    with pytest.raises(ValueError, match="3 targets for 2 pictures"):
        vh.fool(net, x, [0, 1, 0])
    with pytest.raises(ValueError, match="takes a class"):
        vh.fool(net, x, vh.Neuron("head", 0))
    with pytest.raises(ValueError, match="vh.to_input"):
        vh.fool(net, x[0], 1)
    for bad in (dict(confidence=1), dict(confidence=-0.1), dict(step=0), dict(steps=-1), dict(shrink=-1)):
        with pytest.raises(ValueError, match="fool needs"):
            vh.fool(net, x, 1, **bad)
    with pytest.raises(ValueError, match="only its convolutions"):
        vh.fool(vh.load_model("alexnet"), torch.zeros(1, 3, 64, 64), 1)


def test_squeezenet_sees_a_school_bus_in_a_koala_file():
    net = vh.load_model("squeezenet1_1")
    x = vh.to_input("koala", net)
    kept = x.clone()
    found = vh.fool(net, x, "school bus", step=80)
    assert torch.equal(x, kept)
    assert found.fooled.all() and found.rounded_confidence > 0.5 and found.confidence >= 0.9
    assert found.linf < 40 and 3 <= found.steps <= 20
    file = Image.fromarray(found.rounded[0].permute(1, 2, 0).cpu().numpy())
    again = vh.predict(net, vh.to_input(file, net, size=(224, 224)))[0]
    assert again.label == "school bus" and abs(again.probability - float(found.rounded_confidence)) < 1e-3
