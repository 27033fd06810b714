"""Ingest: payloads as they came, bars as the source gave them, corporate actions where they are known."""

# No `from __future__ import annotations`: Dagster looks at the context's annotation itself, not at its text.
import dagster as dg

from hedgefund_core.schemas import CORPORATE_ACTIONS
from hedgefund_dagster.defs.ingest.shown import rows_shown
from hedgefund_dagster.metadata import OWNERS
from hedgefund_dagster.partitions import partitions_of
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.lake import LakeResource
from hedgefund_dagster.settings import SettingsResource
from hedgefund_dagster.sources.bar_table import action_rows, bar_rows, partition_rows, year_partitions
from hedgefund_dagster.sources.source import SourceFacts

GROUP = "ingest"


def ingest_assets(facts: SourceFacts) -> list[dg.AssetsDefinition]:
    """The ingest assets of one source."""
    return [_raw(facts), _bars(facts), *([_corporate_actions(facts)] if facts.has_corporate_actions else [])]


def _raw(facts: SourceFacts) -> dg.AssetsDefinition:
    name = facts.name

    @dg.asset(
        key=[name, "raw"],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"file"},
        tags={"source": name},
        code_version="1",
        description=f"Payloads of {facts.title}, kept as they came with origin, time and sha256. {facts.licence}.",
    )
    def raw(lake: LakeResource, clock: ClockResource, settings: SettingsResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        store = lake.open().raw
        records = [store.put(payload) for payload in settings.open().source(name).fetch(clock.now())]
        store.set_current(name, records)
        table = "\n".join(f"| {r.dataset} | {r.origin} | {r.size} | `{r.sha256[:16]}` | {r.retrieved_at} |" for r in records)
        biases = "\n".join(f"- **{bias.name}**: {bias.direction}" for bias in facts.biases)
        return dg.MaterializeResult(
            metadata={
                "files": dg.MetadataValue.md(f"| dataset | origin | bytes | sha256 | retrieved |\n|---|---|---|---|---|\n{table}"),
                "bytes": sum(record.size for record in records),
                "biases": dg.MetadataValue.md(biases),
                "price_kind": facts.price_kind.value,
            }
        )

    return raw


def _bars(facts: SourceFacts) -> dg.AssetsDefinition:
    name = facts.name

    @dg.asset(
        key=[name, "bars"],
        deps=[dg.AssetKey([name, "raw"])],
        partitions_def=partitions_of(facts.partitioning),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=GROUP,
        owners=OWNERS,
        kinds={"parquet"},
        tags={"source": name},
        code_version="1",
        description=f"Bars of {facts.title}: {facts.price_kind.value} prices; a row that differs from what is stored adds a version.",
    )
    def bars(
        context: dg.AssetExecutionContext, lake: LakeResource, clock: ClockResource, settings: SettingsResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        store, source = lake.open(), settings.open().source(name)
        rows = bar_rows(source.bars(store.raw.latest(name)), source.facts, clock.now())
        partitions = list(context.partition_keys) if context.has_partition_key or context.has_partition_key_range else year_partitions(rows)
        results = [store.write_bars(name, key, partition_rows(rows, key), run_id=context.run.run_id) for key in partitions]
        counts = {"rows_added": sum(r.added for r in results), "rows_unchanged": sum(r.unchanged for r in results)}
        return dg.MaterializeResult(metadata={**rows_shown(rows), **counts, "partitions": len(partitions)})

    return bars


def _corporate_actions(facts: SourceFacts) -> dg.AssetsDefinition:
    name = facts.name

    @dg.asset(
        key=[name, "corporate_actions"],
        deps=[dg.AssetKey([name, "raw"])],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"parquet"},
        tags={"source": name},
        code_version="1",
        description="Splits and dividends by ex-session with their provenance; no table where the source knows nothing of them.",
    )
    def corporate_actions(lake: LakeResource, clock: ClockResource, settings: SettingsResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        store, source, now = lake.open(), settings.open().source(name), clock.now()
        actions = source.corporate_actions(store.raw.latest(name))
        if actions is None:
            store.remove_table(CORPORATE_ACTIONS, name)
            return dg.MaterializeResult(metadata={"dagster/row_count": 0, "known": False})
        rows = action_rows(actions, source.facts, now)
        store.write_table(CORPORATE_ACTIONS, name, rows, recorded_at=now)
        splits = [f"{r['symbol']} {r['session']} {r['value']:g}:1" for r in rows.to_pylist() if r["kind"] == "split"]
        return dg.MaterializeResult(
            metadata={**rows_shown(rows), "known": True, "splits": ", ".join(splits) or "none", "provenance": actions.provenance}
        )

    return corporate_actions
