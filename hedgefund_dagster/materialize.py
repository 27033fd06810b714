"""``make materialize SELECT=... [PARTITION=|FROM= TO=]``: assets without the UI, in this process, on the instance the UI shows.

What is there already is not asked for again (``AGAIN=1`` does); the last session always is. Ends with a table: rows, what was new, seconds,
quality and checks of each asset.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
import msgspec
from dagster._core.utils import make_new_run_id
from rich.console import Console
from rich.table import Table

from hedgefund_core.errors import HedgefundError
from hedgefund_dagster.automation import last_session
from hedgefund_dagster.definitions import defs
from hedgefund_dagster.defs.ingest.automation import keys_of
from hedgefund_dagster.defs.sourced import all_facts
from hedgefund_dagster.demo_loop import Pipeline, instance
from hedgefund_dagster.partitions import DAYS, RANGE_END, RANGE_START
from hedgefund_dagster.progress import EVERY_SECONDS, WATCHER
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.settings import data_folder

INTERRUPTED, USAGE = 130, 2
_ROWS, _ADDED, _QUALITY = "dagster/row_count", ("served_rows_added", "rows_added"), "quality"


Usage = argparse.ArgumentTypeError
"""A selection or a day that is none: exit code 2."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """One asset as the table shows it."""

    asset: str
    rows: int | None
    added: int | None
    seconds: float
    quality: str
    checks: str
    failed: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will run: assets, and the windows of partitions that are missing (none: nothing is partitioned, or nothing is missing)."""

    keys: tuple[dg.AssetKey, ...]
    partitioned: frozenset[dg.AssetKey]
    windows: tuple[tuple[str, str], ...]
    there: int = 0


def selected(text: str) -> list[dg.AssetKey]:
    """Assets of a comma-separated selection in Dagster's words; the name of a source stands for its whole chain, prices to features."""
    graph, sources = defs.resolve_asset_graph(), {facts.name for facts in all_facts()}
    found: set[dg.AssetKey] = set()
    for part in (part.strip() for part in text.split(",")):
        if part in sources:
            found |= set(keys_of(part))
            continue
        try:
            keys = dg.AssetSelection.from_string(part).resolve(graph)
        except dg.DagsterError:
            keys = set()
        if not keys:
            raise Usage(f"no asset is selected by {part!r}; such as: served/bars, group:vendors, +served/features, files")
        found |= keys
    order = {key: place for place, key in enumerate(graph.toposorted_asset_keys)}
    return sorted((key for key in found if key in order and graph.get(key).is_materializable), key=order.__getitem__)


def planned(keys: Sequence[dg.AssetKey], given: argparse.Namespace, store: dg.DagsterInstance, clock: ClockResource) -> Plan:
    """Partitions that are asked for and not there yet, in windows of consecutive ones: a run each."""
    graph = defs.resolve_asset_graph()
    partitioned = {key: found for key in keys if (found := graph.get(key).partitions_def) is not None}
    kinds = set(partitioned.values())
    if len(kinds) > 1:
        raise Usage("years and days cannot be run together: select assets of one kind")
    if not kinds:
        if given.partition or given.first or given.last:
            raise Usage("none of these assets has partitions: leave PARTITION, FROM and TO away")
        return Plan(keys=tuple(keys), partitioned=frozenset(), windows=())
    (definition,) = kinds
    every = definition.get_partition_keys()
    first, last = _bounds(definition, every, given)
    asked = every[every.index(first) : every.index(last) + 1]
    done = set.intersection(*(set(store.get_materialized_partitions(key)) for key in partitioned))
    newest = str(last_session(clock.now())[0])
    done = set() if given.again else {key for key in done if key < newest}
    missing = [key for key in asked if key not in done]
    return Plan(
        keys=tuple(keys), partitioned=frozenset(partitioned), windows=tuple(_windows(missing, every)), there=len(asked) - len(missing)
    )


def _bounds(definition: dg.PartitionsDefinition[str], every: Sequence[str], given: argparse.Namespace) -> tuple[str, str]:
    """First and last partition asked for; raises Usage for one that is none."""
    if definition == DAYS and not (given.partition or given.first):
        raise Usage("these assets are asked for by day: name PARTITION=2026-11-20, or FROM= and TO=")
    if given.partition and (given.first or given.last):
        raise Usage("either PARTITION, or FROM and TO")
    first, last = given.partition or given.first or every[0], given.partition or given.last or every[-1]
    for key in (first, last):
        if key not in every:
            raise Usage(f"{key!r} is no partition: {every[0]} to {every[-1]}")
    if first > last:
        raise Usage(f"FROM {first} lies after TO {last}")
    return first, last


def _windows(missing: Sequence[str], every: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Stretches of partitions without one that is there in between."""
    place = {key: number for number, key in enumerate(every)}
    begun: str | None = None
    for number, key in enumerate(missing):
        begun = begun or key
        if number + 1 == len(missing) or place[missing[number + 1]] != place[key] + 1:
            yield begun, key
            begun = None


def carry_out(plan: Plan, pipeline: Pipeline, names: Sequence[str], begun: Callable[[str], None]) -> None:
    """Run window after window; the assets without partitions run with the last. ``begun`` is told each run's id before it runs."""
    config: dict[str, object] | None = {"names": list(names)} if names else None
    whole = [key for key in plan.keys if key not in plan.partitioned]
    windows: list[tuple[str, str] | None] = [*plan.windows] or [None]
    for number, window in enumerate(windows, start=1):
        keys = [key for key in plan.keys if key in plan.partitioned] if window else []
        keys += whole if number == len(windows) else []
        if not keys:
            continue
        run_id = make_new_run_id()
        begun(run_id)
        tags = {RANGE_START: window[0], RANGE_END: window[1]} if window else {}
        pipeline.run(keys, config=config, tags={**tags, "started_by": "make materialize"}, run_id=run_id)


def refuse_names(keys: Sequence[dg.AssetKey]) -> None:
    """Only assets that ask a vendor can be told names."""
    graph = defs.resolve_asset_graph()
    deaf = [key.to_user_string() for key in keys if graph.get(key).group_name not in ("vendors", "served")]
    if deaf:
        raise Usage(f"NAMES is for assets that ask a vendor, not for {', '.join(deaf[:5])}")


def made_in(store: dg.DagsterInstance, run_id: str) -> list[Made]:
    """What a run materialized, with seconds and checks; a run that failed half way tells of its first half."""
    events = [entry.dagster_event for entry in store.all_logs(run_id) if entry.dagster_event is not None]
    seconds = {stats.step_key: (stats.end_time or 0.0) - (stats.start_time or 0.0) for stats in store.get_run_step_stats(run_id)}
    latest = {event.asset_key: event for event in events if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION}
    checks = [event.asset_check_evaluation_data for event in events if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION]
    found = []
    for key, event in latest.items():
        if key is None:
            continue
        metadata = event.step_materialization_data.materialization.metadata
        mine = [check for check in checks if check.asset_key == key]
        bad = [f"{check.check_name}: {check.description or 'failed'}" for check in mine if not check.passed]
        found.append(
            Made(
                asset=key.to_user_string(),
                rows=_number(metadata, _ROWS),
                added=next((number for name in _ADDED if (number := _number(metadata, name)) is not None), None),
                seconds=round(seconds.get(event.step_key or "", 0.0), 2),
                quality=f"{metadata[_QUALITY].value:.4f}" if _QUALITY in metadata else "",
                checks=f"{len(mine) - len(bad)} of {len(mine)}" if mine else "",
                failed=bad,
            )
        )
    return found


def together(made: Sequence[Made]) -> list[Made]:
    """An asset that ran for several windows of days is one line: counts and seconds added up, the last one's quality and checks."""
    found: dict[str, Made] = {}
    for asset in made:
        before = found.get(asset.asset)
        if before is None:
            found[asset.asset] = asset
            continue
        rows, added = ((one or 0) + (other or 0) for one, other in ((before.rows, asset.rows), (before.added, asset.added)))
        found[asset.asset] = msgspec.structs.replace(asset, rows=rows, added=added, seconds=round(before.seconds + asset.seconds, 2))
    return list(found.values())


def _number(metadata: dg.MetadataMapping, name: str) -> int | None:
    value = metadata[name].value if name in metadata else None
    return value if isinstance(value, int) else None


def shown(made: Sequence[Made], seconds: float) -> Table:
    """The table of a run."""
    table = Table(title=f"{len(made)} assets in {seconds:.1f} s", title_justify="left")
    for heading in ("asset", "rows", "new", "seconds", "quality", "checks", "warnings"):
        table.add_column(heading, justify="right" if heading in {"rows", "new", "seconds"} else "left", overflow="fold")
    for asset in made:
        counts = ["" if number is None else f"{number:,}" for number in (asset.rows, asset.added)]
        table.add_row(asset.asset, *counts, f"{asset.seconds:.1f}", asset.quality, asset.checks, "; ".join(asset.failed))
    return table


@contextmanager
def watched(screen: Console) -> Iterator[None]:
    """How far a long load is, a line every few seconds."""
    said = [time.perf_counter()]

    def watch(what: str, done: int, total: int) -> None:
        if done >= total or time.perf_counter() - said[0] >= EVERY_SECONDS:
            said[0] = time.perf_counter()
            screen.print(f"[dim]{what}: {done} of {total}[/dim]", highlight=False)

    token = WATCHER.set(watch)
    try:
        yield
    finally:
        WATCHER.reset(token)


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Arguments; a wrong one ends with exit code 2."""
    parser = argparse.ArgumentParser(prog="materialize", description="Materialize assets in this process, as the UI would.")
    parser.add_argument("select", help="assets, comma-separated: served/bars, group:vendors, +served/features, or a source's name: files")
    parser.add_argument("--partition", default="", help="one day (2026-11-20) or year (2004)")
    parser.add_argument("--from", dest="first", default="", help="first day or year")
    parser.add_argument("--to", dest="last", default="", help="last day or year; default: today")
    parser.add_argument("--names", default="", help="symbols or series, comma-separated, instead of those of config/sources.yaml")
    parser.add_argument("--again", action="store_true", help="also what is there already")
    parser.add_argument("--json", action="store_true", help="the table for programs")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing; returns the exit code."""
    given, screen = parsed(sys.argv[1:] if argv is None else argv), Console(stderr=True, width=None if sys.stderr.isatty() else 160)
    started, runs = time.perf_counter(), list[str]()
    try:
        with instance() as store, watched(screen):
            code = _run(given, store, screen, runs)
            made = together([asset for run_id in runs for asset in made_in(store, run_id)])
    except Usage as error:
        screen.print(f"[red]error:[/red] {error}", highlight=False)
        return USAGE
    except KeyboardInterrupt:
        screen.print("interrupted: what was stored stays; the same command goes on from there")
        return INTERRUPTED
    if given.json:
        sys.stdout.write(msgspec.json.encode(made).decode() + "\n")
    else:
        Console(width=None if sys.stdout.isatty() else 160).print(shown(made, time.perf_counter() - started))
    return code


def _run(given: argparse.Namespace, store: dg.DagsterInstance, screen: Console, runs: list[str]) -> int:
    """Plan and carry out; an error of ours is said with what mends it, and its exit code returned."""
    try:
        plan = planned(selected(given.select), given, store, ClockResource())
        if plan.there:
            screen.print(f"{plan.there} partitions are there already and are not asked for again (AGAIN=1 would)", highlight=False)
        names = [name.strip() for name in given.names.split(",") if name.strip()]
        if names:
            refuse_names(plan.keys)
        carry_out(plan, Pipeline(instance=store, lake=Lake(data_folder(os.environ))), names, runs.append)
    except HedgefundError as error:
        screen.print(f"[red]error:[/red] {error.message}", highlight=False)
        if error.mend:
            screen.print(f"  mend: {error.mend}", highlight=False)
        return error.exit_code
    except OSError as error:
        screen.print(
            f"[red]error:[/red] {error}\n  mend: free disk space, make the folder writable, or set HEDGEFUND_DATA_DIR", highlight=False
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
