"""Wrong arguments for every public function (tests/faults.py); `make faults` tries many more."""
import subprocess
import sys
from pathlib import Path


def test_wrong_calls_end_in_one_sentence_and_none_hangs(capsys):
    here = Path(__file__).with_name("faults.py")
    done = subprocess.run([sys.executable, here, "1500", "7"], capture_output=True, text=True)
    with capsys.disabled():
        print(f"\n{done.stdout.splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
