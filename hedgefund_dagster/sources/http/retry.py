"""How long to wait before the next try: doubling with jitter, or as long as the vendor asks, within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """``attempts`` in all; a vendor that asks for more than ``longest_retry_after`` seconds is left alone (DataUnavailable)."""

    attempts: int = 4
    first_seconds: float = 0.5
    longest_seconds: float = 20.0
    longest_retry_after: float = 90.0

    def pause(self, attempt: int, retry_after: float | None, chance: float) -> float:
        """Seconds before the try after ``attempt`` (counted from 0); ``chance`` in [0, 1) spreads callers apart."""
        doubled = min(self.first_seconds * 2.0**attempt, self.longest_seconds)
        own = doubled * (0.5 + 0.5 * chance)
        return own if retry_after is None else retry_after + self.first_seconds * chance


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Seconds a Retry-After header asks for (a number or an HTTP date, RFC 9110 10.2.3); None if absent or unreadable."""
    if text is None:
        return None
    stripped = text.strip()
    if stripped.isdigit():
        return float(stripped)
    try:
        moment = parsedate_to_datetime(stripped)
    except ValueError:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())
