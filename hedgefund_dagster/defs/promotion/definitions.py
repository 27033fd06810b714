"""The promotion slice."""

from __future__ import annotations

import dagster as dg

from hedgefund_dagster.defs.promotion.assets import promotion_assets
from hedgefund_dagster.defs.promotion.automation import after_sessions, alias_moved, model_expires, promote
from hedgefund_dagster.defs.promotion.checks import promotion_checks


def slice_definitions() -> dg.Definitions:
    """Assets, checks, the job, its schedule and two sensors."""
    return dg.Definitions(
        assets=promotion_assets(),
        asset_checks=promotion_checks(),
        jobs=[promote],
        schedules=[after_sessions],
        sensors=[alias_moved, model_expires],
    )
