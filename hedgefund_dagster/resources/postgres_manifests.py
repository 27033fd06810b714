"""Manifests of writes into PostgreSQL, and the turn of the writers of one source."""

from __future__ import annotations

import hashlib
from datetime import datetime

import msgspec
import psycopg


class WriteManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What one write left behind: ``rows`` added of those ``offered``, and the digest of either without the time of storing."""

    write: int
    table: str
    source: str
    part: str
    rows: int
    offered: int
    sha256: str
    content_sha256: str
    recorded_at: datetime
    run_id: str


def writers_turn(connection: psycopg.Connection, table: str, source: str) -> None:
    """Wait for other writers of the source; held to the end of the transaction, so that what was compared is what is there."""
    key = int.from_bytes(hashlib.sha256(f"{table}\x1f{source}".encode()).digest()[:8], "big", signed=True)
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [key])


def last_content(connection: psycopg.Connection, table: str, source: str, part: str) -> str:
    """Digest of the rows the latest write of a partition was given: equal means nothing can be new."""
    found = connection.execute(
        "SELECT content_sha256 FROM lake.writes WHERE table_name = %s AND stored_as = %s AND part = %s ORDER BY write_id DESC LIMIT 1",
        [table, source, part],
    ).fetchone()
    return "" if found is None else str(found[0])


def next_write(connection: psycopg.Connection) -> int:
    """Number of a write; an abandoned one leaves a gap."""
    found = connection.execute("SELECT nextval(pg_get_serial_sequence('lake.writes', 'write_id'))").fetchone()
    return int(found[0]) if found else 0


def any_write(connection: psycopg.Connection, table: str, source: str) -> bool:
    """Whether anything of a source was ever stored in a table."""
    found = connection.execute("SELECT 1 FROM lake.writes WHERE table_name = %s AND stored_as = %s LIMIT 1", [table, source]).fetchone()
    return found is not None


def note_write(connection: psycopg.Connection, manifest: WriteManifest) -> None:
    """The manifest, in the transaction of its rows."""
    values = {field: getattr(manifest, field) for field in manifest.__struct_fields__}
    connection.execute(
        "INSERT INTO lake.writes (write_id, table_name, stored_as, part, rows, offered, sha256, content_sha256, recorded_at, run_id) VALUES"
        " (%(write)s, %(table)s, %(source)s, %(part)s, %(rows)s, %(offered)s, %(sha256)s, %(content_sha256)s, %(recorded_at)s, %(run_id)s)",
        values,
    )
