"""Bars in PostgreSQL: the same verbs, rows and order as the Parquet lake, committed whole or not at all.

A write takes the turn of its source, compares with the latest versions as columns of numbers, and copies in what differs, in one
transaction. The first rows of a year fill a table of their own, indexed and attached afterwards: twice as fast as into an indexed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from psycopg import sql

from hedgefund_core.errors import DataUnavailable
from hedgefund_core.schemas import BARS
from hedgefund_dagster.resources import postgres_copy as binary
from hedgefund_dagster.resources.lake import WriteResult
from hedgefund_dagster.resources.lake_files import arrow_schema, conform, rows_digest
from hedgefund_dagster.resources.postgres_manifests import WriteManifest, any_write, last_content, next_write, note_write, writers_turn
from hedgefund_dagster.resources.postgres_names import numbered, texts_of
from hedgefund_dagster.resources.postgres_schema import attach, children, create_like, ensure_source, partition_name, year_partition
from hedgefund_dagster.resources.postgres_session import PostgresDatabase
from hedgefund_dagster.resources.postgres_versions import PRICES, Columns, chosen, differing

TABLE = "bar_versions"
_TIMES = ("ts", "known_at", "recorded_at")
_KINDS = {
    **dict.fromkeys(_TIMES, ">i8"),
    **dict.fromkeys(PRICES, ">f8"),
    "source_row": ">i8",
    **dict.fromkeys(("symbol_id", "session", "label_id", "payload_id"), ">i4"),
}
_NULLS = " + ".join(f"({name} IS NULL)::int * {1 << bit}" for bit, name in enumerate(PRICES))
_READ = {**{name: f"coalesce({name}, 0)" if name in PRICES else name for name in _KINDS}, "nulls": _NULLS}
_READ_KINDS = {**_KINDS, "nulls": ">i4"}
_UNSAID = ("source_row", "payload_id")
_FEW_SYMBOLS = 64


class PostgresBars:
    """The bar table; see ports.BarStore."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def write_bars(self, source: str, partition: str, rows: pa.Table, *, run_id: str = "") -> WriteResult:
        """Add the rows that are new or differ from their latest version."""
        rows = in_order(conform(rows, BARS))
        if rows.num_rows == 0:
            return WriteResult(added=0, unchanged=0)
        content = rows_digest(_compact(rows))
        with self._database.session() as connection:
            own = ensure_source(connection, TABLE, source, by_year=True)
            columns = _columns(connection, rows)
            with connection.transaction():
                writers_turn(connection, TABLE, source)
                if last_content(connection, TABLE, source, partition) == content:
                    return WriteResult(added=0, unchanged=rows.num_rows)
                write = next_write(connection)
                new = _add(connection, own, source, columns, write)
                added = int(new.sum())
                if added:
                    manifest = WriteManifest(
                        write=write,
                        table=TABLE,
                        source=source,
                        part=partition,
                        rows=added,
                        offered=rows.num_rows,
                        sha256=content if added == rows.num_rows else rows_digest(_compact(rows.filter(pa.array(new)))),
                        content_sha256=content,
                        recorded_at=pc.max(rows.column("recorded_at")).as_py(),
                        run_id=run_id,
                    )
                    note_write(connection, manifest)
        return WriteResult(added=added, unchanged=rows.num_rows - added)

    def read_bars(self, source: str, recorded_as_of: datetime | None = None, *, known_by: datetime | None = None) -> pa.Table:
        """Per (symbol, session) the latest version recorded (and known) by then, in the order (symbol, session, source_row)."""
        return self._read(source, first=False, recorded_by=recorded_as_of, known_by=known_by)

    def first_bars(self, source: str) -> pa.Table:
        """Per (symbol, session) the version recorded first."""
        return self._read(source, first=True, recorded_by=None, known_by=None)

    def newest(self, source: str) -> datetime | None:
        """When the newest bar happened."""
        with self._database.session() as connection:
            found = connection.execute("SELECT max(ts) FROM lake.bar_versions WHERE stored_as = %s", [source]).fetchone()
        return found[0] if found else None

    def writes(self, source: str) -> list[tuple[str, str]]:
        """Number and digest of every write of a source."""
        with self._database.session() as connection:
            found = connection.execute("SELECT write_id, sha256 FROM lake.writes WHERE table_name = %s AND stored_as = %s", [TABLE, source])
            return [(str(write), str(digest)) for write, digest in found]

    def history(self, source: str | None = None) -> pa.Table:
        """Every version of every bar of a source, or of all; raises DataUnavailable if the source has none."""
        with self._database.session() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            if source is not None and not any_write(connection, TABLE, source):
                raise _absent(source)
            sources = children(connection, TABLE) if source is None else [partition_name(TABLE, source)]
            parts = [_fetch(connection, year, []) for own in sources for year in children(connection, own)]
            return _table(connection, _joined(parts))

    def _read(self, source: str, *, first: bool, recorded_by: datetime | None, known_by: datetime | None) -> pa.Table:
        limits = [("recorded_at", recorded_by), ("known_at", known_by)]
        conditions = [sql.SQL("{} <= {}").format(sql.Identifier(name), sql.Literal(by)) for name, by in limits if by is not None]
        with self._database.session() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            years = children(connection, partition_name(TABLE, source))
            if not any_write(connection, TABLE, source):
                raise _absent(source)
            parts = [_fetch(connection, year, conditions) for year in years]
            kept = [{name: values[places] for name, values in part.items()} for part in parts for places in [chosen(part, first=first)]]
            return _table(connection, _joined(kept))


def _absent(source: str) -> DataUnavailable:
    return DataUnavailable(f"no bars of {source} are stored", mend=f"materialize the asset {source}/bars")


def _joined(parts: Sequence[Columns]) -> dict[str, binary.Numbers]:
    none = {name: np.empty(0, np.dtype(kind).newbyteorder("=")) for name, kind in _READ_KINDS.items()}
    return {name: np.concatenate([none[name], *(part[name] for part in parts)]) for name in _READ_KINDS}


def in_order(rows: pa.Table) -> pa.Table:
    """Rows by symbol, session and row of the file: neighbours on disk, and one digest for the same rows however they came."""
    keys = [(name, "ascending") for name in ("symbol", "session", "source_row", "raw_sha256")]
    return rows.take(pc.sort_indices(rows, sort_keys=keys)).combine_chunks()


def _compact(rows: pa.Table) -> pa.Table:
    """Repeated texts once: a digest of these rows reads half as much."""
    for place, field in enumerate(rows.schema):
        if pa.types.is_string(field.type):
            rows = rows.set_column(place, field.name, rows.column(place).combine_chunks().dictionary_encode())
    return rows


def _add(connection: psycopg.Connection, own: str, source: str, columns: Columns, write: int) -> NDArray[np.bool_]:
    """Copy in what is new, year by year; which rows that were."""
    years = columns["session"].astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    present = set(children(connection, own))
    new = np.ones(len(years), np.bool_)
    for year in np.unique(years).tolist():
        name, bounds = year_partition(own, year)
        places = np.flatnonzero(years == year)
        part = columns if len(places) == len(years) else {column: values[places] for column, values in columns.items()}
        if name in present:
            new[places] = differing(part, _latest(connection, name, part))
            _copy_in(connection, name, part, np.flatnonzero(new[places]), write)
        else:
            create_like(connection, own, name)
            constant = sql.SQL("ALTER TABLE {} ALTER stored_as SET DEFAULT {}").format(sql.Identifier("lake", name), sql.Literal(source))
            connection.execute(constant)  # a text less to send with every row
            _copy_in(connection, name, part, np.arange(len(places)), write)
            connection.execute(sql.SQL("CREATE INDEX ON {} (symbol_id, session, recorded_at)").format(sql.Identifier("lake", name)))
            attach(connection, own, name, bounds)
    return new


def _latest(connection: psycopg.Connection, name: str, part: Columns) -> Columns:
    """The latest versions of the sessions (and symbols, where they are few) of some rows."""
    first, last = (int(day) - binary.EPOCH_DAYS for day in (part["session"].min(), part["session"].max()))
    conditions: list[sql.Composable] = [sql.SQL("session BETWEEN '2000-01-01'::date + {} AND '2000-01-01'::date + {}").format(first, last)]
    symbols = np.unique(part["symbol_id"]).tolist()
    if len(symbols) <= _FEW_SYMBOLS:
        conditions.append(sql.SQL("symbol_id = ANY({})").format(sql.Literal(symbols)))
    stored = _fetch(connection, name, conditions, [column for column in _READ if column not in _UNSAID])
    # A writer with an older clock is compared with what stood at its own time: the same rows again are none the more.
    before = np.flatnonzero(stored["recorded_at"] <= part["recorded_at"].max())
    stored = {column: values[before] for column, values in stored.items()}
    places = chosen(stored)
    return {column: values[places] for column, values in stored.items()}


def _columns(connection: psycopg.Connection, rows: pa.Table) -> dict[str, binary.Numbers]:
    """Rows as numbers: microseconds and days since 1970, texts by their number, nulls as bits of one number."""
    names = numbered(connection, rows)
    nulls = np.zeros(rows.num_rows, np.int32)
    for bit, name in enumerate(PRICES):
        if rows.column(name).null_count:
            nulls |= rows.column(name).is_null().to_numpy().astype(np.int32) << bit
    return {
        **{name: rows.column(name).cast(pa.int64()).to_numpy() for name in _TIMES},
        **{name: rows.column(name).to_numpy() for name in PRICES},
        "source_row": rows.column("source_row").to_numpy(),
        "symbol_id": names.symbols,
        "session": rows.column("session").cast(pa.int32()).to_numpy(),
        "label_id": names.labels,
        "payload_id": names.payloads,
        "nulls": nulls,
    }


def _copy_in(connection: psycopg.Connection, name: str, part: Columns, places: NDArray[np.int64], write: int) -> None:
    if len(places) == 0:
        return
    fields = [_field(column, kind, part, places) for column, kind in _KINDS.items()]
    fields.append(binary.Field(values=np.full(len(places), write, ">i8")))
    listed = sql.SQL(", ").join(sql.Identifier(column) for column in (*_KINDS, "write_id"))
    command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(sql.Identifier("lake", name), listed)
    with connection.cursor().copy(command) as copy:
        for piece in binary.encode(fields):
            copy.write(piece)


def _field(column: str, kind: str, part: Columns, places: NDArray[np.int64]) -> binary.Field:
    values = part[column][places]
    if column in _TIMES:
        values = values - binary.EPOCH_US
    if column == "session":
        values = values - binary.EPOCH_DAYS
    absent = (part["nulls"][places] >> PRICES.index(column) & 1).astype(np.bool_) if column in PRICES else None
    return binary.Field(values=values.astype(kind), nulls=absent if absent is not None and absent.any() else None)


def _fetch(
    connection: psycopg.Connection, name: str, conditions: Sequence[sql.Composable], columns: Sequence[str] = tuple(_READ)
) -> dict[str, binary.Numbers]:
    """Versions of one partition as columns: one array each is half the work of a row each."""
    query = sql.SQL("SELECT {} FROM {} WHERE {}").format(
        sql.SQL(", ").join(sql.SQL(f"array_agg({_READ[column]})") for column in columns),
        sql.Identifier("lake", name),
        sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("true"),
    )
    cursor = connection.cursor(binary=True)
    cursor.execute(query)
    answer = cursor.pgresult
    found = {
        column: binary.decode_array((answer.get_value(0, place) if answer else None) or b"", _READ_KINDS[column])
        for place, column in enumerate(columns)
    }
    for column in {*_TIMES, "session"} & found.keys():
        found[column] = found[column] + (found[column].dtype.type(binary.EPOCH_DAYS) if column == "session" else binary.EPOCH_US)
    return found


def _table(connection: psycopg.Connection, found: Columns) -> pa.Table:
    """Rows of the contract, in the order the Parquet lake returns them."""
    symbols = texts_of(connection, "symbols", "symbol", found["symbol_id"])
    order = np.lexsort((found["payload_id"], found["source_row"], found["session"], symbols.indices.to_numpy()))
    taken = pa.array(order)
    columns = {"symbol": symbols.take(taken).cast(pa.string())}
    columns["session"] = pa.array(found["session"][order].astype(np.int32), pa.int32()).cast(pa.date32())
    for name in _TIMES:
        columns[name] = pa.array(found[name][order], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    for bit, name in enumerate(PRICES):
        columns[name] = pa.array(found[name][order], pa.float64(), mask=(found["nulls"][order] >> bit & 1).astype(np.bool_))
    for name, table, key in (
        ("known_at_basis", "labels", "label_id"),
        ("source", "labels", "label_id"),
        ("raw_sha256", "payloads", "payload_id"),
    ):
        columns[name] = texts_of(connection, table, name, found[key]).take(taken).cast(pa.string())
    columns["source_row"] = pa.array(found["source_row"][order], pa.int64())
    return pa.table([columns[name] for name in BARS.column_names], schema=arrow_schema(BARS))
