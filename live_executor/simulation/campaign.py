"""Many runs: which seeds break what, the smallest plan that still does, files to run them again, and what was met how often."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from hedgefund_core.errors import DataInvalid
from live_executor.simulation.coverage import Coverage
from live_executor.simulation.oracle import Break
from live_executor.simulation.pairs import reachable_crashes, reachable_moves
from live_executor.simulation.plan import Plan, plan_of
from live_executor.simulation.world import House, Run, simulate


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """A run as a file: everything to run it again, and what came of it."""

    plan: Plan
    breaks: tuple[Break, ...]
    head: str
    journal: tuple[msgspec.Raw, ...] = ()


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A seed that broke an invariant."""

    seed: int
    scenario: str
    invariant: str
    message: str
    faults: int
    replay: str
    """The command that runs it again and makes it small."""
    file: str = ""


class Met(msgspec.Struct, frozen=True, kw_only=True):
    """How often a pair was met."""

    first: str
    second: str
    times: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What many runs found."""

    runs: int
    seconds: float
    orders: int
    fills: int
    starts: int
    failures: tuple[Failure, ...]
    moves: tuple[Met, ...]
    """Order state and what happened to it."""
    crashes: tuple[Met, ...]
    """Point at which the power went, and what the broker had of our newest order."""
    happened: dict[str, int]
    """Faults that really took place."""
    awaits: dict[str, int]
    """Awaits at which the power went, wherever that was."""

    @property
    def ok(self) -> bool:
        """Whether nothing broke."""
        return not self.failures


def campaign(
    seeds: Iterable[int],
    house: House,
    *,
    scenario: str = "mixed",
    archive: Path | None = None,
    smallest: bool = False,
    heard: Callable[[Run], None] = lambda _run: None,
) -> Report:
    """Run seeds one after the other.

    Parameters
    ----------
    archive : folder for the failing ones; None keeps none. smallest : make their plans as small as they can be.
    heard : told of every run.
    """
    began, coverage, failures = time.perf_counter(), Coverage(), list[Failure]()
    runs = orders = fills = starts = 0
    for seed in seeds:
        run = simulate(plan_of(seed, scenario), house)
        coverage.add(run.coverage)
        runs, orders, fills, starts = runs + 1, orders + run.orders, fills + run.fills, starts + run.starts
        heard(run)
        if run.breaks:
            failures.append(_failure(minimized(run, house) if smallest else run, archive))
    return Report(
        runs=runs, seconds=round(time.perf_counter() - began, 3), orders=orders, fills=fills, starts=starts, failures=tuple(failures),
        moves=_met(reachable_moves(), coverage.moves), crashes=_met(reachable_crashes(), coverage.crashes),
        happened=dict(sorted(coverage.happened.items())), awaits=dict(sorted(coverage.awaits.items())),
    )  # fmt: skip


def together(reports: Sequence[Report]) -> Report:
    """Reports of several scenarios as one."""
    coverage = Coverage()
    for report in reports:
        coverage.moves.update({(met.first, met.second): met.times for met in report.moves})
        coverage.crashes.update({(met.first, met.second): met.times for met in report.crashes})
        coverage.happened.update(report.happened)
        coverage.awaits.update(report.awaits)
    return Report(
        runs=sum(report.runs for report in reports), seconds=round(sum(report.seconds for report in reports), 3),
        orders=sum(report.orders for report in reports), fills=sum(report.fills for report in reports),
        starts=sum(report.starts for report in reports), failures=tuple(failure for report in reports for failure in report.failures),
        moves=_met(reachable_moves(), coverage.moves), crashes=_met(reachable_crashes(), coverage.crashes),
        happened=dict(sorted(coverage.happened.items())), awaits=dict(sorted(coverage.awaits.items())),
    )  # fmt: skip


def _failure(run: Run, archive: Path | None) -> Failure:
    first = run.breaks[0]
    file = "" if archive is None else str(keep(run, archive))
    seed, scenario = run.plan.seed, run.plan.scenario
    return Failure(
        seed=seed, scenario=scenario, invariant=first.invariant, message=first.message, faults=len(run.plan.faults), file=file,
        replay=f"executor simulate --seed {seed} --scenario {scenario} --minimize",
    )  # fmt: skip


def _met(pairs: Iterable[tuple[str, str]], counts: dict[tuple[str, str], int]) -> tuple[Met, ...]:
    every = sorted({*pairs, *counts})
    return tuple(Met(first=one, second=other, times=counts.get((one, other), 0)) for one, other in every)


def minimized(run: Run, house: House) -> Run:
    """The run of a plan from which no fault can be left out without losing the break: delta debugging by halves, then by ones."""
    best, wanted, pieces = run, run.breaks[0].invariant, 2
    while len(best.plan.faults) > 1:
        faults = best.plan.faults
        size = max(1, len(faults) // pieces)
        smaller = next((found for cut in range(0, len(faults), size) if (found := _without(best, cut, size, house, wanted))), None)
        if smaller is not None:
            best, pieces = smaller, max(2, pieces - 1)
        elif size == 1:
            break
        else:
            pieces = min(len(faults), pieces * 2)
    return best


def _without(run: Run, cut: int, size: int, house: House, wanted: str) -> Run | None:
    faults = run.plan.faults[:cut] + run.plan.faults[cut + size :]
    found = simulate(msgspec.structs.replace(run.plan, faults=faults), house)
    return found if found.breaks and found.breaks[0].invariant == wanted else None


def keep(run: Run, folder: Path) -> Path:
    """Write a run to a file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run.plan.scenario}-{run.plan.seed}.json"
    journal = tuple(msgspec.Raw(entry.payload) for entry in run.entries)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(Archive(plan=run.plan, breaks=run.breaks, head=run.head, journal=journal))))
    return path


def read_archive(path: Path) -> Archive:
    """A file that `keep` wrote; raises DataInvalid."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Archive)
    except (OSError, msgspec.MsgspecError) as error:
        raise DataInvalid(f"{path} is no archived run: {error}", mend="name a file that `executor simulate` wrote") from error
