"""Virtual time with seeded scheduling: what is ready at one moment runs in an order that only the seed knows.

Nothing waits really: when nothing is ready, time jumps to the next timer. A power cut leaves the loop at once, before any callback (and so
at any await) or at a named crash point, and the world goes on around the dead process. A frozen process is not dead: what it would do
waits until it goes on.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import weakref
from pathlib import Path
from types import CoroutineType
from typing import TYPE_CHECKING

import async_solipsism  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Coroutine


PROCESS: contextvars.ContextVar[object] = contextvars.ContextVar("process", default=None)
"""Whose task it is: the token of a simulated process, None for the world's own."""


class PowerCut(SystemExit):
    """The process is gone: a SystemExit, because that is what leaves an event loop in the middle of a task."""


class SeededLoop(async_solipsism.EventLoop):  # type: ignore[misc]
    """Shuffles what is ready, and cuts the power before a turn of the process."""

    _ready: deque[asyncio.Handle]

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self.turns_left: int | None = None
        """Turns of the process's own tasks and callbacks until the power goes, before the next one; None = it does not."""
        self.cut_in: list[str] = []
        """Where the process stood at each such cut: the await of the task that would have gone on."""
        self.frozen: object = None
        """The process that stands still."""
        self._held: list[asyncio.Handle] = []
        self.immune = False
        """While a dead process is cleared away nothing else dies."""
        self._count = 0
        self._made = weakref.WeakKeyDictionary[asyncio.Task[object], int]()
        self.set_task_factory(self._make)

    def age(self, task: asyncio.Task[object]) -> int:
        """The number of a task in the order of their making: sets of tasks have none that a seed could repeat."""
        return self._made.get(task, -1)

    def _make(self, loop: asyncio.AbstractEventLoop, coro: Coroutine[object, object, object], **named: object) -> asyncio.Task[object]:
        task: asyncio.Task[object] = asyncio.Task(coro, loop=loop, **named)  # type: ignore[arg-type]
        self._count += 1
        self._made[task] = self._count
        return task

    def _run_once(self) -> None:
        if self.frozen is not None:
            self._hold()
        ready = self._ready
        if len(ready) > 1:
            shuffled = list(ready)
            self._rng.shuffle(shuffled)
            ready.clear()
            ready.extend(shuffled)
        if self.turns_left is not None and not self.immune:
            self._count_down(self.turns_left)
        super()._run_once()

    def _count_down(self, turns: int) -> None:
        for place, handle in enumerate(self._ready):
            if _process_of(handle) is None:
                continue
            if turns == 0:
                self.cut_in.append(_await_of(handle))
                self.turns_left = None
                self._ready.insert(place, asyncio.Handle(_cut, (), self))
                return
            turns -= 1
        self.turns_left = turns

    def _hold(self) -> None:
        """What the frozen process would do now, it does later."""
        mine = [handle for handle in self._ready if _process_of(handle) is self.frozen]
        if mine:
            self._held += mine
            rest = [handle for handle in self._ready if _process_of(handle) is not self.frozen]
            self._ready.clear()
            self._ready.extend(rest)

    def thaw(self) -> None:
        """The frozen process goes on where it stood."""
        self.frozen = None
        self._ready.extend(self._held)
        self._held.clear()


def _cut() -> None:
    raise PowerCut


def _process_of(handle: asyncio.Handle) -> object:
    return handle._context.get(PROCESS)  # type: ignore[attr-defined] # noqa: SLF001 - whose callback it is says nothing else


def _await_of(handle: asyncio.Handle) -> str:
    """The function that waits in a task whose turn it is; "callback" where it is no task's."""
    task = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined] # noqa: SLF001 - the only way to the task
    coro = task.get_coro() if isinstance(task, asyncio.Task) else None
    found = "callback"
    while isinstance(coro, CoroutineType) and coro.cr_frame is not None:
        code, line = coro.cr_code, coro.cr_frame.f_lineno
        if "live_executor" in code.co_filename:
            found = f"{Path(code.co_filename).stem}.{code.co_qualname}:{line}"
        coro = coro.cr_await
    return found


def run_world(loop: SeededLoop, main: asyncio.Task[None], on_cut: Callable[[], None]) -> None:
    """Run ``main`` to its end; every power cut is told to ``on_cut`` and the world goes on."""
    while True:
        try:
            loop.run_until_complete(main)
        except PowerCut:
            on_cut()
        else:
            return
