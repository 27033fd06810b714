"""The training slice."""

from __future__ import annotations

import dagster as dg

from hedgefund_dagster.defs.training.assets import training_assets
from hedgefund_dagster.defs.training.automation import retrain, weekly_research
from hedgefund_dagster.defs.training.checks import training_checks
from hedgefund_dagster.resources.model_registry import ModelRegistryResource


def slice_definitions() -> dg.Definitions:
    """Assets, checks, the job and its schedule, and the model registry."""
    return dg.Definitions(
        assets=training_assets(),
        asset_checks=training_checks(),
        jobs=[retrain],
        schedules=[weekly_research],
        resources={"models": ModelRegistryResource()},
    )
