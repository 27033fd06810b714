"""Ingest checks: is the bar table a table at all? A bad one blocks everything downstream."""

from __future__ import annotations

import dagster as dg

from hedgefund_core.schemas import BARS
from hedgefund_dagster.defs.validation.expectations import check_result
from hedgefund_dagster.resources.lake import LakeResource
from hedgefund_dagster.sources.source import SourceFacts


def ingest_checks(facts: SourceFacts) -> list[dg.AssetChecksDefinition]:
    """The Great Expectations suite of the bar table."""

    @dg.asset_check(
        asset=dg.AssetKey([facts.name, "bars"]),
        name="great_expectations",
        blocking=True,
        description="A bad table (columns, types, times, no rows) blocks; bad rows warn here and go to quarantine, which counts them.",
    )
    def great_expectations(lake: LakeResource) -> dg.AssetCheckResult:
        return check_result(BARS, lake.open().read_bars(facts.name), facts.name)

    return [great_expectations]
