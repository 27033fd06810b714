"""Named points at which fault tests kill the process as a power cut would, without clean-up or flush.

``HEDGEFUND_CRASH_AT=name`` or ``name:n`` (the n-th time) arms one. Otherwise a point costs an empty call.
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
    """Call ``hook`` at every point, for a simulation, which has no process to kill; None = no longer."""
    global _hook  # noqa: PLW0603 - one world at a time
    _hook = hook


def crash_here(name: str) -> None:
    """Kill the process here if this point is armed. The environment is read once, at the first call."""
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
