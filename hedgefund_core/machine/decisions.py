"""Decisions: of the model for the next session, and of targets at any time."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from hedgefund_core.account import check_weights, decision_inputs, end_state_of, session_closed, wind_down_of
from hedgefund_core.account_state import Pending, State
from hedgefund_core.commands import Command, SubmitOrder
from hedgefund_core.decision import Decision, decide
from hedgefund_core.live_account import check_quantities, counted, live_decision_inputs
from hedgefund_core.machine import follow
from hedgefund_core.machine.ladders import Step, alert, cancel_orders
from hedgefund_core.machine.send import recorded
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.session_orders import decide_live
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.order import Leg, Order, OrderType, Purpose, TimeInForce
from hedgefund_core.trading.state import Level


def on_decision_due(state: State, event: e.DecisionDue) -> Step:
    """Decide, if the decision is for a time that can still be traded in."""
    check_weights(state, event)
    check_quantities(state, event.target_quantities)
    live = is_live(state, event)
    if not (_is_due_live(state, event) if live else _is_due(state, event)):
        message = f"no decision at {event.session} for {event.for_session}: the account has the bars of {state.session or 'no session'}"
        return state, [alert(event, message)]
    purpose = purpose_of(state, event)
    if purpose is None or state.mandate is None:
        return state, []
    if purpose is Purpose.DECAY:
        return _wound_down(state, event, state.mandate)
    if live and purpose is not Purpose.MODEL:
        made = decide_live(live_decision_inputs(state, event, purpose), state.mandate, state.pending, state.parents)
        return follow.sent(state, made, event)
    bundle = state.bundle if purpose is Purpose.MODEL else None
    inputs = decision_inputs(state, event, purpose) if state.is_replayed else live_decision_inputs(state, event, purpose)
    return _sent_for_auction(state, decide(inputs, bundle, state.mandate), event)


def is_live(state: State, event: e.DecisionDue) -> bool:
    """Whether orders are made from quotes and what works counts; a model's decision for an auction is the replay's own."""
    if state.is_replayed:
        return False
    closing = state.ladder.level is Level.FLATTENING  # never waits for the bars of a session
    return closing or event.for_session == event.session or (state.mandate is not None and state.mandate.discretionary)


def _is_due_live(state: State, event: e.DecisionDue) -> bool:
    """In the session with prices of it, or before the next one with any price."""
    if event.for_session == event.session:
        return event.session == state.session and state.in_session
    return event.for_session > max(event.session, state.session if state.in_session else "") and state.quotes is not None


def _is_due(state: State, event: e.DecisionDue) -> bool:
    """A decision stands on the bars of its own session and trades in a later one: a late run decides nothing."""
    return event.session == state.session and session_closed(state) and event.for_session > event.session


def purpose_of(state: State, event: e.DecisionDue) -> Purpose | None:
    """What kind of decision is due; None where nothing may or need be decided."""
    level = state.ladder.level
    if level in {Level.HALTED, Level.CANCELLING}:
        return None
    end_state = end_state_of(state, event)
    if level is Level.FLATTENING or end_state == "flatten":
        return None if state.is_flat else Purpose.FLATTEN
    if end_state == "decay":
        return None if state.is_flat or is_live(state, event) else Purpose.DECAY
    if event.target_weights is not None or event.target_quantities is not None:
        return Purpose.TARGETS
    return Purpose.MODEL if event.rebalance and state.bundle is not None else None


def _wound_down(state: State, event: e.DecisionDue, mandate: Mandate) -> Step:
    """One step of an expired model's book toward nothing; only closing orders, and said when it begins."""
    begun = replace(state, wind_down=wind_down_of(state))
    inputs = decision_inputs if state.is_replayed else live_decision_inputs
    after, commands = _sent_for_auction(begun, decide(inputs(begun, event, Purpose.DECAY), None, mandate), event)
    if state.wind_down != begun.wind_down:
        words = (
            f"the model has expired: its book is wound down over {mandate.expiry_decay_sessions} sessions, or until another model is loaded"
        )
        commands = [alert(event, words), *commands]
    return after, commands


def _sent_for_auction(state: State, decision: Decision, event: e.DecisionDue) -> Step:
    """Orders for an auction all at once, except what a real broker refuses: the leg beyond zero, and one against ours while that works."""
    allowed, waiting = _split_over_zero(state, decision, event)
    state, cancels = cancel_orders(state, _against(state, allowed), event)
    commands: list[Command] = [*recorded(decision, event, allowed), *cancels, *map(SubmitOrder, allowed)]
    orders = state.orders | {order.client_order_id: order for order in allowed}
    state = replace(state, orders=orders, decisions=state.decisions + 1, pending={**state.pending, **waiting} if waiting else state.pending)
    return counted(state, allowed, event), commands


def _against(state: State, orders: Sequence[Order]) -> list[Order]:
    """Own orders that work on the other side of the market: a real broker refuses ours beside them."""
    if state.is_replayed or not state.working:
        return []
    sides = {order.instrument_id: order.side for order in orders}
    return [order for order in state.working if sides.get(order.instrument_id, order.side) is not order.side]


def _split_over_zero(state: State, decision: Decision, event: e.DecisionDue) -> tuple[tuple[Order, ...], dict[str, Pending]]:
    if state.is_replayed:
        return decision.allowed, {}
    closing = {order.instrument_id: order for order in decision.allowed if order.leg is Leg.CLOSE}
    beyond = [order for order in decision.allowed if order.leg is Leg.OPEN and order.instrument_id in closing]
    if not beyond:
        return decision.allowed, {}
    later = {
        order.instrument_id: Pending(
            decision_id=order.decision_id,
            purpose=order.purpose,
            session=order.session,
            time_in_force=TimeInForce.DAY,
            order_type=OrderType.MARKET,
            limit_price=None,
            target=order.quantity * order.side.sign,
            change=ZERO,
            after=(closing[order.instrument_id].client_order_id,),
            needs_fill=True,
        )
        for order in beyond
    }
    return tuple(order for order in decision.allowed if order not in beyond), later


def on_slice_due(state: State, event: e.SliceDue) -> Step:
    """The next child of a parent, judged anew."""
    return follow.next_slice(state, event)
