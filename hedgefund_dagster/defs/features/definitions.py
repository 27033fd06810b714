"""The features slice."""

from __future__ import annotations

import dagster as dg

from hedgefund_dagster.defs.features.assets import feature_assets
from hedgefund_dagster.defs.features.checks import feature_checks
from hedgefund_dagster.defs.sourced import for_each_source


def slice_definitions() -> dg.Definitions:
    """Assets and checks."""
    return dg.Definitions(assets=for_each_source(feature_assets), asset_checks=for_each_source(feature_checks))
