"""What is usually traded of a name is known before the first decision: a large order is worked in pieces, or it is said why not."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from hedgefund_core.errors import ConfigError, DataUnavailable
from hedgefund_core.layout import journal_file
from hedgefund_core.trading import events as e
from hedgefund_core.trading.observed import BarSighting
from live_executor.journals.sqlite import JournalReader
from live_executor.recovery import refold
from tests.scenario.stage import NOON, Stage, wait


@pytest.fixture
def stage(own_house: Path) -> Stage:
    stage = Stage(own_house)
    stage.targets.write_text('{"quantities": {"AAPL": 150, "MSFT": 150}}')
    return stage


def bars(symbol: str, volume: float, days: int = 25) -> list[BarSighting]:
    closes = [NOON.replace(hour=21) - timedelta(days=n) for n in range(1, days + 1)]
    return [BarSighting(symbol=symbol, resolution="1d", at=at, open=90.0, high=99.0, low=80.0, close=95.0, volume=volume) for at in closes]


async def some_minutes(stage: Stage) -> None:
    await wait(300)


def said(stage: Stage) -> list[str]:
    return [frame.message for frame in stage.of(e.AlertRaised) if isinstance(frame, e.AlertRaised) and "volumes" in frame.message]


def test_an_order_beyond_a_hundredth_of_the_volume_goes_out_in_pieces_from_the_first_decision_on(stage: Stage) -> None:
    stage.feed.daily = [*bars("AAPL", 5_000.0), *bars("MSFT", 1_000_000.0)]
    stage.play(some_minutes, every=3600.0)
    routed = [frame for frame in stage.of(e.OrderRouted) if isinstance(frame, e.OrderRouted)]
    assert [frame.quantity for frame in routed] == [Decimal(150)]
    assert stage.broker.held["MSFT"] == 150
    assert stage.broker.held["AAPL"] == 50, "the first of three pieces, the others come later in the session"
    history = stage.of(e.HistoryLoaded)
    assert len(history) == 1
    assert isinstance(history[0], e.HistoryLoaded)
    assert (len(history[0].sessions), history[0].sessions[-1]) == (20, "2026-11-23")
    assert not history[0].has_prices, "nobody promised a volatility"
    assert said(stage) == []


@pytest.mark.filterwarnings("error")
def test_a_session_is_marked_as_ever_where_volumes_are_known_and_prices_of_the_past_are_not(stage: Stage) -> None:
    late = Stage(stage.folder, NOON.replace(hour=20, minute=57))
    late.feed.daily = [*bars("AAPL", 1_000_000.0), *bars("MSFT", 1_000_000.0)]
    late.play(some_minutes, every=3600.0)
    marked = late.of(e.AccountMarked)[0]
    assert isinstance(marked, e.AccountMarked)
    assert (marked.volatility, marked.value_at_risk) == (None, None)


def test_a_restart_asks_again_and_writes_nothing_new_and_replays(stage: Stage) -> None:
    stage.feed.daily = [*bars("AAPL", 1_000_000.0), *bars("MSFT", 1_000_000.0)]
    stage.play(some_minutes, every=3600.0)
    stage.play(some_minutes, every=3600.0)
    assert stage.feed.asked_for_bars == 2
    assert len(stage.of(e.HistoryLoaded)) == 1
    reader = JournalReader(stage.folder / "data" / journal_file("v"))
    assert [turn.difference for turn in refold(reader.read(), lambda _digest: pytest.fail("no bundle")) if turn.difference] == []
    reader.close()


def test_a_name_that_is_too_young_for_an_average_meets_the_dollar_cap(stage: Stage) -> None:
    stage.feed.daily = [*bars("AAPL", 5_000.0, days=7), *bars("MSFT", 1_000_000.0)]
    stage.play(some_minutes, every=3600.0)
    assert stage.broker.held == {"AAPL": Decimal(150), "MSFT": Decimal(150)}


@pytest.mark.parametrize("trouble", [DataUnavailable("HTTP 500"), ConfigError("not in your plan")], ids=["away", "kept"])
def test_volumes_that_cannot_be_had_are_said_once_and_keep_nobody_from_trading(stage: Stage, trouble: Exception) -> None:
    stage.feed.keeping_bars = trouble
    stage.play(some_minutes, every=3600.0)
    assert stage.feed.asked_for_bars > 3
    assert len(said(stage)) == 1
    assert stage.broker.held == {"AAPL": Decimal(150), "MSFT": Decimal(150)}
