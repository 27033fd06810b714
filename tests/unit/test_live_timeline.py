"""Market time by the broker's clock and calendar, whatever this computer's clock says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hedgefund_core.trading.observed import MarketClock, MarketDay
from live_executor.live.timeline import Timeline


class Clock:
    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


DAYS = [
    MarketDay(session="2026-11-25", opens_at=at("2026-11-25T14:30"), closes_at=at("2026-11-25T21:00")),
    MarketDay(session="2026-11-27", opens_at=at("2026-11-27T14:30"), closes_at=at("2026-11-27T18:00")),  # the day after Thanksgiving
    MarketDay(session="2026-11-30", opens_at=at("2026-11-30T14:30"), closes_at=at("2026-11-30T21:00")),
]


def line(now: str, *, offset: float = 0.0, calendar: bool = True, is_open: bool | None = None) -> tuple[Timeline, Clock]:
    """A timeline that has just read the broker's clock; ours is ``offset`` seconds behind it."""
    moment = at(now)
    clock = Clock(moment - timedelta(seconds=offset))
    found = Timeline(clock)
    opened = any(day.opens_at <= moment < day.closes_at for day in DAYS) if is_open is None else is_open
    next_open = next(day.opens_at for day in DAYS if day.opens_at > moment)
    next_close = next(day.closes_at for day in DAYS if day.closes_at > moment)
    found.learn(MarketClock(at=moment, is_open=opened, next_open=next_open, next_close=next_close), clock.now(), clock.now())
    if calendar:
        found.learn_days(DAYS)
    return found, clock


@pytest.mark.parametrize(
    ("now", "is_open", "session", "coming"),
    [
        ("2026-11-25T14:29:59", False, "2026-11-24", "2026-11-25"),
        ("2026-11-25T14:30", True, "2026-11-25", "2026-11-27"),
        ("2026-11-25T21:00", False, "2026-11-25", "2026-11-27"),
        ("2026-11-26T18:00", False, "2026-11-25", "2026-11-27"),
        ("2026-11-27T17:59:59", True, "2026-11-27", "2026-11-30"),
        ("2026-11-27T18:00", False, "2026-11-27", "2026-11-30"),
        ("2026-11-28T03:00", False, "2026-11-27", "2026-11-30"),
    ],
)
def test_sessions_holidays_and_half_days(now: str, is_open: bool, session: str, coming: str) -> None:
    found, _ = line(now)
    assert (found.is_open, found.session, found.next_session) == (is_open, session, coming)


def test_a_clock_that_is_off_by_an_hour_changes_nothing() -> None:
    found, clock = line("2026-11-25T14:29:30", offset=3600)
    assert not found.is_open
    clock.at += timedelta(seconds=31)
    assert found.is_open
    assert found.session == "2026-11-25"
    assert found.offset_seconds == 3600


def test_time_goes_on_between_readings_to_the_close() -> None:
    found, clock = line("2026-11-27T17:59")
    assert found.seconds_to_change() == 60
    assert found.closes_at == at("2026-11-27T18:00")
    clock.at += timedelta(seconds=61)
    assert not found.is_open
    assert found.closes_at is None


def test_a_session_ends_also_where_the_clock_was_not_read_since_before_its_open() -> None:
    found, clock = line("2026-11-27T14:00")
    clock.at += timedelta(hours=3)
    assert (found.is_open, found.closes_at) == (True, at("2026-11-27T18:00"))
    clock.at += timedelta(hours=2)
    assert (found.is_open, found.session, found.next_session) == (False, "2026-11-27", "2026-11-30")


@pytest.mark.parametrize(
    ("now", "session"),
    [
        ("2026-11-25T15:00", "2026-11-25"),
        ("2026-11-25T22:00", "2026-11-25"),
        ("2026-11-25T13:00", "2026-11-24"),
        ("2026-11-28T13:00", "2026-11-27"),
    ],
)
def test_without_a_calendar_the_clock_alone_names_the_session(now: str, session: str) -> None:
    found, _ = line(now, calendar=False)
    assert found.session == session


def test_the_clock_wins_over_the_calendar() -> None:
    found, _ = line("2026-11-25T15:00", is_open=False)
    assert not found.is_open, "an unscheduled close"


@pytest.mark.parametrize(
    ("now", "taken"),
    [
        ("2026-11-24T23:59", False),  # 18:59 in New York
        ("2026-11-25T00:00", True),
        ("2026-11-25T14:27:59", True),
        ("2026-11-25T14:28", False),
        ("2026-11-25T15:00", False),
        ("2026-11-29T12:00", False),  # a Sunday's morning
        ("2026-11-30T00:00", True),
    ],
)
def test_orders_for_the_opening_auction_have_their_window(now: str, taken: bool) -> None:
    found, _ = line(now)
    assert found.takes_opening_orders is taken


def test_before_the_first_reading_nothing_is_open() -> None:
    found = Timeline(Clock(at("2026-11-25T15:00")))
    assert not found.is_open
    assert not found.takes_opening_orders


def test_a_session_that_the_clock_says_is_to_come_has_not_ended_whatever_the_calendar_says() -> None:
    found, clock = line("2026-11-25T22:00", is_open=False)
    found.learn(
        MarketClock(at=clock.at, is_open=False, next_open=at("2026-11-25T22:10"), next_close=at("2026-11-26T03:00")), clock.at, clock.at
    )
    assert (found.session, found.next_session) == ("2026-11-24", "2026-11-25")


def test_a_clock_that_was_read_in_one_session_tells_of_the_next_open_too() -> None:
    found, clock = line("2026-11-25T20:59")
    clock.at = at("2026-11-26T18:00")
    assert not found.is_open
    clock.at = at("2026-11-27T14:30")
    assert (found.is_open, found.session, found.next_session) == (True, "2026-11-27", "2026-11-30")
