"""Sessions: when a session is decided, by when, and which sessions rebalance.

A calendar is known in advance (exchanges publish theirs a year ahead), data are not. Everything here reads the calendar
that is passed, never the sessions that happen to have data: asking the data whether Friday is the last session of its
week would be looking ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid

Sessions = NDArray[np.datetime64]
_THURSDAY_TO_MONDAY = 3
"""1970-01-01 was a Thursday: three days after the Monday that weeks are counted from."""


class RebalanceAnchor(StrEnum):
    """Which sessions rebalance."""

    EVERY = "every"
    WEEK_END = "week_end"
    MONTH_END = "month_end"


def rebalance_mask(calendar: Sessions, anchor: RebalanceAnchor | str) -> NDArray[np.bool_]:
    """Which sessions of a calendar rebalance.

    Parameters
    ----------
    calendar : datetime64[D] (n,), strictly increasing: the *calendar*, reaching past the last session of interest.
    anchor : every session, or the last session of each ISO week or calendar month. A holiday at the end of a period
        moves the rebalance to the last session before it.

    Returns
    -------
    bool (n,). The last session of the calendar is False for a week or month anchor: without the session after it, nobody
    knows that its period is over.

    Raises
    ------
    DataInvalid
        If the sessions are not strictly increasing.
    """
    days = calendar.astype("datetime64[D]")
    if len(days) > 1 and not bool(np.all(np.diff(days) > np.timedelta64(0, "D"))):
        message = "the sessions of a calendar must be strictly increasing"
        raise DataInvalid(message)
    kind = RebalanceAnchor(anchor)
    if kind is RebalanceAnchor.EVERY:
        return np.ones(len(days), dtype=np.bool_)
    if kind is RebalanceAnchor.WEEK_END:
        period = (days.astype(np.int64) + _THURSDAY_TO_MONDAY) // 7
    else:
        period = days.astype("datetime64[M]").astype(np.int64)
    mask = np.zeros(len(days), dtype=np.bool_)
    mask[:-1] = period[1:] != period[:-1]
    return mask


@dataclass(frozen=True, slots=True, kw_only=True)
class RebalanceCalendar:
    """When to decide, and by when it must have happened.

    Attributes
    ----------
    anchor : which sessions rebalance; the holiday rule is the last session of the period.
    decide_after_minutes : the decision is taken this long after the session's close, when its bars are known.
    deadline_minutes : after the decision time; a later run is late and counted against the service level.
    cut_off_minutes : orders for an auction must be out this long before it.

    Notes
    -----
    Missed-run rule: a rebalance that did not happen is made up at the next session, once.
    """

    anchor: RebalanceAnchor = RebalanceAnchor.WEEK_END
    decide_after_minutes: int = 15
    deadline_minutes: int = 60
    cut_off_minutes: int = 10

    def mask(self, calendar: Sessions) -> NDArray[np.bool_]:
        """Which sessions of ``calendar`` rebalance; see `rebalance_mask`."""
        return rebalance_mask(calendar, self.anchor)

    def is_rebalance(self, calendar: Sessions, session: np.datetime64) -> bool:
        """Whether a session rebalances; raises DataInvalid if the calendar does not hold it."""
        return bool(self.mask(calendar)[position_of(calendar, session)])

    def is_due(self, calendar: Sessions, session: np.datetime64, last_rebalance: np.datetime64 | None) -> bool:
        """Whether to rebalance at ``session``, a rebalance missed since ``last_rebalance`` included.

        ``last_rebalance`` is the session of the last one made, None before the first: then only the anchor counts.
        """
        mask, here = self.mask(calendar), position_of(calendar, session)
        if last_rebalance is None:
            return bool(mask[here])
        made = int(np.searchsorted(calendar, last_rebalance, side="right"))
        return bool(mask[made : here + 1].any())

    def decide_at(self, close_at: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
        """Decision time of each session, datetime64[us] (UTC), from the closes of the sessions."""
        return _shifted(close_at, self.decide_after_minutes)

    def deadline_at(self, close_at: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
        """Time after which the run of each session is late."""
        return _shifted(close_at, self.decide_after_minutes + self.deadline_minutes)

    def cut_off_at(self, auction_at: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
        """Last moment to send orders for each auction."""
        return _shifted(auction_at, -self.cut_off_minutes)


def _shifted(times: Sessions, minutes: int) -> Sessions:
    return np.asarray(times.astype("datetime64[us]") + np.timedelta64(minutes, "m"), dtype="datetime64[us]")


def position_of(calendar: Sessions, session: np.datetime64) -> int:
    """Position of a session in a calendar; raises DataInvalid if it is none of its sessions."""
    place = int(np.searchsorted(calendar, session))
    if place >= len(calendar) or calendar[place] != session:
        message = f"{session} is no session of the calendar"
        raise DataInvalid(message, mend="choose a session of the calendar, or extend it")
    return place


def next_session(calendar: Sessions, session: np.datetime64) -> np.datetime64:
    """The session after ``session``: where orders decided on it are filled; raises DataInvalid at the calendar's end."""
    place = int(np.searchsorted(calendar, session, side="right"))
    if place >= len(calendar):
        message = f"the calendar ends before a session after {session}"
        raise DataInvalid(message, mend="extend the calendar")
    following: np.datetime64 = calendar[place]
    return following


def sessions_between(calendar: Sessions, older: np.datetime64, newer: np.datetime64) -> int:
    """Completed sessions after ``older`` up to and including ``newer``: the age of daily bars."""
    return int(np.searchsorted(calendar, newer, side="right") - np.searchsorted(calendar, older, side="right"))
