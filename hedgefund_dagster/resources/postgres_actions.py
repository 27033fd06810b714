"""Action tables in PostgreSQL: stated actions keep every version, corporate actions are replaced whole; both by source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from hedgefund_core.errors import DataUnavailable
from hedgefund_core.schemas import Table
from hedgefund_dagster.resources.lake_changes import news, once
from hedgefund_dagster.resources.lake_files import Manifest, arrow_schema, conform, rows_digest
from hedgefund_dagster.resources.lake_versions import Appended, VersionStore
from hedgefund_dagster.resources.postgres_manifests import WriteManifest, any_write, last_content, next_write, note_write, writers_turn
from hedgefund_dagster.resources.postgres_schema import ensure_source
from hedgefund_dagster.resources.postgres_session import PostgresDatabase

_WHOLE = "whole"
_BY_RECORDING = ("recorded_at", "write_id", "ordinal")
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class PostgresActions(VersionStore):
    """The action tables; see ports.ActionStore. What is news and what a reader sees is decided by the lake's own rules."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def append(self, table: Table, source: str, rows: pa.Table, *, run_id: str = "") -> Appended:
        """Add the rows that change what some as-of read returns; the others are counted as unchanged."""
        offered = conform(rows, table)
        if offered.num_rows == 0:
            return Appended(added=0, unchanged=0)
        content = rows_digest(offered)
        with self._database.session() as connection:
            ensure_source(connection, table.name, source)
            with connection.transaction():
                writers_turn(connection, table.name, source)
                if last_content(connection, table.name, source, _WHOLE) == content:
                    return Appended(added=0, unchanged=offered.num_rows)
                unique = once(offered, table)
                fresh = news(unique, _stored(connection, table, source, _BY_RECORDING), table)
                if fresh.num_rows:
                    write = next_write(connection)
                    _insert(connection, table, source, fresh, write)
                    note_write(
                        connection, _manifest(write, table, source, fresh, _Offered(rows=offered.num_rows, sha256=content, run_id=run_id))
                    )
        return Appended(added=fresh.num_rows, unchanged=unique.num_rows - fresh.num_rows)

    def history(self, table: Table, source: str) -> pa.Table | None:
        """Every version in the order of recording, None if nothing is stored."""
        with self._database.session() as connection:
            rows = _stored(connection, table, source, _BY_RECORDING)
        return rows if rows.num_rows else None

    def every_row(self, table: Table) -> pa.Table:
        """All rows of all sources."""
        with self._database.session() as connection:
            return _stored(connection, table, None, ("stored_as", "ordinal"))

    def has(self, table: Table, source: str) -> bool:
        """Whether anything of the table is stored."""
        with self._database.session() as connection:
            return any_write(connection, table.name, source)

    def write_table(self, table: Table, source: str, rows: pa.Table, *, recorded_at: datetime, run_id: str = "") -> Manifest:
        """Replace a source's table."""
        rows = conform(rows, table)
        digest = rows_digest(rows)
        with self._database.session() as connection:
            ensure_source(connection, table.name, source)
            with connection.transaction():
                writers_turn(connection, table.name, source)
                write = next_write(connection)
                _forget(connection, table, source)
                _insert(connection, table, source, rows, write)
                connection.execute(
                    "INSERT INTO lake.replaced (table_name, stored_as, write_id) VALUES (%s, %s, %s)", [table.name, source, write]
                )
                written = _manifest(write, table, source, rows, _Offered(rows=rows.num_rows, sha256=digest, run_id=run_id))
                note_write(connection, msgspec.structs.replace(written, recorded_at=recorded_at))
        return Manifest(
            file=f"lake.{table.name}",
            sha256=digest,
            content_sha256=digest,
            rows=rows.num_rows,
            recorded_at=recorded_at.isoformat(),
            run_id=run_id,
        )

    def read_table(self, table: Table, source: str) -> pa.Table:
        """A source's table; raises DataUnavailable if it was never written."""
        with self._database.session() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            if not _is_there(connection, table, source):
                message = f"no {table.name} of {source} are stored"
                raise DataUnavailable(message, mend=f"materialize the asset {source}/{table.name}")
            return _stored(connection, table, source, ("ordinal",))

    def has_table(self, table: Table, source: str) -> bool:
        """Whether a source has that table at all, be it empty."""
        with self._database.session() as connection:
            return _is_there(connection, table, source)

    def remove_table(self, table: Table, source: str) -> None:
        """Forget a source's table."""
        with self._database.session() as connection, connection.transaction():
            writers_turn(connection, table.name, source)
            _forget(connection, table, source)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offered:
    rows: int
    sha256: str
    run_id: str


def _stored(connection: psycopg.Connection, table: Table, source: str | None, order: tuple[str, ...]) -> pa.Table:
    query = sql.SQL("SELECT {} FROM {} WHERE %s::text IS NULL OR stored_as = %s ORDER BY {}").format(
        _listed(table.column_names), sql.Identifier("lake", table.name), _listed(order)
    )
    found = connection.execute(query, [source, source]).fetchall()
    schema = arrow_schema(table)
    columns = list(zip(*found, strict=True)) if found else [()] * len(schema)
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema)


def _insert(connection: psycopg.Connection, table: Table, source: str, rows: pa.Table, write: int) -> None:
    columns = [rows.column(name).to_pylist() for name in table.column_names]
    listed = _listed((*table.column_names, "ordinal", "write_id", "stored_as"))
    with connection.cursor().copy(sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier("lake", table.name), listed)) as copy:
        for ordinal, row in enumerate(zip(*columns, strict=True)):
            copy.write_row((*row, ordinal, write, source))


def _manifest(write: int, table: Table, source: str, fresh: pa.Table, offered: _Offered) -> WriteManifest:
    return WriteManifest(
        write=write,
        table=table.name,
        source=source,
        part=_WHOLE,
        rows=fresh.num_rows,
        offered=offered.rows,
        sha256=rows_digest(fresh),
        content_sha256=offered.sha256,
        recorded_at=pc.max(fresh.column("recorded_at")).as_py() or _NEVER,
        run_id=offered.run_id,
    )


def _forget(connection: psycopg.Connection, table: Table, source: str) -> None:
    connection.execute(sql.SQL("DELETE FROM {} WHERE stored_as = %s").format(sql.Identifier("lake", table.name)), [source])
    connection.execute("DELETE FROM lake.replaced WHERE table_name = %s AND stored_as = %s", [table.name, source])


def _is_there(connection: psycopg.Connection, table: Table, source: str) -> bool:
    found = connection.execute("SELECT 1 FROM lake.replaced WHERE table_name = %s AND stored_as = %s", [table.name, source]).fetchone()
    return found is not None


def _listed(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)
