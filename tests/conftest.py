"""What every test stands on: its own folders, no network but loopback, no telemetry, the same examples each time."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
SILENCE = {
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}

settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("thorough", parent=settings.get_profile("ci"), derandomize=False, max_examples=1000)


def pytest_configure() -> None:
    """Before anything is imported: vendors read these when they load. `HYPOTHESIS_PROFILE=thorough` searches longer."""
    os.environ.update(SILENCE)
    for name in [name for name in os.environ if name.startswith(("HEDGEFUND_", "DAGSTER_HOME", "MLFLOW_TRACKING", "ALPACA_"))]:
        del os.environ[name]
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What long tests measured, whichever worker ran them: the values they recorded as ``table``."""
    reports = (report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome) if report.when == "call")
    tables = [str(value) for report in reports for name, value in report.user_properties if name == "table"]
    if tables:
        terminalreporter.section("measured")
    for table in sorted(tables):
        terminalreporter.line(table)


def furnish(house: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point every location at ``house``, with a copy of the configuration but of no key."""
    shutil.copytree(ROOT / "config", house / "config", ignore=shutil.ignore_patterns("keys"))
    monkeypatch.setenv("HEDGEFUND_DATA_DIR", str(house / "data"))
    monkeypatch.setenv("HEDGEFUND_CONFIG_DIR", str(house / "config"))
    monkeypatch.setenv("HEDGEFUND_MLRUNS_DIR", str(house / "mlruns"))
    return house


@pytest.fixture(autouse=True, scope="session")
def session_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Fixtures shared by several tests live here: they too write nothing into the checkout."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield furnish(tmp_path_factory.mktemp("session_house"), monkeypatch)


@pytest.fixture(autouse=True)
def own_house(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has its own data, configuration and artifact folders: nothing is written into the checkout."""
    return furnish(tmp_path_factory.mktemp("house"), monkeypatch)


def is_loopback(host: str) -> bool:
    """Whether connecting to ``host`` stays on this machine."""
    if host in {"localhost", ""}:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """A test that reaches beyond loopback fails, whatever its code does with errors."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def refuse_others(sock: socket.socket, address: object) -> None:
        if sock.family in {socket.AF_INET, socket.AF_INET6} and isinstance(address, tuple) and not is_loopback(str(address[0])):
            pytest.fail(f"a test may not use the network: {address[0]}")

    def guarded_connect(sock: socket.socket, address: object) -> None:
        refuse_others(sock, address)
        connect(sock, address)

    def guarded_connect_ex(sock: socket.socket, address: object) -> int:
        refuse_others(sock, address)
        return connect_ex(sock, address)

    socket.socket.connect = guarded_connect
    socket.socket.connect_ex = guarded_connect_ex
    yield
    socket.socket.connect = connect
    socket.socket.connect_ex = connect_ex
