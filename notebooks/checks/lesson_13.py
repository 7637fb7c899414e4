"""Checks of the exercises of lesson 13_can_we_trust_these_maps."""
import torch
from torch import nn

from .kit import compare, error_of, net, noise, run, untouched


def check_pointing(answer):
    """Exercise 13.1: `answer(heat (H,W), mask (H,W) bool) -> bool`, whether the highest value is inside."""
    heat = noise(7, 4)
    heat[2, 3], heat[6, 1] = 3.0, -4.0
    masks = torch.eye(28, dtype=torch.bool).view(28, 7, 4)  # each with one place: where does the answer look?
    looked = [divmod(n, 4) for n, m in enumerate(masks) if run(answer, heat, m) or not run(answer, heat, ~m)]
    assert len(looked) == 1, "only the place of the one highest value counts: is the mask True there?"
    assert looked != [(6, 1)], "this is the largest magnitude, and the lowest value: keep the sign, take the highest."
    assert looked == [(2, 3)], (
        f"the highest value is at (2, 3), but you look at {looked[0]}: argmax()'s flat index is row * 4 + column; a "
        "row and a column that were found each by itself need not meet there."
    )


def check_deletion(answer):
    """Exercise 13.2: `answer(model, x (1,3,H,W), c, heat (H,W), steps) -> (steps+1,)`, logits of class c."""
    model, x = net(nn.Flatten(), nn.Linear(60, 4)), noise(1, 3, 4, 5, seed=2)
    adds = model[1].weight.view(4, 3, 4, 5) * x  # on a linear net a value adds just this to a class's logit
    heat = adds[2].sum(0)

    def curve(score, read=lambda scores: scores, colours=3):
        gone = adds[:, :colours].sum(1).flatten(1)[:, score.flatten().argsort(descending=True)].cumsum(1)
        return read(model(x).T - nn.functional.pad(gone, (1, 0))[:, ::5])[2]

    got, want = run(answer, model, x, 2, heat, 4), curve(heat)
    assert len(got) == 5, f"4 steps give 5 points, from none to all pixels deleted; yours has {len(got)}."
    compare(got, want, {
        "you delete the lowest pixels first": curve(-heat),
        "you rank by magnitude: keep the sign": curve(heat.abs()),
        "this is the insertion curve": want.flip(0),
        "these are probabilities: take the logit": curve(heat, read=lambda scores: scores.softmax(0)),
        "after k of 4 steps, 5k pixels are 0 in all three colours, not only in the first": curve(heat, colours=1),
    }, hint="after k of 4 steps, 5k pixels are 0 in all three colours")  # fmt: skip


def check_with_random_weights(answer):
    """Exercise 13.3: `answer(model, function)` runs function() with random weights and gives them back."""
    model = net(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Linear(96, 4))
    own, seen = {name: p.clone() for name, p in model.named_parameters()}, {}
    with untouched(model):
        got = answer(model, lambda: seen.update((name, p.clone()) for name, p in model.named_parameters()) or 42)
        assert seen, "call function() while the weights are random."
        for name, p in own.items():
            kept, flat = (seen[name] - p).abs().max() < 1e-3 * p.abs().max(), seen[name].unique().numel() == 1
            why = "nearly its own values" if kept else "the same number everywhere"
            assert not kept and not flat, f"{name} was not random while function() ran: it had {why}."
        assert got == 42, "return what function() returned."
    with untouched(model):
        error = error_of(answer, model, {}.popitem)  # a KeyError
        same = all(torch.equal(p, own[name]) for name, p in model.named_parameters())
        assert same, "after an exception the weights are still random: give them back in a finally block."
        assert isinstance(error, KeyError), "an exception in function() must come through: finally, not except."
