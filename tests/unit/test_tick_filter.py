"""Bad ticks: a flash, a crossed quote or a zero never becomes a price; a real gap does, with its second message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from hedgefund_core.trading.observed import BarSighting, QuoteSighting
from live_executor.feeds.tick_filter import TickFilter

T0 = datetime(2026, 11, 16, 15, 0, tzinfo=UTC)


def quote(second: float, bid: str | None, ask: str | None, *, received: float | None = None, last: str | None = None) -> QuoteSighting:
    at = T0 + timedelta(seconds=second)
    got = at if received is None else T0 + timedelta(seconds=received)
    values = [None if value is None else Decimal(value) for value in (bid, ask, last)]
    return QuoteSighting(symbol="AAPL", at=at, received_at=got, bid=values[0], ask=values[1], last=values[2])


def bar(second: float, close: float, **more: float) -> BarSighting:
    prices = {"open": close, "high": close, "low": close, "close": close, "volume": 100.0} | more
    return BarSighting(symbol="AAPL", resolution="1m", at=T0 + timedelta(seconds=second), **prices)


def test_the_first_price_in_new_shares_is_no_flash_once_the_split_is_announced() -> None:
    ticks = TickFilter()
    assert ticks.admits(quote(0, "99.9", "100.1"))
    assert not ticks.admits(quote(1, "49.9", "50.1"))
    ticks.expect("AAPL", Decimal(2))
    assert ticks.admits(quote(2, "50.1", "50.3"))
    assert not ticks.admits(quote(3, "25.0", "25.1")), "once"


def test_one_flash_is_forgotten_and_what_follows_is_believed() -> None:
    tested = TickFilter()
    seen = [quote(0, "100", "100.02"), quote(1, "55", "55.02"), quote(2, "100.01", "100.03"), quote(3, "160", "160.02")]
    assert [tested.admits(one) for one in seen] == [True, False, True, False]
    assert tested.refused["flash"] == 2


def test_a_real_gap_is_believed_with_its_second_message_or_when_it_still_stands() -> None:
    tested = TickFilter()
    assert [tested.admits(one) for one in (quote(0, "100", "100.02"), quote(1, "80", "80.02"), quote(1.2, "80.5", "80.6"))] == [
        True, False, True,
    ]  # fmt: skip
    standing = TickFilter()
    assert standing.admits(quote(0, "100", "100.02"))
    assert not standing.admits(quote(1, "80", "80.02"))
    assert not standing.admits(quote(1, "80", "80.02", received=1.5)), "asked for again at once it is the same flash"
    assert standing.admits(quote(1, "80", "80.02", received=2.5))


@pytest.mark.parametrize(
    ("seen", "rule"),
    [
        (quote(0, "100.05", "100.01"), "crossed"),
        (quote(0, "0", "100"), "no price"),
        (quote(0, "1E-9", "2E-9"), "no price"),
        (quote(0, "1E+300", "2E+300"), "no price"),
        (quote(0, "NaN", "100"), "no price"),
        (quote(0, None, None), "no price"),
        (quote(0, None, None, last="-3"), "no price"),
        (bar(0, float("nan")), "no price"),
        (bar(0, 100.0, high=90.0), "range"),
    ],
)
def test_what_is_no_price_is_refused_by_its_rule(seen: QuoteSighting | BarSighting, rule: str) -> None:
    tested = TickFilter()
    assert not tested.admits(seen)
    assert tested.refused == {rule: 1}


def test_an_old_price_says_nothing_about_the_next_one() -> None:
    tested = TickFilter()
    assert tested.admits(bar(0, 100.0))
    assert tested.admits(quote(3600, "70", "70.02"))
