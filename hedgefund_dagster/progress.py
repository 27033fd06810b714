"""Who watches a long asset: nobody by default; the demo shows a bar, a load from a vendor says in the run's log how far it is."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

Report = Callable[[str, int, int], None]
"""(what, done, of how many)"""


def _silent(what: str, done: int, total: int) -> None:
    """A run of the daemon has its log instead."""


WATCHER: ContextVar[Report] = ContextVar("watcher", default=_silent)


def report(what: str, done: int, total: int) -> None:
    """Tell whoever watches."""
    WATCHER.get()(what, done, total)


EVERY_SECONDS = 5.0


class Progress:
    """Counts what is done. ``elapsed`` counts seconds and never steps back; ``already``: done before, in a load that is taken up again."""

    def __init__(self, title: str, total: int, *, say: Callable[[str], None], elapsed: Callable[[], float], already: int = 0) -> None:
        self._title, self._total, self._already = title, total, already
        self._say, self._elapsed = say, elapsed
        self._done = already
        self._started = self._said = elapsed()
        if already:
            say(f"{title}: resumed, {already} of {total} were stored before")

    def advance(self, count: int, unit: str) -> None:
        """So many more are done; said when the last word is some seconds old, and at the end."""
        self._done += count
        report(self._title, self._done, self._total)
        now = self._elapsed()
        if self._done < self._total and now - self._said < EVERY_SECONDS:
            return
        self._said = now
        self._say(f"{self._title}: {self._done} of {self._total} {unit} ({self._done / max(self._total, 1):.0%}){self._left(now)}")

    def _left(self, now: float) -> str:
        """Time to go at the pace so far."""
        took, counted = now - self._started, self._done - self._already
        if self._done >= self._total:
            return f", {_spelt(took)} in all"
        return f", about {_spelt(took / counted * (self._total - self._done))} left" if counted else ""


def _spelt(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
