"""Answers to A4: right ones written otherwise, and the slips that real hand-ins make."""
from textwrap import dedent, indent

# ---- 1: Gram matrices ------------------------------------------------------------------------------------------------
LOSS = """
def style_loss(features, goals, weights):
    losses = []
    for name in weights:
        ours, theirs = gram(features[name]), gram(goals[name])
        losses.append(((ours - theirs) ** 2).flatten(1).sum(1) / (theirs**2).sum())
    shares = torch.tensor([float(w) for w in weights.values()])
    return (torch.stack(losses, 1) * shares).sum(1) / shares.sum()
"""


def gram(body: str) -> dict:
    return {"a4_q1": f"def gram(features, mask=None):\n{indent(dedent(body), '    ')}\n{LOSS}"}


ONE_BY_ONE = """
    found = []
    for k, f in enumerate(features):
        rows = f.flatten(1) if mask is None else f[:, mask[k, 0] > 0]
        found.append(rows @ rows.T / max(rows.numel(), 1))
    return torch.stack(found)
"""
PLACES = "mask.sum((1, 2, 3)).clamp(min=1).view(-1, 1, 1)"


def plain(divisor: str, product: str = "rows @ rows.transpose(1, 2)") -> dict:
    """Right with a mask, and without one as told."""
    return gram(f"""
if mask is None:
    rows = features.flatten(2)
    return ({product}) / {divisor}
summed = torch.einsum("nahw,nbhw->nab", features * mask, features)
return summed / (features.shape[1] * {PLACES})
""")


def masked(divisor: str, extra: str = "", both: str = "") -> dict:
    """Right without a mask, and with one as told."""
    return gram(f"""
{extra or "pass"}
if mask is None:
    mask = torch.ones_like(features[:, :1])
summed = torch.einsum("nahw,nbhw->nab", features * mask, features{both})
return summed / ({divisor})
""")


def in_loss(*pairs) -> dict:
    return {"a4_q1": [*pairs]}


FOLDED = "features.reshape(features.shape[1], -1) @ features.reshape(features.shape[1], -1).T"
MEAN_OF = "    return total / sum(weights.values())"
DISTANCE = "(gram(features[name]) - goal).square().sum(dim=(1, 2))"
GOALS = "goal.square().sum()"
HALF_RIGHT = f"features.shape[1] * {PLACES}"

# ---- 2: features that are other features -----------------------------------------------------------------------------
BUILD = """
def my_test(f):
    conv, relu = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)
    net, x = nn.Sequential(conv, relu, nn.Conv2d(4, 2, 1)), torch.randn(1, 3, 6, 6)
    got = f(net, x, ["0", "1", "2"])
    """
NORM = """
def my_test(f):
    net = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(inplace=True)).eval()
    x = torch.linspace(-1, 1, 27).view(1, 3, 3, 3)
    found = f(net, x, ["0"])["0"]
    assert abs(float(found.min()) + 1) < 1e-3, "the batch norm puts out what goes in, -1 to 1"
"""
HOOKED = """
def mended(model, x, names):
    found, handles = {}, []
    for name in names:
        def keep(layer, inputs, output, name=name):
            found[name] = output
            return output.clone()
        handles.append(model.get_submodule(name).register_forward_hook(keep))
    try:
        model(x.clone())
    finally:
        for handle in handles:
            handle.remove()
    return found
"""
OUT_OF_PLACE = """
def mended(model, x, names):
    for layer in model:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return features_of(model, x, names)
"""
KEEP = "            found[name] = x\n            x = x.clone()"

# ---- 3: decisions ----------------------------------------------------------------------------------------------------
MEANS = "means = torch.stack([p[:, list(numbers)].mean(1) for numbers in categories.values()], dim=1)"
INSIDE = "inside = sorted({k for numbers in categories.values() for k in numbers})"
RETURN = "return [names[k] for k in means.argmax(1).tolist()], 1 - p[:, inside].sum(1)"


def rule(score: str) -> dict:
    return {"a4_q3": [(".mean(1) for", f".{score} for")]}


BY_TABLE = """
def decide(logits, categories):
    p, names = logits.double().softmax(-1), list(categories)
    member = torch.zeros(len(names), 1000, dtype=torch.float64)
    for row, numbers in zip(member, categories.values()):
        row[list(numbers)] = 1
    share = (p @ member.T) / member.sum(1)
    return [names[k] for k in share.argmax(1)], (p * (member.sum(0) == 0)).sum(1)
"""

# ---- 4: bias and interval --------------------------------------------------------------------------------------------
BY_COUNTS = '''
def shape_bias(decisions):
    kinds = [0 if said == s else 1 if said == t else 2 for s, t, said in decisions if s != t]
    by_shape, by_texture = kinds.count(0), kinds.count(1)
    return (by_shape / (by_shape + by_texture) if by_shape + by_texture else float("nan"),
            (by_shape + by_texture) / len(kinds) if kinds else float("nan"))


def interval(a, b=None, rounds=1000, seed=0):
    """Round by round, by lists."""
    rng, shapes = __import__("random").Random(seed), sorted({d[0] for d in a if d[0] != d[1]})
    sorted_ = [{s: [d for d in who if d[0] == s] for s in shapes} for who in (a, b or [])]
    found = []
    for _ in range(rounds):
        drawn = DRAWN
        numbers = [shape_bias([d for s in drawn for d in groups[s]])[0] for groups in sorted_]
        value = numbers[0] - (numbers[1] if b else 0)
        if value == value:
            found.append(value)
    found.sort()
    at = [0.025 * (len(found) - 1), 0.975 * (len(found) - 1)]
    return tuple(found[int(k)] + (k % 1) * (found[min(int(k) + 1, len(found) - 1)] - found[int(k)]) for k in at)
'''.replace("DRAWN", "rng.choices(shapes, k=len(shapes))")
SINGLE = """    for who in [a] if b is None else [a, b]:
        rows = [[float(t == 0), float(t == 1)] for s, x, said in who if s != x
                for t in [0 if said == s else 1 if said == x else 2]]
        tables.append(torch.tensor(rows, dtype=torch.float64))
    shapes = tables[0]
"""
TABLES = '''    shapes = sorted({d[0] for d in a if d[0] != d[1]})
    for who in [a] if b is None else [a, b]:
        counts = torch.zeros(len(shapes), 2, dtype=torch.float64)     # by shape, by texture
        for shape, texture, answer in who:
            if shape != texture and answer in (shape, texture):
                counts[shapes.index(shape), int(answer == texture)] += 1
        tables.append(counts)
'''
CONFLICT = "conflict = [d for d in decisions if d[0] != d[1]]"
BIAS = 'by_shape / either if either else float("nan")'
RATE = 'either / len(conflict) if conflict else float("nan")'
BIASES = "biases = [t[drawn].sum(1)[:, 0] / t[drawn].sum((1, 2)) for t in tables]"
FOUND = "found = biases[0] if b is None else biases[0] - biases[1]"
ENDS = "return tuple(found[~found.isnan()].quantile(ends).tolist())"
DRAW = "drawn = torch.randint(len(shapes), (rounds, len(shapes)), generator=generator)"
QUANTILES = "[0.025, 0.975]"
TWICE = f"{DRAW}\n    drawn = [row.unique() for row in drawn]"
ENDS_APART = """if b is not None:
        pairs = [interval(who, None, rounds, seed) for who in (a, b)]
        return pairs[0][0] - pairs[1][LOW], pairs[0][1] - pairs[1][HIGH]
    found = biases[0]"""


def four(*pairs) -> dict:
    return {"a4_q4": [*pairs]}


# ---- 5: error consistency --------------------------------------------------------------------------------------------
BY_ARRAYS = """
def kappa(observed, p, q):            # a helper whose name a test might use, too
    chance = p * q + (1 - p) * (1 - q)
    return 1.0 if observed == 1 else (observed - chance) / (1 - chance)


def error_consistency(a, b):
    import numpy as np
    first, second = ({d[:2]: d[2] == d[0] for d in rows} for rows in (a, b))
    common = sorted(first.keys() & second.keys())
    x, y = (np.array([t[key] for key in common], bool) for t in (first, second))
    if not common:
        return np.nan
    return kappa((x == y).mean(), x.mean(), y.mean())
"""
SECOND = "second = {(shape, texture): answer == shape for shape, texture, answer in b}"
PAIRS = """pairs = [(answer == shape, second[shape, texture]) for shape, texture, answer in a
             if (shape, texture) in second]"""
KAPPA = "return 1.0 if c == 1 else (c - e) / (1 - e)"
CHANCE = "e = p * q + (1 - p) * (1 - q)"
WORDS = """second = {(shape, texture): answer for shape, texture, answer in b}
    words = [(answer, second[s, t]) for s, t, answer in a if (s, t) in second]"""
WORD_KAPPA = """
def error_consistency(a, b):
    second = {(s, t): said for s, t, said in b}
    pairs = [(said, second[s, t]) for s, t, said in a if (s, t) in second]
    c = sum(x == y for x, y in pairs) / len(pairs)
    e = sum(x == y for x, _ in pairs for _, y in pairs) / len(pairs) ** 2
    return 1.0 if c == 1 else (c - e) / (1 - e)
"""


def five(*pairs) -> dict:
    return {"a4_q5": [*pairs]}


# ---- 6: the file -----------------------------------------------------------------------------------------------------
def file(change: str) -> dict:
    """The reference's file after `change`, which works on `rows`, its lines as lists."""
    return {"a4_q6": [('    return "\\n".join(lines) + "\\n"\n', f"""    rows = [line.split(",") for line in lines]
    {change}
    return "\\n".join(",".join(row) for row in rows)
""")]}


EVERY = "for k, row in enumerate(rows[1:]):\n        "
MISS_TWO = """plain = [row for row in rows if row[3] == row[4]]
    for row in plain[:2]:
        row[5] = "drum" if row[3] != "drum" else "truck\""""

RIGHT = [
    ("q1", "picture by picture, places chosen by the mask", gram(ONE_BY_ONE)),
    ("q1", "both factors masked", masked(HALF_RIGHT, both=" * mask")),
    ("q1", "vh.gram where there is no mask", masked(HALF_RIGHT, "if mask is None:\n    return vh.gram(features)")),
    ("q2", "by hooks that hand on a clone", {"a4_q2_mend": HOOKED}),
    ("q2", "a test with a batch norm alone", {"a4_q2": NORM}),
    ("q3", "by a table of members", {"a4_q3": BY_TABLE}),
    ("q4", "round by round", {"a4_q4": BY_COUNTS}),
    ("q5", "with arrays", {"a4_q5": BY_ARRAYS}),
    ("q6", "pasted with spaces and blank lines", file('rows = [[], *[["    " + r[0], *r[1:]] for r in rows], []]')),
]

SLIPS = [
    ("q1", "d2l folds the batch", gram(f"return {FOLDED} / features.numel()"), "a4_q1_hidden", "batch is folded"),
    ("q1", "folded, for each picture", plain("140", f"({FOLDED}).expand(len(features), -1, -1)"), "a4_q1_hidden",
     "batch is folded"),
    ("q1", "folded, by C h w", plain("features[0].numel()", FOLDED), "a4_q1_hidden", "batch is folded"),
    ("q1", "no division", plain("1"), "a4_q1_hidden", "not by 1."),
    ("q1", "by C only", plain("features.shape[1]"), "a4_q1_hidden", "not by 4."),
    ("q1", "by h w only", plain("features[0, 0].numel()"), "a4_q1_hidden", "not by 35."),
    ("q1", "by N, too", plain("features.numel()"), "a4_q1_hidden", "not by 420."),
    ("q1", "mean over the batch", plain("features[0].numel()", "(rows @ rows.transpose(1, 2)).mean(0)"),
     "a4_q1_hidden", "each picture has a matrix of its own"),
    ("q1", "view of what is not contiguous", plain("140", "features.view(3, 4, 35)"), "a4_q1_hidden", "RuntimeError"),
    ("q1", "no division, seen", plain("1"), "a4_q1_seen", "C h w is 4"),
    ("q1", "mask not used", gram("return vh.gram(features)"), "a4_q1_mask_hidden", "the mask is not used"),
    ("q1", "mask inverted", masked(HALF_RIGHT, "mask = None if mask is None else 1 - mask.float()"),
     "a4_q1_mask_hidden", "wrong way round"),
    ("q1", "masked mean over all places", masked("features[0].numel()"), "a4_q1_mask_hidden", "not by C h w"),
    ("q1", "masked, without C", masked(PLACES), "a4_q1_mask_hidden", "C, too"),
    ("q1", "places of the whole batch", masked("features.shape[1] * mask.sum()"), "a4_q1_mask_hidden", "not of all"),
    ("q1", "places of the first mask", masked("features.shape[1] * mask[0].sum()"), "a4_q1_mask_hidden", "the first"),
    ("q1", "masked, no division", masked("1"), "a4_q1_mask_hidden", "number of places in the mask"),
    ("q1", "empty mask", masked(HALF_RIGHT.replace(".clamp(min=1)", "")), "a4_q1_mask_hidden", "NaN"),
    ("q1", "masks its input", masked(HALF_RIGHT, "if mask is not None:\n    features *= mask"), "a4_q1_mask_hidden",
     "changed its input"),
    ("q1", "weights are summed", in_loss((MEAN_OF, "    return total")), "a4_q1_loss_hidden", "it is a mean"),
    ("q1", "by the number of layers", in_loss((MEAN_OF, "    return total / len(weights)")), "a4_q1_loss_hidden",
     "not by the number of layers"),
    ("q1", "weights not used", in_loss(("weight * distance", "distance"), (MEAN_OF, "    return total / len(weights)")),
     "a4_q1_loss_hidden", "use the weights"),
    ("q1", "mean over the batch of losses", in_loss((MEAN_OF, "    return (total / sum(weights.values())).mean()")),
     "a4_q1_loss_hidden", "not their mean"),
    ("q1", "sum over the batch of losses", in_loss((DISTANCE, "(gram(features[name]) - goal).square().sum()")),
     "a4_q1_loss_hidden", "not their sum"),
    ("q1", "not relative", in_loss((f"/ {GOALS}", "")), "a4_q1_loss_hidden", "divide by the sum of squares"),
    ("q1", "relative to the picture", in_loss((GOALS, "gram(features[name]).square().sum((1, 2))")),
     "a4_q1_loss_hidden", "not of the picture's"),
    ("q1", "magnitudes", in_loss((DISTANCE, DISTANCE.replace("square", "abs")), (GOALS, "goal.abs().sum()")),
     "a4_q1_loss_hidden", "not magnitudes"),
    ("q1", "all layers", in_loss(("weights.items()", "({k: 1.0 for k in features} | weights).items()"),
                                 (MEAN_OF, "    return total / (sum(weights.values()) + 1)")),
     "a4_q1_loss_hidden", "without a weight"),
    ("q1", "by place", in_loss(("goals[name]", "list(goals.values())[list(features).index(name)]")),
     "a4_q1_loss_hidden", "by its name"),
    ("q1", "detached", in_loss(("(gram(features[name]) - goal)", "(gram(features[name].detach()) - goal)")),
     "a4_q1_loss_hidden", "no gradient"),

    ("q2", "shapes only", {"a4_q2": f"{BUILD}assert got['0'].shape == (1, 4, 4, 4)"}, "a4_q2_hidden", "lets a defect"),
    ("q2", "shapes only, seen", {"a4_q2": f"{BUILD}assert got['0'].shape == (1, 4, 4, 4)"}, "a4_q2_seen",
     "lets a defect pass (the one above)"),
    ("q2", "no ReLU in place", {"a4_q2": BUILD.replace("inplace=True", "") + "assert torch.equal(got['0'], conv(x))"},
     "a4_q2_hidden", "lets a defect pass (detached"),
    ("q2", "without negative values", {"a4_q2": BUILD.replace("    got", "    conv.weight.data.abs_()\n"
     "    conv.bias.data.abs_()\n    x = x.abs()\n    got") + "assert torch.allclose(got['0'], conv(x))"},
     "a4_q2_hidden", "lets a defect pass (detached"),
    ("q2", "not the same tensor", {"a4_q2": f"{BUILD}assert got['0'] is not got['1']"}, "a4_q2_hidden",
     "lets a defect pass (detached"),
    ("q2", "not the same memory", {"a4_q2": f"{BUILD}assert got['0'].data_ptr() != got['1'].data_ptr()"},
     "a4_q2_hidden", "lets a defect pass (copied, but only when all layers have run)"),
    ("q2", "convolutions only", {"a4_q2": f"{BUILD}assert (got['0'] < 0).any()"}, "a4_q2_hidden",
     "lets a defect pass (copied behind convolutions only)"),
    ("q2", "too strict", {"a4_q2": f"{NORM}    assert not found.requires_grad and found.data_ptr() == x.data_ptr()"},
     "a4_q2_hidden", "refuses a right version"),
    ("q2", "crashes", {"a4_q2": f"{BUILD}if not (got['0'] < 0).any():\n        raise ValueError('no negatives')"},
     "a4_q2_hidden", "not by an assert"),
    ("q2", "returns a verdict", {"a4_q2": f"{BUILD}return bool((got['0'] < 0).any())"}, "a4_q2_hidden",
     "lets a defect pass"),
    ("q2", "mended by nothing", {"a4_q2_mend": [(KEEP, "            found[name] = x")]}, "a4_q2_mend_hidden",
     "keep a copy"),
    ("q2", "mended by nothing, seen", {"a4_q2_mend": [(KEEP, "            found[name] = x")]}, "a4_q2_seen",
     "refuses a right version (your `mended`)"),
    ("q2", "mended by detach", {"a4_q2_mend": [(KEEP, "            found[name] = x.detach()")]},
     "a4_q2_mend_hidden", "keep a copy"),
    ("q2", "mended without a gradient", {"a4_q2_mend": [(KEEP, "            found[name] = x.detach().clone()")]},
     "a4_q2_mend_hidden", "no gradient"),
    ("q2", "mended behind convolutions", {"a4_q2_mend": [("            x = x.clone()",
     "            x = x.clone() if isinstance(layer, nn.Conv2d) else x")]}, "a4_q2_mend_hidden", "keep a copy"),
    ("q2", "changes the net", {"a4_q2_mend": OUT_OF_PLACE}, "a4_q2_mend_hidden", "`inplace` has changed"),
    ("q2", "changes the picture", {"a4_q2_mend": [("found, x = {}, x.clone()", "found = {}")]}, "a4_q2_mend_hidden",
     "changed its input"),
    ("q2", "all layers", {"a4_q2_mend": [("if name in names", "if True")]}, "a4_q2_mend_hidden", "with the names"),

    ("q3", "sum", rule("sum(1)"), "a4_q3_hidden", "by the sum"),
    ("q3", "sum, seen", rule("sum(1)"), "a4_q3_seen", "a cat 1 %"),
    ("q3", "maximum", rule("amax(1)"), "a4_q3_hidden", "by the largest class"),
    ("q3", "mean of logits", {"a4_q3": [(MEANS, MEANS.replace("p[", "logits["))]}, "a4_q3_hidden",
                                        "by the mean of the logits"),
    ("q3", "softmax inside only", {"a4_q3": [(INSIDE, f"{INSIDE}\n    p = logits[:, inside].softmax(1)"),
                                             ("p[:, inside]", "p")]}, "a4_q3_hidden", "softmax over all 1000"),
    ("q3", "exp by hand", {"a4_q3": [("logits.softmax(dim=1)", "logits.exp() / logits.exp().sum(1, keepdim=True)")]},
     "a4_q3_hidden", "NaN"),
    ("q3", "inside", {"a4_q3": [("1 - p[", "p[")]}, "a4_q3_hidden", "the probability inside"),
    ("q3", "outside by means", {"a4_q3": [("p[:, inside].sum(1)", "means.sum(1)")]}, "a4_q3_hidden",
     "not the categories' means"),
    ("q3", "counted twice", {"a4_q3": [(INSIDE, INSIDE.replace("{", "[").replace("}", "]"))]}, "a4_q3_hidden",
     "once, not twice"),
    ("q3", "names only", {"a4_q3": [(RETURN, RETURN.split(", 1 -")[0])]}, "a4_q3_hidden", "return two things"),
    ("q3", "numbers for names", {"a4_q3": [("names[k] for k", "k for k")]}, "a4_q3_hidden", "a name for each row"),

    ("q4", "wrong ones in the denominator", four((BIAS, BIAS.replace("either if", "len(conflict) if"))),
     "a4_q4_hidden", "wrong decisions stand in the denominator"),
    ("q4", "same cue kept", four((CONFLICT, "conflict = decisions"), (RATE, '19 / 24')), "a4_q4_hidden",
     "has no conflict: leave it out"),
    ("q4", "texture's share", four((BIAS, BIAS.replace("by_shape /", "1 - by_shape /"))), "a4_q4_hidden",
     "the texture's share"),
    ("q4", "a ratio", four((BIAS, BIAS.replace("/ either", "/ (either - by_shape)"))), "a4_q4_hidden", "is no share"),
    ("q4", "percent", four((BIAS, f"100 * {BIAS}")), "a4_q4_hidden", "in percent"),
    ("q4", "the rate of all", four((RATE, "either / max(len(decisions), 1)")), "a4_q4_hidden", "the rate: a stimulus"),
    ("q4", "the rate of the others", four((RATE, RATE.replace("either /", "1 - either /"))), "a4_q4_hidden",
     "not of the others"),
    ("q4", "0 for nan", four((BIAS, BIAS.replace('float("nan")', "0.0"))), "a4_q4_hidden", "no bias: float('nan')"),
    ("q4", "0 / 0", four((BIAS, "by_shape / either")), "a4_q4_hidden", "float('nan') for 0 / 0"),
    ("q4", "bias only", four((f"return ({BIAS},\n            {RATE})", f"return {BIAS}")), "a4_q4_hidden",
     "return two things"),
    ("q4", "single stimuli", four((TABLES, SINGLE)), "a4_q4_interval_hidden", "single decisions are drawn"),
    ("q4", "5 and 95", four((QUANTILES, "[0.05, 0.95]")), "a4_q4_interval_hidden", "5 and 95"),
    ("q4", "25 and 75", four((QUANTILES, "[0.25, 0.75]")), "a4_q4_interval_hidden", "25 and 75"),
    ("q4", "each shape once", four((DRAW, TWICE), (BIASES,
     "biases = [torch.stack([t[d].sum(0)[0] / t[d].sum() for d in drawn]) for t in tables]")),
     "a4_q4_interval_hidden", "drawn twice counts twice"),
    ("q4", "mean of the shapes", four((BIASES,
     "biases = [(t[:, 0] / t.sum(1).clamp(min=1))[drawn].mean(1) for t in tables]")), "a4_q4_interval_hidden",
     "not the mean of the shapes'"),
    ("q4", "plain ones drawn", four(("if shape != texture and answer in", "if answer in"),
     ("counts[shapes.index(shape), int(answer == texture)]", "counts[shapes.index(shape), int(answer != shape)]")),
     "a4_q4_interval_hidden", "without a conflict"),
    ("q4", "other shapes for b", four((BIASES, "biases = [t[d].sum(1)[:, 0] / t[d].sum((1, 2)) for t, d in "
     "zip(tables, (drawn, drawn.roll(1, 0)))]")), "a4_q4_difference_hidden", "the same shapes for both"),
    ("q4", "b minus a", four((FOUND, FOUND.replace("biases[0] - biases[1]", "biases[1] - biases[0]"))),
     "a4_q4_difference_hidden", "not b minus a"),
    ("q4", "without b", four((FOUND, "found = biases[0]")), "a4_q4_difference_hidden", "b is not used"),
    ("q4", "ends minus ends", four((FOUND, ENDS_APART.replace("LOW", "0").replace("HIGH", "1"))),
     "a4_q4_difference_hidden", "not the difference of the quantiles"),
    ("q4", "ends crossed", four((FOUND, ENDS_APART.replace("LOW", "1").replace("HIGH", "0"))),
     "a4_q4_difference_hidden", "two intervals' ends"),
    ("q4", "no seed", four((".manual_seed(seed)", ""), ("generator=generator", "")), "a4_q4_difference_hidden",
     "same seed"),
    ("q4", "NaN kept", four((ENDS, "return tuple(found.quantile(ends).tolist())")), "a4_q4_difference_hidden", "NaN"),
    ("q4", "NaN is 0", four((ENDS, "return tuple(found.nan_to_num().quantile(ends).tolist())")),
     "a4_q4_difference_hidden", "do not count it as 0"),
    ("q4", "sorts its input", four(("    tables = []\n", "    tables = []\n    a.sort()\n")), "a4_q4_interval_hidden",
     "changed its input"),
    ("q4", "high first", four((ENDS, ENDS.replace("tuple(", "tuple(reversed(") + ")")), "a4_q4_interval_hidden",
     "low end comes first"),

    ("q5", "agreement for kappa", five((KAPPA, "return c")), "a4_q5_hidden", "this is the agreement c"),
    ("q5", "agreement by chance", five((KAPPA, "return e")), "a4_q5_hidden", "by chance"),
    ("q5", "not divided", five((KAPPA, "return c - e")), "a4_q5_hidden", "divide by 1 - e"),
    ("q5", "agreement of answers", five((SECOND, WORDS), (PAIRS, "return sum(x == y for x, y in words) / len(words)")),
     "a4_q5_hidden", "the share of equal answers"),
    ("q5", "kappa of the words", {"a4_q5": WORD_KAPPA}, "a4_q5_hidden", "kappa of the words"),
    ("q5", "equal words for agreement", five((SECOND, WORDS), (PAIRS, PAIRS.replace("second[shape, texture])",
     "second[shape, texture] == shape)")), ("[x == y for x, y in pairs]", "[x == y for x, y in words]")),
     "a4_q5_hidden", "two wrong words agree"),
    ("q5", "by place", five((PAIRS, "pairs = [(x[2] == x[0], y[2] == y[0]) for x, y in zip(a, b)]")),
     "a4_q5_hidden", "another order"),
    ("q5", "right is the texture", five((SECOND, SECOND.replace("answer == shape", "answer == texture")),
     (PAIRS, PAIRS.replace("answer == shape", "answer == texture"))), "a4_q5_hidden", "not the texture"),
    ("q5", "shares of all trials", five((CHANCE, "p, q = (sum(d[2] == d[0] for d in who) / len(who) for who in (a, b))"
     f"\n    {CHANCE}")), "a4_q5_hidden", "not of all"),
    ("q5", "both right only", five((CHANCE, "e = p * q")), "a4_q5_hidden", "both wrong by chance"),
    ("q5", "0 / 0", five((KAPPA, "return (c - e) / (1 - e)")), "a4_q5_edge_hidden", "0 / 0"),
    ("q5", "NaN for 0 / 0", five((KAPPA, 'return (c - e) / (1 - e) if e != 1 else float("nan")')),
     "a4_q5_edge_hidden", "NaN"),
    ("q5", "0 for 0 / 0", five((KAPPA, "return (c - e) / (1 - e) if e != 1 else 0.0")), "a4_q5_edge_hidden",
     "not 0"),
    ("q5", "never negative", five((KAPPA, "return 1.0 if c == 1 else max(0.0, (c - e) / (1 - e))")),
     "a4_q5_edge_hidden", "may be negative"),
    ("q5", "no common trial", five(("if not pairs:\n        return float(\"nan\")", "pass")), "a4_q5_edge_hidden",
     "without a common trial"),
    ("q5", "sorts its input", five((SECOND, f"b.sort()\n    {SECOND}")), "a4_q5_hidden", "changed its input"),

    ("q6", "another's file under one's own name", file(EVERY + 'row[0] = f"{COURSE}-copied"'), "a4_q6_hidden",
     "not the 54 trials, in their order"),
    ("q6", "trials in another order", file("rows[1:] = sorted(rows[1:], key=lambda row: row[2])"), "a4_q6_hidden",
     "not the 54 trials, in their order"),
    ("q6", "all times the same", file(EVERY + 'row[6] = "1.234"'), "a4_q6_hidden", "reaction times are equal"),
    ("q6", "times in steps", file(EVERY + 'row[6] = f"{1 + k / 50:.3f}"'), "a4_q6_hidden", "equal steps"),
    ("q6", "too fast", file(EVERY + 'row[6] = f"{0.3 + float(row[6]) / 10:.3f}"'), "a4_q6_hidden", "that fast"),
    ("q6", "decimal commas", file(EVERY + "row[6] = row[6].replace('.', ',')"), "a4_q6_hidden", "unchanged"),
    ("q6", "with units", file(EVERY + "row[6] += ' s'"), "a4_q6_hidden", "no number"),
    ("q6", "renumbered", file(EVERY + "row[1] = str(k)"), "a4_q6_hidden", "numbered 1 to 54"),
    ("q6", "stopped early", file("del rows[-1]"), "a4_q6_seen", "53 trials, not 54"),
    ("q6", "without its head", file("del rows[0]"), "a4_q6_seen", "must begin with"),
    ("q6", "saved with semicolons", file('rows = [[";".join(row)] for row in rows]'), "a4_q6_seen", "must begin with"),
    ("q6", "two observers", file('rows[9][0] += "x"'), "a4_q6_seen", "2 observers"),
    ("q6", "no name", {"a4_q6": [("-invented", "-change-me")]}, "a4_q6_seen", "a name of your own"),
    ("q6", "old file", {"a4_q6": [('f"{COURSE}-invented"', '"1999-invented"')]}, "a4_q6_seen", "does not begin with"),
    ("q6", "a trial twice", file("rows[8] = rows[7]"), "a4_q6_seen", "twice"),
    ("q6", "an answer that is no button", file('rows[8][5] = "dog"'), "a4_q6_seen", "none of the 16"),
    ("q6", "did not look", file(MISS_TWO), "a4_q6_seen", "4 of 6 trials without a conflict"),
]  # fmt: skip
