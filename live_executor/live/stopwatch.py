"""Durations by our own clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime


class Stopwatch:
    """Seconds since a start by our own clock. If that clock is set back, it starts anew: else a wait would last as long as the jump."""

    def __init__(self, now: Callable[[], datetime], *, started: bool = True) -> None:
        self._now = now
        self._from = now() if started else None

    def start(self) -> None:
        """From here on."""
        self._from = self._now()

    @property
    def seconds(self) -> float:
        """How long; infinite before the first start."""
        if self._from is None:
            return float("inf")
        passed = (self._now() - self._from).total_seconds()
        if passed < 0.0:
            self.start()
        return max(0.0, passed)
