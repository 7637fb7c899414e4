"""Features of a large folder: the real command, on two processes, stopped and gone on with, mixed up."""
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from PIL import Image

import vizhelpers as vh
from vizhelpers.methods import shards


@pytest.fixture
def folder(tmp_path):
    for n in range(9):
        path = tmp_path / "in" / ("ab"[n % 2]) / f"p{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40 + n), (20 * n, 200 - 20 * n, 90)).save(path)
    (tmp_path / "in" / "a" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "in" / "notes.txt").write_text("no picture either")
    (tmp_path / "in" / ".hidden.png").write_bytes(b"")
    return tmp_path / "in"


def command(folder, out, *more):
    fixed = ["--workers", "0", "--batch-size", "2", "--shard-size", "3"]
    return [sys.executable, "-m", "vizhelpers.methods.shards", str(folder), "--out", str(out), *fixed, *more]


def environment(**more):
    return os.environ | {"OMP_NUM_THREADS": "1", "VIZHELPERS_DEVICE": "cpu"} | more


def test_two_ranks_each_do_their_part_and_a_rerun_goes_on(folder, tmp_path, capsys):
    out, names = tmp_path / "out", sorted(f"{'ab'[n % 2]}/p{n}.png" for n in range(9))
    ranks = [subprocess.Popen(command(folder, out, "--workers", "1"), text=True, stdout=subprocess.PIPE,
                              env=environment(RANK=str(r), LOCAL_RANK=str(r), WORLD_SIZE="2"), stderr=subprocess.STDOUT)
             for r in (0, 1)]  # fmt: skip
    said = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    assert "[0/2]" in said[0] and "[1/2]" in said[1] and not any("Warning" in text for text in said)
    found, f = vh.read_shards(out)
    assert found == names and f.shape == (9, 512) and f.dtype == torch.float32
    net = vh.load_model("squeezenet1_1", device="cpu")
    torch.testing.assert_close(f, vh.features(net, [folder / name for name in names]), rtol=1e-3, atol=1e-3)
    assert list(shards.unreadable(out)) == ["a/broken.jpg"]
    each = [json.loads(shards.safe_open(p, "pt").metadata()["vizhelpers"])["names"] for p in out.iterdir()]
    assert sum(len(part) for part in each) == 9 and len(each) >= 3  # nothing twice, shards of about three

    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    Image.new("RGB", (50, 50), "red").save(folder / "late.png")
    assert shards.main(command(folder, out)[3:]) == 0
    assert "1 pictures to do, 10 done before" in capsys.readouterr().out
    assert vh.read_shards(out).names == sorted([*names, "late.png"])
    assert {name: p for name, p in before.items()} == {n: (out / n).stat().st_mtime_ns for n in before}
    assert not list(out.glob(".half*"))


def started(folder, out):
    return subprocess.Popen(command(folder, out, "--workers", "1"), env=environment(), start_new_session=True,
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def test_ctrl_c_or_torchrun_s_end_keeps_what_is_done_and_the_same_command_goes_on(folder, tmp_path):
    for n in range(150):
        os.link(folder / "a" / "p0.png", folder / "a" / f"q{n:03d}.png")
    outs = tmp_path / "ctrl_c", tmp_path / "torchrun"
    ends = lambda process: os.killpg(process.pid, signal.SIGINT), subprocess.Popen.terminate  # a terminal's: to all
    processes = [started(folder, out) for out in outs]
    waiting = set(range(2))
    for _ in range(6000):  # a machine with much to do starts slowly
        for n in [n for n in waiting if list(outs[n].glob("shard-*")) or processes[n].poll() is not None]:
            ends[n](processes[n])
            waiting.remove(n)
        if not waiting:
            break
        time.sleep(0.02)
    for out, process in zip(outs, processes, strict=True):
        said, complaint = process.communicate(timeout=60)
        assert process.returncode == 130 and "run the same command again" in complaint, (said, complaint)
        done = vh.read_shards(out).names
        assert 0 < len(done) < 159 and not list(out.glob(".half*")) and "Traceback" not in complaint
    for n in range(40, 150):  # enough is shown with fewer
        (folder / "a" / f"q{n:03d}.png").unlink()
    assert shards.main(command(folder, out)[3:]) == 0
    assert set(vh.read_shards(out).names) >= {f"a/q{n:03d}.png" for n in range(40)} | set(done)


def test_other_features_do_not_get_into_the_same_folder(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert shards.main(command(folder, out)[3:]) == 0
    assert shards.main(command(folder, out, "--net", "alexnet")[3:]) == 1
    assert "choose another --out" in capsys.readouterr().err
    assert shards.main(command(folder / "nowhere", out)[3:]) == 1
    assert "no folder" in capsys.readouterr().err
    path = sorted(out.glob("shard-*"))[0]
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="delete it"):
        vh.read_shards(out)
    with pytest.raises(FileNotFoundError, match="No finished shard"):
        vh.read_shards(tmp_path)
