"""What wears a running executor out: hours, crashes in a row, messages that always fail, a loop that is held up. On virtual time."""

from __future__ import annotations

import asyncio
import gc
import resource
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from hedgefund_core.errors import Halted, InvariantViolation
from hedgefund_core.trading import events as e
from hedgefund_core.trading.observed import ActivitySighting
from hedgefund_core.trading.state import Level
from live_executor.commands import Resume, send
from live_executor.live.lag import EVERY_SECONDS, TOO_LATE_SECONDS, LoopLag
from live_executor.live.runtime import Live
from tests.scenario.live_bench import LiveBench
from tests.scenario.stage import NOON, Stage, wait

MEGABYTE = 1 << 20
PACE = {"mailbox_every_seconds": 2.0, "heartbeat_every_seconds": 5.0, "targets_every_seconds": 2.0, "orders_every_seconds": 10.0}
BUDGET = 2
"""Of crashes; five as it is shipped."""


# ---- hours ---------------------------------------------------------------------------------------------------------------------


def resident() -> int:
    """Bytes of memory that this process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def endure(stage: Stage, minutes: int, every: int) -> list[tuple[float, int, int]]:
    """Trade each minute; (hours, bytes, open files) every ``every`` minutes."""
    seen: list[tuple[float, int, int]] = []

    async def script(stage: Stage) -> None:
        for minute in range(minutes):
            stage.targets.write_text(f'{{"quantities": {{"AAPL": {10 + minute % 7}, "MSFT": {-(minute % 5)}}}}}')
            await wait(60)
            if minute % every == every - 1:
                seen.append((minute / 60, resident(), open_files()))

    stage.play(script, every=5.0, **PACE)
    assert len({order.client_order_id for order in stage.live.state.orders.values()}) > minutes
    assert stage.held() == {name: quantity for name, quantity in _positions(stage.live).items() if quantity}
    return seen


def _positions(live: Live) -> dict[str, Decimal]:
    ledger = live.state.ledger
    return {i.symbol: ledger.quantity(i.instrument_id) for i in live.state.instruments}


def test_some_minutes_leave_no_file_open(stage: Stage) -> None:
    seen = endure(stage, 4, 2)
    assert len({files for _, _, files in seen}) == 1
    assert seen[-1][1] - seen[0][1] < 4 * MEGABYTE


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_eight_hours_hold_no_more_memory_and_no_more_files(own_house: Path) -> None:
    stage = Stage(own_house, NOON.replace(hour=14))
    stage.broker.opens_at, stage.broker.closes_at = NOON.replace(hour=13), NOON.replace(hour=23)
    seen = endure(stage, 480, 20)[3:]  # the first hour is for caches to fill
    hours, held, files = (np.array(column, dtype=np.float64) for column in zip(*seen, strict=True))
    slope = float(np.polyfit(hours, held / MEGABYTE, 1)[0])
    assert slope < 1.0, f"{slope:.2f} MB an hour: {held / MEGABYTE}"
    assert len(set(files)) == 1, files


# ---- crashes ------------------------------------------------------------------------------------------------------------------------


def crash(stage: Stage) -> None:
    """Begin, and end as a process does that fails in a way nobody thought of."""

    async def script(_stage: Stage) -> None:
        await wait(5)

    stage.feed.fails = RuntimeError("a bug")
    with pytest.raises(InvariantViolation, match="a bug"):
        stage.play(script, starts_budget=BUDGET)


def halted(stage: Stage) -> str:
    with pytest.raises(Halted) as refused:
        stage.play(lambda _stage: wait(5), starts_budget=BUDGET)
    return refused.value.message


def test_starts_that_ended_badly_in_a_row_bring_the_next_one_up_halted_until_a_person_resumes(stage: Stage) -> None:
    for _ in range(BUDGET):
        crash(stage)
    assert "did not end in order" in halted(stage)
    assert stage.live.state.ladder.level is Level.HALTED
    (told,) = [frame for frame in stage.of(e.AlertRaised) if "did not end in order" in frame.message]
    assert told.severity == "critical"
    assert (stage.folder / "data" / "live" / "v" / "HALT").exists()
    assert halted(stage)
    send(stage.folder / "data", "v", Resume(reason="the disk was full", person="ann"))
    crash(stage)
    assert stage.live.state.ladder.level is Level.ACTIVE


def test_starts_that_ended_in_order_or_long_ago_are_not_counted() -> None:
    bench = LiveBench()

    def begin(*, ended: bool, after: float) -> Level:
        bench.feed(e.RunBegan(ts=bench.tick(after), budget=5, window_seconds=600.0))
        if ended:
            bench.feed(e.RunEnded(ts=bench.tick(1.0), reason="sigterm"))
        return bench.state.ladder.level

    assert {begin(ended=True, after=1.0) for _ in range(8)} == {Level.ACTIVE}
    assert {begin(ended=False, after=150.0) for _ in range(8)} == {Level.ACTIVE}, "never five within ten minutes"
    assert [begin(ended=False, after=10.0) for _ in range(3)][-1] is Level.HALTED
    assert bench.replayed() == bench.outputs


# ---- poison --------------------------------------------------------------------------------------------------------------------------


def test_a_message_that_always_fails_is_set_aside_after_the_third_time_and_the_rest_goes_on(stage: Stage) -> None:
    def line(name: str, kind: str, amount: str) -> ActivitySighting:
        return ActivitySighting(activity_id=name, activity_type=kind, at=NOON, net_amount=Decimal(amount), symbol="AAPL")

    async def script(stage: Stage) -> None:
        await wait(70)
        stage.broker.lines.append(line("7-poison", "CSD", "sNaN"))
        stage.broker.lines.append(line("8-dividend", "DIV", "5"))
        stage.broker.cash += 5
        await wait(200)
        stage.targets.write_text('{"quantities": {"AAPL": 12}}')
        await wait(60)

    stage.play(script)
    (letter,) = stage.of(e.NewsNotUnderstood)
    assert letter.what.startswith("set aside: InvalidOperation")
    assert "7-poison" in letter.payload
    (told,) = [frame for frame in stage.of(e.AlertRaised) if "is set aside" in frame.message]
    assert told.severity == "critical"
    assert [frame.activity_id for frame in stage.of(e.CashPosted)] == ["8-dividend"]
    assert stage.held() == {"AAPL": Decimal(12)}


# ---- a loop that is held up ---------------------------------------------------------------------------------------------------------


def test_a_loop_that_is_held_up_is_measured_and_shown(stage: Stage) -> None:
    async def held_up() -> float:
        lag = LoopLag(asyncio.sleep)
        watching = asyncio.ensure_future(lag.run())
        await asyncio.sleep(EVERY_SECONDS / 2)
        time.sleep(EVERY_SECONDS + 2 * TOO_LATE_SECONDS)  # noqa: ASYNC251 - that is the fault
        await asyncio.sleep(EVERY_SECONDS)
        watching.cancel()
        return lag.worst_seconds

    assert asyncio.run(held_up()) > TOO_LATE_SECONDS

    async def script(_stage: Stage) -> None:
        await wait(3)

    stage.play(script)
    assert {beat.loop_lag_seconds for beat in stage.beats} == {0.0}, "virtual time is never late"
