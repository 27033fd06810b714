"""The ingest slice."""

from __future__ import annotations

import dagster as dg

from hedgefund_dagster.defs.ingest.assets import ingest_assets
from hedgefund_dagster.defs.ingest.automation import after_each_session, daily_research, new_files, served_after_session, served_research
from hedgefund_dagster.defs.ingest.checks import ingest_checks
from hedgefund_dagster.defs.ingest.late import freshness, freshness_after_session, freshness_checks, late_data
from hedgefund_dagster.defs.ingest.reference import compaction, configured, every_night, reference_assets, reference_data
from hedgefund_dagster.defs.ingest.served import served_assets, served_checks
from hedgefund_dagster.defs.ingest.vendors import (
    prices_after_session,
    vendor_assets,
    vendor_data,
    vendor_facts,
    vendor_prices,
    vendors_after_session,
)
from hedgefund_dagster.defs.sourced import for_each_fetched, for_each_source


def slice_definitions() -> dg.Definitions:
    """Assets of sources and vendors, checks, the jobs with their schedules, the sensor."""
    tables = configured()
    return dg.Definitions(
        assets=[
            *for_each_fetched(ingest_assets),
            *(asset for facts in vendor_facts() for asset in vendor_assets(facts)),
            *served_assets(),
            *reference_assets(tables),
        ],
        asset_checks=[*for_each_source(ingest_checks), *served_checks(), *freshness_checks()],
        jobs=[daily_research, served_research, vendor_data, vendor_prices, freshness, compaction, *([reference_data] if tables else [])],
        schedules=[
            after_each_session,
            served_after_session,
            vendors_after_session,
            prices_after_session,
            freshness_after_session,
            every_night,
        ],
        sensors=[new_files, late_data],
    )
