"""How far a source's vintages are stored: so that a fetch asks for what is new, and not for the whole history each time."""

from __future__ import annotations

from datetime import date, timedelta

from hedgefund_core.schemas import MACRO
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.sources.http.declaration import Dataset


def stored_through(lake: Lake, source: str, dataset: Dataset) -> dict[str, date]:
    """The day of the last vintage stored of each series; empty for tables without vintages, and where nothing is stored."""
    if dataset.table is not MACRO or not lake.versions.has(MACRO, source):
        return {}
    query = f"SELECT series_id, max(known_at) AS last FROM macro WHERE source = '{source}' GROUP BY series_id"  # noqa: S608 - the name is ours
    found = lake.sql(query).to_pylist()
    # A vintage counts as known at the end of its day, which is the next day's first moment.
    return {row["series_id"]: row["last"].date() - timedelta(days=1) for row in found}
