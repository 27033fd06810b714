"""Virtual time with seeded scheduling: what is ready at one moment runs in an order that only the seed knows.

Nothing waits really: when nothing is ready, time jumps to the next timer. A power cut leaves the loop at once, between two callbacks
or at a named crash point, and the world goes on around the dead process.
"""

from __future__ import annotations

import asyncio
import random
import weakref
from typing import TYPE_CHECKING

import async_solipsism  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Coroutine


class PowerCut(SystemExit):
    """The process is gone: a SystemExit, because that is what leaves an event loop in the middle of a task."""


class SeededLoop(async_solipsism.EventLoop):  # type: ignore[misc]
    """Shuffles what is ready, counts steps, and cuts the power at a step."""

    _ready: deque[asyncio.Handle]

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self.steps = 0
        self.cut_at: int | None = None
        """Step at which the power goes; None = never."""
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
        ready = self._ready
        self.steps += len(ready)
        if len(ready) > 1:
            shuffled = list(ready)
            self._rng.shuffle(shuffled)
            ready.clear()
            ready.extend(shuffled)
        if self.cut_at is not None and self.steps >= self.cut_at and not self.immune:
            self.cut_at = None
            raise PowerCut
        super()._run_once()


def run_world(loop: SeededLoop, main: asyncio.Task[None], on_cut: Callable[[], None]) -> None:
    """Run ``main`` to its end; every power cut is told to ``on_cut`` and the world goes on."""
    while True:
        try:
            loop.run_until_complete(main)
        except PowerCut:
            on_cut()
        else:
            return
