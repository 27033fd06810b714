"""One client of the Alpaca benchmarks in a process of its own: prints how much a second of its processor's time does.

``python -m tests.benchmark.alpaca_clients our_orders|their_orders|our_bars|their_bars PORT COUNT``
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncIterator

IN_FLIGHT = 20


def _env(port: int) -> dict[str, str]:
    base = f"127.0.0.1:{port}"
    return {
        "ALPACA_API_KEY": "k",
        "ALPACA_SECRET_KEY": "s",
        "ALPACA_TRADING_URL": f"http://{base}",
        "ALPACA_DATA_URL": f"http://{base}",
        "ALPACA_DATA_STREAM_URL": f"ws://{base}/v2/iex",
    }


def our_orders(port: int, count: int) -> float:
    """Through the adapter, so many at a time."""
    from live_executor.brokers.alpaca.broker import AlpacaBroker
    from live_executor.brokers.alpaca.endpoints import read_endpoints
    from live_executor.clock import SystemClock
    from live_executor.streams import Surroundings
    from tests.alpaca_server.support import an_order

    async def work() -> float:
        broker = AlpacaBroker(read_endpoints(_env(port)), Surroundings(clock=SystemClock(), rng=random.Random(1)))
        orders = iter([an_order(f"c{n}", quantity="15", limit="107.00") for n in range(count)])

        async def sender() -> None:
            for order in orders:
                await broker.submit(order)

        await broker.submit(an_order("first"))
        began = time.process_time()
        await asyncio.gather(*(sender() for _ in range(IN_FLIGHT)))
        spent = time.process_time() - began
        await broker.close()
        return count / spent

    return asyncio.run(work())


def their_orders(port: int, count: int) -> float:
    """Through alpaca-py, one after another: its client blocks."""
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import OrderSide, TimeInForce
    from alpaca.trading.requests import LimitOrderRequest

    client = TradingClient("k", "s", url_override=f"http://127.0.0.1:{port}")

    def submit(n: int) -> None:
        client.submit_order(
            LimitOrderRequest(
                symbol="AAPL", qty=15, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, limit_price=107.0, client_order_id=f"c{n}"
            )
        )

    submit(-1)
    began = time.process_time()
    for n in range(count):
        submit(n)
    return count / (time.process_time() - began)


def our_bars(port: int, count: int) -> float:
    """Bars as the executor gets them: typed, with our time, out of `AlpacaFeed.updates`."""
    from hedgefund_core.trading.observed import BarSighting
    from live_executor.brokers.alpaca.endpoints import read_endpoints
    from live_executor.clock import SystemClock
    from live_executor.feeds.alpaca import AlpacaFeed
    from live_executor.streams import Surroundings

    async def work() -> float:
        feed = AlpacaFeed(read_endpoints(_env(port)), Surroundings(clock=SystemClock(), rng=random.Random(1)))
        await feed.subscribe(["S001"])
        last: dict[str, float] = {}
        return await _timed(feed.updates(), last, count, BarSighting)

    return asyncio.run(work())


async def _timed(updates: AsyncIterator[object], last: dict[str, float], count: int, kind: type) -> float:
    seen, began = 0, 0.0
    async for update in updates:
        if isinstance(update, kind):
            last[update.symbol] = update.close  # type: ignore[attr-defined]
            seen += 1
            if seen == 1:
                began = time.process_time()
            elif seen == count:
                return count / (time.process_time() - began)
    return 0.0


def their_bars(port: int, count: int) -> float:
    """Bars as alpaca-py gives them to a handler."""
    from alpaca.data.live import StockDataStream

    stream = StockDataStream("k", "s", url_override=f"ws://127.0.0.1:{port}/v2/iex")
    last: dict[str, float] = {}
    began, seen = 0.0, 0

    async def handle(bar: object) -> None:
        nonlocal began, seen
        last[bar.symbol] = bar.close  # type: ignore[attr-defined]
        seen += 1
        if seen == 1:
            began = time.process_time()
        elif seen == count:
            _say(count / (time.process_time() - began))

    stream.subscribe_bars(handle, "*")
    stream.run()
    return 0.0


def _say(figure: float) -> None:
    sys.stdout.write(f"{figure}\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    _, who, at_port, how_many = sys.argv
    _say(
        {"our_orders": our_orders, "their_orders": their_orders, "our_bars": our_bars, "their_bars": their_bars}[who](
            int(at_port), int(how_many)
        )
    )
