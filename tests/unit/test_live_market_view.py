"""Prices as a decision may know them: sane, the newest, with their age."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from msgspec.structs import replace

from hedgefund_core.trading.instrument import Instrument
from hedgefund_core.trading.observed import BandSighting, BarSighting, HaltSighting, QuoteSighting
from live_executor.live.market_view import MarketView

NOW = datetime(2026, 11, 25, 15, tzinfo=UTC)
AAPL = Instrument(instrument_id="1", symbol="AAPL")
MSFT = Instrument(instrument_id="2", symbol="MSFT")


def quote(bid: str, ask: str, *, seconds: float = 0.0, last: str | None = None) -> QuoteSighting:
    moment = NOW - timedelta(seconds=seconds)
    price = None if last is None else Decimal(last)
    return QuoteSighting(symbol="AAPL", at=moment, received_at=moment, bid=Decimal(bid), ask=Decimal(ask), last=price)


def trade(price: str, *, seconds: float = 0.0) -> QuoteSighting:
    moment = NOW - timedelta(seconds=seconds)
    return QuoteSighting(symbol="AAPL", at=moment, received_at=moment, last=Decimal(price), source="trade")


def seen(*sightings: object) -> tuple[float | None, float | None, float | None, float | None]:
    view = MarketView()
    for sighting in sightings:
        view.take(sighting)
    found = view.prices_seen([AAPL, MSFT], "2026-11-25", NOW, NOW)
    assert (found.price[1], found.age_seconds[1]) == (None, None)
    return found.price[0], found.bid[0], found.ask[0], found.age_seconds[0]


def test_the_middle_of_a_quote_with_its_age() -> None:
    assert seen(quote("99", "101", seconds=3)) == (100.0, 99.0, 101.0, 3.0)


def test_an_older_quote_does_not_undo_a_newer_one() -> None:
    assert seen(quote("99", "101", seconds=1), quote("89", "91", seconds=5))[0] == 100.0


def test_crossed_zero_and_infinite_quotes_are_no_prices() -> None:
    assert seen(quote("101", "99"), quote("0", "100"), quote("99", "Infinity"), trade("98", seconds=2)) == (98.0, None, None, 2.0)


def test_a_trade_that_is_much_newer_stands_for_a_quote_that_was_missed() -> None:
    assert seen(quote("99", "101", seconds=60), trade("90", seconds=1)) == (90.0, None, None, 1.0)
    assert seen(quote("99", "101", seconds=3), trade("90", seconds=1))[0] == 100.0


def test_a_bar_is_a_price_too() -> None:
    bar = BarSighting(symbol="AAPL", resolution="1m", at=NOW - timedelta(seconds=9), open=1.0, high=2.0, low=1.0, close=1.5, volume=1.0)
    assert seen(bar) == (1.5, None, None, 9.0)


def test_halts_are_remembered_until_they_end() -> None:
    view = MarketView()
    view.take(HaltSighting(symbol="AAPL", halted=True, reason="LULD pause", at=NOW))
    assert view.halted("AAPL") == "LULD pause"
    view.take(HaltSighting(symbol="AAPL", halted=False, reason="", at=NOW))
    assert view.halted("AAPL") == ""


def test_the_end_of_a_halt_that_the_stream_missed_is_shown_by_the_next_trade() -> None:
    view, later = MarketView(), NOW + timedelta(minutes=5)
    trade = QuoteSighting(symbol="AAPL", at=later, received_at=later, last=Decimal(100), source="trade")
    view.take(HaltSighting(symbol="AAPL", halted=True, reason="LULD pause", at=later))
    view.take(HaltSighting(symbol="AAPL", halted=False, reason="", at=NOW))  # an older word changes nothing
    view.take(trade)
    assert view.halted("AAPL") == "LULD pause", "no trade ends a halt whose end will be told"
    view.doubt_halts()
    view.take(trade)
    assert view.halted("AAPL") == "LULD pause", "it was before the halt"
    view.take(replace(trade, at=later + timedelta(seconds=1), source="quote"))
    assert view.halted("AAPL") == "LULD pause"
    view.take(replace(trade, at=later + timedelta(seconds=1)))
    assert view.halted("AAPL") == ""


@pytest.mark.parametrize(
    ("bid", "ask", "days", "expected"),
    [
        ("99", "101", 0, (95.0, 105.0)),
        ("105", "107", 0, (95.0, 105.0)),  # limit state: who sells asks more than the band allows
        ("105.01", "107", 0, None),  # nobody may bid above the band: the newer one was missed
        ("92", "94.99", 0, None),
        ("99", "101", 1, None),  # yesterday's
    ],
)
def test_a_price_band_holds_for_its_session_and_while_the_market_is_within_it(
    bid: str, ask: str, days: int, expected: tuple[float, float] | None
) -> None:
    view = MarketView()
    at = NOW - timedelta(days=days)
    view.take(BandSighting(symbol="AAPL", lower=Decimal(95), upper=Decimal(105), at=at))
    view.take(BandSighting(symbol="AAPL", lower=Decimal(1), upper=Decimal(2), at=at - timedelta(seconds=1)))
    view.take(quote(bid, ask))
    bands = view.prices_seen([AAPL, MSFT], "2026-11-25", NOW, NOW).bands
    assert bands == (None if expected is None else ((expected[0], None), (expected[1], None)))


def test_what_is_missing_or_old_is_to_be_asked_for() -> None:
    view = MarketView()
    view.take(quote("99", "101", seconds=6))
    assert view.stale(["AAPL", "MSFT"], NOW, timedelta(seconds=5)) == ["AAPL", "MSFT"]
    assert view.stale(["AAPL", "MSFT"], NOW, timedelta(seconds=7)) == ["MSFT"]


def test_the_rhythm_of_a_symbol_is_the_median_of_its_gaps_once_there_are_enough() -> None:
    view = MarketView()
    for n in range(8):
        view.take(quote("99", "101", seconds=400 - 20 * n))
    assert view.gap("AAPL") is None, "seven gaps are too few"
    view.take(quote("99", "101", seconds=100))
    view.take(quote("99", "101", seconds=100))
    view.take(quote("99", "101", seconds=300))
    assert view.prices_seen([AAPL, MSFT], "2026-11-25", NOW, NOW).gap_seconds == (20.0, None)
