"""The ingest slice."""

from __future__ import annotations

import dagster as dg

from hedgefund_dagster.defs.ingest.assets import ingest_assets
from hedgefund_dagster.defs.ingest.automation import after_each_session, daily_research, new_files
from hedgefund_dagster.defs.ingest.checks import ingest_checks
from hedgefund_dagster.defs.sourced import for_each_source


def slice_definitions() -> dg.Definitions:
    """Assets, checks, the daily job, its schedule and its sensor."""
    return dg.Definitions(
        assets=for_each_source(ingest_assets),
        asset_checks=for_each_source(ingest_checks),
        jobs=[daily_research],
        schedules=[after_each_session],
        sensors=[new_files],
    )
