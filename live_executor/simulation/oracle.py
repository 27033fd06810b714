"""What must hold whatever happens: told of every commit and every order that leaves, and comparing both books at the end.

It keeps a book of its own from the journal's frames, apart from the machine, so that the machine cannot be its own witness.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import ROUND_FLOOR, Decimal

import msgspec

from hedgefund_core.account import State, prices_of
from hedgefund_core.freezes import FROZEN_BY_STRANGER, causes_of
from hedgefund_core.live_account import MOST_REJECTIONS
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.order import Leg, Order, OrderStatus, Purpose
from hedgefund_core.trading.state import Level
from live_executor.simulation.venue import Venue, VenueOrder

_CENT = Decimal("0.01")
_ROOM = Decimal("1.1")
"""Prices move between a judgement and its check."""
_BLINK = 0.5
"""Seconds that the executor may take to notice that its stream is down."""
_OVER = (e.OrderCanceled, e.OrderExpired, e.OrderRejected, e.OrderReplaced, e.OrderAbsent)
_ENDED = {
    OrderStatus.FILLED: {"filled"},
    OrderStatus.CANCELED: {"canceled", "expired"},
    OrderStatus.EXPIRED: {"expired", "canceled"},
    OrderStatus.REJECTED: {"rejected"},
    OrderStatus.REPLACED: {"replaced"},
}


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """An invariant that did not hold."""

    invariant: str
    message: str
    at: float


class Oracle:
    """The witness of one run."""

    def __init__(self, time: Callable[[], float], state: Callable[[], State | None]) -> None:
        self._time, self._state = time, state
        self.breaks: list[Break] = []
        self.intended: dict[str, Order] = {}
        self._maybe_there: set[str] = set()
        self._positions: dict[str, Decimal] = {}
        self._fills: dict[tuple[str, str], e.OrderFilled | e.ExternalFilled] = {}
        self._splits: set[tuple[str, Decimal]] = set()
        self._latch = Level.ACTIVE
        self._numbers = 0
        self.shown: Callable[[str], bool] = lambda _name: False
        """Whether the broker would show an order to whoever asked twice."""
        self.proved_absent: Callable[[str], bool] = lambda _name: True
        """Whether the broker has said often and long enough that it does not have an order."""
        self.stream_down_for: Callable[[], float] = lambda: 0.0
        self.written_past_the_journal: Callable[[str], bool] = lambda _name: False
        """Whether the emergency log has an order."""
        self._announced: dict[str, e.SplitAnnounced] = {}
        self._cancels: set[str] = set()
        self._called_off: set[str] = set()
        self._overfilled: set[str] = set()
        self._filled: dict[str, Decimal] = {}

    def broken(self, invariant: str, message: str) -> None:
        """Remember a break; the first one names the run."""
        self.breaks.append(Break(invariant=invariant, message=message, at=round(self._time(), 3)))

    # ---- every commit ------------------------------------------------------------------------------------------------

    def committed(self, frames: Sequence[e.Event]) -> None:
        """Frames that are durable now; the state is still the one before them."""
        state = self._state()
        if state is not None:
            self._check_state(state)
            self._check_intents(state, frames)
        for frame in frames:
            self._take(frame)
            if isinstance(frame, e.NewsNotUnderstood) and frame.what.startswith("set aside"):
                self.broken("no message is poison", frame.what)
        if state is not None:
            self._check_worst_case(state, frames)

    def _take(self, frame: e.Event) -> None:
        match frame:
            case e.OrdersIntended(orders=orders):
                for order in orders:
                    if order.client_order_id in self.intended:
                        self.broken("I2 one intent, one id", f"{order.client_order_id} was intended twice")
                    self.intended[order.client_order_id] = order
            case e.OrderAbsent(client_order_id=name):
                self._check_absence(name)
            case e.HaltRequested(level=level):
                self._latch = max(self._latch, Level(min(max(level, 1), 4)))
            case e.ResumeRequested(person=person, reason=reason):
                self._latch = Level.ACTIVE if person.strip() and reason.strip() else self._latch
                self._overfilled.clear()
            case _:
                self._count(frame)
        if isinstance(frame, e.BrokerEvent):
            self._numbers += 1
            if frame.broker_seq != self._numbers:
                self.broken("I4 news is numbered without holes", f"news {frame.broker_seq} is number {self._numbers}")

    def _check_absence(self, name: str) -> None:
        if name in self._maybe_there and self.shown(name):
            self.broken("I9 unknown stays unknown until evidence", f"{name} is called absent, the broker shows it")
        elif name in self._maybe_there and not self.proved_absent(name):
            self.broken("I9 unknown stays unknown until evidence", f"{name} is called absent, the broker did not say so twice")
        self._maybe_there.discard(name)

    def _count(self, frame: e.Event) -> None:
        match frame:
            case e.OrderFilled(client_order_id=name, fill_id=fill_id) if name in self.intended:
                order = self.intended[name]
                if (name, fill_id) not in self._fills:
                    self._fills[name, fill_id] = frame
                    self._move(order.instrument_id, frame.quantity * order.side.sign)
                    self._filled[name] = self._filled.get(name, ZERO) + frame.quantity
                    if self._filled[name] > order.quantity:
                        self._overfilled.add(order.instrument_id)
            case e.ExternalFilled(broker_order_id=name, fill_id=fill_id):
                if (name, fill_id) not in self._fills:
                    self._fills[name, fill_id] = frame
                    self._move(frame.instrument_id, frame.quantity * frame.side.sign)
            case e.FillBusted(client_order_id=name, quantity=quantity) if name in self.intended:
                order = self.intended[name]
                self._move(order.instrument_id, -quantity * order.side.sign)
                self._filled[name] -= quantity
            case e.FillCorrected(client_order_id=name, quantity=quantity, new_quantity=fresh) if name in self.intended:
                order = self.intended[name]
                self._move(order.instrument_id, (fresh - quantity) * order.side.sign)
                self._filled[name] += fresh - quantity
            case e.PositionAdopted(instrument_id=key, quantity=quantity):
                self._positions[key] = quantity
            case _:
                self._count_others(frame)

    def _count_others(self, frame: e.Event) -> None:
        match frame:
            case e.SplitProcessed(instrument_id=key, ratio=ratio):
                self._split(key, ratio)
            case e.CancelRequested(request_id=request):
                self._cancels.add(request)
            case e.RequestAnswered(request_id=request, orders=names) if request in self._cancels:
                self._called_off.update(names)
            case e.SplitAnnounced(instrument_id=key):
                self._announced[key] = frame
            case e.BrokerReported(session=session, positions=positions):
                for key, split in self._announced.items():  # the report may tell of it before the list of activities does
                    held, theirs = self._positions.get(key, ZERO), positions.get(key, ZERO)
                    if split.session <= session and held != theirs and _in_new_shares(held, split.ratio) == theirs:
                        self._split(key, split.ratio)
            case _:
                pass

    def _move(self, key: str, signed: Decimal) -> None:
        self._positions[key] = self._positions.get(key, ZERO) + signed

    def _split(self, key: str, ratio: Decimal) -> None:
        if (key, ratio) not in self._splits:
            self._splits.add((key, ratio))
            self._positions[key] = _in_new_shares(self._positions.get(key, ZERO), ratio)

    def _check_state(self, state: State) -> None:
        for key in {*self._positions, *state.ledger.positions}:
            ours, counted = state.ledger.quantity(key), self._positions.get(key, ZERO)
            if ours != counted:
                self.broken("I3 position is the sum of distinct fills", f"{key}: {ours} booked, {counted} counted")
        if state.ladder.level < self._latch:
            self.broken("I6 a halt stands until a person resumes", f"{state.ladder.name} while {self._latch.name} was asked for")
        for key, parent in state.parents.items():
            children = [state.known_orders[name] for name in parent.children if name in state.known_orders]
            working = sum((order.remaining for order in children if order.is_working), ZERO)
            if working != parent.working:
                self.broken("parents are conserved", f"{key}: {parent.working} said to work, {working} do")

    # ---- what is decided ---------------------------------------------------------------------------------------------

    def _check_intents(self, state: State, frames: Sequence[e.Event]) -> None:
        """What a commit decides, with what it has opened, thawed and moved before."""
        gates, level, frozen = set(state.gates), state.ladder.name, {key: causes_of(state, key) for key in state.frozen}
        for frame in frames:
            match frame:
                case e.EntriesGated(cause=cause, closed=closed):
                    (gates.add if closed else gates.discard)(cause)
                case e.LadderMoved(after=after):
                    level = after
                case e.InstrumentThawed(instrument_id=key):
                    frozen.pop(key, None)
                case e.InstrumentFrozen(instrument_id=key, cause=cause):
                    frozen[key] = (*frozen.get(key, ()), cause)
                case e.OrdersIntended(orders=orders):
                    for order in orders:
                        self._check_intent(order, sorted(gates), level, frozen.get(order.instrument_id, ()))
                case _:
                    pass

    def _check_intent(self, order: Order, gates: Sequence[str], level: str, causes: Sequence[str]) -> None:
        if order.leg is Leg.OPEN and (gates or level != Level.ACTIVE.name.lower() or causes):
            why = f"{order.symbol}: gates {gates}, {level}, {causes}"
            self.broken("I5 no entry while gated, frozen or reducing", why)
        if order.leg is Leg.OPEN and order.instrument_id in self._overfilled:
            self.broken("an overfilled name is entered by nobody before a person", f"{order.side.value} {order.quantity} {order.symbol}")
        if FROZEN_BY_STRANGER in causes and order.purpose is Purpose.TARGETS:
            self.broken("a stranger's trade is never traded back", f"{order.side.value} {order.quantity} {order.symbol}")

    def _check_worst_case(self, state: State, frames: Sequence[e.Event]) -> None:
        """Every interleaving of fills after this commit: all working buys filled and no sell, or the other way round."""
        orders = [order for frame in frames if isinstance(frame, e.OrdersIntended) for order in frame.orders]
        entries = {order.instrument_id for order in orders if order.leg is Leg.OPEN}
        if not entries or state.mandate is None or state.equity <= ZERO:
            return
        over = {frame.client_order_id for frame in frames if isinstance(frame, _OVER)}
        filled = [(frame.client_order_id, frame.quantity) for frame in frames if isinstance(frame, e.OrderFilled)]
        gone = {name: sum((quantity for other, quantity in filled if other == name), ZERO) for name, _ in filled}
        prices, limits, gross = prices_of(state), state.mandate.limits, ZERO
        for key in (instrument.instrument_id for instrument in state.instruments):
            held, price = self._positions.get(key, ZERO), prices.get(key, ZERO)
            mine = [o for o in (*state.working, *orders) if o.instrument_id == key and o.client_order_id not in over]
            left = [(order.side.sign, order.remaining - gone.get(order.client_order_id, ZERO)) for order in mine]
            buys, sells = (sum((shares for sign, shares in left if sign == way), ZERO) for way in (1, -1))
            worst = max(abs(held + buys), abs(held - sells)) * price
            gross += worst
            if key in entries and worst > Decimal(str(limits.max_position_weight)) * state.equity * _ROOM:
                self.broken("I5 limits hold in every interleaving", f"{key}: {worst} of {state.equity} at worst")
        if gross > Decimal(str(limits.max_gross)) * state.equity * _ROOM:
            self.broken("I5 limits hold in every interleaving", f"gross {gross} of {state.equity} at worst")

    # ---- what leaves -------------------------------------------------------------------------------------------------

    def leaves(self, order: Order) -> None:
        """An order is on its way to the broker."""
        name, state = order.client_order_id, self._state()
        if name not in self.intended and order.leg is Leg.CLOSE and self.written_past_the_journal(name):
            return
        if name not in self.intended:
            self.broken("I1 nothing leaves without a durable intent", name)
        if name in self._maybe_there:
            self.broken("I9 unknown stays unknown until evidence", f"{name} was sent again without proof of absence")
        if name in self._called_off:
            self.broken("what was called off is not sent", name)
        self._maybe_there.add(name)
        if state is None:
            return
        level = state.ladder.level
        if level is Level.HALTED or (order.leg is Leg.OPEN and (state.gates or not state.ladder.admits_entries)):
            self.broken("I5 no entry leaves while gated or reducing", f"{name}: {sorted(state.gates)}, {state.ladder.name}")
        if order.leg is Leg.OPEN and self.stream_down_for() > _BLINK:
            self.broken("no entry leaves while the order stream is down", name)
        self._check_neighbours(order, state.working)

    def _check_neighbours(self, order: Order, working: Sequence[Order]) -> None:
        for other in working:
            if other.instrument_id != order.instrument_id or other.client_order_id == order.client_order_id:
                continue
            sent = other.client_order_id in self._maybe_there
            if sent and other.side is not order.side:
                self.broken("no order crosses our own", f"{order.client_order_id} against {other.client_order_id} ({other.status.value})")
            if sent and order.leg is Leg.OPEN and other.leg is Leg.CLOSE:
                self.broken("the leg to zero is over before the one beyond it", f"{order.symbol}: {other.status.value}")

    def surely_not_there(self, order: Order) -> None:
        """The broker said that it did nothing with it."""
        self._maybe_there.discard(order.client_order_id)

    def stopped(self, level: Level, venue: Venue, late: Collection[str]) -> None:
        """The short path says that nothing is left, while the executor stands still: then nothing is."""
        left = [order.client_order_id for order in venue.open_orders() if order.client_order_id not in late]
        held = {symbol: quantity for symbol, quantity in venue.positions.items() if quantity}
        if left:
            self.broken("what is verified is so", f"open at the broker: {', '.join(left)}")
        if level is Level.FLATTENING and held and not late:
            self.broken("what is verified is so", f"held at the broker: {_plain(held)}")

    # ---- the end -----------------------------------------------------------------------------------------------------

    def compare(self, state: State, venue: Venue, taken_back: Mapping[str, bool]) -> None:
        """Both books, order by order and to the cent, once the world has healed."""
        self._check_state(state)
        self._compare_orders(state, venue, {name.partition("@")[0] for name, heard in taken_back.items() if not heard})
        symbols = {i.instrument_id: i.instrument_id.removeprefix("id-") for i in state.instruments}  # whatever their names are
        ours = {symbols[key]: p.quantity for key, p in state.ledger.positions.items() if p.quantity}
        theirs = {symbol: quantity for symbol, quantity in venue.positions.items() if quantity}
        if ours != theirs:
            self.broken("I3 positions are the broker's", f"ours {_plain(ours)}, the broker's {_plain(theirs)}")
        if abs(state.ledger.cash - venue.cash) >= _CENT:
            self.broken("I3 cash is the broker's", f"ours {state.ledger.cash}, the broker's {venue.cash}")
        if state.suspected:
            self.broken("reconciled", f"{state.suspected}")
        if all(taken_back.values()) and any("differs" in cause for cause in state.frozen.values()):
            self.broken("reconciled", f"{state.frozen}")
        barred = {symbols.get(key.partition("|")[0], "") for key, count in state.rejections.items() if count >= MOST_REJECTIONS}
        # with a closing order in the market until the last close, it stays armed for the next session
        tried = {o.symbol for o in venue.orders.values() if o.status == "expired" and o.updated_at >= venue.market.hours.last_close}
        if state.ladder.level is Level.FLATTENING and set(ours) - barred - tried:
            self.broken("a flattening reaches flat", _plain(ours))

    def _compare_orders(self, state: State, venue: Venue, unheard: set[str]) -> None:
        known = state.known_orders
        for name, theirs in venue.orders.items():
            if theirs.external or name in unheard:
                continue
            order = known.get(name)
            if order is None:
                self.broken("I1 nothing leaves without a durable intent", f"the broker has {name}")
            elif order.filled_quantity != theirs.filled:
                self.broken("I3 fills are the broker's", f"{name}: ours {order.filled_quantity}, the broker's {theirs.filled}")
            elif order.is_working != theirs.is_open or (not order.is_working and not _ended_alike(order, theirs)):
                self.broken("orders end as they ended", f"{name}: ours {order.status.value}, the broker's {theirs.status}")
        for order in state.working:
            waits = order.session > state.session and order.client_order_id not in self._maybe_there  # for its window
            if order.client_order_id not in venue.orders and not waits:
                self.broken("no order stays unknown", f"{order.client_order_id} is {order.status.value}, the broker has none")


def _ended_alike(order: Order, theirs: VenueOrder) -> bool:
    """Of an order that was given up as absent, and did nothing at the broker before it was over there, nobody learns how it ended."""
    return theirs.status in _ENDED.get(order.status, set()) or not (order.broker_order_id or theirs.filled)


def _in_new_shares(held: Decimal, ratio: Decimal) -> Decimal:
    return abs(held * ratio).to_integral_value(rounding=ROUND_FLOOR).copy_sign(held)


def _plain(rows: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{key} {value:f}" for key, value in sorted(rows.items())) or "nothing"
