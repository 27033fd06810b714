"""Rare moments on purpose: an order is led into a state and met by a move there, or the power goes once the broker has got so far.

Chance alone meets a late fill of an expired order once in thousands of runs. A scene asks for an order as a person does, keeps the
exchange's hands off it until it is where the plan wants it, and strikes. What happens then is the executor's own business. A scene
that gets nowhere (the account is halted, the name frozen, the power gone) is given up; nothing depends on its success.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from decimal import Decimal
from typing import TYPE_CHECKING

from hedgefund_core.trading.order import TERMINAL, Order, OrderMove, OrderStatus
from hedgefund_core.trading.state import Level
from live_executor.simulation.pace import PROOF_SECONDS
from live_executor.simulation.plan import SYMBOLS, Fault, Kind
from live_executor.simulation.venue import VenueOrder

if TYPE_CHECKING:
    from live_executor.simulation.director import Director
    from live_executor.simulation.world import World

Script = Generator[None, None, None]
_S, _M = OrderStatus, OrderMove
_PATIENCE, _STEADY_SECONDS, _AGAIN_SECONDS = PROOF_SECONDS + 3.0, 0.2, 1.2
_SHARES = 24
_SLOW_SECONDS = 0.5
_UNLISTED_SECONDS = 0.8
"""A list lags for longer than a request is waited for."""
_UNHEARD = frozenset({_S.PENDING_NEW, _S.UNKNOWN})
_TAKEBACKS = frozenset({_M.BUST, _M.CORRECT})
_WORDS = {
    _S.CANCELED: "canceled", _S.EXPIRED: "expired", _S.REJECTED: "rejected", _S.DONE_FOR_DAY: "done_for_day",
    _M.CANCEL: "canceled", _M.EXPIRE: "expired", _M.REJECT: "rejected", _M.END_DAY: "done_for_day",
}  # fmt: skip


@dataclasses.dataclass(slots=True, kw_only=True, eq=False)
class Part:
    """The next order that leaves in a name."""

    symbol: str
    shares: int
    asked_at: float = 0.0
    name: str = ""
    ways: list[Fault] = dataclasses.field(default_factory=list)
    """What goes wrong with its next sends, one each."""
    lost: bool = False
    """Its answer never comes, and the stream says nothing of it."""
    unspoken: bool = False
    """Only the stream says nothing of it."""
    on_taken: Callable[[VenueOrder], None] = lambda _order: None
    on_sent: Callable[[Order], None] = lambda _order: None


@dataclasses.dataclass(slots=True)
class _Running:
    fault: Fault
    script: Script
    until: float


class Scenes:
    """What is being played."""

    def __init__(self, world: World, director: Director) -> None:
        self._world, self._director = world, director
        self._running: list[_Running] = []
        self._cuts: list[Fault] = []
        self._waiting: list[Fault] = []
        self._parts: list[Part] = []
        self._serial = 0
        world.wire.on_accept, world.wire.on_send = self._on_accept, self._on_send
        self._unheard: dict[tuple[OrderStatus, OrderMove], Callable[[Part], Script]] = {
            (_S.PENDING_NEW, _M.REJECT): self._refused,
            (_S.PENDING_NEW, _M.LOSE): self._never_there,
            (_S.PENDING_NEW, _M.CANCEL_REQUEST): self._lost_while_canceled,
            (_S.UNKNOWN, _M.ABSENT): self._never_there,
            (_S.UNKNOWN, _M.ACCEPT): self._found,
            (_S.UNKNOWN, _M.REJECT): self._found_refused,
            (_S.UNKNOWN, _M.CANCEL_REQUEST): self._asked_to_cancel,
            (_S.UNKNOWN, _M.CANCEL): self._halted,
            (_S.UNKNOWN, _M.EXPIRE): self._over_by_then,
            (_S.PENDING_CANCEL, _M.LOSE): self._lost_while_canceled,
            (_S.PENDING_CANCEL, _M.ACCEPT): self._lost_while_canceled,
            (_S.PENDING_CANCEL, _M.ABSENT): self._absent_while_canceled,
            (_S.CANCELED, _M.ACCEPT): self._there_after_all,
            (_S.EXPIRED, _M.ACCEPT): self._there_after_the_close,
        }

    # ---- their life --------------------------------------------------------------------------------------------------

    def add(self, fault: Fault) -> None:
        """Play it from now on; power cuts one after the other, because each wants the newest order for itself."""
        if fault.kind is Kind.CRASH:
            self._waiting.append(fault)
        else:
            self._begin(fault, self._move(fault))

    def advance(self) -> None:
        """Everything goes on as far as it can."""
        now = self._world.loop.time()
        if self._waiting and not self._cuts:
            fault = self._waiting.pop(0)
            self._cuts.append(fault)
            self._begin(fault, self._cut(fault))
        for running in tuple(self._running):
            if now >= running.until:
                running.script.close()
                self._running.remove(running)
                continue
            try:
                next(running.script)
            except StopIteration:
                self._running.remove(running)

    def end(self) -> None:
        """The storm is over."""
        for running in self._running:
            running.script.close()
        self._running.clear()
        self._waiting.clear()
        self._cuts.clear()
        self._parts.clear()

    def wants_cut(self, point: str, outcome: str) -> bool:
        """Whether the power goes here."""
        wanted = next((fault for fault in self._cuts if fault.route == point and fault.text == outcome), None)
        if wanted is None:
            return False
        self._cuts.remove(wanted)
        return True

    def _begin(self, fault: Fault, script: Script) -> None:
        self._running.append(_Running(fault, script, self._world.loop.time() + (fault.seconds or _PATIENCE)))

    # ---- orders on their way -----------------------------------------------------------------------------------------

    def _on_send(self, order: Order) -> Fault | None:
        waiting = (part for part in self._parts if part.name == order.client_order_id or (not part.name and part.symbol == order.symbol))
        part = next(waiting, None)
        if part is None:
            return None
        part.name = order.client_order_id
        if part.lost or part.unspoken:
            self._world.wire.door.silent.add(order.client_order_id)
        part.on_sent(order)
        return part.ways.pop(0) if part.ways else None

    def _on_accept(self, order: VenueOrder) -> bool:
        part = next((part for part in self._parts if part.name == order.client_order_id), None)
        if part is None or not order.is_open:  # sent again, it is there already and may be over
            return False
        order.stuck = True
        if part.lost:
            self._world.wire.unlisted.add(order.client_order_id)
            self._world.loop.call_later(_UNLISTED_SECONDS, self._world.wire.unlisted.discard, order.client_order_id)
        part.on_taken(order)
        return part.lost

    def _ask(self, fault: Fault, *, other: bool = False) -> Part:
        """A person asks for an order in a name of the plan's choice, or in the next one."""
        symbol = SYMBOLS[(SYMBOLS.index(fault.symbol or SYMBOLS[0]) + other) % len(SYMBOLS)]
        part = Part(symbol=symbol, shares=_SHARES if fault.number >= 0 else -_SHARES)
        self._parts.append(part)
        self._place(part)
        return part

    def _place(self, part: Part) -> None:
        self._serial += 1
        part.asked_at = self._world.loop.time()
        self._director.place(f"s{self._serial}", part.symbol, part.shares)

    def _left(self, part: Part) -> bool:
        """Whether it has left; a person who was refused asks again."""
        if not part.name and self._is_open() and self._world.loop.time() > part.asked_at + _AGAIN_SECONDS:
            self._place(part)
        return bool(part.name)

    def _release(self, part: Part) -> None:
        if part in self._parts:
            self._parts.remove(part)
        order = self._world.venue.orders.get(part.name)
        if order is not None:
            order.stuck = order.deaf = False
        self._world.wire.door.silent.discard(part.name)

    def _ours(self, part: Part) -> Order | None:
        """The order as the running process has it."""
        state = self._world.state
        return None if state is None or not part.name else state.known_orders.get(part.name)

    # ---- waiting -----------------------------------------------------------------------------------------------------

    def _ready(self) -> Script:
        """Until a person's order would go out: the session runs, every gate is open and stays so (a new process closes them first)."""
        since = None
        while since is None or self._world.loop.time() < since + _STEADY_SECONDS:
            since = (since or self._world.loop.time()) if self._is_open() else None
            yield

    def _is_open(self) -> bool:
        state = self._world.state
        return state is not None and self._world.hours.is_open and not state.gates and state.ladder.admits_entries

    def _taken(self, part: Part) -> Generator[None, None, VenueOrder]:
        """Until the broker has it."""
        while not self._left(part) or (order := self._world.venue.orders.get(part.name)) is None:
            yield
        return order

    def _until(self, part: Part, *statuses: OrderStatus) -> Script:
        """Until the executor has it in one of these states, with all that is filled of it."""
        while not self._left(part) or (order := self._ours(part)) is None or order.status not in statuses or self._lags(order):
            yield

    def _lags(self, order: Order) -> bool:
        theirs = self._world.venue.orders.get(order.client_order_id)
        return theirs is not None and theirs.filled != order.filled_quantity

    def _pause(self, seconds: float) -> Script:
        until = self._world.loop.time() + seconds
        while self._world.loop.time() < until:
            yield

    # ---- moves -------------------------------------------------------------------------------------------------------

    def _move(self, fault: Fault) -> Script:
        """An order is led into a state and meets a move there."""
        status, how = OrderStatus(fault.status), OrderMove(fault.move)
        yield from self._ready()
        part = self._ask(fault)
        try:
            unheard = self._unheard.get((status, how))
            if unheard is not None:
                yield from unheard(part)
            elif status in _UNHEARD:
                yield from self._until(part, *TERMINAL)
            else:
                yield from self._lead(part, status, how)
                self._strike(part, how)
            yield from self._pause(_SLOW_SECONDS)
        finally:
            self._release(part)
            if how is _M.REPLACE or status is _S.REPLACED:
                self._director.resume()  # its stand-in is a stranger's: the name is frozen until a person has looked

    def _lead(self, part: Part, status: OrderStatus, how: OrderMove) -> Script:
        venue = self._world.venue
        order = yield from self._taken(part)
        yield from self._until(part, _S.ACCEPTED)
        if status is _S.PARTIALLY_FILLED or (how in _TAKEBACKS and status is not _S.FILLED):
            venue.fill(order, _half(order))
            yield from self._until(part, _S.PARTIALLY_FILLED)
        if status is _S.FILLED:
            venue.fill(order, order.remaining)
        elif status is _S.PENDING_CANCEL:
            order.deaf = True
            self._director.ask_to_cancel(part.name)
        elif status is _S.REPLACED:
            venue.replace(order)
        elif status in _WORDS:
            venue.end(order, _WORDS[status], reason="refused after all" if status is _S.REJECTED else "")
        yield from self._until(part, status)

    def _strike(self, part: Part, how: OrderMove) -> None:
        venue = self._world.venue
        order = venue.orders[part.name]
        if how is _M.CANCEL_REQUEST:
            self._director.ask_to_cancel(part.name)
        elif how is _M.FILL_PART:
            venue.fill(order, _half(order))
        elif how is _M.FILL_REST:
            venue.fill(order, order.remaining)
        elif how is _M.REPLACE:
            venue.replace(order)
        elif how in _TAKEBACKS and order.standing:
            (venue.bust if how is _M.BUST else venue.correct)(order)
        elif how in _WORDS and order.status == "filled" and order.standing:
            order.status = _WORDS[how]  # what was taken back of it trades no more
            venue.bust(order)
        elif how in _WORDS and order.is_open:
            venue.end(order, _WORDS[how], reason="refused after all" if how is _M.REJECT else "")

    # ---- moves of orders of which nothing was heard ------------------------------------------------------------------

    def _refused(self, part: Part) -> Script:
        part.ways.append(Fault(kind=Kind.REJECT))
        yield from self._until(part, _S.REJECTED)

    def _never_there(self, part: Part) -> Script:
        part.ways.append(Fault(kind=Kind.TIMEOUT_BEFORE))
        yield from self._until(part, *TERMINAL, _S.ACCEPTED, _S.PARTIALLY_FILLED)

    def _found(self, part: Part) -> Script:
        part.lost = True
        yield from self._until(part, *TERMINAL, _S.ACCEPTED)

    def _found_refused(self, part: Part) -> Script:
        part.lost = True
        part.on_taken = lambda order: self._world.venue.end(order, "rejected", reason="refused after all")
        yield from self._until(part, _S.REJECTED)

    def _asked_to_cancel(self, part: Part) -> Script:
        yield from self._lost_and_unknown(part)
        self._director.ask_to_cancel(part.name)
        yield from self._until(part, *TERMINAL, _S.ACCEPTED)

    def _halted(self, part: Part) -> Script:
        """What must not be sent any more is not sent again."""
        yield from self._lost_and_unknown(part)
        self._director.halt(Level.REDUCING)
        try:
            yield from self._until(part, *TERMINAL)
        finally:
            self._director.resume()

    def _over_by_then(self, part: Part) -> Script:
        """Its session is over before it is sure that it is not there."""
        yield from self._lost_and_unknown(part)
        yield from self._until(part, *TERMINAL)

    def _lost_and_unknown(self, part: Part) -> Script:
        part.ways.append(Fault(kind=Kind.TIMEOUT_BEFORE))
        yield from self._until(part, _S.UNKNOWN)

    def _lost_while_canceled(self, part: Part) -> Script:
        part.lost = True
        part.on_sent = self._cancel_at_once
        yield from self._until(part, *TERMINAL)

    def _absent_while_canceled(self, part: Part) -> Script:
        part.ways.append(Fault(kind=Kind.TIMEOUT_BEFORE))
        part.on_sent = self._cancel_at_once
        yield from self._until(part, _S.CANCELED)

    def _there_after_all(self, part: Part) -> Script:
        """The broker takes it after it was proved absent."""
        sent = self._lost(part, self._cancel_at_once)
        yield from self._until(part, _S.CANCELED)
        self._world.venue.take_late(sent[0])

    def _there_after_the_close(self, part: Part) -> Script:
        """The broker had it in time and tells of it when the session is over; in the next one an order of the day trades no more."""
        sent = self._lost(part)
        yield from self._until(part, _S.EXPIRED)
        if not self._world.hours.is_open:
            self._world.venue.take_late(sent[0])

    def _lost(self, part: Part, then: Callable[[Order], None] | None = None) -> list[Order]:
        """The orders that the part sends: none arrives before its script lets it."""
        sent = list[Order]()

        def note(order: Order) -> None:
            self._world.wire.late.add(order.client_order_id)
            sent.append(order)
            if then is not None:
                then(order)

        part.ways.append(Fault(kind=Kind.TIMEOUT_BEFORE))
        part.on_sent = note
        return sent

    def _cancel_at_once(self, order: Order) -> None:
        self._director.ask_to_cancel(order.client_order_id)

    # ---- power cuts --------------------------------------------------------------------------------------------------

    def _cut(self, fault: Fault) -> Script:
        """The power goes at a point while the broker has our newest order so far."""
        parts = list[Part]()
        try:
            if fault.text != "none":
                yield from self._ready()
                yield from self._newest(fault, parts)
            while fault in self._cuts:
                yield
        finally:
            if fault in self._cuts:
                self._cuts.remove(fault)
            for part in parts:
                self._release(part)

    def _newest(self, fault: Fault, parts: list[Part]) -> Script:
        """Our newest order is where the plan wants it; where its own news does not pass the point, an older order's does."""
        older = self._ask(fault, other=True) if _needs_older(fault.route, fault.text) else None
        if older is not None:
            parts.append(older)
            yield from self._hold_back(older, fault.route)
        newest = self._ask(fault)
        parts.append(newest)
        if fault.text == "absent":
            newest.ways.append(Fault(kind=Kind.TIMEOUT_BEFORE))
            while not self._left(newest) and fault in self._cuts:
                yield
        else:
            newest.on_taken = lambda order: self._bring(order, fault.text)
            yield from self._taken(newest)
        if older is not None and fault.route in {"before_fill", "after_fill"}:
            order = self._world.venue.orders[older.name]
            self._world.venue.fill(order, _half(order))

    def _hold_back(self, older: Part, point: str) -> Script:
        """An older order that passes a point a little later."""
        if point == "before_send":
            older.ways.append(Fault(kind=Kind.UNAVAILABLE))
        elif point in {"after_send", "after_acknowledgement"}:
            older.ways.append(Fault(kind=Kind.SLOW, seconds=_SLOW_SECONDS))
            older.unspoken = True
        while not self._left(older):
            yield
        if point in {"before_fill", "after_fill"}:
            yield from self._until(older, _S.ACCEPTED)

    def _bring(self, order: VenueOrder, outcome: str) -> None:
        venue = self._world.venue
        if outcome in {"partly", "ended"}:
            venue.fill(order, _half(order))
        if outcome == "filled":
            venue.fill(order, order.remaining)
        if outcome == "ended" and order.is_open:  # the half of one share is all of it
            venue.end(order, "canceled")


def _half(order: VenueOrder) -> Decimal:
    return max((order.remaining / 2).to_integral_value(), Decimal(1))


def _needs_older(point: str, outcome: str) -> bool:
    if point == "before_send":
        return outcome != "absent"
    if point in {"before_fill", "after_fill"}:
        return outcome in {"absent", "working"}
    return point in {"after_send", "after_acknowledgement"} and outcome == "absent"
