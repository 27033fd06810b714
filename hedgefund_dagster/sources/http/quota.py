"""Rate limits over several windows at once, shared by all processes of this machine through one small file.

A window keeps counts in sixty buckets. A bucket counts until all of it has left the window: the limit is never passed,
at the price of a sixtieth of the window.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from hedgefund_core.errors import DataUnavailable
from hedgefund_dagster.sources.http.declaration import Quota
from hedgefund_dagster.sources.http.pulse import Pulse
from hedgefund_dagster.sources.http.shared_state import SharedState

_BUCKETS = 60


class _State(msgspec.Struct, frozen=True, kw_only=True):
    """Per window (its length in seconds as text) the counts by bucket number; until when the vendor asked for silence."""

    counts: dict[str, dict[int, int]] = {}
    not_before: float = 0.0


class SharedQuota:
    """``take`` before each request. A wait longer than ``patience_seconds`` is an error that says until when."""

    def __init__(self, source: str, quotas: tuple[Quota, ...], path: Path, pulse: Pulse, *, patience_seconds: float = 120.0) -> None:
        self._source = source
        self._quotas = quotas
        self._pulse = pulse
        self._patience = patience_seconds
        self._state = SharedState(path, _State())

    def take(self) -> None:
        """Count one request in every window, waiting for room; raises DataUnavailable where that would take too long."""
        waited = 0.0
        while True:
            wait = self._state.change(self._try)
            if wait <= 0.0:
                return
            if waited + wait > self._patience:
                message = f"{self._source}: the quota is used up for {wait:.0f} s more ({self._spelt()})"
                raise DataUnavailable(message, mend="wait, or ask for fewer names; a paid plan has larger quotas")
            self._pulse.sleep(wait)
            waited += wait

    def hold(self, seconds: float) -> None:
        """The vendor asked for silence: every process keeps it."""
        until = self._now() + seconds
        self._state.change(
            lambda state: (_State(counts=state.counts, not_before=max(state.not_before, until)), None),
        )

    def left(self) -> dict[str, int]:
        """Requests left in each window, for people to read."""
        now = self._now()
        state = self._state.read()
        return {f"{q.requests} in {q.seconds:g} s": max(0, q.requests - sum(_live(state, q, now).values())) for q in self._quotas}

    def _now(self) -> float:
        return self._pulse.now().timestamp()

    def _try(self, state: _State) -> tuple[_State, float]:
        """The state with one more request and no wait, or the same state and the wait."""
        now = self._now()
        live = {_name(quota): _live(state, quota, now) for quota in self._quotas}
        waits = [_room_after(live[_name(quota)], quota, now) for quota in self._quotas]
        longest = max([0.0, state.not_before - now, *waits])
        if longest > 0.0:
            return state, longest
        for quota in self._quotas:
            bucket = int(now // (quota.seconds / _BUCKETS))
            counts = live[_name(quota)]
            counts[bucket] = counts.get(bucket, 0) + 1
        return _State(counts=live, not_before=state.not_before), 0.0

    def _spelt(self) -> str:
        return ", ".join(f"{quota.requests} requests in {quota.seconds:g} s" for quota in self._quotas)


def _name(quota: Quota) -> str:
    return f"{quota.seconds:g}"


def _live(state: _State, quota: Quota, now: float) -> dict[int, int]:
    """Buckets any part of which is still in the window; those after a clock that was set back are forgotten."""
    width = quota.seconds / _BUCKETS
    counts = state.counts.get(_name(quota), {})
    return {
        bucket: count for bucket, count in counts.items() if now - quota.seconds < (bucket + 1) * width and bucket * width <= now + width
    }


def _room_after(live: dict[int, int], quota: Quota, now: float) -> float:
    """Seconds until one more request fits."""
    surplus = sum(live.values()) + 1 - quota.requests
    for bucket in sorted(live):
        if surplus <= 0:
            break
        surplus -= live[bucket]
        if surplus <= 0:
            # A hair more than the bucket needs, or rounding would leave it inside for another turn.
            return max((bucket + 1) * (quota.seconds / _BUCKETS) + quota.seconds - now, 0.0) + quota.seconds * 1e-6
    return 0.0
