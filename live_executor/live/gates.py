"""Conditions outside the ladder that keep new exposure from leaving: each a cause, journaled when it comes and when it goes."""

from __future__ import annotations

from hedgefund_core.trading import events as e
from live_executor.live.floor import Floor

ORDER_STREAM = "order stream is down"
NOT_RECONCILED = "not reconciled since the last connection"
ACCOUNT_BLOCKED = "the broker does not let this account trade"
MARKET_DATA = "market data is stale"
STOPPING = "the executor is being stopped"
STARTING = (ORDER_STREAM, NOT_RECONCILED)


class Gates:
    """Open until a cause closes them."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._closed: set[str] = set()

    @property
    def closed(self) -> frozenset[str]:
        """Causes in force."""
        return frozenset(self._closed)

    def start(self, left_over: frozenset[str]) -> None:
        """Close what a start must prove again, and end causes that died with an earlier process."""
        self._closed = set(left_over)
        for cause in sorted(left_over - set(STARTING)):
            self.set(cause, closed=False)
        for cause in STARTING:
            self.set(cause, closed=True)

    def set(self, cause: str, *, closed: bool) -> None:
        """Close or open for a cause; nothing where it stands so already."""
        if (cause in self._closed) == closed:
            return
        (self._closed.add if closed else self._closed.discard)(cause)
        self._floor.take([e.EntriesGated(ts=self._floor.now(), cause=cause, closed=closed)])
