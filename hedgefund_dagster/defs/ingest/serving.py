"""Rows of several vendors under one name: who comes earlier in the order is believed, the others only fill gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hedgefund_core.errors import DataUnavailable
from hedgefund_core.schemas import BARS, CORPORATE_ACTIONS, STATED_ACTIONS
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_files import arrow_schema
from hedgefund_dagster.sources.bar_table import partition_rows, year_partitions
from hedgefund_dagster.sources.served import NAME, PROVENANCE

_SAME_ACTION_DAYS, _SAME_ACTION_SHARE = 5, 0.02
"""Two vendors that state a split or payment some days apart and of like size state the same one."""
KINDS = ("split", "dividend")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """A stretch of rows that one vendor served."""

    vendor: str
    rows: int
    symbols: int
    first: str
    last: str


def stored_bars(lake: Lake) -> pa.Table:
    """What is stored of the source `served`."""
    try:
        return lake.read_bars(NAME)
    except DataUnavailable:
        return arrow_schema(BARS).empty_table()


def stated_actions(lake: Lake) -> pa.Table:
    """The actions vendors stated for it."""
    stored = lake.versions.has(STATED_ACTIONS, NAME)
    return lake.versions.read(STATED_ACTIONS, NAME) if stored else arrow_schema(STATED_ACTIONS).empty_table()


def gaps_filled(rows: pa.Table, stored: pa.Table, rank: Mapping[str, int]) -> pa.Table:
    """Rows of keys nobody served, or that a vendor served who comes later in the order or is in it no more; and each vendor's own."""
    if stored.num_rows == 0 or rows.num_rows == 0:
        return rows
    span = pc.min_max(rows.column("session"))
    near = stored.filter(
        pc.and_(pc.greater_equal(stored.column("session"), span["min"]), pc.less_equal(stored.column("session"), span["max"]))
    )
    last = len(rank)
    held = dict(zip(_keys(near), (rank.get(source, last) for source in near.column("source").to_pylist()), strict=True))
    own = (rank.get(source, last) for source in rows.column("source").to_pylist())
    return rows.filter(pa.array([mine <= held.get(key, last) for key, mine in zip(_keys(rows), own, strict=True)], pa.bool_()))


def write_served_bars(lake: Lake, rows: pa.Table, rank: Mapping[str, int], run_id: str) -> int:
    """Store what fills a gap or comes from a better choice than what is there; returns how many rows were new."""
    kept = gaps_filled(rows, stored_bars(lake), rank)
    return sum(lake.write_bars(NAME, year, partition_rows(kept, year), run_id=run_id).added for year in year_partitions(kept))


def write_served_actions(lake: Lake, rows: pa.Table, rank: Mapping[str, int], run_id: str) -> int:
    """Store what was stated, each version; returns how many rows were new."""
    return lake.versions.append(STATED_ACTIONS, NAME, gaps_filled(rows, stated_actions(lake), rank), run_id=run_id).added


def actions_of(stated: pa.Table, rank: Mapping[str, int]) -> pa.Table:
    """Rows of the corporate action table: each split and payment once, in the words of the vendor that comes first in the order."""
    listed = [row for row in stated.to_pylist() if row["kind"] in KINDS]
    taken: dict[tuple[str, str], list[dict[str, object]]] = {}
    for row in sorted(listed, key=lambda row: (rank.get(row["source"], len(rank)), row["session"])):
        said = taken.setdefault((row["symbol"], row["kind"]), [])
        if not any(_same(row, other) for other in said):
            said.append({**row, "noise": 0.0, "provenance": PROVENANCE})
    rows = sorted((row for said in taken.values() for row in said), key=lambda row: (str(row["symbol"]), str(row["session"])))
    return pa.Table.from_pylist(
        [{name: row[name] for name in CORPORATE_ACTIONS.column_names} for row in rows], arrow_schema(CORPORATE_ACTIONS)
    )


def hands_of(rows: pa.Table) -> list[Hand]:
    """Who served what, by vendor."""
    found = []
    for vendor in sorted(pc.unique(rows.column("source")).to_pylist()):
        part = rows.filter(pc.equal(rows.column("source"), vendor))
        span = pc.min_max(part.column("session")).as_py()
        symbols = len(pc.unique(part.column("symbol")))
        found.append(Hand(vendor=vendor, rows=part.num_rows, symbols=symbols, first=str(span["min"]), last=str(span["max"])))
    return found


def mixed_symbols(rows: pa.Table) -> dict[str, tuple[str, ...]]:
    """Symbols whose history more than one vendor served, and who."""
    pairs = sorted(set(zip(rows.column("symbol").to_pylist(), rows.column("source").to_pylist(), strict=True)))
    vendors: dict[str, tuple[str, ...]] = {}
    for symbol, vendor in pairs:
        vendors[symbol] = (*vendors.get(symbol, ()), vendor)
    return {symbol: names for symbol, names in vendors.items() if len(names) > 1}


def _keys(rows: pa.Table) -> Sequence[tuple[object, ...]]:
    names = [name for name in ("symbol", "session", "kind") if name in rows.column_names]
    return list(zip(*(rows.column(name).to_pylist() for name in names), strict=True))


def _same(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Of another vendor, near in time and of like size: the same event."""
    if one["source"] == other["source"]:
        return False
    days = abs((np.datetime64(str(one["session"])) - np.datetime64(str(other["session"]))).astype(int))
    first, second = float(str(one["value"])), float(str(other["value"]))
    return bool(days <= _SAME_ACTION_DAYS and abs(first - second) <= _SAME_ACTION_SHARE * max(first, second))
