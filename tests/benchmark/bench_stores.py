"""Writing five years of the S&P 500 into either store, the way ingest does: by year, compared with what is stored, with manifests."""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv

from hedgefund_core.schemas import BARS
from hedgefund_dagster.ports import BarStore
from hedgefund_dagster.resources.embedded_postgres import EmbeddedPostgres
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_files import arrow_schema
from hedgefund_dagster.resources.postgres_bars import PostgresBars
from hedgefund_dagster.resources.postgres_session import PostgresDatabase
from hedgefund_dagster.sources.bar_table import partition_rows, year_partitions
from tests.benchmark.data import is_real, price_rows
from tests.benchmark.row import Row, alternating_seconds, seconds

RECORDED = datetime(2024, 1, 2, tzinfo=UTC)
PARQUET_GOAL, POSTGRES_GOAL = 500_000, 100_000
CORRECTED = 100
"""Every so many rows is corrected by the second write."""
NUMBERS = count()


def bar_rows() -> pa.Table:
    """The rows as a source gives them."""
    prices = price_rows()
    size = prices.num_rows
    moment = prices.column("date").cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC"))
    columns = {
        **{name: prices.column(name).cast(pa.float64()) for name in ("open", "high", "low", "close", "volume")},
        "symbol": prices.column("symbol"),
        "session": prices.column("date").cast(pa.timestamp("us")).cast(pa.date32()),
        "ts": moment,
        "known_at": moment,
        "recorded_at": pa.repeat(pa.scalar(RECORDED, pa.timestamp("us", tz="UTC")), size),
        "known_at_basis": pa.repeat(pa.scalar("assumed"), size),
        "adj_close": pa.nulls(size, pa.float64()),
        "source": pa.repeat(pa.scalar("files"), size),
        "raw_sha256": pa.repeat(pa.scalar("f" * 64), size),
        "source_row": pa.array(np.arange(size) + 1),
    }
    return pa.table([columns[name] for name in BARS.column_names], schema=arrow_schema(BARS))


def corrected(rows: pa.Table) -> pa.Table:
    """The same a day later, one row in a hundred changed."""
    volume = rows.column("volume").to_numpy().copy()
    volume[::CORRECTED] += 1
    later = pa.repeat(pa.scalar(RECORDED + timedelta(days=1), pa.timestamp("us", tz="UTC")), rows.num_rows)
    for name, values in (("volume", pa.array(volume, from_pandas=True)), ("recorded_at", later)):
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), values)
    return rows


def by_year(rows: pa.Table) -> list[tuple[str, pa.Table]]:
    """Partitions as ingest writes them."""
    return [(year, partition_rows(rows, year)) for year in year_partitions(rows)]


def written(store: BarStore, source: str, parts: list[tuple[str, pa.Table]]) -> int:
    """Rows added by a write of every partition."""
    return sum(store.write_bars(source, year, rows).added for year, rows in parts)


def to_pandas_parquet(parts: list[tuple[str, pa.Table]], folder: Path) -> Callable[[], None]:
    """The peer: the same partitions, a plain file each."""
    frames = [(year, rows.to_pandas()) for year, rows in parts]
    folder.mkdir()

    def write() -> None:
        for year, frame in frames:
            frame.to_parquet(folder / f"{year}.parquet", compression="zstd")

    return write


def plain_copy(url: str, parts: list[tuple[str, pa.Table]]) -> Callable[[], None]:
    """The peer: CSV by Arrow through psycopg's COPY into a table without index, key, comparison or manifest."""
    kinds = {pa.string(): "text", pa.date32(): "date", pa.float64(): "float8", pa.int64(): "int8"}
    columns = ", ".join(f"{field.name} {kinds.get(field.type, 'timestamptz')}" for field in arrow_schema(BARS))

    def write() -> None:
        with psycopg.connect(url) as connection:
            connection.execute("DROP TABLE IF EXISTS plain")
            connection.execute(f"CREATE TABLE plain ({columns})")
            for _, rows in parts:
                text = io.BytesIO()
                pa_csv.write_csv(rows, text, pa_csv.WriteOptions(include_header=False))
                with connection.cursor().copy("COPY plain FROM STDIN (FORMAT csv)") as copy:
                    copy.write(text.getvalue())

    return write


def measure(folder: Path) -> Iterator[Row]:
    """Both stores, each beside a plain writer."""
    rows = bar_rows()
    parts, later = by_year(rows), by_year(corrected(rows))
    note = f"{rows.num_rows:,} {'real' if is_real() else 'made-up'} rows in {len(parts)} years"
    yield from parquet_rows(folder, parts, rows.num_rows, note)
    with EmbeddedPostgres(folder / "server") as server:
        store = PostgresBars(PostgresDatabase(server.url))
        yield from postgres_rows(store, server.url, (parts, later), rows.num_rows, note)


def parquet_rows(folder: Path, parts: list[tuple[str, pa.Table]], size: int, note: str) -> Iterator[Row]:
    """Rows a second into the lake."""
    peer = to_pandas_parquet(parts, folder / "pandas")
    ours, theirs = alternating_seconds(lambda: written(Lake(folder / f"lake{next(NUMBERS)}"), "files", parts), peer, repeats=3)
    yield rate("bars written to Parquet, versioned, with manifests", size, ours, PARQUET_GOAL, note, ("pandas.to_parquet", theirs))


def postgres_rows(store: PostgresBars, url: str, parts: tuple[list[tuple[str, pa.Table]], ...], size: int, note: str) -> Iterator[Row]:
    """Rows a second into PostgreSQL: new ones, and ones that are compared with as many stored; and back."""
    first, later = parts
    peer = plain_copy(url, first)
    written(store, "warm", [(year, rows.slice(0, 10)) for year, rows in first])
    sources: list[str] = []

    def write() -> None:
        sources.append(f"bench-{next(NUMBERS)}")
        written(store, sources[-1], first)

    ours, theirs = alternating_seconds(write, peer, repeats=3)
    name = "bars written to PostgreSQL, versioned, indexed, with manifests"
    yield rate(name, size, ours, POSTGRES_GOAL, note, ("psycopg COPY of Arrow's CSV, no index", theirs))
    again = statistics.median(seconds(lambda s=source: written(store, s, later)) for source in sources)
    yield rate("bars compared with as many stored ones, 1 % corrected", size, again, POSTGRES_GOAL, note)
    read = statistics.median(seconds(lambda: store.read_bars(sources[0], RECORDED)) for _ in range(3))
    yield rate("bars read from PostgreSQL as of a moment", size, read, POSTGRES_GOAL, note)


def rate(name: str, size: int, took: float, goal: int, note: str, peer: tuple[str, float] | None = None) -> Row:
    """A figure in rows a second."""
    ours, theirs = size / took, None if peer is None else size / peer[1]
    return Row(
        name=name,
        ours=round(ours),
        unit="rows/s",
        goal=f">= {goal:,}/s",
        met=ours >= goal,
        peer=peer[0] if peer else "",
        theirs=None if theirs is None else round(theirs),
        ratio=None if theirs is None else round(ours / theirs, 2),
        note=note,
    )
