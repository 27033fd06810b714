"""The server's clock and calendar: the wall clock, moved and stretched as a test likes."""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, date, datetime, timedelta
from datetime import time as day_time
from zoneinfo import ZoneInfo

EASTERN = ZoneInfo("America/New_York")


@dataclasses.dataclass(kw_only=True)
class ServerClock:
    """``always``: every day is a session from 00:00 to 23:59 New York time; ``regular``: weekdays 09:30 to 16:00."""

    hours: str = "always"
    speed: float = 1.0
    closed: set[str] = dataclasses.field(default_factory=set)
    is_open_override: bool | None = None
    _base: datetime = dataclasses.field(default_factory=lambda: datetime.now(UTC))
    _since: float = dataclasses.field(default_factory=time.monotonic)

    def now(self) -> datetime:
        """The broker's time."""
        return self._base + timedelta(seconds=(time.monotonic() - self._since) * self.speed)

    def set(self, *, now: str | None = None, hours: str | None = None, speed: float | None = None) -> None:
        """Move it."""
        self._base, self._since = datetime.fromisoformat(now) if now else self.now(), time.monotonic()
        self.hours, self.speed = hours or self.hours, speed if speed is not None else self.speed

    def session_hours(self, day: date) -> tuple[datetime, datetime] | None:
        """Open and close of a day; None where there is no session."""
        if day.isoformat() in self.closed or (self.hours == "regular" and day.weekday() >= 5):
            return None
        opens, closes = (day_time(9, 30), day_time(16)) if self.hours == "regular" else (day_time(0), day_time(23, 59))
        return datetime.combine(day, opens, EASTERN), datetime.combine(day, closes, EASTERN)

    def clock_json(self) -> dict[str, object]:
        """GET /v2/clock, in New York time with nanoseconds as the real one."""
        now = self.now().astimezone(EASTERN)
        days = [hours for n in range(12) if (hours := self.session_hours(now.date() + timedelta(days=n)))]
        is_open = any(opens <= now < closes for opens, closes in days)
        return {
            "timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.%f789") + f"{now:%z}"[:3] + ":00",
            "is_open": is_open if self.is_open_override is None else self.is_open_override,
            "next_open": next(opens for opens, _ in days if opens > now).isoformat(),
            "next_close": next(closes for _, closes in days if closes > now).isoformat(),
        }

    def calendar_json(self, first: date, last: date) -> list[dict[str, str]]:
        """GET /v2/calendar."""
        rows = []
        for n in range((last - first).days + 1):
            day = first + timedelta(days=n)
            hours = self.session_hours(day)
            if hours is not None:
                row = {"date": day.isoformat(), "open": f"{hours[0]:%H:%M}", "close": f"{hours[1]:%H:%M}"}
                rows.append(
                    row | {"session_open": "0400", "session_close": "2000", "settlement_date": (day + timedelta(days=1)).isoformat()}
                )
        return rows
