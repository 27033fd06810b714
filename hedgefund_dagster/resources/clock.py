"""The only place of the batch shell that reads the wall clock."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg


class ClockResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Now, in UTC; ``fixed`` (RFC 3339) pins it for tests and for exact re-runs."""

    fixed: str = ""

    def now(self) -> datetime:
        """Aware UTC time."""
        if self.fixed:
            return datetime.fromisoformat(self.fixed).astimezone(UTC)
        return datetime.now(tz=UTC)
