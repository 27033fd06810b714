"""A house that a demo of made-up prices has filled, the two services over it, and a browser."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.builders import price_rows, write_price_folder

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
DEMO_SECONDS, STOP_SECONDS = 600, 60
PATIENCE_MS = 60_000  # two cores, three services and a browser


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Where the running product is."""

    reports: Path
    dagster: str
    mlflow: str
    docs: str


class Watched:
    """A page, and what it complained about or asked others for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.foreign: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.foreign.append(request.url)


def chromium() -> str:
    """The installed browser; a machine without one fails, because an unseen page is an unproved one."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.fail(f"no Chromium on the path ({', '.join(NAMES)}): install it (Debian: apt-get install chromium) or set CHROMIUM")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """A fresh page."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    yield Watched(page)
    page.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a house in which the demo has run over a folder of 8 names."""
    place = tmp_path_factory.mktemp("seen")
    shutil.copytree(ROOT / "config", place / "config", ignore=shutil.ignore_patterns("keys"))
    prices = write_price_folder(place / "prices", price_rows(n_symbols=8, n_sessions=1100))
    env = {
        **os.environ,
        "DAGSTER_HOME": str(ROOT),
        "HEDGEFUND_DATA_DIR": str(place / "data"),
        "HEDGEFUND_CONFIG_DIR": str(place / "config"),
        "HEDGEFUND_MLRUNS_DIR": str(place / "mlruns"),
        "HEDGEFUND_MODELS__CHALLENGERS": '{"ridge": [{"alpha": 1000.0}]}',
    }
    command = [sys.executable, "-m", "hedgefund_dagster.demo", "--source", "files", "--dir", str(prices)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=DEMO_SECONDS)
    assert done.returncode == 0, done.stderr[-3000:]
    return env


@pytest.fixture(scope="module")
def product(house: dict[str, str]) -> Iterator[Product]:
    """Dagster and MLflow over that house, as `make dev` starts them; they must be gone after Ctrl-C."""
    ports = [free_port(), free_port(), free_port()]
    command = [sys.executable, "-m", "hedgefund_dagster.dev", "--dagster-port", str(ports[0]), "--mlflow-port", str(ports[1])]
    command += ["--docs-port", str(ports[2])]
    process = subprocess.Popen(command, env=house, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "Ctrl-C stops" in line:
            break
    else:
        pytest.fail(f"make dev ended with {process.wait()}")
    dagster, mlflow, docs = (f"http://127.0.0.1:{port}" for port in ports)
    yield Product(reports=Path(house["HEDGEFUND_DATA_DIR"]) / "reports", dagster=dagster, mlflow=mlflow, docs=docs)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=STOP_SECONDS) == 130
    for address in (dagster, mlflow, docs):
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(address, timeout=2)
