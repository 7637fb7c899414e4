"""What channels_last and batching save: milliseconds a picture at 224 px, in turns within one run.

    python tests/benchmarks/bench_forward.py
"""
from statistics import median
from time import perf_counter

import torch

import vizhelpers as vh


def milliseconds(net, x) -> float:
    start = perf_counter()
    with torch.inference_mode():
        net(x)
    return 1e3 * (perf_counter() - start) / len(x)


if __name__ == "__main__":
    print(f"{torch.get_num_threads()} threads on {vh.device()}; ms a picture, median of 9 rounds")
    for name in ("squeezenet1_1", "alexnet", "vgg16", "efficientnet_lite0"):
        last = vh.load_model(name, device="cpu")
        plain = vh.load_model(name, device="cpu").to(memory_format=torch.contiguous_format)
        cases = {}
        for count in (1, 8, 16, 32):
            x = torch.randn(count, 3, 224, 224)
            cases[f"default, batch {count}"] = plain, x
            cases[f"channels_last, batch {count}"] = last, x.to(memory_format=torch.channels_last)
        spent = {case: [] for case in cases}
        for _ in range(10 if name != "vgg16" else 4):
            for case, (net, x) in cases.items():  # in turns, so that a busy moment hits all alike
                if name != "vgg16" or len(x) <= 8:
                    spent[case].append(milliseconds(net, x))
        base = median(spent["default, batch 1"][1:])
        for case, values in spent.items():
            if values:
                best = median(values[1:])
                print(f"{name:20s} {case:28s} {best:6.1f} ms   {base / best:4.1f}x of default, batch 1")
