"""The long proofs of the simulation: what was met how often, and which planted bugs are found within how many seeds."""

from __future__ import annotations

import sys

import pytest

from live_executor.simulation.campaign import campaign
from live_executor.simulation.coverage import UNREACHABLE, UNREACHABLE_CRASHES
from live_executor.simulation.plan import plan_of
from live_executor.simulation.world import simulate
from tests.scenario.planted import PLANTED
from tests.scenario.simulated import house

pytestmark = pytest.mark.slow
SEEDS, WITHIN = 2000, 2000


@pytest.mark.timeout(3600)
def test_two_thousand_worlds_break_nothing_and_say_what_they_met(capsys: pytest.CaptureFixture[str]) -> None:
    report = campaign(range(20_000, 20_000 + SEEDS), house())
    with capsys.disabled():
        for met in (*report.moves, *report.crashes):
            sys.stdout.write(f"{met.first:22s} {met.second:16s} {met.times:7d}\n")
    assert report.failures == ()
    never = {(status.value, how.value) for status, how in UNREACHABLE} | set(UNREACHABLE_CRASHES)
    strange = [met for met in (*report.moves, *report.crashes) if met.times and (met.first, met.second) in never]
    assert strange == [], "a pair that is said to be out of reach was met"


@pytest.mark.timeout(7200)
def test_planted_bugs_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    table = dict[str, str]()
    for name, plant in PLANTED.items():
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            broken = ((seed, run) for seed in range(1, WITHIN + 1) if (run := simulate(plan_of(seed), house())).breaks)
            first = next(broken, None)
        table[name] = "not found" if first is None else f"seed {first[0]}: {first[1].breaks[0].invariant}"
        with capsys.disabled():
            sys.stdout.write(f"{name:45s} {table[name]}\n")
    assert sum(words != "not found" for words in table.values()) >= 18
