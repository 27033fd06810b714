"""The whole executor on virtual time in a world that fails by plan: no invariant breaks, and planted bugs are found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from hedgefund_core.trading import events as e
from live_executor.cli import app
from live_executor.simulation.campaign import campaign, keep, minimized, read_archive
from live_executor.simulation.plan import SCENARIOS, plan_of
from live_executor.simulation.world import Run, simulate
from tests.scenario.planted import PLANTED
from tests.scenario.simulated import ROOT, SEEDS, house

SEEDS_IN_ONE = 25
BLOCKS = [("mixed", 1 + SEEDS_IN_ONE * n) for n in range(8)] + [
    (name, 1 + SEEDS_IN_ONE * n) for name in ("moves", "crash") for n in range(6)
]
QUICK = (
    "no look-up before a resend", "fill de-duplication off", "id renamed on restart", "own orders crossed", "journal after the send",
    "unknown taken for refused",
)  # fmt: skip


@pytest.mark.parametrize(("scenario", "first"), BLOCKS)
def test_no_invariant_breaks_whatever_fails(scenario: str, first: int) -> None:
    report = campaign(range(first, first + SEEDS_IN_ONE), house(), scenario=scenario)
    assert report.failures == ()
    assert report.orders > SEEDS_IN_ONE
    assert report.fills > SEEDS_IN_ONE


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_runs(scenario: str) -> None:
    report = campaign(range(9000, 9003), house(), scenario=scenario)
    assert report.failures == ()
    assert scenario != "model" or report.happened["ordered by a model"] > 3


@pytest.mark.parametrize(("scenario", "seed"), [("mixed", 3), ("model", 6)])
def test_the_same_seed_gives_the_same_journal_byte_for_byte(scenario: str, seed: int) -> None:
    one, other = (simulate(plan_of(seed, scenario), house()) for _ in range(2))
    assert one.entries == other.entries
    assert one.head == other.head != simulate(plan_of(seed + 1, scenario), house()).head


@pytest.mark.parametrize("path", sorted(SEEDS.glob("*.json")), ids=lambda path: path.stem)
def test_what_was_found_once_does_not_come_back(path: Path) -> None:
    kept = read_archive(path)
    assert kept.breaks, "an archive is of a run that broke something"
    assert simulate(kept.plan, house()).breaks == ()


def test_an_order_whose_end_was_told_while_it_was_looked_for_is_not_called_absent() -> None:
    over, absent = set[str](), set[str]()
    for entry in simulate(plan_of(20_023, "mixed"), house()).entries:
        match entry.frame:
            case e.OrderCanceled(client_order_id=name) | e.OrderExpired(client_order_id=name) | e.OrderRejected(client_order_id=name):
                over.add(name)
            case e.OrderAbsent(client_order_id=name):
                absent.add(name)
                assert name not in over
    assert over
    assert absent


def found(name: str, monkeypatch: pytest.MonkeyPatch, seeds: range) -> Run | None:
    with monkeypatch.context() as patch:
        PLANTED[name](patch)
        runs = (simulate(plan_of(seed), house()) for seed in seeds)
        return next((run for run in runs if run.breaks), None)


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_found_soon(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(name, monkeypatch, range(1, 151)) is not None


def test_a_failing_plan_is_made_small_and_can_be_run_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patch:
        PLANTED["unknown taken for refused"](patch)
        run = next(run for seed in range(1, 150) if (run := simulate(plan_of(seed), house())).breaks)
        small = minimized(run, house())
        assert len(small.plan.faults) <= min(3, len(run.plan.faults))
        assert small.breaks[0].invariant == run.breaks[0].invariant
        kept = read_archive(keep(small, tmp_path))
        again = simulate(kept.plan, house())
        assert (again.head, again.breaks) == (kept.head, small.breaks)
    assert simulate(kept.plan, house()).breaks == ()
    assert simulate(replace(kept.plan, faults=()), house()).breaks == ()


def test_the_command_says_what_broke_and_how_to_run_it_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEDGEFUND_CONFIG_DIR", str(ROOT / "config"))
    monkeypatch.setenv("HEDGEFUND_DATA_DIR", str(tmp_path))
    good = CliRunner().invoke(app, ["simulate", "--seed", "2", "--seeds", "2", "--json"])
    assert good.exit_code == 0
    assert json.loads(good.stdout)["runs"] == 2
    with monkeypatch.context() as patch:
        PLANTED["own orders crossed"](patch)
        bad = CliRunner().invoke(app, ["simulate", "--seed", "1", "--seeds", "8", "--json"])
        assert bad.exit_code == 1
        failure = json.loads(bad.stdout)["failures"][0]
        again = CliRunner().invoke(app, ["simulate", "--again", failure["file"], "--json"])
        assert again.exit_code == 1
        assert json.loads(again.stdout)["same_journal"] is True
    mended = CliRunner().invoke(app, ["simulate", "--again", failure["file"], "--json"])
    assert mended.exit_code == 0
    assert CliRunner().invoke(app, ["simulate", "--scenario", "weather"]).exit_code == 2
