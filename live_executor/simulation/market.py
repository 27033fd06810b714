"""Prices, sessions and the feed of a simulated market. Nights take no time: the clock jumps over them, as the broker's clock says."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import accumulate

from hedgefund_core.errors import DataUnavailable
from hedgefund_core.trading.observed import (
    BarSighting,
    Channel,
    FeedUpdate,
    HaltSighting,
    LinkChanged,
    LinkState,
    MarketClock,
    MarketDay,
    QuoteSighting,
    SplitSighting,
)
from live_executor.simulation.plan import AFTER_SECONDS, HALF_SESSION_SECONDS, PRE_SECONDS, SESSION_SECONDS, day_seconds

FIRST = date(2026, 11, 16)
_OPEN_HOUR = 14.5
CENT = Decimal("0.01")


_BEFORE, _AFTER = 5, 15


class Hours:
    """Virtual seconds as the market's time: each day is some seconds before the open, the session, some time after it, and an evening."""

    def __init__(
        self,
        time: Callable[[], float],
        session_seconds: Sequence[float] = (),
        half_days: Collection[int] = (),
        weeks: tuple[int, int] = (0, 5),
    ) -> None:
        """``weeks``: the place of the first day in its week, and how many sessions, up to Friday, a week has."""
        self._time, self._half_days = time, half_days
        self._lengths = (*session_seconds, *[SESSION_SECONDS] * (_AFTER - len(session_seconds)))
        self._starts = tuple(accumulate((day_seconds(seconds) for seconds in self._lengths), initial=0.0))
        self.days = tuple(_day(number + weeks[0], weeks[1], self._seconds(number)) for number in range(-_BEFORE, _AFTER))
        """The calendar."""

    def _seconds(self, day: int) -> float:
        """Length of a session."""
        usual = self._lengths[day] if day >= 0 else SESSION_SECONDS
        return min(HALF_SESSION_SECONDS, usual - 1.5) if day in self._half_days else usual

    @property
    def day_number(self) -> int:
        """Days since the start; an evening belongs to the day before."""
        return bisect_right(self._starts, self._time()) - 1

    @property
    def is_open(self) -> bool:
        """Whether the session runs."""
        day = self.day_number
        return PRE_SECONDS <= self._time() - self._starts[day] < PRE_SECONDS + self._seconds(day)

    @property
    def opened_at(self) -> datetime:
        """The day's open."""
        return self.days[self.day_number + _BEFORE].opens_at

    def session_after(self, session: str) -> str:
        """The next one in the calendar."""
        return next(day.session for day in self.days if day.session > session)

    def now(self) -> datetime:
        """The market's time; the port ``Clock``."""
        day = self.day_number
        since_open = self._time() - self._starts[day] - PRE_SECONDS
        opens = self.days[day + _BEFORE].opens_at
        if since_open < self._lengths[day] + AFTER_SECONDS:
            return opens + timedelta(seconds=since_open)
        evening = since_open - self._lengths[day] - AFTER_SECONDS
        return self.days[day + _BEFORE + 1].opens_at - timedelta(hours=_OPEN_HOUR) + timedelta(seconds=evening + 1.0)

    @property
    def last_close(self) -> datetime:
        """When the market closed last."""
        now = self.now()
        return max(day.closes_at for day in self.days if day.closes_at <= now)

    def clock(self) -> MarketClock:
        """The broker's answer."""
        now, place = self.now(), self.day_number + _BEFORE
        coming = self.days[place if now < self.days[place].opens_at else place + 1]
        closes = self.days[place].closes_at if self.is_open else coming.closes_at
        return MarketClock(at=now, is_open=self.is_open, next_open=coming.opens_at, next_close=closes)

    def session(self) -> str:
        """The session that runs, else the one that comes."""
        place = self.day_number + _BEFORE
        return self.days[place if self.now() < self.days[place].closes_at else place + 1].session


def _day(number: int, in_week: int, seconds: float) -> MarketDay:
    """A session of the calendar: the last weekdays of each week."""
    label = FIRST + timedelta(days=5 - in_week + number % in_week + 7 * (number // in_week))
    opens = datetime.combine(label, datetime.min.time(), UTC) + timedelta(hours=_OPEN_HOUR)
    return MarketDay(session=label.isoformat(), opens_at=opens, closes_at=opens + timedelta(seconds=seconds))


class Market:
    """Seeded prices of a few names, and who is halted."""

    def __init__(self, symbols: Sequence[str], rng: random.Random, hours: Hours) -> None:
        self._rng, self.hours = rng, hours
        self.mid = {symbol: Decimal(60 + 35 * place) for place, symbol in enumerate(symbols)}
        self.halted: dict[str, float] = {}
        self.split: dict[tuple[str, str], Decimal] = {}
        """New shares for an old one, by name and the session from which on."""
        self.announced: dict[str, SplitSighting] = {}
        """Splits as the vendor's calendar shows them."""
        self.renamed: dict[str, str] = {}
        """First name -> the one that it has now."""
        self.listeners: list[Callable[[FeedUpdate], None]] = []

    def quote(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Bid and ask."""
        return self.mid[symbol] - CENT, self.mid[symbol] + CENT

    def tick(self) -> None:
        """Prices move, quotes go out."""
        for symbol in self.mid:
            step = Decimal(str(round(self._rng.gauss(0.0, 0.0004), 6)))
            self.mid[symbol] = max((self.mid[symbol] * (1 + step)).quantize(CENT), Decimal(2))
            if symbol not in self.halted:
                self.say(self.sighting(symbol, Channel.STREAM))

    def sighting(self, symbol: str, channel: Channel) -> QuoteSighting:
        """The quote as a feed shows it."""
        (bid, ask), now = self.quote(symbol), self.hours.now()
        return QuoteSighting(symbol=self.name(symbol), at=now, received_at=now, bid=bid, ask=ask, channel=channel)

    def halt(self, symbol: str, *, on: bool) -> None:
        """Stop or resume trading in a name."""
        if on:
            self.halted[symbol] = 1.0
        else:
            self.halted.pop(symbol, None)
        self.say(HaltSighting(symbol=self.name(symbol), halted=on, reason="volatility pause" if on else "", at=self.hours.now()))

    def name(self, symbol: str) -> str:
        """What is called so in our plans, as the world calls it now."""
        return self.renamed.get(symbol, symbol)

    def meant(self, name: str) -> str:
        """The other way round; empty where nothing of ours is called so now."""
        return next((symbol for symbol in self.mid if self.name(symbol) == name), "")

    def say(self, update: FeedUpdate) -> None:
        """Tell whoever listens."""
        for listener in self.listeners:
            listener(update)


class SimulatedFeed:
    """The market's own stream to one process."""

    def __init__(self, market: Market) -> None:
        self._market, self._queue = market, asyncio.Queue[FeedUpdate]()
        self._followed: set[str] = set()
        self.up, self.away = True, False
        market.listeners.append(self._hear)

    def _hear(self, update: FeedUpdate) -> None:
        if self.up and not isinstance(update, LinkChanged) and getattr(update, "symbol", "") in self._followed:
            self._queue.put_nowait(update)

    def link(self, *, up: bool) -> None:
        """The connection goes or comes."""
        self.up = up
        state = LinkState.UP if up else LinkState.DOWN
        self._queue.put_nowait(LinkChanged(state=state, reason="" if up else "connection reset", at=self._market.hours.now()))

    async def subscribe(self, symbols: Sequence[str]) -> None:
        """Follow these as well."""
        self._followed.update(symbols)

    async def updates(self) -> AsyncIterator[FeedUpdate]:
        """The stream."""
        yield LinkChanged(state=LinkState.UP, reason="", at=self._market.hours.now())
        while True:
            yield await self._queue.get()

    async def latest(self, symbols: Sequence[str]) -> list[QuoteSighting]:
        """Prices by query."""
        await asyncio.sleep(0.01)
        if self.away:
            raise DataUnavailable("the vendor does not answer", mend="wait")
        meant = [self._market.meant(symbol) for symbol in symbols]
        return [self._market.sighting(symbol, Channel.QUERY) for symbol in meant if symbol]

    async def daily_bars(self, symbols: Sequence[str], first: str, last: str) -> list[BarSighting]:
        """It has no history."""
        return []

    async def splits(self, symbols: Sequence[str], first: str, last: str) -> list[SplitSighting]:
        """What is announced; other splits are learned from the broker's books."""
        await asyncio.sleep(0.01)
        shown = (self._market.announced.get(symbol) for symbol in symbols)
        return [split for split in shown if split is not None and first <= split.session <= last]

    async def close(self) -> None:
        """Let go."""
        if self._hear in self._market.listeners:
            self._market.listeners.remove(self._hear)
