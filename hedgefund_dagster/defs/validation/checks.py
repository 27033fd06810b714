"""Validation checks: what was held back is said, and what is let through must hold without exception."""

from __future__ import annotations

import dagster as dg
import numpy as np

from hedgefund_core.schemas import VALIDATED_BARS
from hedgefund_dagster.defs.look_ahead import audited
from hedgefund_dagster.defs.validation.agreement import agreement_check
from hedgefund_dagster.defs.validation.expectations import check_result
from hedgefund_dagster.defs.validation.look_ahead import early_split_factors, late_rows, restated_cells
from hedgefund_dagster.resources.lake import LakeResource
from hedgefund_dagster.sources.source import SourceFacts

NOT_RESTATED, NO_SPLITS, AS_RECORDED = "no_late_restatement", "no_future_split_factor", "as_first_recorded"


def validation_checks(facts: SourceFacts) -> list[dg.AssetChecksDefinition]:
    """Checks of validated bars and panel of one source."""
    return [_suite(facts), _quarantine(facts), agreement_check(facts), _panel(facts), *_look_ahead(facts)]


def _suite(facts: SourceFacts) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dg.AssetKey([facts.name, "validated_bars"]),
        name="great_expectations",
        blocking=True,
        description="Every validated row is unique, positive, in range and known after it happened.",
    )
    def great_expectations(lake: LakeResource) -> dg.AssetCheckResult:
        return check_result(VALIDATED_BARS, lake.open().read_table(VALIDATED_BARS, facts.name), facts.name)

    return great_expectations


def _quarantine(facts: SourceFacts) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dg.AssetKey([facts.name, "validated_bars"]),
        name="quarantine_is_empty",
        description="Warns while rows wait in quarantine: look at the reasons, correct the source or release them.",
    )
    def quarantine_is_empty(lake: LakeResource) -> dg.AssetCheckResult:
        findings = lake.open().quarantine.read(facts.name).to_pylist()
        waiting = [finding for finding in findings if not finding["released"]]
        lines = "\n".join(f"| {f['symbol']} | {f['ts']:%Y-%m-%d} | {f['rule']} | {f['reason']} |" for f in waiting[:50])
        return dg.AssetCheckResult(
            passed=not waiting,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "waiting": len(waiting),
                "noted": len(findings) - len(waiting),
                "rows": dg.MetadataValue.md(f"| symbol | session | rule | reason |\n|---|---|---|---|\n{lines}" if lines else "none"),
            },
        )

    return quarantine_is_empty


def _panel(facts: SourceFacts) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dg.AssetKey([facts.name, "panel"]),
        name="holds_what_was_known",
        blocking=True,
        description="Digest and manifest agree; each session was known after its close; absent fields were not made up.",
    )
    def holds_what_was_known(lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.open()
        panel = store.read_panel(facts.name)
        made_up = [name for name in ("open", "high", "low", "volume") if getattr(panel, name) is not None and name not in facts.fields]
        early = panel.known_at is None or panel.close_at is None or bool(np.any(panel.known_at <= panel.close_at))
        return dg.AssetCheckResult(
            passed=not made_up and not early,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={"made_up": ", ".join(made_up) or "none", "known_too_early": early, "data_version": panel.data_version},
        )

    return holds_what_was_known


def _look_ahead(facts: SourceFacts) -> list[dg.AssetChecksDefinition]:
    key = dg.AssetKey([facts.name, "panel"])

    @dg.asset_check(
        asset=key,
        name=NOT_RESTATED,
        blocking=True,
        description="No row became known after the decision of its session: a restatement is not read as if it had always been there.",
    )
    def no_late_restatement(lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.open()
        return audited(late_rows(store, store.read_panel(facts.name)), "every row was known when its session was decided on")

    @dg.asset_check(
        asset=key,
        name=NO_SPLITS,
        blocking=True,
        description="Prices are those stored, adjusted by nothing; each split ratio stands at its own ex-session and no earlier.",
    )
    def no_future_split_factor(lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.open()
        return audited(early_split_factors(store, store.read_panel(facts.name)), "prices as stored, splits at their own sessions")

    @dg.asset_check(
        asset=key,
        name=AS_RECORDED,
        description="Warns where a value differs from the one first recorded: a vendor restated it, or a person corrected the file.",
    )
    def as_first_recorded(lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.open()
        found = restated_cells(store, store.read_panel(facts.name))
        return audited(found, "every value is the one first recorded", severity=dg.AssetCheckSeverity.WARN)

    return [no_late_restatement, no_future_split_factor, as_first_recorded]
