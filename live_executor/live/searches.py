"""Looks up orders whose fate is not known, until the broker's evidence tells it.

The answer "no such order" is believed only if it is repeated, each time `absence_seconds` after the last one, because a broker may
accept an order late. An order that will be sent again under the same id needs fewer such answers: the broker accepts an id only once,
so a mistake does no harm. One whose place another order takes needs more of them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from hedgefund_core import errors
from hedgefund_core.machine.orders import is_sent_again
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Order, OrderStatus
from live_executor.clock import EPOCH
from live_executor.live.floor import Floor
from live_executor.live.intake import Intake
from live_executor.logging import logger

_log = logger("searches")
_ABSENCES, ABSENCES_FOR_GOOD = 3, 6
_DENIED_EVERY = timedelta(minutes=5)
_UNHEARD = frozenset({OrderStatus.PENDING_NEW, OrderStatus.UNKNOWN, OrderStatus.PENDING_CANCEL})


class Searches:
    """One search an order at a time."""

    def __init__(self, floor: Floor, intake: Intake) -> None:
        self._floor, self._intake = floor, intake
        self._running: set[str] = set()
        self._denied = dict[str, datetime]()
        """When an order is looked up again that the broker had and denies: its own word against its own word moves nothing here."""

    def ask(self, name: str) -> None:
        """Begin a search unless one runs, or the broker denied a moment ago what it had before."""
        if name not in self._running and self._floor.now() >= self._denied.get(name, EPOCH):
            self._running.add(name)
            self._floor.crew.start(f"look up {name}", self._search(name))

    @property
    def running(self) -> int:
        """How many searches run."""
        return len(self._running)

    async def _search(self, name: str) -> None:
        absences, tries = 0, 0
        try:
            while (order := self._floor.order(name)) is not None and order.is_working:
                tries += 1
                pause = self._floor.pause(tries)
                try:
                    found = await self._floor.broker.look_up(name)
                    if found is not None:
                        absences = 0
                        await self._intake.order(found)
                        if self._is_settled(name):
                            return
                    else:  # a clear answer, after which the next one needs no patience but the proof's distance
                        absences, tries, pause = absences + 1, 0, self._floor.settings.absence_seconds
                except (errors.BrokerUnavailable, errors.OrderOutcomeUnknown) as error:  # an answer that did not come is no absence
                    _log.warning("no evidence yet", order=name, error=error.message, tries=tries)
                now = self._floor.order(name)  # the stream may have told of its end while the broker was asked
                if now is not None and now.is_working and absences >= self._needed(now):
                    self._floor.take([e.OrderAbsent(ts=self._floor.now(), client_order_id=name)])
                    self._note_denied(now)
                    return
                await self._floor.sleep(max(pause, self._floor.settings.absence_seconds if absences else 0.0))
        finally:
            self._running.discard(name)

    def _note_denied(self, before: Order) -> None:
        """The machine has refused the absence where the order is as it was; people were told."""
        if self._floor.order(before.client_order_id) is before:
            left = {order.client_order_id for order in self._floor.state.working}
            self._denied = {name: at for name, at in self._denied.items() if name in left}
            self._denied[before.client_order_id] = self._floor.now() + _DENIED_EVERY

    def _needed(self, order: Order) -> int:
        """The first was too soon to count, the others follow each a proof's distance later."""
        return _ABSENCES if is_sent_again(self._floor.state, order) else ABSENCES_FOR_GOOD

    def _is_settled(self, name: str) -> bool:
        order = self._floor.order(name)
        return order is None or order.status not in _UNHEARD or (order.status is OrderStatus.PENDING_CANCEL and bool(order.broker_order_id))
