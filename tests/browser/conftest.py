"""A JupyterLab and a Chromium for each file of this folder."""
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import labdriver  # noqa: E402

signal.signal(signal.SIGTERM, signal.default_int_handler)  # `make test` ends this run so: its server ends with it


@pytest.fixture(scope="module")  # gone before other tests: playwright keeps an event loop running
def open_page(tmp_path_factory):
    """What opens a page with a notebook of the server's folder, `open_page.folder`; see labdriver.pages_on."""
    folder = tmp_path_factory.mktemp("lab")
    with labdriver.pages_on(folder, "jupyterlab.log") as open_page:
        open_page.folder = folder
        yield open_page
