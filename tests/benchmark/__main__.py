"""`make bench`, `make bench ONLY=lake`: measure, print a table, write data/reports/bench.json. A missed goal is printed, not hidden.

An area is a file ``bench_<area>.py`` with ``def measure(folder: Path) -> Iterator[Row]``; ``folder`` is an empty one to write into,
removed afterwards. Rows to measure on come from ``data.py``; a peer and ours take turns in the same run (``row.alternating_seconds``).
A peer that is not installed is said in the row's note.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from tests.benchmark.data import is_real
from tests.benchmark.row import Row

HERE = Path(__file__).parent
STEM = "bench_"


class Area(msgspec.Struct, frozen=True, kw_only=True):
    """What one file measured; ``error`` says why it could not."""

    name: str
    rows: list[Row] = []
    error: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``bench.json``."""

    python: str
    processor: str
    cores: int
    real_data: bool
    areas: list[Area]


def known_areas() -> list[str]:
    """Names of the files beside this one."""
    return sorted(path.stem.removeprefix(STEM) for path in HERE.glob(f"{STEM}*.py"))


def measured(name: str) -> Area:
    """Run one area in an empty folder; an error ends it, not the others."""
    measure = importlib.import_module(f"tests.benchmark.{STEM}{name}").measure
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
        try:
            rows.extend(measure(Path(folder)))
        except Exception as error:  # noqa: BLE001 - the outermost loop of a command: the other areas are measured all the same
            return Area(name=name, rows=rows, error=f"{type(error).__name__}: {error}")
    return Area(name=name, rows=rows)


def shown(report: Report) -> Table:
    """The report as a table."""
    table = Table(title=f"{report.cores} cores, Python {report.python}, {'real' if report.real_data else 'made-up'} rows")
    for heading in ("area", "figure", "ours", "peer", "theirs", "ratio", "goal", "", "note"):
        table.add_column(heading, justify="right" if heading in {"ours", "theirs", "ratio"} else "left", overflow="fold")
    for area in report.areas:
        for row in area.rows:
            verdict = "[green]met[/green]" if row.met else "[red]missed[/red]"
            theirs = "" if row.theirs is None else _figure(row.theirs, row.unit)
            ratio = "" if row.ratio is None else f"{row.ratio:,.1f}x"
            table.add_row(area.name, row.name, _figure(row.ours, row.unit), row.peer, theirs, ratio, row.goal, verdict, row.note)
        if area.error:
            table.add_row(area.name, "", "", "", "", "", "", "[red]error[/red]", area.error)
    return table


def _figure(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if abs(value) >= 1000 else f"{value:.3g} {unit}"


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Arguments; a wrong one ends with exit code 2."""
    parser = argparse.ArgumentParser(prog="bench", description="Ours and its peers, measured in the same run.")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of {', '.join(known_areas())}; default: all")
    parser.add_argument("--json", type=Path, default=None, help="where the figures go; default: data/reports/bench.json")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a goal is missed")
    given = parser.parse_args(argv)
    unknown = sorted(set(given.areas) - set(known_areas()))
    if unknown:
        parser.error(f"unknown area {', '.join(unknown)}; known: {', '.join(known_areas())}")
    return given


def main(argv: Sequence[str] | None = None, console: Console | None = None) -> int:
    """Measure; 0 unless an area broke, or a goal was missed under --strict."""
    given, screen = parsed(sys.argv[1:] if argv is None else argv), console or Console(width=None if sys.stdout.isatty() else 160)
    areas = []
    for name in given.areas or known_areas():
        screen.print(f"[dim]{name} ...[/dim]")
        areas.append(measured(name))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    report = Report(python=platform.python_version(), processor=platform.processor(), cores=cores, real_data=is_real(), areas=areas)
    place = given.json or Path(os.environ.get("HEDGEFUND_DATA_DIR") or "data") / "reports" / "bench.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    screen.print(shown(report))
    rows = [row for area in areas for row in area.rows]
    screen.print(f"{sum(row.met for row in rows)} of {len(rows)} goals met; figures in {place}")
    broken = any(area.error for area in areas) or (given.strict and not all(row.met for row in rows))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
