"""The slices, merged; nothing else. A new stage is a folder in ``defs`` and one line in SLICES."""

from __future__ import annotations

import dagster as dg

from hedgefund_dagster.defs.backtest import definitions as backtest
from hedgefund_dagster.defs.features import definitions as features
from hedgefund_dagster.defs.ingest import definitions as ingest
from hedgefund_dagster.defs.post_trade import definitions as post_trade
from hedgefund_dagster.defs.promotion import definitions as promotion
from hedgefund_dagster.defs.training import definitions as training
from hedgefund_dagster.defs.validation import definitions as validation
from hedgefund_dagster.settings import shared_resources

SLICES = (
    ingest.slice_definitions,
    validation.slice_definitions,
    features.slice_definitions,
    training.slice_definitions,
    backtest.slice_definitions,
    promotion.slice_definitions,
    post_trade.slice_definitions,
)

defs = dg.Definitions.merge(
    dg.Definitions(resources=shared_resources(), executor=dg.in_process_executor),
    *(slice_definitions() for slice_definitions in SLICES),
)
