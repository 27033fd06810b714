"""Prices from whoever can serve them: the fallback order of the configuration, tried one after another, never mixing price kinds."""

# No `from __future__ import annotations`: Dagster looks at the context's annotation itself, not at its text.
import dagster as dg

from hedgefund_core.errors import ConfigError, DataUnavailable
from hedgefund_dagster.defs.ingest.vendors import VendorRun, Wish, days_of, fetch_into, vendor_facts
from hedgefund_dagster.metadata import OWNERS
from hedgefund_dagster.partitions import DAYS
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.lake import Lake, LakeResource
from hedgefund_dagster.settings import Settings, SettingsResource
from hedgefund_dagster.sources.fallback import Candidate, Choice, choose
from hedgefund_dagster.sources.http.breaker import BreakerStatus
from hedgefund_dagster.sources.http.declaration import Dataset, VendorFacts
from hedgefund_dagster.sources.http.pulse import real_pulse

GROUP = "served"
SERVED = ("bars", "corporate_actions")


def order_of(wanted: str, opened: Settings) -> dict[str, tuple[VendorFacts, Dataset]]:
    """The configured order, resolved; raises ConfigError naming an entry that is no vendor's data set of the same table."""
    known = {f"{facts.name}/{dataset.name}": (facts, dataset) for facts in vendor_facts() for dataset in facts.datasets}
    order = opened.sources.fallback.get(wanted, ())
    for entry in order:
        if entry not in known or known[entry][1].table is not known.get(order[0], known[entry])[1].table:
            message = f"sources.yaml: fallback.{wanted}: {entry!r} is no data set that could stand in"
            raise ConfigError(message, mend=f"write vendor/data set, one of: {', '.join(known)}")
    return {entry: known[entry] for entry in order}


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


def serve(wanted: str, opened: Settings, store: Lake, wish: Wish) -> tuple[Choice, dict[str, dg.MetadataValue]]:
    """Fetch from the first that can; one that fails when asked is passed over like one that cannot be asked."""
    order = order_of(wanted, opened)
    # One set of names, whoever serves: the run's, else that of the first vendor of the order that has any.
    names = wish.run.names or next((list(n) for facts, _ in order.values() if (n := opened.vendor_settings(facts.name).names)), [])
    asked = Wish(
        run=VendorRun(names=names, since=wish.run.since, until=wish.run.until), days=wish.days, clock=wish.clock, run_id=wish.run_id
    )
    candidates = {entry: candidate_of(entry, facts, dataset, opened, asked) for entry, (facts, dataset) in order.items()}
    while True:
        choice = choose(wanted, list(candidates.values()))
        facts, dataset = order[choice.source]
        try:
            return choice, fetch_into(opened, store, facts, dataset, asked)
        except DataUnavailable as error:
            candidates[choice.source] = Candidate(source=choice.source, price_kind=dataset.price_kind, trouble=error.message)


def served_assets() -> list[dg.AssetsDefinition]:
    """An asset for each data set that has a fallback order."""
    return [_served(wanted) for wanted in SERVED]


def _served(wanted: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=["served", wanted],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"http", "parquet"},
        pool="served",
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version="1",
        description=f"{wanted} of the first vendor of `fallback.{wanted}` (config/sources.yaml) that can serve, stored as that vendor's.",
    )
    def served(
        context: dg.AssetExecutionContext, config: VendorRun, lake: LakeResource, clock: ClockResource, settings: SettingsResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        wish = Wish(run=config, days=days_of(context), clock=clock.now, run_id=context.run.run_id)
        choice, found = serve(wanted, settings.open(), lake.open(), wish)
        passed = "\n".join(f"| {source} | {reason} |" for source, reason in choice.passed_over)
        shown = {
            "source": dg.MetadataValue.text(choice.source),
            "passed_over": dg.MetadataValue.md(
                f"| source | why not |\n|---|---|\n{passed}" if passed else "nobody: the first choice served"
            ),
        }
        return dg.MaterializeResult(metadata={**found, **shown})

    return served
