"""Vendors asked over the network: an asset a data set, one request at a time per vendor; nothing asks unless a person lets it."""

# No `from __future__ import annotations`: Dagster looks at the context's annotation itself, not at its text.
import dagster as dg

from hedgefund_core.configuration import SourcesSettings
from hedgefund_core.errors import ConfigError
from hedgefund_core.schemas import INTRADAY_BARS, QUOTES, TRADES
from hedgefund_dagster.automation import FRESH, session_schedule
from hedgefund_dagster.defs.ingest.fetching import VendorRun, Wish, days_of, fetch_into
from hedgefund_dagster.defs.ingest.shown import fetch_shown
from hedgefund_dagster.metadata import OWNERS
from hedgefund_dagster.partitions import partitions_of
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.lake import LakeResource
from hedgefund_dagster.settings import Settings, SettingsResource
from hedgefund_dagster.sources import VENDORS, open_vendor
from hedgefund_dagster.sources.http.access import access_of
from hedgefund_dagster.sources.http.declaration import Dataset, VendorFacts
from hedgefund_dagster.sources.source import Partitioning

GROUP = "vendors"
WITHIN_THE_DAY = (INTRADAY_BARS, QUOTES, TRADES)
JOB, PRICES_JOB = "vendor_data", "vendor_prices"


def vendor_assets(facts: VendorFacts) -> list[dg.AssetsDefinition]:
    """An asset for each data set of a vendor."""
    return [_dataset_asset(facts, dataset) for dataset in facts.datasets]


def _dataset_asset(facts: VendorFacts, dataset: Dataset) -> dg.AssetsDefinition:
    @dg.asset(
        key=[facts.name, dataset.name],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"http", "parquet"},
        tags={"source": facts.name, "table": dataset.table.name},
        pool=facts.name,
        partitions_def=partitions_of(dataset.partitioning),
        backfill_policy=dg.BackfillPolicy.single_run() if dataset.partitioning is not Partitioning.NONE else None,
        freshness_policy=FRESH,
        code_version="1",
        description=f"{facts.title}: {dataset.title}, into the table {dataset.table.name}. {facts.licence}.",
    )
    def vendor_dataset(
        context: dg.AssetExecutionContext, config: VendorRun, lake: LakeResource, clock: ClockResource, settings: SettingsResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        wish = Wish(run=config, days=days_of(context), clock=clock.now, run_id=context.run.run_id, say=context.log.info)
        return dg.MaterializeResult(metadata=fetch_shown(fetch_into(settings.open(), lake.open(), facts, dataset, wish)))

    return vendor_dataset


def vendor_facts() -> list[VendorFacts]:
    """Facts of every registered vendor; asks nothing."""
    return [open_vendor(name, SourcesSettings()).facts for name in VENDORS]


def reachable(opened: Settings, *, daily: bool) -> list[dg.AssetKey]:
    """Data sets whose key, contact and names are there: a schedule must not fail every day for what nobody configured."""
    ready = []
    for facts in vendor_facts():
        settings = opened.vendor_settings(facts.name)
        try:
            access_of(facts, settings, opened.env)
        except ConfigError:
            continue
        asked = bool(settings.names or settings.queries)
        ready += [dg.AssetKey([facts.name, dataset.name]) for dataset in _datasets(facts, daily=daily) if asked or not dataset.names_needed]
    return ready


def _datasets(facts: VendorFacts, *, daily: bool) -> list[Dataset]:
    """Those asked for day by day, or the others. What is within the day is large, and asked for by a person only."""
    wanted = [dataset for dataset in facts.datasets if dataset.table not in WITHIN_THE_DAY]
    return [dataset for dataset in wanted if (dataset.partitioning is Partitioning.DAILY) == daily]


def _selection(*, daily: bool) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*([facts.name, dataset.name] for facts in vendor_facts() for dataset in _datasets(facts, daily=daily)))


vendor_data = dg.define_asset_job(
    JOB,
    selection=_selection(daily=False),
    description="Every whole data set of every vendor that is configured. Asks the network.",
    tags={"team": "research"},
)

vendor_prices = dg.define_asset_job(
    PRICES_JOB,
    selection=_selection(daily=True),
    description="Prices and corporate actions of every vendor that is configured, for a day or a range of days. Asks the network.",
    tags={"team": "research"},
)


def _after_session(session: str) -> dg.RunRequest:
    return dg.RunRequest(run_key=f"vendors-{session}", asset_selection=reachable(SettingsResource().open(), daily=False))


def _prices_after_session(session: str) -> dg.RunRequest | dg.SkipReason:
    ready = reachable(SettingsResource().open(), daily=True)
    if not ready:
        return dg.SkipReason("no price vendor has both its key and `names` (config/sources.yaml, vendors)")
    return dg.RunRequest(run_key=f"prices-{session}", partition_key=session, asset_selection=ready)


vendors_after_session = session_schedule(
    "vendors_after_session",
    JOB,
    _after_session,
    description="Half an hour after the exchange's close: the vendors whose key, contact and names are set. Stopped until you turn it on.",
)

prices_after_session = session_schedule(
    "prices_after_session",
    PRICES_JOB,
    _prices_after_session,
    description="Half an hour after the exchange's close: prices of the vendors whose key and names are set. Stopped until you turn it on.",
)
