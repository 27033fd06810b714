"""The post-trade slice."""

from __future__ import annotations

import dagster as dg

from hedgefund_dagster.defs.post_trade.assets import ASSETS
from hedgefund_dagster.defs.post_trade.automation import journal_closed, post_trade
from hedgefund_dagster.defs.post_trade.checks import CHECKS
from hedgefund_dagster.resources.journal_reader import JournalReaderResource


def slice_definitions() -> dg.Definitions:
    """Assets, checks, the job, its sensor and the journals."""
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=CHECKS,
        jobs=[post_trade],
        sensors=[journal_closed],
        resources={"journals": JournalReaderResource()},
    )
