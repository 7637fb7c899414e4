"""What a net is asked: its classes and labels, a `Neuron`, and the score of either that a method explains."""
import difflib
import operator
from collections import namedtuple
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .device import channels_of, device_of, in_short, info_of, warn
from .hooks import capture, check_channel, evaluating, maps_of, outputs_until, with_gradients


class Neuron(NamedTuple):
    """A channel of a layer (the mean of its map) or, with row and column, a unit, in place of a class. Lesson 07."""
    layer: str | nn.Module
    channel: int
    row: int | None = None
    column: int | None = None


Target = int | str | Sequence | Tensor | Neuron | None
Answers = namedtuple("Answers", "count kind")  # of classes; outputs are "logits", "one logit" or "probabilities"
_known: WeakKeyDictionary[nn.Module, tuple] = WeakKeyDictionary()  # net -> what its last trial showed
Prediction = namedtuple("Prediction", "label probability index logit")  # one line of a net's answer


def layer_names(model: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...] | None = None) -> list[str]:
    """Dotted names of the layers of these kinds (default: all without parts), in the order of definition. Lesson 00."""
    return [name for name, module in model.named_modules() if name
            and (isinstance(module, kinds) if kinds else next(module.children(), None) is None)]  # fmt: skip


def categories(model: nn.Module, count: int | None = None) -> tuple[str, ...]:
    """Names of the net's (`count`) outputs: its own (`.viz`), ImageNet's for 1000, else "class 0", ... Lesson 00."""
    count = answers_of(model).count if count is None else count
    own = getattr(info_of(model), "categories", ())
    if len(own) == count:  # a list of another length belongs to another head
        return own
    return imagenet_categories() if count == 1000 else tuple(f"class {i}" for i in range(count))


def imagenet_categories() -> tuple[str, ...]:
    from torchvision.models._meta import _IMAGENET_CATEGORIES
    return tuple(_IMAGENET_CATEGORIES)


def class_index(model: nn.Module, target: int | str) -> int:
    """The number of a class given by number or by label: in any case, all of it or a part that only one has."""
    return _index(categories(model), target)


def _index(labels: Sequence[str], target: int | str) -> int:
    if not isinstance(target, str):
        if isinstance(target, bool) or not hasattr(target, "__index__"):
            raise ValueError(f"A class is a whole number or a label, not {target!r}.")
        index = operator.index(target)
        if not 0 <= index < len(labels):
            raise ValueError(f"There is no class {index}: this net's classes go from 0 to {len(labels) - 1}.")
        return index
    wanted, lower = target.strip().lower(), [label.lower() for label in labels]
    found = [i for i, label in enumerate(lower) if label == wanted]
    found = found or [i for i, label in enumerate(lower) if wanted and wanted in label]
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(f"{i} {labels[i]!r}" for i in found[:6])
        raise ValueError(f"{len(found)} classes match {target!r}: {some} ...; give the number or the whole label.")
    near = difflib.get_close_matches(wanted, lower, n=4, cutoff=0.4) or lower[:3]
    raise ValueError(f"No class is called {target!r}; nearest: {', '.join(map(repr, near))}.")


def resolve_target(model: nn.Module, target: int | str | Sequence[int | str] | Tensor, n: int, count=None) -> Tensor:
    """A class number for each of n pictures, LongTensor `(n,)` on its device, from one target or n. Lesson 05."""
    targets = target.tolist() if hasattr(target, "tolist") else target  # of a tensor or an array
    if isinstance(targets, str) or not isinstance(targets, Sequence):
        targets = [targets] * n
    if len(targets) != n:
        raise ValueError(f"There are {len(targets)} targets for {n} pictures: give one for all, or one for each.")
    labels = categories(model, count)
    return torch.tensor([_index(labels, t) for t in targets], dtype=torch.long, device=device_of(model))


def settled(model: nn.Module, x: Tensor, target: Target) -> Neuron | Tensor:
    """A target that stays while the picture changes: a `Neuron` or class numbers `(N,)`; None: each picture's own."""
    if isinstance(target, Neuron):
        return target
    if target is not None:
        return resolve_target(model, target, len(x), answers_of(model, x).count)
    with torch.no_grad():
        return class_scores(model, x).argmax(1)


def of_rows(target: Neuron | Tensor, rows: Sequence[int]) -> Neuron | Tensor:
    """What `settled` gave, for these pictures of the batch, in this order."""
    return target if isinstance(target, Neuron) else target[torch.tensor(rows, device=target.device)]


def answers_of(model: nn.Module, x: Tensor | None = None) -> Answers:
    """How many classes a net has and what its outputs are taken for, by a trial pass; one for each state of it."""
    parts = [*model.modules()][1:], [p.shape for p in model.parameters()]
    if _known.get(model, (None,))[0] != parts:
        _known[model] = parts, _trial(model, x)
    return _known[model][1]


def _trial(model: nn.Module, x: Tensor | None) -> Answers:
    like, sides = next(model.parameters(), torch.zeros(())), (getattr(info_of(model), "input_size", 224), 32, 28)
    tries = [like.new_ones(1, channels_of(model), side, side) for side in sides]  # pictures that a net might take
    for one in tries if x is None else [x[:1].to(device_of(model))]:
        try:
            with with_gradients(), evaluating(model):
                raw = model(one.detach().clone().requires_grad_(True))
            break
        except (RuntimeError, AssertionError, IndexError, TypeError, AttributeError) as error:
            problem = f"{type(model).__name__} does not run on {tuple(one.shape)} ({in_short(error)})"
    else:
        raise ValueError(f"{problem}: vh.to_input(picture, net) makes an input that fits, of the size in net.viz.")
    out = _class_tensor(model, raw, 1)
    step = out.grad_fn
    while step is not None and step.name().startswith(("View", "Squeeze", "Reshape", "Unsafe", "Select", "ToCopy")):
        step = step.next_functions[0][0]
    shares = out.shape[1] > 1 and bool((out >= 0).all()) and abs(float(out.detach().sum()) - 1) < 1e-4
    if shares or (step is not None and step.name().startswith(("Softmax", "Sigmoid"))):
        kind, said = "probabilities", "outputs, which end in softmax or sigmoid, are taken for probabilities"
    elif out.shape[1] == 1:
        kind, said = "one logit", "output is taken for the logit of class 1 against class 0"
    else:
        return Answers(out.shape[1], "logits")
    warn(f"This {type(model).__name__}'s {said}: a score is that.")
    return Answers(max(out.shape[1], 2), kind)


def _class_tensor(model: nn.Module, out, count: int) -> Tensor:
    """The class scores `(N,C)` in what a net returns: itself, `.logits`, or the only such tensor in a container."""
    info = getattr(model, "viz", None)  # its own: around a wrapped one there may be another head
    if not getattr(info, "has_classifier", True):
        raise ValueError(f"This {info.name} holds only its convolutions, so it has no class scores: use "
                         f"load_model('{info.name}', weights='IMAGENET1K_V1') or squeezenet1_1.")  # fmt: skip
    parts = out if isinstance(out, dict) else getattr(out, "__dict__", {})
    parts = dict(enumerate(out)) if isinstance(out, tuple | list) else parts
    out = getattr(out, "logits", parts.get("logits", out))
    if isinstance(out, Tensor) and out.dim() == 4 and out.shape[2:] == (1, 1):
        out = out.flatten(1)
    found = {key: part for key, part in parts.items() if isinstance(part, Tensor) and part.shape[:-1] == (count,)}
    if not isinstance(out, Tensor) and len(found) == 1:
        (out,) = found.values()
    if not isinstance(out, Tensor) or out.shape[:-1] != (count,):
        what = tuple(out.shape) if isinstance(out, Tensor) else f"a {type(out).__name__}"
        several = "".join(f"; {key!r} {tuple(part.shape)}" for key, part in found.items())
        raise ValueError(f"{type(model).__name__} returns {what}, not class scores (N,C){several}: take a net that "
                         "has them, or wrap it in a module whose forward returns what you mean.")  # fmt: skip
    return out


def class_scores(model: nn.Module, x: Tensor) -> Tensor:
    """The net's logits `(N,C)` in eval mode, attached to the graph if gradients are recorded. Lesson 05.
    Of a net with one output z they are (-z, z); of one that ends in softmax or sigmoid its probabilities; both said."""
    with evaluating(model):
        out = _class_tensor(model, model(x), len(x))
    if out.isnan().any():
        raise ValueError(f"This {type(model).__name__} answers NaN: look for it in the input and in the weights.")
    if out.shape[1] == 1:
        out = torch.cat([1 - out if answers_of(model, x).kind == "probabilities" else -out, out], 1)
    return out if out.dtype == torch.float64 else out.float()


def probabilities(model: nn.Module, x: Tensor, scores: Tensor | None = None, *, log: bool = False) -> Tensor:
    """The classes' probabilities (or their logs), `(N,C)`, by what the net's outputs are taken for."""
    scores, kind = class_scores(model, x) if scores is None else scores, answers_of(model, x).kind
    if kind == "logits":
        return scores.log_softmax(1) if log else scores.softmax(1)
    if kind == "one logit":
        return nn.functional.logsigmoid(scores) if log else scores.sigmoid()
    return scores.clamp(min=torch.finfo(scores.dtype).tiny).log() if log else scores


def has_classes(model: nn.Module, x: Tensor) -> bool:
    """Whether a net puts out class scores for these pictures, by trying."""
    try:
        return bool(answers_of(model, x))
    except ValueError:
        return False


def predict(model: nn.Module, x: Tensor, *, top: int = 5) -> list[Prediction] | list[list[Prediction]]:
    """The most probable classes as (label, probability, index, logit), best first; a list of such lists for N > 1."""
    with torch.no_grad():
        logits = class_scores(model, x)
    labels, rows = categories(model, logits.shape[1]), []
    for row, chances in zip(logits, probabilities(model, x, logits), strict=True):
        best = chances.topk(min(top, len(chances))).indices.tolist()
        rows.append([Prediction(labels[i], chances[i].item(), i, row[i].item()) for i in best])
    return rows[0] if len(rows) == 1 else rows


def score(model: nn.Module, x: Tensor, target: Target = None, *, whole: bool = True) -> Tensor:
    """What a method explains, `(N,)`: the logit of the class or the `Neuron`'s value; attached to the graph. Lesson 05.
    `whole=False` ends the pass behind the `Neuron`'s layer: faster, but only a whole pass tells that it runs once."""
    if not isinstance(target, Neuron):
        scores = class_scores(model, x)
        count = scores.shape[1]  # what ran, not what was defined last
        wanted = scores.argmax(1) if target is None else resolve_target(model, target, len(x), count).to(scores.device)
        return scores.gather(1, wanted[:, None])[:, 0]
    layer, channel, *place = target
    with evaluating(model):
        if whole:
            with capture(model, layer) as acts:
                model(x)
            out = acts[layer]
        else:
            (out,) = outputs_until(model, x, layer).values()
    out = maps_of(out, x.shape[2:]) if out.dim() == 4 else out
    check_channel(layer, channel, out.shape[1])
    if place == [None, None]:
        return out[:, channel].flatten(1).mean(1) if out.dim() > 2 else out[:, channel]
    if None in place or out.dim() != 4 or not all(0 <= i < n for i, n in zip(place, out.shape[2:], strict=True)):
        raise ValueError(f"Layer {layer!r} gives {tuple(out.shape)}: it has no unit at row and column {tuple(place)}.")
    return out[:, channel, place[0], place[1]]


@contextmanager
def differentiable(model: nn.Module, x: Tensor) -> Iterator[Tensor]:
    """A leaf copy of x to take gradients at, whatever `no_grad`, `inference_mode` or frozen weights are around."""
    with with_gradients():
        yield x.detach().clone().requires_grad_(True)


def score_and_gradient(model: nn.Module, x: Tensor, target: Target = None) -> tuple[Tensor, Tensor]:
    """The score `(N,)` and its gradient with respect to the picture, `(N,3,H,W)`, signed; both detached."""
    with differentiable(model, x) as leaf:
        value = score(model, leaf, target)
        return value.detach(), gradient_of(value.sum(), leaf)


def gradient_of(total: Tensor, leaf: Tensor) -> Tensor:
    """The gradient of a number with respect to what it was made from, or a sentence where the net cuts the way."""
    found = torch.autograd.grad(total, leaf, allow_unused=True)[0] if total.requires_grad else None
    if found is None:
        raise ValueError("No gradient reaches the input: somewhere in the net's forward pass no_grad, detach or a step "
                         "without a derivative (argmax, rounding) cuts it off.")  # fmt: skip
    return found
