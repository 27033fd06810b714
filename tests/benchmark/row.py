"""What a benchmark says: one row a figure, ours beside a peer's of the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import msgspec


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure. ``ratio``: how many times better than the peer; ``goal``: what was promised, in words; ``met``: whether it was kept."""

    name: str
    ours: float
    unit: str
    goal: str
    met: bool
    peer: str = ""
    theirs: float | None = None
    ratio: float | None = None
    note: str = ""


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def median_seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Median wall time of so many calls."""
    return statistics.median(seconds(work) for _ in range(repeats))


def alternating_seconds(ours: Callable[[], object], theirs: Callable[[], object], repeats: int = 5) -> tuple[float, float]:
    """Medians of two works that take turns: a neighbour on the machine slows both alike."""
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(repeats)]
    return statistics.median(ours for ours, _ in pairs), statistics.median(theirs for _, theirs in pairs)
