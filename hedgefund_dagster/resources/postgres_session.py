"""Connections to PostgreSQL, one an operation: a server that was restarted meanwhile is not noticed. Errors in our own words."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from hedgefund_core.errors import ConfigError, DataInvalid, DataUnavailable, HedgefundError
from hedgefund_dagster.resources.postgres_schema import ensure_schema

VARIABLE = "HEDGEFUND_POSTGRES_URL"
_CONNECT_SECONDS = 10
_OPTIONS = "-c lock_timeout=120s -c timezone=UTC -c jit=off -c work_mem=192MB -c client_encoding=UTF8"
_NOT_ALLOWED = ("28", "3D", "3F", "42501")
_AWAY = ("08", "53", "55", "57", "58", "40", "25P04")


class PostgresDatabase:
    """One database; its tables are made at the first use."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ready = False
        self._lock = threading.Lock()

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection]:
        """A connection in autocommit mode, closed at the end; raises DataUnavailable, DataInvalid or ConfigError."""
        try:
            with psycopg.connect(
                self._url, autocommit=True, connect_timeout=_CONNECT_SECONDS, options=_OPTIONS, tcp_user_timeout=30_000
            ) as connection:
                with self._lock:
                    if not self._ready:
                        ensure_schema(connection)
                        self._ready = True
                yield connection
        except psycopg.Error as error:
            raise _in_our_words(error) from error


def _in_our_words(error: psycopg.Error) -> HedgefundError:
    """Who must act: the operator (away, full), the configuration (refused), or whoever made the rows."""
    code, text = error.sqlstate or "", " ".join(str(error).split())
    if code.startswith(_NOT_ALLOWED) or "authentication" in text:
        return ConfigError(f"PostgreSQL refuses us: {text}", mend=f"correct user, password or database in {VARIABLE}")
    if isinstance(error, psycopg.ProgrammingError) and not code:
        return ConfigError(
            f"{VARIABLE} is no PostgreSQL address", mend=f"write {VARIABLE} as postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) or code.startswith(_AWAY):
        return DataUnavailable(
            f"PostgreSQL does not serve: {text}", mend=f"start the server that {VARIABLE} names, then run the asset again"
        )
    return DataInvalid(f"PostgreSQL refuses the rows: {text}", mend="look at the raw payload named in the asset's metadata")
