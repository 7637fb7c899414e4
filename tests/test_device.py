"""The device, the seed, and batches: joined results equal the whole, also when memory or patience runs out."""

import random

import numpy as np
import pytest
import torch
from torch import nn

import vizhelpers as vh
from vizhelpers.device import device_of, stoppable


# ---- device ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def no_wish(monkeypatch):
    monkeypatch.delenv("VIZHELPERS_DEVICE", raising=False)
    return monkeypatch


def machine_with(no_wish, accelerator) -> None:
    """Let torch.accelerator answer as on such a machine."""
    no_wish.setattr(torch.accelerator, "is_available", lambda: accelerator is not None)
    no_wish.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(accelerator))


@pytest.mark.parametrize(("accelerator", "want"), [("cuda", "cuda"), ("mps", "mps"), (None, "cpu")])
def test_the_accelerator_before_the_cpu(no_wish, accelerator, want):
    machine_with(no_wish, accelerator)
    assert vh.device() == torch.device(want)


@pytest.mark.parametrize("wish", ["cpu", " cpu ", "meta"])
def test_the_environment_overrides(no_wish, wish):
    machine_with(no_wish, "cuda")
    no_wish.setenv("VIZHELPERS_DEVICE", wish)
    assert vh.device() == torch.device(wish.strip())


def test_an_empty_wish_is_no_wish(no_wish):
    no_wish.setenv("VIZHELPERS_DEVICE", "")
    machine_with(no_wish, "cuda")
    assert vh.device().type == "cuda"


@pytest.mark.parametrize("wish", ["gpu", "cuda:99", "nonsense:3", "cuda:x"])
def test_a_device_that_is_not_there_is_one_sentence(no_wish, wish):
    no_wish.setenv("VIZHELPERS_DEVICE", wish)
    with pytest.raises(RuntimeError, match=f"VIZHELPERS_DEVICE is '{wish}', but .* unset the variable") as caught:
        vh.device()
    assert "\n" not in str(caught.value) and caught.value.__suppress_context__


def test_nets_and_pictures_go_to_the_wish(no_wish):
    no_wish.setenv("VIZHELPERS_DEVICE", "cpu")
    net = vh.load_model("squeezenet1_1", weights="random")
    assert device_of(net) == vh.to_input("koala").device == torch.device("cpu")


def test_device_of_a_net_a_buffer_and_nothing():
    assert device_of(nn.Linear(2, 2, device="meta")) == torch.device("meta")
    only_buffer = nn.Module()
    only_buffer.register_buffer("b", torch.zeros(1, device="meta"))
    assert device_of(only_buffer) == torch.device("meta")
    assert device_of(nn.ReLU()) == torch.device("cpu")


def test_another_device_is_said():
    net = nn.Linear(2, 2, device="meta")
    with pytest.raises(RuntimeError, match=r"input is on cpu but the model is on meta: use x.to\('meta'\)"):
        vh.predict(net, torch.zeros(1, 2))


# ---- seed ------------------------------------------------------------------------------------------------------------
def draw():
    return random.random(), np.random.rand(3).tolist(), torch.rand(3).tolist()


def test_the_seed_repeats_all_three_generators():
    vh.seed(7)
    first = draw()
    later = draw()
    vh.seed(7)
    assert draw() == first
    vh.seed(8)
    other = draw()
    assert all(a != b for a, b in zip(first, other, strict=True)) and first != later


def test_the_default_seed_is_zero():
    vh.seed()
    first = draw()
    vh.seed(0)
    assert draw() == first


# ---- in_batches ------------------------------------------------------------------------------------------------------
X = torch.arange(22.0).reshape(11, 2)


@pytest.mark.parametrize("size", [1, 3, 4, 11, 100, None])
def test_batches_equal_the_whole_also_with_a_remainder(size):
    sizes = []

    def double(x):
        sizes.append(len(x))
        return 2 * x

    out = vh.in_batches(double, X, batch_size=size)
    assert torch.equal(out, 2 * X)
    assert sum(sizes) == 11 and max(sizes) <= (size or 8) and len(sizes) == -(-11 // (size or 8))


def test_a_list_of_single_pictures_is_as_good():
    assert torch.equal(vh.in_batches(lambda x: x + 1, [row[None] for row in X], batch_size=4), X + 1)


def test_tuples_are_joined_part_by_part():
    total, square = vh.in_batches(lambda x: (x.sum(1), x**2), X, batch_size=4)
    assert torch.equal(total, X.sum(1)) and torch.equal(square, X**2)


def test_nothing_to_do_is_an_error():
    for empty in (X[:0], []):
        with pytest.raises(ValueError, match="batch of inputs is empty"):
            vh.in_batches(lambda x: x, empty)


def test_a_net_in_batches_equals_the_net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).eval()
    x = torch.randn(5, 3, 6, 7)
    with torch.no_grad():
        torch.testing.assert_close(vh.in_batches(net, x, batch_size=2), net(x))


def stops_at(number, error):
    seen = []

    def function(x):
        if len(seen) == number:
            raise error
        seen.append(x)
        return x

    return function


def test_an_interrupt_returns_what_is_done():
    assert torch.equal(vh.in_batches(stops_at(2, KeyboardInterrupt), X, batch_size=3), X[:6])


def test_an_interrupt_before_anything_is_done_goes_on():
    with pytest.raises(KeyboardInterrupt):
        vh.in_batches(stops_at(0, KeyboardInterrupt), X, batch_size=3)


@pytest.mark.parametrize(("done", "enough", "ends"), [(0, None, False), (1, None, True), (1, lambda: False, False),
                                                      (0, lambda: True, True)])  # fmt: skip
def test_the_frame_of_every_loop_ends_quietly_once_something_is_done(done, enough, ends):
    def work():
        with stoppable(5, enough=enough) as bar:
            bar.update(done)
            raise KeyboardInterrupt
        return bar.done

    if ends:
        assert work() == done
    else:
        pytest.raises(KeyboardInterrupt, work)


def test_other_errors_go_on():
    with pytest.raises(RuntimeError, match="mine"):
        vh.in_batches(stops_at(2, RuntimeError("mine")), X, batch_size=3)


def memory_for(limit):
    sizes = []

    def function(x):
        sizes.append(len(x))
        if len(x) > limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory (simulated)")
        return x

    return function, sizes


def test_out_of_memory_halves_the_batch():
    function, sizes = memory_for(3)
    assert torch.equal(vh.in_batches(function, X, batch_size=8), X)
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 1]


def test_one_picture_that_does_not_fit_is_an_error():
    function, sizes = memory_for(0)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        vh.in_batches(function, X, batch_size=4)
    assert sizes == [4, 2, 1]


def test_the_progress_bar_shows_when_asked(capsys):
    vh.in_batches(lambda x: x, X, batch_size=4)
    assert capsys.readouterr().err == ""
    assert torch.equal(vh.in_batches(lambda x: x, X, batch_size=4, progress=True), X)
    assert "11" in capsys.readouterr().err
