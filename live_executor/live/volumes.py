"""Average daily volumes for an account that trades people's targets: daily volumes of the past sessions, asked of the feed.

An order that is large against its average daily volume is worked in pieces. Where no volumes can be had, people are told once and a cap
on the order's value stands in. Only volumes are journaled, no prices: a discretionary mandate promises no volatility to estimate.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import date, timedelta

import msgspec

from hedgefund_core import errors
from hedgefund_core.account import ADV_SESSIONS
from hedgefund_core.account_state import State
from hedgefund_core.trading import events as e
from hedgefund_core.trading.frame import Row
from live_executor.live.floor import Floor
from live_executor.logging import logger

_log = logger("volumes")
_DAYS_BACK = timedelta(days=40)
"""Calendar days that surely hold the sessions of the average, holidays included."""
_START_SECONDS = 5.0
"""Seconds that a start waits for volumes; a later answer is taken when it comes."""
_EVERY_SECONDS = 900.0
_WAKES = (e.SessionBegan, e.InstrumentsAdded)
_AWAY = (errors.DataUnavailable, errors.BrokerUnavailable, errors.ConfigError)
"""ConfigError: the vendor refuses these bars to our keys. That is no reason to end; prices and orders show whether the keys are good."""


class Volumes:
    """Journals the volumes of the account's instruments: at the start, at each session, and where names are added."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._woken = asyncio.Event()
        self._session, self._known = "", dict[str, dict[str, float]]()
        self._said = ""

    def heard(self, frames: Sequence[e.Event]) -> None:
        """Hear of a commit: a session that begins, or a new instrument, is a reason to ask."""
        if any(isinstance(frame, _WAKES) for frame in frames):
            self._woken.set()

    async def load(self) -> None:
        """Ask before the first decision; if the vendor does not answer soon, trading starts without volumes."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self.ask()
        except (TimeoutError, *_AWAY) as error:
            self._say(error)

    async def run(self) -> None:
        """Follow sessions and names for ever."""
        failures = 0
        while True:
            await self._floor.nap(self._woken, self._floor.pause(failures, most=_EVERY_SECONDS) if failures else _EVERY_SECONDS)
            self._woken.clear()
            try:
                await self.ask()
                failures = 0
            except _AWAY as error:
                failures += 1
                self._say(error)

    async def ask(self) -> None:
        """Ask for what is missing and journal it where it is new; raises DataUnavailable."""
        session = self._floor.state.session
        if session != self._session:
            self._session, self._known = session, {}
        missing = [instrument.symbol for instrument in self._floor.state.instruments if instrument.symbol not in self._known]
        if not session or not missing:
            return
        before = date.fromisoformat(session) - timedelta(days=1)
        bars = await self._floor.feed.daily_bars(missing, (before - _DAYS_BACK).isoformat(), before.isoformat())
        if self._floor.state.session != session:
            self._woken.set()  # it began while the answer was under way
            return
        self._said = ""
        self._known |= {symbol: {} for symbol in missing}
        for bar in bars:
            if bar.symbol in self._known and bar.volume >= 0.0:
                self._known[bar.symbol][bar.at.date().isoformat()] = float(bar.volume)
        self._journal()

    def _journal(self) -> None:
        state = self._floor.state
        sessions = tuple(sorted({day for days in self._known.values() for day in days if day < state.session})[-ADV_SESSIONS:])
        if len(sessions) < ADV_SESSIONS:
            _log.info("volumes are not known: large orders meet the dollar cap", sessions=len(sessions))
            return
        of = [self._known.get(instrument.symbol, {}) for instrument in state.instruments]
        rows: tuple[Row, ...] = tuple(tuple(days.get(session) for days in of) for session in sessions)
        if _is_known(state, sessions, rows):
            return
        digest = hashlib.sha256(msgspec.json.encode((sessions, rows))).hexdigest()
        nothing: Row = (None,) * len(of)
        history = e.HistoryLoaded(
            ts=self._floor.now(), data_version=digest, sessions=sessions, close=(nothing,) * len(sessions), volume=rows
        )
        self._floor.take([history])

    def _say(self, error: Exception) -> None:
        why = getattr(error, "message", "") or "no answer in time"
        _log.warning("daily volumes cannot be had", error=why)
        if not self._said:
            self._said = why
            self._floor.trouble(f"daily volumes cannot be had ({why}): large orders are judged by the dollar cap", severity="info")


def _is_known(state: State, sessions: Sequence[str], rows: Sequence[Row]) -> bool:
    """Whether the journal has exactly these volumes already; then a restart writes nothing."""
    ring = state.ring
    if ring is None or ring.volume is None or tuple(map(str, ring.sessions)) != tuple(sessions):
        return False
    there = [[None if cell != cell else cell for cell in row] for row in ring.volume.tolist()]  # noqa: PLR0124 - NaN is none
    return there == [list(row) for row in rows]
