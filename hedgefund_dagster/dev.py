"""``make dev``: Dagster (webserver and daemon) on :3000, Data Docs on :3001, MLflow on :5000, on loopback only.

Ctrl-C stops everything it started.

Each service has its own process group, because both start children of their own that outlive a plain SIGTERM to the parent.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hedgefund_core import layout
from hedgefund_core.errors import ConfigError, DataUnavailable, HedgefundError
from hedgefund_dagster.data_docs import ADDRESS as DATA_DOCS_URL
from hedgefund_dagster.data_docs import DATA_DOCS_PORT, HOST
from hedgefund_dagster.resources.mlflow_database import ensure_database
from hedgefund_dagster.settings import config_folder, data_folder, mlruns_folder

DAGSTER_PORT, MLFLOW_PORT = 3000, 5000
_START_SECONDS, _STOP_SECONDS = 180.0, 20.0
INTERRUPTED = 130
HOME = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One thing to start: its command, its address, and the page that answers once it is up."""

    name: str
    port: int
    health: str
    command: tuple[str, ...]

    @property
    def log(self) -> str:
        """File its output goes to."""
        return f"{self.name.lower().replace(' ', '_')}.log"

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self.port}"


def services(dagster_port: int, mlflow_port: int, docs_port: int, env: Mapping[str, str]) -> tuple[Service, ...]:
    """Dagster on the workspace of the checkout, MLflow on the registry of the data folder, the pages of the suites."""
    database = data_folder(env) / layout.MLFLOW_DB
    dagster = Service(
        name="Dagster",
        port=dagster_port,
        health="/server_info",
        command=(
            *(sys.executable, "-m", "dagster", "dev", "--workspace", str(HOME / "workspace.yaml")),
            *("--host", HOST, "--port", str(dagster_port)),
        ),
    )
    mlflow = Service(
        name="MLflow",
        port=mlflow_port,
        health="/health",
        command=(
            *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(mlflow_port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{database}", "--default-artifact-root", mlruns_folder(env).as_uri()),
        ),
    )
    docs = Service(
        name="Data Docs",
        port=docs_port,
        health="/health",
        command=(sys.executable, "-m", "hedgefund_dagster.data_docs", "--port", str(docs_port)),
    )
    return dagster, mlflow, docs


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """What the services are told: no telemetry, Dagster's home, no job workers in MLflow (they take half a gigabyte)."""
    data = data_folder(env)
    data.mkdir(parents=True, exist_ok=True)
    return {
        **env,
        "DAGSTER_HOME": str(HOME),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "GX_ANALYTICS_ENABLED": "false",
        "HEDGEFUND_DATA_DIR": str(data),
        "HEDGEFUND_CONFIG_DIR": str(config_folder(env)),
        "HEDGEFUND_MLRUNS_DIR": str(mlruns_folder(env)),
        "PYTHONPATH": os.pathsep.join(part for part in (str(HOME), env.get("PYTHONPATH", "")) if part),
    }


def refuse_taken(port: int) -> None:
    """Raise ConfigError if something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            message = f"port {port} on {HOST} is taken"
            raise ConfigError(
                message,
                mend="stop what listens there, or: .venv/bin/python -m hedgefund_dagster.dev "
                "--dagster-port 3100 --mlflow-port 5100 --docs-port 3101",
            ) from error


class Services:
    """Started processes; stopping waits until every process of their groups is gone."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = dict(env)
        self._running: list[tuple[Service, subprocess.Popen[bytes]]] = []

    def start(self, service: Service, log: Path) -> None:
        """Start a service in its own group, its output in a log file."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                service.command, env=self._env, cwd=HOME, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._running.append((service, process))

    def wait_until_healthy(self) -> None:
        """Poll each service; raises DataUnavailable if one ends or does not answer in time."""
        deadline = time.monotonic() + _START_SECONDS
        for service, process in self._running:
            while not _answers(service):
                self._refuse_ended(service, process)
                if time.monotonic() > deadline:
                    message = f"{service.name} did not answer at {service.address} within {_START_SECONDS:.0f} s"
                    raise DataUnavailable(message, mend=f"look at data/dev/{service.log}")
                time.sleep(0.5)

    def watch(self) -> None:
        """Return never, unless a service ends by itself: then raise DataUnavailable."""
        while True:
            for service, process in self._running:
                self._refuse_ended(service, process)
            time.sleep(1.0)

    def stop(self) -> None:
        """Ask every group to end, wait, then insist; no process of a group is left."""
        for _, process in reversed(self._running):
            _signal_group(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        for _, process in reversed(self._running):
            while _group_lives(process) and time.monotonic() < deadline:
                time.sleep(0.1)
            if _group_lives(process):
                _signal_group(process.pid, signal.SIGKILL)
            process.wait()
        self._running.clear()

    def _refuse_ended(self, service: Service, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is not None:
            message = f"{service.name} ended with exit code {process.returncode}"
            raise DataUnavailable(message, mend=f"look at data/dev/{service.log}")


def _answers(service: Service) -> bool:
    try:
        with urllib.request.urlopen(service.address + service.health, timeout=2) as answer:  # noqa: S310 - our own loopback address
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError):
        return False


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    """Whether any process of the group is left; the leader itself is collected so that it does not count as a ghost."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Start, show the addresses, wait for Ctrl-C; returns the exit code."""
    parser = argparse.ArgumentParser(prog="dev", description="Dagster with its daemon, and MLflow, on loopback.")
    parser.add_argument("--dagster-port", type=int, default=DAGSTER_PORT)
    parser.add_argument("--mlflow-port", type=int, default=MLFLOW_PORT)
    parser.add_argument("--docs-port", type=int, default=DATA_DOCS_PORT)
    given = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    running = Services({**environment(os.environ), DATA_DOCS_URL: f"http://{HOST}:{given.docs_port}"})
    wanted = services(given.dagster_port, given.mlflow_port, given.docs_port, os.environ)
    try:
        for service in wanted:
            refuse_taken(service.port)
        ensure_database(data_folder(os.environ) / layout.MLFLOW_DB, mlruns_folder(os.environ))  # else a server stopped here spoils it
        for service in wanted:
            running.start(service, data_folder(os.environ) / "dev" / f"{service.log}")
            _say(f"{service.name} is starting …")
        running.wait_until_healthy()
        for service in wanted:
            _say(f"{service.name:<9} {service.address}")
        _say("Ctrl-C stops all")
        running.watch()
    except HedgefundError as error:
        sys.stderr.write(f"error: {error.message}\n  mend: {error.mend}\n")
        return error.exit_code
    except KeyboardInterrupt:
        _say("stopping … (Dagster ends its own services one after the other: some seconds)")
        return INTERRUPTED
    finally:
        running.stop()
    return 0


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
