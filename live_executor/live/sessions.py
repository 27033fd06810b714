"""Reads the broker's clock and calendar regularly, and lets the account's sessions begin and end as they say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from hedgefund_core import errors
from hedgefund_core.trading import events as e
from live_executor.live.floor import Floor
from live_executor.live.instruments import Instruments
from live_executor.live.reconciler import Reconciler
from live_executor.live.stopwatch import Stopwatch
from live_executor.live.timeline import Timeline
from live_executor.logging import logger

_log = logger("sessions")
_CALENDAR_DAYS = 14
_BEFORE_THE_OPEN = timedelta(minutes=30)
"""Brokers have the day's names and borrow lists by then."""
_CLOCKS_DIFFER = timedelta(seconds=10)


class Sessions:
    """Moves the account from session to session."""

    def __init__(self, floor: Floor, reconciler: Reconciler, instruments: Instruments, on_session: Callable[[str], None]) -> None:
        self._floor, self._reconciler, self._instruments, self._on_session = floor, reconciler, instruments, on_session
        self._calendar_of: date | None = None
        self._names_of = ""
        """The session whose names were read: who trades under which one may change over night."""
        self._unread = False
        self.ended = 0

    async def read(self) -> None:
        """One reading of the clock, and of the calendar where the day is new; raises BrokerUnavailable."""
        asked = self._floor.timeline.local_now()
        seen = await self._floor.broker.market_clock()
        answered = self._floor.timeline.local_now()
        if answered - asked > _CLOCKS_DIFFER:  # a process that stood still meanwhile cannot tell how late it is by then
            raise errors.BrokerUnavailable("the broker's clock took too long to answer", mend="it is asked again")
        self._floor.timeline.learn(seen, asked, answered)
        today = seen.at.date()
        if self._calendar_of != today:
            span = timedelta(days=_CALENDAR_DAYS)
            days = await self._floor.broker.market_days((today - span).isoformat(), (today + span).isoformat())
            self._floor.timeline.learn_days(days)
            if self._calendar_of is None:
                self._names_of = self._nearest()  # a start reads the instruments anyway
            self._calendar_of = today

    def begin(self) -> None:
        """Begin the session that runs. In a closed market a new account begins (and ends) the last one, so that it has one at all."""
        line, state = self._floor.timeline, self._floor.state
        label = line.session
        again = label == state.session == state.ended and _stays_open(line)
        if not again and (label <= state.session or not (line.is_open or not state.session)):
            return
        self._floor.take([e.SessionBegan(ts=self._floor.now(), session=label)])
        if line.is_open:
            self._on_session(label)
        else:
            self._floor.take([e.SessionEnded(ts=self._floor.now(), session=label)])

    async def run(self) -> None:
        """Follow the clock for ever."""
        failures = 0
        while True:
            try:
                await self.read()
                failures = 0
            except (errors.BrokerUnavailable, errors.OrderOutcomeUnknown) as error:
                failures += 1
                _log.warning("the broker's clock cannot be read", error=error.message, times=failures)
            await self._follow()
            change = self._floor.timeline.seconds_to_change()
            steady = min(self._floor.settings.clock_every_seconds, change + 0.05)
            await self._floor.sleep(self._floor.pause(failures) if failures else steady)

    async def _follow(self) -> None:
        state, line = self._floor.state, self._floor.timeline
        over = bool(state.session) and state.ended != state.session and not (line.is_open and line.session == state.session)
        if over and line.session >= state.session:
            await self._end(state.session)
        self.begin()
        if self._names_of != self._nearest():
            await self._refresh(self._nearest())

    def _nearest(self) -> str:
        """The session that runs or is about to; else the one that ended last."""
        line = self._floor.timeline
        soon = line.opens_at is not None and line.opens_at - line.now() <= _BEFORE_THE_OPEN
        return line.next_session if soon and not line.is_open else line.session

    async def _end(self, session: str) -> None:
        """End a session: wait for the broker to say what became of the day's orders, but no longer than the grace period."""
        watch = Stopwatch(self._floor.timeline.local_now)
        while watch.seconds < self._floor.settings.session_grace_seconds and any(o.session <= session for o in self._floor.state.working):
            self._reconciler.ask_now()
            await self._floor.sleep(self._floor.settings.urgent_every_seconds)
        self._floor.take([e.SessionEnded(ts=self._floor.now(), session=session)])
        self._reconciler.ask_now()
        self.ended += 1

    async def _refresh(self, session: str) -> None:
        """Read the instruments for a session, before its open if possible. If that fails it is tried again at the next clock reading."""
        try:
            await self._instruments.refresh()
        except (errors.BrokerUnavailable, errors.DataUnavailable) as error:
            if not self._unread:
                self._unread = True
                self._floor.trouble(f"what may be traded today could not be read: {error.message}")
        else:
            self._names_of, self._unread = session, False


def _stays_open(line: Timeline) -> bool:
    """Whether the market will still be open for a while; False within seconds of the close, where two clocks may disagree."""
    closes = line.closes_at
    return closes is not None and closes - line.now() > _CLOCKS_DIFFER
