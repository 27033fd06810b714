"""A real PostgreSQL for the suites that need one: started once a process, in a folder of its own, ended with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hedgefund_dagster.resources.embedded_postgres import EmbeddedPostgres


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server that survives a killed process, not a power cut: nobody cuts the power of a test."""
    folder: Path = tmp_path_factory.mktemp("postgres")
    with EmbeddedPostgres(folder / "server", durable=False) as server:
        yield server
