import numpy as np
import pytest

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant import sessions
from hedgefund_core.quant.sessions import RebalanceAnchor, RebalanceCalendar, rebalance_mask

# Thanksgiving 2019-11-28 is closed; 2019-12-25 too; Good Friday 2020-04-10 ends a week on Thursday.
CALENDAR = np.array(
    [day for day in np.arange("2019-11-20", "2020-05-08", dtype="datetime64[D]") if np.is_busday(day)], dtype="datetime64[D]"
)
CALENDAR = CALENDAR[~np.isin(CALENDAR, np.array(["2019-11-28", "2019-12-25", "2020-01-01", "2020-04-10"], dtype="datetime64[D]"))]


def day(text):
    return np.datetime64(text, "D")


def test_week_end_is_the_last_session_of_the_week_and_thursday_before_good_friday():
    chosen = set(CALENDAR[rebalance_mask(CALENDAR, "week_end")].tolist())
    assert day("2019-11-29").item() in chosen
    assert day("2020-04-09").item() in chosen
    assert all(date.weekday() == 4 for date in chosen - {day("2020-04-09").item()})


def test_month_end_is_the_last_session_of_the_month():
    chosen = CALENDAR[rebalance_mask(CALENDAR, "month_end")]
    assert [str(date) for date in chosen] == ["2019-11-29", "2019-12-31", "2020-01-31", "2020-02-28", "2020-03-31", "2020-04-30"]


def test_every_session():
    assert rebalance_mask(CALENDAR, RebalanceAnchor.EVERY).all()


@pytest.mark.parametrize("anchor", ["week_end", "month_end"])
def test_a_longer_calendar_changes_nothing_that_was_decided(anchor):
    whole = rebalance_mask(CALENDAR, anchor)
    for stop in range(1, len(CALENDAR)):
        part = rebalance_mask(CALENDAR[:stop], anchor)
        np.testing.assert_array_equal(part[:-1], whole[: stop - 1])
        assert not part[-1]  # nobody knows yet whether its period is over


def test_a_missed_rebalance_is_made_up_once_at_the_next_session():
    calendar = RebalanceCalendar()
    assert calendar.is_rebalance(CALENDAR, day("2019-12-06"))
    assert not calendar.is_due(CALENDAR, day("2019-12-05"), day("2019-11-29"))
    assert calendar.is_due(CALENDAR, day("2019-12-06"), day("2019-11-29"))
    assert calendar.is_due(CALENDAR, day("2019-12-09"), day("2019-11-29"))
    assert not calendar.is_due(CALENDAR, day("2019-12-10"), day("2019-12-09"))
    assert not calendar.is_due(CALENDAR, day("2019-12-09"), None)
    assert calendar.is_due(CALENDAR, day("2019-12-13"), None)


def test_times_follow_the_close_of_each_session_half_days_included():
    closes = np.array(["2019-11-27T21:00", "2019-11-29T18:00"], dtype="datetime64[us]")
    calendar = RebalanceCalendar(decide_after_minutes=15, deadline_minutes=60, cut_off_minutes=10)
    assert str(calendar.decide_at(closes)[1]) == "2019-11-29T18:15:00.000000"
    assert str(calendar.deadline_at(closes)[0]) == "2019-11-27T22:15:00.000000"
    assert str(calendar.cut_off_at(closes)[0]) == "2019-11-27T20:50:00.000000"


def test_next_session_age_and_unknown_sessions():
    assert sessions.next_session(CALENDAR, day("2019-11-27")) == day("2019-11-29")
    assert sessions.sessions_between(CALENDAR, day("2019-11-27"), day("2019-12-02")) == 2
    assert sessions.sessions_between(CALENDAR, day("2019-12-02"), day("2019-12-02")) == 0
    with pytest.raises(DataInvalid, match="no session"):
        sessions.position_of(CALENDAR, day("2019-11-28"))
    with pytest.raises(DataInvalid, match="ends before"):
        sessions.next_session(CALENDAR, CALENDAR[-1])
    with pytest.raises(DataInvalid, match="increasing"):
        rebalance_mask(CALENDAR[::-1], "week_end")
