"""`SimulatedBroker` and its feed on the wall clock: a clean exchange with seeded prices and a durable book, for paper trading without keys.

The exchange is the one of the deterministic simulation, without its faults. Its book lies beside the account's journal and never reads
it. Prices walk from a start that a name's letters give, unless a recorded day is played: then they are the recorded ones.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from hedgefund_core.errors import BrokerUnavailable
from hedgefund_core.trading.observed import (
    AccountSighting,
    ActivitySighting,
    AssetSighting,
    BarSighting,
    BrokerUpdate,
    Channel,
    FeedUpdate,
    LinkChanged,
    LinkState,
    MarketClock,
    MarketDay,
    OrderSighting,
    PositionSighting,
    QuoteSighting,
    SplitSighting,
)
from hedgefund_core.trading.order import Order
from live_executor.ports import UNREADABLE, Clock, LiveFeed, MayLeave, Sleep
from live_executor.simulation.market import CENT, Market, SimulatedFeed
from live_executor.simulation.venue import Venue, VenueOrder

_ZONE = ZoneInfo("America/New_York")
_TICK_SECONDS = 0.25
_DAYS = 14
FILE = "exchange.json"


class AlwaysOpen:
    """A market with a session on every day of New York, open until a minute before midnight, so that it can be tried out at any time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        """The market's time."""
        return self._clock.now()

    @property
    def is_open(self) -> bool:
        """Whether the session runs."""
        day = self._day(0)
        return day.opens_at <= self.now() < day.closes_at

    @property
    def days(self) -> tuple[MarketDay, ...]:
        """The calendar."""
        return tuple(self._day(number) for number in range(-_DAYS, _DAYS + 1))

    def session(self) -> str:
        """The session that runs, else the one that comes."""
        return self._day(0 if self.now() < self._day(0).closes_at else 1).session

    def clock(self) -> MarketClock:
        """The broker's answer."""
        today = self._day(0)
        return MarketClock(at=self.now(), is_open=self.is_open, next_open=self._day(1).opens_at, next_close=self._closes(today))

    def _closes(self, today: MarketDay) -> datetime:
        return today.closes_at if self.now() < today.closes_at else self._day(1).closes_at

    def _day(self, number: int) -> MarketDay:
        label = self.now().astimezone(_ZONE).date() + timedelta(days=number)
        opens = datetime.combine(label, time(0), _ZONE).astimezone(UTC)
        closes = datetime.combine(label, time(23, 59), _ZONE).astimezone(UTC)
        return MarketDay(session=label.isoformat(), opens_at=opens, closes_at=closes)


class PaperMarket(Market):
    """A market in which any symbol of letters exists. Its first price is derived from the symbol, so that two runs begin alike."""

    def __init__(self, rng: random.Random, clock: Clock) -> None:
        super().__init__((), rng, AlwaysOpen(clock))  # type: ignore[arg-type]  # it keeps the same hours by another clock
        self.follows = False
        """Whether prices come from outside: a recorded day."""

    def know(self, symbol: str) -> bool:
        """Whether there is such a name; one that is new gets its price."""
        if symbol in self.mid:
            return True
        if not (symbol.replace(".", "").isalpha() and symbol.isupper() and len(symbol) <= 6):
            return False
        number = int.from_bytes(hashlib.sha256(symbol.encode()).digest()[:4], "big")
        self.mid[symbol] = (Decimal(20) + Decimal(number % 48_000) / 100).quantize(CENT)
        return True

    def hear(self, update: FeedUpdate) -> None:
        """A price from outside becomes the market's."""
        if isinstance(update, QuoteSighting):
            price = (update.bid + update.ask) / 2 if update.bid is not None and update.ask is not None else update.last
            if price is not None and price > CENT:
                self.mid[update.symbol] = price.quantize(CENT)


class _Book(msgspec.Struct, kw_only=True):
    """The exchange on disk."""

    cash: Decimal
    positions: dict[str, Decimal]
    costs: dict[str, Decimal]
    mid: dict[str, Decimal]
    orders: list[VenueOrder]
    activities: list[ActivitySighting]
    serial: int
    session: str


class SimulatedViews:
    """What the exchange shows (`BrokerViews`)."""

    def __init__(self, market: PaperMarket, venue: Venue) -> None:
        self._market, self._venue = market, venue

    async def account(self) -> AccountSighting:
        """Cash, equity, buying power."""
        return self._venue.account()

    async def positions(self) -> list[PositionSighting]:
        """What is held."""
        return self._venue.held()

    async def asset(self, symbol: str) -> AssetSighting | None:
        """Any name of letters."""
        return self._venue.asset(symbol) if self._know(symbol) else None

    async def market_clock(self) -> MarketClock:
        """The market's time."""
        return self._market.hours.clock()

    async def market_days(self, first: str, last: str) -> list[MarketDay]:
        """The calendar."""
        return [day for day in self._market.hours.days if first <= day.session <= last]

    def _know(self, symbol: str) -> bool:
        there = self._market.know(symbol)
        if there:
            self._venue.shortable.setdefault(symbol, True)
        return there


class SimulatedBroker(SimulatedViews):
    """A `LiveBroker` inside the process: no message can be lost on the way."""

    def __init__(self, market: PaperMarket, folder: Path, cash: Decimal, rng: random.Random, sleep: Sleep, *, keep: bool = True) -> None:
        super().__init__(market, Venue(market, rng))
        self._path, self._sleep, self._keeps = folder / FILE, sleep, keep
        self._venue.cash, self._venue.emit = cash, self._emit
        self._said: asyncio.Queue[BrokerUpdate] = asyncio.Queue()
        self._session, self._changed = market.hours.session(), False
        self._load()

    # ---- the port ----------------------------------------------------------------------------------------------------

    async def submit(self, order: Order, *, may_leave: MayLeave | None = None) -> OrderSighting:
        """Take an order; durable before it is answered. Nothing is waited for, so ``may_leave`` is as it was when it was called."""
        self._know(order.symbol)
        taken = self._venue.accept(order)
        self._keep()
        return taken.sighting(Channel.QUERY, self._venue.now())

    async def cancel(self, order: Order) -> None:
        """Take it out of the market."""
        self._venue.cancel(order.client_order_id)
        self._keep()

    async def cancel_all(self) -> None:
        """Take everything out of the market."""
        for open_order in self._venue.open_orders():
            self._venue.cancel(open_order.client_order_id)
        self._keep()

    async def look_up(self, client_order_id: str) -> OrderSighting | None:
        """One order."""
        return self._venue.look_up(client_order_id)

    async def orders(self, *, since: datetime | None = None) -> list[OrderSighting]:
        """Open orders, and with ``since`` those that ended after it."""
        return self._venue.shown(since)

    async def activities(self, after: str, *, since: datetime | None = None) -> list[ActivitySighting]:
        """Lines after an id."""
        return [line for line in self._venue.activities if line.activity_id > after]

    async def updates(self) -> AsyncIterator[BrokerUpdate]:
        """The market moves, orders fill, and it is told."""
        yield LinkChanged(state=LinkState.UP, reason="", at=self._venue.now())
        while True:
            self._move()
            while not self._said.empty():
                yield self._said.get_nowait()
            await self._sleep(_TICK_SECONDS)

    async def close(self) -> None:
        """Keep the book."""
        self._changed = True
        self._keep()

    # ---- the exchange --------------------------------------------------------------------------------------------------

    def _move(self) -> None:
        session = self._market.hours.session()
        if session != self._session:
            self._venue.close_session()
            self._venue.auction()
            self._session = session
        if not self._market.follows:
            self._market.tick()
        self._venue.match()
        self._keep()

    def _emit(self, seen: OrderSighting | ActivitySighting) -> None:
        self._changed = True
        self._said.put_nowait(seen)

    def _keep(self) -> None:
        """The book in place of the last one, durable; nothing where nothing happened, or where somebody only looks."""
        if not (self._changed and self._keeps):
            return
        venue = self._venue
        book = _Book(
            cash=venue.cash, positions=venue.positions, costs=venue.costs, mid=self._market.mid, orders=list(venue.orders.values()),
            activities=venue.activities, serial=venue._serial, session=self._session,  # noqa: SLF001 - the exchange kept whole
        )  # fmt: skip
        fresh = self._path.with_suffix(f".{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as file:
                file.write(msgspec.json.encode(book))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise BrokerUnavailable(f"the simulated exchange's book cannot be written: {error}", mend="free the disk") from error
        self._changed = False

    def _load(self) -> None:
        if not self._path.exists():
            return
        try:
            book = msgspec.json.decode(self._path.read_bytes(), type=_Book)
        except (OSError, *UNREADABLE) as error:
            raise BrokerUnavailable(f"the simulated exchange's book {self._path.name} is unreadable: {error}", mend="restore it") from error
        venue = self._venue
        venue.cash, venue.positions, venue.costs = book.cash, book.positions, book.costs
        venue.orders = {order.client_order_id: order for order in book.orders}
        venue.activities, venue._serial, self._session = book.activities, book.serial, book.session  # noqa: SLF001
        self._market.mid |= book.mid
        venue.shortable |= dict.fromkeys(book.mid, True)


class PaperFeed(SimulatedFeed):
    """The market's own prices."""

    def __init__(self, market: PaperMarket) -> None:
        super().__init__(market)
        self._paper = market

    async def subscribe(self, symbols: Sequence[str]) -> None:
        """Follow these as well."""
        await super().subscribe([symbol for symbol in symbols if self._paper.know(symbol)])


class FollowedFeed:
    """A feed from outside whose prices the simulated market follows: orders fill where the recorded day traded."""

    def __init__(self, feed: LiveFeed, market: PaperMarket) -> None:
        self._feed, self._market = feed, market
        market.follows = True

    async def subscribe(self, symbols: Sequence[str]) -> None:
        """As the feed."""
        await self._feed.subscribe(symbols)

    async def updates(self) -> AsyncIterator[FeedUpdate]:
        """As the feed; the market hears it first."""
        async for update in self._feed.updates():
            self._market.hear(update)
            yield update

    async def latest(self, symbols: Sequence[str]) -> list[QuoteSighting]:
        """As the feed."""
        return await self._feed.latest(symbols)

    async def daily_bars(self, symbols: Sequence[str], first: str, last: str) -> list[BarSighting]:
        """As the feed."""
        return await self._feed.daily_bars(symbols, first, last)

    async def splits(self, symbols: Sequence[str], first: str, last: str) -> list[SplitSighting]:
        """As the feed."""
        return await self._feed.splits(symbols, first, last)

    async def close(self) -> None:
        """As the feed."""
        await self._feed.close()
