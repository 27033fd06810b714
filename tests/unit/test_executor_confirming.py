"""When a halt is done: by what the running executor's own queries have shown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hedgefund_core.trading.state import Level
from live_executor.confirming import left_of
from live_executor.live.heartbeat import Heartbeat, Link


@pytest.mark.parametrize(
    ("level", "flat", "open_at_broker", "working", "left"),
    [
        (Level.CANCELLING, False, 0, 0, ()),
        (Level.CANCELLING, False, 2, 3, ("3 orders open",)),
        (Level.FLATTENING, False, 1, 0, ("1 orders open", "positions held")),
        (Level.FLATTENING, False, 0, 0, ("positions held",)),
        (Level.FLATTENING, True, 1, 0, ("1 orders open",)),
        (Level.FLATTENING, True, 0, 0, ()),
    ],
)
def test_nothing_is_left_once_no_order_is_open_and_where_asked_for_nothing_is_held(
    level: Level, flat: bool, open_at_broker: int, working: int, left: tuple[str, ...]
) -> None:
    beat = Heartbeat(
        pid=1, at=datetime(2026, 3, 2, tzinfo=UTC), mode="paper", broker="alpaca", session="2026-03-02", market_open=True, next_open=None,
        order_stream=Link(connected=True), data_stream=Link(connected=True), price_age_seconds=None, gates=(), searches=0,
        clock_offset_seconds=0.0, flat=flat, open_at_broker=open_at_broker, working=working,
    )  # fmt: skip
    assert left_of(beat, level) == left
