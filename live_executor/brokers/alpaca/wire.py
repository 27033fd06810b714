"""Alpaca's payloads, read tolerantly: unknown fields are ignored, absent ones are None, words stay words, numbers may be text.

What moves money (quantities, prices, ids) is strict: a value that is none raises `Unreadable`, and the caller says so.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec

from hedgefund_core.trading.instrument import LARGEST, ZERO
from hedgefund_core.trading.observed import (
    AccountSighting,
    ActivitySighting,
    AssetSighting,
    Channel,
    FillSighting,
    MarketClock,
    MarketDay,
    OrderSighting,
    PositionSighting,
)
from live_executor.ports import UNREADABLE

T = TypeVar("T")
Number = str | int | float | None
EXCHANGE_ZONE = ZoneInfo("America/New_York")
_SIDES = {"sell_short": "sell", "buy_to_cover": "buy", "short": "sell", "long": "buy"}
_MINUTES = re.compile(r"^(\d{1,2}):?(\d{2})$")


class Unreadable(ValueError):
    """A payload without something that is needed, or with nonsense in its place."""


class WireOrder(msgspec.Struct, kw_only=True, gc=False):
    """The Order object."""

    id: str
    client_order_id: str = ""
    symbol: str | None = None
    side: str | None = None
    qty: Number = None
    filled_qty: Number = None
    filled_avg_price: Number = None
    status: str | None = None
    type: str | None = None
    order_type: str | None = None
    time_in_force: str | None = None
    limit_price: Number = None
    created_at: str | None = None
    submitted_at: str | None = None
    updated_at: str | None = None
    replaced_by: str | None = None
    replaces: str | None = None
    reject_reason: str | None = None
    reason: str | None = None


class WireUpdate(msgspec.Struct, kw_only=True, gc=False):
    """``data`` of a message of the order stream."""

    order: WireOrder
    event: str = ""
    timestamp: str | None = None
    at: str | None = None
    execution_id: str | None = None
    previous_execution_id: str | None = None
    price: Number = None
    qty: Number = None
    reason: str | None = None


class WireActivity(msgspec.Struct, kw_only=True, gc=False):
    """A line of the activity list, trade or not."""

    id: str
    activity_type: str
    transaction_time: str | None = None
    created_at: str | None = None
    date: str | None = None
    symbol: str | None = None
    order_id: str | None = None
    side: str | None = None
    qty: Number = None
    price: Number = None
    cum_qty: Number = None
    net_amount: Number = None
    description: str | None = None
    status: str | None = None


class WirePosition(msgspec.Struct, kw_only=True, gc=False):
    """The Position object."""

    symbol: str
    qty: Number
    side: str | None = None
    avg_entry_price: Number = None
    current_price: Number = None
    asset_id: str | None = None


class WireAccount(msgspec.Struct, kw_only=True):
    """The Account object, as far as we use it."""

    account_number: str = ""
    status: str = ""
    cash: Number = None
    equity: Number = None
    portfolio_value: Number = None
    buying_power: Number = None
    multiplier: Number = None
    shorting_enabled: bool | None = None
    trading_blocked: bool | None = None
    account_blocked: bool | None = None
    trade_suspended_by_user: bool | None = None


class WireAsset(msgspec.Struct, kw_only=True):
    """The Asset object."""

    symbol: str
    id: str = ""
    exchange: str | None = None
    status: str | None = None
    tradable: bool | None = None
    shortable: bool | None = None
    easy_to_borrow: bool | None = None
    fractionable: bool | None = None


class WireClock(msgspec.Struct, kw_only=True):
    """GET /v2/clock."""

    timestamp: str | None = None
    is_open: bool | None = None
    next_open: str | None = None
    next_close: str | None = None


class WireDay(msgspec.Struct, kw_only=True):
    """A row of GET /v2/calendar."""

    date: str
    open: str
    close: str


# ------------------------------------------------------------------------------------------------------------- values
def decimal_of(value: Number) -> Decimal | None:
    """A number, exactly; None where there is none. Nonsense, NaN, and what nobody can hold or pay are Unreadable."""
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError) as error:
        raise Unreadable(f"{str(value)[:40]!r} is no number") from error
    if not number.is_finite() or abs(number) > LARGEST:
        raise Unreadable(f"{str(value)[:40]!r} is no number that can be")
    return number


def needed(value: Number, what: str) -> Decimal:
    """A number that must be there."""
    number = decimal_of(value)
    if number is None:
        raise Unreadable(f"{what} is missing")
    return number


def _above_zero(value: Number, what: str) -> Decimal:
    """A number of a trade; nothing is traded for nothing."""
    number = needed(value, what)
    if number <= ZERO:
        raise Unreadable(f"{value!r} is no {what}")
    return number


_LEAP = re.compile(r"(:59):60")


def moment(text: str | None) -> datetime | None:
    """A time as aware UTC, nanoseconds cut off; a bare date is its first moment; None where there is none.

    A leap second is told as second 60, which no clock of ours has: it is the second before. A time of the year 1 is how some languages
    write that there is none.
    """
    if not text:
        return None
    try:
        parsed = datetime.fromisoformat(_LEAP.sub(r"\1:59", text))
        found = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Unreadable(f"{text!r} is no time") from error
    return found if found.year > 1 else None


def decode(body: bytes, kind: type[T]) -> T:
    """One object; Unreadable where it is none."""
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def decode_rows(body: bytes, kind: type[T]) -> tuple[list[T], list[bytes]]:
    """The rows of a list, and those that cannot be read: one bad row never hides the others."""
    with contextlib.suppress(*UNREADABLE):
        return msgspec.json.decode(body, type=list[kind]), []  # type: ignore[valid-type]
    rows: list[T] = []
    bad: list[bytes] = []
    for raw in decode(body, list[msgspec.Raw]):
        try:
            rows.append(msgspec.json.decode(raw, type=kind))
        except UNREADABLE:
            bad.append(bytes(raw))
    return rows, bad


# ---------------------------------------------------------------------------------------------------------- sightings
def order_sighting(order: WireOrder, *, channel: Channel, now: datetime, update: WireUpdate | None = None) -> OrderSighting:
    """An order as we speak of it. ``now`` stands in where the broker gives no time."""
    word = (order.status or "").lower()
    at = moment(update.timestamp) or moment(update.at) if update else None
    fill = None if update is None else fill_of(update, order, at or now)
    return OrderSighting(
        client_order_id=order.client_order_id,
        broker_order_id=order.id,
        symbol=order.symbol or "",
        side=side_of(order.side),
        quantity=decimal_of(order.qty),
        filled_quantity=decimal_of(order.filled_qty) or ZERO,
        average_price=decimal_of(order.filled_avg_price) or None,
        status=word,
        channel=channel,
        at=at or moment(order.updated_at) or moment(order.submitted_at) or now,
        event="" if update is None else update.event.lower(),
        fill=fill,
        order_type=order.type or order.order_type or "",
        time_in_force=order.time_in_force or "",
        limit_price=decimal_of(order.limit_price),
        replaced_by=order.replaced_by or "",
        replaces=order.replaces or "",
        reason=(update.reason if update and update.reason else order.reject_reason or order.reason) or "",
    )


_WITH_FILL = frozenset({"fill", "partial_fill", "trade_bust", "trade_correct"})


def fill_of(update: WireUpdate, order: WireOrder, at: datetime) -> FillSighting | None:
    """The execution that an update tells of; a bust and a correction name the execution they change."""
    if update.event.lower() not in _WITH_FILL or update.qty is None or update.price is None:
        return None
    return FillSighting(
        execution_id=update.previous_execution_id or update.execution_id or "",
        quantity=_above_zero(update.qty, "quantity of the fill"),
        price=_above_zero(update.price, "price of the fill"),
        cumulative_quantity=decimal_of(order.filled_qty),
        at=at,
    )


def side_of(word: str | None) -> str:
    """Buy or sell; another word is kept."""
    lower = (word or "").lower()
    return _SIDES.get(lower, lower)


def activity_sighting(line: WireActivity) -> ActivitySighting:
    """A line of the activity list."""
    return ActivitySighting(
        activity_id=line.id,
        activity_type=line.activity_type,
        at=_activity_time(line),
        symbol=line.symbol or "",
        broker_order_id=line.order_id or "",
        side=side_of(line.side),
        quantity=decimal_of(line.qty),
        price=decimal_of(line.price),
        cumulative_quantity=decimal_of(line.cum_qty),
        net_amount=decimal_of(line.net_amount),
        description=line.description or "",
    )


def _activity_time(line: WireActivity) -> datetime:
    """Its own time, else the one its id begins with (yyyymmddhhmmssmmm), else its date."""
    found = moment(line.transaction_time) or moment(line.created_at)
    if found is None and line.id[:17].isdigit():
        with contextlib.suppress(ValueError):
            whole = datetime.strptime(line.id[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
            found = whole + timedelta(milliseconds=int(line.id[14:17]))
    found = found or moment(line.date)
    if found is None:
        raise Unreadable(f"activity {line.id} has no time")
    return found


def position_sighting(position: WirePosition) -> PositionSighting:
    """Signed by its side where the quantity is not."""
    quantity = needed(position.qty, f"quantity of {position.symbol}")
    if position.side == "short":
        quantity = -abs(quantity)
    return PositionSighting(
        symbol=position.symbol,
        quantity=quantity,
        average_price=decimal_of(position.avg_entry_price) or ZERO,
        current_price=decimal_of(position.current_price),
        asset_id=position.asset_id or "",
    )


def account_sighting(account: WireAccount) -> AccountSighting:
    """Every flag that forbids trading is named."""
    flags = ("trading_blocked", "account_blocked", "trade_suspended_by_user")
    trouble = tuple(name for name in flags if getattr(account, name))
    if account.status.upper() not in {"", "ACTIVE", "PAPER_ONLY"}:
        trouble = (f"status {account.status}", *trouble)
    cash = needed(account.cash, "cash")
    equity = decimal_of(account.equity)
    if equity is None:
        equity = needed(account.portfolio_value, "equity")
    return AccountSighting(
        account_number=account.account_number,
        status=account.status,
        cash=cash,
        equity=equity,
        buying_power=decimal_of(account.buying_power),
        multiplier=decimal_of(account.multiplier),
        shorting_enabled=bool(account.shorting_enabled),
        trouble=trouble,
    )


def asset_sighting(asset: WireAsset) -> AssetSighting:
    """What is not said is not allowed, except trading what is said to be active."""
    status = (asset.status or "").lower()
    return AssetSighting(
        asset_id=asset.id,
        symbol=asset.symbol,
        exchange=asset.exchange or "",
        tradable=status in {"", "active"} if asset.tradable is None else asset.tradable,
        shortable=bool(asset.shortable),
        easy_to_borrow=bool(asset.easy_to_borrow),
        fractionable=bool(asset.fractionable),
        status=status,
    )


def market_clock(clock: WireClock, days: Sequence[MarketDay] = (), now: datetime | None = None) -> MarketClock:
    """The market's time in UTC; what the clock does not say is what the calendar has for ``now``."""
    at = moment(clock.timestamp) or now
    if at is None:
        raise Unreadable("the clock lacks the time")
    is_open = any(day.opens_at <= at < day.closes_at for day in days) if clock.is_open is None else clock.is_open
    opens = moment(clock.next_open) or next((day.opens_at for day in days if day.opens_at > at), None)
    closes = moment(clock.next_close) or next((day.closes_at for day in days if day.closes_at > at), None)
    lacking = {"is_open": clock.is_open is None and not days, "next_open": opens is None, "next_close": closes is None}
    if opens is None or closes is None or any(lacking.values()):
        missing = ", ".join(name for name, lacks in lacking.items() if lacks)
        raise Unreadable(f"the clock does not say {missing}, and the calendar (GET /v2/calendar) has no day that does")
    return MarketClock(at=at, is_open=is_open, next_open=opens, next_close=closes)


def market_day(day: WireDay) -> MarketDay:
    """Hours are told in New York time."""
    try:
        session = date.fromisoformat(day.date[:10])
    except ValueError as error:
        raise Unreadable(f"{day.date!r} is no date") from error
    opens, closes = _hour(session, day.open), _hour(session, day.close)
    return MarketDay(session=session.isoformat(), opens_at=opens, closes_at=closes if closes > opens else closes + timedelta(days=1))


def _hour(session: date, text: str) -> datetime:
    found = _MINUTES.match(text)
    if found is None or int(found[1]) > 23 or int(found[2]) > 59:
        raise Unreadable(f"{text!r} is no time of day")
    return datetime(session.year, session.month, session.day, int(found[1]), int(found[2]), tzinfo=EXCHANGE_ZONE).astimezone(UTC)
