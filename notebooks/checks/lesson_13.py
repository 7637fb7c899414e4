"""Checks of the exercises of lesson 13_can_we_trust_these_maps."""
import torch
import torch.nn.functional as F
from torch import nn

from .kit import compare, net, noise, run


def check_pointing(answer):
    """Exercise 13.1: `answer(heat (H,W), mask (H,W) bool) -> bool`, whether the highest value is inside."""
    heat, inside, lowest = torch.zeros(5, 8), *torch.zeros(2, 5, 8, dtype=torch.bool)
    heat[1, 6], heat[4, 0], inside[1, 6], lowest[4, 0] = 2.0, -3.0, True, True
    assert run(answer, heat, inside), (
        "the highest value is at row 1, column 6, where the mask is True: argmax()'s flat index is row * 8 + column."
    )
    assert not run(answer, heat, lowest), "the largest magnitude is not the highest value: leave the sign on."
    for seed in range(6):
        heat, mask = noise(7, 4, seed=seed), noise(7, 4, seed=seed + 10) < 0
        best = max((float(heat[r, c]), bool(mask[r, c])) for r in range(7) for c in range(4))
        assert bool(run(answer, heat, mask)) == best[1], "only the place of the one highest value counts."


def check_deletion(answer):
    """Exercise 13.2: `answer(model, x (1,3,H,W), c, heat (H,W), steps) -> (steps+1,)`, logits of class c."""
    model, x = net(nn.Flatten(), nn.Linear(60, 4)), noise(1, 3, 4, 5, seed=2)
    adds = model[1].weight.view(4, 3, 4, 5) * x  # on a linear net a value adds just this to a class's logit
    heat = adds[2].sum(0)

    def curve(score, read=lambda scores: scores, colours=3):
        gone = adds[:, :colours].sum(1).flatten(1)[:, score.flatten().argsort(descending=True)].cumsum(1)
        return read(model(x).T - F.pad(gone, (1, 0))[:, ::5])[2]

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
    own = {name: p.clone() for name, p in model.named_parameters()}
    seen = {}

    def given_back() -> bool:
        """Whether the weights are the model's own again; makes them so."""
        same = all(torch.equal(p, own[name]) for name, p in model.named_parameters())
        for name, p in model.named_parameters():
            p.data = own[name].clone()
        return same

    def look():
        seen.update((name, p.clone()) for name, p in model.named_parameters())
        return 42

    def fail():
        raise KeyError("planted")

    got, same = answer(model, look), given_back()
    assert seen, "call function() while the weights are random."
    for name in ("0.weight", "2.weight"):
        assert not torch.equal(seen[name], own[name]), f"{name} was not random while function() ran."
    assert got == 42, "return what function() returned."
    assert same, "the weights were not given back: keep p.clone(), not a second name for the same memory."
    raised = False
    try:
        answer(model, fail)
    except KeyError:
        raised = True
    assert given_back(), "after an exception the weights are still random: give them back in a finally block."
    assert raised, "an exception in function() must come through: finally, not except."
