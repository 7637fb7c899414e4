"""Start a throw-away JupyterLab on loopback and drive it with the system's Chromium."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_ARGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage
--disable-background-networking --disable-component-update --disable-sync""".split()
QUIET = {  # default_setting_overrides.json: nothing asks the network, nothing pops up
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/extensionmanager-extension:plugin": {"enabled": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}
OPTIONS = """--no-browser --allow-root --ip=127.0.0.1 --ServerApp.port_retries=0 --expose-app-in-browser
--JupyterNotebookApp.expose_app_in_browser=True
--LabApp.news_url=None --LabApp.extension_manager=readonly
--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate""".split()
FOLDERS = """JUPYTER_CONFIG_DIR JUPYTER_DATA_DIR JUPYTER_RUNTIME_DIR IPYTHONDIR JUPYTERLAB_SETTINGS_DIR
JUPYTERLAB_WORKSPACES_DIR MPLCONFIGDIR""".split()


def browser_path() -> str | None:
    """The installed Chromium or Chrome, or None."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


needs_browser = pytest.mark.skipif(
    browser_path() is None,
    reason="no Chromium or Chrome on this machine; `make test` installs Debian's where it is root (build/apt.log)",
)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def server(root: Path, log: Path, timeout: float = 90) -> Iterator[tuple[str, str]]:
    """(base URL, token) of a JupyterLab showing root; its settings, workspaces and kernels live in a temporary folder.

    Raises:
        RuntimeError: the server did not answer within timeout seconds.
    """
    with tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True) as scratch:
        environment = dict(os.environ)
        for name in FOLDERS:
            environment[name] = str(Path(scratch) / name.lower())
            Path(environment[name]).mkdir()
        settings = Path(environment["JUPYTER_CONFIG_DIR"], "labconfig")
        settings.mkdir()
        (settings / "default_setting_overrides.json").write_text(json.dumps(QUIET))
        port, token = free_port(), secrets.token_hex(16)
        command = [sys.executable, "-m", "jupyterlab", *OPTIONS, f"--port={port}", f"--ServerApp.root_dir={root}"]
        base = f"http://127.0.0.1:{port}"
        with open(log, "w") as out:
            process = subprocess.Popen(
                [*command, f"--IdentityProvider.token={token}"],
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                _wait_for(f"{base}/api/status?token={token}", process, time.monotonic() + timeout, log)
                yield base, token
            finally:
                _end(process)


def _wait_for(url: str, process: subprocess.Popen, end: float, log: Path) -> None:
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).read()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > end:
                tail = log.read_text()[-500:]
                raise RuntimeError(f"JupyterLab did not start (exit status {process.poll()}): {tail}") from error
            time.sleep(0.1)


def _end(process: subprocess.Popen) -> None:
    """End the server and its kernels: they are one process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def pages_on(folder: Path, log: str) -> Iterator:
    """A JupyterLab of its own on a folder: a function of a notebook's name and a front end that opens a page with it,
    "doc/tree" for JupyterLab's page, "notebooks" for Notebook 7's; page.folder, page.outside, page.errors.

    Chromium is headless; `outside` collects the requests that leave this machine, `errors` what scripts throw.
    """
    from playwright.sync_api import sync_playwright

    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with server(folder, log=SCREENSHOTS / log) as (base, token), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), headless=True, args=CHROMIUM_ARGS)
        inside = (base, base.replace("http", "ws"), "data:", "blob:")

        def open_page(notebook: str, front: str = "doc/tree"):
            page = browser.new_page(viewport={"width": 1200, "height": 1050})
            page.folder, page.outside, page.errors = folder, [], []
            page.on("request", lambda r: None if r.url.startswith(inside) else page.outside.append(r.url))
            page.on("pageerror", lambda e: page.errors.append(str(e)))
            open_notebook(page, base, token, notebook, front)
            return page

        yield open_page
        browser.close()


@contextlib.contextmanager
def page_on(folder: Path, notebook: str, log: str) -> Iterator:
    """A page with a notebook of the folder in a JupyterLab of its own; see pages_on."""
    with pages_on(folder, log) as open_page:
        yield open_page(notebook)


def write_notebook(path: Path, cells: list[str]) -> None:
    """A notebook of code cells."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, path)


def open_notebook(page, base: str, token: str, path: str, front: str, timeout: float = 120_000) -> None:
    """Open a notebook and wait until its kernel is ready. Times are in milliseconds here and below."""
    page.goto(f"{base}/{front}/{path}?reset&token={token}", timeout=timeout)
    # No async predicate in wait_for_function: its promise is truthy at once. evaluate() does await.
    page.wait_for_function(
        """() => { const w = window.jupyterapp?.shell?.currentWidget;
        return !!(w?.context?.isReady && w?.content?.widgets?.length
                  && window.jupyterapp.commands.hasCommand('notebook:run-all-cells')); }""",
        timeout=timeout,
    )
    page.evaluate(
        """async () => { const a = window.jupyterapp; await a.restored; const c = a.shell.currentWidget.context;
        await c.ready; await c.sessionContext.ready; }"""
    )
    wait_idle(page, timeout)


def wait_idle(page, timeout: float = 60_000) -> None:
    """Wait until the kernel has nothing to do."""
    page.wait_for_function(
        """() => { const k = window.jupyterapp.shell.currentWidget.context.sessionContext.session?.kernel;
        return k && k.connectionStatus === 'connected' && k.status === 'idle'; }""",
        polling=20,  # ms; by default the page draws a frame for each look
        timeout=timeout,
    )


def run_all(page, timeout: float, first: int = 0) -> list[tuple[int | None, str | None]]:
    """Run every cell from the first; (execution count, error or None) of each once the last reply is in."""
    page.evaluate(
        """async ([ms, first]) => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = first;
        return Promise.race([window.jupyterapp.commands.execute('notebook:run-all-below'),
        new Promise((_, no) => setTimeout(() => no(new Error('run-all timed out')), ms))]); }""",
        [timeout, first],
    )
    wait_idle(page, timeout)
    found = page.evaluate(
        """() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells
        .filter(c => c.cell_type === 'code').map(c => { const e = c.outputs.find(o => o.output_type === 'error');
        return [c.execution_count, e ? e.ename + ': ' + e.evalue : null]; })"""
    )
    return [tuple(f) for f in found]


def watch_kernel_errors(page) -> None:
    """From now on collect exceptions that a widget's callback raises: the page itself shows none of them."""
    page.evaluate(
        """() => { window.__kernelErrors = [];
        window.jupyterapp.shell.currentWidget.context.sessionContext.iopubMessage.connect((_, m) => {
            if (m.header.msg_type === 'error')
                window.__kernelErrors.push(m.content.ename + ': ' + m.content.evalue); }); }"""
    )


def kernel_errors(page) -> list[str]:
    """What watch_kernel_errors() has collected."""
    return page.evaluate("window.__kernelErrors")
