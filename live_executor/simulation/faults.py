"""Between the exchange and the executor: what is lost, late, doubled, garbled, refused or lied about, by plan.

A request is carried by the world and not by the process that made it: what has left arrives, even if its sender is dead by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from hedgefund_core.errors import BrokerUnavailable, OrderOutcomeUnknown, OrderRejected
from hedgefund_core.trading.observed import (
    AccountSighting,
    ActivitySighting,
    AssetSighting,
    BrokerUpdate,
    MarketClock,
    MarketDay,
    OrderSighting,
    PositionSighting,
)
from hedgefund_core.trading.order import Order
from live_executor.ports import Clock, MayLeave
from live_executor.simulation.link import TAKEBACKS, Door, SimulatedStream, takeback_name
from live_executor.simulation.plan import Fault, Kind
from live_executor.simulation.venue import Venue, VenueOrder

T = TypeVar("T")
PATIENCE = 0.6
"""Seconds until a request is given up."""
_MEND = "wait: it is a simulation"
_CALLS = (
    Kind.UNAVAILABLE, Kind.TIMEOUT_BEFORE, Kind.TIMEOUT_AFTER, Kind.LATE_ACCEPT, Kind.UNSEEN, Kind.SLOW, Kind.STALE, Kind.BLIND,
    Kind.REJECT,
)  # fmt: skip
_CANCELS = (Kind.CANCEL_NOOP, Kind.CANCEL_REFUSED, Kind.SLOW_CANCEL)
_READS = (Kind.UNAVAILABLE, Kind.SLOW, Kind.STALE)


class Weather:
    """Faults of the plan that wait to strike."""

    def __init__(self, faults: Sequence[Fault], time: Callable[[], float]) -> None:
        self._left = [[fault, fault.times] for fault in faults]
        self._time = time
        self.struck: dict[Kind, int] = {}
        self.calm = False
        """The world heals: nothing strikes any more."""

    def take(self, kinds: Sequence[Kind], *, route: str | None = None) -> Fault | None:
        """The first fault that is due and fits; it is used up by that."""
        if self.calm:
            return None
        now = self._time()
        for slot in self._left:
            fault, left = slot
            assert isinstance(fault, Fault) and isinstance(left, int)  # noqa: S101, PT018 - a pair by construction
            if left > 0 and fault.at <= now and fault.kind in kinds and (route is None or fault.route in {"", route}):
                slot[1] = left - 1
                self.struck[fault.kind] = self.struck.get(fault.kind, 0) + 1
                return fault
        return None

    def due(self, kinds: Sequence[Kind]) -> list[Fault]:
        """Every fault of a kind whose time has come, each once."""
        found = list[Fault]()
        while (fault := self.take(kinds)) is not None:
            found.append(fault)
        return found


class Wire:
    """What all processes of a run share: the way to the venue, its delays, and whoever watches it."""

    def __init__(self, venue: Venue, weather: Weather, rng: random.Random, spawn: Callable[[Coroutine[None, None, None]], None]) -> None:
        self.venue, self.weather, self.rng, self.spawn = venue, weather, rng, spawn
        self.on_accept: Callable[[VenueOrder], bool] = lambda _order: False
        """Told of each order the venue takes; True = its answer gets lost."""
        self.on_send: Callable[[Order], Fault | None] = lambda _order: None
        """What is to go wrong with this order, beside the plan's own."""
        self.unlisted: set[str] = set()
        """Orders that lists do not show yet."""
        self.absences: dict[str, list[float]] = {}
        """When the broker said of an order that it is not there, since its last send."""
        self.blinded: set[str] = set()
        self.late: set[str] = set()
        self.unseen: dict[str, datetime] = {}
        """Until when no query and no update knows of an order that the broker has."""
        self.on_takeback: Callable[[str], None] = lambda _name: None
        self.on_ask: Callable[[str], None] = lambda _name: None
        """Told of each question for the fills of an order; "" = of all."""
        self.happened: Callable[[str], None] = lambda _what: None
        """Told of what a fault found to strike."""
        venue.emit = self._emit
        self.door = Door(weather, rng, self.delay, self._note)
        """Where the order stream comes from."""

    def delay(self) -> float:
        """One way."""
        return 0.005 + self.rng.random() * 0.06

    def hide(self, name: str, seconds: float) -> None:
        """An order is taken and shown nowhere for a while; a night is longer than that."""
        self.late.add(name)
        self.unseen[name] = self.venue.now() + timedelta(seconds=seconds)
        self.door.silent.add(name)
        asyncio.get_running_loop().call_later(seconds, self.door.silent.discard, name)

    def is_seen(self, name: str) -> bool:
        """Whether queries know of an order."""
        return name not in self.unseen or self.venue.now() >= self.unseen[name]

    def _note(self, what: str) -> None:
        self.happened(what)

    def _emit(self, seen: OrderSighting | ActivitySighting) -> None:
        if isinstance(seen, OrderSighting) and seen.event in TAKEBACKS:
            self.on_takeback(takeback_name(seen))
        self.door.say(seen)


class _Line:
    """What a process is connected to the exchange with, and what it hears from there."""

    def __init__(
        self,
        wire: Wire,
        *,
        alive: Callable[[], None],
        clock: Clock,
        on_submit: Callable[[Order], None],
        on_done: Callable[[Order, bool], None],
        on_heard: Callable[[OrderSighting], None],
        aimed: bool = True,
    ) -> None:
        self._wire, self._alive, self._on_submit, self._on_done = wire, alive, on_submit, on_done
        self._stream = SimulatedStream(wire.door, clock, wire.rng, alive, on_heard)
        self._older: dict[str, object] = {}
        self._aimed = aimed
        """Whether the plan's aims are at its orders: not those of the short path."""

    async def updates(self) -> AsyncIterator[BrokerUpdate]:
        """The stream, by the product's own supervisor."""
        self._alive()
        async with contextlib.aclosing(self._stream.updates()) as updates:
            async for update in updates:
                yield update


class FaultyBroker(_Line):
    """The port ``LiveBroker`` of one process."""

    # ---- orders ------------------------------------------------------------------------------------------------------

    async def submit(self, order: Order, *, may_leave: MayLeave | None = None) -> OrderSighting:
        """Send once."""
        self._alive()
        if may_leave is not None and not may_leave():
            raise BrokerUnavailable("it may not leave any more", mend=_MEND)
        self._on_submit(order)
        self._wire.absences.pop(order.client_order_id, None)
        fault = (self._wire.on_send(order) if self._aimed else None) or self._wire.weather.take(_CALLS, route="submit")
        kind = None if fault is None else fault.kind
        await asyncio.sleep(self._wire.delay())
        if kind is Kind.UNAVAILABLE:
            self._on_done(order, False)
            raise BrokerUnavailable("too many requests", mend=_MEND)
        if kind is Kind.REJECT and order.client_order_id not in self._wire.venue.orders:  # an id that is there is recognized first
            self._on_done(order, False)
            raise OrderRejected("refused by the exchange", mend=_MEND)
        if kind is Kind.TIMEOUT_BEFORE:
            await asyncio.sleep(PATIENCE)
            raise OrderOutcomeUnknown("no answer", mend=_MEND)
        if kind is Kind.LATE_ACCEPT and fault is not None:
            return await self._accepted_late(order, fault.seconds)
        if kind is Kind.UNSEEN and fault is not None and order.client_order_id not in self._wire.venue.orders:
            self._wire.hide(order.client_order_id, fault.seconds)
        return await self._accepted(
            order, lost=kind in {Kind.TIMEOUT_AFTER, Kind.UNSEEN}, slow=fault.seconds if fault and kind is Kind.SLOW else 0.0
        )

    async def _accepted_late(self, order: Order, seconds: float) -> OrderSighting:
        async def arrive() -> None:
            await asyncio.sleep(PATIENCE + seconds)
            self._enter(order)

        self._wire.late.add(order.client_order_id)
        self._wire.spawn(arrive())
        await asyncio.sleep(PATIENCE)
        raise OrderOutcomeUnknown("no answer", mend=_MEND)

    def _enter(self, order: Order) -> VenueOrder | OrderRejected:
        try:
            return self._wire.venue.accept(order)
        except OrderRejected as error:
            return error

    async def _accepted(self, order: Order, *, lost: bool, slow: float) -> OrderSighting:
        answer = asyncio.get_running_loop().create_future()

        async def carry() -> None:
            await asyncio.sleep(self._wire.delay())
            entered = self._enter(order)
            swallowed = self._aimed and isinstance(entered, VenueOrder) and self._wire.on_accept(entered)
            if not answer.done() and not (lost or swallowed):
                await asyncio.sleep(self._wire.delay())
                if not answer.done():
                    answer.set_result(entered)

        self._wire.spawn(carry())
        await asyncio.sleep(slow)
        try:
            entered = await asyncio.wait_for(asyncio.shield(answer), PATIENCE)
        except TimeoutError:
            raise OrderOutcomeUnknown("no answer", mend=_MEND) from None
        self._alive()  # an answer that came at the moment of death takes the place of the cancel
        self._on_done(order, isinstance(entered, VenueOrder))
        if isinstance(entered, OrderRejected):
            raise entered
        found = self._seen(order.client_order_id)
        if found is None:
            raise OrderOutcomeUnknown("the broker has this id already and does not show it yet", mend=_MEND)
        return found

    def _seen(self, name: str) -> OrderSighting | None:
        return self._wire.venue.look_up(name) if self._wire.is_seen(name) else None

    async def cancel(self, order: Order) -> None:
        """Ask for a cancel."""
        fault = await self._way("cancel")
        venue, name = self._wire.venue, order.client_order_id
        if fault is not None and fault.kind is Kind.CANCEL_NOOP:
            return
        if fault is not None and fault.kind is Kind.CANCEL_REFUSED:
            venue.refuse_cancel(name)
        elif fault is not None and fault.kind is Kind.SLOW_CANCEL:
            self._wire.spawn(self._cancel_slowly(name, fault.seconds))
        else:
            venue.cancel(name)
        await asyncio.sleep(self._wire.delay())

    async def _cancel_slowly(self, name: str, seconds: float) -> None:
        """It is said to be on its way out, and may be filled meanwhile."""
        venue = self._wire.venue
        there = venue.orders.get(name)
        if there is not None and there.is_open and not there.word:
            venue.say_word(there, "pending_cancel")
            self._wire.happened("cancelled slowly")
        await asyncio.sleep(seconds)
        venue.cancel(name)

    async def cancel_all(self) -> None:
        """Ask for a cancel of everything."""
        await self._way("cancel")
        for order in self._wire.venue.open_orders():
            self._wire.venue.cancel(order.client_order_id)

    async def look_up(self, client_order_id: str) -> OrderSighting | None:
        """Evidence; it may lag once behind what was accepted."""
        self._wire.on_ask(client_order_id)
        fault = await self._way("look_up")
        found = self._seen(client_order_id)
        fresh = client_order_id not in self._wire.blinded | self._wire.late
        if fault is not None and fault.kind is Kind.BLIND and fresh:
            self._wire.blinded.add(client_order_id)
            found = None
        if found is None:
            self._wire.absences.setdefault(client_order_id, []).append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._wire.delay())
        return found

    # ---- reads -------------------------------------------------------------------------------------------------------

    async def _way(self, route: str) -> Fault | None:
        self._alive()
        kinds = (*_READS, *_CANCELS) if route == "cancel" else (*_READS, Kind.BLIND) if route == "look_up" else _READS
        fault = self._wire.weather.take(kinds, route=route)
        await asyncio.sleep(self._wire.delay())
        if fault is not None and fault.kind is Kind.UNAVAILABLE:
            raise BrokerUnavailable(f"{route}: HTTP 503", mend=_MEND)
        if fault is not None and fault.kind is Kind.SLOW:
            await asyncio.sleep(fault.seconds)
        return fault

    async def _read(self, route: str, answer: Callable[[], T]) -> T:
        """The answer of now, or an older one where reads lag; on its way back it ages a little."""
        fault = await self._way(route)
        found = answer()
        if fault is not None and fault.kind is Kind.STALE and route in self._older:
            found = self._older[route]  # type: ignore[assignment] # the same route answered it
        else:
            self._older[route] = found
        await asyncio.sleep(self._wire.delay())
        return found

    async def orders(self, *, since: datetime | None = None) -> list[OrderSighting]:
        """Open orders, and those that ended."""
        wire = self._wire

        def listed() -> list[OrderSighting]:
            shown = wire.venue.shown(since)
            return [order for order in shown if order.client_order_id not in wire.unlisted and wire.is_seen(order.client_order_id)]

        return await self._read("orders", listed)

    async def activities(self, after: str, *, since: datetime | None = None) -> list[ActivitySighting]:
        """The list."""
        self._wire.on_ask("")
        return await self._read("activities", lambda: [line for line in self._wire.venue.activities if line.activity_id > after])

    async def account(self) -> AccountSighting:
        """Cash."""
        return await self._read("account", self._wire.venue.account)

    async def positions(self) -> list[PositionSighting]:
        """Positions."""
        return await self._read("positions", self._wire.venue.held)

    async def asset(self, symbol: str) -> AssetSighting | None:
        """A name."""
        return await self._read("asset", lambda: self._wire.venue.asset(symbol))

    async def market_clock(self) -> MarketClock:
        """The market's time."""
        return await self._read("clock", self._wire.venue.market.hours.clock)

    async def market_days(self, first: str, last: str) -> list[MarketDay]:
        """The calendar."""
        days = self._wire.venue.market.hours.days
        return await self._read("days", lambda: [day for day in days if first <= day.session <= last])

    async def close(self) -> None:
        """Let go."""
