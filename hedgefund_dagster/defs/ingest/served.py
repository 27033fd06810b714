"""Prices from whoever can serve them: the fallback order of the configuration, tried one after another, never mixing price kinds."""

# No `from __future__ import annotations`: Dagster looks at the context's annotation itself, not at its text.
from dataclasses import replace

import dagster as dg
import pyarrow as pa

from hedgefund_core.errors import ConfigError, DataUnavailable
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.schemas import CORPORATE_ACTIONS
from hedgefund_dagster.automation import FRESH
from hedgefund_dagster.defs.ingest.fetching import Fetch, VendorRun, Wish, days_of, fetch_into
from hedgefund_dagster.defs.ingest.serving import (
    actions_of,
    hands_of,
    mixed_symbols,
    stated_actions,
    stored_bars,
    write_served_actions,
    write_served_bars,
)
from hedgefund_dagster.defs.ingest.shown import Shown, fetch_shown
from hedgefund_dagster.defs.ingest.vendors import vendor_facts
from hedgefund_dagster.metadata import OWNERS
from hedgefund_dagster.partitions import DAYS
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.lake import Lake, LakeResource
from hedgefund_dagster.resources.lake_raw import RawRecord
from hedgefund_dagster.settings import Settings, SettingsResource
from hedgefund_dagster.sources.fallback import Candidate, Choice, choose
from hedgefund_dagster.sources.http.breaker import BreakerStatus
from hedgefund_dagster.sources.http.declaration import Dataset, VendorFacts
from hedgefund_dagster.sources.http.pulse import real_pulse
from hedgefund_dagster.sources.served import NAME

GROUP = "served"
BARS_KEY, ACTIONS_KEY = dg.AssetKey([NAME, "bars"]), dg.AssetKey([NAME, "corporate_actions"])
Order = dict[str, tuple[VendorFacts, Dataset]]


def order_of(wanted: str, opened: Settings) -> Order:
    """The configured order, resolved; raises ConfigError naming an entry that is no vendor's data set of the same table."""
    known = {f"{facts.name}/{dataset.name}": (facts, dataset) for facts in vendor_facts() for dataset in facts.datasets}
    order = opened.sources.fallback.get(wanted, ())
    for entry in order:
        if entry not in known or known[entry][1].table is not known.get(order[0], known[entry])[1].table:
            message = f"sources.yaml: fallback.{wanted}: {entry!r} is no data set that could stand in"
            raise ConfigError(message, mend=f"write vendor/data set, one of: {', '.join(known)}")
    resolved = {entry: known[entry] for entry in order}
    adjusted = [entry for entry, (_, dataset) in resolved.items() if dataset.price_kind not in (None, PriceKind.RAW)]
    if adjusted:
        message = f"sources.yaml: fallback.{wanted}: {adjusted[0]!r} does not bring raw prices: the source `served` holds nothing else"
        raise ConfigError(message, mend=f"take {adjusted[0]} out of the order")
    return resolved


def ranks(order: Order) -> dict[str, int]:
    """Place in the order of each source that rows can name."""
    return {dataset.stored_as or facts.name: place for place, (facts, dataset) in enumerate(order.values())}


def candidate_of(entry: str, facts: VendorFacts, dataset: Dataset, opened: Settings, wish: Wish) -> Candidate:
    """What is known of a candidate before anything is asked: key, contact, breaker."""
    trouble = ""
    try:
        client = opened.vendor_client(facts, real_pulse(wish.clock))
        state = client.status()
        if state.breaker is BreakerStatus.OPEN:
            trouble = f"its breaker is open: {state.history.last_reason}"
    except ConfigError as error:
        trouble = error.message
    return Candidate(source=entry, price_kind=dataset.price_kind, trouble=trouble)


def serve(wanted: str, opened: Settings, store: Lake, wish: Wish) -> tuple[Choice, Fetch]:
    """Fetch from the first that can; one that fails when asked is passed over like one that cannot be asked."""
    order = order_of(wanted, opened)
    # One set of names, whoever serves: the run's, else that of the first vendor of the order that has any.
    names = wish.run.names or next((list(n) for facts, _ in order.values() if (n := opened.vendor_settings(facts.name).names)), [])
    asked = replace(wish, run=VendorRun(names=names, since=wish.run.since, until=wish.run.until))
    candidates = {entry: candidate_of(entry, facts, dataset, opened, asked) for entry, (facts, dataset) in order.items()}
    while True:
        choice = choose(wanted, list(candidates.values()))
        facts, dataset = order[choice.source]
        wish.say(f"served/{wanted}: asking {choice.source}")
        try:
            return choice, fetch_into(opened, store, facts, dataset, asked)
        except DataUnavailable as error:
            wish.say(f"served/{wanted}: {choice.source} is passed over: {error.message}")
            candidates[choice.source] = Candidate(source=choice.source, price_kind=dataset.price_kind, trouble=error.message)


def served_assets() -> list[dg.AssetsDefinition]:
    """An asset for each data set that has a fallback order."""
    return [_served("bars"), _served("corporate_actions")]


def _served(wanted: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=[NAME, wanted],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"http", "parquet"},
        tags={"source": NAME},
        pool=NAME,
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        freshness_policy=FRESH,
        code_version="2",
        description=f"{wanted} of the first vendor of `fallback.{wanted}` (config/sources.yaml) that can serve. Stored as that vendor's "
        "and under `served`, where an earlier choice replaces a later one and a later one only fills gaps; each row names its vendor.",
    )
    def served(
        context: dg.AssetExecutionContext, config: VendorRun, lake: LakeResource, clock: ClockResource, settings: SettingsResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        opened, store = settings.open(), lake.open()
        rank, added = ranks(order_of(wanted, opened)), [0]

        def keep(rows: pa.Table, records: list[RawRecord]) -> None:
            for record in records:
                store.raw.refer(NAME, record)
            write = write_served_bars if wanted == "bars" else write_served_actions
            added[0] += write(store, rows, rank, context.run.run_id)

        wish = Wish(run=config, days=days_of(context), clock=clock.now, run_id=context.run.run_id, say=context.log.info, keep=keep)
        choice, fetch = serve(wanted, opened, store, wish)
        if wanted == "corporate_actions":
            table = actions_of(stated_actions(store), rank)
            store.write_table(CORPORATE_ACTIONS, NAME, table, recorded_at=clock.now(), run_id=context.run.run_id)
        return dg.MaterializeResult(metadata={**fetch_shown(fetch), **_choice_shown(choice), **_hands_shown(wanted, store, added[0])})

    return served


def _choice_shown(choice: Choice) -> Shown:
    passed = "\n".join(f"| {source} | {reason} |" for source, reason in choice.passed_over)
    words = f"| source | why not |\n|---|---|\n{passed}" if passed else "nobody: the first choice served"
    return {"source": dg.MetadataValue.text(choice.source), "passed_over": dg.MetadataValue.md(words)}


def _hands_shown(wanted: str, store: Lake, added: int) -> Shown:
    """Of all that is stored: who served it."""
    hands = hands_of(stored_bars(store) if wanted == "bars" else stated_actions(store))
    lines = "\n".join(f"| {hand.vendor} | {hand.rows} | {hand.symbols} | {hand.first} | {hand.last} |" for hand in hands)
    return {
        "served_rows_added": dg.MetadataValue.int(added),
        "vendors": dg.MetadataValue.md(f"| vendor | rows | symbols | first | last |\n|---|---|---|---|---|\n{lines}"),
    }


def served_checks() -> list[dg.AssetChecksDefinition]:
    """Whether a symbol's history changed hands."""

    @dg.asset_check(
        asset=BARS_KEY,
        name="one_vendor_a_symbol",
        description="Warns where more than one vendor served a symbol's history: a seam may show as a jump of price or volume.",
    )
    def one_vendor_a_symbol(lake: LakeResource) -> dg.AssetCheckResult:
        mixed = mixed_symbols(stored_bars(lake.open()))
        lines = "\n".join(f"| {symbol} | {', '.join(vendors)} |" for symbol, vendors in list(mixed.items())[:50])
        return dg.AssetCheckResult(
            passed=not mixed,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{len(mixed)} symbols have rows of several vendors" if mixed else "each symbol's history is of one vendor",
            metadata={"symbols": dg.MetadataValue.md(f"| symbol | vendors |\n|---|---|\n{lines}" if mixed else "none")},
        )

    return [one_vendor_a_symbol]
