"""Checks of the exercises of lesson 06_fooling_images."""
import math

import torch
from torch import nn

from .kit import compare, judge, net, noise, run, several


def check_step(answer):
    """Exercise 06.1: `answer(pixels, gradient, length) -> pixels`, one clipped step per picture."""
    pixels, gradient = noise(2, 3, 5, 6).sigmoid(), noise(2, 3, 5, 6, seed=2)
    gradient[1] *= 1e-4  # the second picture's gradient is tiny; its step is as long
    unit = torch.stack([g / math.sqrt(sum(v * v for v in g.flatten().tolist())) for g in gradient])
    for length in (20.0, 900.0):
        def stepped(change, length=length):
            return (pixels + length / 255 * change).clamp(0, 1)

        judge(answer, stepped(unit), {
            "length is in units of 0..255: divide it by 255": stepped(255 * unit),
            "this goes downhill: add the step": stepped(-unit),
            "the step has the gradient's own length: divide each picture's gradient by its norm": stepped(gradient),
            "the norm was taken over the whole batch: each picture has its own": stepped(gradient / gradient.norm()),
            "only the signs are left; the step is to go along the gradient itself": stepped(gradient.sign()),
            "values leave 0..1: end with .clamp(0, 1)": pixels + length / 255 * unit,
        }, pixels, gradient, length, hint="(pixels + length / 255 * gradient / its norm), clipped to 0..1")  # fmt: skip


def check_sizes(answer):
    """Exercise 06.2: `answer(start, picture) -> (l2, linf)` of the uint8 file, each `(N,)`, in 0..255."""
    levels = 20 + 210 * noise(3, 3, 4, 5, seed=5).sigmoid()  # no whole numbers, as after a net's own preprocessing
    levels[1] = levels[1].round()
    change = 3 * noise(3, 3, 4, 5, seed=2)
    change[1] = 0.3  # rounds to nothing
    change[2] = -change[2].abs()
    before, after = (torch.tensor([*map(round, t.flatten().tolist())]).view(3, -1) for t in (levels, levels + change))
    steps = after - before

    def sizes(change):
        change = change.flatten(1).double()
        return {"l2": change.square().sum(1).sqrt(), "linf": change.abs().amax(1)}

    got = several(run(answer, levels / 255, (levels + change) / 255), "l2", "linf")
    for mine, (name, want) in zip(got, sizes(steps).items(), strict=True):
        compare(mine, want, {
            f"{name} is in units of 0..1: multiply by 255": want / 255,
            f"{name} is of the floating point picture: a file holds whole numbers, so round": sizes(change)[name],
            f"{name} comes from uint8, where 3 - 5 becomes 254: subtract as float or int": sizes(steps % 256)[name],
            f"{name} is of the rounded difference: round both pictures, then subtract": sizes(change.round())[name],
            "linf is the largest magnitude, also of what became darker": steps.amax(1),
        }, hint=f"{name}, one number per picture")  # fmt: skip


def check_escape(answer):
    """Exercise 06.3: `answer(net, pixels, length, steps) -> (pixels, taken)`: away from its own class."""
    for seed, length, most, contrast in ((0, 12.0, 2, 0.1), (0, 60.0, 2, 1.6), (0, 12.0, 99, 0.1), (4, 30.0, 99, 0.1)):
        model = net(nn.Flatten(), nn.Linear(3 * 6 * 6, 2), seed=seed).requires_grad_()
        pixels = (0.5 + contrast * (noise(1, 3, 6, 6, seed=seed).sigmoid() - 0.5)).clamp(0, 1)
        own = int(model(pixels).argmax())
        weight = model[1].weight.detach().view(2, 1, 3, 6, 6)
        slope = weight[own] - weight[1 - own]  # the log-probability of one of two classes grows along their difference

        def walk(slope=slope, ends=(0, 1), p=pixels, model=model, own=own, length=length, most=most):
            for taken in range(most + 1):
                if taken == most or int(model(p).argmax()) != own:
                    return p, taken
                p = (p - length / 255 * slope / slope.norm()).clamp(*ends)

        want, number = walk()
        mine, taken = several(run(answer, model, pixels, length, most), "the changed pixels", "the steps taken")
        uphill = ((torch.as_tensor(mine).detach() - pixels) * slope).sum() > 0
        assert not uphill, "the net gets surer of its class: this goes uphill, subtract the step."
        late = f"all {most} steps were taken although the winner changed after {number}: test it before every step"
        assert taken != most or number == most, f"{late}."
        compare(taken, number, hint=f"the winner changes after {number} steps of length {length:g} (limit {most})")
        compare(mine, want, {
            "values leave 0..1: clip after every step, .clamp(0, 1)": walk(ends=(-9, 9))[0],
            "this goes down in the logit, which leaves out the others: take log_softmax": walk(weight[own])[0],
        }, tol=5e-4, hint="the number of steps is right, the picture is not: go against the gradient of the first "
            "winner's log-probability, length / 255 a step")  # fmt: skip
