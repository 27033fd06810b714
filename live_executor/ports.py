"""The ports: what the executor needs from a broker, a feed, a journal, a model source and a clock.

Adapters raise the classes of ``hedgefund_core.errors``, chosen by what the caller must do. For a submit: ``OrderRejected`` is a definite
no, ``BrokerUnavailable`` surely did nothing, and after ``OrderOutcomeUnknown`` the order may or may not be at the broker. A submit with an
id that the broker already has returns the order that has it, so that one intent can never become two orders.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Protocol

import msgspec

from hedgefund_core.trading.events import BrokerNews, BrokerReported, Event, Frame, HistoryLoaded, Input, decode
from hedgefund_core.trading.observed import (
    AccountSighting,
    ActivitySighting,
    AssetSighting,
    BarSighting,
    BrokerUpdate,
    FeedUpdate,
    MarketClock,
    MarketDay,
    OrderSighting,
    PositionSighting,
    QuoteSighting,
    SplitSighting,
)
from hedgefund_core.trading.order import Order

Sleep = Callable[[float], Awaitable[None]]
"""Waiting, in seconds: virtual in a simulation."""
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What reading a message of others may end with: it is not what was expected, no text, or nested deeper than anybody can follow."""
MayLeave = Callable[[], bool]
"""Whether an order may still be sent."""


class Phase(IntEnum):
    """The moments of a session, in their order."""

    BEGAN = 1
    OPEN = 2
    CLOSE = 3
    BARS = 4
    REPORT = 5
    DECISION = 6


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One moment of the schedule; ``event`` is the journaled input it brings, if any."""

    session: str
    phase: Phase
    ts: datetime
    event: Input | None = None

    @property
    def key(self) -> tuple[str, int]:
        """Its place on the time line (ISO dates compare as text)."""
        return self.session, int(self.phase)


class MarketMoment(StrEnum):
    """Moments to which a simulated market is moved."""

    OPEN = "open"
    CLOSE = "close"


class BrokerOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the broker's own book has it."""

    client_order_id: str
    broker_order_id: str
    status: str
    quantity: Decimal
    filled_quantity: Decimal
    reason: str = ""


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the journal as it is stored; ``ts`` counts microseconds since 1970 UTC."""

    seq: int
    ts: int
    kind: str
    payload: bytes
    hash: bytes

    @property
    def frame(self) -> Frame:
        """The decoded frame."""
        return decode(self.payload)


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The newest entry's number and hash: it stands for the whole chain before it."""

    seq: int
    hash: bytes


class Broker(Protocol):
    """Where orders go. Every piece of news has a durable number that rises by one each."""

    async def submit(self, order: Order) -> BrokerOrder:
        """Send an order. A rejection raises OrderRejected and is in the news as well."""

    async def cancel(self, client_order_id: str) -> None:
        """Ask for a cancel; whether it happened is in the news. Nothing happens to an order that is over or not there."""

    async def look_up(self, client_order_id: str) -> BrokerOrder | None:
        """The broker's evidence about an order: None is proof of absence."""

    async def news(self, after_seq: int) -> list[BrokerNews]:
        """Everything that happened after ``after_seq``, oldest first."""

    async def report(self, session: str, ts: datetime) -> BrokerReported:
        """Cash, positions and open orders by query: the input of reconciliation."""

    async def close(self) -> None:
        """Let go of connections and files."""


class BrokerViews(Protocol):
    """What a broker shows of the account and the market, by query."""

    async def account(self) -> AccountSighting:
        """Cash, equity, buying power, flags."""

    async def positions(self) -> list[PositionSighting]:
        """Every position."""

    async def asset(self, symbol: str) -> AssetSighting | None:
        """What may be done with a symbol; None where the broker does not know it."""

    async def market_clock(self) -> MarketClock:
        """The market's time."""

    async def market_days(self, first: str, last: str) -> list[MarketDay]:
        """Trading days with their hours."""


class LiveBroker(BrokerViews, Protocol):
    """A broker on the wall clock. What its stream and queries show are sightings, from which ``trading/evidence.py`` derives news.

    Every call raises BrokerUnavailable where surely nothing was done (refused connection, 429), and a submit additionally
    OrderRejected (a definite no) or OrderOutcomeUnknown (time-out, reset, 5xx, unreadable answer). A POST is never repeated here.
    """

    async def submit(self, order: Order, *, may_leave: MayLeave | None = None) -> OrderSighting:
        """Send an order once. An id the broker already has gives back the order that has it.

        ``may_leave`` is asked when the request has waited for everything else, as for its place in the rate limit; if the answer is no,
        nothing is sent and BrokerUnavailable is raised.
        """

    async def cancel(self, order: Order) -> None:
        """Ask for a cancel; an answer of success proves nothing. An order that is over or not there is no error."""

    async def cancel_all(self) -> None:
        """Ask for a cancel of everything that is open, whoever sent it."""

    async def look_up(self, client_order_id: str) -> OrderSighting | None:
        """The broker's evidence about an order: None is proof of absence."""

    async def orders(self, *, since: datetime | None = None) -> list[OrderSighting]:
        """Every open order, all pages; with ``since`` also those that ended after it."""

    async def activities(self, after: str, *, since: datetime | None = None) -> list[ActivitySighting]:
        """Lines of the activity list after the id ``after``, oldest first, all pages; empty text: of the day of ``since`` (None: today)
        and later.
        """

    def updates(self) -> AsyncIterator[BrokerUpdate]:
        """The order stream for ever: link changes, orders, what is not understood. It reconnects by itself."""

    async def close(self) -> None:
        """Let go of connections."""


class SplitCalendar(Protocol):
    """Who knows of splits before they happen."""

    async def splits(self, symbols: Sequence[str], first: str, last: str) -> list[SplitSighting]:
        """Announced splits whose ex-date lies between two sessions, earliest first. Raises DataUnavailable."""


class LiveFeed(SplitCalendar, Protocol):
    """Market data on the wall clock."""

    async def subscribe(self, symbols: Sequence[str]) -> None:
        """Follow these symbols as well."""

    def updates(self) -> AsyncIterator[FeedUpdate]:
        """The data stream for ever: link changes, quotes, bars, halts. It reconnects by itself and says so."""

    async def latest(self, symbols: Sequence[str]) -> list[QuoteSighting]:
        """The newest price of each symbol by query: quote, else trade, else bar; a symbol without any is left out."""

    async def daily_bars(self, symbols: Sequence[str], first: str, last: str) -> list[BarSighting]:
        """Daily bars, raw, oldest first, all pages."""

    async def close(self) -> None:
        """Let go of connections."""


class SimulatedMarket(Protocol):
    """A broker on simulated time, which has to be told what time it is."""

    async def advance(self, session: str, moment: MarketMoment, ts: datetime) -> None:
        """Let everything up to and with this moment happen; a moment already passed does nothing."""


class MarketFeed(Protocol):
    """The schedule and its data, in order of time."""

    def moments(self, after: tuple[str, int] | None) -> AsyncIterator[Moment]:
        """Moments after the place ``after`` (a `Moment.key`), or from the beginning."""

    def history(self, after: tuple[str, int] | None, rows: int) -> HistoryLoaded | None:
        """Up to ``rows`` sessions of bars that lie before the first session of `moments`; None where there are none."""


class ModelSource(Protocol):
    """Where a model bundle comes from."""

    def current(self, alias: str) -> Path:
        """Folder with the files of the bundle that carries ``alias``, unverified; raises ModelUnavailable where nothing does."""


class Journal(Protocol):
    """The truth: append-only, hash-chained, durable before ``append`` returns."""

    def append(self, frames: Sequence[Event]) -> Head:
        """Write frames in one durable transaction: all of them or none."""

    def tidy(self) -> None:
        """Put in order what commits have left behind, while nobody waits for one; raises JournalError where a commit would."""

    def read(self, after_seq: int = 0) -> Iterator[JournalEntry]:
        """Entries after ``after_seq`` in order."""

    @property
    def head(self) -> Head:
        """The newest entry; number 0 for an empty journal."""

    def sign_head(self, signed_at: datetime) -> None:
        """Sign the head with a key that lives outside the data folder, and keep it there too."""

    def save_snapshot(self, payload: bytes) -> None:
        """Keep a packed state at the head, signed: it shortens the next start."""

    def snapshot(self) -> bytes | None:
        """The newest snapshot that our own key signed."""

    def close(self) -> None:
        """Release file and lock."""


class Clock(Protocol):
    """The only source of the time."""

    def now(self) -> datetime:
        """Aware UTC time."""
