"""What tests against the server share: short time-outs, orders, and a listener that waits for what it expects."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from hedgefund_core.trading.order import Leg, Order, OrderType, Purpose, Side, TimeInForce
from live_executor.brokers.alpaca.broker import AlpacaBroker, AlpacaTiming
from live_executor.brokers.alpaca.endpoints import read_endpoints
from live_executor.brokers.alpaca.transport import RequestTiming
from live_executor.clock import SystemClock
from live_executor.feeds.alpaca import AlpacaFeed
from live_executor.streams import StreamTiming, Surroundings
from tests.alpaca_server.server import AlpacaServer, Scenario

SHORT_REQUESTS = RequestTiming(connect=1.0, read=1.0, patience=1.0, pause=0.01)
SHORT_STREAM = StreamTiming(
    connect=1.0,
    ready=0.3,
    ping=0.1,
    quiet=0.0,
    backoff_first=0.02,
    backoff_most=0.1,
    refused=0.1,
    refused_most=0.2,
    budget_connects=500,
)


def surroundings(seed: int = 1) -> Surroundings:
    """The machine's clock, seeded chance."""
    return Surroundings(clock=SystemClock(), rng=random.Random(seed))


def broker_of(server: AlpacaServer, *, locks: Path | None = None, stream: StreamTiming = SHORT_STREAM) -> AlpacaBroker:
    """An adapter to this server with short time-outs."""
    timing = AlpacaTiming(requests=SHORT_REQUESTS, stream=stream)
    return AlpacaBroker(read_endpoints(server.env), surroundings(), timing=timing, locks=locks)


def feed_of(server: AlpacaServer, *, stream: StreamTiming = SHORT_STREAM, data_due: Callable[[], bool] = lambda: True) -> AlpacaFeed:
    """A feed from this server with short time-outs."""
    return AlpacaFeed(read_endpoints(server.env), surroundings(), requests=SHORT_REQUESTS, stream=stream, data_due=data_due)


@contextlib.asynccontextmanager
async def desk(scenario: Scenario | None = None) -> AsyncIterator[tuple[AlpacaServer, AlpacaBroker]]:
    """A server and an adapter to it."""
    async with AlpacaServer(scenario) as server:
        broker = broker_of(server)
        try:
            yield server, broker
        finally:
            await broker.close()


def an_order(
    name: str = "c1", symbol: str = "AAPL", side: Side = Side.BUY, quantity: str = "10", limit: str | None = "101", **more: Any
) -> Order:
    """A day order that is marketable at the default quotes."""
    fields: dict[str, Any] = {
        "client_order_id": name,
        "decision_id": "d1",
        "instrument_id": symbol,
        "symbol": symbol,
        "side": side,
        "quantity": Decimal(quantity),
        "order_type": OrderType.LIMIT if limit else OrderType.MARKET,
        "time_in_force": TimeInForce.DAY,
        "leg": Leg.OPEN,
        "purpose": Purpose.MODEL,
        "session": "2026-11-20",
        "reference_price": Decimal(100),
        "submitted_at": datetime.now(UTC),
        "limit_price": Decimal(limit) if limit else None,
    }
    return Order(**fields | more)


class Listener:
    """Collects what an adapter's updates say."""

    def __init__(self, updates: AsyncIterator[Any]) -> None:
        self.heard: list[Any] = []
        self._updates = updates
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for update in self._updates:
            self.heard.append(update)

    async def until(self, wanted: Callable[[list[Any]], bool], seconds: float = 3.0) -> list[Any]:
        """Wait until what was heard is as wanted."""
        deadline = time.monotonic() + seconds
        while not wanted(self.heard):
            if self._task.done():
                self._task.result()
            assert time.monotonic() < deadline, f"heard only {self.heard}"
            await asyncio.sleep(0.005)
        return self.heard

    async def stop(self) -> None:
        """Stop listening."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


@contextlib.asynccontextmanager
async def listening(updates: AsyncIterator[Any]) -> AsyncIterator[Listener]:
    """A listener that is stopped at the end."""
    listener = Listener(updates)
    try:
        yield listener
    finally:
        await listener.stop()


def run(work: Coroutine[Any, Any, None]) -> None:
    """Drive a test, bounded in time."""

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await work

    asyncio.run(bounded())
