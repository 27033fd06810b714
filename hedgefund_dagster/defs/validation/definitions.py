"""The validation slice."""

from __future__ import annotations

import dagster as dg

from hedgefund_dagster.defs.sourced import for_each_source
from hedgefund_dagster.defs.validation.assets import validation_assets
from hedgefund_dagster.defs.validation.checks import validation_checks


def slice_definitions() -> dg.Definitions:
    """Assets and checks."""
    return dg.Definitions(assets=for_each_source(validation_assets), asset_checks=for_each_source(validation_checks))
