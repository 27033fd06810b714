"""Named places where a fault test kills the process, as a power cut would: no clean-up, no flush.

``HEDGEFUND_CRASH_AT=name`` or ``name:n`` (the n-th time) arms one; unarmed it costs an empty call.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

CRASH_POINTS = (
    "before_journal",
    "after_journal",
    "before_send",
    "after_send",
    "after_acknowledgement",
    "before_fill",
    "after_fill",
)
_left: dict[str, int] | None = None
_hook: Callable[[str], None] | None = None


def hook_crashes(hook: Callable[[str], None] | None) -> None:
    """Let a simulation hear of every point: it has no process to kill."""
    global _hook  # noqa: PLW0603 - one world at a time
    _hook = hook


def crash_here(name: str) -> None:
    """Die here if armed; the environment is read once, at the first call."""
    global _left  # noqa: PLW0603 - a process dies once
    if _hook is not None:
        _hook(name)
    if _left is None:
        point, _, times = os.environ.get("HEDGEFUND_CRASH_AT", "").partition(":")
        _left = {point: int(times or "1")} if point else {}
    if name in _left:
        _left[name] -= 1
        if _left[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
