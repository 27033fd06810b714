"""Closing everything in the session, again and again until the broker's books say that nothing is held.

A halted name waits, an order that the market has left is replaced, an expired one is sent again in the next session. Orders of an
instrument that the broker refuses three times in a row are tried ever more rarely: a loop of refusals helps nobody, but what is not
taken now (a blocked account, money that is not there yet) may be taken in a minute.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from hedgefund_core.account_state import State
from hedgefund_core.commands import SubmitOrder
from hedgefund_core.live_account import MOST_REJECTIONS, RETRY_GROWTH, counted, live_decision_inputs
from hedgefund_core.machine.ladders import Step, alert, cancel_orders
from hedgefund_core.machine.send import recorded
from hedgefund_core.session_orders import decide_live, refusal_key
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Order, OrderStatus, Purpose, TimeInForce
from hedgefund_core.trading.state import Level

_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=10), timedelta(minutes=15)
"""After the third refusal in a row, and at most. Source: default."""


def keep_flattening(state: State, event: e.Event) -> Step:
    """Closing orders for what is held and does not have one, at the prices of the moment."""
    if state.ladder.level is not Level.FLATTENING or state.is_replayed or not state.in_session or state.is_flat or state.mandate is None:
        return state, []
    due = e.DecisionDue(ts=event.ts, session=state.session, for_session=state.session, time_in_force=TimeInForce.DAY.value, rebalance=False)
    made = decide_live(live_decision_inputs(state, due, Purpose.FLATTEN), state.mandate, {}, {})
    state, cancels = cancel_orders(state, (state.orders[key] for key in made.plan.cancels), event)
    allowed = made.decision.allowed
    if not allowed:
        return state, cancels
    orders = {**state.orders, **{order.client_order_id: order for order in allowed}}
    state = counted(replace(state, orders=orders, decisions=state.decisions + 1), allowed, event)
    return state, [*recorded(made.decision, event), *cancels, *(SubmitOrder(order) for order in allowed)]


def count_rejections(state: State, order: Order, event: e.Event) -> Step:
    """Refusals of the machine's orders in a row; a fill begins anew, and a person's orders are a person's to repeat."""
    if order.purpose is Purpose.MANUAL:
        return state, []
    key = refusal_key(order.instrument_id, order.leg)
    count = state.rejections.get(key, 0)
    if order.status is not OrderStatus.REJECTED:
        fresh = {name: number for name, number in state.rejections.items() if name != key}
        free = {name: until for name, until in state.barred_until.items() if name != key}
        return (replace(state, rejections=fresh, barred_until=free) if order.filled_quantity and count else state), []
    state = replace(state, rejections={**state.rejections, key: count + 1})
    over = count + 1 - MOST_REJECTIONS
    if over < 0:
        return state, []
    pause = min(_FIRST_PAUSE * RETRY_GROWTH ** min(over, 20), _LONGEST_PAUSE)
    state = replace(state, barred_until={**state.barred_until, key: event.ts + pause})
    if over:
        return state, []
    text = f"{order.side.value} {order.quantity} {order.symbol} was refused {MOST_REJECTIONS} times ({order.reason})"
    return state, [alert(event, f"{text}: tried again after {pause.seconds} s, then ever more rarely", severity="critical")]
