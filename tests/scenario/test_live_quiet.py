"""A look of which nothing comes is not journaled: a quiet hour is a short entry, and what moves is there within a minute."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from hedgefund_core.trading import events as e
from hedgefund_core.trading.observed import HaltSighting, OrderSighting, UnknownUpdate
from hedgefund_core.trading.order import Order, OrderStatus
from live_executor.commands import Halt, send
from tests.live_fakes import MemoryBroker
from tests.scenario.stage import Stage, wait


@pytest.fixture
def stage(own_house: Path) -> Stage:
    stage = Stage(own_house)
    stage.targets.write_text('{"weights": {"AAPL": 0.5, "MSFT": 0.3}}')
    return stage


def looks(stage: Stage) -> tuple[int, int]:
    return len(stage.of(e.PricesSeen)), len(stage.of(e.DecisionDue))


def test_a_quiet_time_writes_a_few_looks_and_not_one_at_each_tick(stage: Stage) -> None:
    async def script(stage: Stage) -> None:
        await wait(300)

    stage.play(script, every=5.0)
    seen, due = looks(stage)
    assert len(stage.of(e.OrderFilled)) == 2
    assert seen <= 8
    assert due <= 8
    assert stage.live._rebalancer.decisions >= 55, "it looked all the same"


def test_prices_that_move_are_journaled_within_a_minute_and_drift_is_traded_at_once(stage: Stage) -> None:
    async def script(stage: Stage) -> None:
        await wait(120)
        stage.broker.prices["AAPL"] = Decimal("100.5")  # moves what it is worth, not what is wanted
        await wait(70)
        state = stage.live.state
        marks = {instrument.symbol: mark for instrument, mark in zip(state.instruments, state.marks, strict=True)}
        assert marks["AAPL"] == Decimal("100.5")
        before = len(state.known_orders)
        stage.broker.prices["AAPL"] = Decimal(150)
        await wait(10)
        assert len(stage.live.state.known_orders) > before
        assert {order.status for order in stage.live.state.known_orders.values()} == {OrderStatus.FILLED}

    stage.play(script, every=5.0)


def test_a_flattening_that_waits_for_a_halted_name_writes_no_look_a_second(stage: Stage) -> None:
    async def script(stage: Stage) -> None:
        await wait(30)
        halted = HaltSighting(symbol="AAPL", halted=True, reason="news pending", at=stage.clock.now())
        stage.live._floor.view.take(halted)
        stage.live._instruments.halt_changed("AAPL")
        send(stage.folder / "data", "v", Halt(level=3, reason="drill", person="ann"))
        await wait(60)
        assert set(stage.live.state.ledger.positions) == {"AAPL"}
        await wait(600)
        stage.live._floor.view.take(replace(halted, halted=False, at=stage.clock.now()))
        stage.live._instruments.halt_changed("AAPL")
        await wait(10)
        assert stage.live.state.is_flat

    stage.play(script)
    assert max(looks(stage)) <= 40


def test_what_nobody_understands_is_journaled_and_asked_about_once_a_minute_of_each_kind(stage: Stage) -> None:
    async def script(stage: Stage) -> None:
        await wait(10)
        asked: list[str] = []
        stage.broker.trouble = asked.append

        async def orders(*, since: datetime | None = None) -> list[OrderSighting]:
            await wait(0.1)
            stage.broker._news.put_nowait(UnknownUpdate(what="a row of the list", payload="{}", at=stage.clock.now()))
            return await MemoryBroker.orders(stage.broker, since=since)

        stage.broker.orders = orders  # type: ignore[method-assign] # one of its rows is bad, each time
        await wait(120)
        assert len(asked) < 120

    stage.play(script)
    assert len(stage.of(e.NewsNotUnderstood)) <= 3


def test_an_order_that_the_broker_had_and_denies_is_told_and_looked_up_every_few_minutes(stage: Stage) -> None:
    stage.broker.match = lambda _name: None  # type: ignore[method-assign] # the orders rest
    asked: list[str] = []

    async def script(stage: Stage) -> None:
        await wait(10)
        assert {order.status for order in stage.live.state.working} == {OrderStatus.ACCEPTED}
        stage.broker.book.clear()
        stage.broker.trouble = asked.append
        await wait(600)

    stage.play(script, every=3600.0, reprice_seconds=3600.0, on_stop="leave")
    assert asked.count("look_up") < 30
    assert len([alert for alert in stage.of(e.AlertRaised) if "absent of order" in alert.message]) in {4, 6}


def test_a_loss_is_seen_at_once_however_quiet_it_was(stage: Stage) -> None:
    async def script(stage: Stage) -> None:
        await wait(120)
        stage.broker.prices["AAPL"] = stage.broker.prices["MSFT"] = Decimal(40)
        await wait(10)

    stage.play(script, every=5.0)
    assert stage.of(e.LadderMoved)


def test_a_stop_that_waits_for_its_cancels_leaves_the_rate_limit_to_them(stage: Stage) -> None:
    stage.broker.match = lambda _name: None  # type: ignore[method-assign] # the orders rest
    asked: list[str] = []

    async def ignored(_order: Order) -> None:
        asked.append("cancel")

    stage.broker.cancel = ignored  # type: ignore[method-assign]

    async def script(stage: Stage) -> None:
        await wait(10)
        assert len(stage.live.state.working) == 2
        stage.broker.trouble = asked.append

    stage.play(script, every=60.0)
    assert asked.count("cancel") >= 4, "each is asked for again"
    assert len(asked) - asked.count("cancel") <= 12, "about one query a second of the five it waits"
