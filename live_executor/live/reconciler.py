"""Asks the broker regularly, whatever its stream says: orders every few seconds, positions, cash and activities every minute at most.

The queries alone keep the books right while the stream is down. After each new connection entries stay closed until a reconciliation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec.structs import replace

from hedgefund_core import errors
from hedgefund_core.live_account import lacks_buying_power
from hedgefund_core.trading import events as e
from hedgefund_core.trading.observed import OVER_TODAY, LinkChanged, LinkState, OrderSighting
from hedgefund_core.trading.order import Order, OrderStatus
from hedgefund_core.trading.reconcile import LIVE_CASH_TOLERANCE, rounding_bound
from hedgefund_core.trading.state import Level
from live_executor.live.floor import Floor
from live_executor.live.gates import ACCOUNT_BLOCKED, NOT_RECONCILED, ORDER_STREAM, Gates
from live_executor.live.instruments import Instruments
from live_executor.live.intake import CLOCKS_DIFFER, Intake
from live_executor.live.stopwatch import Stopwatch
from live_executor.logging import logger

_log = logger("reconciler")
_STEADY_READS = 3
"""Cash, positions and orders are three answers of different moments. They are read again, at most so often in all, until no news was
booked between the first and the last of them."""
_BURST = 20
"""With more working orders something is booked between any two reads, so reading again would only cost requests."""
_SOONEST = 0.001
"""Seconds. A shorter sleep may end a little too early by rounding, and would be repeated without end."""
_FEW = 3
"""Up to so many orders that a query did not show are looked up one by one."""
_PATIENCE = 3.0
"""Times `absence_seconds`: until then a difference may only mean that the activity list lags behind the positions."""
_GRACE_READS = 2
"""Reports after a new connection: what the second of them still finds is a real difference and no delay, and entries may go on (the
difference itself freezes its instrument)."""


class Reconciler:
    """Queries orders and books, and closes and opens the gates that depend on them."""

    def __init__(self, floor: Floor, gates: Gates, intake: Intake, instruments: Instruments) -> None:
        self._floor, self._gates, self._intake, self._instruments = floor, gates, intake, instruments
        self._orders_due, self._books_due = asyncio.Event(), asyncio.Event()
        self._sleepers: list[asyncio.Event] = []
        self._reports_since_link = 0
        self._link = LinkState.DOWN
        self._failures = 0
        self._freed = False
        """Whether an order has ended that may free buying power an entry waits for."""
        self._agreed, self._reported = False, Stopwatch(floor.timeline.local_now, started=False)
        self._searched: tuple[e.Difference, ...] = ()
        """The difference that the activity list was last read again for."""
        self._ghosts, self._told = set[str](), set[str]()
        self.reconciled_at: datetime | None = None
        self.open_at_broker: tuple[OrderSighting, ...] = ()
        self.orders_asked_at: datetime | None = None

    # ---- what others tell ----------------------------------------------------------------------------------------------

    def link_changed(self, change: LinkChanged) -> None:
        """The order stream went up or down. It repeats nothing, so what happened meanwhile has to be asked for."""
        tell = _log.info if change.state is LinkState.UP else _log.warning
        tell("order stream", state=change.state.value, reason=change.reason)
        self._link = change.state
        self._reports_since_link = 0
        if change.state is LinkState.UP:
            self._gates.set(NOT_RECONCILED, closed=True)
        self._gates.set(ORDER_STREAM, closed=change.state is not LinkState.UP)
        if change.state is LinkState.REFUSED:
            self._floor.trouble(f"the order stream is refused: {change.reason}", severity="critical")
        self.ask_now()

    def after_standstill(self) -> None:
        """The process was frozen for a while: everything is asked for, as after a new connection."""
        self._reports_since_link = 0
        self.ask_now()

    def ask_now(self) -> None:
        """Query orders and books as soon as possible."""
        self._orders_due.set()
        self._books_due.set()
        self._stir()

    def _stir(self) -> None:
        for sleeper in self._sleepers:
            sleeper.set()

    @property
    def stream_is_up(self) -> bool:
        """Whether the order stream is connected."""
        return self._link is LinkState.UP

    # ---- orders ----------------------------------------------------------------------------------------------------------

    async def watch_orders(self) -> None:
        """Query the orders for ever, more often while the state of one is uncertain."""
        while True:
            try:
                await self.read_orders()
                self._failures = 0
            except (errors.BrokerUnavailable, errors.OrderOutcomeUnknown) as error:
                self._failures += 1
                _log.warning("orders cannot be read", error=error.message, times=self._failures)
            await self._until(self._orders_due, self._order_seconds)

    def _order_seconds(self) -> float:
        settings, state = self._floor.settings, self._floor.state
        if self._failures:
            return self._floor.pause(self._failures, most=settings.orders_every_seconds)
        uncertain = any(order.status is OrderStatus.PENDING_CANCEL for order in state.working)
        emptying = state.ladder.level >= Level.CANCELLING and bool(self.open_at_broker)
        blind = not self.stream_is_up and bool(state.working)
        return settings.urgent_every_seconds if uncertain or emptying or blind else settings.orders_every_seconds

    async def read_orders(self) -> None:
        """One query: book the orders it shows, look up those it should show and does not, and repeat cancels that had no effect."""
        asked = self._floor.state.working
        since = self._since(asked)
        hears = self.stream_is_up and all(order.status is not OrderStatus.UNKNOWN for order in asked)
        missing = await self._read_since(asked, None if hears else since)
        if hears and len(missing) > _FEW:
            missing = await self._read_since(asked, since)  # one list is cheaper than a question for each order
        for order in missing:
            self._floor.hands.look_up(order.client_order_id)
        self._cancel_again()

    async def _read_since(self, asked: Sequence[Order], since: datetime | None) -> list[Order]:
        """Book the orders shown; returns those of ``asked`` that should be among them and are not."""
        asked_at = self._floor.now()
        seen = await self._floor.broker.orders(since=since)
        await self._intake.orders(seen)
        self.open_at_broker = tuple(sighting for sighting in seen if sighting.status not in OVER_TODAY)
        self.orders_asked_at = asked_at
        shown, known = {sighting.client_order_id for sighting in seen}, self._floor.state.orders
        left = [known[order.client_order_id] for order in asked if order.client_order_id in known and order.client_order_id not in shown]
        return [order for order in left if order.is_working and order.status is not OrderStatus.PENDING_NEW]

    def _since(self, working: Sequence[Order]) -> datetime | None:
        """When the oldest working order was submitted, with a margin for clocks that differ; None where none works."""
        oldest = min((order.submitted_at for order in working), default=None)
        return None if oldest is None else oldest - CLOCKS_DIFFER

    def _cancel_again(self) -> None:
        """Repeat cancels: a positive answer to one proves nothing until a query no longer shows the order as open."""
        state = self._floor.state
        for sighting in self.open_at_broker:
            order = state.orders.get(sighting.client_order_id)
            wanted = order is not None and order.status is OrderStatus.PENDING_CANCEL
            strangers_too = order is None and Level.CANCELLING <= state.ladder.level < Level.HALTED
            if wanted or strangers_too:
                self._floor.hands.cancel(sighting.client_order_id)
        self._lay_ghosts()

    def _lay_ghosts(self) -> None:
        """Cancel orders that have ended in our books and are open at the broker in two queries in a row.

        The broker accepted such an order late, after it had said that it did not have it.
        """
        known = self._floor.state.known_orders
        there = {sighting.client_order_id: sighting for sighting in self.open_at_broker}
        ghosts = {name for name in there if name in known and not known[name].is_working}
        for name in sorted(ghosts & self._ghosts):  # sorted, because a simulation has to come out the same twice and sets have no order
            order = replace(known[name], broker_order_id=there[name].broker_order_id)
            if name not in self._told:
                self._told.add(name)
                self._floor.trouble(
                    f"order {name} is {order.status.value} here and open at the broker: it is cancelled there", severity="critical"
                )
            self._floor.crew.start(f"cancel {name} at the broker", self._cancel_at_broker(order))
        self._ghosts = ghosts

    async def _cancel_at_broker(self, order: Order) -> None:
        if self._floor.state.ladder.level is Level.HALTED:
            return  # nothing leaves
        try:
            await self._floor.broker.cancel(order)
        except (errors.BrokerUnavailable, errors.OrderOutcomeUnknown) as error:
            _log.warning("cancel not taken, again with the next query", order=order.client_order_id, error=error.message)

    # ---- cash and positions -----------------------------------------------------------------------------------------------

    async def watch_books(self) -> None:
        """Ask for cash, positions and activities."""
        failures = 0
        while True:
            try:
                await self.read_books()
                failures = 0
            except (errors.BrokerUnavailable, errors.OrderOutcomeUnknown) as error:
                failures += 1
                _log.warning("books cannot be read", error=error.message, times=failures)
            await self._until(self._books_due, self._books_seconds(failures))

    def _books_seconds(self, failures: int) -> Callable[[], float]:
        settings, pause = self._floor.settings, self._floor.pause(failures)

        def seconds() -> float:
            state = self._floor.state
            proof_due = state.ladder.level is Level.FLATTENING and state.is_flat and not state.flat_confirmed
            waiting = NOT_RECONCILED in self._gates.closed or proof_due
            calm = settings.orders_every_seconds if self._freed else settings.books_every_seconds
            return pause if failures else settings.urgent_every_seconds if waiting else calm

        return seconds

    async def read_books(self) -> None:
        """Compare the broker's cash, positions and open orders with ours."""
        early = self._floor.settings.absence_seconds - self._reported.seconds
        if self._floor.state.suspected and early > 0.0:  # two reports within one delay would "confirm" it
            await self._floor.sleep(early)
        unheard = await self._activities()
        before, report = self._floor.state.broker_seq, await self._report()
        quiet = len(self._floor.state.working) <= _BURST
        for _ in range(_STEADY_READS - 1 if quiet else 0):
            if self._floor.state.broker_seq == before:
                break
            before, report = self._floor.state.broker_seq, await self._report()
        differs = self._differs(report)
        if unheard is not None and differs:
            raise unheard
        if differs and self._floor.state.suspected and self._reported.seconds < _PATIENCE * self._floor.settings.absence_seconds:
            return
        self._agreed = False
        self._reported.start()
        self._floor.take([replace(report, ts=self._floor.now(), last_broker_seq=self._floor.state.broker_seq)])
        if self._agreed or self._reports_since_link >= _GRACE_READS:
            self._gates.set(NOT_RECONCILED, closed=False)

    async def _activities(self) -> errors.BrokerUnavailable | None:
        """Book the activity list. Returns the error if it cannot be read: that only matters if the books differ.

        If cash or positions differed last time, the last days are read again before the difference counts. That is done once for
        each difference, because it can be many pages.
        """
        doubt = tuple(difference for difference in self._floor.state.suspected if difference.kind != "order")
        try:
            await self._intake.activities(again=bool(doubt) and doubt != self._searched)
            self._searched = doubt
        except errors.BrokerUnavailable as error:
            _log.warning("activities cannot be read", error=error.message)
            return error
        return None

    def _differs(self, report: e.BrokerReported) -> bool:
        state = self._floor.state
        cash = abs(state.ledger.cash - report.cash) > LIVE_CASH_TOLERANCE + rounding_bound(state.ledger)
        held = {key: position.quantity for key, position in state.ledger.positions.items() if position.quantity}
        return cash or held != {key: quantity for key, quantity in report.positions.items() if quantity}

    async def _report(self) -> e.BrokerReported:
        broker = self._floor.broker
        account, positions, orders = await asyncio.gather(broker.account(), broker.positions(), broker.orders())
        self._gates.set(ACCOUNT_BLOCKED, closed=bool(account.trouble))
        await self._intake.orders(orders)
        held = {key: position.quantity for key, position in (await self._instruments.held(positions)).items()}
        names = tuple(
            sorted(sighting.client_order_id or sighting.broker_order_id for sighting in orders if sighting.status not in OVER_TODAY)
        )
        return e.BrokerReported(
            ts=self._floor.now(),
            session=self._floor.state.session,
            cash=account.cash,
            buying_power=account.buying_power,
            positions=held,
            open_orders=names,
            last_broker_seq=self._floor.state.broker_seq,
            lagging=True,
        )

    def heard(self, frames: Sequence[e.Event]) -> None:
        """Hear of a commit: note whether a reconciliation has taken place and agreed, and whether buying power may be free."""
        self._stir()
        for frame in frames:
            if isinstance(frame, e.OrderFilled | e.OrderCanceled):
                self._freed |= lacks_buying_power(self._floor.state)
            elif isinstance(frame, e.Reconciled):
                self._freed = False
                self.reconciled_at = frame.ts
                self._reports_since_link += 1
                self._agreed = frame.ok

    # ---- waiting ------------------------------------------------------------------------------------------------------------

    async def _until(self, due: asyncio.Event, seconds: Callable[[], float]) -> None:
        """Sleep until ``due`` is set or the time is up. Each commit has the time computed anew, as it may have made the query urgent."""
        watch, stirred = Stopwatch(self._floor.timeline.local_now), asyncio.Event()
        self._sleepers.append(stirred)
        try:
            while not due.is_set() and (left := seconds() - watch.seconds) > 0.0:
                stirred.clear()
                await self._floor.nap(stirred, max(left, _SOONEST))
        finally:
            self._sleepers.remove(stirred)
        due.clear()
