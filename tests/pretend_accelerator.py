"""A pretend accelerator for machines without one: device "toy", whose tensors hold CPU data.

Everything runs on the CPU, but PyTorch sees another device: a tensor made without `device=`, a mask or an index that
stayed on the CPU, a `.numpy()` without `.cpu()` raise here as they would on CUDA. Values must equal the CPU's exactly.
"""

import torch
import torch.utils.backend_registration as registration
from torch.utils._pytree import tree_leaves, tree_map

registration._setup_privateuseone_for_python_backend("toy")
DEVICE = torch.device("toy", 0)


class Toy(torch.Tensor):
    @staticmethod
    def __new__(cls, raw):
        return torch.Tensor._make_wrapper_subclass(
            cls, raw.shape, strides=raw.stride(), storage_offset=raw.storage_offset(), dtype=raw.dtype, device=DEVICE
        )

    def __init__(self, raw):
        self.raw = raw

    def __repr__(self):
        return f"Toy({self.raw})"

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return run(function, args, kwargs or {})


MAY_MIX = ("aten::_to_copy", "aten::copy_", "aten::index", "aten::_index_put", "aten::index_put", "aten::_unsafe_index")


def run(function, args, kwargs):
    name, wish = function.name(), kwargs.get("device")
    leaves = tree_leaves((args, kwargs))
    toys = [a for a in leaves if isinstance(a, Toy)]
    others = [a for a in leaves if isinstance(a, torch.Tensor) and not isinstance(a, Toy) and a.dim() > 0]
    if toys and others and not name.startswith(MAY_MIX):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found toy:0 and cpu! ({name})")
    here = tree_map(lambda a: a.raw if isinstance(a, Toy) else a, (args, dict(kwargs)))
    stays = bool(toys)
    if name.startswith(("aten::index", "aten::_index_put", "aten::_unsafe_index")):
        if not isinstance(args[0], Toy) and toys:
            raise RuntimeError(
                f"indices should be either on cpu or on the same device as the indexed tensor (cpu) ({name})"
            )
    if name.startswith("aten::copy_"):
        stays = isinstance(args[0], Toy)
    if wish is not None:
        stays = torch.device(wish).type == "toy"
        here[1]["device"] = torch.device("cpu")
    with torch.utils._python_dispatch._disable_current_modes():
        out = function(*here[0], **here[1])

    def back(t):
        if not isinstance(t, torch.Tensor) or isinstance(t, Toy) or not stays:
            return t
        same = [toy for toy in toys if toy.raw is t]
        return same[0] if same else Toy(t)

    return tree_map(back, out)


_library = torch.library.Library("_", "IMPL")


def _fallback(function, *args, **kwargs):
    return run(function, args, kwargs)


_library.fallback(_fallback, "PrivateUse1")

# what PyTorch does in C++ before a subclass is asked: made on the CPU, then moved
_make, _as = torch.tensor, torch.as_tensor


def _moved(make):
    def made(data, *args, device=None, **options):
        if device is not None and torch.device(device).type == "toy":
            return data if isinstance(data, Toy) and make is _as else make(data, *args, **options).to("toy")
        return make(data, *args, **({} if device is None else {"device": device}), **options)

    return made


torch.tensor, torch.as_tensor = _moved(_make), _moved(_as)
Toy.new_tensor = lambda self, data, dtype=None, device=None, **k: torch.tensor(
    data, dtype=dtype or self.dtype, device=device or self.device
)
Toy.tolist = lambda self: self.detach().cpu().tolist()


class _NoGrad(torch.no_grad):  # wrapper subclasses know no inference tensors
    def __init__(self, mode=True):
        super().__init__()
        self.mode = mode

    def __enter__(self):
        if self.mode:
            super().__enter__()

    def __exit__(self, *args):
        if self.mode:
            super().__exit__(*args)

    def __new__(cls, mode=True):
        return super().__new__(cls)

    def clone(self):
        return type(self)(self.mode)


torch.inference_mode = _NoGrad
