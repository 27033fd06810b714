"""The short path to the broker, on virtual time: what it closes when something stands in the way, and what it calls proven."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import async_solipsism
import pytest

from hedgefund_core.errors import ConfigError
from hedgefund_core.layout import account_folder
from hedgefund_core.trading.observed import Channel, OrderSighting
from hedgefund_core.trading.order import Order
from hedgefund_core.trading.state import Level
from live_executor.commands import Halt
from live_executor.emergency_stop import EmergencyStop, Stopped
from live_executor.journals.emergency import EmergencyLog
from live_executor.killing import Where, stop_at_broker
from live_executor.live.adapters import LIVE_BROKERS
from live_executor.live.opening import name_of
from tests.live_fakes import LoopClock, MemoryBroker, away

NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)


@pytest.fixture
def broker() -> MemoryBroker:
    found = MemoryBroker(LoopClock(NOON), {"AAPL": Decimal(100), "MSFT": Decimal(50)})
    found.held = {"AAPL": Decimal(10), "MSFT": Decimal(-5)}
    return found


@pytest.fixture
def stop(broker: MemoryBroker, tmp_path: Path) -> Callable[..., Stopped]:
    def run(level: Level, seconds: float = 30.0) -> Stopped:
        log = EmergencyLog(tmp_path)
        log.prepare()
        clock = LoopClock(NOON)

        async def act() -> Stopped:
            stop = EmergencyStop(broker, log, account="a", person="ann", reason="enough", clock=clock, sleep=asyncio.sleep)
            return await stop.run(level, until=clock.now() + timedelta(seconds=seconds))

        loop = async_solipsism.EventLoop()
        try:
            return loop.run_until_complete(act())
        finally:
            loop.close()

    return run


def resting(broker: MemoryBroker, symbol: str) -> str:
    name = f"someone-{symbol}"
    broker.book[name] = OrderSighting(
        client_order_id=name, broker_order_id=name, symbol=symbol, side="buy", quantity=Decimal(1), filled_quantity=Decimal(0),
        average_price=None, status="new", channel=Channel.QUERY, at=NOON, limit_price=Decimal(1),
    )  # fmt: skip
    return name


def test_another_accounts_orders_are_not_cancelled_and_one_that_is_not_told_is_stopped(
    broker: MemoryBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIVE_BROKERS, "memory", lambda _setup: broker)
    log, name = EmergencyLog(tmp_path / account_folder("a")), resting(broker, "AAPL")
    log.prepare()
    told = asyncio.run(broker.account())

    def stopped(broker_account: str) -> Stopped:
        where = Where(mode="paper", broker="memory", broker_account=broker_account)
        return stop_at_broker(tmp_path, "a", where, Halt(level=2, reason="enough", person="ann"), seconds=5.0)

    with pytest.raises(ConfigError, match="another account"):
        stopped("of somebody else")
    assert (broker.book[name].status, log.read()) == ("new", [])
    broker.trouble = away("account")
    assert stopped("of somebody else").verified, "a broker that does not say is stopped all the same"
    broker.trouble = lambda _call: None
    assert stopped(name_of(told)).verified
    assert broker.book[name].status == "canceled"


def test_everything_is_cancelled_and_closed_and_that_is_proven(broker: MemoryBroker, stop: Callable[..., Stopped]) -> None:
    name = resting(broker, "AAPL")
    done = stop(Level.FLATTENING)
    assert (done.verified, done.orders_left, done.positions_left, len(done.closing_orders)) == (True, (), {}, 2)
    assert broker.book[name].status == "canceled"
    assert set(broker.held.values()) == {Decimal(0)}


def test_nothing_is_flat_before_the_broker_has_shown_its_positions(broker: MemoryBroker, stop: Callable[..., Stopped]) -> None:
    broker.trouble = away("positions")
    done = stop(Level.FLATTENING)
    assert (done.verified, done.closing_orders) == (False, ())
    assert "positions" in done.trouble


@pytest.mark.parametrize(("held", "left"), [("10.4", "0.4"), ("-3.5", "-0.5"), ("0.4", "0.4")])
def test_of_a_name_in_whole_shares_only_the_whole_ones_are_closed(
    broker: MemoryBroker, stop: Callable[..., Stopped], held: str, left: str
) -> None:
    broker.held = {"AAPL": Decimal(held), "MSFT": Decimal(-5)}  # the broker takes no fractions
    done = stop(Level.FLATTENING)
    assert (done.verified, done.positions_left, done.trouble) == (True, {"AAPL": Decimal(left)}, "")
    assert all(order.quantity is not None and order.quantity % 1 == 0 for order in broker.book.values())


def test_an_order_that_does_not_go_keeps_no_other_name_from_being_closed(
    broker: MemoryBroker, stop: Callable[..., Stopped], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = resting(broker, "MSFT")

    async def all_but_one() -> None:
        return None

    async def not_this_one(order: Order) -> None:
        assert order.client_order_id == name

    monkeypatch.setattr(broker, "cancel_all", all_but_one)
    monkeypatch.setattr(broker, "cancel", not_this_one)
    done = stop(Level.FLATTENING)
    assert (done.verified, done.orders_left, done.positions_left) == (False, (name,), {"MSFT": Decimal(-5)})
    assert broker.held == {"AAPL": Decimal(0), "MSFT": Decimal(-5)}


def test_one_look_that_shows_nothing_is_no_proof(broker: MemoryBroker, stop: Callable[..., Stopped]) -> None:
    assert not stop(Level.CANCELLING, seconds=0.1).verified
    assert stop(Level.CANCELLING).verified
