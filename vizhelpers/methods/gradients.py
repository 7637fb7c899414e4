"""Maps from gradients with respect to the picture: saliency and its kin (lesson 05), the ReLU rules (04 and 07)."""
from collections import defaultdict, namedtuple
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..device import batch_for, in_batches, stoppable, warn
from ..images import black, load_image
from ..targets import Target, differentiable, gradient_of, of_rows, score, score_and_gradient, settled

USUAL = "every path to the target passes a ReLU that is off, or a weight of 0"
PathPoint = namedtuple("PathPoint", "share score attributed")


def gradient(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """The gradient of the score, `(N,3,H,W)`, per unit of normalised input. Simonyan et al. 2014, sec. 3; lesson 05."""
    return said_if_zero(score_and_gradient(model, x, target)[1], "gradient")


def saliency(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """`(N,H,W)`, 0 or more: the largest size of the gradient over three colours. Simonyan et al. 2014; lesson 05."""
    return gradient(model, x, target).abs().amax(1)


def gradient_x_input(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """What each value adds to the score, to first order, `(N,3,H,W)`. Shrikumar et al. 2016, sec. 3.1; lesson 05."""
    return gradient(model, x, target) * x.detach()


def guided_backprop(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """The gradient, each ReLU letting only positives through, `(N,3,H,W)`. Springenberg et al. 2015; lesson 07."""
    return said_if_zero(_with_rule(model, x, target, "guided"), "guided backpropagation")


def deconvnet_gradient(model: nn.Module, x: Tensor, target: Target = None) -> Tensor:
    """The deconvnet on any net with ReLUs: backpropagation whose ReLU looks at the signal, `(N,3,H,W)`.
    Simonyan et al. 2014, section 4 (equivalence); Zeiler & Fergus 2014, section 2.1; lesson 04."""
    return said_if_zero(_with_rule(model, x, target, "deconvnet"), "the deconvnet")


def _with_rule(model: nn.Module, x: Tensor, target: Target, name: str) -> Tensor:
    odd = [n for n, m in model.named_modules() if isinstance(m, torch.jit.ScriptModule) or hasattr(m, "_orig_mod")]
    if odd:
        raise ValueError(f"Part {odd[0]!r} is scripted or compiled: {name} cannot reach its ReLUs: give it unscripted.")
    with differentiable(model, x) as leaf, relu_rule(name) as rule:
        total = score(model, leaf, target).sum()
        if not rule.count:
            raise ValueError(f"No ReLU ran in this {type(model).__name__}: there is nothing for {name} to change.")
        return gradient_of(total, leaf)


def said_if_zero(found: Tensor, method: str, cause: Callable[[int], str] = lambda n: USUAL) -> Tensor:
    """The same tensor; maps of zeros are said aloud, with their cause."""
    causes = defaultdict(list)
    for n in (~found.flatten(1).any(1)).nonzero()[:, 0].tolist():
        causes[cause(n)].append(str(n))
    for why, numbers in causes.items():
        which = "" if len(found) == 1 else f" for picture {', '.join(numbers)}"
        warn(f"{method} is zero everywhere{which}: {why}.")
    return found


def smoothgrad(model: nn.Module, x: Tensor, target: Target = None, *, level: float = 0.1, samples: int = 32,
               seed: int = 0, progress: bool = False) -> Tensor:  # fmt: skip
    """SmoothGrad, `(N,3,H,W)`: the mean gradient over noisy copies; `.abs().amax(1)` is its saliency map.
    `level` is the noise's deviation as a share of each picture's range. Smilkov et al. 2017, section 3; lesson 05."""
    if level < 0:
        raise ValueError(f"SmoothGrad's level of noise is 0 or more, not {level}.")
    x = x.detach()
    own = tuple(range(1, x.dim()))
    spread = (x.amax(own, keepdim=True) - x.amin(own, keepdim=True)) * level

    def noisy(sample: int) -> Tensor:  # the same noise for every picture of a batch
        noise = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed * 1_000_003 + sample))
        return x + spread * noise.to(x)

    mean = _mean_gradient(model, x, settled(model, x, target), noisy, [1 / samples] * samples, progress)
    return said_if_zero(mean, "SmoothGrad")


def integrated_gradients(model: nn.Module, x: Tensor, target: Target = None, *, baseline: Tensor | None = None,
                         steps: int | None = None, progress: bool = False) -> Tensor:  # fmt: skip
    """Integrated Gradients, `(N,3,H,W)`: the difference to a baseline times the mean gradient on the way from it.
    It sums up to `score(x) - score(baseline)` but for the error of `steps` Gauss-Legendre points: 96, and a warning if
    that is not enough for 1 %. `baseline`: normalised, by default black. Sundararajan et al. 2017, eq. 1, lesson 05."""
    x = x.detach()
    if baseline is None and x.shape[1] != 3:
        raise ValueError(f"Black is known for RGB only, and x is {tuple(x.shape)}: give a baseline that fits it.")
    start = (black(model, x) if baseline is None else baseline).detach().to(x).expand_as(x)
    target = settled(model, x, target)
    shares, weights = _gauss_legendre(96 if steps is None else steps)
    mean = _mean_gradient(model, x, target, lambda i: start + shares[i] * (x - start), weights, progress)
    found = (x - start) * mean
    if steps is None:
        with torch.no_grad():
            rise = score(model, x, target) - score(model, start.contiguous(), target)
        off = ((found.flatten(1).sum(1) - rise).abs() / rise.abs().clamp(min=1e-12)).max()
        if off > 0.01:
            warn(f"After {len(shares)} steps the sum is {off:.1%} off; give more steps.")
    return found


def _gauss_legendre(steps: int) -> tuple[list[float], list[float]]:
    """Places between 0 and 1, and their weights, which add up to 1."""
    places, weights = np.polynomial.legendre.leggauss(steps)
    return ((places + 1) / 2).tolist(), (weights / 2).tolist()


def _mean_gradient(model, x, target, pictures: Callable[[int], Tensor], weights: list[float], progress) -> Tensor:
    """The mean over i, by weights, of the gradient at `pictures(i)`; of what is done, if it is stopped."""
    total, used, weights = torch.zeros_like(x), 0.0, x.new_tensor(weights)
    order = torch.randperm(len(weights), generator=torch.Generator().manual_seed(0))  # fair if it is stopped
    size = batch_for(x.device)
    with stoppable(len(weights), progress) as bar:
        for part in order.split(max(1, size // len(x))):
            jobs = zip(torch.cat([pictures(i) for i in part.tolist()]).split(size),
                       (torch.arange(len(part) * len(x)) % len(x)).split(size), strict=True)  # fmt: skip
            found = torch.cat([score_and_gradient(model, some, of_rows(target, n.tolist()))[1] for some, n in jobs])
            total += torch.tensordot(weights[part], found.view(len(part), *x.shape), 1)
            used += weights[part].sum()
            bar.update(len(part))
    return total / used


def path(model: nn.Module, x: Tensor, target: Target, steps: int) -> tuple[Tensor, list[PathPoint], Tensor]:
    """Integrated Gradients of one picture, a walk from black: pictures `(P,3,H,W)`, P points, maps so far `(P,H,W)`.
    A point: share of the way (0 black, 1 the picture), score of the picture there, sum of the map so far."""
    shares, weights = _gauss_legendre(steps)
    shares, weights = [0.0, *shares, 1.0], x.new_tensor([0.0, *weights, 0.0]).view(-1, 1, 1)
    start = black(model, x)
    way = torch.cat([start + share * (x - start) for share in shares])
    scores, slopes = in_batches(partial(score_and_gradient, model, target=target), way)
    maps = (weights * (slopes * (x - start)).sum(1)).cumsum(0)
    return way, [PathPoint(*p) for p in zip(shares, scores.tolist(), maps.sum((1, 2)).tolist(), strict=True)], maps


class _Relu(torch.autograd.Function):
    """ReLU, with the top of a ReLU6, whose backward follows a rule; in place where the original is."""
    @staticmethod
    def forward(ctx, x: Tensor, top: float, rule: str, in_place: bool) -> Tensor:
        out = F.hardtanh(x, 0.0, top, in_place)
        if in_place:
            ctx.mark_dirty(x)
            out = x  # within another block the call above returns a new object for the same memory
        ctx.rule, ctx.top = rule, top
        if rule != "deconvnet":
            ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor):
        if ctx.rule != "deconvnet":  # PyTorch's own backward: 0 where the output is 0 or at the top, whatever arrives
            gradient = torch.ops.aten.hardtanh_backward(gradient, *ctx.saved_tensors, 0, ctx.top)
        if ctx.rule != "gradient":
            gradient = gradient.clamp(min=0)
        return gradient, None, None, None


class relu_rule(TorchFunctionMode):
    """Change how gradients pass back through every ReLU that runs in the `with` block; no value changes forwards.
    With a the ReLU's output and g the gradient from above: "gradient" g*[a>0], "deconvnet" g*[g>0], "guided"
    g*[a>0]*[g>0]. ReLUs are caught as functions while they run: functional, in-place and shared ones are covered; one
    written as `clamp` or `where`, or in TorchScript, is not: compare `.count`. Springenberg et al. 2015; lesson 07."""
    # every spelling of a ReLU ends in one of these calls, with or without a dash
    RELUS = dict(relu=("input", "inplace"), relu6=("input", "inplace"),
                 hardtanh=("input", "min_val", "max_val", "inplace"),
                 threshold=("input", "threshold", "value", "inplace"))  # fmt: skip
    OTHERS = frozenset("silu swish gelu elu celu selu leaky_relu prelu rrelu hardswish mish softplus tanh "
                       "softsign log_sigmoid tanhshrink hardshrink softshrink glu".split())  # fmt: skip

    def __init__(self, rule: str):
        super().__init__()
        self.rule, self.count, self.gate = rule, 0, ()  # gate: the last sigmoid's input and output
        if rule not in ("gradient", "deconvnet", "guided"):
            raise ValueError(f"The ReLU rules are 'gradient', 'deconvnet' and 'guided', not {rule!r}.")

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        spelled = getattr(func, "__name__", "").split(".")[0]  # an operator's overload is called "relu.default"
        name = spelled.strip("_")
        if name in self.RELUS:
            given = dict(zip(self.RELUS[name], args, strict=False)) | kwargs
            low = given.get("min_val", -1.0) if name == "hardtanh" else 0
            top = {"relu6": 6.0, "hardtanh": float(given.get("max_val", 1.0))}.get(name, torch.inf)
            if low == given.get("threshold", 0) == given.get("value", 0) == 0:
                self.count += 1
                return _Relu.apply(given["input"], top, self.rule, spelled.endswith("_") or given.get("inplace", False))
        if name == "mul" and self.gate and set(map(id, args)) == set(map(id, self.gate)):
            name = "swish"  # values times their own sigmoid
        if self.rule != "gradient" and (name in self.OTHERS or name in self.RELUS):
            raise ValueError(f"This net uses {name}, and the {self.rule} rule is defined for ReLU only: its map would "
                             "be half plain gradient. Take a net with ReLUs, or the plain gradient (vh.saliency).")
        out = func(*args, **kwargs)
        if name == "sigmoid":
            self.gate = args[0], out  # kept, so that no other tensor gets the same id
        return out


def segment_from_saliency(image, saliency_map: Tensor | Sequence) -> Tensor:
    """The object cut out by GrabCut, started from the most and the least salient pixels: mask `(H,W)`, bool.
    The map `(H,W)` is blurred by 1/32 of the side. Its top 5 % are certainly object, its lowest 30 % certainly
    background (Simonyan et al. 2014, section 3.2), for five rounds of GrabCut (Rother et al. 2004). Lesson 05."""
    import cv2
    pixels = np.asarray(load_image(image))[..., ::-1].copy()
    heat = torch.as_tensor(saliency_map).detach().float().cpu().numpy()
    if heat.shape != pixels.shape[:2]:
        raise ValueError(f"The map is {heat.shape} but the picture is {pixels.shape[:2]}: make them one size.")
    heat = cv2.GaussianBlur(heat, (0, 0), max(1.0, heat.size**0.5 / 32))
    low, likely, high = np.quantile(heat, [0.3, 0.9, 0.95])
    if not (np.isfinite(heat).all() and low < high):
        raise ValueError("The map is too flat to start GrabCut from, or not finite: is it all zeros, or are there NaN?")
    labels = np.where(heat > likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)  # GrabCut may move these
    labels[heat >= high], labels[heat <= low] = cv2.GC_FGD, cv2.GC_BGD
    cv2.setRNGSeed(0)
    cv2.grabCut(pixels, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    return torch.from_numpy((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))
