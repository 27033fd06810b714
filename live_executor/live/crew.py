"""The asyncio tasks of a run. An error in any of them ends the whole run: an executor of which half works is not to be trusted."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine

from hedgefund_core.errors import HedgefundError, InvariantViolation
from live_executor.logging import logger

_log = logger("crew")
_CANCELS, _CANCEL_SECONDS = 10, 2.0


class Crew:
    """The tasks of a run."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], None] = {}  # a dict keeps the order of their start, in which a simulation has to end them
        self._failure: asyncio.Future[tuple[str, BaseException]] = asyncio.get_running_loop().create_future()

    def start(self, name: str, work: Coroutine[None, None, None], *, forever: bool = False) -> asyncio.Task[None]:
        """Begin a task. Of one that is ``forever`` even a return without error ends the run."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._ended(done, forever=forever))
        return task

    def end(self, names: Collection[str]) -> None:
        """Stop tasks before the others."""
        for task in self._tasks:
            if task.get_name() in names:
                task.cancel()

    async def failure(self) -> tuple[str, BaseException]:
        """The first task that ended and should not have, and why."""
        return await asyncio.shield(self._failure)

    async def dismiss(self) -> None:
        """Stop every task and wait until it has; one that loses a cancel (`asyncio.wait_for` does, at the wrong moment) gets another."""
        tasks, left = list(self._tasks), set(self._tasks)
        for _ in range(_CANCELS):
            for task in tasks:
                if task in left:
                    task.cancel()
            if left:
                left = (await asyncio.wait(left, timeout=_CANCEL_SECONDS))[1]
        for task in left:
            _log.error("task does not end", task=task.get_name())

    def _ended(self, task: asyncio.Task[None], *, forever: bool) -> None:
        self._tasks.pop(task, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is None and forever:
            error = InvariantViolation("it returned, and should go on for ever")
        if error is None:
            return
        trace = None if isinstance(error, HedgefundError) else error  # ours explain themselves
        _log.error("task ended", task=task.get_name(), error=f"{type(error).__name__}: {error}", exc_info=trace)
        if not self._failure.done():
            self._failure.set_result((task.get_name(), error))
