"""Every public function and explorer on a pretend accelerator (pretend_accelerator.py): the CPU's numbers, bit for bit.

    python tests/any_machine.py        # tests/test_any_machine.py runs it in a process of its own

A mask, an index or a scalar that stayed on the CPU raises here as it would on CUDA. Prints what is not equal, and how
many were tried, equal and left out with the reason.
"""

import copy
import inspect
import sys
import warnings

import numpy as np
import torch  # the pretend device must be there before PyTorch's first backward pass
from pretend_accelerator import DEVICE
from torch import nn

torch.toy.get_amp_supported_dtype = lambda: [torch.bfloat16]
torch.toy.is_autocast_enabled = lambda: False

import calls as table  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from PIL import Image  # noqa: E402

import vizhelpers as vh  # noqa: E402

LEFT_OUT = table.LEFT_OUT | {
    "sanity_check": "the pretend tensors ignore `parameter.data = ...`, by which weights are lent",
    "scoreboard": "the same",
    "explore_trust": "the same",
    "explore_synthesis": "needs the whole VGG16",
    "explore_style": "the same",
    "explore_embedding": "takes results",
    "explore_stimuli": "needs a net of 1000 classes",
    "explore_observer": "no net",
    "read_provenance": "reads a file",
    "read_answers": "reads a file",
    "read_shards": "the same",
    "load_model": "takes a device, which is not this one",
}


def explorers(net, x) -> dict:
    picture = {"a picture": vh.load_image("koala").resize((40, 32))}
    return {
        "explore_predictions": dict(model=net, images=picture),
        "explore_filters": dict(models=net, image=picture["a picture"]),
        "explore_features": dict(model=net, images=picture),
        "explore_saliency": dict(model=net, images=picture, steps=2),
        "explore_relu_rules": dict(model=net, images=picture),
        "explore_cam": dict(model=net, images=picture),
        "explore_methods": dict(model=net, image=picture),
        "explore_fooling": dict(model=net, images=picture, target="class 2", steps=2),
        "explore_occlusion": dict(model=net, image=picture["a picture"], patch=56, stride=28),
        "explore_patches": dict(model=net, x=x, layers=["3"], count=2, progress=False),
        "explore_deconvnet": dict(model=net, x=x, layers=["3"], count=2, progress=False),
    }


def moved(value):
    if isinstance(value, torch.Tensor):
        return value.to(DEVICE)
    if isinstance(value, nn.Module):
        value = copy.deepcopy(value)
        for module in value.modules():
            for name, p in module._parameters.items():
                if p is not None:
                    module._parameters[name] = nn.Parameter(p.data.to(DEVICE), requires_grad=p.requires_grad)
            for name, b in module._buffers.items():
                module._buffers[name] = b if b is None else b.to(DEVICE)
    return value


def leaves(value) -> list:
    """Everything that a result holds: tensors, arrays and pictures as arrays, figures as their pixels, plain values."""
    if isinstance(value, torch.Tensor):
        return [value.detach().cpu().numpy()]
    if isinstance(value, Axes):
        value.figure.canvas.draw()
        return [np.asarray(value.figure.canvas.buffer_rgba()).copy()]
    if isinstance(value, Image.Image):
        return [np.asarray(value)]
    if isinstance(value, np.ndarray) and value.dtype != object:
        return [value]
    if hasattr(value, "images") and hasattr(value, "result"):  # an explorer: its pictures and its numbers
        return [image.value for image in value.images] + leaves(value.result)
    if isinstance(value, nn.Module):
        return leaves(list(value.state_dict().values()))
    if isinstance(value, dict):
        return [leaf for key, part in value.items() for leaf in [key, *leaves(part)]]
    if isinstance(value, (list, tuple, np.ndarray)):
        return [leaf for part in value for leaf in leaves(part)]
    return leaves(vars(value)) if hasattr(value, "__dataclass_fields__") else [value]


def same(a, b) -> bool:
    """Equal to the last bit, NaN beside NaN."""
    if isinstance(a, np.ndarray) or isinstance(a, float):
        return bool(np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind in "fc"))
    return a == b


def main() -> int:
    warnings.simplefilter("ignore")
    calls = table.calls()
    calls |= explorers(calls["predict"]["model"], calls["predict"]["x"])
    public = {name for name in vh.__all__ if name.startswith("explore_") or inspect.isfunction(getattr(vh, name))}
    if forgotten := public - {*calls, *LEFT_OUT}:
        sys.exit(f"neither tried nor left out with a reason: {', '.join(sorted(forgotten))}")
    names, wrong = [name for name in calls if name not in LEFT_OUT], 0
    for name in names:
        torch.manual_seed(0)
        here = leaves(getattr(vh, name)(**calls[name]))
        try:
            torch.manual_seed(0)
            there = leaves(getattr(vh, name)(**{key: moved(value) for key, value in calls[name].items()}))
            equal, said = len(here) == len(there) > 0 and all(map(same, here, there)), "other numbers"
        except Exception as error:
            equal, said = False, f"{type(error).__name__}: {error}"
        if not equal:
            wrong += 1
            print(f"{name}: {said}"[:400].replace("\n", " "))
    print(f"{len(names)} tried, {len(names) - wrong} equal; left out:")
    print(*(f"  {name}: {why}" for name, why in LEFT_OUT.items()), sep="\n")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
