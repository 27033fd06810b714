"""The replay feed: every moment once, in order of time, whatever it is resumed from."""

from __future__ import annotations

import asyncio
import time
from datetime import date

import pytest

from hedgefund_core.errors import ConfigError, DataInvalid
from hedgefund_core.quant.bars import Panel
from hedgefund_core.trading import events as e
from live_executor.feeds import FEEDS, FeedPlan
from live_executor.ports import MarketFeed, Moment, Phase
from tests.builders import tradable_panel


@pytest.fixture(scope="module")
def panel() -> Panel:
    return tradable_panel(n_sessions=40, n_symbols=3)


def feed(panel: Panel, **asked: object) -> MarketFeed:
    plan = {"anchor": "week_end", "fill": "auto", "decision_delay_minutes": 15, **asked}
    return FEEDS["replay"](panel, FeedPlan(**plan))


def moments(source: MarketFeed, after: tuple[str, int] | None = None) -> list[Moment]:
    async def collect() -> list[Moment]:
        return [moment async for moment in source.moments(after)]

    return asyncio.run(collect())


def test_moments_come_in_order_of_time_and_a_decision_follows_its_bars(panel: Panel) -> None:
    told = moments(feed(panel))
    assert [moment.ts for moment in told] == sorted(moment.ts for moment in told)
    assert [moment.key for moment in told] == sorted({moment.key for moment in told})
    assert [moment.phase for moment in told[:6]] == list(Phase)
    known = {moment.session: moment.event.known_at for moment in told if moment.phase is Phase.BARS}
    for moment in told:
        if moment.phase is Phase.DECISION:
            assert moment.ts >= known[moment.session]
            assert moment.event.for_session > moment.session


def test_resuming_after_any_moment_gives_exactly_the_rest(panel: Panel) -> None:
    source = feed(panel, first=str(panel.sessions[20]), last=str(panel.sessions[23]))
    told = moments(source)
    for place, moment in enumerate(told):
        assert moments(source, moment.key) == told[place + 1 :]


def test_range_is_inclusive_and_limited(panel: Panel) -> None:
    first, last = str(panel.sessions[10]), str(panel.sessions[14])
    assert sorted({moment.session for moment in moments(feed(panel, first=first, last=last))}) == [str(s) for s in panel.sessions[10:15]]
    assert len({moment.session for moment in moments(feed(panel, first=first, max_sessions=3))}) == 3
    assert moments(feed(panel, first="2099-01-01")) == []


def test_the_last_session_of_a_panel_has_no_decision(panel: Panel) -> None:
    last = str(panel.sessions[-1])
    assert [moment.phase for moment in moments(feed(panel, first=last))] == [Phase.BEGAN, Phase.OPEN, Phase.CLOSE, Phase.BARS, Phase.REPORT]


def test_rebalances_at_the_end_of_weeks(panel: Panel) -> None:
    due = [moment.event for moment in moments(feed(panel)) if moment.phase is Phase.DECISION]
    fridays = [event.session for event in due if event.rebalance]
    assert len(fridays) == 7
    assert all(weekday(session) == 4 for session in fridays)


def weekday(session: str) -> int:
    return date.fromisoformat(session).weekday()


def test_history_is_what_lies_before_the_next_bars(panel: Panel) -> None:
    source = feed(panel, first=str(panel.sessions[20]))
    assert source.history(None, 5).sessions == tuple(str(s) for s in panel.sessions[15:20])
    assert source.history((str(panel.sessions[20]), Phase.OPEN), 5).sessions[-1] == str(panel.sessions[19])
    assert source.history((str(panel.sessions[20]), Phase.BARS), 5).sessions[-1] == str(panel.sessions[20])
    assert source.history((str(panel.sessions[20]), Phase.DECISION), 500).sessions == tuple(str(s) for s in panel.sessions[:21])
    assert feed(panel).history(None, 5) is None


def test_bars_are_the_panels(panel: Panel) -> None:
    bars = next(moment.event for moment in moments(feed(panel, first=str(panel.sessions[30]))) if moment.phase is Phase.BARS)
    assert isinstance(bars, e.BarsClosed)
    assert bars.close == tuple(panel.close[30])
    assert bars.data_version == panel.data_version


def test_speed_is_seconds_a_session(panel: Panel) -> None:
    began = time.monotonic()
    moments(feed(panel, max_sessions=3, seconds_per_session=0.05))
    assert time.monotonic() - began >= 0.15


def test_next_open_without_opens_is_refused() -> None:
    with pytest.raises(DataInvalid):
        feed(tradable_panel(40, 3, opens=False), fill="next_open")


@pytest.mark.parametrize("asked", [{"first": "soon"}, {"last": "2001-02-30"}])
def test_dates_that_are_none_are_refused(panel: Panel, asked: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="not a date"):
        feed(panel, **asked)
