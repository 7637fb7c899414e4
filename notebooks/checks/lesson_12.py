"""Checks of the exercises of lesson 12_texture_vs_shape."""
import torch

from .kit import compare, error_of, run, several


def check_category_decision(answer):
    """Exercise 12.1: `answer(logits (N,1000), categories) -> list of N names`, by the mean probability."""
    categories = {"dog": tuple(range(151, 160)), "zebra": (340,), "boat": (472, 554)}
    logits = torch.zeros(4, 1000)
    logits[0, 340], logits[0, 151:160] = 3.0, 2.0  # by sum a dog, by mean a zebra
    logits[1, 472], logits[1, 340] = 4.0, 3.0  # by maximum a boat, by mean (27.8 against 20.1) a boat still
    logits[2, 472], logits[2, 340] = 4.0, 3.5  # by maximum a boat, by mean a zebra
    logits[3, 472], logits[3, 554], logits[3, 340] = 8.0, 0.0, 6.0  # by mean of logits a zebra, of probabilities a boat
    logits[3, 151:160] = 2.0
    want = ["zebra", "boat", "zebra", "boat"]

    def by(values, score):
        table = torch.stack([score(values[:, list(numbers)]) for numbers in categories.values()], 1)
        return [list(categories)[k] for k in table.argmax(1).tolist()]

    got = run(answer, logits, categories)
    rows = (isinstance(got, list | tuple) or hasattr(got, "shape")) and len(got) == 4
    assert rows, "return a list of four names, one for each row of logits."
    assert all(isinstance(name, str) for name in got), 'return names such as "zebra", not numbers.'
    p = logits.softmax(1)
    for sentence, wrong in {
        "these are decisions by the sum: a category with many classes wins too often": by(p, lambda v: v.sum(1)),
        "these are decisions by the largest class: take the mean over the category": by(p, lambda v: v.amax(1)),
        "these are means of logits: take the softmax over all 1000 classes first": by(logits, lambda v: v.mean(1)),
    }.items():
        assert list(got) != wrong, f"{sentence}."
    assert list(got) == want, f"the decisions should be {want}, yours are {got}."
    backwards = answer(logits, dict(reversed(categories.items())))
    assert list(backwards) == want, "the order of the categories must not change a decision."


def check_shape_bias(answer):
    """Exercise 12.2: `answer(decisions) -> float`, decisions being (shape, texture, answer)."""
    table = [("cat", "dog", "cat"), ("cat", "dog", "dog"), ("cat", "car", "dog"), ("dog", "cat", "cat"),
             ("dog", "car", "car"), ("car", "car", "car"), ("dog", "dog", "cat"), ("car", "cat", "bear"),
             ("car", "dog", "car"), ("bear", "dog", "dog")]  # fmt: skip
    got = run(answer, table)
    one = isinstance(got, int | float) or getattr(got, "shape", None) == ()  # a tensor, or one of numpy's numbers
    assert one, f"return one number, not a {type(got).__name__}."
    no_conflict = "a stimulus whose shape and texture are the same class has no conflict: leave it out"
    compare(got, 1 / 3, {
        "wrong answers are left out: they are neither shape nor texture": 2 / 8,
        no_conflict: 3 / 7,
        f"{no_conflict}, and wrong answers too": 3 / 8,
        "this is the texture bias; count the shape": 2 / 3,
        "divide by the number of shape and texture decisions, not by all": 2 / 10,
        "shape decisions over texture decisions is a ratio, not a share": 1 / 2,
    }, hint="two decisions are by shape and four by texture")  # fmt: skip
    assert answer([("cat", "dog", "cat")]) == 1, "one single decision, by shape, is a bias of 1."
    nothing = [("cat", "dog", "car")]
    by_zero = isinstance(error_of(answer, nothing), ZeroDivisionError)
    assert not by_zero, "without a decision by shape or texture return float('nan'), not 1 / 0."
    assert answer(nothing) != answer(nothing), "no decision by shape or texture, no bias: return float('nan')."


def check_bootstrap(answer):
    """Exercise 12.3: `answer(decisions, rounds, seed) -> (low, high)`, drawing whole shape categories."""

    def interval(decisions, rounds):
        low, high = (float(n) for n in several(run(answer, decisions, rounds, 0), "low", "high"))
        assert 0 <= low <= high <= 1, f"an interval of shares lies in 0..1, low first; yours is {low:.3g}, {high:.3g}."
        return low, high

    sizes = torch.arange(20, 50, 3.0)  # ten shapes, each always answered alike: the first four by texture
    alike = [(f"s{k}", "texture", "texture" if k < 4 else f"s{k}") for k, n in enumerate(sizes) for _ in range(int(n))]
    assert interval(alike, 30) == interval(alike, 30), "the same seed should give the same interval."
    drawn = torch.randint(10, (50_000, 10), generator=torch.Generator().manual_seed(0))
    times = torch.nn.functional.one_hot(drawn).sum(1).float()

    def ends(times=times, sizes=sizes, tail=0.025):
        share = times[:, 4:] @ sizes[4:] / (times @ sizes)
        return share.quantile(tail), share.quantile(1 - tail)

    (low, high), right, share = interval(alike, 2000), ends(), float(sizes[4:].sum() / sizes.sum())
    about = f"about {right[0]:.2f} to {right[1]:.2f} is right, not {low:.2f} to {high:.2f}"
    single = 1.96 * (share * (1 - share) / 335) ** 0.5
    known = {
        about: right,
        f"an interval of {high - low:.2f} takes 335 decisions as independent, but each of the ten shapes is always "
        "answered alike: draw shapes, and take all decisions of each": (share - single, share + single),
        "these are the 5 and 95 percent quantiles: take 2.5 and 97.5": ends(tail=0.05),
        "these are the 25 and 75 percent quantiles: take 2.5 and 97.5": ends(tail=0.25),
        "a category that was drawn twice counts twice, with all its decisions": ends(times.clamp(max=1)),
        "this is the mean of the categories' own biases: take one bias of all decisions": ends(sizes=torch.ones(10)),
    }
    off = {sentence: max(abs(low - a), abs(high - b)) for sentence, (a, b) in known.items()}
    nearest = min(off, key=off.get)
    assert off[about] < 0.025, f"{nearest if off[nearest] < 0.025 else about}."
    same = [(f"s{k}", "texture", f"s{k}" if n % 2 else "texture") for k in range(10) for n in range(30)]
    compare(interval(same, 100), (0.5, 0.5), hint="where every shape has the same bias, drawing shapes changes nothing")
