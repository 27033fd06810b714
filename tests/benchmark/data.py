"""Rows to measure on: five years of the S&P 500 where the shared folder is there, else made-up ones of the same size.

``HEDGEFUND_BENCH_DATA`` names the folder (default: ``../shared/data`` beside the checkout), ``HEDGEFUND_BENCH_ROWS`` a smaller number of
rows (fewer names, at least eight, all their sessions), so that a test can run a benchmark quickly.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

FULL_SIZE = 619_040
SP500 = "sp500_daily_2013_2018.parquet"
_MADE_UP_NAMES = 505


def data_folder() -> Path:
    """Where real data may lie."""
    named = os.environ.get("HEDGEFUND_BENCH_DATA")
    return Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"


def is_real() -> bool:
    """Whether the rows are real ones; a note of a figure should say so."""
    return (data_folder() / SP500).is_file()


def price_rows() -> pa.Table:
    """Daily bars: symbol, date, open, high, low, close, volume; by session, then symbol."""
    wanted = int(os.environ.get("HEDGEFUND_BENCH_ROWS") or FULL_SIZE)
    rows = _real() if is_real() else _made_up(wanted)
    if wanted >= rows.num_rows:
        return rows
    names = pc.unique(rows.column("symbol"))
    kept = max(8, len(names) * wanted // rows.num_rows)
    return rows.filter(pc.is_in(rows.column("symbol"), names.slice(0, kept))).combine_chunks()


def _real() -> pa.Table:
    rows = pq.read_table(data_folder() / SP500)
    rows = rows.set_column(rows.column_names.index("symbol"), "symbol", pc.cast(rows.column("symbol"), pa.string()))
    return rows.sort_by([("date", "ascending"), ("symbol", "ascending")]).replace_schema_metadata(None).combine_chunks()


def _made_up(size: int) -> pa.Table:
    """A seeded random walk on weekdays."""
    names = min(_MADE_UP_NAMES, max(8, size // 1_100))
    sessions = -(-size // names)
    days = np.busday_offset("2013-02-08", np.arange(sessions), roll="forward")
    rng = np.random.default_rng(20130208)
    close = 50.0 * np.exp(np.cumsum(0.015 * rng.standard_normal((sessions, names)), axis=0))
    opened = close * (1 + 0.004 * rng.standard_normal(close.shape))
    high, low = np.maximum(opened, close) * 1.005, np.minimum(opened, close) * 0.995
    prices = {
        name: np.round(values, 2).ravel()[:size] for name, values in (("open", opened), ("high", high), ("low", low), ("close", close))
    }
    return pa.table(
        {
            "symbol": np.tile([f"N{number:03d}" for number in range(names)], sessions)[:size],
            "date": np.repeat(days, names)[:size].astype("datetime64[us]"),
            **prices,
            "volume": np.round(2e6 * np.exp(0.3 * rng.standard_normal(size))).astype(np.int64),
        }
    )
