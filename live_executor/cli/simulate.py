"""The whole executor in a world that fails by plan: virtual time, seeded chance, the same journal for the same seed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from live_executor.cli import show
from live_executor.cli.show import JsonOption

if TYPE_CHECKING:
    from live_executor.simulation.campaign import Report
    from live_executor.simulation.world import House

_SELDOM = 10


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(simulate)


def simulate(
    seed: Annotated[int, typer.Option("--seed", min=0, help="The first seed.")] = 1,
    seeds: Annotated[int, typer.Option("--seeds", min=1, metavar="COUNT", help="How many, one after the other.")] = 1,
    scenario: Annotated[
        str, typer.Option("--scenario", help="mixed, moves, crash, calls, stream, venue, people, disk, rare, calm or model.")
    ] = "mixed",
    minimize: Annotated[bool, typer.Option("--minimize", help="Leave out every fault that a failing run does not need.")] = False,
    again: Annotated[Path | None, typer.Option("--again", metavar="FILE", help="Run an archived run again.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Trade in a world of faults on virtual time and compare both books; exit 1 where an invariant broke, with a file to run it again."""
    from live_executor.settings import read_settings
    from live_executor.simulation.campaign import campaign
    from live_executor.simulation.plan import SCENARIOS
    from live_executor.simulation.world import house_of

    if scenario not in SCENARIOS:
        raise typer.BadParameter(f"{scenario!r} is not one of {', '.join(SCENARIOS)}", param_hint="--scenario")
    settings = read_settings()
    house = house_of(settings.mandates[settings.trading.live.mandate], settings.mandate, settings.trading.live)
    if again is not None:
        _again(again, house, as_json=as_json)
    folder = settings.data / "simulations"
    report = campaign(range(seed, seed + seeds), house, scenario=scenario, archive=folder, smallest=minimize)
    if as_json:
        show.as_json(report)
    else:
        _show(report)
    raise typer.Exit(0 if report.ok else 1)


def _show(report: Report) -> None:
    show.line(f"{report.runs} runs, {report.starts} starts, {report.orders} orders, {report.fills} fills in {report.seconds:.1f} s")
    seldom = [met for met in (*report.moves, *report.crashes) if met.times < _SELDOM]
    show.line(
        f"{len(report.moves)} moves of orders and {len(report.crashes)} power cuts to meet; {len(seldom)} met less than {_SELDOM} times"
    )
    show.table(report.failures, ("seed", "invariant", "message", "faults", "file", "replay"), empty="no invariant broke")


def _again(path: Path, house: House, *, as_json: bool) -> None:
    """One archived run: its journal is the same byte for byte as long as the program is."""
    from live_executor.simulation.campaign import read_archive
    from live_executor.simulation.world import simulate as run_plan

    kept = read_archive(path)
    run = run_plan(kept.plan, house)
    same = run.head == kept.head
    if as_json:
        show.as_json({"seed": kept.plan.seed, "ok": not run.breaks, "same_journal": same, "breaks": run.breaks, "head": run.head})
    else:
        show.table(run.breaks, ("at", "invariant", "message"), empty="no invariant broke")
        show.line(f"the journal is {'the same' if same else 'another one'} ({run.head[:16]})")
    raise typer.Exit(1 if run.breaks else 0)
