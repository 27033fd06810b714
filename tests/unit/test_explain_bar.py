"""From a bar to what used it: decisions in sessions that have no bars of their own, and of times before an instrument was traded."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from math import nan
from pathlib import Path

from hedgefund_core.account import State
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import Instrument
from live_executor.queries.lineage import BarLine, FoundBar, explain_bar
from live_executor.queries.story import Recorded, Story

T0 = datetime(2026, 3, 3, 15, tzinfo=UTC)


def decided(session: str, *instruments: str) -> Recorded:
    nothing = struct.pack(f"<{len(instruments)}d", *[nan] * len(instruments))
    made = e.DecisionMade(
        ts=T0, decision_id=f"{session}-manual-1", session=session, for_session=session, model_digest="", instruments=instruments,
        scores=nothing, target_weights=nothing, scalers=(), judgements=e.Judgements(),
        inputs_digest="", digest="",
    )  # fmt: skip
    due = e.DecisionDue(ts=T0, session=session, for_session=session, time_in_force="day", rebalance=False)
    return Recorded(due_seq=1, due=due, made=made)


def test_decisions_in_sessions_without_bars_and_without_the_instrument_are_shown_too(tmp_path: Path) -> None:
    story = Story(
        state=State(instruments=tuple(Instrument(instrument_id=key, symbol=key) for key in ("A", "B"))),
        versions={"2026-02-27": "v", "2026-03-02": "v"},
        decisions=[decided("2026-03-02", "A"), decided("2026-03-03", "A", "B")],  # the second one's session has no bars yet
    )
    bar = BarLine(session="2026-02-27", open=None, high=None, low=None, close=1.0, volume=None, data_version="v")
    found = explain_bar(story, FoundBar(seq=3, known_at=None, bar=bar), 1, tmp_path)
    assert [(use.session, use.sessions_later, use.score) for use in found.decisions] == [("2026-03-02", 1, None), ("2026-03-03", 1, None)]
