"""Asks for announced splits before the open at which they take effect, so that no order in old shares is left in the market."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hedgefund_core import errors
from hedgefund_core.trading import events as e
from live_executor.live.floor import Floor
from live_executor.logging import logger

_log = logger("splits")
_EVERY_SECONDS = 900.0
"""How often it asks, beside when a session or an instrument begins: a split may be announced as late as the evening before."""
_WAKES = (e.SessionBegan, e.SessionEnded, e.InstrumentsAdded)


class Splits:
    """Journals what the feed's calendar has announced of the account's instruments."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._woken = asyncio.Event()

    def heard(self, frames: Sequence[e.Event]) -> None:
        """Hear of a commit: a session that begins or ends, or a new instrument, is a reason to ask."""
        if any(isinstance(frame, _WAKES) for frame in frames):
            self._woken.set()

    async def run(self) -> None:
        """Ask for ever."""
        failures = 0
        while True:
            try:
                self._woken.clear()
                await self.ask()
                failures = 0
            except (errors.DataUnavailable, errors.BrokerUnavailable) as error:
                failures += 1
                _log.warning("announced splits cannot be asked for", error=error.message, times=failures)
            wait = self._floor.pause(failures, most=_EVERY_SECONDS) if failures else _EVERY_SECONDS
            await self._floor.nap(self._woken, wait)

    async def ask(self) -> None:
        """Ask once and journal what is new; raises DataUnavailable.

        While a session runs only its own splits are journaled: those of the next one do not concern the orders that trade now.
        """
        line, state = self._floor.timeline, self._floor.state
        ids = {instrument.symbol: instrument.instrument_id for instrument in state.instruments}
        if not ids or not state.session:
            return
        last = line.session if line.is_open else line.next_session
        found = await self._floor.feed.splits(sorted(ids), line.session, last)
        if line.is_open and last != line.session:
            self._woken.set()  # the session began before the answer came: ask again
            return
        known = self._floor.state.announced
        fresh = [
            e.SplitAnnounced(ts=self._floor.now(), instrument_id=ids[split.symbol], ratio=split.ratio, session=split.session)
            for split in found
            if split.symbol in ids and split.session <= last and (line.is_open or split.session > line.session)
        ]
        news = [split for split in fresh if not _is_known(split, known.get(split.instrument_id))]
        if news:
            self._floor.take(news)


def _is_known(split: e.SplitAnnounced, known: e.SplitAnnounced | None) -> bool:
    return known is not None and (known.session, known.ratio) == (split.session, split.ratio)
