"""The journal as tables of the lake: frames, fills, marks, one file each an account, replaced as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from hedgefund_core.schemas import FILLS
from hedgefund_core.trading.events import INPUT_KINDS, encode, kind_of
from hedgefund_dagster.defs.post_trade.realized import Realized
from hedgefund_dagster.resources.journal_reader import StoredFrame
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_files import arrow_schema, parquet_bytes, read_parquet, write_atomic


def table_place(account: str, name: str) -> str:
    """Relative name of an account's table."""
    return f"processed/post_trade/account={account}/{name}.parquet"


def write(lake: Lake, account: str, name: str, rows: pa.Table) -> str:
    """Store a table; returns its sha256."""
    return write_atomic(lake.root / table_place(account, name), parquet_bytes(rows))


def read(lake: Lake, account: str, name: str) -> pa.Table:
    """A table as stored."""
    return read_parquet(lake.root / table_place(account, name))


def frame_rows(frames: Sequence[StoredFrame]) -> pa.Table:
    """One row a frame; ``payload`` is its canonical JSON."""
    return pa.table(
        {
            "seq": pa.array([stored.seq for stored in frames], pa.int64()),
            "ts": pa.array([stored.frame.ts for stored in frames], pa.timestamp("us", tz="UTC")),
            "kind": pa.array([kind_of(stored.frame) for stored in frames], pa.string()),
            "is_input": pa.array([kind_of(stored.frame) in INPUT_KINDS for stored in frames], pa.bool_()),
            "session": pa.array([getattr(stored.frame, "session", None) for stored in frames], pa.string()),
            "payload": pa.array([encode(stored.frame).decode() for stored in frames], pa.string()),
        }
    )


def fill_rows(done: Realized) -> pa.Table:
    """Fills by the contract of `schemas.FILLS`."""
    rows = []
    for fill in done.fold.fills:
        order = done.fold.intended[fill.client_order_id]
        rows.append(
            {
                "fill_id": fill.fill_id,
                "client_order_id": fill.client_order_id,
                "symbol": order.symbol,
                "side": order.side.value,
                "quantity": str(fill.quantity),
                "price": str(fill.price),
                "commission": str(fill.commission),
                "ts": fill.ts,
            }
        )
    return pa.Table.from_pylist(rows, schema=arrow_schema(FILLS))


def mark_rows(done: Realized) -> pa.Table:
    """One row a session: money as decimal text, ratios as numbers."""
    marks = done.fold.marks
    return pa.table(
        {
            "session": pa.array([mark.session for mark in marks], pa.string()),
            "ts": pa.array([mark.ts for mark in marks], pa.timestamp("us", tz="UTC")),
            "equity": pa.array([str(mark.equity) for mark in marks], pa.string()),
            "cash": pa.array([str(mark.cash) for mark in marks], pa.string()),
            "day_pnl": pa.array([str(mark.day_pnl) for mark in marks], pa.string()),
            "gross": pa.array([mark.gross for mark in marks], pa.float64()),
            "net": pa.array([mark.net for mark in marks], pa.float64()),
            "drawdown": pa.array([mark.drawdown for mark in marks], pa.float64()),
            "beta": pa.array([mark.beta for mark in marks], pa.float64()),
            "volatility": pa.array([mark.volatility for mark in marks], pa.float64()),
            "value_at_risk": pa.array([mark.value_at_risk for mark in marks], pa.float64()),
        }
    )
