"""``make quarantine``, ``make release``: what is held back and why; a person lets rows back in, or takes that back, with a reason.

A release counts from the next validation on (materialize the asset validated_bars). Who, when and why is kept for good.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections import Counter
from collections.abc import Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table as Screen
from upath import UPath

from hedgefund_core.errors import HedgefundError
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.lake_quarantine import ALL_RULES, BARS, Choice, QuarantineStore
from hedgefund_dagster.settings import data_folder

TABLES = (BARS, "fundamentals")
SHOWN = 40


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """One finding as programs get it."""

    instrument: str
    symbol: str
    ts: str
    known_at: str
    rule: str
    severity: str
    reason: str
    evidence: dict[str, float | None]
    source: str
    value: float | None
    released: bool


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What a release did."""

    action: str
    findings: int
    person: str
    reason: str
    next: str = "materialize validated_bars: it counts from the next validation on"


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Arguments; a wrong one ends with exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m hedgefund_dagster.quarantine", description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="per rule and per symbol what is held, and the rows")
    listing.add_argument("--symbol", default="")
    listing.add_argument("--rule", default="")
    listing.add_argument("--all", action="store_true", help="notes and released rows as well")
    commands.add_parser("history", help="every release and its taking back")
    for name, what in (("release", "let rows back in"), ("unrelease", "hold released rows back again")):
        command = commands.add_parser(name, help=what)
        command.add_argument("symbol")
        command.add_argument("ts", help="a day (2024-01-31) or a moment (2024-01-31T21:00:00Z)")
        command.add_argument("rule", help=f"name of the rule, or {ALL_RULES}")
        command.add_argument("--reason", required=True, help="why the row is right after all, or is not")
        command.add_argument("--person", default=getpass.getuser(), help="who decides; default: the user of this machine")
    for command in commands.choices.values():
        command.add_argument("--source", default="", help="of one source only")
        command.add_argument("--table", choices=TABLES, default=BARS)
        command.add_argument("--json", action="store_true", help="for programs")
    return parser.parse_args(argv)


def chosen(store: QuarantineStore, given: argparse.Namespace) -> pa.Table:
    """The findings asked for, in the order of symbol and time."""
    rows = store.read(given.source or None)
    if not given.all:
        rows = rows.filter(pc.and_(pc.equal(rows.column("severity"), "error"), pc.invert(rows.column("released"))))
    for name in ("symbol", "rule"):
        if wanted := getattr(given, name):
            rows = rows.filter(pc.equal(rows.column(name), wanted))
    return rows.sort_by([("symbol", "ascending"), ("ts", "ascending"), ("rule", "ascending")])


def as_held(rows: pa.Table) -> list[Held]:
    """Findings for programs: times in RFC 3339, evidence as an object."""
    return [
        Held(
            **{name: row[name] for name in ("instrument", "symbol", "rule", "severity", "reason", "source", "value", "released")},
            ts=row["ts"].isoformat().replace("+00:00", "Z"),
            known_at=row["known_at"].isoformat().replace("+00:00", "Z"),
            evidence=msgspec.json.decode(row["evidence"], type=dict[str, float | None]),
        )
        for row in rows.to_pylist()
    ]


def show(rows: list[Held], screen: Console) -> None:
    """Counts per rule and per symbol, then the first rows."""
    cells = {(row.source, row.symbol, row.ts) for row in rows}
    screen.print(f"{len(cells)} rows, {len(rows)} findings")
    for title, counts in (("rule", Counter(row.rule for row in rows)), ("symbol", Counter(row.symbol for row in rows))):
        screen.print(f"by {title}: " + ", ".join(f"{name} {count}" for name, count in counts.most_common(SHOWN)))
    table = Screen("symbol", "ts", "rule", "severity", "reason", "source")
    for row in rows[:SHOWN]:
        table.add_row(row.symbol, row.ts[:10], row.rule, row.severity + (" (released)" if row.released else ""), row.reason, row.source)
    screen.print(table)
    if len(rows) > SHOWN:
        screen.print(f"{len(rows) - SHOWN} more: choose with SYMBOL= or RULE=, or all of them with JSON=1")


def act(given: argparse.Namespace, store: QuarantineStore, screen: Console) -> None:
    """Do what was asked and say it."""
    if given.command == "list":
        rows = as_held(chosen(store, given))
        if given.json:
            sys.stdout.write(f"{msgspec.json.encode(rows).decode()}\n")
        else:
            show(rows, screen)
        return
    if given.command == "history":
        lines = store.history()
        words = [f"{line.at} {line.person} {line.action} {line.symbol} {line.ts} {line.rule}: {line.reason}" for line in lines]
        sys.stdout.write(f"{msgspec.json.encode(lines).decode()}\n" if given.json else "".join(f"{line}\n" for line in words))
        return
    choice = Choice(symbol=given.symbol, ts=given.ts, rule=given.rule, source=given.source)
    change = store.release if given.command == "release" else store.unrelease
    count = change(choice, person=given.person, reason=given.reason, at=ClockResource().now())
    done = Changed(action=given.command, findings=count, person=given.person, reason=given.reason)
    said = f"{given.command}: {count} findings of {given.symbol} at {given.ts}, by {given.person}; {done.next}"
    sys.stdout.write(f"{msgspec.json.encode(done).decode() if given.json else said}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry; returns the exit code: 4 where nothing is held by that name."""
    given = parsed(sys.argv[1:] if argv is None else argv)
    try:
        act(given, QuarantineStore(UPath(data_folder(os.environ)), given.table), Console(width=None if sys.stdout.isatty() else 160))
    except HedgefundError as error:
        sys.stderr.write(f"error: {error.message}\n  mend: {error.mend}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
