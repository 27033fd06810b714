"""One blocking check a feature: the stored values are tried for look-ahead on the real data, at each materialization."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from hedgefund_core.quant.features import FEATURES, default_specs
from hedgefund_core.quant.features.audit import audit_feature, audit_label_values, audit_labels
from hedgefund_core.quant.labels import forward_returns
from hedgefund_dagster.defs.features.stored import read_features, read_labels
from hedgefund_dagster.defs.look_ahead import audited
from hedgefund_dagster.resources.lake import LakeResource
from hedgefund_dagster.sources.source import SourceFacts

PREFIX = "no_look_ahead_"


def feature_checks(facts: SourceFacts) -> list[dg.AssetChecksDefinition]:
    """Look-ahead checks of features and labels of one source."""
    return [_features(facts), _labels(facts)]


def _features(facts: SourceFacts) -> dg.AssetChecksDefinition:
    key = dg.AssetKey([facts.name, "features"])
    specs = [
        dg.AssetCheckSpec(
            name=f"{PREFIX}{name}", asset=key, blocking=True, description=f"{feature.description} Value at t unchanged by data after t."
        )
        for name, feature in FEATURES.items()
    ]

    @dg.multi_asset_check(specs=specs, name=f"{facts.name}_look_ahead")
    def look_ahead(lake: LakeResource) -> Iterator[dg.AssetCheckResult]:
        store = lake.open()
        panel = store.read_panel(facts.name)
        stored = read_features(store, panel)
        known = {spec.name: spec for spec in default_specs(panel)}
        for name in FEATURES:
            if name not in stored.names:
                yield audited([], "not computed on this source", asset_key=key, check_name=f"{PREFIX}{name}")
                continue
            found = audit_feature(panel, stored.field(name), known.get(name, name))
            yield audited(found, "cut, altered and hidden", asset_key=key, check_name=f"{PREFIX}{name}")

    return look_ahead


def _labels(facts: SourceFacts) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dg.AssetKey([facts.name, "labels"]),
        name="begin_after_the_decision",
        blocking=True,
        description="A label begins at the fill after the decision, ends inside the data, and needs nothing that came after its end.",
    )
    def begin_after_the_decision(lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.open()
        panel = store.read_panel(facts.name)
        labels = read_labels(store, panel)
        fill = "next_close" if panel.open is None else "next_open"
        findings = audit_labels(panel, labels.values, start=labels.start, end=labels.end)
        findings += audit_label_values(
            panel, labels.values, end=labels.end, label=lambda known: forward_returns(known, labels.horizon, fill=fill).values
        )
        return audited(findings, "every label begins after its decision and reads nothing after its end")

    return begin_after_the_decision
