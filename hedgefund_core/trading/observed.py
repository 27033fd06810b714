"""Sightings: what a live broker or feed shows, translated into our own terms and not yet believed.

A broker's updates come twice, late, out of order or not at all, and from two channels (stream and query) that may disagree for
seconds. So nothing here is booked as it comes: ``evidence.py`` compares a sighting with what is booked and derives the news from it.
Absent values are None: a field that a vendor leaves out is not a zero.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

OVER = frozenset({"filled", "canceled", "cancelled", "expired", "rejected", "replaced"})
"""Statuses of orders that will not trade again. ``done_for_day`` is not one of them: such an order may trade the next day."""
OVER_TODAY = OVER | {"done_for_day"}


class Channel(StrEnum):
    """Where a sighting comes from."""

    STREAM = "stream"
    QUERY = "query"


class FillSighting(msgspec.Struct, frozen=True, kw_only=True):
    """One fill. ``cumulative_quantity`` is the order's filled quantity after it, which is the same on every channel."""

    execution_id: str
    quantity: Decimal
    price: Decimal
    cumulative_quantity: Decimal | None
    at: datetime


class OrderSighting(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the broker shows it at a moment. ``event`` is the vendor's own word for what happened (empty in a query)."""

    client_order_id: str
    broker_order_id: str
    symbol: str
    side: str
    """buy or sell; another word is kept and is not ours to trade"""
    quantity: Decimal | None
    filled_quantity: Decimal
    average_price: Decimal | None
    status: str
    """In the broker's American spelling, lower case; an unknown word is kept."""
    channel: Channel
    at: datetime
    """The broker's own time of the update."""
    event: str = ""
    fill: FillSighting | None = None
    order_type: str = ""
    time_in_force: str = ""
    limit_price: Decimal | None = None
    replaced_by: str = ""
    replaces: str = ""
    reason: str = ""


class ActivitySighting(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the broker's activity list: a fill, a cash line, a split. ``activity_id`` is stable and sorts by time."""

    activity_id: str
    activity_type: str
    """FILL, DIV, FEE, INT, CSD, CSW, JNLC, SPLIT, ... as the broker spells it"""
    at: datetime
    symbol: str = ""
    broker_order_id: str = ""
    side: str = ""
    quantity: Decimal | None = None
    price: Decimal | None = None
    cumulative_quantity: Decimal | None = None
    net_amount: Decimal | None = None
    description: str = ""


class PositionSighting(msgspec.Struct, frozen=True, kw_only=True):
    """A position as the broker shows it, signed."""

    symbol: str
    quantity: Decimal
    average_price: Decimal
    current_price: Decimal | None = None
    asset_id: str = ""


class AccountSighting(msgspec.Struct, frozen=True, kw_only=True):
    """The account by query. ``trouble`` names every flag that forbids trading, empty where there is none."""

    account_number: str
    status: str
    cash: Decimal
    equity: Decimal
    buying_power: Decimal | None
    multiplier: Decimal | None
    shorting_enabled: bool
    trouble: tuple[str, ...] = ()


class AssetSighting(msgspec.Struct, frozen=True, kw_only=True):
    """What may be done with an instrument today."""

    asset_id: str
    symbol: str
    exchange: str
    tradable: bool
    shortable: bool
    easy_to_borrow: bool
    fractionable: bool
    status: str


class MarketClock(msgspec.Struct, frozen=True, kw_only=True):
    """The market's own time, and when it opens and closes next."""

    at: datetime
    is_open: bool
    next_open: datetime
    next_close: datetime


class MarketDay(msgspec.Struct, frozen=True, kw_only=True):
    """One trading day with its regular hours, UTC (half days too)."""

    session: str
    opens_at: datetime
    closes_at: datetime


class LinkState(StrEnum):
    """State of a stream."""

    UP = "up"
    """Connected, authenticated and subscribed."""
    DOWN = "down"
    REFUSED = "refused"
    """Bad credentials, no subscription, or another connection of the same key: trying again will not help before somebody acts."""


class LinkChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A stream went up or down. The server does not repeat what happened in between: it has to be asked for by query."""

    state: LinkState
    reason: str
    at: datetime


class UnknownUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """A message that we do not understand: it is journaled, people are told, and the books are reconciled."""

    what: str
    payload: str
    at: datetime


class QuoteSighting(msgspec.Struct, frozen=True, kw_only=True):
    """A price of an instrument: a quote, a trade or a bar's close; ``received_at`` is our clock, ``at`` the vendor's."""

    symbol: str
    at: datetime
    received_at: datetime
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    source: str = "quote"
    """quote, trade or bar"""
    channel: Channel = Channel.STREAM


class BarSighting(msgspec.Struct, frozen=True, kw_only=True):
    """One bar; ``at`` is its close, ``resolution`` 1m, 1h or 1d; prices float64 as the maths reads them."""

    symbol: str
    resolution: str
    at: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    channel: Channel = Channel.STREAM


class HaltSighting(msgspec.Struct, frozen=True, kw_only=True):
    """Trading in an instrument was halted or resumed (halts, LULD pauses)."""

    symbol: str
    halted: bool
    reason: str
    at: datetime


class BandSighting(msgspec.Struct, frozen=True, kw_only=True):
    """The prices between which an instrument may trade now (limit up/limit down)."""

    symbol: str
    lower: Decimal
    upper: Decimal
    at: datetime


class SplitSighting(msgspec.Struct, frozen=True, kw_only=True):
    """A split that the vendor has announced: it takes effect before the open of ``session`` (its ex-date)."""

    symbol: str
    ratio: Decimal
    """New shares for one old"""
    session: str


BrokerUpdate = OrderSighting | ActivitySighting | LinkChanged | UnknownUpdate
FeedUpdate = QuoteSighting | BarSighting | HaltSighting | BandSighting | LinkChanged | UnknownUpdate
