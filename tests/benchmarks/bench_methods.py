"""What a method costs beside its bare passes, and beside captum, pytorch-grad-cam and torch-cam: in turns, in one run.

    python tests/benchmarks/bench_methods.py [--net squeezenet1_1 vgg16] [--only occlusion ...] [--rounds 5]

Every rival runs once at each of its settings (batch size; the net as torchvision gives it, or channels_last as ours);
its fastest in either layout then runs in turns with ours and with the bare passes, and the ratios are medians over the
rounds. vgg16 is VGG16-shaped, with random weights.
"""
from __future__ import annotations

import argparse
import contextlib
import copy
import io
import os
import warnings
from statistics import median
from time import perf_counter, process_time

import torch
from torch import nn

import vizhelpers as vh

TARGET, SAMPLES, PATCH, STRIDE = 105, 32, 16, 16  # 196 positions
BATCH = 8  # of SmoothGrad and IG here, for ours and for the bare passes
GOALS = {"saliency": (1.10, 1), "guided_backprop": (1.10, 1), "grad_cam": (1.10, 1), "grad_cam_plus_plus": (1.10, 1),
         "smoothgrad": (None, 1.5), "integrated_gradients": (None, 1.5), "occlusion": (None, 2.5)}  # fmt: skip


clock = perf_counter


def forward_backward(net, x, times=1):
    for _ in range(times):
        leaf = x.detach().clone().requires_grad_(True)
        torch.autograd.grad(net(leaf)[:, TARGET].sum(), leaf)


def to_the_layer(net, x, layer):
    """The least that Grad-CAM needs: forward, and backward to the layer only."""
    kept = []

    def cut(module, args, out):
        kept.append(out.detach().requires_grad_(True))
        return kept[0].clone()

    handle = net.get_submodule(layer).register_forward_hook(cut)
    try:
        torch.autograd.grad(net(x)[:, TARGET].sum(), kept[0])
    finally:
        handle.remove()


def forward(net, x, times):
    with torch.inference_mode():
        for _ in range(times):
            net(x)


def ours(net, x, layer):
    size = dict(patch=PATCH, stride=STRIDE)
    return {
        "saliency": lambda: vh.saliency(net, x, TARGET),
        "guided_backprop": lambda: vh.guided_backprop(net, x, TARGET),
        "grad_cam": lambda: vh.grad_cam(net, x, TARGET, layer=layer),
        "grad_cam_plus_plus": lambda: vh.grad_cam_plus_plus(net, x, TARGET, layer=layer),
        "smoothgrad": lambda: vh.smoothgrad(net, x, TARGET, samples=SAMPLES),
        "integrated_gradients": lambda: vh.integrated_gradients(net, x, TARGET, steps=SAMPLES),
        "occlusion": lambda: vh.occlusion(net, x, TARGET, **size),
    }


def bare(net, x, layer):
    def many(n):
        return x.repeat(n, 1, 1, 1).contiguous(memory_format=torch.channels_last)

    eight, fourteen = many(BATCH), many(14)
    gradient, cam = (lambda: forward_backward(net, x)), (lambda: to_the_layer(net, x, layer))
    samples = lambda: forward_backward(net, eight, SAMPLES // BATCH)  # noqa: E731
    return {"saliency": gradient, "guided_backprop": gradient, "grad_cam": cam, "grad_cam_plus_plus": cam,
            "smoothgrad": samples, "integrated_gradients": samples,
            "occlusion": lambda: forward(net, fourteen, 14)}  # fmt: skip


def rivals(net, x, layer):
    """Method -> {who and how: call}, for one layout of the weights.

    The others get a net without in-place ReLUs, which some of them cannot take.
    """
    from captum import attr
    from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, GuidedBackpropReLUModel
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from torchcam import methods as torchcam

    plain = copy.deepcopy(net).requires_grad_(True)  # pytorch-grad-cam and torch-cam need it
    for module in plain.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    module = plain.get_submodule(layer)
    theirs = copy.deepcopy(plain)  # guided backprop of pytorch-grad-cam leaves other ReLU modules behind
    leaf = lambda: x.clone().requires_grad_(True)  # noqa: E731

    def library(kind):
        def call():
            with kind(model=plain, target_layers=[module]) as cam:
                cam(input_tensor=x, targets=[ClassifierOutputTarget(TARGET)])
        return call

    def torch_cam(kind):
        def call():
            with kind(plain, target_layer=layer) as extract:
                extract(TARGET, plain(leaf()))
        return call

    def captum_cam():
        attr.LayerGradCam(plain, module).attribute(x, target=TARGET, relu_attributions=True)

    def noise(batch):
        return lambda: attr.NoiseTunnel(attr.Saliency(net)).attribute(
            leaf(), nt_type="smoothgrad", nt_samples=SAMPLES, nt_samples_batch_size=batch, stdevs=0.6, target=TARGET,
            abs=False)  # fmt: skip

    def path(batch):
        return lambda: attr.IntegratedGradients(net).attribute(
            x, 0, target=TARGET, n_steps=SAMPLES, internal_batch_size=batch)  # fmt: skip

    def hide(batch):
        def call():
            with torch.inference_mode():
                attr.Occlusion(net).attribute(x, (3, PATCH, PATCH), strides=(3, STRIDE, STRIDE), target=TARGET,
                                              baselines=0, perturbations_per_eval=batch)  # fmt: skip
        return call

    return {
        "saliency": {"captum": lambda: attr.Saliency(net).attribute(leaf(), target=TARGET)},
        "guided_backprop": {
            "captum": lambda: attr.GuidedBackprop(plain).attribute(leaf(), target=TARGET),
            "pytorch-grad-cam": lambda: GuidedBackpropReLUModel(theirs, torch.device("cpu"))(x, TARGET),
        },
        "grad_cam": {"captum": captum_cam, "pytorch-grad-cam": library(GradCAM),
                     "torch-cam": torch_cam(torchcam.GradCAM)},
        "grad_cam_plus_plus": {"pytorch-grad-cam": library(GradCAMPlusPlus),
                               "torch-cam": torch_cam(torchcam.GradCAMpp)},
        "smoothgrad": {f"captum, batch {b}": noise(b) for b in (1, 4, 8, 16, 32)},
        "integrated_gradients": {f"captum, batch {b}": path(b) for b in (1, 4, 8, 16, 32)},
        "occlusion": {f"captum, batch {b}": hide(b) for b in (1, 4, 8, 16)},
    }  # fmt: skip


def seconds(call) -> float:
    start = clock()
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        call()
    return clock() - start


def compare(name: str, only: list[str], rounds: int) -> None:
    net = vh.load_model(name, weights="random" if name == "vgg16" else "auto", device="cpu")
    x = vh.to_input("koala", net)
    layer = vh.cam_layer(net, x)
    given = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
    mine, least = ours(net, x, layer), bare(net, x, layer)
    layouts = {"": rivals(given, x.contiguous(), layer), ", channels_last": rivals(net, x, layer)}
    for method in only:
        calls = {"ours": mine[method], "bare": least[method]}
        for call in calls.values():
            call()  # warm: kernels chosen, receptive fields known
        for layout, others in layouts.items():
            tried = {}
            for who, call in others[method].items():
                first = seconds(call)
                tried[who] = min(first, seconds(call)) if first < 5 else first
            best = min(tried, key=tried.get)
            calls[best + layout] = others[method][best]
        spent = {who: [] for who in calls}
        repeats = rounds * min(9, max(1, round(0.3 / min(tried.values()))))  # short ones more often
        for _ in range(repeats):
            for who, call in calls.items():  # in turns, so that a busy moment hits all alike
                spent[who].append(seconds(call))

        def ratio(a, b, spent=spent):
            return median(p / q for p, q in zip(spent[a], spent[b], strict=True))

        goal_bare, goal = GOALS[method]
        wish = f"goal: at most {goal_bare} of bare" if goal_bare else f"goal: {goal}x the rival"
        others = "; ".join(f"{who} takes {ratio(who, 'ours'):.2f}x as long" for who in list(calls)[2:])
        print(f"{name:14s} {method:21s} {1e3 * median(spent['ours']):8.1f} ms = {ratio('ours', 'bare'):.2f} of bare; "
              f"{others}   ({wish}; {repeats} rounds)", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", nargs="+", default=["squeezenet1_1", "vgg16"])
    parser.add_argument("--only", nargs="+", default=list(GOALS), choices=list(GOALS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--busy", action="store_true", help="one thread, processor time: for a machine in use")
    options = parser.parse_args()
    if options.busy:
        global clock
        clock = process_time
        torch.set_num_threads(1)
    print(f"{torch.get_num_threads()} threads, {clock.__name__}, load {os.getloadavg()[0]:.1f} at the start")
    for name in options.net:
        compare(name, options.only, options.rounds)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
