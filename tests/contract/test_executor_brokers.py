"""One suite that every simulated broker must pass: in the trading process, and as a process of its own that is restarted."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from hedgefund_core.errors import BrokerUnavailable, DataInvalid, OrderOutcomeUnknown, OrderRejected
from hedgefund_core.layout import panel_file
from hedgefund_core.quant.bars import Panel, PriceKind
from hedgefund_core.quant.panel_codec import pack_panel
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Leg, Order, OrderType, Purpose, Side, TimeInForce
from live_executor.brokers import BROKERS, BrokerSetup
from live_executor.brokers.simulated_client import SimulatedClient, port_file
from live_executor.ports import MarketMoment
from live_executor.settings import read_settings

SESSIONS = ("2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07")
OPEN, CLOSE = MarketMoment.OPEN, MarketMoment.CLOSE


def at(session: str, hour: int = 21) -> datetime:
    return datetime.fromisoformat(session).replace(tzinfo=UTC) + timedelta(hours=hour)


def write_panel(data: Path) -> None:
    nan = np.nan
    panel = Panel(
        sessions=np.array(SESSIONS, dtype="datetime64[D]"),
        symbols=("AAA", "BBB"),
        price_kind=PriceKind.RAW,
        open=np.array([[10.0, 100.0], [11.0, 101.0], [5.0, 102.0], [6.0, nan]]),
        high=np.full((4, 2), 200.0),
        low=np.full((4, 2), 1.0),
        close=np.array([[10.5, 100.5], [12.0, 103.0], [5.5, 101.0], [6.5, 104.0]]),
        volume=np.array([[1e6, 50_000.0]] * 4),
        split_ratios=np.array([[1.0, 1.0], [1.0, 1.0], [2.5, 1.0], [1.0, 1.0]]),
        dividends=np.array([[0.0, 0.0], [0.0, 0.25], [0.0, 0.0], [0.0, 0.0]]),
        close_at=np.array([np.datetime64(session) + np.timedelta64(21, "h") for session in SESSIONS], dtype="datetime64[us]"),
        source="tiny",
    )
    path = data / panel_file("tiny")
    path.parent.mkdir(parents=True)
    path.write_bytes(pack_panel(panel))


def order(
    name: str, side: Side, quantity: int, session: str, *, symbol: str = "AAA", tif: TimeInForce = TimeInForce.OPG, limit: str = ""
) -> Order:
    return Order(
        client_order_id=name,
        decision_id="d",
        instrument_id=symbol,
        symbol=symbol,
        side=side,
        quantity=Decimal(quantity),
        order_type=OrderType.LIMIT if limit else OrderType.MARKET,
        limit_price=Decimal(limit) if limit else None,
        time_in_force=tif,
        leg=Leg.OPEN,
        purpose=Purpose.MODEL,
        session=session,
        reference_price=Decimal(10),
        submitted_at=at("2020-01-01"),
    )


class House:
    """A data folder with the tiny panel, and a way to (re)start a kind of broker on it."""

    def __init__(self, kind: str, data: Path) -> None:
        self.kind, self.data = kind, data
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self.kind == "simulated_process" and self.process is None:
            command = [sys.executable, "-m", "live_executor.brokers.simulated_server", "--account", "a", "--source", "tiny"]
            self.process = subprocess.Popen(command, env=dict(os.environ))
            announced, deadline = port_file(self.data, "a"), time.monotonic() + 30
            while not announced.exists():
                assert self.process.poll() is None, "the broker's process ended"
                assert time.monotonic() < deadline, "the broker's process did not announce itself"
                time.sleep(0.01)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            port_file(self.data, "a").unlink(missing_ok=True)

    def run(self, story: Callable[[SimulatedClient], Awaitable[None]]) -> None:
        """Tell a story to a fresh adapter."""
        self.start()
        settings = read_settings()
        setup = BrokerSetup(
            data=self.data, account="a", source="tiny", costs=settings.mandate.costs, initial_cash=settings.trading.initial_cash
        )

        async def told() -> None:
            broker = BROKERS[self.kind](setup)
            try:
                await story(broker)
            finally:
                await broker.close()

        asyncio.run(told())


@contextmanager
def a_house(kind: str, own_house: Path) -> Iterator[House]:
    data = own_house / "data"
    write_panel(data)
    house = House(kind, data)
    try:
        yield house
    finally:
        house.kill()


@pytest.fixture(params=sorted(BROKERS))
def house(request: pytest.FixtureRequest, own_house: Path) -> Iterator[House]:
    with a_house(request.param, own_house) as found:
        yield found


async def through(broker, *sessions: str) -> None:
    for session in sessions:
        await broker.advance(session, OPEN, at(session, 15))
        await broker.advance(session, CLOSE, at(session))


def kinds(news: list[e.BrokerNews]) -> list[str]:
    return [e.kind_of(item) for item in news]


def test_a_life_from_zero_to_long_to_short_to_flat(house: House) -> None:
    async def story(broker) -> None:
        await through(broker, SESSIONS[0])
        taken = await broker.submit(order("buy", Side.BUY, 100, SESSIONS[1]))
        assert taken.status == "accepted"
        # the id is known: the same order comes back and nothing new happens
        assert (await broker.submit(order("buy", Side.BUY, 100, SESSIONS[1]))).broker_order_id == taken.broker_order_id
        await broker.advance(SESSIONS[1], OPEN, at(SESSIONS[1], 15))
        await broker.submit(order("close", Side.SELL, 100, SESSIONS[1], tif=TimeInForce.CLS))
        await broker.submit(order("open", Side.SELL, 40, SESSIONS[1], tif=TimeInForce.CLS))
        await broker.advance(SESSIONS[1], CLOSE, at(SESSIONS[1]))
        news = await broker.news(0)
        fills = [item for item in news if isinstance(item, e.OrderFilled)]
        assert [(fill.client_order_id, fill.quantity, fill.price) for fill in fills] == [
            ("buy", 100, Decimal(11)),
            ("close", 100, Decimal(12)),
            ("open", 40, Decimal(12)),
        ]
        assert fills[0].commission == Decimal("0.33")  # 3 basis points of 1,100
        assert [item.broker_seq for item in news] == list(range(1, len(news) + 1))
        assert await broker.news(news[-1].broker_seq) == []
        report = await broker.report(SESSIONS[1], at(SESSIONS[1]))
        assert report.positions == {"AAA": Decimal(-40)}
        assert report.cash == 1_000_000 - Decimal("1100.33") + Decimal(1680) - Decimal("0.36") - Decimal("0.144")
        assert report.open_orders == ()
        assert (await broker.submit(order("buy", Side.BUY, 100, SESSIONS[1]))).status == "filled"

    house.run(story)


def test_auction_gives_a_share_of_the_volume_and_the_rest_expires(house: House) -> None:
    async def story(broker) -> None:
        await through(broker, SESSIONS[0])
        await broker.submit(order("big", Side.BUY, 80, SESSIONS[1], symbol="BBB"))
        await broker.advance(SESSIONS[1], OPEN, at(SESSIONS[1], 15))
        news = await broker.news(0)
        assert kinds(news) == ["order_accepted", "order_filled", "order_expired"]
        assert news[1].quantity == 50  # one in a thousand of 50,000
        view = await broker.look_up("big")
        assert (view.status, view.filled_quantity) == ("expired", Decimal(50))

    house.run(story)


def test_limits_cancels_and_missing_prices(house: House) -> None:
    async def story(broker) -> None:
        await through(broker, SESSIONS[0])
        await broker.submit(order("dear", Side.BUY, 10, SESSIONS[1], limit="10.99"))
        await broker.submit(order("gone", Side.BUY, 10, SESSIONS[1]))
        await broker.cancel("gone")
        await broker.cancel("gone")
        await broker.cancel("never seen")
        await through(broker, SESSIONS[1])
        assert kinds(await broker.news(0)) == ["order_accepted", "order_accepted", "order_canceled", "order_expired"]
        await broker.submit(order("no price", Side.BUY, 10, SESSIONS[3], symbol="BBB"))
        await through(broker, SESSIONS[3])
        assert kinds(await broker.news(4)) == ["order_accepted", "order_expired"]
        assert await broker.look_up("never seen") is None

    house.run(story)


def test_split_dividend_and_borrow_come_before_the_open(house: House) -> None:
    async def story(broker) -> None:
        await through(broker, SESSIONS[0])
        await broker.submit(order("long", Side.BUY, 15, SESSIONS[1]))
        await broker.submit(order("short", Side.SELL, 10, SESSIONS[0 + 1], symbol="BBB"))
        await through(broker, SESSIONS[1])
        before = (await broker.news(0))[-1].broker_seq
        await broker.advance(SESSIONS[2], OPEN, at(SESSIONS[2], 15))
        split, borrow = await broker.news(before)
        assert (split.ratio, split.quantity_after, split.cash_in_lieu) == (Decimal("2.5"), Decimal(37), Decimal("2.4"))  # half a new share
        # 10 shares at the last close of 103, 50 basis points a year of 252 sessions
        assert (borrow.cash_kind, borrow.amount) == ("borrow", Decimal("-0.020437"))
        report = await broker.report(SESSIONS[2], at(SESSIONS[2]))
        assert report.positions == {"AAA": Decimal(37), "BBB": Decimal(-10)}

    house.run(story)


def test_shorts_pay_the_dividend(house: House) -> None:
    async def story(broker) -> None:
        await broker.submit(order("short", Side.SELL, 10, SESSIONS[0], symbol="BBB"))
        await through(broker, SESSIONS[0])
        before = (await broker.news(0))[-1].broker_seq
        await broker.advance(SESSIONS[1], OPEN, at(SESSIONS[1], 15))
        posted = {item.cash_kind: item.amount for item in await broker.news(before)}
        assert posted["dividend"] == Decimal("-2.5")

    house.run(story)


def test_definite_noes_are_raised_and_in_the_news(house: House) -> None:
    async def story(broker) -> None:
        await through(broker, SESSIONS[0])
        for wrong in (
            order("unknown", Side.BUY, 1, SESSIONS[1], symbol="ZZZ"),
            order("late", Side.BUY, 1, SESSIONS[0]),
            order("nothing", Side.BUY, 0, SESSIONS[1]),
        ):
            with pytest.raises(OrderRejected):
                await broker.submit(wrong)
            with pytest.raises(OrderRejected):
                await broker.submit(wrong)
        assert kinds(await broker.news(0)) == ["order_rejected"] * 3
        with pytest.raises(DataInvalid):
            await broker.advance("2020-01-04", OPEN, at("2020-01-04"))

    house.run(story)


def test_time_never_runs_backwards_and_passes_every_session(house: House) -> None:
    async def story(broker) -> None:
        await broker.submit(order("long", Side.BUY, 15, SESSIONS[0]))
        await through(broker, SESSIONS[0])
        await broker.advance(SESSIONS[3], CLOSE, at(SESSIONS[3]))
        news = await broker.news(0)
        assert "split_processed" in kinds(news)
        await through(broker, *SESSIONS)
        assert await broker.news(0) == news

    house.run(story)


def test_a_killed_broker_forgets_nothing(house: House) -> None:
    seen: list[e.BrokerNews] = []

    async def first(broker) -> None:
        await through(broker, SESSIONS[0])
        await broker.submit(order("kept", Side.BUY, 100, SESSIONS[1]))
        seen.extend(await broker.news(0))

    async def second(broker) -> None:
        assert await broker.news(0) == seen
        assert (await broker.look_up("kept")).status == "accepted"
        assert (await broker.submit(order("kept", Side.BUY, 100, SESSIONS[1]))).status == "accepted"
        await through(broker, SESSIONS[1], SESSIONS[2], SESSIONS[3])
        report = await broker.report(SESSIONS[3], at(SESSIONS[3]))
        assert report.positions == {"AAA": Decimal(250)}
        assert (await broker.submit(order("kept", Side.BUY, 100, SESSIONS[1]))).status == "filled"  # remembered for ever

    house.run(first)
    house.kill()
    house.run(second)


def test_no_connection_is_surely_not_done(own_house: Path) -> None:
    async def story() -> None:
        client = SimulatedClient(own_house / "no port")
        with pytest.raises(BrokerUnavailable):
            await client.submit(order("x", Side.BUY, 1, SESSIONS[1]))
        with pytest.raises(BrokerUnavailable):
            await client.news(0)

    asyncio.run(story())


@pytest.mark.parametrize("answer", [b"", b"<html>", b'{"type":"done"}\n', None], ids=["reset", "garbled", "wrong answer", "silence"])
def test_no_readable_answer_leaves_the_order_unknown(own_house: Path, answer: bytes | None) -> None:
    async def story() -> None:
        async def misbehave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
            writer.close()

        server = await asyncio.start_server(misbehave, "127.0.0.1", 0)
        announced = own_house / "port"
        announced.write_text(str(server.sockets[0].getsockname()[1]))
        client = SimulatedClient(announced, answer_seconds=0.2)
        with pytest.raises(OrderOutcomeUnknown):
            await client.submit(order("x", Side.BUY, 1, SESSIONS[1]))
        await client.close()
        server.close()

    asyncio.run(story())
