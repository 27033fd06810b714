"""What the UI shows of rows that came in: how many, of whom, from when to when, in which range, and their course."""

from __future__ import annotations

import dagster as dg
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hedgefund_core.quant.bars import Floats
from hedgefund_dagster.defs.ingest.fetching import Fetch
from hedgefund_dagster.metadata import sparkline, table_metadata

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
    return found


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
