"""A real PostgreSQL for the suites that need one: started once a process, in a folder of its own, ended with it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hedgefund_dagster.resources.embedded_postgres import EmbeddedPostgres


@contextmanager
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server that survives a killed process, not a power cut: nobody cuts the power of a test.

    Others may pass through the folder above (pytest's own are closed): where root has no user namespaces, the server is another's.
    """
    with tempfile.TemporaryDirectory(prefix="postgres-") as above:
        Path(above).chmod(0o711)
        with EmbeddedPostgres(Path(above) / "server", durable=False) as server:
            yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """For everybody who leaves it running."""
    with own_server() as server:
        yield server


@pytest.fixture(scope="module")
def mortal() -> Iterator[EmbeddedPostgres]:
    """For those who kill it: nobody else stands on it."""
    with own_server() as server:
        yield server
