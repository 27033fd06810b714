"""What follows from orders that move: the leg beyond zero, the order behind a cancel, the next piece of a parent, the order in new shares.

Nothing here waits for a clock: a fill, an end or fresh prices set it going, and what a session leaves over is dropped and said.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from hedgefund_core.account_state import Pending, Quotes, Refused, Reissue, State, column_of
from hedgefund_core.commands import Command, Record, SubmitOrder
from hedgefund_core.freezes import FROZEN_BY_STRANGER, causes_of
from hedgefund_core.live_account import counted, is_fresh, live_decision_inputs
from hedgefund_core.machine.flatten import count_rejections, keep_flattening
from hedgefund_core.machine.ladders import Step, alert, cancel_orders
from hedgefund_core.machine.send import recorded
from hedgefund_core.session_orders import Made, Plan, Wanted, child_of, in_new_shares, judge_plan, reissued
from hedgefund_core.trading import events as e
from hedgefund_core.trading import router
from hedgefund_core.trading.instrument import ONE, ZERO
from hedgefund_core.trading.order import Order, OrderStatus, Purpose, TimeInForce
from hedgefund_core.trading.rebalance import intents_toward
from hedgefund_core.trading.state import Level

_REDUCES_AT_MOST = frozenset({Level.ACTIVE, Level.REDUCING})


# ---- a decision goes out -------------------------------------------------------------------------------------------------------


def sent(state: State, made: Made, event: e.Event) -> Step:
    """Journal a decision, then its orders, then send; a tick that changes nothing says nothing."""
    plan, decision = made.plan, made.decision
    denied = tuple(Refused(instrument_id=o.instrument_id, side=o.side, rule=o.denied_by) for o in decision.denied)
    dropped = {key: parent for key, parent in state.parents.items() if key not in plan.dropped}
    said_before = set(denied) <= set(state.refused)
    if not decision.allowed and not plan.cancels and said_before:
        return replace(state, pending={**state.pending, **plan.pending}, parents=dropped, refused=denied), []
    commands = recorded(decision, event)
    parents = dict(dropped)
    children = {order.instrument_id: order for order in decision.allowed}
    for parent in made.parents:
        child = children[parent.order.instrument_id]
        parents[parent.order.client_order_id] = router.released(parent, child)
        commands.append(Record(_routed(parent, event)))
    waiting = {key: pending for key, pending in plan.pending.items() if _still_makes_sense(pending, state, decision.denied)}
    orders = {**state.orders, **{order.client_order_id: order for order in decision.allowed}}
    state = replace(
        state, orders=orders, parents=parents, pending={**state.pending, **waiting}, decisions=state.decisions + 1, refused=denied
    )
    state, cancels = cancel_orders(state, (state.orders[key] for key in plan.cancels), event)
    return counted(state, decision.allowed, event), [*commands, *cancels, *(SubmitOrder(order) for order in decision.allowed)]


def _routed(parent: router.Parent, event: e.Event) -> e.OrderRouted:
    way = parent.route
    return e.OrderRouted(
        ts=event.ts,
        parent_id=parent.order.client_order_id,
        strategy=way.strategy,
        quantity=parent.order.quantity,
        slices=way.slices,
        seconds_between=way.seconds_between,
        reason=way.reason,
    )


def _still_makes_sense(pending: Pending, state: State, denied: tuple[Order, ...]) -> bool:
    """A second leg whose first one was denied is not to come."""
    return not any(order.client_order_id in pending.after for order in denied) and (bool(pending.after) or not pending.needs_fill)


# ---- an order moved --------------------------------------------------------------------------------------------------------------


def after_move(state: State, was: Order, event: e.Event) -> Step:
    """What follows from an order's move; ``was`` is the order before it."""
    now = state.orders.get(was.client_order_id)
    if now is None or state.is_replayed:
        return state, []
    state, commands = _settled(state, now, event)
    if now.is_working:
        state, more = _cancel_again(state, was, now, event)
        return _known_again(state, now), [*commands, *more]
    state = _known_again(state, now)
    if was.is_working:
        state, more = count_rejections(state, now, event)
        commands += more
    for step in (_release, _reissue):
        state, more = step(state, now, event)
        commands += more
    return state, commands


def _settled(state: State, now: Order, event: e.Event) -> Step:
    for key, parent in state.parents.items():
        if now.client_order_id in parent.children:
            after = router.settled(parent, (state.known_orders[name] for name in parent.children))
            return _with_parent(state, key, after), _left_over(key, after, event)
    return state, []


def _left_over(key: str, parent: router.Parent, event: e.Event) -> list[Command]:
    """What a parent of which no piece is to come any more leaves, said."""
    if not parent.is_over or parent.remaining == ZERO:
        return []
    return [alert(event, f"{parent.remaining} {parent.order.symbol} of order {key} could not be worked")]


def _cancel_again(state: State, was: Order, now: Order, event: e.Event) -> Step:
    """An order that was to be cancelled while nobody knew where it was is found: now it can be."""
    waits = state.pending.get(now.instrument_id)
    behind = waits is not None and not waits.needs_fill and now.client_order_id in waits.after
    wanted = now.client_order_id in state.to_cancel or now.client_order_id in state.reissues or behind
    if wanted and was.status is OrderStatus.UNKNOWN and now.status is not OrderStatus.PENDING_CANCEL:
        return cancel_orders(state, [now], event)
    return state, []


def _known_again(state: State, now: Order) -> State:
    """What was remembered of an order while nobody knew where it was is done."""
    if now.status is OrderStatus.UNKNOWN or now.client_order_id not in state.to_cancel:
        return state
    return replace(state, to_cancel=state.to_cancel - {now.client_order_id})


def _release(state: State, now: Order, event: e.Event) -> Step:
    """The order behind one that is over."""
    waits = state.pending.get(now.instrument_id)
    if waits is None or now.client_order_id not in waits.after:
        return state, []
    if waits.needs_fill and now.status is not OrderStatus.FILLED:
        return _without_pending(state, now.instrument_id), [alert(event, f"{now.symbol}: the leg beyond zero is dropped: no fill")]
    return _try_pending(state, now.instrument_id, event)


def _without_pending(state: State, instrument_id: str) -> State:
    return replace(state, pending={key: value for key, value in state.pending.items() if key != instrument_id})


def _try_pending(state: State, instrument_id: str, event: e.Event) -> Step:
    """Send what waits, if all it waits for is over and the price is fresh; else it keeps waiting."""
    waits = state.pending[instrument_id]
    before = [state.orders.get(key) for key in waits.after]
    if any(order is not None and order.is_working for order in before):
        return state, []
    if state.ladder.level not in _REDUCES_AT_MOST or waits.session < state.session or state.ended == waits.session:
        return _without_pending(state, instrument_id), []
    if waits.purpose is Purpose.TARGETS and FROZEN_BY_STRANGER in causes_of(state, instrument_id):
        return _without_pending(state, instrument_id), []  # its target was set before somebody else traded
    if waits.time_in_force is TimeInForce.DAY and not is_fresh(state, instrument_id, event.ts):
        return state, []
    return _send_pending(_without_pending(state, instrument_id), instrument_id, waits, event)


def _send_pending(state: State, instrument_id: str, waits: Pending, event: e.Event) -> Step:
    column = column_of(state, instrument_id)
    instrument, price = state.instruments[column], state.marks[column]
    working = [order for order in state.working if order.instrument_id == instrument_id]
    coming = state.ledger.quantity(instrument_id) + sum((o.remaining * o.side.sign for o in working), ZERO)
    target = waits.target if waits.target is not None else coming + waits.change
    legs = intents_toward(instrument, coming, target, price if price is not None else ZERO)
    if not legs or state.mandate is None:
        return state, []
    first = legs[0]
    plan = Plan()
    plan.wanted.append(
        Wanted(
            instrument=instrument, side=first.side, quantity=first.quantity, leg=first.leg, order_type=waits.order_type,
            limit_price=waits.limit_price,
        )
    )  # fmt: skip
    if len(legs) > 1:
        rest = waits.change if waits.target is not None else target - coming - first.quantity * first.side.sign
        plan.pending[instrument_id] = replace(waits, change=rest, after=(), needs_fill=True, steps=waits.steps + 1)
    due = _due(state, event, waits.session, waits.time_in_force)
    made = judge_plan(live_decision_inputs(state, due, waits.purpose), plan, state.mandate, note=f"goes on from {waits.decision_id}")
    return sent(state, made, event)


def _due(state: State, event: e.Event, session: str, time_in_force: TimeInForce) -> e.DecisionDue:
    return e.DecisionDue(ts=event.ts, session=state.session, for_session=session, time_in_force=time_in_force.value, rebalance=False)


# ---- fresh prices, the next piece, the end of a session ------------------------------------------------------------------------------


def on_fresh_prices(state: State, event: e.Event) -> Step:
    """What waited for a price goes on, and a flattening tries again."""
    commands: list[Command] = []
    for instrument_id in tuple(state.pending):
        state, more = _try_pending(state, instrument_id, event)
        commands += more
    state, again = _reissue_over(state, event)
    state, more = keep_flattening(state, event)
    return state, [*commands, *again, *more]


def next_slice(state: State, event: e.SliceDue) -> Step:
    """Release the next child of a parent, judged anew; what is denied waits for the slice after."""
    parent = state.parents.get(event.parent_id)
    if parent is None or state.mandate is None:
        return state, []
    quantity = router.next_quantity(parent)
    if state.ended == parent.order.session or event.session > parent.order.session:
        return drop_overdue(state, event)
    if quantity == ZERO:
        return _skip(state, event, parent, [])
    child = child_of(parent, quantity, event.ts)
    due = _due(state, event, parent.order.session, parent.order.time_in_force)
    inputs = live_decision_inputs(state, due, parent.order.purpose)
    decision = reissued(inputs, child, state.mandate, note=f"piece {parent.released + 1} of {event.parent_id}")
    if not decision.allowed:
        return _skip(state, event, parent, [*recorded(decision, event)])
    (order,) = decision.allowed
    after = _with_parent(state, event.parent_id, router.released(parent, order))
    after = replace(after, orders={**after.orders, order.client_order_id: order}, decisions=after.decisions + 1)
    return counted(after, decision.allowed, event), [*recorded(decision, event), SubmitOrder(order)]


def _skip(state: State, event: e.SliceDue, parent: router.Parent, commands: list[Command]) -> Step:
    """A piece that does not go out; where none is to come any more, what is left is said."""
    after = router.skipped(parent)
    return _with_parent(state, event.parent_id, after), [*commands, *_left_over(event.parent_id, after, event)]


def _with_parent(state: State, key: str, parent: router.Parent) -> State:
    parents = {**state.parents, key: parent}
    if parent.is_over:
        del parents[key]
    return replace(state, parents=parents)


def drop_overdue(state: State, event: e.SessionBegan | e.SessionEnded | e.SliceDue) -> Step:
    """What a session leaves unsent is not sent in another one: it was judged for this one."""
    over = [
        (key, parent)
        for key, parent in state.parents.items()
        if parent.order.session < state.session or parent.order.session == state.ended
    ]
    waits = {key: p for key, p in state.pending.items() if p.session < state.session or p.session == state.ended}
    coming = {key: order for key in state.reissues if (order := state.known_orders.get(key)) is not None}
    again = {key for key, order in coming.items() if order.session >= state.session and order.session != state.ended}
    if not over and not waits and len(again) == len(state.reissues):
        return state, []
    said: list[Command] = [alert(event, f"{p.remaining} {p.order.symbol} of order {key} were not worked in its session") for key, p in over]
    gone = {key for key, _ in over}
    return replace(
        state,
        parents={key: parent for key, parent in state.parents.items() if key not in gone},
        pending={key: pending for key, pending in state.pending.items() if key not in waits},
        reissues={key: reissue for key, reissue in state.reissues.items() if key in again},
    ), said


# ---- new shares ------------------------------------------------------------------------------------------------------------------------


def withdraw(state: State, instrument_id: str, ratio: Decimal, event: e.Event, *, adjusted: bool, before: str = "") -> Step:
    """Take orders in old shares out of the market; they come back in new ones.

    Where the session ``before`` whose open it happens is known, orders for the day made in it are in new shares already.
    """
    if state.is_replayed:
        return state, []
    named, fresh = dict(state.reissues), list[Order]()
    for order in state.orders.values():
        if order.instrument_id != instrument_id:
            continue
        if before and order.session >= before and order.time_in_force is TimeInForce.DAY:
            continue
        if order.client_order_id in named:
            named[order.client_order_id] = replace(named[order.client_order_id], adjusted=adjusted)
        elif order.is_working:
            named[order.client_order_id] = Reissue(ratio=ratio, adjusted=adjusted)
            fresh.append(order)
    pending = {key: value for key, value in state.pending.items() if key != instrument_id}
    parents = {key: value for key, value in state.parents.items() if value.order.instrument_id != instrument_id}
    said = [
        alert(event, f"{value.remaining} {value.order.symbol} of order {key} were not worked before its split")
        for key, value in state.parents.items()
        if key not in parents and value.remaining > ZERO
    ]
    state, commands = cancel_orders(replace(state, reissues=named, pending=pending, parents=parents), fresh, event)
    state, more = _reissue_over(state, event)
    return state, [*said, *commands, *more]


def _reissue_over(state: State, event: e.Event) -> Step:
    """Every order in old shares that is over by now."""
    commands: list[Command] = []
    for name in tuple(state.reissues):
        order = state.orders.get(name)
        if order is not None and not order.is_working:
            state, more = _reissue(state, order, event)
            commands += more
    return state, commands


def _reissue(state: State, now: Order, event: e.Event) -> Step:
    """The next attempt of an order, in new shares, after proof that the one before is over."""
    wanted = state.reissues.get(now.client_order_id)
    if wanted is None or not wanted.adjusted:
        return state, []
    left = {key: value for key, value in state.reissues.items() if key != now.client_order_id}
    lot = next((i.lot for i in state.instruments if i.instrument_id == now.instrument_id), ONE)
    over = now.session < state.session or state.ended == now.session or state.ladder.level not in _REDUCES_AT_MOST
    again = None if over or now.status is OrderStatus.FILLED else in_new_shares(now, wanted.ratio, lot, event.ts)
    mandate = state.mandate
    if again is None or mandate is None:
        return replace(state, reissues=left), []
    if again.time_in_force is TimeInForce.DAY and not is_fresh(state, now.instrument_id, event.ts):
        return state, []
    state = replace(state, reissues=left)
    due = _due(state, event, again.session, again.time_in_force)
    decision = reissued(live_decision_inputs(state, due, again.purpose), again, mandate, note=f"{now.client_order_id} in new shares")
    orders = {**state.orders, **{order.client_order_id: order for order in decision.allowed}}
    state = counted(replace(state, orders=orders, decisions=state.decisions + 1), decision.allowed, event)
    return state, [*recorded(decision, event), *(SubmitOrder(order) for order in decision.allowed)]


def without_quote(state: State, instrument_id: str) -> Quotes | None:
    """Quotes without that of an instrument whose price is in old shares."""
    quotes, column = state.quotes, column_of(state, instrument_id)
    if quotes is None or column < 0:
        return quotes
    rows = {name: getattr(quotes, name) for name in ("bid", "ask", "age_seconds")}
    return replace(quotes, **{name: (*row[:column], None, *row[column + 1 :]) for name, row in rows.items()})
