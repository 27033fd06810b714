"""What the UI shows of rows that came in: how many, of whom, from when to when, in which range, and their course."""

from __future__ import annotations

import dagster as dg
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.quality import Quality, quality_by_partition, quality_of
from hedgefund_dagster.defs.ingest.fetching import Fetch
from hedgefund_dagster.metadata import sparkline, table_metadata
from hedgefund_dagster.resources.lake_files import column_texts
from hedgefund_dagster.sources.bar_table import PUBLICATION_DELAY

Shown = dict[str, dg.MetadataValue]


def rows_shown(rows: pa.Table) -> Shown:
    """Rows of any table: count, span, names, range of its value, and two courses: rows and median value by day."""
    if "session" in rows.column_names and "symbol" in rows.column_names:
        found: Shown = table_metadata(rows)
    else:
        found = {"dagster/row_count": dg.MetadataValue.int(rows.num_rows)}
    name = next((name for name in ("close", "value", "tone", "price") if name in rows.column_names), None)
    day = next((day for day in ("session", "ts", "filed", "known_at") if day in rows.column_names), None)
    if rows.num_rows == 0 or day is None:
        return found
    days = rows.column(day).cast(pa.timestamp("us")).to_numpy().astype("datetime64[D]")
    unique, inverse = np.unique(days, return_inverse=True)
    found["rows_by_day"] = sparkline(np.bincount(inverse).astype(np.float64), f"rows by {day}, {unique[0]} to {unique[-1]}")
    if name is not None and rows.column(name).null_count < rows.num_rows:
        values = rows.column(name).to_numpy().astype(np.float64)
        found["range"] = dg.MetadataValue.text(f"{name} from {np.nanmin(values):g} to {np.nanmax(values):g}")
        found["plot"] = sparkline(_medians(values, inverse, len(unique)), f"median {name} by {day}")
        found["nulls"] = dg.MetadataValue.int(rows.column(name).null_count)
    return {**found, **(bars_quality(rows) if "close" in rows.column_names and "session" in rows.column_names else value_quality(rows))}


def bars_quality(rows: pa.Table) -> Shown:
    """Quality of bars as they came, before any rule looks at neighbours: whole rows, no session missing, known in time; and by year."""
    session, symbol = (
        rows.column("session").to_numpy().astype("datetime64[D]"),
        np.unique(column_texts(rows, "symbol"), return_inverse=True)[1],
    )
    close, high, low = (rows.column(name).to_numpy().astype(np.float64) for name in ("close", "high", "low"))
    days, day = np.unique(session, return_inverse=True)
    _, first, repeats = np.unique(symbol * len(days) + day, return_index=True, return_counts=True)
    bad = ~(close > 0.0) | (high < low)
    bad[np.setdiff1d(np.arange(rows.num_rows), first)] = True
    begun, ended = np.full(symbol.max() + 1, len(days)), np.full(symbol.max() + 1, -1)
    np.minimum.at(begun, symbol, day)
    np.maximum.at(ended, symbol, day)
    ts, known = (rows.column(name).cast(pa.timestamp("us")).to_numpy() for name in ("ts", "known_at"))
    late = int(np.sum(known > ts + PUBLICATION_DELAY))
    quality = quality_of(
        rows.num_rows, held=int(bad.sum()), cells_present=len(repeats), cells_expected=int((ended - begun + 1).sum()), late=late
    )
    by_year = quality_by_partition(session.astype("datetime64[Y]").astype(np.str_), bad, np.isfinite(close).astype(np.float64))
    lines = "\n".join(f"| {year} | {part.rows} | {part.passing:.2%} | {part.score:.4f} |" for year, part in by_year.items())
    table = dg.MetadataValue.md(f"| year | rows | passing | quality |\n|---|---|---|---|\n{lines}")
    return {**_quality_shown(quality), "quality_by_year": table}


def value_quality(rows: pa.Table) -> Shown:
    """Quality of any other table: how much of what could be filled is."""
    empty = sum(rows.column(name).null_count for name in rows.column_names)
    cells = rows.num_rows * len(rows.column_names)
    return _quality_shown(quality_of(rows.num_rows, cells_present=cells - empty, cells_expected=cells))


def _quality_shown(quality: Quality) -> Shown:
    parts = f"passing {quality.passing:.2%}, complete {quality.completeness:.2%}, in time {quality.timeliness:.2%}"
    return {"quality": dg.MetadataValue.float(round(quality.score, 4)), "quality_parts": dg.MetadataValue.text(parts)}


def _medians(values: Floats, inverse: NDArray[np.intp], days: int) -> Floats:
    """Median of each day; NaN where a day has no value."""
    kept = np.isfinite(values)
    order = np.lexsort((values[kept], inverse[kept]))
    sorted_values, sorted_days = values[kept][order], inverse[kept][order]
    counts = np.bincount(sorted_days, minlength=days)
    ends = np.cumsum(counts)
    middle = np.clip(ends - counts + (counts - 1) // 2, 0, max(len(sorted_values) - 1, 0))
    return np.where(counts > 0, sorted_values[middle], np.nan) if len(sorted_values) else np.full(days, np.nan)


def fetch_shown(fetch: Fetch) -> Shown:
    """Rows, and where from: addresses, scope, mapping, quota, breaker, biases."""
    facts, dataset, scope, status = fetch.facts, fetch.dataset, fetch.scope, fetch.status
    files = "\n".join(f"| {p.origin} | {len(p.content)} | `{p.sha256[:16]}` | {p.retrieved_at.isoformat()} |" for p in fetch.payloads)
    mapping = "\n".join(f"| {ours} | {theirs} |" for ours, theirs in dataset.mapping.items())
    biases = "\n".join(f"- **{bias.name}**: {bias.direction}" for bias in facts.biases)
    found: Shown = {
        **rows_shown(fetch.rows),
        "rows_added": dg.MetadataValue.int(fetch.added),
        "files": dg.MetadataValue.md(f"| address | bytes | sha256 | retrieved |\n|---|---|---|---|\n{files}"),
        "scope": dg.MetadataValue.text(f"{', '.join(scope.names) or 'all'} from {scope.since} to {scope.until}"),
        "mapping": dg.MetadataValue.md(f"| column | the vendor's field |\n|---|---|\n{mapping}"),
        "biases": dg.MetadataValue.md(biases),
        "quota": dg.MetadataValue.text(", ".join(f"{left} left of {window}" for window, left in status.quota_left.items())),
        "breaker": dg.MetadataValue.text(status.breaker.value),
        "cache": dg.MetadataValue.text("; ".join(f"{layer} {counts.spelt()}" for layer, counts in status.cache.items())),
        "documentation": dg.MetadataValue.url(facts.documentation),
    }
    if fetch.resumed:
        found["resumed"] = dg.MetadataValue.text(f"{fetch.resumed} names were stored by a run that was interrupted")
    if dataset.price_kind is not None:
        found["price_kind"] = dg.MetadataValue.text(dataset.price_kind.value)
    return found
