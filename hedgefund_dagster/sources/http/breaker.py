"""A breaker shared by all processes: after some failures in a row nobody asks for a while, then exactly one may try.

Half-open breakers of libraries let every waiting caller through at once; here the one permit is written into the shared
file under its lock, and lapses by itself if the process that took it dies.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import msgspec

from hedgefund_core.errors import DataUnavailable
from hedgefund_dagster.sources.http.faults import Transient
from hedgefund_dagster.sources.http.pulse import Pulse
from hedgefund_dagster.sources.http.shared_state import SharedState


class BreakerStatus(StrEnum):
    """Closed: all may ask. Open: nobody. Half-open: one."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerState(msgspec.Struct, frozen=True, kw_only=True):
    """Failures in a row, when it opened, until when the half-open permit is taken; epoch seconds, 0 = never."""

    failures: int = 0
    opened_at: float = 0.0
    permit_until: float = 0.0
    last_success: float = 0.0
    last_failure: float = 0.0
    last_reason: str = ""


class Breaker:
    """``attempt`` around each request."""

    def __init__(
        self, source: str, path: Path, pulse: Pulse, *, threshold: int = 8, rest_seconds: float = 60.0, permit_seconds: float = 180.0
    ) -> None:
        self._source = source
        self._pulse = pulse
        self._threshold = threshold
        self._rest = rest_seconds
        self._lease = permit_seconds
        self._state = SharedState(path, BreakerState())

    @property
    def state(self) -> BreakerState:
        """What is written down, for people to read."""
        return self._state.read()

    @property
    def status(self) -> BreakerStatus:
        """Closed, open or half-open now."""
        state = self._state.read()
        if state.failures < self._threshold:
            return BreakerStatus.CLOSED
        return BreakerStatus.HALF_OPEN if self._now() >= state.opened_at + self._rest else BreakerStatus.OPEN

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Let the block ask once. Faults that tell of a broken vendor count; any other end gives the permit back uncounted."""
        self._state.change(self._enter)
        try:
            yield
        except Transient as fault:
            reason, breaks = fault.reason, fault.breaks
            self._state.change(lambda state: (self._failed(state, reason) if breaks else self._released(state), None))
            raise
        except BaseException:
            self._state.change(lambda state: (self._released(state), None))
            raise
        now = self._now()
        self._state.change(lambda state: (BreakerState(last_success=now, last_failure=state.last_failure), None))

    def _now(self) -> float:
        return self._pulse.now().timestamp()

    def _enter(self, state: BreakerState) -> tuple[BreakerState, None]:
        if state.failures < self._threshold:
            return state, None
        now = self._now()
        wait = max(state.opened_at + self._rest, state.permit_until) - now
        if wait > 0.0:
            message = (
                f"{self._source}: the breaker is open for {wait:.0f} s more after {state.failures} failures, the last: {state.last_reason}"
            )
            raise DataUnavailable(message, mend="wait, or see whether the vendor is down; other sources go on")
        return msgspec.structs.replace(state, permit_until=now + self._lease), None

    def _failed(self, state: BreakerState, reason: str) -> BreakerState:
        now = self._now()
        failures = state.failures + 1
        opened = now if failures >= self._threshold else 0.0
        return BreakerState(
            failures=failures,
            opened_at=opened,
            last_success=state.last_success,
            last_failure=now,
            last_reason=reason,
        )

    def _released(self, state: BreakerState) -> BreakerState:
        return msgspec.structs.replace(state, permit_until=0.0)
