"""News of orders, ours and others': every move goes through the table, and what the table refuses is said."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from hedgefund_core.account import session_closed
from hedgefund_core.account_state import State
from hedgefund_core.commands import Command, LookUpOrder, SubmitOrder
from hedgefund_core.errors import InvariantViolation
from hedgefund_core.freezes import FROZEN_BY_CONTRADICTION, FROZEN_BY_OVERFILL, FROZEN_BY_STRANGER, FROZEN_BY_UNKNOWN, freeze, thaw
from hedgefund_core.live_account import with_equity
from hedgefund_core.machine import follow
from hedgefund_core.machine.ladders import Step, alert, with_ladder
from hedgefund_core.trading import events as e
from hedgefund_core.trading.evidence import corrected_at, taken_back
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.ledger import Ledger, apply_fill
from hedgefund_core.trading.order import Leg, Order, OrderMove, OrderStatus, Purpose, Side, move
from hedgefund_core.trading.state import Level, Scope, escalate


def moved(state: State, client_order_id: str, how: OrderMove, event: e.Event) -> Step:
    """Move an order through its table; an order or a move we do not know is said and left to reconciliation."""
    state = _revived(state, client_order_id)
    order = state.orders.get(client_order_id)
    changed = None if order is None else move(order, how, at=event.ts)
    if order is None or changed is None:
        status = "no such order here" if order is None else f"it is {order.status.value}"
        return state, [alert(event, f"{how.value} of order {client_order_id}: {status}")]
    known = replace(state, orders={**state.orders, client_order_id: changed})
    if order.status is OrderStatus.UNKNOWN and changed.status is not OrderStatus.UNKNOWN:
        return thaw(known, order.instrument_id, FROZEN_BY_UNKNOWN, event)
    return known, []


def _revived(state: State, client_order_id: str) -> State:
    """An old order that the broker still has something to say about comes back from the archive."""
    if client_order_id in state.orders or client_order_id not in state.archive:
        return state
    archive = {key: order for key, order in state.archive.items() if key != client_order_id}
    return replace(state, orders={**state.orders, client_order_id: state.archive[client_order_id]}, archive=archive)


def _went(before: State, client_order_id: str, step: Step, event: e.Event) -> Step:
    """A move, and what it sets going."""
    state, commands = step
    was = before.known_orders.get(client_order_id)
    if was is None:
        return step
    state, more = follow.after_move(state, was, event)
    return state, [*commands, *more]


def on_order_accepted(state: State, event: e.OrderAccepted) -> Step:
    """The broker has it, under its own name."""
    before = state
    state, commands = moved(state, event.client_order_id, OrderMove.ACCEPT, event)
    order = state.orders.get(event.client_order_id)
    if order is not None and order.broker_order_id != event.broker_order_id:
        named = replace(order, broker_order_id=event.broker_order_id)
        state = replace(state, orders={**state.orders, event.client_order_id: named})
    return _went(before, event.client_order_id, (state, commands), event)


def on_order_filled(state: State, event: e.OrderFilled) -> Step:
    """Book a fill once; one that its order could not have is booked as well, and freezes the instrument."""
    before, state = state, _revived(state, event.client_order_id)
    order = state.orders.get(event.client_order_id)
    if order is None:
        return _unknown_fill(state, event)
    if event.fill_id in order.fill_ids:
        return state, []
    ledger = apply_fill(
        state.ledger,
        instrument_id=order.instrument_id,
        side=order.side,
        quantity=event.quantity,
        price=event.price,
        commission=event.commission,
    )
    filled = order.filled_quantity + event.quantity
    how = OrderMove.FILL_REST if filled >= order.quantity else OrderMove.FILL_PART
    state, commands = moved(state, event.client_order_id, how, event)
    updated = replace(
        state.orders[event.client_order_id],
        filled_quantity=filled,
        filled_value=order.filled_value + event.quantity * event.price,
        fill_ids=(*order.fill_ids, event.fill_id),
        broker_order_id=event.broker_order_id,
    )
    state = replace(state, orders={**state.orders, event.client_order_id: updated}, ledger=ledger)
    cause = FROZEN_BY_OVERFILL if filled > order.quantity else FROZEN_BY_CONTRADICTION
    if filled > order.quantity or move(order, how, at=event.ts) is None:
        state, frozen = freeze(state, order.instrument_id, cause, event)
        commands += frozen
    return _went(before, event.client_order_id, (state, commands), event)


def _unknown_fill(state: State, event: e.OrderFilled) -> Step:
    """A fill of an order that is not ours: nothing is booked; entries stop until reconciliation and a person explain it."""
    cause = f"fill {event.fill_id} of unknown order {event.client_order_id}"
    said = alert(event, cause, severity="critical")
    ladder = escalate(state.ladder, Level.REDUCING, Scope.ACCOUNT, cause=cause, session=event.session)
    return with_ladder(state, ladder, event, (said,)) if ladder != state.ladder else (state, [said])


def on_order_rejected(state: State, event: e.OrderRejected) -> Step:
    """A definite no."""
    before = state
    state, commands = moved(state, event.client_order_id, OrderMove.REJECT, event)
    order = state.orders.get(event.client_order_id)
    if order is not None and order.status is OrderStatus.REJECTED:
        state = replace(state, orders={**state.orders, event.client_order_id: replace(order, reason=event.reason)})
    return _went(before, event.client_order_id, (state, commands), event)


def on_order_canceled(state: State, event: e.OrderCanceled) -> Step:
    """Out of the market."""
    return _went(state, event.client_order_id, moved(state, event.client_order_id, OrderMove.CANCEL, event), event)


def on_order_expired(state: State, event: e.OrderExpired) -> Step:
    """Its time is over."""
    return _went(state, event.client_order_id, moved(state, event.client_order_id, OrderMove.EXPIRE, event), event)


def on_order_done_for_day(state: State, event: e.OrderDoneForDay) -> Step:
    """It trades no more today."""
    return _went(state, event.client_order_id, moved(state, event.client_order_id, OrderMove.END_DAY, event), event)


def on_order_replaced(state: State, event: e.OrderReplaced) -> Step:
    """Somebody put another order in its place: that one is a stranger's and may still fill, so that nothing is added beside it."""
    order, frozen = state.orders.get(event.client_order_id), list[Command]()
    if order is not None:
        state, frozen = freeze(state, order.instrument_id, FROZEN_BY_STRANGER, event)
    step = _went(state, event.client_order_id, moved(state, event.client_order_id, OrderMove.REPLACE, event), event)
    said = alert(event, f"order {event.client_order_id} was replaced by {event.replaced_by}, which is not ours")
    return step[0], [*frozen, *step[1], said]


# ---- what an exchange takes back -----------------------------------------------------------------------------------------------


def on_fill_busted(state: State, event: e.FillBusted) -> Step:
    """Undo a fill once: position and cash as if it had not been, the order over or working as it was."""
    before, state = state, _revived(state, event.client_order_id)
    order = state.orders.get(event.client_order_id)
    if order is None or event.fill_id not in order.fill_ids or taken_back(event.fill_id) in order.fill_ids:
        return state, [alert(event, f"a fill {event.fill_id} was taken back that is not booked here", severity="critical")]
    state, commands = moved(state, event.client_order_id, OrderMove.BUST, event)
    order = state.orders[event.client_order_id]
    ledger = _undone(state.ledger, order, event.quantity, event.price)
    changed = replace(
        order,
        filled_quantity=order.filled_quantity - event.quantity,
        filled_value=order.filled_value - event.quantity * event.price,
        fill_ids=(*order.fill_ids, taken_back(event.fill_id), corrected_at(event.ts)),
    )
    state = with_equity_if_live(replace(state, ledger=ledger, orders={**state.orders, event.client_order_id: changed}))
    text = f"the exchange took back {event.quantity} {order.symbol} at {event.price} of order {event.client_order_id}"
    return _went(before, event.client_order_id, (state, [*commands, alert(event, text, severity="critical")]), event)


def on_fill_corrected(state: State, event: e.FillCorrected) -> Step:
    """Undo a fill and book it as it is now."""
    before, state = state, _revived(state, event.client_order_id)
    order = state.orders.get(event.client_order_id)
    if order is None or event.fill_id not in order.fill_ids or taken_back(event.fill_id) in order.fill_ids:
        return state, [alert(event, f"a fill {event.fill_id} was corrected that is not booked here", severity="critical")]
    state, commands = moved(state, event.client_order_id, OrderMove.CORRECT, event)
    order = state.orders[event.client_order_id]
    undone = _undone(state.ledger, order, event.quantity, event.price)
    ledger = apply_fill(
        undone, instrument_id=order.instrument_id, side=order.side, quantity=event.new_quantity, price=event.new_price, commission=ZERO
    )
    changed = replace(
        order,
        filled_quantity=order.filled_quantity - event.quantity + event.new_quantity,
        filled_value=order.filled_value - event.quantity * event.price + event.new_quantity * event.new_price,
        fill_ids=(*order.fill_ids, corrected_at(event.ts)),
    )
    state = with_equity_if_live(replace(state, ledger=ledger, orders={**state.orders, event.client_order_id: changed}))
    text = f"the exchange corrected {event.quantity} {order.symbol} at {event.price} to {event.new_quantity} at {event.new_price}"
    return _went(before, event.client_order_id, (state, [*commands, alert(event, text, severity="critical")]), event)


def _undone(ledger: Ledger, order: Order, quantity: Decimal, price: Decimal) -> Ledger:
    back = Side.SELL if order.side is Side.BUY else Side.BUY
    return apply_fill(ledger, instrument_id=order.instrument_id, side=back, quantity=quantity, price=price, commission=ZERO)


def with_equity_if_live(state: State) -> State:
    """Equity of the moment; in a replay it is the mark's alone."""
    return state if state.is_replayed else with_equity(state)


# ---- others, and what is not understood -------------------------------------------------------------------------------------------


def on_external_filled(state: State, event: e.ExternalFilled) -> Step:
    """Somebody else traded: booked, because it is so; said, and no new exposure there until a person resumes. Never traded back."""
    ledger = apply_fill(
        state.ledger,
        instrument_id=event.instrument_id,
        side=event.side,
        quantity=event.quantity,
        price=event.price,
        commission=event.commission,
    )
    column = next((place for place, i in enumerate(state.instruments) if i.instrument_id == event.instrument_id), -1)
    if column < 0:
        message = f"a fill in {event.instrument_id}, which the account does not know"
        raise InvariantViolation(message, mend="run again: the instrument is added before the fill is booked")
    if state.marks[column] is None:
        state = replace(state, marks=(*state.marks[:column], event.price, *state.marks[column + 1 :]))
    state = with_equity_if_live(replace(state, ledger=ledger))
    symbol = state.instruments[column].symbol
    text = f"somebody else traded on this account: {event.side.value} {event.quantity} {symbol} at {event.price}"
    state, frozen = freeze(state, event.instrument_id, FROZEN_BY_STRANGER, event)
    return state, [alert(event, f"{text} (order {event.broker_order_id})", severity="critical"), *frozen]


def on_news_not_understood(state: State, event: e.NewsNotUnderstood) -> Step:
    """Said; what it changed shows at the next reconciliation."""
    return state, [alert(event, f"news of the broker that is not understood: {event.what}")]


# ---- doubt ------------------------------------------------------------------------------------------------------------------------


def on_order_outcome_unknown(state: State, event: e.OrderOutcomeUnknown) -> Step:
    """Neither sent nor not sent: the instrument is frozen until the broker's own evidence."""
    state, commands = moved(state, event.client_order_id, OrderMove.LOSE, event)
    order = state.orders.get(event.client_order_id)
    if order is not None and order.status is OrderStatus.UNKNOWN:  # not where the news has overtaken the lost answer
        state, frozen = freeze(state, order.instrument_id, FROZEN_BY_UNKNOWN, event)
        commands += frozen
    return state, [*commands, LookUpOrder(event.client_order_id)]


def on_order_absent(state: State, event: e.OrderAbsent) -> Step:
    """The broker surely has no such order: send it again under the same id, which is the only id this intent ever has.

    Not if its session is over (it would trade at another auction than the one it was judged for), nor if the ladder has moved
    since: what may not be sent now may not be sent again either.
    """
    before = state.orders.get(event.client_order_id)
    how = OrderMove.ABSENT if before is None else _fate_of_absent(state, before)
    state, commands = _went(state, event.client_order_id, moved(state, event.client_order_id, how, event), event)
    order = state.orders.get(event.client_order_id)
    if before is None or order is None or not (how is OrderMove.ABSENT and order.status is OrderStatus.PENDING_NEW):
        return state, commands
    return state, [*commands, SubmitOrder(order)]


def is_sent_again(state: State, order: Order) -> bool:
    """Whether an absence would send it again: then its id protects from a double; else nothing does but the proof."""
    return order.status is not OrderStatus.PENDING_CANCEL and _fate_of_absent(state, order) is OrderMove.ABSENT


def _fate_of_absent(state: State, order: Order) -> OrderMove:
    if not order.is_working:
        return OrderMove.ABSENT
    if order.session < state.session or (order.session == state.session and (session_closed(state) or state.ended == order.session)):
        return OrderMove.EXPIRE
    waits, name = state.pending.get(order.instrument_id), order.client_order_id
    if name in state.reissues or name in state.to_cancel or (waits is not None and not waits.needs_fill and name in waits.after):
        return OrderMove.CANCEL  # it was to be taken out of the market: it is not there
    level = state.ladder.level
    if order.purpose is Purpose.FLATTEN:
        return OrderMove.ABSENT if level is Level.FLATTENING else OrderMove.CANCEL  # nobody wants to be flat any more
    exits = level is Level.REDUCING and order.leg is Leg.CLOSE
    return OrderMove.ABSENT if level is Level.ACTIVE or exits else OrderMove.CANCEL
