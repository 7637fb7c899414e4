"""Wrong arguments for every public function: does each call work or end in one sentence, does none hang?

    python tests/faults.py [TRIES] [SEED]      # `make faults`; prints each raw one; exit status 1 if there are any

A try takes a call that works and replaces one or two of its arguments (the first try of each function none). Raw is an
error that torch, numpy or Python raised and that nobody put into words, or a message of several lines or of more than
700 characters; a hang is a call of more than 20 seconds.
"""

import os
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from calls import LEFT_OUT, calls
from PIL import Image
from torch import nn

import vizhelpers as vh

plt.switch_backend("agg")
PACKAGE = str(Path(vh.__file__).parent)
LIMIT, MEMORY = 20, 16 * 2**30  # seconds, bytes


WRONG = [
    None,
    -1,
    0,
    10**9,
    2.5,
    -0.5,
    float("nan"),
    float("inf"),
    True,
    "",
    "nonsense",
    "x" * 5000,
    b"abc",
    [],
    [1, "a"],
    {},
    (1, 2, 3),
    (0, 0),
    (-1, 4),
    object(),
    lambda *a: a,
    np.zeros(0),
    np.ones((2, 3)),
    np.array(["a"]),
    torch.tensor(1.0),
    torch.empty(0),
    torch.zeros(3),
    torch.zeros(2, 3),
    torch.zeros(1, 1, 5, 5),
    torch.zeros(2, 3, 4, 4, 4),
    torch.full((2, 3, 32, 32), float("nan")),
    torch.ones(2, 3, 32, 32, dtype=torch.long),
    torch.ones(2, 5, 32, 32),
    torch.ones(2, 3, 32, 32, dtype=torch.complex64),
    torch.ones(2, 3, 32, 32).to_sparse(),
    torch.ones(3, 32, 32),
    torch.ones(2, 3, 32, 32, device="meta"),
    torch.ones(2, 3, 32, 32).half(),
    torch.nested.nested_tensor([torch.ones(2)]),
    nn.Linear(3, 3),
    nn.ReLU(),
    Path("/nowhere"),
    Image.new("L", (2, 2)),
    range(3),
    {"a": 1},
    [None],
    vh.Neuron("3", 99),
]


class Hang(BaseException):
    pass


def worded(error: BaseException) -> bool:
    """Whether an error was put into words here: raised in the package, in one line."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error)
    return last.filename.startswith(PACKAGE) and last.line.startswith("raise") and "\n" not in text and len(text) <= 700


def run(tries: int, seed: int = 0) -> tuple[Counter, list[str]]:
    """Counts of "works", "worded", "raw" and "hang", and what was raw or hung."""
    chance, table, counts, bad = random.Random(seed), calls(), Counter(), []

    def stop(*_):
        raise Hang

    signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    warnings.simplefilter("ignore")
    names = sorted(table)
    for number in range(tries):
        name = names[number % len(names)]
        given = dict(table[name])
        changed = (
            chance.sample(sorted(given), min(len(given), chance.choice((1, 1, 2)))) if number >= len(names) else []
        )
        for key in changed:
            given[key] = chance.choice(WRONG)
        signal.alarm(LIMIT)
        try:
            getattr(vh, name)(**given)
            outcome = "works"
        except Hang:
            outcome = "hang"
        except Exception as error:
            outcome = "worded" if worded(error) else "raw"
            said = f"{type(error).__name__}: {error}"
        finally:
            signal.alarm(0)
        counts[outcome] += 1
        if outcome in ("raw", "hang"):
            what = ", ".join(f"{key}={given[key]!r:.60}" for key in changed)
            bad.append(f"{outcome}: vh.{name}({what}) {said if outcome == 'raw' else ''}"[:300].replace("\n", " "))
        plt.close("all")
    return counts, bad


if __name__ == "__main__":
    tries, seed = (int(a) for a in (*sys.argv[1:], *("4000", "0")[len(sys.argv) - 1 :]))
    os.chdir(tempfile.mkdtemp())
    counts, bad = run(tries, seed)
    print(*bad, sep="\n")
    print(f"{tries} tries of {len(calls())} functions: {dict(counts)}; left out: {', '.join(LEFT_OUT)}")
    sys.exit(bool(bad))
