"""Vendors asked over the network: an asset a data set, one request at a time per vendor; nothing asks unless a person lets it."""

# No `from __future__ import annotations`: Dagster looks at the context's annotation itself, not at its text.
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import dagster as dg
import numpy as np
import pyarrow as pa

from hedgefund_core.configuration import SourcesSettings, VendorSettings
from hedgefund_core.errors import ConfigError
from hedgefund_dagster.automation import session_schedule
from hedgefund_dagster.metadata import OWNERS, sparkline
from hedgefund_dagster.partitions import partitions_of
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.lake import Lake, LakeResource
from hedgefund_dagster.settings import Settings, SettingsResource
from hedgefund_dagster.sources import VENDORS, open_vendor
from hedgefund_dagster.sources.bar_table import partition_rows, year_partitions
from hedgefund_dagster.sources.http.access import access_of
from hedgefund_dagster.sources.http.client import VendorStatus
from hedgefund_dagster.sources.http.declaration import Dataset, Scope, VendorFacts
from hedgefund_dagster.sources.http.pulse import real_pulse
from hedgefund_dagster.sources.source import Partitioning, RawPayload

GROUP = "vendors"
JOB, PRICES_JOB = "vendor_data", "vendor_prices"


class VendorRun(dg.Config):
    """What to ask for in this run; empty means the configuration's names, the first day there is, today."""

    names: list[str] = []  # noqa: RUF012 - Dagster copies defaults
    since: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a fetch brought and what of it was new."""

    rows: pa.Table
    added: int
    payloads: Sequence[RawPayload]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a run wants, and when it is."""

    run: VendorRun
    days: tuple[str, str]
    clock: Callable[[], datetime]
    run_id: str


def days_of(context: dg.AssetExecutionContext) -> tuple[str, str]:
    """First and last day of the run's partitions; empty texts in a run without."""
    if not (context.has_partition_key or context.has_partition_key_range):
        return "", ""
    return context.partition_key_range.start, context.partition_key_range.end


def scope_of(dataset: Dataset, settings: VendorSettings, run: VendorRun, today: date, days: tuple[str, str] = ("", "")) -> Scope:
    """The run's wish over its partitions over the configuration's over the data set's own; ConfigError if there is nothing to ask for."""
    names = tuple(run.names) or settings.names or tuple(settings.queries)
    if dataset.names_needed and not names:
        message = f"sources.yaml: vendors: {dataset.title}: no `names` to ask for"
        raise ConfigError(message, mend="list symbols, series or questions below vendors.<name> in config/sources.yaml")
    first, last = run.since or days[0] or settings.since or str(dataset.first), run.until or days[1] or str(today)
    try:
        since, until = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError as error:
        raise ConfigError(f"sources.yaml: vendors: {error}", mend="write days as YYYY-MM-DD") from error
    return Scope(names=names, since=max(since, dataset.first), until=until)


def store_rows(lake: Lake, source: str, dataset: Dataset, rows: pa.Table, run_id: str) -> int:
    """Add what is new, bars by year; returns how many rows were."""
    if dataset.table.identity:
        return lake.versions.append(dataset.table, source, rows, run_id=run_id).added
    return sum(lake.write_bars(source, year, partition_rows(rows, year), run_id=run_id).added for year in year_partitions(rows))


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
        code_version="1",
        description=f"{facts.title}: {dataset.title}, into the table {dataset.table.name}. {facts.licence}.",
    )
    def vendor_dataset(
        context: dg.AssetExecutionContext, config: VendorRun, lake: LakeResource, clock: ClockResource, settings: SettingsResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        wish = Wish(run=config, days=days_of(context), clock=clock.now, run_id=context.run.run_id)
        return dg.MaterializeResult(metadata=fetch_into(settings.open(), lake.open(), facts, dataset, wish))

    return vendor_dataset


def fetch_into(opened: Settings, store: Lake, facts: VendorFacts, dataset: Dataset, wish: Wish) -> dict[str, dg.MetadataValue]:
    """Ask the vendor, keep what came, store the rows; returns what the UI shows of it."""
    vendor, client = opened.vendor(facts.name), opened.vendor_client(facts, real_pulse(wish.clock))
    now = wish.clock()
    scope = scope_of(dataset, opened.vendor_settings(facts.name), wish.run, now.date(), wish.days)
    payloads = vendor.fetch(dataset.name, scope, client)
    for payload in payloads:
        store.raw.put(payload)
    rows = vendor.rows(dataset.name, payloads, now)
    added = store_rows(store, dataset.stored_as or facts.name, dataset, rows, wish.run_id)
    return _metadata(facts, dataset, scope, Stored(rows=rows, added=added, payloads=payloads), client.status())


def _metadata(facts: VendorFacts, dataset: Dataset, scope: Scope, stored: Stored, status: VendorStatus) -> dict[str, dg.MetadataValue]:
    files = "\n".join(f"| {p.origin} | {len(p.content)} | `{p.sha256[:16]}` | {p.retrieved_at.isoformat()} |" for p in stored.payloads)
    mapping = "\n".join(f"| {ours} | {theirs} |" for ours, theirs in dataset.mapping.items())
    biases = "\n".join(f"- **{bias.name}**: {bias.direction}" for bias in facts.biases)
    quota = ", ".join(f"{left} left of {window}" for window, left in status.quota_left.items())
    found: dict[str, dg.MetadataValue] = {
        "dagster/row_count": dg.MetadataValue.int(stored.rows.num_rows),
        "rows_added": dg.MetadataValue.int(stored.added),
        "files": dg.MetadataValue.md(f"| address | bytes | sha256 | retrieved |\n|---|---|---|---|\n{files}"),
        "scope": dg.MetadataValue.text(f"{', '.join(scope.names) or 'all'} from {scope.since} to {scope.until}"),
        "mapping": dg.MetadataValue.md(f"| column | the vendor's field |\n|---|---|\n{mapping}"),
        "biases": dg.MetadataValue.md(biases),
        "quota": dg.MetadataValue.text(quota),
        "breaker": dg.MetadataValue.text(status.breaker.value),
        "documentation": dg.MetadataValue.url(facts.documentation),
    }
    if dataset.price_kind is not None:
        found["price_kind"] = dg.MetadataValue.text(dataset.price_kind.value)
    values = next((name for name in ("close", "value") if name in stored.rows.column_names), None)
    if values is not None and stored.rows.num_rows:
        column = stored.rows.column(values).to_numpy().astype(np.float64)
        found["plot"] = sparkline(column, f"{values} in the order of the rows")
    return found


def vendor_facts() -> list[VendorFacts]:
    """Facts of every registered vendor; asks nothing."""
    return [open_vendor(name, SourcesSettings()).facts for name in VENDORS]


def _reachable(resource: SettingsResource, *, daily: bool) -> list[dg.AssetKey]:
    """Data sets whose key, contact and names are there: a schedule must not fail every day for what nobody configured."""
    opened, ready = resource.open(), []
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
    """Those asked for day by day, or the others."""
    return [dataset for dataset in facts.datasets if (dataset.partitioning is Partitioning.DAILY) == daily]


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
    return dg.RunRequest(run_key=f"vendors-{session}", asset_selection=_reachable(SettingsResource(), daily=False))


def _prices_after_session(session: str) -> dg.RunRequest | dg.SkipReason:
    ready = _reachable(SettingsResource(), daily=True)
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
