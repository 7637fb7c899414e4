"""Every public function and explorer on a pretend accelerator (pretend_accelerator.py): the CPU's numbers, bit for bit.

    python tests/any_machine.py        # tests/test_any_machine.py runs it in a process of its own

A mask, an index or a scalar that stayed on the CPU raises here as it would on CUDA. Prints what is not equal, and how
many were tried, equal and left out with the reason.
"""

import copy
import sys
import warnings

import torch  # the pretend device must be there before PyTorch's first backward pass
from pretend_accelerator import DEVICE
from torch import nn

torch.toy.get_amp_supported_dtype = lambda: [torch.bfloat16]
torch.toy.is_autocast_enabled = lambda: False

import calls as table  # noqa: E402

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


def leaves(value) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value.detach().cpu()]
    if hasattr(value, "images") and hasattr(value, "result"):  # an explorer: its pictures and its numbers
        return [torch.frombuffer(bytearray(image.value), dtype=torch.uint8) for image in value.images] + leaves(
            value.result
        )
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [leaf for part in parts for leaf in leaves(part)]


def main() -> int:
    warnings.simplefilter("ignore")
    calls = table.calls()
    calls |= explorers(calls["predict"]["model"], calls["predict"]["x"])
    names, wrong = [name for name in calls if name not in LEFT_OUT], 0
    for name in names:
        torch.manual_seed(0)
        here = leaves(getattr(vh, name)(**calls[name]))
        try:
            torch.manual_seed(0)
            there = leaves(getattr(vh, name)(**{key: moved(value) for key, value in calls[name].items()}))
            same = len(here) == len(there) and all(
                a.shape == b.shape and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
                for a, b in zip(here, there, strict=True)
            )
            said = "other numbers"
        except Exception as error:
            same, said = False, f"{type(error).__name__}: {error}"
        if not same:
            wrong += 1
            print(f"{name}: {said}"[:400].replace("\n", " "))
    print(f"{len(names)} tried, {len(names) - wrong} equal; left out:")
    print(*(f"  {name}: {why}" for name, why in LEFT_OUT.items()), sep="\n")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
