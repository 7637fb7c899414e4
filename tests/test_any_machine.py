"""Everything on a pretend accelerator (any_machine.py), in a process of its own: a device cannot be taken back."""
import os
import re
import subprocess
import sys
from pathlib import Path

import vizhelpers as vh


def test_every_function_and_explorer_gives_the_same_numbers_on_another_device():
    script = Path(__file__).with_name("any_machine.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=170,
                          env=os.environ | {"PYTHONPATH": str(Path(vh.__file__).parents[1])})  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    tried, equal = re.search(r"(\d+) tried, (\d+) equal", done.stdout).groups()
    assert tried == equal and int(tried) > 100
