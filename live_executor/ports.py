"""The plugs of the executor: what runtime and command line need from a broker, a feed, a journal, a model source, a clock.

Adapters raise the classes of ``hedgefund_core.errors``, chosen by what the caller must do. For a submit that means:
``OrderRejected`` is a definite no, ``BrokerUnavailable`` surely did nothing, ``OrderOutcomeUnknown`` may have done it.
An id the broker already has is "already there" and no error: the same intent can never become two orders.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Protocol

import msgspec

from hedgefund_core.trading.events import BrokerNews, BrokerReported, Event, Frame, HistoryLoaded, Input, decode
from hedgefund_core.trading.order import Order


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


class SimulatedMarket(Protocol):
    """A broker that lives on simulated time and has to be told how late it is."""

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

    def read(self, after_seq: int = 0) -> Iterator[JournalEntry]:
        """Entries after ``after_seq`` in order."""

    @property
    def head(self) -> Head:
        """The newest entry; number 0 for an empty journal."""

    def sign_head(self, signed_at: datetime) -> None:
        """Sign the head with a key that lives outside the data folder."""

    def close(self) -> None:
        """Release file and lock."""


class Clock(Protocol):
    """The only one who knows what time it is."""

    def now(self) -> datetime:
        """Aware UTC time."""
