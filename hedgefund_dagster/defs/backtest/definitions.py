"""The backtest slice."""

from __future__ import annotations

import dagster as dg

from hedgefund_dagster.defs.backtest.assets import backtest_assets
from hedgefund_dagster.defs.backtest.checks import backtest_checks


def slice_definitions() -> dg.Definitions:
    """Assets and checks; the job is `retrain` of the training slice."""
    return dg.Definitions(assets=backtest_assets(), asset_checks=backtest_checks())
