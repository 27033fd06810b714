"""Announced splits of a live account on virtual time: asked for in time, journaled once, and no order in old shares stays."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from hedgefund_core.errors import DataUnavailable
from hedgefund_core.trading import events as e
from hedgefund_core.trading.observed import SplitSighting
from tests.scenario.stage import Stage

EVENING = datetime(2026, 11, 25, 1, tzinfo=UTC)  # 20:00 in New York, after the session of the 24th
SLOW = {"books_every_seconds": 300.0, "orders_every_seconds": 60.0, "mailbox_every_seconds": 30.0, "targets_every_seconds": 30.0}


def announced(session: str, ratio: int = 4) -> SplitSighting:
    return SplitSighting(symbol="AAPL", ratio=Decimal(ratio), session=session)


def test_orders_for_the_open_leave_the_market_and_come_back_in_new_shares(own_house: Path) -> None:
    stage = Stage(own_house, EVENING)
    stage.targets.write_text('{"weights": {"AAPL": 0.01001}}')  # ten shares, then forty

    async def script(stage: Stage) -> None:
        await asyncio.sleep(60)
        (first,) = stage.broker.book.values()
        assert (first.status, first.quantity) == ("new", Decimal(10))
        stage.feed.announced = [announced("2026-11-25"), announced("2026-11-27", 2)]
        await asyncio.sleep(1000)
        old, new = stage.broker.book.values()
        assert (old.status, new.status, new.quantity) == ("canceled", "new", Decimal(40))

    stage.broker.prices["AAPL"] = Decimal("100.01")
    stage.broker.match = lambda _name: None  # type: ignore[method-assign]  # closed: nothing is matched
    stage.play(script, every=3600.0, **SLOW)
    assert [(frame.session, frame.ratio) for frame in stage.of(e.SplitAnnounced)] == [("2026-11-25", Decimal(4))]


def test_a_running_session_hears_of_its_own_splits_only_and_a_silent_calendar_ends_nothing(own_house: Path) -> None:
    stage = Stage(own_house)
    stage.feed.announcing = DataUnavailable("the vendor does not answer", mend="wait")

    async def script(stage: Stage) -> None:
        await asyncio.sleep(120)
        assert stage.held() == {"AAPL": Decimal(10)}
        stage.feed.announcing = None
        stage.feed.announced = [announced("2026-11-25")]
        await asyncio.sleep(5 * 3600)

    stage.play(script, every=3600.0, **SLOW)
    (heard,) = stage.of(e.SplitAnnounced)
    (ended,) = stage.of(e.SessionEnded)
    assert heard.ts >= ended.ts
    assert [frame.cause for frame in stage.of(e.InstrumentFrozen)] == ["it splits before the next open"]
