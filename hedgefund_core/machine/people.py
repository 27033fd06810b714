"""What people ask for: halts, resumes, orders, cancels. Asking twice is the same as asking once."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice

from msgspec.structs import replace

from hedgefund_core.account_state import Answered, Pending, State, column_of
from hedgefund_core.commands import Command, MirrorHalt, Record
from hedgefund_core.decision import DecisionInputs
from hedgefund_core.errors import InvariantViolation
from hedgefund_core.freezes import FROZEN_FOR_A_PERSON, thaw
from hedgefund_core.live_account import live_decision_inputs
from hedgefund_core.machine import follow
from hedgefund_core.machine.ladders import Step, alert, cancel_orders, with_ladder
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.session_orders import Plan, Wanted, judge_plan
from hedgefund_core.trading import events as e
from hedgefund_core.trading.capabilities import Asked, Market, refusal
from hedgefund_core.trading.instrument import ONE, ZERO, is_amount, to_lots
from hedgefund_core.trading.order import Leg, Order, OrderType, Purpose, TimeInForce
from hedgefund_core.trading.rebalance import Intent, intents_toward
from hedgefund_core.trading.state import Level, Scope, escalate, resume

REMEMBERED = 1_000
"""Requests of people that are recognised when they come again."""


def on_halt_requested(state: State, event: e.HaltRequested) -> Step:
    """A person stops trading; a flattening begins at once where the market is open."""
    readable = Level.REDUCING <= event.level <= Level.HALTED
    level = Level(event.level) if readable else Level.HALTED  # a level that is none is taken as the strictest
    ladder = escalate(state.ladder, level, Scope.ACCOUNT, cause=event.reason, session=event.session, person=event.person)
    if ladder == state.ladder:
        return state, [MirrorHalt(on=True)]
    state, commands = with_ladder(state, ladder, event, (MirrorHalt(on=True),))
    state, more = follow.on_fresh_prices(state, event)
    return state, [*commands, *more]


def on_resume_requested(state: State, event: e.ResumeRequested) -> Step:
    """A person resumes with a reason: drawdown is measured anew from here, and what only a person may thaw is thawed."""
    if not event.person.strip() or not event.reason.strip():
        return state, [alert(event, "a resume needs a person and a reason: nothing is resumed")]
    commands: list[Command] = []
    for instrument_id in tuple(state.frozen):
        for cause in FROZEN_FOR_A_PERSON:
            state, thawed = thaw(state, instrument_id, cause, event)
            commands += thawed
    state = replace(state, rejections={}, barred_until={}, crashed=())
    if state.ladder.level is Level.ACTIVE:  # nothing is halted: the high-water mark stays
        return state, [*commands, MirrorHalt(on=False)]
    ladder = resume(event.session, person=event.person, reason=event.reason)
    state, moved = with_ladder(replace(state, resume_mark=state.equity), ladder, event, (MirrorHalt(on=False),))
    return state, [*commands, *moved]


def on_stand_in_resumed(state: State, event: e.StandInResumed) -> Step:
    """In a replay nobody is there."""
    if not state.is_replayed:
        message = f"a stand-in may not resume in mode {state.mode}"
        raise InvariantViolation(message, mend="a person resumes: executor resume --reason …")
    if state.ladder.level is not Level.ACTIVE and state.ladder.person:
        message = f"a stand-in may not end what {state.ladder.person} began: {state.ladder.cause}"
        raise InvariantViolation(message, mend="a person resumes: executor resume --reason …")
    resumed = replace(state, resume_mark=state.equity, stand_ins=state.stand_ins + 1)
    return with_ladder(resumed, resume(event.session, person="", reason="stand-in"), event)


# ---- orders of people ------------------------------------------------------------------------------------------------------------


def on_order_requested(state: State, event: e.OrderRequested) -> Step:
    """The same rules as for everything else; a refusal names its reason."""
    if event.request_id in state.answered:
        return state, [_asked_before(state, event, "asked before: nothing is sent again")]
    reason = _refused(state, event)
    if reason or state.mandate is None:
        return _answered(state, event, (), reason or "the account has no mandate yet")
    plan, wait = _planned(state, event)
    due = e.DecisionDue(
        ts=event.ts, session=state.session, for_session=event.session, time_in_force=event.time_in_force.value, rebalance=False
    )
    note = f"{event.person}: {event.reason}" if event.reason else event.person
    inputs = live_decision_inputs(state, due, Purpose.MANUAL)
    beyond = _beyond_zero(inputs, event, plan, state.mandate)
    if beyond:
        return _answered(state, event, (), f"nothing is sent, because the part beyond zero would be denied: {beyond}")
    made = judge_plan(inputs, plan, state.mandate, note=note)
    state, commands = follow.sent(replace(state, refused=()), made, event)
    names = tuple(order.client_order_id for order in made.decision.allowed)
    why = "; ".join(f"{order.denied_by}: {order.reason}" for order in made.decision.denied) or wait
    state, said = _answered(state, event, names, why)
    return state, [*commands, *said]


def _refused(state: State, event: e.OrderRequested) -> str:
    """What forbids a request before any rule: an unknown name, a time that is over, a kind of order that the broker does not take."""
    column = column_of(state, event.instrument_id)
    if column < 0:
        return f"{event.instrument_id} is not an instrument of the account"
    late = event.session < state.session or (event.session == state.session and not state.in_session)
    reasons = (
        (not event.request_id, "a request needs an id, so that asking twice is asking once"),
        (state.marks[column] is None, f"no price of {state.instruments[column].symbol} has been seen yet"),
        (state.ladder.level >= Level.CANCELLING, f"the account is {state.ladder.name}: {state.ladder.cause}"),
        (late, f"session {event.session} is over, or its prices are not known yet"),
        (event.instrument_id in state.pending, "another order of this instrument waits for one before it: ask again when it is done"),
        (not is_amount(event.quantity), f"quantity {event.quantity} is not above zero, or no number of shares"),
        (event.limit_price is not None and not is_amount(event.limit_price), f"limit {event.limit_price} is not above zero, or no price"),
    )
    return next((reason for found, reason in reasons if found), "") or _not_taken(state, event) or ""


def _not_taken(state: State, event: e.OrderRequested) -> str | None:
    status = state.statuses.get(event.instrument_id)
    known = Market() if status is None else Market(tradable=status.tradable, fractionable=status.fractionable)
    lot = state.instruments[column_of(state, event.instrument_id)].lot
    if lot < ONE:
        known = replace(known, fractionable=True)
    kind = event.order_type if event.order_type is OrderType.LIMIT else OrderType.MARKET
    asked = Asked(
        side=event.side, quantity=event.quantity, order_type=kind, time_in_force=event.time_in_force, limit_price=event.limit_price
    )
    return refusal(asked, event.ts, known)


def _planned(state: State, event: e.OrderRequested) -> tuple[Plan, str]:
    """One order now; or a cancel first; or the leg to zero first. And what has to be waited for, in words."""
    key = event.instrument_id
    instrument, price = state.instruments[column_of(state, key)], state.marks[column_of(state, key)]
    working = [order for order in state.working if order.instrument_id == key]
    change, plan = event.quantity * event.side.sign, Plan()
    against = [order for order in working if order.side is not event.side]
    if against:
        plan.cancels += [order.client_order_id for order in against]
        plan.pending[key] = _pending(state, event, change, against, needs_fill=False)
        return plan, f"waits until {', '.join(plan.cancels)} is out of the market"
    coming = state.ledger.quantity(key) + sum((order.remaining * order.side.sign for order in working), ZERO)
    legs = intents_toward(instrument, coming, coming + change, price if price is not None else ZERO)
    if coming * (coming + change) >= ZERO and state.ledger.quantity(key) * (coming + change) < ZERO:
        plan.pending[key] = _pending(state, event, change, working, needs_fill=True)
        return plan, "waits until the position is closed"
    plan.wanted.append(_wanted(event, legs[0]))
    if len(legs) > 1:
        plan.pending[key] = _pending(state, event, change - legs[0].quantity * event.side.sign, [], needs_fill=True)
        return plan, "the part beyond zero follows when the position is closed"
    return plan, ""


def _beyond_zero(inputs: DecisionInputs, event: e.OrderRequested, plan: Plan, mandate: Mandate) -> str:
    """Why a rule would deny the opening leg of an order that crosses zero; empty if none would, or there is no such leg.

    An order is refused as a whole, as brokers do: a slip of the finger would otherwise close the position and be denied after that.
    """
    waits = plan.pending.get(event.instrument_id)
    if waits is None or not plan.wanted:
        return ""
    closing = plan.wanted[0]
    quantity = to_lots(abs(waits.change), closing.instrument.lot)
    if quantity == ZERO:
        return ""
    opening = Intent(instrument=closing.instrument, side=closing.side, quantity=quantity, leg=Leg.OPEN, price=ZERO)
    denied = judge_plan(inputs, Plan(wanted=[closing, _wanted(event, opening)]), mandate).decision.denied
    return next((f"{order.denied_by}: {order.reason}" for order in denied if order.leg is Leg.OPEN), "")


def _wanted(event: e.OrderRequested, leg: Intent) -> Wanted:
    return Wanted(
        instrument=leg.instrument, side=leg.side, quantity=leg.quantity, leg=leg.leg, order_type=event.order_type,
        limit_price=event.limit_price,
    )  # fmt: skip


def _pending(state: State, event: e.OrderRequested, change: Decimal, after: list[Order], *, needs_fill: bool) -> Pending:
    return Pending(
        decision_id=f"manual-{event.request_id}",
        purpose=Purpose.MANUAL,
        session=event.session,
        time_in_force=event.time_in_force if event.time_in_force is not TimeInForce.OPG or not needs_fill else TimeInForce.DAY,
        order_type=event.order_type,
        limit_price=event.limit_price,
        target=None,
        change=change,
        after=tuple(order.client_order_id for order in after),
        needs_fill=needs_fill,
        request_id=event.request_id,
    )


def _answered(state: State, event: e.OrderRequested | e.CancelRequested, names: tuple[str, ...], reason: str) -> Step:
    if not event.request_id:  # the executor's own: it asks once, and may not crowd out what people asked for
        return state, [_answer(event, names, reason)]
    known = {**state.answered, event.request_id: Answered(asked=_asked(event), orders=names)}
    kept = dict(islice(known.items(), max(0, len(known) - REMEMBERED), None))
    return replace(state, answered=kept), [_answer(event, names, reason)]


def _asked(event: e.OrderRequested | e.CancelRequested) -> str:
    """What makes two requests the same one: neither who asks, nor when, nor why."""
    if isinstance(event, e.CancelRequested):
        return f"cancel {event.client_order_id or 'all'}"
    limit = "" if event.limit_price is None else f" at {_written(event.limit_price)}"
    force = "" if event.usual_time else f" {event.time_in_force.value}"
    return f"{event.side.value} {_written(event.quantity)} {event.instrument_id} {event.order_type.value}{limit}{force}"


def _written(number: Decimal) -> str:
    """The same of 10 and 10.0; what can be no amount as it came."""
    return f"{number.normalize():f}" if is_amount(number) else str(number)


def _asked_before(state: State, event: e.OrderRequested | e.CancelRequested, words: str) -> Record:
    """The first answer again; an id that was used for something else is an error of whoever asks, and is said."""
    before, now = state.answered[event.request_id], _asked(event)
    if before.asked == now:
        return _answer(event, before.orders, words)
    reason = f"request id {event.request_id} was used for `{before.asked}` and now asks for `{now}`: nothing is done, give a new id"
    return Record(e.RequestAnswered(ts=event.ts, request_id=event.request_id, orders=(), reason=reason, conflict=True))


def _answer(event: e.OrderRequested | e.CancelRequested, names: tuple[str, ...], reason: str) -> Record:
    return Record(e.RequestAnswered(ts=event.ts, request_id=event.request_id, orders=names, reason=reason))


def on_cancel_requested(state: State, event: e.CancelRequested) -> Step:
    """One order (or parent), or everything that works and waits. A cancel is never refused on any rung but HALTED."""
    if event.request_id in state.answered:
        return state, [_asked_before(state, event, "asked before")]
    if state.ladder.level is Level.HALTED:
        return _answered(state, event, (), "the account is halted: nothing leaves")
    name = event.client_order_id
    parents = [key for key, parent in state.parents.items() if not name or name == key or name in parent.children]
    children = {child for key in parents for child in state.parents[key].children}
    wanted = [order for order in state.working if not name or order.client_order_id == name or order.client_order_id in children]
    again = {key for key in state.reissues if not name or key == name or key in children}  # it would come back in new shares
    touched = {order.instrument_id for order in wanted}
    pending = {key: value for key, value in state.pending.items() if name and key not in touched}
    left = {key: value for key, value in state.reissues.items() if key not in again}
    state = replace(
        state, pending=pending, parents={key: value for key, value in state.parents.items() if key not in parents}, reissues=left
    )
    state, cancels = cancel_orders(state, wanted, event)
    names = tuple(order.client_order_id for order in wanted)
    why = "" if names or parents or again else ("nothing works" if not name else f"no order {name} works here")
    state, said = _answered(state, event, names, why)
    return state, [*said, *cancels]
