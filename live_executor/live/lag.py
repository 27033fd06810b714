"""Measures how late the event loop runs: a callback that takes long delays everything else, cancels included."""

from __future__ import annotations

import asyncio
from collections import deque

from live_executor.logging import logger
from live_executor.ports import Sleep

_log = logger("lag")
EVERY_SECONDS, TOO_LATE_SECONDS = 0.25, 0.25
_KEPT = 240
"""Looks of the last minute."""


class LoopLag:
    """How late the loop comes back to a task that only sleeps."""

    def __init__(self, sleep: Sleep) -> None:
        self._sleep = sleep
        self._late: deque[float] = deque(maxlen=_KEPT)

    @property
    def worst_seconds(self) -> float:
        """The worst of the last minute."""
        return max(self._late, default=0.0)

    async def run(self) -> None:
        """Look for ever."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self._sleep(EVERY_SECONDS)
            late = loop.time() - began - EVERY_SECONDS
            self._late.append(late)
            if late > TOO_LATE_SECONDS:
                _log.warning("the event loop was held up", seconds=round(late, 3))
