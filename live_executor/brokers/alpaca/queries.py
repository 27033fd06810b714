"""What is asked of Alpaca's trading side: account, positions, orders, activities, assets, clock and calendar; all pages of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import quote

import msgspec

from hedgefund_core.errors import BrokerUnavailable
from hedgefund_core.trading.observed import (
    AccountSighting,
    ActivitySighting,
    AssetSighting,
    Channel,
    MarketClock,
    MarketDay,
    OrderSighting,
    PositionSighting,
    UnknownUpdate,
)
from live_executor.brokers.alpaca import wire
from live_executor.brokers.alpaca.budget import Lane
from live_executor.brokers.alpaca.transport import MEND, Answer, Transport, problem_of
from live_executor.ports import UNREADABLE, Clock
from live_executor.streams import unreadable

W = TypeVar("W")
S = TypeVar("S")
ORDERS_PAGE, ACTIVITIES_PAGE = 500, 100
_ROUND = 10
LOOK_BACK = timedelta(days=4)
"""The list filters by time of submission, and orders are for the day: one that ended just now was sent at most a long weekend ago."""
_OVERLAP = timedelta(microseconds=1)
_A_DAY, _A_WEEK = timedelta(days=1), timedelta(days=7)
_ACTIVE = {"status": "active", "asset_class": "us_equity"}
_NOT_OFFERED = frozenset({404, 405, 501})
_NOTHING_MOVED = frozenset({"pending", "canceled"})
"""Status of an activity that is not in the account's cash and positions"""
ASSET_EXPIRY = timedelta(minutes=10)
MANY_ASSETS = 10
"""From so many symbols within the expiry on, the whole list is read instead of one symbol after the other."""


class Oddities:
    """Rows of lists that could not be read. They are reported on the order stream, since they are a reason to reconcile."""

    def __init__(self) -> None:
        self._found: deque[UnknownUpdate] = deque(maxlen=1000)
        self.on_new: Callable[[], None] = _nothing

    def add(self, update: UnknownUpdate) -> None:
        """Note one."""
        self._found.append(update)
        self.on_new()

    def take(self) -> list[UnknownUpdate]:
        """All that are new."""
        found = list(self._found)
        self._found.clear()
        return found


def _nothing() -> None:
    """Nobody waits for oddities yet."""


class AlpacaQueries:
    """The reading half of the adapter."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport, self._clock = transport, clock
        self._oddities = Oddities()
        self._assets: dict[str, tuple[datetime, AssetSighting | None]] = {}
        self._misses: list[datetime] = []
        self._listing = asyncio.Lock()
        self._listed_at: datetime | None = None
        self._offers_assets: bool | None = None

    async def look_up(self, client_order_id: str) -> OrderSighting | None:
        """The order under our id; None is the broker's own word that it has none."""
        path = "/v2/orders:by_client_order_id"
        answer = await self._transport.get(path, {"client_order_id": client_order_id})
        if _is_absence(answer):
            return None
        found = self._one(answer, wire.WireOrder, self._order, path)
        if found.client_order_id != client_order_id:
            raise BrokerUnavailable(f"asked for order {client_order_id}, got {found.client_order_id!r}", mend=MEND)
        return found

    async def orders(self, *, since: datetime | None = None) -> list[OrderSighting]:
        """Every open order; with ``since`` also those that ended after it. All pages."""
        found = {row.id: row for row in await self._order_pages({"status": "open"})}
        if since is not None:
            ended = await self._order_pages({"status": "closed", "after": _text(since - LOOK_BACK)})
            found |= {row.id: row for row in ended if (_when(row.updated_at) or since) >= since}
        return self._each(list(found.values()), self._order, "an order of the list")

    async def _order_pages(self, params: Mapping[str, str]) -> list[wire.WireOrder]:
        """Pages go on a microsecond before the last row, since several orders may share its time; doubles fall out by id."""
        found: dict[str, wire.WireOrder] = {}
        after = params.get("after", "")
        while True:
            asked = {**params, "limit": str(ORDERS_PAGE), "direction": "asc", "nested": "false"} | ({"after": after} if after else {})
            page = await self._rows("/v2/orders", asked, wire.WireOrder)
            new = [row for row in page if row.id not in found]
            found |= {row.id: row for row in new}
            last = max((at for row in page if (at := _when(row.submitted_at) or _when(row.created_at))), default=None)
            further = "" if last is None else _text(last - _OVERLAP if new else last)  # a whole page of one moment: step over it
            if _is_last(page, ORDERS_PAGE) or further in {"", after}:
                return list(found.values())
            after = further

    async def activities(self, after: str, *, since: datetime | None = None) -> list[ActivitySighting]:
        """Lines after the id ``after``, oldest first; empty: of the day of ``since`` (None: the broker's today) and later.

        It starts a day earlier: the time of a cash line is midnight of its day, and servers differ about the zone.
        """
        found: dict[str, wire.WireActivity] = {}
        params = {"direction": "asc", "page_size": str(ACTIVITIES_PAGE)}
        token = after
        if not after:
            at = (since or (await self.market_clock()).at).astimezone(wire.EXCHANGE_ZONE) - _A_DAY
            params["after"] = _text(at.replace(hour=0, minute=0, second=0, microsecond=0))
        while True:
            asked = params | ({"page_token": token} if token else {})
            page = await self._rows("/v2/account/activities", asked, wire.WireActivity, dispensable=True)
            new = [line for line in page if line.id not in found and line.id != after]
            found |= {line.id: line for line in new}
            if _is_last(page, ACTIVITIES_PAGE) or not new:
                break
            token = page[-1].id
        moved = [line for line in found.values() if line.status not in _NOTHING_MOVED]
        lines = self._each(moved, wire.activity_sighting, "a line of the activities")
        return sorted(lines, key=lambda line: line.activity_id)

    async def account(self) -> AccountSighting:
        """Cash, equity, buying power, flags."""
        path = "/v2/account"
        return self._one(await self._transport.get(path), wire.WireAccount, wire.account_sighting, path)

    async def positions(self) -> list[PositionSighting]:
        """Every position; one that cannot be read makes the whole answer unusable, since absence would mean flat."""
        path = "/v2/positions"
        rows, bad = self._decode_rows(await self._transport.get(path), wire.WirePosition, path)
        if bad:
            raise BrokerUnavailable(f"GET {path}: unreadable position: {bad[0].decode('utf-8', 'replace')[:200]}", mend=MEND)
        try:
            return [wire.position_sighting(row) for row in rows]
        except wire.Unreadable as error:
            raise BrokerUnavailable(f"GET {path}: unreadable answer: {error}", mend=MEND) from error

    async def asset(self, symbol: str) -> AssetSighting | None:
        """What may be done with a symbol, remembered for minutes; None where the broker does not know it."""
        now = self._clock.now()
        known = self._assets.get(symbol)
        if known is not None and now - known[0] < ASSET_EXPIRY:
            return known[1]
        self._misses = [at for at in self._misses if now - at < ASSET_EXPIRY] + [now]
        if len(self._misses) >= MANY_ASSETS:  # a book of hundreds of names must not use up the minutes' requests one by one
            await self._list_assets(now)
            read, listed = self._assets.get(symbol, (now, None))
            if listed is not None and now - read < ASSET_EXPIRY:
                return listed
        path = f"/v2/assets/{quote(symbol, safe='')}"
        answer = await self._transport.get(path)
        if _is_absence(answer):
            found = await self._not_found(symbol, now)
        else:
            found = self._one(answer, wire.WireAsset, wire.asset_sighting, path)
        self._assets[symbol] = (now, found)
        return found

    async def _list_assets(self, now: datetime) -> None:
        """The list, once for all who ask at the same time; without it they ask one by one."""
        async with self._listing:
            if self._listed_at is None or now - self._listed_at >= ASSET_EXPIRY:
                self._listed_at = now
                with contextlib.suppress(BrokerUnavailable):
                    await self._read_all_assets(now)

    async def _not_found(self, symbol: str, now: datetime) -> AssetSighting | None:
        """A name of which the server says nothing by itself: some have it in their list only.

        Of one that has no assets at all a name may be traded until the server refuses it, and is never sold short.
        """
        nothing = (None, None)
        if self._offers_assets is None or self._assets.get(symbol, nothing)[1] is not None:
            self._offers_assets = await self._read_all_assets(now)
        if not self._offers_assets:
            return wire.asset_sighting(wire.WireAsset(symbol=symbol))
        read, listed = self._assets.get(symbol, nothing)
        return listed if read == now else None

    async def _read_all_assets(self, now: datetime) -> bool:
        """The whole list in one answer; False where the server has none."""
        path = "/v2/assets"
        answer = await self._transport.get(path, _ACTIVE)
        if answer.status in _NOT_OFFERED:
            return False
        for asset in self._each(self._readable(answer, wire.WireAsset, path), wire.asset_sighting, "an asset of the list"):
            self._assets[asset.symbol] = (now, asset)
        return True

    async def market_clock(self) -> MarketClock:
        """The market's time; from the calendar and our own clock where a compatible server has none, or one that does not say all."""
        path = "/v2/clock"
        answer = await self._transport.get(path)
        seen = wire.WireClock() if answer.status in _NOT_OFFERED else self._one(answer, wire.WireClock, lambda clock: clock, path)
        days: list[MarketDay] = []
        if None in {seen.timestamp, seen.is_open, seen.next_open, seen.next_close}:
            today = (_when(seen.timestamp) or self._clock.now()).date()
            days = await self.market_days((today - _A_WEEK).isoformat(), (today + _A_WEEK).isoformat())
        try:
            return wire.market_clock(seen, days, self._clock.now())
        except wire.Unreadable as error:
            raise BrokerUnavailable(f"GET {path}: unreadable answer: {error}", mend=MEND) from error

    async def market_days(self, first: str, last: str) -> list[MarketDay]:
        """Trading days with their hours."""
        rows = await self._rows("/v2/calendar", {"start": first, "end": last}, wire.WireDay, dispensable=True)
        days = self._each(rows, wire.market_day, "a day of the calendar")
        return sorted((day for day in days if first <= day.session <= last), key=lambda day: day.session)

    # ------------------------------------------------------------------------------------------------------- reading
    def _order(self, row: wire.WireOrder) -> OrderSighting:
        return wire.order_sighting(row, channel=Channel.QUERY, now=self._clock.now())

    def _one(self, answer: Answer, kind: type[W], convert: Callable[[W], S], path: str) -> S:
        """One object; an answer that is none tells nothing."""
        try:
            return convert(wire.decode(_good(answer), kind))
        except wire.Unreadable as error:
            raise BrokerUnavailable(f"GET {path}: unreadable answer: {error}"[:400], mend=MEND) from error

    async def _rows(self, path: str, params: Mapping[str, str], kind: type[W], *, dispensable: bool = False) -> list[W]:
        """The readable rows of a list; the others are oddities.

        A compatible server may lack a list we can do without (fills are seen in orders too, the clock tells open and close): then it
        is empty. The lists of orders and positions are not of that kind: there, empty would mean flat.
        """
        answer = await self._transport.get(path, params, Lane.READ)
        if dispensable and answer.status in _NOT_OFFERED:
            return []
        return self._readable(answer, kind, path)

    def _readable(self, answer: Answer, kind: type[W], path: str) -> list[W]:
        rows, bad = self._decode_rows(answer, kind, path)
        for raw in bad:
            self._oddities.add(unreadable(f"a row of GET {path}", raw, self._clock))
        return rows

    @staticmethod
    def _decode_rows(answer: Answer, kind: type[W], path: str) -> tuple[list[W], list[bytes]]:
        try:
            return wire.decode_rows(_good(answer), kind)
        except wire.Unreadable as error:
            raise BrokerUnavailable(f"GET {path}: unreadable answer: {error}"[:400], mend=MEND) from error

    def _each(self, rows: list[W], convert: Callable[[W], S], what: str) -> list[S]:
        found: list[S] = []
        for row in rows:
            try:
                found.append(convert(row))
            except wire.Unreadable as error:
                self._oddities.add(unreadable(f"{what}: {error}", repr(row), self._clock))
        return found


def _when(text: str | None) -> datetime | None:
    """A time that only says where to go on asking; a row whose own cannot be read is told by whoever reads the row."""
    with contextlib.suppress(wire.Unreadable):
        return wire.moment(text)
    return None


def _is_last(page: Sequence[object], asked: int) -> bool:
    """A server may have a smaller page than was asked for: a round number of rows says nothing about what follows."""
    return len(page) < asked and (not page or len(page) % _ROUND > 0)


def _good(answer: Answer) -> bytes:
    if answer.status != 200:
        raise wire.Unreadable(f"HTTP {answer.status} {(problem_of(answer) or ('', ''))[1]}")
    return answer.body


def _is_absence(answer: Answer) -> bool:
    """Whether the broker itself says that there is no such thing: 404 with a JSON object, whatever its words; a web page says nothing."""
    if answer.status != 404:
        return False
    try:
        return isinstance(msgspec.json.decode(answer.body), dict)
    except UNREADABLE:
        return False


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
