"""What a broker takes, as dated data: order type, time in force, session, fractions, shorts, ticks, windows. Pure.

An order that the broker would refuse is refused here at no cost; at the broker it would use up an order id and part of the rate limit.
Each row names its source. The newest row that is not later than a day holds on that day.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec

from hedgefund_core.trading.instrument import ONE, ZERO
from hedgefund_core.trading.order import OrderType, Side, TimeInForce

EASTERN = ZoneInfo("America/New_York")


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """When orders of a time in force are accepted, New York time. If ``opens`` is after ``closes`` it begins on the evening before."""

    opens: time
    closes: time

    def holds(self, moment: time) -> bool:
        """Whether a moment lies in the window."""
        if self.opens <= self.closes:
            return self.opens <= moment < self.closes
        return moment >= self.opens or moment < self.closes


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker accepts from ``since`` on."""

    since: date
    types: frozenset[tuple[OrderType, TimeInForce]]
    windows: dict[TimeInForce, Window]
    fractional: frozenset[tuple[OrderType, TimeInForce]]
    """Orders whose quantity may have a fraction."""
    fractional_shorts: bool
    extended_hours: frozenset[tuple[OrderType, TimeInForce]]
    """Orders that may trade outside regular hours, where that is asked for."""
    ticks: tuple[tuple[Decimal, Decimal], ...]
    """(price from, tick), falling."""
    source: str


_ALL = frozenset((kind, force) for kind in OrderType for force in TimeInForce)
_DAY = frozenset((kind, TimeInForce.DAY) for kind in OrderType)
_TICKS = ((Decimal(1), Decimal("0.01")), (Decimal(0), Decimal("0.0001")))
_AUCTIONS = {
    TimeInForce.OPG: Window(opens=time(19, 0), closes=time(9, 28)),
    TimeInForce.CLS: Window(opens=time(19, 0), closes=time(15, 50)),
}

ALPACA: tuple[Capabilities, ...] = (
    Capabilities(
        since=date(2020, 1, 1),
        types=_ALL,
        windows=_AUCTIONS,
        fractional=frozenset({(OrderType.MARKET, TimeInForce.DAY)}),
        fractional_shorts=False,
        extended_hours=frozenset({(OrderType.LIMIT, TimeInForce.DAY)}),
        ticks=_TICKS,
        source="Alpaca, orders: fractional orders are market and day; SEC rule 612 for ticks",
    ),
    Capabilities(
        since=date(2023, 10, 1),
        types=_ALL,
        windows=_AUCTIONS,
        fractional=_DAY,
        fractional_shorts=False,
        extended_hours=frozenset({(OrderType.LIMIT, TimeInForce.DAY)}),
        ticks=_TICKS,
        source="Alpaca, fractional trading: limit orders too, day only",
    ),
)
_DEAR, _COARSEST = ALPACA[-1].ticks[0]
"""From where on today's coarsest tick holds, which is that of nearly every price, and the tick."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """An order as a broker would read it."""

    side: Side
    quantity: Decimal
    order_type: OrderType
    time_in_force: TimeInForce
    limit_price: Decimal | None = None
    extended_hours: bool = False
    opens_short: bool = False
    """Whether it could leave the position short."""


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the instrument. The defaults allow everything: what is not known refuses nothing."""

    tradable: bool = True
    shortable: bool = True
    easy_to_borrow: bool = True
    fractionable: bool = True


def in_force(on: date, table: tuple[Capabilities, ...] = ALPACA) -> Capabilities:
    """The row of the table that holds on a day; the first one before its own date."""
    return next((row for row in reversed(table) if row.since <= on), table[0])


def refusal(asked: Asked, moment: datetime, market: Market, table: tuple[Capabilities, ...] = ALPACA, *, waits: bool = False) -> str | None:
    """Why a broker would refuse an order at a moment; None where it would not.

    Parameters
    ----------
    asked, market : the order and its instrument. moment : aware time of the sending. table : of the broker. waits : the
        order is kept until its window opens, so that the window does not refuse it.
    """
    local = moment.astimezone(EASTERN)
    row = in_force(local.date(), table)
    return next(_reasons(asked, market, row, None if waits else local.time()), None)


def _reasons(asked: Asked, market: Market, row: Capabilities, at: time | None) -> Iterator[str]:
    """Why it would be refused, one after the other; ``at`` is the time in New York where the window has to be open."""
    force, limit = asked.time_in_force, asked.limit_price
    kind, window = (asked.order_type, force), row.windows.get(force)
    if not market.tradable:
        yield "the instrument is not tradable at the broker"
    if kind not in row.types:
        yield f"{asked.order_type.value} orders are not taken {force.value}"
    if asked.order_type is OrderType.LIMIT and limit is None:
        yield "a limit order needs a limit price"
    if asked.extended_hours and kind not in row.extended_hours:
        yield "only limit orders for the day trade outside regular hours"
    if at is not None and window is not None and not window.holds(at):
        yield f"{force.value} orders are taken from {window.opens:%H:%M} to {window.closes:%H:%M} New York time"
    if limit is not None and limit % tick_of(limit, row) != 0:
        yield f"the limit price is no multiple of the tick {tick_of(limit, row)}"
    if asked.quantity % ONE != 0:
        yield from _fraction_reasons(asked, market, row)
    if asked.opens_short and not (market.shortable and market.easy_to_borrow):
        yield "the instrument cannot be sold short"


def _fraction_reasons(asked: Asked, market: Market, row: Capabilities) -> Iterator[str]:
    if not market.fractionable:
        yield "the instrument is traded in whole shares only"
    if (asked.order_type, asked.time_in_force) not in row.fractional:
        yield "fractions of shares are taken for the day only"
    if asked.opens_short and not row.fractional_shorts:
        yield "fractions of shares cannot be sold short"


def tick_of(price: Decimal, row: Capabilities = ALPACA[-1]) -> Decimal:
    """Smallest step of a limit price."""
    for least, tick in row.ticks:
        if price >= least:
            return tick
    return row.ticks[-1][1]


def to_tick(price: Decimal, *, up: bool) -> Decimal:
    """A price in whole ticks, rounded up or down; at least one tick."""
    tick = _COARSEST if price >= _DEAR else tick_of(price)
    below = price // tick * tick  # exact, and three times as fast as a rounded division
    found = below + tick if up and below != price else below
    return found if found > ZERO else tick
