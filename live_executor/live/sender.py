"""Sends what the machine asks for: cancels first, then orders that reduce a position, then orders that open one.

An order waits here from its journaled intent until it may leave. An entry waits until every gate is open and no reduction is left to
send; the second leg of a trade through zero waits for the first; a side waits until the cancel of the other side is confirmed. Each
order is sent once, and only a limited number is in flight. One that can no longer be sent as it was judged is withdrawn through the
machine, so that the journal says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hedgefund_core import errors
from hedgefund_core.trading import events as e
from hedgefund_core.trading.observed import OrderSighting
from hedgefund_core.trading.order import Leg, Order, OrderStatus, TimeInForce
from hedgefund_core.trading.state import Level
from live_executor.crash import crash_here
from live_executor.live.floor import Floor
from live_executor.live.gates import Gates
from live_executor.live.intake import Intake
from live_executor.live.searches import Searches
from live_executor.live.timeline import Timeline, opening_is_over
from live_executor.logging import logger

_log = logger("sender")
_TICK_SECONDS, _IDLE_SECONDS = 0.5, 60.0
_CANCELS_AT_ONCE = 4
_DOUBTFUL = frozenset({OrderStatus.PENDING_CANCEL, OrderStatus.UNKNOWN})
HOUSE = "executor"
"""Journaled as the person where the executor itself asks for something."""


class Sender:
    """Carries out the machine's commands (implements ``floor.Hands``)."""

    def __init__(self, floor: Floor, gates: Gates, intake: Intake, searches: Searches) -> None:
        self._floor, self._gates, self._intake, self._searches = floor, gates, intake, searches
        self._waiting: dict[str, Order] = {}
        self._cancels: dict[str, int] = {}
        self._tries: dict[str, int] = {}
        self._leaving: set[str] = set()
        self._canceling: set[str] = set()
        self._wake, self._filled = asyncio.Event(), asyncio.Event()
        self._time_passed = True

    # ---- the machine's hands ----------------------------------------------------------------------------------------

    def submit(self, order: Order) -> None:
        """Send an order as soon as it may leave; one whose request is in flight is not sent a second time."""
        if order.client_order_id in self._leaving:
            return
        self._wait(order)
        self._wake.set()

    def cancel(self, client_order_id: str) -> None:
        """Ask the broker for a cancel; an order that was not sent yet is simply withdrawn."""
        if self._waiting.pop(client_order_id, None) is not None:
            self._floor.take([e.OrderAbsent(ts=self._floor.now(), client_order_id=client_order_id)])
            return
        self._cancels.setdefault(client_order_id, 0)
        self._wake.set()
        self._filled.set()

    def look_up(self, client_order_id: str) -> None:
        """Find out what became of an order."""
        if client_order_id not in self._waiting and client_order_id not in self._leaving:
            self._searches.ask(client_order_id)

    # ---- the loop ----------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is on its way."""
        return not (self._waiting or self._cancels or self._leaving or self._canceling)

    def wake(self) -> None:
        """Check again what may leave: something that orders wait for may have changed."""
        self._wake.set()

    async def run(self) -> None:
        """Send what may leave, whenever something has changed."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._floor.fence()
            if self._floor.state.ladder.level is Level.HALTED or self._floor.desk.failed:
                continue  # nothing leaves, cancels and exits included
            if self._time_passed:
                self._time_passed = False
                self._withdraw_late()
            for name in self._cancels_to_go():
                self._floor.crew.start(f"cancel {name}", self._cancel(name))
            for order in self._orders_to_go():
                self._floor.crew.start(f"send {order.client_order_id}", self._send(order))

    async def tick(self) -> None:
        """While something waits, check twice a second whether it has waited too long."""
        while True:
            await self._floor.nap(self._filled, _IDLE_SECONDS)
            self._filled.clear()
            while self._waiting or self._cancels:
                await self._floor.sleep(_TICK_SECONDS)
                self._time_passed = True
                self._wake.set()

    def _cancels_to_go(self) -> Iterator[str]:
        for name in list(self._cancels):
            if len(self._canceling) >= _CANCELS_AT_ONCE:
                return
            if name not in self._canceling:
                self._canceling.add(name)
                yield name

    def _orders_to_go(self) -> Iterator[Order]:
        """Reductions first; an entry only when no reduction is left to send or still without an answer."""
        room, state = self._floor.settings.orders_in_flight, self._floor.state
        if not self._waiting or len(self._leaving) >= room:
            return
        moment = _Moment.of(self._floor.timeline)
        under_way = (state.orders.get(name) for name in (*self._waiting, *self._leaving))
        closing = {order.instrument_id for order in under_way if order is not None and order.leg is Leg.CLOSE}
        entries = not self._gates.closed and state.ladder.admits_entries
        in_the_way: dict[str, list[Order]] = {}
        for order in state.working:
            if order.leg is Leg.CLOSE or order.status in _DOUBTFUL:
                in_the_way.setdefault(order.instrument_id, []).append(order)
        for leg in (Leg.CLOSE, Leg.OPEN) if entries else (Leg.CLOSE,):
            for name, order in list(self._waiting.items()):
                if len(self._leaving) >= room:
                    return
                if order.leg is leg and self._may_leave(order, moment, in_the_way.get(order.instrument_id, ()), closing):
                    self._waiting.pop(name, None)
                    self._leaving.add(name)
                    yield order

    def _may_leave(self, order: Order, moment: _Moment, same: Sequence[Order], closing: set[str]) -> bool:
        """``same``: what may be in its way in its instrument; ``closing``: instruments with reductions that wait or are on their way."""
        current = self._floor.state.orders.get(order.client_order_id)
        if current is None or current.status is not OrderStatus.PENDING_NEW:
            return False
        if _must_wait_for_another(order, same) or moment.is_early(order) or self._too_late(order, moment):
            return False
        if order.leg is Leg.CLOSE:
            return self._floor.knows_the_books()
        return not closing or closing == {order.instrument_id}

    def _withdraw_late(self) -> None:
        """Withdraw orders that can no longer be sent as judged: their auction or session is over, or they waited too long for a gate."""
        if not self._waiting:
            return
        moment = _Moment.of(self._floor.timeline)
        for name, order in list(self._waiting.items()):
            current = self._floor.state.orders.get(name)
            if current is None or not current.is_working:
                self._waiting.pop(name, None)
            elif current.status is OrderStatus.PENDING_CANCEL:
                self.cancel(name)
            elif reason := self._too_late(order, moment):
                request = e.CancelRequested(ts=moment.now, request_id="", client_order_id=name, person=HOUSE, reason=reason)
                self._floor.take([request])

    def _too_late(self, order: Order, moment: _Moment) -> str:
        if order.leg is Leg.CLOSE and self._floor.state.ledger.quantity(order.instrument_id) * -order.side.sign < order.quantity:
            return "the position that it closes is no longer there"
        if moment.is_over(order):
            return f"its session or auction ({order.session}, {order.time_in_force.value}) is over and it never left"
        waited = moment.now - order.submitted_at
        waits = order.leg is Leg.OPEN and order.time_in_force is TimeInForce.DAY  # an auction order waits until its auction is over
        if waits and self._gates.closed and waited > timedelta(seconds=self._floor.settings.entries_wait_seconds):
            return f"entries were held too long: {'; '.join(sorted(self._gates.closed))}"
        return ""

    # ---- one order, one cancel -----------------------------------------------------------------------------------------

    async def _send(self, order: Order) -> None:
        name = order.client_order_id
        try:
            if not self._still_may_leave(order):
                self._wait(order)
                return
            crash_here("before_send")
            seen = await self._submit(order)
        except errors.OrderRejected as error:
            await self._intake.refused(name, error.message)
        except errors.OrderOutcomeUnknown as error:
            self._leaving.discard(name)
            self._floor.take([e.OrderOutcomeUnknown(ts=self._floor.now(), client_order_id=name, reason=error.message)])
        except errors.BrokerUnavailable as error:
            await self._later(order, error)
        else:
            crash_here("after_send")
            await self._intake.order_if_possible(seen)
        finally:
            self._leaving.discard(name)
            self._wake.set()
        if name not in self._waiting:
            self._tries.pop(name, None)
        current = self._floor.state.orders.get(name)
        if current is not None and current.status is OrderStatus.PENDING_CANCEL:
            self._cancels.setdefault(name, 0)  # asked for while it was on its way

    async def _submit(self, order: Order) -> OrderSighting:
        if order.symbol in self._floor.strange_names:
            raise errors.OrderRejected(f"the name {order.symbol} is another instrument's now: nothing is sent under it")
        return await self._floor.broker.submit(order, may_leave=lambda: self._still_may_leave(order))

    def _still_may_leave(self, order: Order) -> bool:
        """Asked before the request is made, and once more after its wait in the rate limit: a halt may have come meanwhile."""
        state, current = self._floor.state, self._floor.order(order.client_order_id)
        if not self._floor.fence() or self._floor.desk.failed or state.ladder.level is Level.HALTED:
            return False
        if current is None or current.status is not OrderStatus.PENDING_NEW:
            return False
        return order.leg is Leg.CLOSE or (state.ladder.admits_entries and not self._gates.closed)

    async def _later(self, order: Order, error: errors.BrokerUnavailable) -> None:
        """The request surely did nothing, so sending again is safe: try after a pause, if the order may still leave then."""
        name = order.client_order_id
        tries = self._tries[name] = self._tries.get(name, 0) + 1
        _log.warning("not sent, again soon", order=name, error=error.message, tries=tries)
        await self._floor.sleep(self._floor.pause(tries))
        current = self._floor.state.orders.get(name)
        if current is None or not current.is_working:
            return
        if current.status is OrderStatus.PENDING_CANCEL:
            self._cancels.pop(name, None)
            self._floor.take([e.OrderAbsent(ts=self._floor.now(), client_order_id=name)])
        else:
            self._wait(order)

    def _wait(self, order: Order) -> None:
        """Put an order among those that wait, and let `tick` watch its time."""
        self._waiting[order.client_order_id] = order
        self._filled.set()

    async def _cancel(self, name: str) -> None:
        try:
            await self._ask_to_cancel(name)
        except (errors.BrokerUnavailable, errors.OrderOutcomeUnknown) as error:
            tries = self._cancels.get(name, 0) + 1
            _log.warning("cancel not taken, again soon", order=name, error=error.message, tries=tries)
            await self._floor.sleep(self._floor.pause(tries, most=2.0))
            if name in self._cancels:
                self._cancels[name] = tries
        else:
            self._cancels.pop(name, None)
        finally:
            self._canceling.discard(name)
            self._wake.set()

    async def _ask_to_cancel(self, name: str) -> None:
        order = self._floor.order(name)
        if order is None:
            if self._floor.state.ladder.level >= Level.CANCELLING:
                await self._floor.broker.cancel_all()  # an order that is not ours can only be named this way
            return
        if not order.is_working or name in self._leaving:
            return  # a request in flight cannot be recalled: the cancel follows once the order is seen at the broker
        if not order.broker_order_id:
            found = await self._floor.broker.look_up(name)
            if found is None:
                self.look_up(name)  # does nothing if the order was sent again meanwhile
                return
            await self._intake.order(found)
            order = self._floor.order(name) or order
        if order.is_working:
            await self._floor.broker.cancel(order)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """Where the market stands, read once for all orders that wait."""

    now: datetime
    session: str
    is_open: bool
    takes_opening_orders: bool
    opening_is_over: bool

    @classmethod
    def of(cls, line: Timeline) -> _Moment:
        return cls(
            now=line.now(),
            session=line.session,
            is_open=line.is_open,
            takes_opening_orders=line.takes_opening_orders,
            opening_is_over=opening_is_over(line),
        )

    def is_early(self, order: Order) -> bool:
        """Whether it is for an auction whose orders the broker does not accept yet."""
        if order.time_in_force is TimeInForce.OPG:
            return not self.takes_opening_orders
        closing = order.time_in_force is TimeInForce.CLS
        return closing and not self.takes_opening_orders and not (self.is_open and order.session == self.session)

    def is_over(self, order: Order) -> bool:
        """Whether its session has ended, or its opening auction accepts no more orders."""
        over = order.session < self.session or (order.session == self.session and not self.is_open)
        return over or (order.time_in_force is TimeInForce.OPG and (order.session <= self.session or self.opening_is_over))


def _must_wait_for_another(order: Order, same: Sequence[Order]) -> bool:
    """Whether an opening leg still has its closing leg before it, or an order of the other side is being cancelled or looked for."""
    others = [other for other in same if other.client_order_id != order.client_order_id]
    closing = order.leg is Leg.OPEN and any(other.leg is Leg.CLOSE for other in others)
    crossing = any(other.side is not order.side and other.status in _DOUBTFUL for other in others)
    return closing or crossing
