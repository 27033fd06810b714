"""What the batch shell needs from outside, as protocols; adapters and tests implement them."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from hedgefund_dagster.sources.source import Source

__all__ = ["Clock", "Source"]


class Clock(Protocol):
    """Tells the time; nothing else in this shell does."""

    def now(self) -> datetime:
        """Aware UTC time."""
