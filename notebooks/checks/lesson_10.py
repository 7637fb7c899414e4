"""Checks of the exercises of lesson 10_activation_maximization."""
import torch

from .kit import compare, judge, noise, run


def check_total_variation(answer):
    """Exercise 10.1: `answer(image) -> (N,)`, mean squared differences down plus across."""
    image = noise(2, 3, 5, 7).sigmoid().double()
    down, across = (image[:, :, 1:] - image[:, :, :-1]).flatten(1), (image[..., 1:] - image[..., :-1]).flatten(1)
    d, a = down.square().mean(1), across.square().mean(1)
    judge(answer, d + a, {
        "only the neighbours down are compared: add the other direction": d,
        "only the neighbours across are compared: add the other direction": a,
        "this is the mean of the two directions: the exercise wants their sum": (d + a) / 2,
        "these are sums: take the mean of each direction": down.square().sum(1) + across.square().sum(1),
        "the differences are to be squared, not only made positive": down.abs().mean(1) + across.abs().mean(1),
        "one number per picture, (N,): keep the batch apart, here you add it up": (d + a).sum(),
        "one number per picture, (N,): keep the batch apart, here you average it": (d + a).mean(),
    }, image)  # fmt: skip
    judge(answer, [0.0], {}, torch.full((1, 3, 4, 4), 0.7), hint="a picture of one colour has no variation")


def check_dream_step(answer):
    """Exercise 10.2: `answer(image, gradient_of, shift, rate) -> image`, jitter undone."""
    image, slope = 0.3 + 0.4 * noise(2, 3, 6, 8).sigmoid(), noise(2, 3, 6, 8, seed=2)
    slope[1] *= 100  # each picture has its own scale
    seen = []

    def gradient_of(picture):
        seen.append(picture.clone())
        return slope.clone()

    got = run(answer, image, gradient_of, (2, -3), 0.01)
    rolled, scale = image.roll((2, -3), (2, 3)), slope.abs().mean((1, 2, 3), keepdim=True)
    assert len(seen) == 1, f"gradient_of was called {len(seen)} times; one step needs it once."
    compare(seen[0], rolled, {"gradient_of was given the picture where it stood: shift it first": image},
            hint="what gradient_of was given: the shift is (down, right), over the dimensions 2 and 3")  # fmt: skip

    def stepped(change):
        return (rolled + 0.01 * change).clamp(0, 1).roll((-2, 3), (2, 3))

    compare(got, stepped(slope / scale), {
        "the picture was not shifted back: roll by the opposite shift at the end": rolled + 0.01 * slope / scale,
        "this goes downhill: add the step": stepped(-slope / scale),
        "the step has the gradient's own size: divide it by the mean of its magnitudes": stepped(slope),
        "the mean was taken over the whole batch: each picture has its own": stepped(slope / slope.abs().mean()),
    }, hint="shift, add rate * gradient / its mean magnitude, clip, shift back")  # fmt: skip
    far = torch.as_tensor(answer(image, gradient_of, (1, 1), 50.0))
    assert far.min() >= 0 and far.max() <= 1, "values leave 0..1: clip with .clamp(0, 1)."


def check_stages(answer):
    """Exercise 10.3: `answer(final, stages, growth) -> [sides]`, the last one exactly the final one."""
    for final, stages, growth in ((224, 4, 1.2), (416, 12, 1.2), (100, 1, 2.0), (160, 3, 2.0)):
        got = [*run(answer, final, stages, growth)]
        assert len(got) == stages, f"there are {stages} stages, but {len(got)} sides."
        assert all(side == int(side) for side in got), "a side is a whole number of pixels: round it."
        got = [*map(int, got)]
        assert stages == 1 or got[0] <= got[-1], "the coarse stage comes first: turn the order round."
        assert got[-1] == final, f"the last stage has the final side, {final}, not {got[-1]}."
        want = [round(final / growth**n) for n in reversed(range(stages))]
        close = all(abs(a - b / growth) <= 1 for a, b in zip(got, got[1:]))  # rounding step by step, too
        assert close, f"for ({final}, {stages}, {growth}) the sides are about {want}, not {got}."
