"""Fills told after others that were not: those have to be asked for at once, not when the next round of questions comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

from hedgefund_core.trading.observed import OrderSighting

_AT_ONCE = 1.0
"""Seconds from an update that leaves a hole to a question about it: the wait for what is on its way is a third of it."""


class Holes:
    """The holes that a running process was told of and has not asked about."""

    def __init__(self, time: Callable[[], float], booked: Callable[[str], Decimal | None]) -> None:
        self._time, self._booked = time, booked
        self._open: dict[str, tuple[float, Decimal]] = {}

    def told(self, seen: OrderSighting) -> None:
        """The process reads an update: what was filled before it may be missing."""
        if seen.fill is None or seen.fill.cumulative_quantity is None:
            return
        before = seen.fill.cumulative_quantity - seen.fill.quantity
        if self._is_missing(seen.client_order_id, before):
            self._open.setdefault(seen.client_order_id, (self._time(), before))

    def asked(self, name: str = "") -> None:
        """The process asks for the fills of one order, or of all."""
        for key in (name,) if name else tuple(self._open):
            self._open.pop(key, None)

    def wait(self) -> None:
        """The process stands still, or another one has begun: nobody can ask."""
        self._open.clear()

    def overdue(self) -> Iterator[str]:
        """Orders whose missing fills nobody has asked for in time; each is told once."""
        for name, (since, before) in tuple(self._open.items()):
            if not self._is_missing(name, before):
                del self._open[name]
            elif self._time() - since > _AT_ONCE:
                del self._open[name]
                yield name

    def _is_missing(self, name: str, before: Decimal) -> bool:
        booked = self._booked(name)
        return booked is not None and booked < before
