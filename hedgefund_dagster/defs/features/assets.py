"""Features and labels of the validated panel."""

# No `from __future__ import annotations`: Dagster looks at the context's annotation itself, not at its text.
import dagster as dg
import msgspec
import numpy as np

from hedgefund_core.quant.features import FEATURES, code_digest, compute_features, default_specs
from hedgefund_core.quant.labels import forward_returns
from hedgefund_dagster.defs.features.automation import ON_NEW_PANEL
from hedgefund_dagster.defs.features.stored import write_features, write_labels
from hedgefund_dagster.metadata import OWNERS, sparkline
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.lake import LakeResource
from hedgefund_dagster.settings import SettingsResource
from hedgefund_dagster.sources.source import SourceFacts

GROUP = "features"


class LabelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of ``models.yaml`` this slice reads; whoever owns the file refuses unknown ones."""

    label_horizon_sessions: int


def feature_assets(facts: SourceFacts) -> list[dg.AssetsDefinition]:
    """Features and labels of one source."""
    return [_features(facts), _labels(facts)]


def _features(facts: SourceFacts) -> dg.AssetsDefinition:
    name = facts.name

    @dg.asset(
        key=[name, "features"],
        deps=[dg.AssetKey([name, "panel"])],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"numpy", "parquet"},
        tags={"source": name},
        code_version=code_digest(list(FEATURES))[:12],
        automation_condition=ON_NEW_PANEL,
        description="Every registered feature the source has the fields, price kind and length for; each has its look-ahead check.",
    )
    def features(context: dg.AssetExecutionContext, lake: LakeResource, clock: ClockResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        store = lake.open()
        panel = store.read_panel(name)
        specs = default_specs(panel)
        computed = compute_features(panel, specs)
        digest = write_features(store, panel, computed, recorded_at=clock.now(), run_id=context.run.run_id)
        lines = [
            f"| {spec.name} | {spec.warm_up} | {np.isfinite(computed.values[:, :, i]).mean():.1%} | {FEATURES[spec.name].description} |"
            for i, spec in enumerate(specs)
        ]
        left_out = {
            key: feature.lacks(panel) or "its warm-up is too long" for key, feature in FEATURES.items() if key not in computed.names
        }
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": computed.values.shape[0] * computed.values.shape[1],
                "features": dg.MetadataValue.md("| feature | warm-up | coverage | meaning |\n|---|---|---|---|\n" + "\n".join(lines)),
                "left_out": dg.MetadataValue.md("\n".join(f"- {key}: {why}" for key, why in left_out.items()) or "none"),
                "sha256": digest,
                "data_version": panel.data_version,
            }
        )

    return features


def _labels(facts: SourceFacts) -> dg.AssetsDefinition:
    name = facts.name

    @dg.asset(
        key=[name, "labels"],
        deps=[dg.AssetKey([name, "panel"])],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"numpy", "parquet"},
        tags={"source": name},
        code_version="1",
        automation_condition=ON_NEW_PANEL,
        description="Forward returns of a position decided at a session and filled at the next, less the mean of the session's names.",
    )
    def labels(
        context: dg.AssetExecutionContext, lake: LakeResource, clock: ClockResource, settings: SettingsResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        store = lake.open()
        panel = store.read_panel(name)
        horizon = settings.open().load("models", LabelSettings).label_horizon_sessions
        fill = "next_close" if panel.open is None else "next_open"
        made = forward_returns(panel, horizon, fill=fill)
        digest = write_labels(store, panel, made, recorded_at=clock.now(), run_id=context.run.run_id)
        spread = np.full(len(made.values), np.nan)
        known = np.isfinite(made.values).any(axis=1)
        spread[known] = np.nanstd(made.values[known], axis=1)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": int(np.isfinite(made.values).sum()),
                "horizon_sessions": horizon,
                "fill": fill,
                "dispersion": sparkline(spread, f"cross-sectional dispersion of {horizon}-session returns"),
                "sha256": digest,
                "data_version": panel.data_version,
            }
        )

    return labels
