"""Checks of the exercises of lesson 07_guided_backprop."""
import torch
from torch import nn

from .kit import compare, judge, net, noise, run, several

RULES = {
    "gradient": lambda a, g: g * (a > 0),
    "deconvnet": lambda a, g: g * (g > 0),
    "guided": lambda a, g: g * (a > 0) * (g > 0),
}


def check_relu_backward(answer):
    """Exercise 07.1: `answer(a, g, rule)` sends the gradient g back through a ReLU with output a."""
    a, g = torch.tensor([[0.0, 0.0, 0.0, 3.0, 0.5, 2.0], [-5.0, 6.0, 0.0, -7.0, 8.0, 0.0]])
    for rule, back in RULES.items():
        want = back(a, g)
        others = {f"for {rule!r} your function does what {other!r} should do": RULES[other](a, g)
                  for other in RULES if other != rule}  # fmt: skip
        judge(answer, want, {
            f"for {rule!r} you multiply by the activation a: multiply by its mask (a > 0), which is 0 or 1": want * a,
            "return the gradient where it passes, not only its mask": want.sign(),
        } | others, a, g, rule, hint=f"for {rule!r}, a = {a.tolist()} and g = {g.tolist()}")  # fmt: skip


def check_guided(answer):
    """Exercise 07.2: `answer(model, x, c) -> (1,3,H,W)`, guided backpropagation on an `nn.Sequential`."""
    model = net(nn.Conv2d(3, 6, 3), nn.ReLU(True), nn.Conv2d(6, 5, 3), nn.ReLU(True), nn.Flatten(), nn.Linear(120, 7))
    x = noise(1, 3, 8, 10)
    a1, a2 = model[:2](x), model[:4](x)

    def back(c, rule):
        g = model[5].weight[c].view(1, 5, 4, 6)
        for a, layer in ((a2, model[2]), (a1, model[0])):
            g = nn.functional.conv_transpose2d(rule(a, g), layer.weight)
        return g

    for c in (2, 5, 2):  # the second time the same: nothing adds up
        model.requires_grad_(c == 5)
        judge(answer, back(c, RULES["guided"]), {
            "this is the plain gradient": back(c, RULES["gradient"]),
            "this is the deconvnet's rule": back(c, RULES["deconvnet"]),
            "this is guided, but multiplied by the activation instead of its mask": back(c, lambda a, g: g.relu() * a),
            f"this explains class {7 - c}, but class {c} was asked for": back(7 - c, RULES["guided"]),
        }, model, x, c, hint="is the rule applied at both ReLUs, and nothing accumulated")  # fmt: skip


def check_parts(answer):
    """Exercise 07.3: `answer(g (3,H,W)) -> (all, positive, negative)`, each in 0..1."""
    g = torch.tensor([4.0, -1.0, 0.0, 2.0, -2.0, 0.0, 1.0, 0.0, -0.5, 0.0, 0.0, 3.0]).view(3, 2, 2)
    zero = 0 * g
    for given, wants in (
        (g, (0.5 + g / 8, g.clamp(min=0) / 4, (-g).clamp(min=0) / 2)),
        (g.abs(), (0.5 + g.abs() / 8, g.abs() / 4, zero)),  # a part without values is 0, not 0 / 0
        (-g.abs(), (0.5 - g.abs() / 8, zero, g.abs() / 4)),
        (zero, (zero + 0.5, zero, zero)),
    ):
        got = several(run(answer, given), "all", "positive", "negative")
        for name, mine, want in zip(("all", "positive", "negative"), got, wants, strict=True):
            stretched = (given - given.min()) / (given.max() - given.min()) if name == "all" else torch.nan
            compare(mine, want, {
                "stretched from min to max, 0 is another grey in every map: divide by the largest magnitude": stretched,
                f"the {name} part is drawn as its size: 0 and more": -want,
            }, hint=f"the {name} part of {given.flatten().tolist()}")  # fmt: skip
