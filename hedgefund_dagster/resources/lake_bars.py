"""Daily bars, every version kept: what differs adds one, an as-of read returns one per symbol and session."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from hedgefund_core import layout
from hedgefund_core.errors import DataUnavailable
from hedgefund_core.schemas import BARS
from hedgefund_dagster.resources.lake_changes import differing_bars
from hedgefund_dagster.resources.lake_files import conform, rows_digest
from hedgefund_dagster.resources.lake_folders import exclusive, last_content, read_folder, read_folders, write_part


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteResult:
    """What a write changed."""

    added: int
    unchanged: int


def append_bars(folder: UPath, rows: pa.Table, run_id: str) -> WriteResult:
    """Add the rows of one partition that are new or differ from their latest version."""
    rows = conform(rows, BARS)
    if rows.num_rows == 0:
        return WriteResult(added=0, unchanged=0)
    digest = rows_digest(rows)
    with exclusive(folder):
        if last_content(folder) == digest:
            return WriteResult(added=0, unchanged=rows.num_rows)
        stored = read_folder(folder)
        fresh = rows if stored is None else differing_bars(rows, latest_versions(stored))
        if fresh.num_rows:
            write_part(folder, fresh, offered=digest, run_id=run_id)
    return WriteResult(added=fresh.num_rows, unchanged=rows.num_rows - fresh.num_rows)


def bar_folders(root: UPath, source: str) -> list[UPath]:
    """The partitions of a source."""
    folder = root / layout.BARS / f"source={source}"
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.exists() else []


def bar_versions(root: UPath, source: str) -> pa.Table:
    """Every version of every bar of a source, as they were recorded; raises DataUnavailable if there is none."""
    rows = read_folders(bar_folders(root, source))
    if rows is None:
        message = f"no bars of {source} are stored"
        raise DataUnavailable(message, mend=f"materialize the asset {source}/bars")
    return rows


def visible(rows: pa.Table, *, known_by: datetime | None, recorded_by: datetime | None) -> pa.Table:
    """The versions that were known and recorded by then."""
    for name, limit in (("known_at", known_by), ("recorded_at", recorded_by)):
        if limit is not None:
            rows = rows.filter(pc.less_equal(rows.column(name), pa.scalar(limit, pa.timestamp("us", tz="UTC"))))
    return rows.combine_chunks()


def latest_versions(rows: pa.Table) -> pa.Table:
    """Rows of the greatest ``recorded_at`` of each (symbol, session), sorted by (symbol, session, source_row)."""
    return _versions(rows, 1)


def first_versions(rows: pa.Table) -> pa.Table:
    """Rows of the least ``recorded_at`` of each (symbol, session): what was known of it first."""
    return _versions(rows, -1)


def _versions(rows: pa.Table, sign: int) -> pa.Table:
    """Rows of the ``recorded_at`` that is greatest (times ``sign``), of each (symbol, session)."""
    if rows.num_rows == 0:
        return rows
    symbols = rows.column("symbol").combine_chunks().dictionary_encode()
    encoded = symbols.combine_chunks() if isinstance(symbols, pa.ChunkedArray) else symbols
    rank = np.argsort(np.argsort(np.array(encoded.dictionary.to_pylist(), dtype=object)))
    day = rows.column("session").cast(pa.int32()).to_numpy().astype(np.int64)
    cell = rank[encoded.indices.to_numpy()] * np.int64(2**33) + (day + 2**31)
    moment = rows.column("recorded_at").cast(pa.int64()).to_numpy() * sign
    order = np.lexsort((rows.column("source_row").to_numpy(), cell))
    ordered = cell[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    if len(starts) < len(order):
        greatest = np.maximum.reduceat(moment[order], starts)
        wanted = np.repeat(greatest, np.diff(np.append(starts, len(order))))
        order = order[moment[order] == wanted]
    if len(order) == rows.num_rows and bool(np.all(order[1:] > order[:-1])):
        return rows.combine_chunks()
    return rows.take(pa.array(order)).combine_chunks()
