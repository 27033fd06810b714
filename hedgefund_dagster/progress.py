"""Who watches a long asset: nobody by default; the demo shows a bar."""

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
