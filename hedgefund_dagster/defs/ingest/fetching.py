"""Asking a vendor and keeping what it says: in groups of names, so that a long load shows how far it is and can be taken up again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import msgspec
import pyarrow as pa

from hedgefund_core import layout
from hedgefund_core.configuration import VendorSettings
from hedgefund_core.errors import ConfigError
from hedgefund_dagster.progress import Progress
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_files import arrow_schema
from hedgefund_dagster.resources.lake_raw import RawRecord
from hedgefund_dagster.settings import Settings, data_folder
from hedgefund_dagster.sources.bar_table import partition_rows, year_partitions
from hedgefund_dagster.sources.http.client import HttpClient, VendorStatus
from hedgefund_dagster.sources.http.declaration import Dataset, Scope, Vendor, VendorFacts
from hedgefund_dagster.sources.http.pulse import Pulse, real_pulse
from hedgefund_dagster.sources.source import RawPayload
from hedgefund_dagster.sources.stored import stored_through

STORED_AT_ONCE = 50
"""Names whose rows are stored together: one file a write, and at most so much asked for again after an interruption."""
_RESUMABLE = timedelta(hours=6)


class VendorRun(dg.Config):
    """What to ask for in this run; empty means the configuration's names, the first day there is, today."""

    names: list[str] = []  # noqa: RUF012 - Dagster copies defaults
    since: str = ""
    until: str = ""


Keep = Callable[[pa.Table, list[RawRecord]], None]


def _keep_nothing(_rows: pa.Table, _records: list[RawRecord]) -> None:
    """Rows go to the vendor's own table only."""


def _say_nothing(_words: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a run wants, when it is, whom it tells how far it is, and who else keeps the rows."""

    run: VendorRun
    days: tuple[str, str]
    clock: Callable[[], datetime]
    run_id: str
    say: Callable[[str], None] = _say_nothing
    keep: Keep = _keep_nothing


@dataclass(slots=True, kw_only=True)
class Fetch:
    """What a fetch brought and what of it was new; ``resumed`` names were stored by a run that was interrupted."""

    facts: VendorFacts
    dataset: Dataset
    scope: Scope
    rows: pa.Table
    status: VendorStatus
    added: int = 0
    resumed: int = 0
    payloads: list[RawPayload] = field(default_factory=list)


class _Load(msgspec.Struct, frozen=True, kw_only=True):
    """A load that was begun: what it is of, since when, and the names that are stored."""

    since: str
    until: str
    begun: str
    names: tuple[str, ...] = ()


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


def fetch_into(opened: Settings, store: Lake, facts: VendorFacts, dataset: Dataset, wish: Wish) -> Fetch:
    """Ask the vendor, keep what came, store the rows, some names at a time; what an interrupted run stored is not asked for again."""
    pulse = real_pulse(wish.clock)
    vendor, client = opened.vendor(facts.name), opened.vendor_client(facts, pulse)
    scope = scope_of(dataset, opened.vendor_settings(facts.name), wish.run, wish.clock().date(), wish.days)
    if not wish.run.since:  # a person who names a first day wants all of it again
        scope = replace(scope, stored_through=stored_through(store, facts.name, dataset))
    note = data_folder(opened.env) / layout.vendor_folder(facts.name) / "loads" / f"{dataset.name}.json"
    load = _begun(note, scope, wish.clock())
    stored = load.names if dataset.names_needed else ()
    left = replace(scope, names=tuple(name for name in scope.names if name not in stored))
    fetch = Fetch(
        facts=facts,
        dataset=dataset,
        scope=scope,
        rows=arrow_schema(dataset.table).empty_table(),
        status=client.status(),
        resumed=len(scope.names) - len(left.names),
    )
    if left.names or not dataset.names_needed:
        for names in _stored_groups(fetch, left, (vendor, client, pulse), store, wish):
            load = msgspec.structs.replace(load, names=(*load.names, *names))
            _note(note, load)
    note.unlink(missing_ok=True)
    fetch.status = client.status()
    return fetch


def _stored_groups(
    fetch: Fetch, left: Scope, asked: tuple[Vendor, HttpClient, Pulse], store: Lake, wish: Wish
) -> Iterator[tuple[str, ...]]:
    """Fetch and store group after group; yields the names of each once they are stored."""
    vendor, client, pulse = asked
    dataset, title = fetch.dataset, f"{fetch.facts.name}/{fetch.dataset.name}"
    total, unit = (len(fetch.scope.names), "names") if dataset.names_needed else (1, "data sets")
    progress = Progress(title, total, say=wish.say, elapsed=pulse.elapsed, already=fetch.resumed)
    for group in _parts(dataset, left, max(STORED_AT_ONCE, dataset.names_at_once)):
        payloads: list[RawPayload] = []
        for part in _parts(dataset, group, dataset.names_at_once):
            payloads.extend(vendor.fetch(dataset.name, part, client))
            progress.advance(len(part.names) if dataset.names_needed else 1, unit)
        records = [store.raw.put(payload) for payload in payloads]
        rows = vendor.rows(dataset.name, payloads, wish.clock())
        fetch.added += store_rows(store, dataset.stored_as or fetch.facts.name, dataset, rows, wish.run_id)
        wish.keep(rows, records)
        fetch.rows = pa.concat_tables([fetch.rows, rows])
        fetch.payloads.extend(payloads)
        yield group.names


def _parts(dataset: Dataset, scope: Scope, size: int) -> Iterator[Scope]:
    """The scope in parts of so many names; a data set that is not asked for by name is one part."""
    if not dataset.names_needed:
        yield scope
        return
    for start in range(0, len(scope.names), size):
        yield replace(scope, names=scope.names[start : start + size])


def _begun(note: Path, scope: Scope, now: datetime) -> _Load:
    """The interrupted load of the same days, if it is of the last hours; else a new one."""
    fresh = _Load(since=str(scope.since), until=str(scope.until), begun=now.isoformat())
    try:
        found = msgspec.json.decode(note.read_bytes(), type=_Load)
    except (FileNotFoundError, msgspec.DecodeError):
        return fresh
    same = (found.since, found.until) == (fresh.since, fresh.until)
    return found if same and abs(now - datetime.fromisoformat(found.begun)) <= _RESUMABLE else fresh


def _note(note: Path, load: _Load) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    written = note.with_suffix(".part")
    written.write_bytes(msgspec.json.encode(load))
    written.replace(note)
