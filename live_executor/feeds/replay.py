"""The replay feed: a panel's sessions, one moment after the other, as the market would have told them.

The time line is that of the event-driven backtest: a session begins, its opening and closing auctions are held, its bars
are known, the books are compared, and some minutes after the close the decision for the next session is due.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta

import numpy as np

from hedgefund_core.backtest.event_driven import bars_closed, close_time, history_loaded
from hedgefund_core.backtest.fills import FillConvention, choose_fill
from hedgefund_core.errors import ConfigError
from hedgefund_core.quant.bars import Panel
from hedgefund_core.quant.sessions import rebalance_mask
from hedgefund_core.trading.events import DecisionDue, HistoryLoaded, SessionBegan
from hedgefund_core.trading.order import TimeInForce
from live_executor.feeds import FeedPlan
from live_executor.ports import Moment, Phase

_BEGINS_BEFORE_CLOSE = timedelta(hours=7)
_OPENS_BEFORE_CLOSE = timedelta(hours=6)


class ReplayFeed:
    """Moments of a panel from ``plan.first`` through ``plan.last``."""

    def __init__(self, panel: Panel, plan: FeedPlan) -> None:
        self._panel, self._plan = panel, plan
        self._delay = timedelta(minutes=plan.decision_delay_minutes)
        self._rebalances = rebalance_mask(panel.sessions, plan.anchor)
        convention = choose_fill(panel, plan.fill)
        self._time_in_force = TimeInForce.OPG if convention is FillConvention.NEXT_OPEN else TimeInForce.CLS
        for name, label in (("--from", plan.first), ("--to", plan.last)):
            _session(name, label)

    async def moments(self, after: tuple[str, int] | None) -> AsyncIterator[Moment]:
        """Moments after the place ``after``: nothing is skipped and nothing comes twice, whatever ``plan.first`` says."""
        start, stop = self._range(after)
        for row in range(start, stop):
            for moment in self._session(row):
                if after is None or moment.key > after:
                    yield moment
            await asyncio.sleep(self._plan.seconds_per_session)

    def history(self, after: tuple[str, int] | None, rows: int) -> HistoryLoaded | None:
        """Bars of up to ``rows`` sessions before the first one of `moments` that still has its bars to come."""
        start, _ = self._range(after)
        label = str(self._panel.sessions[start]) if start < self._panel.shape[0] else ""
        if after is not None and after[0] == label and after[1] >= Phase.BARS:
            start += 1
        if start == 0:
            return None
        return history_loaded(self._panel.rows(max(0, start - rows), start), at=close_time(self._panel, start - 1) + self._delay)

    def _range(self, after: tuple[str, int] | None) -> tuple[int, int]:
        sessions = self._panel.sessions
        wanted = after[0] if after is not None else self._plan.first
        is_over = after is not None and after[1] == Phase.DECISION
        start = 0 if not wanted else int(np.searchsorted(sessions, np.datetime64(wanted, "D"), side="right" if is_over else "left"))
        stop = len(sessions)
        if self._plan.last:
            stop = int(np.searchsorted(sessions, np.datetime64(self._plan.last, "D"), side="right"))
        if self._plan.max_sessions:
            stop = min(stop, start + self._plan.max_sessions)
        return start, max(start, stop)

    def _session(self, row: int) -> Iterator[Moment]:
        label, closed = str(self._panel.sessions[row]), close_time(self._panel, row)
        begins, opens = closed - _BEGINS_BEFORE_CLOSE, closed - _OPENS_BEFORE_CLOSE
        bars = bars_closed(self._panel, row)
        yield Moment(session=label, phase=Phase.BEGAN, ts=begins, event=SessionBegan(ts=begins, session=label))
        yield Moment(session=label, phase=Phase.OPEN, ts=opens)
        yield Moment(session=label, phase=Phase.CLOSE, ts=closed)
        yield Moment(session=label, phase=Phase.BARS, ts=bars.ts, event=bars)
        yield Moment(session=label, phase=Phase.REPORT, ts=bars.ts)
        if row + 1 < self._panel.shape[0]:
            yield self._decision(row, label, max(closed + self._delay, bars.known_at))

    def _decision(self, row: int, label: str, at: datetime) -> Moment:
        """For the next session of the calendar, never for the bar that it knows."""
        due = DecisionDue(
            ts=at,
            session=label,
            for_session=str(self._panel.sessions[row + 1]),
            time_in_force=self._time_in_force.value,
            rebalance=bool(self._rebalances[row]),
        )
        return Moment(session=label, phase=Phase.DECISION, ts=at, event=due)


def _session(name: str, label: str) -> None:
    try:
        datetime.strptime(label or "2000-01-01", "%Y-%m-%d")  # noqa: DTZ007 - a date, not a time
    except ValueError as error:
        raise ConfigError(f"{name} {label!r} is not a date like 2015-06-30", mend=f"give {name} as YYYY-MM-DD") from error
