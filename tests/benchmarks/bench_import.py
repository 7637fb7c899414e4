"""What `import vizhelpers` adds to `import torch, torchvision`: median of seven fresh processes.

    python tests/benchmarks/bench_import.py
"""
import subprocess
import sys
from statistics import median

CODE = """
import time, torch
from torch.library import Library
try:
    import torchvision
except RuntimeError:  # CPU torch beside a CUDA torchvision: declared by hand, so that only vizhelpers is timed
    import sys
    for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision
start = time.perf_counter()
import vizhelpers
print(time.perf_counter() - start)
"""

if __name__ == "__main__":
    spent = [float(subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout)
             for _ in range(7)]  # fmt: skip
    print(f"import vizhelpers adds {median(spent):.2f} s (target: under 0.5 s)")
