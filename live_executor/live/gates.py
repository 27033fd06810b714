"""Gates: conditions outside the ladder that keep entries from being sent. Each is journaled when it closes and when it opens."""

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
    """The causes for which entries are held back now; entries may leave while there is none."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._closed: set[str] = set()

    @property
    def closed(self) -> frozenset[str]:
        """Causes in force."""
        return frozenset(self._closed)

    def start(self, left_over: frozenset[str]) -> None:
        """At a start: close the gates that have to be proven open again, and open those that an earlier process left closed."""
        self._closed = set(left_over)
        for cause in sorted(left_over - set(STARTING)):
            self.set(cause, closed=False)
        for cause in STARTING:
            self.set(cause, closed=True)

    def set(self, cause: str, *, closed: bool) -> None:
        """Close or open the gate of a cause; does nothing if it is so already."""
        if (cause in self._closed) == closed:
            return
        (self._closed.add if closed else self._closed.discard)(cause)
        self._floor.take([e.EntriesGated(ts=self._floor.now(), cause=cause, closed=closed)])
