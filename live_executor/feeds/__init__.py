"""Registry of feeds: a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from hedgefund_core.quant.bars import Panel
from live_executor.ports import MarketFeed


class FeedPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a feed is asked for. Sessions are ISO dates; empty = from the panel's first, to its last."""

    first: str = ""
    last: str = ""
    max_sessions: int = 0
    """Stop after this many sessions; 0 = no such limit."""
    seconds_per_session: float = 0.0
    """Pause after each session; 0 = as fast as possible."""
    anchor: str
    fill: str
    decision_delay_minutes: int


def _replay(panel: Panel, plan: FeedPlan) -> MarketFeed:
    from live_executor.feeds.replay import ReplayFeed

    return ReplayFeed(panel, plan)


FEEDS: dict[str, Callable[[Panel, FeedPlan], MarketFeed]] = {"replay": _replay}
