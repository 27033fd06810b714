"""Releases the pieces (children) of large orders on time. The machine has planned them; here only the seconds between them are counted."""

from __future__ import annotations

from collections.abc import Sequence

from hedgefund_core.trading import events as e
from live_executor.live.floor import Floor
from live_executor.live.prices import Prices


class Slices:
    """A clock for each parent order."""

    def __init__(self, floor: Floor, prices: Prices) -> None:
        self._floor, self._prices = floor, prices
        self._running: set[str] = set()

    def heard(self, frames: Sequence[e.Event]) -> None:
        """Hear of a commit: a routed order begins its clock."""
        for frame in frames:
            if isinstance(frame, e.OrderRouted):
                self._start(frame.parent_id)

    def resume(self) -> None:
        """After a start: parents that still have pieces to come."""
        for name in self._floor.state.parents:
            self._start(name)

    def _start(self, name: str) -> None:
        if name not in self._running:
            self._running.add(name)
            self._floor.crew.start(f"slices of {name}", self._count(name))

    async def _count(self, name: str) -> None:
        while (parent := self._floor.state.parents.get(name)) is not None and not parent.is_over:
            await self._floor.sleep(max(1.0, parent.route.seconds_between))
            if self._floor.timeline.is_open and name in self._floor.state.parents:
                await self._prices.see([parent.order.symbol])  # the machine judges and prices each piece at the quote of its moment
                self._floor.take([e.SliceDue(ts=self._floor.now(), parent_id=name, session=self._floor.state.session)])
        self._running.discard(name)
