"""Each rare fault of the simulation really takes place, is answered as it must be, and breaks no invariant."""

from __future__ import annotations

import pytest

from hedgefund_core import freezes
from hedgefund_core.trading import events as e
from live_executor.live.gates import STOPPING
from live_executor.simulation.campaign import campaign
from live_executor.simulation.plan import DAY_SECONDS, EVENING_SECONDS, SYMBOLS, WORDS, Fault, Kind, Plan, plan_of
from live_executor.simulation.world import Run, simulate
from tests.scenario.planted import PLANTED
from tests.scenario.simulated import house

EVENING = DAY_SECONDS - EVENING_SECONDS + 0.3
TRADING = (Fault(kind=Kind.TARGETS), Fault(kind=Kind.TARGETS, at=3.0), Fault(kind=Kind.TARGETS, at=5.0))
SLOWLY = tuple(Fault(kind=Kind.THIN, at=0.0, symbol=symbol, seconds=40.0) for symbol in SYMBOLS)


def played(*faults: Fault, seed: int = 3, sessions: int = 1) -> Run:
    """A run of these faults in which nothing breaks."""
    every = sorted((*TRADING, *faults), key=lambda fault: fault.at)
    run = simulate(Plan(seed=seed, scenario="made", sessions=sessions, faults=tuple(every)), house())
    assert run.breaks == ()
    return run


def causes(run: Run) -> set[str]:
    return {frame.cause for entry in run.entries if isinstance(frame := entry.frame, e.InstrumentFrozen)}


@pytest.mark.parametrize("when", ["", "late"])
def test_more_than_was_ordered_is_booked_and_freezes_its_name(when: str) -> None:
    run = played(Fault(kind=Kind.OVERFILL, at=2.0, number=25.0, text=when))
    assert run.coverage.happened[f"overfilled {when}".strip()] == 1
    assert freezes.FROZEN_BY_OVERFILL in causes(run)


def test_every_word_for_an_order_is_survived() -> None:
    words = [Fault(kind=Kind.WORD, at=1.6 + place / 2, text=word, seconds=0.8) for place, word in enumerate(WORDS)]
    run = played(*words, *SLOWLY)
    assert sum(run.coverage.happened[f"said to be {word}"] for word in WORDS) >= 4
    said = played(*SLOWLY, Fault(kind=Kind.WORD, at=1.6, text="tentative", seconds=0.8))
    assert any("tentative" in frame.what for entry in said.entries if isinstance(frame := entry.frame, e.NewsNotUnderstood))


def test_a_pause_comes_in_the_middle_of_an_order_and_cancels_are_slow_or_refused() -> None:
    run = played(
        *SLOWLY,
        Fault(kind=Kind.PAUSE, at=2.5, seconds=2.0),
        Fault(kind=Kind.SLOW_CANCEL, at=1.0, route="cancel", times=4, seconds=1.0),
        Fault(kind=Kind.CANCEL_REFUSED, at=1.0, route="cancel"),
        Fault(kind=Kind.CANCEL, at=5.5),
    )
    assert any(what.startswith("paused") for what in run.coverage.happened)
    assert freezes.FROZEN_BY_HALT in causes(run)
    assert run.coverage.happened["cancelled slowly"] >= 1


def test_half_a_message_and_refusals_of_the_stream_close_the_gate_and_lose_nothing() -> None:
    refusals = [Fault(kind=Kind.REFUSE, at=2.2 + place, number=float(code), seconds=0.5) for place, code in enumerate((401, 402, 406, 409))]
    run = played(Fault(kind=Kind.TORN, at=1.5, times=3), Fault(kind=Kind.GARBLE, at=3.5, times=3), *refusals)
    assert run.coverage.happened["torn"] == 3
    assert sum(times for what, times in run.coverage.happened.items() if what.startswith("stream refused")) >= 2
    assert any("a frame that is no message" in frame.what for entry in run.entries if isinstance(frame := entry.frame, e.NewsNotUnderstood))


@pytest.mark.parametrize(("level", "told"), [(2, "told"), (3, "untold")])
def test_people_stop_a_frozen_executor_past_it_and_it_adopts_what_they_did(level: int, told: str) -> None:
    run = played(Fault(kind=Kind.FREEZE, at=3.5, seconds=4.5), Fault(kind=Kind.KILL, at=3.7, number=float(level), text=told), *SLOWLY)
    assert run.coverage.happened["frozen"] == 1
    assert run.coverage.happened[f"stopped past the executor at level {level}: verified"] == 1
    assert run.coverage.happened["past the journal, adopted"] >= 3


@pytest.mark.parametrize("policy", ["cancel", "flatten"])
def test_a_full_disk_ends_entries_and_what_the_emergency_log_did_is_adopted(policy: str) -> None:
    run = played(Fault(kind=Kind.DISK_FULL, at=2.6, seconds=4.5, text=policy))
    acts = [frame for entry in run.entries if isinstance(frame := entry.frame, e.EmergencyAdopted)]
    assert {act.act for act in acts} >= {"halt", "cancel_all"}
    assert run.starts >= 2
    if policy == "flatten":
        assert any(act.order is not None for act in acts)


def test_whoever_is_stopped_waits_for_cancels_by_the_clock_and_no_longer() -> None:
    """Each look of the wait takes thrice its nominal time here: counted by looks it took nine seconds."""
    run = played(*SLOWLY, Fault(kind=Kind.CANCEL_NOOP, at=1.0, route="cancel", times=60), Fault(kind=Kind.TERMINATE, at=3.0))
    frames = [entry.frame for entry in run.entries]
    began = next(frame.ts for frame in frames if isinstance(frame, e.EntriesGated) and frame.cause == STOPPING)
    ended = next(frame.ts for frame in frames if isinstance(frame, e.RunEnded))
    assert (ended - began).total_seconds() == pytest.approx(house().live.stop_patience_seconds, abs=0.5), "frames bear the broker's time"


@pytest.mark.parametrize("story", ["announced", "late", "withdrawn", "twice"])
def test_a_split_that_is_announced_meets_resting_orders_and_happens_once_or_not(story: str) -> None:
    name = SYMBOLS[0]
    run = played(
        Fault(kind=Kind.SPLIT, at=15.0, symbol=name, number=2.0, text=story),
        *(Fault(kind=Kind.PLACE, at=EVENING, symbol=symbol, number=10.0) for symbol in SYMBOLS),
        sessions=2,
    )
    assert any(what.startswith(f"split {story}") for what in run.coverage.happened)
    processed = [frame for entry in run.entries if isinstance(frame := entry.frame, e.SplitProcessed)]
    assert len(processed) <= (0 if story == "withdrawn" else 1)


@pytest.mark.parametrize("story", ["renamed", "reused"])
def test_a_name_that_changes_hands_over_night_is_followed_and_nothing_is_sent_under_the_old_one(story: str) -> None:
    run = played(Fault(kind=Kind.RENAME, at=1.0, symbol=SYMBOLS[0], text=story), Fault(kind=Kind.HALF_DAY, number=0.0), sessions=2)
    assert any(what.startswith(story) for what in run.coverage.happened)
    renamed = [frame.symbol for entry in run.entries if isinstance(frame := entry.frame, e.InstrumentRenamed)]
    assert renamed == [f"{SYMBOLS[0]}X"]


def test_a_clock_that_is_an_hour_off_changes_nothing() -> None:
    run = played(Fault(kind=Kind.CLOCK, number=-3600.0), Fault(kind=Kind.CUT, at=4.0), Fault(kind=Kind.CLOCK, at=4.5, number=7200.0))
    assert run.starts == 2
    assert run.orders > 0


def test_the_power_goes_at_awaits_of_many_kinds() -> None:
    run = played(*(Fault(kind=Kind.CUT, at=1.7 + place) for place in range(7)))
    assert run.starts >= 3
    assert sum(run.coverage.awaits.values()) >= 2


def test_the_campaign_counts_what_took_place() -> None:
    report = campaign(range(5, 9), house(), scenario="rare")
    assert report.failures == ()
    assert report.happened["targets"] > 0
    assert plan_of(5, "rare").faults


@pytest.mark.parametrize(
    "name",
    [
        "emergency log not adopted",
        pytest.param("overfill ignored", marks=pytest.mark.slow),
        pytest.param("half a frame taken for a whole one", marks=pytest.mark.slow),
    ],
)
def test_a_planted_bug_of_a_rare_path_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTED[name](monkeypatch)
    scenario = "stream" if "frame" in name else "rare"
    assert any(simulate(plan_of(seed, scenario), house()).breaks for seed in range(1, 80))
