"""Validation: bad rows go to quarantine with a reason, a bad table blocks, the rest becomes a panel."""

from __future__ import annotations

import dagster as dg
import numpy as np

from hedgefund_core.schemas import CORPORATE_ACTIONS, VALIDATED_BARS
from hedgefund_dagster.defs.validation.automation import ON_NEW_DATA
from hedgefund_dagster.defs.validation.panel import long_actions, panel_manifest, panel_of
from hedgefund_dagster.defs.validation.quality import quality_metadata
from hedgefund_dagster.defs.validation.rows import in_snapshot, refuse_bad_table, validate_rows
from hedgefund_dagster.metadata import OWNERS, sparkline, table_metadata
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.lake import LakeResource
from hedgefund_dagster.settings import SettingsResource
from hedgefund_dagster.sources.source import SourceFacts

GROUP = "validation"


def validation_assets(facts: SourceFacts) -> list[dg.AssetsDefinition]:
    """Validated bars and panel of one source."""
    return [_validated_bars(facts), _panel(facts)]


def _validated_bars(facts: SourceFacts) -> dg.AssetsDefinition:
    name = facts.name

    @dg.asset(
        key=[name, "validated_bars"],
        deps=[dg.AssetKey([name, parent]) for parent in ("bars", *(("corporate_actions",) if facts.has_corporate_actions else ()))],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"parquet"},
        tags={"source": name},
        code_version="1",
        automation_condition=ON_NEW_DATA,
        description="The latest version of every bar that passes the row rules; the others are in the quarantine table with their reason.",
    )
    def validated_bars(lake: LakeResource, clock: ClockResource, settings: SettingsResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        store, now, source = lake.open(), clock.now(), settings.open().source(name)
        rows = in_snapshot(store.read_bars(name), source, store.raw.latest(name))
        known = facts.has_corporate_actions and store.has_table(CORPORATE_ACTIONS, name)
        actions = long_actions(store.read_table(CORPORATE_ACTIONS, name)) if known else None
        today, released = np.datetime64(now.date()), store.quarantine.released(name)
        result = validate_rows(rows, source.facts, today=today, released=released, actions=actions)
        new = store.quarantine.add(result.findings)
        refuse_bad_table(result, name)
        store.write_table(VALIDATED_BARS, name, result.valid, recorded_at=now)
        rules = ", ".join(f"{rule}: {count}" for rule, count in result.by_rule.items()) or "none"
        counts: dict[str, dg.RawMetadataValue] = {"rows_held": result.held, "findings": rules, "findings_new": new}
        return dg.MaterializeResult(metadata={**table_metadata(result.valid), **counts, **quality_metadata(rows, result.valid, facts)})

    return validated_bars


def _panel(facts: SourceFacts) -> dg.AssetsDefinition:
    name = facts.name
    parents = ["validated_bars", *(["corporate_actions"] if facts.has_corporate_actions else [])]

    @dg.asset(
        key=[name, "panel"],
        deps=[dg.AssetKey([name, parent]) for parent in parents],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"numpy"},
        tags={"source": name},
        code_version="1",
        automation_condition=ON_NEW_DATA,
        description="Date-major arrays of the universe: what research and the trading process read; its sha256 is the data version.",
    )
    def panel(lake: LakeResource, settings: SettingsResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        store, configured = lake.open(), settings.open()
        source = configured.source(name)
        built = panel_of(store, source, configured.universe)
        manifest = store.write_panel(built, panel_manifest(store, source, built, research_start=configured.research_start(name)))
        level = np.full(0, np.nan) if built.benchmark is None else built.benchmark
        return dg.MaterializeResult(
            data_version=dg.DataVersion(manifest.data_version),
            metadata={
                "dagster/row_count": manifest.rows,
                "sessions": f"{manifest.first_session} to {manifest.last_session}",
                "symbols": ", ".join(manifest.symbols),
                "price_kind": manifest.price_kind,
                "quarantined": manifest.quarantined,
                "benchmark": sparkline(level, manifest.benchmark_name),
                "biases": dg.MetadataValue.md("\n".join(f"- **{bias}**: {way}" for bias, way in manifest.biases)),
            },
        )

    return panel
