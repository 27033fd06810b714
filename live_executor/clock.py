"""The clocks: the system's, one that starts from it and cannot jump, and one that a replay's schedule sets."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SystemClock:
    """Wall-clock time."""

    def now(self) -> datetime:
        """Aware UTC time of this computer."""
        return datetime.now(UTC)


class SteadyClock:
    """The wall clock read once at the start and then advanced by a monotonic counter, so that changing the system's time moves nothing."""

    def __init__(self) -> None:
        self._start, self._counter = datetime.now(UTC), _counted()

    def now(self) -> datetime:
        """Aware UTC time. Time for which the computer was suspended counts, where the system has such a counter."""
        return self._start + timedelta(seconds=_counted() - self._counter)


def _counted() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


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
