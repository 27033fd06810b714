"""Faults inside one request: which may be tried again, which tell of a broken vendor, which of a broken payload."""

from __future__ import annotations

from hedgefund_core.errors import DataInvalid


class Transient(Exception):
    """Trying again may help; it never leaves this package, the client turns it into DataUnavailable.
    ``retry_after`` is the vendor's own wish; ``breaks`` counts for the breaker.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None, breaks: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.breaks = breaks


class Garbled(DataInvalid):
    """The payload ends too early or is empty: worth another try, and DataInvalid if it stays so."""
