"""Where the market stands, by the broker's clock and calendar; date and time zone of this computer play no part.

The broker's clock says whether the market is open and until when, its calendar names the sessions. Where they disagree the clock
counts, because it decides whether orders are accepted. Between two readings our own clock goes on, corrected by the measured offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from hedgefund_core.trading.capabilities import EASTERN as EXCHANGE_ZONE
from hedgefund_core.trading.capabilities import in_force
from hedgefund_core.trading.observed import MarketClock, MarketDay
from hedgefund_core.trading.order import TimeInForce
from live_executor.ports import Clock

_AUCTION_UNTIL = timedelta(minutes=2)
"""Orders for the opening auction: from the evening before (the broker's table) to two minutes before the open, whenever that is."""
_SOON = timedelta(seconds=1)


class Timeline:
    """The market's time, its session, and what comes next."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._offset = clock, timedelta(0)
        self._seen: MarketClock | None = None
        self._days: tuple[MarketDay, ...] = ()

    def learn(self, seen: MarketClock, asked_at: datetime, answered_at: datetime) -> None:
        """Take a reading of the broker's clock, assumed to be of half-way between question and answer."""
        self._seen = seen
        self._offset = seen.at - (asked_at + (answered_at - asked_at) / 2)

    def learn_days(self, days: Sequence[MarketDay]) -> None:
        """Take the calendar."""
        self._days = tuple(sorted(days, key=lambda day: day.opens_at))

    @property
    def offset_seconds(self) -> float:
        """The broker's clock less ours."""
        return self._offset.total_seconds()

    def now(self) -> datetime:
        """The broker's time."""
        return self._clock.now() + self._offset

    def local_now(self) -> datetime:
        """The time of our own computer."""
        return self._clock.now()

    @property
    def is_open(self) -> bool:
        """Whether the regular session runs now."""
        seen, now = self._seen, self.now()
        if seen is None:
            return False
        closed_since = seen.next_open < seen.next_close <= now
        return (seen.is_open and now < seen.next_close) or (seen.next_open <= now and not closed_since)  # where the clock is away for long

    @property
    def session(self) -> str:
        """The session that runs, else the one that ended last."""
        now = self.now()
        if self.is_open:
            running = next((day.session for day in self._days if day.opens_at <= now < day.closes_at), "")
            return running or _local(now).isoformat()
        coming = _local(self._seen.next_open).isoformat() if self._seen is not None and self._seen.next_open > now else "~"
        ended = [day.session for day in self._days if day.closes_at <= now and day.session < coming]
        return ended[-1] if ended else self._ended_without_calendar(now)

    @property
    def next_session(self) -> str:
        """The session after `session`."""
        now = self.now()
        if self._seen is not None and not self.is_open and self._seen.next_open > now:
            return _local(self._seen.next_open).isoformat()
        coming = next((day.session for day in self._days if day.opens_at > now), "")
        return coming or _weekday(date.fromisoformat(self.session), 1).isoformat()

    @property
    def opens_at(self) -> datetime | None:
        """The next open; None where the broker has not told it."""
        now = self.now()
        if self._seen is not None and self._seen.next_open > now:
            return self._seen.next_open
        return next((day.opens_at for day in self._days if day.opens_at > now), None)

    @property
    def closes_at(self) -> datetime | None:
        """End of the session that runs; None where none does."""
        return self._seen.next_close if self._seen is not None and self.is_open else None

    @property
    def takes_opening_orders(self) -> bool:
        """Whether orders for the next opening auction are accepted now."""
        opens = self.opens_at
        if self.is_open or opens is None:
            return False
        begins = in_force(_local(opens)).windows[TimeInForce.OPG].opens
        evening = datetime.combine(_local(opens) - timedelta(days=1), begins, EXCHANGE_ZONE)
        return evening <= self.now() < opens - _AUCTION_UNTIL

    def seconds_to_change(self) -> float:
        """Until the market opens or closes by what we know; a second at least."""
        seen, now = self._seen, self.now()
        if seen is None:
            return _SOON.total_seconds()
        coming = [moment for moment in (seen.next_open, seen.next_close) if moment > now]
        return max(_SOON, min(coming, default=now) - now).total_seconds()

    def _ended_without_calendar(self, now: datetime) -> str:
        today = _local(now)
        before_open = self._seen is not None and _local(self._seen.next_open) == today
        return (_weekday(today, -1) if before_open or today.weekday() > 4 else today).isoformat()


def opening_is_over(line: Timeline) -> bool:
    """Whether the next opening auction takes no more orders; before its evening they can wait for it."""
    opens = line.opens_at
    return line.is_open or opens is None or line.now() >= opens - _AUCTION_UNTIL


def _local(moment: datetime) -> date:
    return moment.astimezone(EXCHANGE_ZONE).date()


def _weekday(day: date, step: int) -> date:
    """The weekday before or after ``day``."""
    found = day + timedelta(days=step)
    while found.weekday() > 4:
        found += timedelta(days=step)
    return found
