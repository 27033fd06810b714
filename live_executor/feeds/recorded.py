"""A recorded day played again as a live feed: bars, quotes, trades, halts and link changes, at any speed, or as fast as they are taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from hedgefund_core.errors import DataUnavailable
from hedgefund_core.trading.observed import (
    BandSighting,
    BarSighting,
    Channel,
    FeedUpdate,
    HaltSighting,
    LinkChanged,
    LinkState,
    QuoteSighting,
    SplitSighting,
)
from live_executor.feeds.recorder import Recorded, read_segment
from live_executor.ports import Clock, Sleep


class RecordedFeed:
    """A `LiveFeed` over segments. Times are shifted to now, so that each price is as old as it was when it was recorded."""

    def __init__(self, paths: Sequence[Path], clock: Clock, sleep: Sleep = asyncio.sleep, *, speed: float = 1.0) -> None:
        if not paths:
            message = "there are no recorded segments to play"
            raise DataUnavailable(message, mend="record some: an account on the wall clock keeps its feed under live/<account>/recorded/")
        self._paths, self._clock, self._sleep, self._speed = list(paths), clock, sleep, speed
        self._newest: dict[str, QuoteSighting] = {}
        self._followed: set[str] = set()
        self._sought: set[str] = set()
        self._wanted = asyncio.Event()
        self.played = 0

    async def subscribe(self, symbols: Sequence[str]) -> None:
        """Follow these as well; the day begins with the first of them."""
        self._followed.update(symbols)
        self._wanted.set()

    async def updates(self) -> AsyncIterator[FeedUpdate]:
        """The day, then silence. ``speed`` 2 is twice as fast, 0 as fast as it is taken."""
        await self._wanted.wait()
        before: datetime | None = None
        for path in self._paths:
            for recorded in read_segment(path):
                if self._speed > 0.0 and before is not None:
                    await self._sleep(max(0.0, (recorded.at - before).total_seconds()) / self._speed)
                before = recorded.at
                self.played += 1
                update = self._now(recorded)
                if isinstance(update, QuoteSighting):
                    self._newest[update.symbol] = update
                if getattr(update, "symbol", "") in self._followed or not hasattr(update, "symbol"):
                    yield update
        yield LinkChanged(state=LinkState.DOWN, reason="the recorded day is over", at=self._clock.now())
        await asyncio.Event().wait()

    async def latest(self, symbols: Sequence[str]) -> list[QuoteSighting]:
        """The newest price of each symbol so far; before a symbol has been heard, the first that the day's first segment has of it."""
        unheard = set(symbols) - self._newest.keys() - self._sought
        if unheard:
            self._sought |= unheard  # once: reading a segment takes long, and nothing else runs meanwhile
            self._seek(unheard)
        return [replace(self._newest[symbol], channel=Channel.QUERY) for symbol in symbols if symbol in self._newest]

    def _seek(self, symbols: set[str]) -> None:
        left = set(symbols)
        for recorded in read_segment(self._paths[0]):
            seen = recorded.update
            if isinstance(seen, QuoteSighting) and seen.symbol in left:
                left.discard(seen.symbol)
                self._newest[seen.symbol] = _moved(seen, self._clock.now() - recorded.at)
            if not left:
                return

    async def daily_bars(self, symbols: Sequence[str], first: str, last: str) -> list[BarSighting]:
        """A recording holds what was streamed; daily bars are the lake's."""
        return []

    async def splits(self, symbols: Sequence[str], first: str, last: str) -> list[SplitSighting]:
        """Nobody announces anything in a recording."""
        return []

    async def close(self) -> None:
        """Nothing to let go of."""

    def _now(self, recorded: Recorded) -> FeedUpdate:
        later, update = self._clock.now() - recorded.at, recorded.update
        if isinstance(update, QuoteSighting):
            return _moved(update, later)
        if isinstance(update, BarSighting | HaltSighting | BandSighting | LinkChanged):
            return replace(update, at=update.at + later)
        return update


def _moved(quote: QuoteSighting, later: timedelta) -> QuoteSighting:
    return replace(quote, at=quote.at + later, received_at=quote.received_at + later)
