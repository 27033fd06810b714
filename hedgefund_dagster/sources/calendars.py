"""Sessions of a calendar and their UTC closes; half days come out right because exchange_calendars knows them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import ConfigError

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

Dates = NDArray[np.datetime64]
OBSERVED, ALWAYS_OPEN = "observed", "24/7"


@lru_cache(maxsize=8)
def exchange(name: str, start: str, end: str) -> ExchangeCalendar:
    """An exchange's calendar over a range; raises ConfigError for an unknown name."""
    import exchange_calendars
    from exchange_calendars.errors import InvalidCalendarName

    try:
        return exchange_calendars.get_calendar(name, start=start, end=end)
    except InvalidCalendarName as error:
        message = f"unknown calendar {name!r}"
        raise ConfigError(message, mend="set `files.calendar` in config/sources.yaml to XNYS, 24/7 or observed") from error


def session_closes(calendar: str, days: Dates, timezone: str) -> tuple[NDArray[np.bool_], Dates]:
    """For each day: whether it is a session, and its UTC close (of a day that is none: the end of that day).

    ``observed`` and ``24/7`` take each day as a session that ends at the day's end in ``timezone``: the latest moment a
    daily bar of that date can be complete.
    """
    if len(days) == 0:
        return np.zeros(0, dtype=bool), days.astype("datetime64[us]")
    unique, inverse = np.unique(days.astype("datetime64[D]"), return_inverse=True)
    closes = _day_ends(unique, timezone)
    known = np.ones(len(unique), dtype=bool)
    if calendar not in (OBSERVED, ALWAYS_OPEN):
        sessions, exact = exchange_closes(calendar, unique[0], unique[-1])
        place = np.clip(np.searchsorted(sessions, unique), 0, max(len(sessions) - 1, 0))
        known = sessions[place] == unique if len(sessions) else np.zeros(len(unique), dtype=bool)
        closes = np.where(known, exact[place] if len(sessions) else closes, closes)
    return known[inverse], closes[inverse]


def exchange_closes(calendar: str, first: np.datetime64, last: np.datetime64) -> tuple[Dates, Dates]:
    """All sessions of an exchange from ``first`` to ``last``, and their UTC closes."""
    # Whole years, so that one calendar is built and kept for all reads of them.
    start = first.astype("datetime64[Y]").astype("datetime64[D]")
    end = (last.astype("datetime64[Y]") + 1).astype("datetime64[D]") + 7
    opened = exchange(calendar, str(start), str(end))
    sessions = opened.sessions.values.astype("datetime64[D]")
    closes = opened.closes.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    inside = (sessions >= first) & (sessions <= last)
    return sessions[inside], closes[inside]


def _day_ends(days: Dates, timezone: str) -> Dates:
    """Midnight that ends each day in ``timezone``, as UTC."""
    from datetime import datetime

    zone = ZoneInfo(timezone)
    midnights = [datetime.fromisoformat(str(day + 1)).replace(tzinfo=zone) for day in days]
    return np.array([int(moment.timestamp()) for moment in midnights], dtype="datetime64[s]").astype("datetime64[us]")
