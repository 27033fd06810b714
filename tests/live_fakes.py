"""A broker and a feed in memory, small and honest: for an account on virtual time. The tests' own double of a vendor, not of our code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from hedgefund_core.errors import BrokerUnavailable, OrderOutcomeUnknown, OrderRejected
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.observed import (
    AccountSighting,
    ActivitySighting,
    AssetSighting,
    BarSighting,
    BrokerUpdate,
    Channel,
    FeedUpdate,
    FillSighting,
    LinkChanged,
    LinkState,
    MarketClock,
    MarketDay,
    OrderSighting,
    PositionSighting,
    QuoteSighting,
    SplitSighting,
)
from hedgefund_core.trading.order import Order, Side
from live_executor.ports import MayLeave


class LoopClock:
    """Time as the event loop has it: virtual where the loop's is."""

    def __init__(self, start: datetime) -> None:
        self._start = start

    def now(self) -> datetime:
        return self._start + timedelta(seconds=asyncio.get_running_loop().time())


class MemoryBroker:
    """Fills what crosses its prices at once, in one piece. ``trouble`` is asked before each call and may raise."""

    def __init__(self, clock: LoopClock, prices: dict[str, Decimal], *, cash: Decimal = Decimal(100_000)) -> None:
        self._clock, self.prices, self.cash = clock, prices, cash
        self.opens_at, self.closes_at = clock._start.replace(hour=14, minute=30), clock._start.replace(hour=21, minute=0)
        self.held: dict[str, Decimal] = {}
        self.book: dict[str, OrderSighting] = {}
        self.lines: list[ActivitySighting] = []
        self.trouble: Callable[[str], None] = lambda _call: None
        self.link = LinkState.UP
        self.ids: dict[str, str] = {}
        """Symbol -> stable id, where it is not the symbol itself."""
        self.queue_seconds = 0.0
        """How long an order waits for its place in the rate limit."""
        self.flags: tuple[str, ...] = ()
        """What forbids the account to trade."""
        self._news: asyncio.Queue[BrokerUpdate] = asyncio.Queue()

    # ---- orders ----------------------------------------------------------------------------------------------------

    async def submit(self, order: Order, *, may_leave: MayLeave | None = None) -> OrderSighting:
        if self.queue_seconds:
            await asyncio.sleep(self.queue_seconds)
        if may_leave is not None and not may_leave():
            raise BrokerUnavailable("it may not leave any more", mend="wait")
        self.trouble("submit")
        if order.client_order_id in self.book:
            return self.book[order.client_order_id]
        if order.symbol not in self.prices:
            raise OrderRejected(f"asset {order.symbol} is unknown")
        seen = OrderSighting(
            client_order_id=order.client_order_id,
            broker_order_id=f"b{len(self.book) + 1}",
            symbol=order.symbol,
            side=order.side.value,
            quantity=order.quantity,
            filled_quantity=ZERO,
            average_price=None,
            status="new",
            channel=Channel.QUERY,
            at=self._clock.now(),
            limit_price=order.limit_price,
        )
        self.book[order.client_order_id] = seen
        self._tell(seen)
        self.match(order.client_order_id)
        self.trouble("answer")
        return seen

    def match(self, name: str) -> None:
        """Fill an order whose limit crosses the price."""
        seen = self.book[name]
        price, sign = self.prices[seen.symbol], 1 if seen.side == Side.BUY else -1
        crosses = seen.limit_price is None or (seen.limit_price - price) * sign >= ZERO
        if seen.status != "new" or not crosses or seen.quantity is None:
            return
        self.held[seen.symbol] = self.held.get(seen.symbol, ZERO) + seen.quantity * sign
        self.cash -= seen.quantity * sign * price
        fill = FillSighting(
            execution_id=f"x{seen.broker_order_id}",
            quantity=seen.quantity,
            price=price,
            cumulative_quantity=seen.quantity,
            at=self._clock.now(),
        )
        line = f"{len(self.lines):08d}"
        self.lines.append(
            ActivitySighting(
                activity_id=line, activity_type="FILL", at=fill.at, symbol=seen.symbol, broker_order_id=seen.broker_order_id,
                side=seen.side, quantity=seen.quantity, price=price, cumulative_quantity=seen.quantity,
            )
        )  # fmt: skip
        self._change(name, status="filled", filled_quantity=seen.quantity, average_price=price, fill=fill)

    async def cancel(self, order: Order) -> None:
        self.trouble("cancel")
        if self.book[order.client_order_id].status == "new":
            self._change(order.client_order_id, status="canceled")

    async def cancel_all(self) -> None:
        self.trouble("cancel")
        for name, seen in self.book.items():
            if seen.status == "new":
                self._change(name, status="canceled")

    async def look_up(self, client_order_id: str) -> OrderSighting | None:
        self.trouble("look_up")
        return self.book.get(client_order_id)

    async def orders(self, *, since: datetime | None = None) -> list[OrderSighting]:
        self.trouble("orders")
        return [seen for seen in self.book.values() if seen.status == "new" or (since is not None and seen.at >= since)]

    def _change(self, name: str, **changes: object) -> None:
        from msgspec.structs import replace

        seen = replace(self.book[name], at=self._clock.now(), **changes)
        self.book[name] = replace(seen, fill=None)
        self._tell(replace(seen, channel=Channel.STREAM))

    def drop(self) -> None:
        """The order stream goes, and is heard to go."""
        self._tell(LinkChanged(state=LinkState.DOWN, reason="reset", at=self._clock.now()))
        self.link = LinkState.DOWN

    def _tell(self, update: BrokerUpdate) -> None:
        if self.link is LinkState.UP:
            self._news.put_nowait(update)

    # ---- the rest ---------------------------------------------------------------------------------------------------

    async def activities(self, after: str, *, since: datetime | None = None) -> list[ActivitySighting]:
        self.trouble("activities")
        return [line for line in self.lines if line.activity_id > after]

    async def account(self) -> AccountSighting:
        self.trouble("account")
        equity = self.cash + sum((quantity * self.prices[symbol] for symbol, quantity in self.held.items()), ZERO)
        return AccountSighting(
            account_number="1", status="ACTIVE", cash=self.cash, equity=equity, buying_power=None, multiplier=None, shorting_enabled=True,
            trouble=self.flags,
        )  # fmt: skip

    async def positions(self) -> list[PositionSighting]:
        self.trouble("positions")
        return [
            PositionSighting(symbol=symbol, quantity=quantity, average_price=self.prices[symbol], asset_id=self.ids.get(symbol, symbol))
            for symbol, quantity in self.held.items()
            if quantity
        ]

    async def asset(self, symbol: str) -> AssetSighting | None:
        self.trouble("asset")
        symbol = next((name for name, key in self.ids.items() if key == symbol), symbol)
        if symbol not in self.prices:
            return None
        return AssetSighting(
            asset_id=self.ids.get(symbol, symbol),
            symbol=symbol,
            exchange="X",
            tradable=True,
            shortable=True,
            easy_to_borrow=True,
            fractionable=False,
            status="active",
        )

    async def market_clock(self) -> MarketClock:
        self.trouble("clock")
        now, day = self._clock.now(), timedelta(days=1)
        days = [(self.opens_at + day * n, self.closes_at + day * n) for n in range(-1, 5)]
        return MarketClock(
            at=now,
            is_open=any(opens <= now < closes for opens, closes in days),
            next_open=next(opens for opens, _ in days if opens > now),
            next_close=next(closes for _, closes in days if closes > now),
        )

    async def market_days(self, first: str, last: str) -> list[MarketDay]:
        self.trouble("calendar")
        days = [timedelta(days=n) for n in range(-1, 5)]
        return [
            MarketDay(session=(self.opens_at + day).date().isoformat(), opens_at=self.opens_at + day, closes_at=self.closes_at + day)
            for day in days
        ]

    async def updates(self) -> AsyncIterator[BrokerUpdate]:
        self._news = asyncio.Queue()  # of this run: an earlier one had a loop of its own
        if self.link is LinkState.UP:
            yield LinkChanged(state=LinkState.UP, reason="", at=self._clock.now())
        while True:
            yield await self._news.get()

    async def close(self) -> None:
        return None


class MemoryFeed:
    """Prices of a `MemoryBroker`, by query; its stream says nothing unless ``fails``."""

    def __init__(self, broker: MemoryBroker, clock: LoopClock) -> None:
        self._broker, self._clock = broker, clock
        self.fails: Exception | None = None
        self.announced: list[SplitSighting] = []
        self.announcing: Exception | None = None
        self.daily: list[BarSighting] = []
        self.keeping_bars: Exception | None = None
        self.asked_for_bars = 0

    async def subscribe(self, symbols: Sequence[str]) -> None:
        return None

    async def updates(self) -> AsyncIterator[FeedUpdate]:
        await asyncio.sleep(1.0)
        if self.fails is not None:
            raise self.fails
        await asyncio.Event().wait()
        yield LinkChanged(state=LinkState.DOWN, reason="", at=self._clock.now())

    async def latest(self, symbols: Sequence[str]) -> list[QuoteSighting]:
        now, half = self._clock.now(), Decimal("0.01")
        prices = self._broker.prices
        return [
            QuoteSighting(
                symbol=symbol, at=now, received_at=now, bid=prices[symbol] - half, ask=prices[symbol] + half, channel=Channel.QUERY
            )
            for symbol in symbols
            if symbol in prices
        ]

    async def daily_bars(self, symbols: Sequence[str], first: str, last: str) -> list[BarSighting]:
        self.asked_for_bars += 1
        if self.keeping_bars is not None:
            raise self.keeping_bars
        return [bar for bar in self.daily if bar.symbol in symbols and first <= bar.at.date().isoformat() <= last]

    async def splits(self, symbols: Sequence[str], first: str, last: str) -> list[SplitSighting]:
        if self.announcing is not None:
            raise self.announcing
        return [split for split in self.announced if split.symbol in symbols and first <= split.session <= last]

    async def close(self) -> None:
        return None


def away(*calls: str, times: int = 1 << 30) -> Callable[[str], None]:
    """Trouble: these calls find nobody, so many times."""
    left = [times]

    def raise_it(call: str) -> None:
        if call in calls and left[0] > 0:
            left[0] -= 1
            raise BrokerUnavailable(f"{call}: nobody there")

    return raise_it


class SlowBroker(MemoryBroker):
    """Each answer takes its time."""

    seconds = 1.5

    async def account(self) -> AccountSighting:
        await asyncio.sleep(self.seconds)
        return await super().account()

    async def positions(self) -> list[PositionSighting]:
        await asyncio.sleep(self.seconds)
        return await super().positions()

    async def orders(self, *, since: datetime | None = None) -> list[OrderSighting]:
        await asyncio.sleep(self.seconds)
        return await super().orders(since=since)

    async def activities(self, after: str, *, since: datetime | None = None) -> list[ActivitySighting]:
        await asyncio.sleep(self.seconds)
        return await super().activities(after, since=since)

    async def asset(self, symbol: str) -> AssetSighting | None:
        await asyncio.sleep(self.seconds)
        return await super().asset(symbol)

    async def market_clock(self) -> MarketClock:
        await asyncio.sleep(self.seconds)
        return await super().market_clock()

    async def market_days(self, first: str, last: str) -> list[MarketDay]:
        await asyncio.sleep(self.seconds)
        return await super().market_days(first, last)


def unanswered(call: str = "answer", *, times: int = 1) -> Callable[[str], None]:
    """Trouble: done, or not, and no answer."""
    left = [times]

    def raise_it(asked: str) -> None:
        if asked == call and left[0] > 0:
            left[0] -= 1
            raise OrderOutcomeUnknown("no answer")

    return raise_it
