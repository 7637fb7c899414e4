"""Answers to A3: right ones written in another way; wrong ones, each with the cell that refuses it and its words."""

CLIMB = """
        if {now}:
            return {result}
        leaf = picture.clone().requires_grad_()
        (g,) = torch.autograd.grad(net(normalised(net, leaf)).log_softmax(1)[0, target], leaf)
        picture = {step}
"""


def fooling(now: str, result: str, step: str, start: str = "pixels.clone()") -> str:
    """A `fool` that stops when `now` holds."""
    body = CLIMB.format(now=now, result=result, step=step)
    return f"def fool(net, pixels, target):\n    picture = {start}\n    for _ in range(2000):{body}"


def says(picture: str) -> str:
    return f"net(normalised(net, {picture})).argmax() == target"


ROUNDED, CLIPPED = "(picture * 255).round() / 255", "(picture + g / g.norm() / 100).clamp(0, 1)"

# A test of `fool` in which one line can be left out or changed.
TEST = """
def my_test(fool):
    for seed in (1, 2):
        for target in (0, 1, 2):
            net, pixels = small_case(seed)
            before = pixels.clone()
            picture = fool(net, pixels, target)
            assert (pixels == before).all()
            assert ((picture >= 0) & (picture <= 1)).all()
            seen = torch.tensor([[round(v * 255) / 255 for v in picture.flatten().tolist()]])
            assert net(normalised(net, seen.view(pixels.shape))).argmax() == target
"""
FROM_PNG = """
import io
import numpy as np
from PIL import Image

def my_test(fool):
    for number in range(9):
        net, pixels = small_case(number // 3)
        kept = pixels.numpy().copy()
        picture = fool(net, pixels, number % 3)
        assert np.array_equal(kept, pixels.numpy())
        assert float(picture.min()) >= 0 and float(picture.max()) <= 1
        buffer = io.BytesIO()
        vh.to_picture(picture).save(buffer, "PNG")
        loaded = torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1)[None] / 255
        assert int(net(normalised(net, loaded)).argmax()) == number % 3
"""


def tested(old: str, new: str) -> dict:
    assert TEST.count(old) == 1, old
    return {"a3_q3": TEST.replace(old, new)}


BY_DIFFERENCES = """
def smallest_change(net, pixels, target):
    def rounded(share):
        return (start + share * change).clamp(0, 1).mul(255).round()

    def right(levels):
        return int(net(normalised(net, levels / 255)).argmax()) == target

    start, change, reach = pixels.clone(), torch.zeros_like(pixels), 0.5
    for _ in range(500):
        if right(rounded(1)):
            break
        leaf = (start + change).clamp(0, 1).requires_grad_()
        (g,) = torch.autograd.grad(net(normalised(net, leaf)).log_softmax(1)[0, target], leaf)
        change = change + 2 / 255 * g / g.norm()
    for share in torch.linspace(0.7, 1, 31).tolist():
        if right(rounded(share)):
            break
    return rounded(share).byte()
"""

FORMULA = """
def levels(picture):
    return (picture * 255).round()

def margin(net, picture, target):
    rest = net(normalised(net, picture))[0].clone()
    own = rest[target].clone()
    rest[target] = -1e9
    return rest.max() - own

def smallest_change(net, pixels, target):
    picture = pixels
    while margin(net, levels(picture) / 255, target) >= 0:
        leaf = picture.clone().requires_grad_()
        m = margin(net, leaf, target)
        (w,) = torch.autograd.grad(m, leaf)
        w = w * ~((picture <= 0) & (w > 0)) * ~((picture >= 1) & (w < 0))
        picture = (picture - max(float(m), 0.02) * w / w.square().sum()).clamp(0, 1)
    return levels(picture).to(torch.uint8)
"""

# The climb of the reference, in the net's own values: `limits` and `what` is asked make the slips.
IN_THE_NETS_VALUES = """
def smallest_change(net, pixels, target):
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (net.viz.mean, net.viz.std))
    x = before = (pixels - mean) / std

    def levels(x):
        return {levels}

    def wins(x):
        return int(net((levels(x).float() / 255 - mean) / std).argmax()) == target

    for _ in range(2000):
        if {won}:
            break
        leaf = x.clone().requires_grad_()
        (g,) = torch.autograd.grad(net(leaf).log_softmax(1)[0, target], leaf)
        before, x = x, x + 0.01 * g / g.norm()
    return levels(x).to(torch.uint8)
"""
WHOLE = "((x * std + mean) * 255).round()"

NEXT = "(here + 8 / 255 * g / g.norm()).clamp(0, 1)"

# What the slips of questions 4 to 6 change in the reference.
VARIATION = "(down.square() + across.square() + 1e-12).pow(beta / 2).mean(dim=(1, 2, 3))"
FORTH = "F.pad(picture, (right, -right, down, -down), value=0.5)"
BACK = "gradient_of(moved), (-right, right, -down, down)"
ROLLED_BACK = "gradient_of(moved).roll((-down, -right), (2, 3))"
FROM_PHASES = "to_picture(torch.polar(magnitude, phase), size)"
MATRIX = "    A, b = as_matrix(layer, size)\n"

RIGHT = [
    ("q1", "step, one picture after the other", {"a3_q1": """
def step(pixels, g, length):
    out = []
    for p, d in zip(pixels, g):
        d = torch.where((p <= 0) & (d < 0), 0, d)
        d = torch.where((p >= 1) & (d > 0), 0, d)
        out.append((p + length / 255 * torch.nan_to_num(d / d.norm())).clip(0, 1))
    return torch.stack(out)
"""}),
    ("q1", "step with normalize", {"a3_q1": """
def step(pixels, g, length):
    g = g * ~((pixels <= 0) & (g < 0)) * ~((pixels >= 1) & (g > 0))
    return (pixels + F.normalize(g.flatten(1), eps=1e-12).view_as(g) * length / 255).clamp(0, 1)
"""}),
    ("q2", "the formula, again and again", {"a3_q2": FORMULA}),
    ("q2", "one change, then shares of it", {"a3_q2": BY_DIFFERENCES}),
    ("q2", "many tiny steps, none halved", {"a3_q2": [
        ("8 / 255", "2 / 255"), ("    for _ in range(6):   # the border lies in the last step: halve it\n"
         "        middle = (before + here) / 2\n"
         "        before, here = (before, middle) if wins(middle) else (middle, here)\n", "")]}),
    ("q3", "rounds by Python, steps in the picture's type", {"a3_q3": TEST}),
    ("q3", "through a PNG file", {"a3_q3": FROM_PNG}),
    ("q3", "fool hands back what the file holds", {"a3_q3_mend": fooling(
        says(ROUNDED), ROUNDED, "(picture + g.sign() / 255).clamp(0, 1)")}),
    ("q4", "root by a norm that knows zero, indices for padding", {"a3_q4": """
def total_variation(pictures, beta):
    d, a = pictures.diff(dim=2)[..., :-1], pictures.diff(dim=3)[:, :, :-1]
    return ((d**2 + a**2).clamp(min=1e-14) ** (beta / 2)).flatten(1).mean(1)


def jitter_gradient(gradient_of, picture, shift):
    leaf = picture.detach().clone().requires_grad_()
    h, w = picture.shape[2:]
    y, x = torch.arange(h) - shift[0], torch.arange(w) - shift[1]
    inside = ((y >= 0) & (y < h))[:, None] & (x >= 0) & (x < w)
    moved = torch.where(inside, leaf[:, :, y.clamp(0, h - 1)][..., x.clamp(0, w - 1)], 0.5)
    return torch.autograd.grad(moved, leaf, gradient_of(moved.detach()))[0]
"""}),
    ("q5", "exponential of i phase", {"a3_q5": [
        ("torch.polar(magnitude, phase)", "magnitude * torch.exp(1j * phase)")]}),
    ("q5", "scaled by hand, cosine and sine", {"a3_q5": """
def to_spectrum(picture):
    h, w = picture.shape[-2:]
    return torch.fft.rfftn(picture, dim=(2, 3)) / (h * w) ** 0.5

def to_picture(spectrum, size):
    return torch.fft.irfftn(spectrum * (size[0] * size[1]) ** 0.5, s=size, dim=(2, 3))

def phase_picture(magnitude, phase, size):
    return to_picture(torch.complex(magnitude * phase.cos(), magnitude * phase.sin()), size)
"""}),
    ("q6", "pseudo-inverse in float64, pictures one at a time", {"a3_q6": """
@torch.no_grad()
def as_matrix(layer, size):
    black = torch.zeros(1, 3, *size)
    b = layer(black).flatten()
    columns = []
    for place in range(black.numel()):
        one = black.clone()
        one.view(-1)[place] = 1
        columns.append(layer(one).flatten() - b)
    return torch.stack(columns, 1), b

def invert(layer, features, size):
    A, b = as_matrix(layer, size)
    inverse = torch.linalg.pinv(A.double())
    return torch.stack([(inverse @ (f.flatten() - b).double()).view(3, *size) for f in features]).float()

def behind_relu(layer, features, size):
    A, b = as_matrix(layer, size)
    f = features.flatten()
    v = torch.linalg.pinv(A[f > 0].double()) @ (f - b)[f > 0].double()
    now = (A @ v.float() + b).clamp(min=0)
    return v.float().view(1, 3, *size), (f == 0).sum() / len(f), (now - f).norm() / f.norm()
"""}),
]

SLIPS = [
    ("q1", "length in 0..1", {"a3_q1": [("length / 255", "length")]}, "a3_q1_seen", "grey levels"),
    ("q1", "norm over the batch", {"a3_q1": [("free.flatten(1).norm(dim=1).view(-1, 1, 1, 1)", "free.norm()")]},
     "a3_q1_hidden", "over the whole batch"),
    ("q1", "no clipping", {"a3_q1": [(".clamp(0, 1)", "")]}, "a3_q1_hidden", "values leave 0..1"),
    ("q1", "sign step", {"a3_q1": [("length / 255 * unit", "length / 255 * free.sign()")]},
     "a3_q1_hidden", "only the signs are left"),
    ("q1", "signs over their norm", {"a3_q1": [("g.masked_fill(stuck, 0)", "g.masked_fill(stuck, 0).sign()")]},
     "a3_q1_hidden", "only the signs are left"),
    ("q1", "zero over zero", {"a3_q1": [("torch.where(norm > 0, free / norm, 0)", "free / norm")]},
     "a3_q1_hidden", "0 / 0"),
    ("q1", "wasted on what cannot move", {"a3_q1": [("g.masked_fill(stuck, 0)", "g")]},
     "a3_q1_hidden", "used up the step"),
    ("q1", "lesson 06, exercise 1", {"a3_q1": """
def step(pixels, gradient, length):
    norm = gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return (pixels + length / 255 * gradient / norm).clamp(0, 1)
"""}, "a3_q1_seen", "green is at 1 and cannot go up"),
    ("q1", "downhill", {"a3_q1": [("pixels + length", "pixels - length")]}, "a3_q1_hidden", "goes downhill"),
    ("q1", "gradient's own length", {"a3_q1": [("free / norm", "free")]}, "a3_q1_hidden", "own length"),
    ("q1", "in place", {"a3_q1": [("g.masked_fill(", "g.masked_fill_(")]}, "a3_q1_hidden", "changed its input"),
    ("q1", "always float32", {"a3_q1": [(".clamp(0, 1)", ".clamp(0, 1).float()")]}, "a3_q1_hidden", "type"),

    ("q2", "in the net's values, leaves 0..1", {"a3_q2": IN_THE_NETS_VALUES.format(
        levels=f"{WHOLE}.long() % 256", won="int(net(x).argmax()) == target")}, "a3_q2_hidden", "values left 0..1"),
    ("q2", "in the net's values, clipped", {"a3_q2": IN_THE_NETS_VALUES.format(
        levels=f"{WHOLE}.clamp(0, 255)", won="wins(x)")}, "a3_q2_hidden", "net's normalised values"),
    ("q2", "fooled before rounding only", {"a3_q2": [("seen = as_file(picture).to(pixels.dtype) / 255",
                                                      "seen = picture")]}, "a3_q2_hidden", "before the rounding only"),
    ("q2", "one step too late", {"a3_q2": [("range(6)", "range(0)"), ("8 / 255", "30 / 255")]},
     "a3_q2_hidden", "the last step went too far"),
    ("q2", "the target's logit alone", {"a3_q2": [("logits[target] - others.max()", "logits[target]")]},
     "a3_q2_hidden", "climbs the target's logit"),
    ("q2", "along the signs", {"a3_q2": [(NEXT, "(here + g.sign() / 255).clamp(0, 1)")]},
     "a3_q2_hidden", "along the signs"),
    ("q2", "the formula, once", {"a3_q2": """
def smallest_change(net, pixels, target):
    leaf = pixels.clone().requires_grad_()
    logits = net(normalised(net, leaf))[0]
    margin = logits.max() - logits[target]
    (w,) = torch.autograd.grad(margin, leaf)
    picture = leaf - margin * w / w.norm() ** 2 if margin > 0 else leaf
    return (picture.detach().clamp(0, 1) * 255).round().byte()
"""}, "a3_q2_hidden", "before the rounding only"),
    ("q2", "floats for a file", {"a3_q2": [("    return as_file(here)", "    return here")]},
     "a3_q2_seen", "whole numbers"),
    ("q2", "left where it was", {"a3_q2": "def smallest_change(net, pixels, target):\n"
                                          "    return (pixels * 255).round().byte()\n"},
     "a3_q2_seen", "after rounding"),
    ("q2", "stops far behind the border", {"a3_q2": [("range(6)", "range(0)"), ("8 / 255", "90 / 255")]},
     "a3_q2_seen", "the shortest change is 60"),
    ("q2", "moves what is there already", {"a3_q2": [
        ("while not wins(here):", "while True:"), ("range(6)", "range(0)"),
        (f"before, here = here, {NEXT}", f"before, here = here, {NEXT.replace('8', '5')}\n"
         "        if wins(here):\n            break")]}, "a3_q2_hidden", "no change"),
    ("q2", "gradients left in the net", {"a3_q2": [
        ("leaf = here.clone()", "net.requires_grad_()\n        leaf = here.clone()")]},
     "a3_q2_hidden", "requires_grad has changed"),

    ("q3", "asks about the floats", tested(
        "round(v * 255) / 255 for", "v for"), "a3_q3_hidden", "lets a defect pass (the change is lost in the file)"),
    ("q3", "does not look at the range", tested(
        "assert ((picture >= 0) & (picture <= 1)).all()", "picture = picture.clamp(0, 1)"),
     "a3_q3_hidden", "lets a defect pass (values leave 0..1)"),
    ("q3", "does not look at its own picture", tested("assert (pixels == before).all()", "pass"),
     "a3_q3_hidden", "lets a defect pass (the picture that it is given is changed)"),
    ("q3", "keeps a second name, no copy", tested("pixels.clone()", "pixels"),
     "a3_q3_hidden", "lets a defect pass (the picture that it is given is changed)"),
    ("q3", "never the first answer as target", tested("(0, 1, 2)", "(1, 2)"),
     "a3_q3_hidden", "lets a defect pass (a picture that is taken for the target already loses it)"),
    ("q3", "only looks at the form", {"a3_q3": "def my_test(fool):\n    net, pixels = small_case(0)\n"
                                               "    assert fool(net, pixels, 1).shape == pixels.shape\n"},
     "a3_q3_seen", "lets fool_as_found pass"),
    ("q3", "refuses everything", {"a3_q3": "def my_test(fool):\n    assert False, 'wrong'\n"},
     "a3_q3_seen", "refuses your own fool"),
    ("q3", "wants short changes", tested("            seen =", "            assert (picture - before).norm() < 0.04\n"
                                         "            seen ="), "a3_q3_hidden", "refuses a right version"),
    ("q3", "compares with its own fool", {"a3_q3": """
def my_test(f):
    net, pixels = small_case(0)
    assert torch.allclose(f(net, pixels.clone(), 1), fool(net, pixels.clone(), 1))
"""}, "a3_q3_hidden", "refuses a right version"),
    ("q3", "stops with another error", tested("assert ((picture >= 0) & (picture <= 1)).all()",
                                              "picture.clamp(0, 1).equal(picture) or 1 / 0"),
     "a3_q3_hidden", "not by an assert"),
    ("q3", "mended halfway: clipped, not rounded", {"a3_q3_mend": fooling(says("picture"), "picture", CLIPPED)},
     "a3_q3_mend_hidden", "round, then ask"),
    ("q3", "mended halfway: rounded, not clipped", {"a3_q3_mend": fooling(
        says("(picture.clamp(0, 1) * 255).round() / 255"), "picture", "picture + g / g.norm() / 100")},
     "a3_q3_mend_hidden", "values leave 0..1"),
    ("q3", "mended, in place", {"a3_q3_mend": fooling(
        says(ROUNDED), "pixels.copy_(picture)", CLIPPED)}, "a3_q3_mend_hidden", "changed its input"),
    ("q3", "mended, but runs away from the target", {"a3_q3_mend": fooling(
        says(ROUNDED), "picture", CLIPPED, f"pixels.clone()\n    target = (target + {says('pixels')}) % 3")},
     "a3_q3_mend_hidden", "it must stay it"),
    ("q3", "mended, hands out grey levels", {"a3_q3_mend": fooling(
        says(ROUNDED), "(picture * 255).round().byte()", CLIPPED)}, "a3_q3_mend_hidden", "return floats"),

    ("q4", "sum for mean", {"a3_q4": [(".mean(dim=(1, 2, 3))", ".sum(dim=(1, 2, 3))")]}, "a3_q4_hidden", "the sum"),
    ("q4", "sum over colours", {"a3_q4": [(".mean(dim=(1, 2, 3))", ".sum(1).mean((1, 2))")]},
     "a3_q4_hidden", "colours are added up"),
    ("q4", "batch in one number", {"a3_q4": [(".mean(dim=(1, 2, 3))", ".mean()")]},
     "a3_q4_hidden", "batch is averaged"),
    ("q4", "d and a apart", {"a3_q4": [("(down.square() + across.square() + 1e-12).pow(beta / 2)",
                                        "(down.abs().pow(beta) + across.abs().pow(beta))")]},
     "a3_q4_seen", "each by itself"),
    ("q4", "lesson 10, exercise 1", {"a3_q4": [
        (VARIATION, "sum(pictures.diff(dim=d).square().mean((1, 2, 3)) for d in (2, 3))")]},
     "a3_q4_seen", "beta 1"),
    ("q4", "each over its own places", {"a3_q4": [
        (VARIATION, "sum(pictures.diff(dim=d).abs().pow(beta).mean((1, 2, 3)) for d in (2, 3))")]},
     "a3_q4_hidden", "each over its own places"),
    ("q4", "a root without a slope", {"a3_q4": [(" + 1e-12", "")]}, "a3_q4_hidden", "no slope at 0"),
    ("q4", "undone with the same sign", {"a3_q4": [("(-right, right, -down, down)", "(right, -right, down, -down)")]},
     "a3_q4_jitter_hidden", "the way back has the opposite signs"),
    ("q4", "wraps at the border", {"a3_q4": [
        (FORTH, "picture.roll(shift, (2, 3))"),
        (f"F.pad({BACK})", ROLLED_BACK)]},
     "a3_q4_jitter_hidden", "came in on the other"),
    ("q4", "wraps on the way back", {"a3_q4": [
        (f"F.pad({BACK})", ROLLED_BACK)]},
     "a3_q4_jitter_hidden", "came round the border"),
    ("q4", "black comes in", {"a3_q4": [(", value=0.5", "")]}, "a3_q4_jitter_hidden", "is black"),
    ("q4", "grey in the gradient", {"a3_q4": [("-down, down))", "-down, down), value=0.5)")]},
     "a3_q4_jitter_hidden", "grey came into the gradient"),
    ("q4", "down and right swapped", {"a3_q4": [("down, right = shift", "right, down = shift")]},
     "a3_q4_jitter_hidden", "swapped"),
    ("q4", "not undone", {"a3_q4": [(f"F.pad({BACK})", "gradient_of(moved)")]},
     "a3_q4_jitter_hidden", "was not moved back"),
    ("q4", "not moved at all", {"a3_q4": [(FORTH, "picture")]},
     "a3_q4_jitter_hidden", "where it stood"),
    ("q4", "asks twice", {"a3_q4": [("    down, right = shift", "    gradient_of(picture)\n    down, right = shift")]},
     "a3_q4_jitter_hidden", "more than once"),

    ("q5", "both halves", {"a3_q5": [("torch.fft.rfft2(", "torch.fft.fft2(")]}, "a3_q5_hidden", "twice the freedom"),
    ("q5", "fft2 in and out", {"a3_q5": [
        ("torch.fft.rfft2(", "torch.fft.fft2("),
        ("torch.fft.irfft2(spectrum, s=size, norm=\"ortho\")", "torch.fft.ifft2(spectrum, norm=\"ortho\").real")]},
     "a3_q5_seen", "half a table"),
    ("q5", "width lost", {"a3_q5": [("s=size, ", "")]}, "a3_q5_hidden", "an odd width is lost"),
    ("q5", "clipped", {"a3_q5": [(FROM_PHASES, f"{FROM_PHASES}.clamp(0, 1)")]},
     "a3_q5_hidden", "does not have the magnitudes"),
    ("q5", "sigmoid, as in lesson 10", {"a3_q5": [(FROM_PHASES, f"{FROM_PHASES}.sigmoid()")]},
     "a3_q5_hidden", "does not have the magnitudes"),
    ("q5", "detached", {"a3_q5": [("torch.polar(magnitude, phase)", "torch.polar(magnitude, phase.detach())")]},
     "a3_q5_hidden", "no gradient reaches the phases"),
    ("q5", "the wrong way round", {"a3_q5": [("torch.polar(magnitude, phase)", "torch.polar(magnitude, -phase)")]},
     "a3_q5_hidden", "wrong way"),
    ("q5", "not scaled", {"a3_q5": [("rfft2(picture, norm=\"ortho\")", "rfft2(picture)")]}, "a3_q5_seen", "too strong"),
    ("q5", "two real numbers for a complex one", {"a3_q5": [
        ("torch.fft.rfft2(picture, norm=\"ortho\")", "torch.view_as_real(torch.fft.rfft2(picture, norm=\"ortho\"))")]},
     "a3_q5_seen", "complex"),
    ("q5", "always float32", {"a3_q5": [("rfft2(picture,", "rfft2(picture.float(),")]}, "a3_q5_hidden", "number type"),
    ("q5", "real part only", {"a3_q5": [("torch.polar(magnitude, phase)", "(magnitude * phase.cos() + 0j)")]},
     "a3_q5_hidden", "does not have the magnitudes"),

    ("q6", "bias in each column", {"a3_q6": [
        ("(layer(torch.eye(number).view(number, 3, *size)) - b)", "layer(torch.eye(number).view(number, 3, *size))")]},
     "a3_q6_seen", "still has the bias"),
    ("q6", "bias left out", {"a3_q6": [("(features.flatten(1) - b).T", "features.flatten(1).T")]},
     "a3_q6_seen", "bias is left out"),
    ("q6", "bias left out of the equations", {"a3_q6": [("(features.flatten(1) - b).T", "features.flatten(1).T")]},
     "a3_q6_hidden", "solve A v = features - b"),
    ("q6", "transposed convolution", {"a3_q6": [
        ('torch.linalg.lstsq(A, (features.flatten(1) - b).T, driver="gelsd").solution',
         "A.T @ (features.flatten(1) - b).T")]}, "a3_q6_hidden", "sends gradients back"),
    ("q6", "zeros for equations", {"a3_q6": [("on = features.flatten() > 0", "on = features.flatten() > -1")]},
     "a3_q6_hidden", "they are the silent ones"),
    ("q6", "zeros for equations, honest share", {"a3_q6": [
        ("(features.flatten() - b)[on, None]", "(features.flatten() - b)[:, None]"), ("A[on], told", "A, told")]},
     "a3_q6_hidden", "no equation"),
    ("q6", "claims that nothing is lost", {"a3_q6": [("float(off.norm() / features.norm())", "0.0")]},
     "a3_q6_hidden", "you claim that nothing is lost"),
    ("q6", "residual of the equations only", {"a3_q6": [
        ("off = layer(picture).relu() - features", "off = (layer(picture).relu() - features).flatten()[on]")]},
     "a3_q6_hidden", "you claim that nothing is lost"),
    ("q6", "residual before the ReLU", {"a3_q6": [("layer(picture).relu() -", "layer(picture) -")]},
     "a3_q6_hidden", "behind the ReLU"),
    ("q6", "the others' share", {"a3_q6": [("1 - float(on.float().mean())", "float(on.float().mean())")]},
     "a3_q6_seen", "units above 0"),
    ("q6", "a number for a share", {"a3_q6": [("1 - float(on.float().mean())", "int((~on).sum())")]},
     "a3_q6_hidden", "not a number of units"),
    ("q6", "the layer in float64 for good", {"a3_q6": [
        (f"{MATRIX}    v =", f"{MATRIX}    layer.double()\n    v =")]},
     "a3_q6_hidden", "weights were not given back"),
    ("q6", "the layer's weights changed", {"a3_q6": [
        (f"{MATRIX}    v =", f"{MATRIX}    layer[0].bias.data.zero_()\n    v =")]},
     "a3_q6_hidden", "weights were not given back"),
]  # fmt: skip
