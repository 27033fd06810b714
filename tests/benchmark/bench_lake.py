"""The lake: rows written a second through the whole write path, and as-of reads of a whole panel beside pandas and polars."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hedgefund_core.quant.bars import PriceKind
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.sources.bar_table import bar_rows, partition_rows, year_partitions
from hedgefund_dagster.sources.source import Partitioning, SourceBars, SourceFacts
from tests.benchmark.data import is_real, price_rows
from tests.benchmark.row import Row, alternating_seconds, seconds

NOW = datetime(2026, 1, 5, tzinfo=UTC)
LEAST_ROWS_A_SECOND, LONGEST_READ_MS, REPEATS = 500_000.0, 50.0, 5
FACTS = SourceFacts(
    name="bench",
    title="bench",
    price_kind=PriceKind.SPLIT_ADJUSTED,
    calendar="observed",
    currency="USD",
    tick=None,
    licence="none",
    biases=(),
    fields=("open", "high", "low", "close", "volume"),
    partitioning=Partitioning.NONE,
)


def measure(folder: Path) -> Iterator[Row]:
    """Fresh write, the same again, a correction of a row a year; then the reads."""
    theirs = price_rows()
    parts = _parts(theirs, NOW)
    note = f"{theirs.num_rows:,} {'real' if is_real() else 'made-up'} rows, by year"
    yield _fresh_write(folder, theirs, parts, note)
    lake = Lake(folder / "lake-0")
    yield _rate("lake write, nothing new", seconds(lambda: _write(lake, parts)), theirs.num_rows, "the same payload again")
    corrected = _parts(_corrected(theirs), NOW + timedelta(days=1))
    yield _rate("lake write, one row corrected", seconds(lambda: _write(lake, corrected)), theirs.num_rows, "every row compared")
    yield from _reads(folder, lake, theirs)


def _fresh_write(folder: Path, theirs: pa.Table, parts: list[tuple[str, pa.Table]], note: str) -> Row:
    turn = iter(range(2 * REPEATS))
    ours, peer = alternating_seconds(
        lambda: _write(Lake(folder / f"lake-{next(turn)}"), parts),
        lambda: theirs.to_pandas().to_parquet(folder / "pandas.parquet"),
        REPEATS,
    )
    rate = theirs.num_rows / ours
    return Row(
        name="lake write, fresh",
        ours=rate,
        unit="rows/s",
        goal=">= 500,000 rows/s",
        met=rate >= LEAST_ROWS_A_SECOND,
        peer="pandas to_parquet (no versions, no manifest, not durable)",
        theirs=theirs.num_rows / peer,
        ratio=peer / ours,
        note=note,
    )


def _rate(name: str, took: float, rows: int, note: str) -> Row:
    rate = rows / took
    return Row(name=name, ours=rate, unit="rows/s", goal="none stated", met=True, note=note)


def _reads(folder: Path, lake: Lake, theirs: pa.Table) -> Iterator[Row]:
    """One field of everything, date-major: now, and as of a moment in the middle."""
    first = 1e3 * seconds(lambda: lake.grids.read("bench"))
    path = folder / "peer.parquet"
    pq.write_table(theirs, path)
    middle = datetime(2016, 1, 4, tzinfo=UTC)
    reads: dict[str, Callable[[], object]] = {
        "as-of panel read, now": lambda: lake.grids.read("bench"),
        "as-of panel read, past": lambda: lake.grids.read("bench", known_by=middle, recorded_by=NOW),
    }
    for name, read in reads.items():
        for peer, work in _peers(path).items():
            ours, other = alternating_seconds(read, work, REPEATS)
            yield Row(
                name=name,
                ours=1e3 * ours,
                unit="ms",
                goal="<= 50 ms",
                met=1e3 * ours <= LONGEST_READ_MS,
                peer=peer,
                theirs=1e3 * other,
                ratio=other / ours,
                note=f"one field, date-major; the first read after a write makes the columns: {first:.0f} ms",
            )


def _peers(path: Path) -> dict[str, Callable[[], object]]:
    import pandas as pd

    found: dict[str, Callable[[], object]] = {
        "pandas read_parquet + pivot": lambda: pd.read_parquet(path, columns=["symbol", "date", "close"]).pivot(  # noqa: PD010 - the faster one
            index="date", columns="symbol", values="close"
        )
    }
    if importlib.util.find_spec("polars") is not None:
        import polars as pl

        found["polars read_parquet + pivot"] = lambda: pl.read_parquet(path, columns=["symbol", "date", "close"]).pivot(  # noqa: PD010 - the faster one
            on="symbol", index="date", values="close"
        )
    return found


def _write(lake: Lake, parts: list[tuple[str, pa.Table]]) -> int:
    return sum(lake.write_bars("bench", year, rows).added for year, rows in parts)


def _corrected(rows: pa.Table) -> pa.Table:
    close = rows.column("close").to_numpy().copy()
    close[:: max(1, len(close) // 6)] += 0.01
    return rows.set_column(rows.column_names.index("close"), "close", pa.array(close))


def _parts(rows: pa.Table, recorded_at: datetime) -> list[tuple[str, pa.Table]]:
    bars = SourceBars(
        symbol=np.array(rows.column("symbol").to_pylist(), dtype=np.str_),
        session=rows.column("date").to_numpy().astype("datetime64[D]"),
        fields={name: rows.column(name).to_numpy().astype(np.float64) for name in FACTS.fields},
        raw_sha256=np.full(rows.num_rows, "0" * 64),
        source_row=np.arange(1, rows.num_rows + 1),
    )
    table = bar_rows(bars, FACTS, recorded_at)
    return [(year, partition_rows(table, year)) for year in year_partitions(table)]
