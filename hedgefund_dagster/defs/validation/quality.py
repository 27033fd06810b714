"""The quality of validated bars, as the UI shows it: a number, its parts, and a line over the years."""

from __future__ import annotations

import dagster as dg
import numpy as np
import pyarrow as pa

from hedgefund_core.quant.quality import quality_by_partition, quality_of
from hedgefund_dagster.metadata import sparkline
from hedgefund_dagster.resources.lake_files import column_texts
from hedgefund_dagster.sources.source import SourceFacts

DAY = np.timedelta64(1, "D")


def quality_metadata(rows: pa.Table, valid: pa.Table, facts: SourceFacts) -> dict[str, dg.MetadataValue]:
    """Share of rows passing, completeness against the sessions each symbol was there for, timeliness (known within a day)."""
    if rows.num_rows == 0:
        return {}
    _, symbol = np.unique(column_texts(rows, "symbol"), return_inverse=True)
    session = rows.column("session").to_numpy().astype("datetime64[D]")
    sessions, place = np.unique(session, return_inverse=True)
    spans = np.zeros((symbol.max() + 1, 2), dtype=np.int64) + np.array([len(sessions), -1])
    np.minimum.at(spans[:, 0], symbol, place)
    np.maximum.at(spans[:, 1], symbol, place)
    late = (rows.column("known_at").cast(pa.timestamp("us")).to_numpy() - rows.column("ts").cast(pa.timestamp("us")).to_numpy()) > DAY
    keys = np.isin(symbol.astype(np.int64) * len(sessions) + place, _kept(rows, valid, len(sessions)))
    whole = quality_of(
        rows.num_rows,
        held=rows.num_rows - valid.num_rows,
        cells_present=len(np.unique(symbol.astype(np.int64) * len(sessions) + place)),
        cells_expected=int((spans[:, 1] - spans[:, 0] + 1).sum()),
        late=int(late.sum()),
    )
    fields = [name for name in facts.fields if name != "adj_close"]
    filled = np.mean([np.isfinite(rows.column(name).to_numpy().astype(np.float64)) for name in fields], axis=0)
    years = quality_by_partition(session.astype("datetime64[Y]").astype(str), ~keys, filled)
    return {
        "quality": dg.MetadataValue.float(round(whole.score, 6)),
        "quality_passing": dg.MetadataValue.float(round(whole.passing, 6)),
        "quality_completeness": dg.MetadataValue.float(round(whole.completeness, 6)),
        "quality_timeliness": dg.MetadataValue.float(round(whole.timeliness, 6)),
        "quality_by_year": sparkline(np.array([year.score for year in years.values()]), f"quality {min(years)} to {max(years)}"),
    }


def _kept(rows: pa.Table, valid: pa.Table, width: int) -> np.ndarray:
    """Keys of the rows that passed."""
    names, sessions = np.unique(column_texts(rows, "symbol")), np.unique(rows.column("session").to_numpy().astype("datetime64[D]"))
    of = np.searchsorted(names, column_texts(valid, "symbol"))
    at = np.searchsorted(sessions, valid.column("session").to_numpy().astype("datetime64[D]"))
    return np.asarray(of.astype(np.int64) * width + at)
