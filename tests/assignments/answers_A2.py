"""A2 "Explain a mistake": right answers written differently, and the slips that must be named (see hand_in.py)."""
Q1, Q2, MEND, Q3, Q4, Q5, MORE, Q6 = "a2_q1 a2_q2 a2_q2_mend a2_q3 a2_q4 a2_q5 a2_q5_more a2_q6".split()
WANTED = ".gather(1, targets[:, None])"  # of the scores, in two of the references
OWN = "[torch.arange(len(x)), targets]"


def saliency(scores: str, finish: str = "g.abs().amax(1)", leaf: str = "x.detach().clone().requires_grad_()") -> dict:
    return {Q1: f"""
def saliency(model, x, targets):
    leaf = {leaf}
    scores = model(leaf)
    rows = torch.arange(len(x))
    (g,) = torch.autograd.grad(({scores}).sum(), leaf)
    return {finish}
"""}


def my_test(body: str) -> dict:
    return {Q2: "def my_test(ig):\n" + "".join(f"    {line}\n" for line in body.strip("\n").split("\n"))}


LINEAR = """
w, x, b = (torch.tensor(v).view(1, 3, 1, 1) for v in ([1., -2, 3], [4., 3, 2], [1., -1, 5]))
line = lambda z: (z * w).flatten(1).sum(1, keepdim=True)
assert torch.allclose(ig(line, x, b, torch.tensor([0]), 2), w * (x - b), atol=1e-4)
"""
CUBE = """
cube = lambda z: (z.flatten(1)**3).sum(1, keepdim=True)
x, b = torch.full((1, 3, 2, 2), {0}), torch.full((1, 3, 2, 2), {1})
got = ig(cube, x, b, torch.tensor([0]), {2})
assert (got - (x**3 - b**3)).abs().max() < {3} * (x**3 - b**3).abs().max(), "not the integral"
"""


def cams(body: str) -> dict:
    return {Q5: [("return (g.relu() * A).sum(0).relu()", body)]}


def x_cams(body: str) -> dict:
    return {Q5: [("alpha = (g * A).sum((1, 2), keepdim=True) / total.where(total > 0, torch.ones_like(total))", body)]}


RIGHT = [
    ("q1", "one picture after the other, backward", {Q1: """
def saliency(model, x, targets):
    maps = []
    for one, c in zip(x, targets):
        leaf = one[None].detach().clone().requires_grad_()
        model(leaf)[0, int(c)].backward(inputs=[leaf])
        maps.append(leaf.grad[0].abs().max(dim=0).values)
    return torch.stack(maps)
"""}),
    ("q1", "the scores picked by row and class", saliency("scores[rows, targets]")),
    ("q1", "a one-hot gradient", saliency("scores * F.one_hot(targets, scores.shape[1])")),
    ("q2", "two tests, and trapezoids", my_test(LINEAR + CUBE.format("2.", "0.5", "400", "0.02")) | {MEND: """
def mended(model, x, baseline, targets, steps=64):
    a = torch.linspace(0, 1, steps + 1).to(x)
    total = 0
    for k, share in enumerate(a):
        leaf = (baseline * (1 - share) + share * x).detach().requires_grad_()
        g, = torch.autograd.grad(model(leaf).gather(1, targets[:, None]).sum(), leaf)
        total = total + g * (0.5 if k in (0, steps) else 1)
    return (x - baseline) * total / steps
"""}),
    ("q2", "completeness on a net and the gradient's place", my_test(LINEAR + """
square = lambda z: (z**2).flatten(1).sum(1)[:, None]
x = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)) + 1
b = x / 3
rise = float(square(x) - square(b))
if abs(float(ig(square, x, b, torch.tensor([0]), 500).sum()) - rise) > 0.01 * rise:
    raise AssertionError("incomplete")
""")),
    ("q3", "tensor hooks, and two means", {Q3: """
def grad_cam(model, x, targets, layer):
    maps, grads = [], []
    def hook(module, inp, out):
        maps.append(out.detach().clone())
        copy = out.clone()
        copy.register_hook(lambda g: grads.append(g.detach().clone()))
        return copy
    with dict(model.named_modules())[layer].register_forward_hook(hook):
        leaf = x.detach().clone().requires_grad_()
        scores = model(leaf)
    torch.autograd.grad(scores[torch.arange(len(x)), targets].sum(), leaf)
    return torch.einsum("nkhw,nk->nhw", maps[0], grads[0].mean(3).mean(2)).clamp(min=0)
"""}),
    ("q4", "as written, with a guard, in float64", {Q4: """
def separates():
    maps = torch.tensor([[[[3., 0], [1, 2]]]])
    g = torch.tensor([[[[.8, -.1], [.4, 0]]]])
    return {"mean": (maps, g), "copied": [maps, g], "epsilon": (0 * maps, 1e-5 * g)}

def weights(maps, g):
    a, v = maps.double(), g.double()
    below = 2 * v**2 + a.sum((2, 3), keepdim=True) * v**3
    alpha = torch.where(v > 0, v**2 / torch.where(v > 0, below, torch.ones_like(v)), torch.zeros_like(v))
    return (alpha * v.clamp(min=0)).sum((2, 3))
"""}),
    ("q5", "loops over channels", {Q5: """
def layer_cam(A, g):
    return sum(g[k].clamp(min=0) * A[k] for k in range(len(A)))

def x_grad_cam(A, g):
    total = torch.zeros_like(A[0])
    for a, v in zip(A, g):
        if a.any():
            total += (v * a / a.sum()).sum() * a
    return total.clamp(min=0)
""", MORE: """
def eigen_cam(A):
    K, h, w = A.shape
    values, vectors = torch.linalg.eigh(A.reshape(K, -1) @ A.reshape(K, -1).T)
    return -torch.einsum("k,khw->hw", vectors[:, -1], A).double()

def score_cam(model, A, x, c):
    result = 0
    with torch.no_grad():
        nothing = model(torch.zeros_like(x))[0, c]
        for a in A:
            h = F.interpolate(a[None, None], x.shape[-2:], mode="bilinear")
            h = (h - h.min()) / (h.max() - h.min()).clamp(min=1e-12)
            result = result + (model(x * h)[0, c] - nothing) * a
    return result.clamp(min=0)

def follows_the_class():
    return dict.fromkeys(["Layer-CAM", "XGrad-CAM", "Score-CAM"], True) | {"Eigen-CAM": False}
"""}),
    ("q6", "numpy's noise and means in and out", {Q6: """
import numpy as np

def rank_maps(maps, mask):
    maps = dict(maps)
    maps["random"] = torch.from_numpy(np.random.default_rng(5).random(tuple(mask.shape)))
    maps["mask"] = mask * 1.0
    rows = []
    for name in maps:
        big = F.interpolate(maps[name].unsqueeze(0).unsqueeze(0), tuple(mask.shape), mode="bilinear",
                            align_corners=False).squeeze()
        top = divmod(int(big.argmax()), mask.shape[1])
        light = big.clamp(min=0)
        times = light[mask].mean() / light.mean() if light.max() > 0 else torch.tensor(1.0)
        rows.append([name, mask[top].item(), times.item()])
    rows.sort(key=lambda row: row[2], reverse=True)
    return rows
"""}),
]

SEEN1, HID1, SEEN2, HID2, HID2M = "a2_q1_seen a2_q1_hidden a2_q2_seen a2_q2_hidden a2_q2_mend_hidden".split()
HID3, NET3, HID4, HID4W, HID5 = "a2_q3_hidden a2_q3_net_hidden a2_q4_hidden a2_q4_weights_hidden a2_q5_hidden".split()
HID5M, HID6 = "a2_q5_more_hidden", "a2_q6_hidden"
KEEP = "kept.append(output)\n        return output.clone()   # an in-place layer behind may have the copy"
FINISH = "return (g.mean((2, 3), keepdim=True) * kept[0].detach()).sum(1).relu()"
TRY = """    try:
        scores = model(x.detach().clone().requires_grad_()).gather(1, targets[:, None])
    finally:
        handle.remove()
"""
RUN = "    scores = model(x.detach().clone().requires_grad_()).gather(1, targets[:, None])\n"
ALPHA = "alpha = 1 / (2 + maps.sum(dim=(2, 3), keepdim=True) * g.relu())"
UNIT = """    least, most = A.amin((1, 2), keepdim=True), A.amax((1, 2), keepdim=True)
    UNIT = (A - least) / (most - least).clamp(min=1e-9)
"""
SHIPPED = """
def mended(model, x, baseline, targets, steps=64):
    start, total = torch.zeros_like(baseline), torch.zeros_like(x)
    for step in range(steps + 1):
        leaf = (start + step / steps * (x - start)).detach().requires_grad_()
        total += torch.autograd.grad(model(leaf)[torch.arange(len(x)), targets].sum(), leaf)[0]
    return total / steps
"""

SLIPS = [
    # 1: saliency
    ("q1", "gradient of the cross-entropy", saliency("F.cross_entropy(scores, targets)"),
     HID1, "gradient of the mean loss"),
    ("q1", "gradient of the summed cross-entropy",
     saliency("F.cross_entropy(scores, targets, reduction='sum')"),
     HID1, "gradient of the loss, which mixes all classes"),
    ("q1", "log-softmax", saliency("scores.log_softmax(1)[rows, targets]"), HID1, "gradient of the loss"),
    ("q1", "maximum, then magnitude", saliency("scores[rows, targets]", "g.amax(1).abs()"), HID1, "magnitude first"),
    ("q1", "maximum without magnitude", saliency("scores[rows, targets]", "g.amax(1)"), HID1, "magnitude first"),
    ("q1", "softmax", saliency("scores.softmax(1)[rows, targets]"), HID1, "without softmax"),
    ("q1", "all targets for all pictures", saliency("scores[:, targets]"), HID1, "asks all pictures for all targets"),
    ("q1", "the first picture's class", saliency("scores[:, targets[0]]"), HID1, "first picture's class"),
    ("q1", "the net's own answer", saliency("scores.amax(1)"), HID1, "c = targets[n]"),
    ("q1", "mean over colours", saliency("scores[rows, targets]", "g.abs().mean(1)"), HID1, "not the mean"),
    ("q1", "sum over colours", saliency("scores[rows, targets]", "g.abs().sum(1)"), HID1, "not the sum"),
    ("q1", "gradient x input", saliency("scores[rows, targets]", "(g * x).abs().amax(1)"), HID1, "times input"),
    ("q1", "the colour axis stays", saliency("scores[rows, targets]", "g.abs().amax(1, keepdim=True)"), SEEN1, "shape"),
    ("q1", "the caller's x requires a gradient", saliency("scores[rows, targets]", leaf="x.requires_grad_()"),
     HID1, "the input requires a gradient now"),
    ("q1", ".grad that adds up", {Q1: """
def saliency(model, x, targets):
    x.requires_grad_()
    model(x)[torch.arange(len(x)), targets].sum().backward()
    return x.grad.abs().amax(1)
"""}, SEEN1, "the input requires a gradient now"),
    ("q1", ".grad of the weights", {Q1: """
def saliency(model, x, targets):
    leaf = x.detach().clone().requires_grad_()
    model(leaf)[torch.arange(len(x)), targets].sum().backward()
    return leaf.grad.abs().amax(1)
"""}, HID1, "parameters have a .grad now"),
    ("q1", "weights frozen for good", {Q1: [("leaf = x", "model.requires_grad_(False)\n    leaf = x")]},
     HID1, "requires_grad has changed"),
    ("q1", "float32 inside", {Q1: [("leaf = x.detach()", "leaf = x.detach().float()")]}, HID1, "RuntimeError"),
    ("q1", "scaled to 0..1", saliency("scores[rows, targets]", "g.abs().amax(1) / g.abs().max()"), SEEN1, "right"),
    ("q1", "the one-liner", {Q1: "def saliency(model, x, targets):\n    return vh.saliency(model, x, targets)"},
     HID1, "write saliency with torch alone"),
    # 2: the test and the mended function
    ("q2", "a test on a linear net only", my_test(LINEAR),
     HID2, "lets a defect pass (only the gradient at the picture)"),
    ("q2", "a test of the shape", my_test("""
x = torch.ones(1, 3, 2, 2)
got = ig(lambda z: z.flatten(1), x, 0 * x, torch.tensor([0]))
assert got.shape == x.shape and got.isfinite().all()
"""), HID2, "lets a defect pass (no factor x - x')"),
    ("q2", "completeness to 5 % in 64 steps", my_test("""
cube = lambda z: (z**3).flatten(1).sum(1)[:, None]
x, b = torch.full((1, 3, 2, 2), 3.0), torch.full((1, 3, 2, 2), 1.0)
assert abs(float(ig(cube, x, b, torch.tensor([0])).sum()) / float(cube(x) - cube(b)) - 1) < 0.05
"""), HID2, "lets a defect pass (N + 1 points, divided by N)"),
    ("q2", "a way of length 1", my_test(CUBE.format("2.", "1.", "500", "0.01")), HID2, "no factor x - x'"),
    ("q2", "a baseline of 0",
     my_test(LINEAR.replace("[1., -1, 5]", "[0., 0, 0]") + CUBE.format("2.", "0.", "500", "0.02")),
     HID2, "lets a defect pass (the path starts at 0, not at the baseline)"),
    ("q2", "too strict: equal to its own right-end sum", my_test("""
cube = lambda z: (z**3).flatten(1).sum(1)[:, None]
x, b = torch.full((1, 3, 2, 2), 3.0), torch.full((1, 3, 2, 2), 1.0)
want = 2 * sum(3 * (1 + 2 * k / 64)**2 for k in range(1, 65)) / 64
assert torch.allclose(ig(cube, x, b, torch.tensor([0])), torch.tensor(want))
"""), HID2, "refuses a right version (the middle of each step)"),
    ("q2", "says False", my_test("""
x = torch.tensor([1., 2, 3]).view(1, 3, 1, 1)
return torch.allclose(ig(lambda z: z.flatten(1), x, 0 * x, torch.tensor([1]), 2)[0, 1], torch.tensor(2.))
"""), SEEN2, "lets `shipped` pass"),
    ("q2", "raises another error", my_test("""
x = torch.tensor([3., 2, 3]).view(1, 3, 1, 1)
if abs(float(ig(lambda z: z.flatten(1), x, 0 * x + 1, torch.tensor([0]), 4).sum()) - 2) > 1e-3:
    raise ValueError("wrong")
"""), HID2, "stops with ValueError on a defect"),
    ("q2", "tests mended, not what it is given", my_test(LINEAR.replace("ig(", "mended(")),
     SEEN2, "lets `shipped` pass"),
    ("q2", "nothing mended", {MEND: SHIPPED}, HID2M, "multiply by the way (x - baseline), and divide by how many"),
    ("q2", "without the way", {MEND: [("(x - baseline) * total / steps", "total / steps")]},
     HID2M, "by the way, (x - baseline)"),
    ("q2", "times x", {MEND: [("(x - baseline) * total / steps", "x * total / steps")]},
     HID2M, "(x - baseline), not by x"),
    ("q2", "N + 1 points over N",
     {MEND: [("range(steps)", "range(steps + 1)"), ("(step + 0.5) / steps", "step / steps")]},
     HID2M, "N + 1 gradients were divided by N"),
    ("q2", "the sum, not the mean", {MEND: [("total / steps", "total")]}, HID2M, "sum of the gradients"),
    ("q2", "the path starts at 0", {MEND: [("(baseline + (step + 0.5) / steps * (x - baseline))",
                                           "((step + 0.5) / steps * x)")]}, HID2M, "the path starts at 0"),
    ("q2", "against a baseline of 0",
     {MEND: [("    total = torch", "    baseline = torch.zeros_like(baseline)\n    total = torch")]},
     HID2M, "multiply by (x - baseline), not by x"),
    ("q2", "gradient at the picture", {MEND: [("(baseline + (step + 0.5) / steps * (x - baseline))", "x")]},
     HID2M, "all gradients are from the picture"),
    ("q2", "all targets for all pictures", {MEND: [("[torch.arange(len(x)), targets]", "[:, targets]")]},
     HID2M, "asks all pictures for all targets"),
    ("q2", "the first picture's class", {MEND: [("[torch.arange(len(x)), targets]", "[:, targets[0]]")]},
     HID2M, "first picture's class"),
    ("q2", "the one-liner", {MEND: """
def mended(model, x, baseline, targets, steps=64):
    return (lambda: vh.integrated_gradients(model, x, targets, baseline=baseline, steps=steps))()
"""}, HID2M, "write mended with torch alone"),
    # 3: Grad-CAM
    ("q3", "softmax", {Q3: [(TRY, TRY.replace("requires_grad_())", "requires_grad_()).softmax(1)"))]},
     HID3, "without softmax"),
    ("q3", "sum for mean", {Q3: [("g.mean((2, 3), keepdim=True)", "g.sum((2, 3), keepdim=True)")]},
     HID3, "mean of the gradient over positions, not its sum"),
    ("q3", "ReLU before the sum", {Q3: [(".sum(1).relu()", ".relu().sum(1)")]}, HID3, "the ReLU comes last"),
    ("q3", "alpha clipped", {Q3: [("keepdim=True) *", "keepdim=True).relu() *")]}, HID3, "no ReLU on alpha"),
    ("q3", "elementwise", {Q3: [("g.mean((2, 3), keepdim=True)", "g")]}, HID3, "multiplied by its own gradient"),
    ("q3", "no ReLU", {Q3: [(".sum(1).relu()", ".sum(1)")]}, HID3, "the last step is missing"),
    ("q3", "no clone", {Q3: [(KEEP, "kept.append(output)")]}, HID3, "give the net a clone"),
    ("q3", "no clone, on SqueezeNet", {Q3: [(KEEP, "kept.append(output)")]}, NET3, "on your scene"),
    ("q3", "maps kept too late", {Q3: [(KEEP, "copy = output.clone()\n        kept.append(copy)\n        return copy"),
                                       ("    (g,) = torch.autograd.grad(scores.sum(), kept[0])", """
    (g,) = torch.autograd.grad(scores.sum(), kept[0])""")]}, HID3, "give the net a clone"),
    ("q3", "mean over the batch", {Q3: [("g.mean((2, 3)", "g.mean((0, 2, 3)")]}, HID3, "averaged over the batch"),
    ("q3", "all targets for all pictures", {Q3: [(TRY, TRY.replace(WANTED, "[:, targets]"))]},
     HID3, "asks all pictures for all targets"),
    ("q3", "the first picture's class", {Q3: [(TRY, TRY.replace(WANTED, "[:, targets[0]]"))]},
     HID3, "first one's class"),
    ("q3", "scaled to its maximum", {Q3: [(FINISH, FINISH.replace("return ", "heat = ")
                                          + "\n    return heat / heat.amax((1, 2), keepdim=True)")]},
     HID3, "do not scale the map"),
    ("q3", "the hook stays", {Q3: [("        handle.remove()", "        pass")]}, HID3, "a hook is left"),
    ("q3", "removed only when nothing raised", {Q3: [(TRY, RUN + "    handle.remove()\n")]}, NET3, "in `finally:`"),
    ("q3", "hides the net's error",
     {Q3: [("    finally:", "    except RuntimeError:\n        return x[:, 0]\n    finally:")]},
     NET3, "must come through"),
    ("q3", "the weights thawed", {Q3: [("    kept = []", "    kept = []\n    model.requires_grad_(True)")]},
     HID3, "requires_grad has changed"),
    ("q3", "the in-place layers changed for good",
     {Q3: [("    kept = []", "    kept = []\n    for m in model.modules():\n        m.inplace = False")]},
     HID3, "`inplace` has changed"),
    ("q3", "the one-liner", {Q3: "def grad_cam(model, x, targets, layer):\n"
                                 "    return vh.grad_cam(model, x, targets, layer=layer)"}, HID3, "with torch alone"),
    # 4: Grad-CAM++
    ("q4", "an input on which all agree",
     {Q4: [("return {", "return {n: (0 * one, 0.5**0.5 * one) for n in VERSIONS} or {")]}, HID4, "off by only 0.0%"),
    ("q4", "the epsilon at large gradients", {Q4: [('"epsilon": (one, 1e-4 * one)', '"epsilon": (one, one)')]},
     HID4, "epsilon: on your input this version is off by only"),
    ("q4", "the mean of an empty map", {Q4: [('"mean": (one, one)', '"mean": (0 * one, one)')]},
     HID4, "mean: on your input this version is off by only"),
    ("q4", "negative maps", {Q4: [('"copied": (one, one)', '"copied": (-0.4 * one, one)')]}, "a2_q4_seen", "maps >= 0"),
    ("q4", "gradients of NaN",
     {Q4: [('"copied": (one, one)', '"copied": (one, torch.tensor([[[[1, 0], [0, torch.nan]]]]))')]},
     HID4, "take finite maps"),
    ("q4", "NaN at g = 0", {Q4: [(ALPHA,
                                 "alpha = g**2 / (2 * g**2 + maps.sum(dim=(2, 3), keepdim=True) * g**3)")]},
     HID4W, "NaN"),
    *[("q4", f"epsilon {e}", {Q4: [(ALPHA,
                                   f"alpha = g**2 / (2 * g**2 + maps.sum(dim=(2, 3), keepdim=True) * g**3 + {e})")]},
       HID4W, f"an epsilon of {float(e):g} below the fraction") for e in ("1e-6", "1e-8", "1e-12")],
    ("q4", "times g", {Q4: [(ALPHA,
                            "alpha = (g != 0) / (2 + maps.sum(dim=(2, 3), keepdim=True) * g)"),
                           ("(alpha * g.relu())", "(alpha * g)")]}, HID4W, "by relu(g), not by g"),
    ("q4", "mean for sum", {Q4: [("maps.sum(dim=", "maps.mean(dim=")]}, HID4W, "the sum of the map, not its mean"),
    ("q4", "alpha is g squared", {Q4: [(ALPHA, "alpha = g**2")]},
     HID4W, "alpha is still g^2"),
    ("q4", "sum over all channels", {Q4: [("maps.sum(dim=(2, 3)", "maps.sum(dim=(1, 2, 3)")]},
     HID4W, "not over all channels"),
    ("q4", "lesson 08's answer as it stands",
     {Q4: [(ALPHA, ALPHA.replace("(2, 3)", "(1, 2)")), ("g.relu()).sum(dim=(2, 3))", "g.relu()).sum(dim=(1, 2))")]},
     "a2_q4_seen", "shape (1, 1)"),
    ("q4", "the one-liner", {Q4: [(ALPHA, "return vh.plus_plus_weights(maps, g)")]},
     HID4W, "write weights with torch alone"),
    # 5: the CAM family
    ("q5", "Layer-CAM with the mean's ReLU", cams("return (g.mean((1, 2), keepdim=True).relu() * A).sum(0)"),
     HID5, "not on a channel's mean"),
    ("q5", "Layer-CAM without the ReLU on g", cams("return (g * A).sum(0).relu()"), HID5, "g lacks its ReLU"),
    ("q5", "Layer-CAM is Grad-CAM", cams("return (g.mean((1, 2), keepdim=True) * A).sum(0).relu()"),
     HID5, "this is Grad-CAM"),
    ("q5", "Layer-CAM's mean over channels", cams("return (g.relu() * A).mean(0)"), HID5, "add the channels up"),
    ("q5", "XGrad-CAM: 0 / 0", x_cams("alpha = (g * A).sum((1, 2), keepdim=True) / total"), HID5, "NaN"),
    ("q5", "XGrad-CAM not divided", x_cams("alpha = (g * A).sum((1, 2), keepdim=True)"),
     HID5, "not divided by the sum"),
    ("q5", "XGrad-CAM divided by all", x_cams("alpha = (g * A).sum((1, 2), keepdim=True) / total.sum()"),
     HID5, "not by that of all"),
    ("q5", "XGrad-CAM divided by h w", x_cams("alpha = (g * A).mean((1, 2), keepdim=True)"),
     HID5, "the number of positions"),
    ("q5", "XGrad-CAM is Grad-CAM", x_cams("alpha = g.mean((1, 2), keepdim=True)"),
     HID5, "XGrad-CAM weights the mean of g"),
    ("q5", "XGrad-CAM signed", {Q5: [("return (alpha * A).sum(0).relu()", "return (alpha * A).sum(0)")]},
     HID5, "last step is missing"),
    ("q5", "XGrad-CAM with positive alphas", {Q5: [("return (alpha * A)", "return (alpha.relu() * A)")]},
     HID5, "the ReLU comes last"),
    ("q5", "Eigen-CAM: the vector alone", {MORE: [("u = torch.linalg.svd(A.flatten(1), full_matrices=False).U[:, 0]",
                                                  "v = torch.linalg.svd(A.flatten(1), full_matrices=False).Vh[0]"),
                                                 ("(u[:, None, None] * A).sum(0)", "v.view(A.shape[1:])")]},
     HID5, "right singular vector alone"),
    ("q5", "Eigen-CAM centred",
     {MORE: [("A.flatten(1), full", "A.flatten(1) - A.flatten(1).mean(1, keepdim=True), full")]},
     HID5, "centred matrix"),
    ("q5", "Eigen-CAM centred and projected",
     {MORE: [("    u = ", "    A = A - A.mean((1, 2), keepdim=True)\n    u = ")]},
     HID5, "the matrix was centred"),
    ("q5", "Eigen-CAM called class-specific", {MORE: [('"Eigen-CAM": False', '"Eigen-CAM": True')]},
     HID5M, "given no class"),
    ("q5", "Score-CAM called blind to the class", {MORE: [('"Score-CAM": True', '"Score-CAM": False')]},
     HID5M, "all but Eigen-CAM"),
    ("q5", "Score-CAM: 0 / 0", {MORE: [("(high - low).where(high > low, torch.ones_like(low))", "(high - low)")]},
     HID5M, "NaN"),
    ("q5", "Score-CAM: no reference", {MORE: [(" - model(0 * x)[0, c]", "")]},
     HID5M, "subtract the score of the empty picture"),
    ("q5", "Score-CAM: softmax over channels",
     {MORE: [("    return (alpha", "    alpha = alpha.softmax(0)\n    return (alpha")]},
     HID5M, "no softmax over the channels"),
    ("q5", "Score-CAM: probability", {MORE: [("model(x * M)[:, c] - model(0 * x)[0, c]",
                                             "model(x * M).softmax(1)[:, c] - model(0 * x).softmax(1)[0, c]")]},
     HID5M, "take the logit"),
    ("q5", "Score-CAM: align_corners", {MORE: [("align_corners=False", "align_corners=True")]},
     HID5M, "align_corners=True"),
    ("q5", "Score-CAM: scaled, then stretched",
     {MORE: [("A[:, None], size", "UNIT[:, None], size"), ("    low, high", "    low, high = 0, torch.tensor(1.0)  #"),
             ("torch.ones_like(low)", "high"), ("    M = F.", UNIT + "    M = F.")]}, HID5M, "stretch the map first"),
    ("q5", "Score-CAM: signed",
     {MORE: [("(alpha[:, None, None] * A).sum(0).relu()", "(alpha[:, None, None] * A).sum(0)")]},
     HID5M, "last step is missing"),
    # 6: the judge
    ("q6", "(H, W) swapped in the size", {Q6: [("size=mask.shape,", "size=mask.shape[::-1],")]},
     HID6, "rows and columns are swapped"),
    ("q6", "(H, W) swapped in the index", {Q6: [("bool(mask.flatten()[big.argmax()])",
                                                "bool(mask[divmod(int(big.argmax()), len(mask))])")]},
     HID6, "row * W + col"),
    ("q6", "align_corners", {Q6: [('mode="bilinear")', 'mode="bilinear", align_corners=True)')]},
     HID6, "align_corners=True"),
    ("q6", "not divided by the area", {Q6: [("float(share / area)", "float(share)")]}, HID6, "not divided by the area"),
    ("q6", "divided by the pixels", {Q6: [("float(share / area)", "float(share / mask.sum())")]},
     HID6, "the mask's share of the picture"),
    ("q6", "nearest", {Q6: [('mode="bilinear"', 'mode="nearest"')]}, HID6, "mode='bilinear'"),
    ("q6", "negative values counted", {Q6: [("positive = big.relu()", "positive = big")]},
     HID6, "only the positive part counts"),
    ("q6", "magnitudes counted", {Q6: [("positive = big.relu()", "positive = big.abs()")]}, HID6, "no magnitudes"),
    ("q6", "0 / 0 for an empty map", {Q6: [(" if positive.any() else area", "")]}, HID6, "NaN"),
    ("q6", "the lowest first", {Q6: [("key=lambda row: -row[2]", "key=lambda row: row[2]")]},
     "a2_q6_seen", "largest times comes first"),
    ("q6", "ranked by hit", {Q6: [("key=lambda row: -row[2]", "key=lambda row: -row[1]")]},
     HID6, "largest times comes first"),
    ("q6", "noise that is not seeded", {Q6: [(", generator=torch.Generator().manual_seed(0)", "")]},
     HID6, "seed the noise"),
    ("q6", "no bounds", {Q6: [('{**maps, "random": noise, "mask": mask.float()}', "maps")]},
     "a2_q6_seen", "with your two"),
    ("q6", "no bounds, before unseen maps", {Q6: [('{**maps, "random": noise, "mask": mask.float()}', "maps")]},
     HID6, "your ranking lacks mask, random"),
    ("q6", "writes into the dict it is given",
     {Q6: [("    found = []", '    found, maps["random"], maps["mask"] = [], noise, mask.float()')]},
     "a2_q6_seen", "changed its input"),
]
