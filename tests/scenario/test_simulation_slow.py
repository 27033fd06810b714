"""The long proofs of the simulation: every pair is met a hundred times, planted bugs are found; `make test-all` ends with both tables."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from live_executor.simulation.campaign import Report, campaign, together
from live_executor.simulation.pairs import UNREACHABLE, UNREACHABLE_CRASHES, reachable_crashes, reachable_moves
from live_executor.simulation.plan import SCENARIOS, plan_of
from live_executor.simulation.world import simulate
from tests.scenario.planted import PLANTED, PLANTED_IN_MODELS
from tests.scenario.simulated import house

pytestmark = pytest.mark.slow
AT_LEAST = 100
SEEDS = {"moves": 760, "crash": 1700, "mixed": 500, "model": 300}
"""So many of each: two are made of rare moments, the third of everything at once, the last of what a promoted model meets."""
FIRST, OTHERS = 20_000, 40
WITHIN, LEAST_FOUND = 2000, 29
HUNTERS = ("mixed", "moves", "crash", "calls", "people", "stream")
Note = Callable[[str, object], None]


@pytest.mark.timeout(3600)
def test_every_pair_is_met_a_hundred_times_and_nothing_breaks(record_property: Note) -> None:
    others = {name: OTHERS for name in SCENARIOS if name not in SEEDS}
    report = together(
        [campaign(range(FIRST, FIRST + count), house(), scenario=name) for name, count in (SEEDS | others).items()],
    )
    record_property("table", _table(report))
    assert report.failures == ()
    times = {(met.first, met.second): met.times for met in (*report.moves, *report.crashes)}
    wanted = {*reachable_moves(), *reachable_crashes()}
    assert {pair: times[pair] for pair in wanted if times[pair] < AT_LEAST} == {}
    never = {(status.value, how.value) for status, how in UNREACHABLE} | set(UNREACHABLE_CRASHES)
    assert {pair: count for pair, count in times.items() if count and pair in never} == {}, "a pair said to be out of reach was met"


def _table(report: Report) -> str:
    lines = [
        f"simulation: {report.runs} seeds, {report.starts} starts, {report.orders} orders, {report.fills} fills, {report.seconds:.0f} s"
    ]
    lines += [f"  {met.first:22s} x {met.second:16s} {met.times:7d}" for met in (*report.moves, *report.crashes)]
    return "\n".join(lines)


@pytest.mark.timeout(3600)
def test_planted_bugs_are_found(record_property: Note) -> None:
    found = {name: _first_break(name) for name in sorted(PLANTED)}
    record_property("table", "\n".join(f"planted bug: {name:45s} {where or 'not found'}" for name, where in found.items()))
    assert len(PLANTED) >= 20
    assert sum(map(bool, found.values())) >= LEAST_FOUND, [name for name, where in found.items() if not where]


def _first_break(name: str) -> str:
    """Seed, scenario and broken invariant of the first plan that a bug spoils, and that is sound without it; empty where none is."""
    for seed in range(1, WITHIN + 1):
        plan = plan_of(seed, "model" if name in PLANTED_IN_MODELS else HUNTERS[seed % len(HUNTERS)])
        with pytest.MonkeyPatch.context() as patch:
            PLANTED[name](patch)
            run = simulate(plan, house())
        if run.breaks and not simulate(plan, house()).breaks:
            return f"seed {seed} ({plan.scenario}): {run.breaks[0].invariant}"
    return ""
