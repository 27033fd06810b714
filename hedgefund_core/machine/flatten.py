"""Closing everything in the session, again and again until the broker's books say that nothing is held.

A halted name waits, an order that the market has left is replaced, an expired one is sent again in the next session. The same order
refused three times in a row is not sent a fourth time: a loop of refusals helps nobody, a person does.
"""

from __future__ import annotations

from msgspec.structs import replace

from hedgefund_core.account_state import State
from hedgefund_core.commands import SubmitOrder
from hedgefund_core.live_account import counted, live_decision_inputs
from hedgefund_core.machine.ladders import Step, alert, cancel_orders
from hedgefund_core.machine.send import recorded
from hedgefund_core.session_orders import decide_live
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Order, OrderStatus, Purpose, TimeInForce
from hedgefund_core.trading.state import Level

MOST_REFUSALS = 3


def keep_flattening(state: State, event: e.Event) -> Step:
    """Closing orders for what is held and does not have one, at the prices of the moment."""
    if state.ladder.level is not Level.FLATTENING or state.is_replayed or not state.in_session or state.is_flat or state.mandate is None:
        return state, []
    due = e.DecisionDue(ts=event.ts, session=state.session, for_session=state.session, time_in_force=TimeInForce.DAY.value, rebalance=False)
    inputs = live_decision_inputs(state, due, Purpose.FLATTEN)
    plan = decide_live(inputs, state.mandate, {}, {})
    tried = {key for key, count in state.liquidations.items() if count >= MOST_REFUSALS}
    allowed = tuple(order for order in plan.decision.allowed if order.instrument_id not in tried)
    state, cancels = cancel_orders(state, (state.orders[key] for key in plan.plan.cancels), event)
    if not allowed:
        return state, cancels
    orders = {**state.orders, **{order.client_order_id: order for order in allowed}}
    state = counted(replace(state, orders=orders, decisions=state.decisions + 1), allowed, event)
    records = recorded(plan.decision, event)
    kept = [r for r in records if not (isinstance(r.frame, e.OrderIntended) and r.frame.order.instrument_id in tried)]
    return state, [*kept, *cancels, *(SubmitOrder(order) for order in allowed)]


def refused_again(state: State, order: Order, event: e.Event) -> Step:
    """Count refusals of the same closing in a row; a fill begins anew."""
    if order.purpose is not Purpose.FLATTEN:
        return state, []
    key, count = order.instrument_id, state.liquidations.get(order.instrument_id, 0)
    if order.status is not OrderStatus.REJECTED:
        fresh = {name: number for name, number in state.liquidations.items() if name != key}
        return (replace(state, liquidations=fresh) if order.filled_quantity and count else state), []
    state = replace(state, liquidations={**state.liquidations, key: count + 1})
    if count + 1 != MOST_REFUSALS:
        return state, []
    text = f"closing {order.quantity} {order.symbol} was refused {MOST_REFUSALS} times ({order.reason}): not tried again in this session"
    return state, [alert(event, text, severity="critical")]
