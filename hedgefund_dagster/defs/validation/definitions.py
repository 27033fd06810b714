"""The validation slice."""

from __future__ import annotations

import dagster as dg

from hedgefund_dagster.defs.ingest.reference import configured
from hedgefund_dagster.defs.sourced import for_each_source
from hedgefund_dagster.defs.validation.assets import validation_assets
from hedgefund_dagster.defs.validation.checks import validation_checks
from hedgefund_dagster.defs.validation.table_checks import action_checks, reference_checks, vendor_checks


def slice_definitions() -> dg.Definitions:
    """Assets and checks."""
    checks = [*for_each_source(validation_checks), *for_each_source(action_checks), *vendor_checks(), *reference_checks(configured())]
    return dg.Definitions(assets=for_each_source(validation_assets), asset_checks=checks)
