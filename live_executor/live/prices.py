"""Prices of the account: the feed's stream, and a query for symbols that it has said nothing of for too long.

Every price reaches the machine with its age, so that a decision never takes an old one for a fresh one. Prices that change nothing are
not journaled; prices that have moved are, at the latest after a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from hedgefund_core import errors
from hedgefund_core.account_state import State
from hedgefund_core.trading import events as e
from hedgefund_core.trading.observed import BandSighting, BarSighting, HaltSighting, LinkChanged, LinkState, QuoteSighting
from live_executor.feeds.tick_filter import TickFilter
from live_executor.live.floor import Floor
from live_executor.live.gates import MARKET_DATA, Gates
from live_executor.live.instruments import Instruments
from live_executor.logging import logger

_log = logger("prices")
_SHOWN_EVERY = timedelta(seconds=60)
_LOOKED_AT = frozenset({"quotes", "marks", "mark_ages", "equity"})
_LOOKS = (e.PricesSeen, e.DecisionDue)
_LOOK_SECONDS = 0.25


class Prices:
    """Reads the data stream, and queries where it is silent."""

    def __init__(self, floor: Floor, gates: Gates, instruments: Instruments) -> None:
        self._floor, self._gates, self._instruments = floor, gates, instruments
        self._ticks = TickFilter()
        self.link = LinkState.DOWN
        self.link_reason = "not connected yet"

    async def listen(self) -> None:
        """Take what the feed sends, for ever."""
        self.heard(tuple(self._floor.state.announced.values()))
        async for update in self._floor.feed.updates():
            if isinstance(update, QuoteSighting | BarSighting):
                self._take(update)
            elif isinstance(update, HaltSighting):
                self._floor.view.take(update)
                self._instruments.halt_changed(update.symbol)
            elif isinstance(update, BandSighting):
                self._floor.view.take(update)
            elif isinstance(update, LinkChanged):
                self._linked(update)

    def heard(self, frames: Sequence[e.Event]) -> None:
        """Hear of a commit: after an announced split the first price in new shares is no error, so the filter is told of it."""
        for frame in frames:
            if isinstance(frame, e.SplitAnnounced):
                for instrument in self._floor.state.instruments:
                    if instrument.instrument_id == frame.instrument_id:
                        self._ticks.expect(instrument.symbol, frame.ratio)

    def _take(self, seen: QuoteSighting | BarSighting) -> None:
        if self._ticks.admits(seen):
            view, symbol = self._floor.view, seen.symbol
            was_halted = view.halted(symbol)
            view.take(seen)
            if was_halted and not view.halted(symbol):
                self._instruments.halt_changed(symbol)

    async def look(self, symbols: Sequence[str] | None = None) -> e.PricesSeen:
        """Prices of the account's instruments, to be journaled; those of ``symbols`` (None = all) are asked for where they are old."""
        state = self._floor.state
        wanted = [instrument.symbol for instrument in state.instruments] if symbols is None else list(symbols)
        await self._refresh(wanted)
        state, now = self._floor.state, self._floor.now()
        return self._floor.view.prices_seen(state.instruments, state.session, now, now, self._floor.timeline.closes_at)

    async def see(self, symbols: Sequence[str] | None = None) -> None:
        """Journal prices that are about to be acted on."""
        self._floor.take([await self.look(symbols)])

    async def glance(self) -> None:
        """Journal prices only if something follows from them."""
        self._floor.take([await self.look()], idle=nothing_came)

    async def _refresh(self, symbols: Sequence[str]) -> None:
        limit = timedelta(seconds=self._floor.settings.stale_price_seconds)
        stale = self._floor.view.stale(symbols, self._floor.now(), limit)
        if not stale:
            self._gates.set(MARKET_DATA, closed=False)
            return
        try:
            for quote in await self._asked(stale, limit):
                self._take(quote)
        except (errors.DataUnavailable, errors.BrokerUnavailable) as error:
            _log.warning("prices cannot be asked for", error=error.message, symbols=len(stale))
            blind = len(self._floor.view.stale(symbols, self._floor.now(), limit)) == len(symbols)
            self._gates.set(MARKET_DATA, closed=blind and self.link is not LinkState.UP)
        else:
            self._gates.set(MARKET_DATA, closed=False)

    async def _asked(self, symbols: Sequence[str], limit: timedelta) -> Sequence[QuoteSighting]:
        """The newest prices by query. Given up once the stream has told them all, so that a slow server delays no decision."""
        query = asyncio.ensure_future(self._floor.feed.latest(symbols))
        try:
            while not query.done():
                await asyncio.wait({query}, timeout=_LOOK_SECONDS)
                if not query.done() and not self._floor.view.stale(symbols, self._floor.now(), limit):
                    return ()
            return query.result()
        finally:
            query.cancel()

    def _linked(self, change: LinkChanged) -> None:
        tell = _log.info if change.state is LinkState.UP else _log.warning
        tell("data stream", state=change.state.value, reason=change.reason)
        self.link, self.link_reason = change.state, change.reason
        if change.state is LinkState.UP:
            self._floor.view.doubt_halts()
        if change.state is LinkState.REFUSED:
            message = f"the data stream is refused ({change.reason}): prices come by query"
            self._floor.take([e.TroubleSeen(ts=self._floor.now(), severity="warning", message=message)])


def nothing_came(before: State, after: State, frames: Sequence[e.Event]) -> bool:
    """Whether prices changed nothing in the state but the prices themselves, and these are the same or were journaled a moment ago."""
    if not all(isinstance(frame, _LOOKS) for frame in frames):
        return False
    was, now = before.quotes, after.quotes
    if was is None or now is None or was.session != now.session:
        return False
    rest = (name for name in State.__struct_fields__ if name not in _LOOKED_AT)
    if any(not _same(getattr(before, name), getattr(after, name)) for name in rest):
        return False
    moved = before.marks != after.marks or before.mark_ages != after.mark_ages
    return not moved or now.at - was.at < _SHOWN_EVERY


def _same(one: object, other: object) -> bool:
    """Whether two fields are equal; arrays and bundles only if they are the same object, since comparing them is slow."""
    return one is other or (isinstance(one, dict | str | int | frozenset | tuple) and one == other)
