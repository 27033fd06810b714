"""Time, waiting and chance, injected: a test of a day's quota takes no day, and every wait can be repeated."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """``now`` is aware UTC, ``sleep`` takes seconds, ``chance`` is uniform in [0, 1), ``elapsed`` counts seconds and never steps back."""

    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    chance: Callable[[], float]
    elapsed: Callable[[], float]


def real_pulse(now: Callable[[], datetime]) -> Pulse:
    """The machine's own from the shell's clock on: a clock pinned for an exact re-run must not stop quotas from filling up again."""
    begun, started = now(), time.perf_counter()
    return Pulse(
        now=lambda: begun + timedelta(seconds=time.perf_counter() - started),
        sleep=time.sleep,
        chance=random.SystemRandom().random,
        elapsed=time.perf_counter,
    )
