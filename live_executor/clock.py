"""The two clocks: the machine's, and one that is set by the replayed schedule."""

from __future__ import annotations

from datetime import UTC, datetime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SystemClock:
    """Wall-clock time."""

    def now(self) -> datetime:
        """Aware UTC time of this computer."""
        return datetime.now(UTC)


class SimulatedClock:
    """Time as the schedule says; it never runs backwards."""

    def __init__(self, start: datetime = EPOCH) -> None:
        self._now = start

    def now(self) -> datetime:
        """Time of the latest moment."""
        return self._now

    def set(self, moment: datetime) -> None:
        """Move forward to ``moment``; an earlier one changes nothing."""
        self._now = max(self._now, moment)
