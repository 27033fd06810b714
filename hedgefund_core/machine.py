"""The executor's brain, sans I/O: ``step(state, event) -> (state, commands)``.

The same function runs in the event-driven backtest, in replay, paper and live, and in recovery after a crash.
A shell commits the event and every ``Record`` of a step to the journal before it carries out any other command of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import replace

from hedgefund_core.account import (
    State,
    check_weights,
    decision_inputs,
    mark,
    rows_kept,
    session_closed,
    split_marks,
    with_bars,
    with_history,
)
from hedgefund_core.bundle import Bundle
from hedgefund_core.commands import CancelOrder, Command, LookUpOrder, MirrorHalt, Record, SubmitOrder
from hedgefund_core.decision import decide
from hedgefund_core.errors import ConfigError, InvariantViolation, ModelMismatch, ModelUnavailable
from hedgefund_core.freezes import (
    FROZEN_BY_CONTRADICTION,
    FROZEN_BY_DIFFERENCE,
    FROZEN_BY_OVERFILL,
    FROZEN_BY_UNKNOWN,
    FROZEN_FOR_A_PERSON,
    freeze,
    thaw,
)
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.triggers import triggers
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO, split_quantity
from hedgefund_core.trading.ledger import CashKind, apply_fill, apply_split, post_cash
from hedgefund_core.trading.order import Leg, Order, OrderMove, OrderStatus, Purpose, move
from hedgefund_core.trading.reconcile import differences
from hedgefund_core.trading.state import Ladder, Level, Scope, begin_session, escalate, resume

__all__ = ["CancelOrder", "Command", "LookUpOrder", "MirrorHalt", "Record", "Step", "SubmitOrder", "attach_bundle", "fold", "step"]

Step = tuple[State, list[Command]]

_REPLAYED_MODES = frozenset({"replay", "backtest"})


def attach_bundle(state: State, bundle: Bundle) -> State:
    """Make a verified bundle available to ``ModelLoaded`` by its digest."""
    return replace(state, bundles={**state.bundles, bundle.digest: bundle})


def step(state: State, event: e.Input) -> Step:
    """Fold one event.

    Parameters
    ----------
    state : the state before; it is not changed.
    event : an input. Broker news that is already booked (by ``broker_seq``) changes nothing; news after a gap is refused, because
        what came between would be taken as booked for ever.

    Returns
    -------
    The state after, and the commands in the order in which they are to be carried out.

    Raises
    ------
    InvariantViolation : the event contradicts the books; DataInvalid : bars or weights that are no numbers, or bars out of order;
    ModelMismatch, ModelUnavailable, ConfigError : see the events.
    """
    if isinstance(event, e.BrokerEvent):
        if event.broker_seq <= state.broker_seq:
            return state, []
        if event.broker_seq != state.broker_seq + 1:
            message = f"news {event.broker_seq} of the broker came after {state.broker_seq}: what is between them is missing"
            raise InvariantViolation(message, mend="run again: news is asked for from the last one booked")
        state = replace(state, broker_seq=event.broker_seq)
    handler: Callable[[State, Any], Step] = _HANDLERS[type(event)]  # each handler takes its own event type
    return handler(state, event)


def fold(state: State, inputs: Iterable[e.Input]) -> State:
    """The state after many inputs, without their commands."""
    for event in inputs:
        state, _ = step(state, event)
    return state


# ---- account, configuration, model --------------------------------------------------------------------------------------


def _on_account_opened(state: State, event: e.AccountOpened) -> Step:
    if state.account:
        message = f"account {state.account} is open already"
        raise InvariantViolation(message)
    n = len(event.instruments)
    opened = replace(
        state,
        account=event.account,
        book=event.book,
        mode=event.mode,
        instruments=event.instruments,
        source=event.source,
        price_kind=event.price_kind,
        sessions_per_year=event.sessions_per_year,
        marks=(None,) * n,
        mark_ages=(0,) * n,
        ledger=post_cash(state.ledger, CashKind.DEPOSIT, event.initial_cash),
        equity=event.initial_cash,
        external_flow=event.initial_cash,
        high_water_mark=event.initial_cash,
        resume_mark=event.initial_cash,
    )
    return opened, []


def _on_configuration_loaded(state: State, event: e.ConfigurationLoaded) -> Step:
    try:
        mandate = msgspec.json.decode(event.mandate, type=Mandate)
    except msgspec.ValidationError as error:
        message = f"journaled mandate is not valid: {error}"
        raise ConfigError(message) from error
    if event.waived and state.mode not in _REPLAYED_MODES:
        message = f"rules cannot be waived in mode {state.mode}: {', '.join(event.waived)}"
        raise ConfigError(message, mend="remove them from `waived` in config/trading.yaml, or use a source with the data they need")
    return replace(state, mandate=mandate, configuration_digest=event.digest, waived=frozenset(event.waived)), []


def _on_model_loaded(state: State, event: e.ModelLoaded) -> Step:
    bundle = state.bundles.get(event.digest)
    if bundle is None:
        message = f"bundle {event.digest[:12]} of model {event.name} version {event.version} is not at hand"
        raise ModelUnavailable(message, mend="restore live/<account>/bundles, or promote a model again")
    manifest = bundle.manifest
    if (manifest.price_kind, manifest.source) != (state.price_kind, state.source):
        message = f"model {manifest.name} was trained on {manifest.source} ({manifest.price_kind}), the account trades {state.source}"
        raise ModelMismatch(message, mend="train and promote a model on the source the account trades")
    if state.mandate is not None and manifest.mandate != state.mandate.name:
        message = f"model {manifest.name} was approved for mandate {manifest.mandate}, the account trades {state.mandate.name}"
        raise ModelMismatch(message, mend="promote a model of this mandate")
    return replace(state, model_digest=event.digest), []


# ---- sessions and bars ----------------------------------------------------------------------------------------------------


def _on_session_began(state: State, event: e.SessionBegan) -> Step:
    """Session-scoped states expire; orders of sessions before the last one leave the state (the journal keeps them)."""
    if event.session < state.session:
        message = f"session {event.session} cannot begin after {state.session}"
        raise InvariantViolation(message, mend="replay later sessions, or open a new account")
    ladder = begin_session(state.ladder, event.session)
    kept = {key: order for key, order in state.orders.items() if order.is_working or order.session >= state.session}
    begun = replace(state, session=event.session, orders=kept)
    return _with_ladder(begun, ladder, event) if ladder != state.ladder else (begun, [])


def _on_history_loaded(state: State, event: e.HistoryLoaded) -> Step:
    return with_history(state, event), []


def _on_bars_closed(state: State, event: e.BarsClosed) -> Step:
    """Mark the account, then let the triggers speak."""
    expected = state.expected_volatility
    state, record, day_return = mark(with_bars(state, event, rows_kept(state)), event)
    commands: list[Command] = [Record(record)]
    if state.mandate is None:
        return state, commands
    daily = expected / state.sessions_per_year**0.5
    for trigger in triggers(day_return, daily, state.drawdown, state.mandate, state.sessions_per_year):
        cause = f"{trigger.name} {trigger.measured:.4f} beyond {trigger.limit:.4f}"
        ladder = escalate(state.ladder, Level[trigger.level_name], Scope(trigger.scope), cause=cause, session=event.session)
        if ladder != state.ladder:
            state, moved = _with_ladder(state, ladder, event)
            commands += moved
    return state, commands


def _with_ladder(state: State, ladder: Ladder, event: e.Event, extra: tuple[Command, ...] = ()) -> Step:
    """Move the ladder, record it, and cancel what may no longer work (a cancel is always allowed)."""
    moved = e.LadderMoved(
        ts=event.ts,
        session=ladder.since_session,
        before=state.ladder.name,
        after=ladder.name,
        scope=ladder.scope.value,
        cause=ladder.cause,
        person=ladder.person,
    )
    commands: list[Command] = [Record(moved), *extra]
    state = replace(state, ladder=ladder, sessions_flat=-1)
    if ladder.level in {Level.CANCELLING, Level.FLATTENING}:
        state, cancels = _cancel_working(state, event, entries_only=False)
        commands += cancels
    elif ladder.level is Level.REDUCING:
        state, cancels = _cancel_working(state, event, entries_only=True)
        commands += cancels
    return state, commands


def _cancel_working(state: State, event: e.Event, *, entries_only: bool) -> Step:
    orders, commands = dict(state.orders), list[Command]()
    for order in state.working:
        asked = move(order, OrderMove.CANCEL_REQUEST, at=event.ts)
        if asked is not None and not (entries_only and order.leg is Leg.CLOSE):
            orders[order.client_order_id] = asked
            commands.append(CancelOrder(order.client_order_id))
    return replace(state, orders=orders), commands


# ---- decisions --------------------------------------------------------------------------------------------------------------


def _on_decision_due(state: State, event: e.DecisionDue) -> Step:
    check_weights(state, event)
    if not _is_due(state, event):
        message = f"no decision at {event.session} for {event.for_session}: the account has the bars of {state.session or 'no session'}"
        return state, [Record(e.AlertRaised(ts=event.ts, severity="warning", message=message))]
    purpose = _purpose(state, event)
    if purpose is None or state.mandate is None:
        return state, []
    bundle = state.bundle if purpose is Purpose.MODEL else None
    decision = decide(decision_inputs(state, event, purpose), bundle, state.mandate)
    commands: list[Command] = [Record(decision.record)]
    commands += [Record(e.OrderDenied(ts=event.ts, order=order)) for order in decision.denied]
    commands += [Record(e.OrderIntended(ts=event.ts, order=order)) for order in decision.allowed]
    commands += [SubmitOrder(order) for order in decision.allowed]
    orders = {**state.orders, **{order.client_order_id: order for order in decision.allowed}}
    return replace(state, orders=orders, decisions=state.decisions + 1), commands


def _is_due(state: State, event: e.DecisionDue) -> bool:
    """A decision stands on the bars of its own session and trades in a later one: a late run decides nothing."""
    return event.session == state.session and session_closed(state) and event.for_session > event.session


def _purpose(state: State, event: e.DecisionDue) -> Purpose | None:
    """What kind of decision is due; None where nothing may or need be decided."""
    level = state.ladder.level
    if level in {Level.HALTED, Level.CANCELLING}:
        return None
    if level is Level.FLATTENING or _model_ended(state, event):
        return None if state.is_flat else Purpose.FLATTEN
    if event.target_weights is not None:
        return Purpose.TARGETS
    return Purpose.MODEL if event.rebalance and state.bundle is not None else None


def _model_ended(state: State, event: e.DecisionDue) -> bool:
    """Whether the model has expired and the mandate's end state is to flatten."""
    if state.bundle is None or state.mandate is None or event.target_weights is not None:
        return False
    return state.mandate.expiry_end_state == "flatten" and event.ts.date() > state.bundle.manifest.expires_on()


# ---- news from the broker -----------------------------------------------------------------------------------------------------


def _moved(state: State, client_order_id: str, how: OrderMove, event: e.Event) -> Step:
    """Move an order through its table; an order or a move we do not know is said and left to reconciliation."""
    order = state.orders.get(client_order_id)
    changed = None if order is None else move(order, how, at=event.ts)
    if order is None or changed is None:
        status = "no such order here" if order is None else f"it is {order.status.value}"
        alert = e.AlertRaised(ts=event.ts, severity="warning", message=f"{how.value} of order {client_order_id}: {status}")
        return state, [Record(alert)]
    known = replace(state, orders={**state.orders, client_order_id: changed})
    if order.status is OrderStatus.UNKNOWN and changed.status is not OrderStatus.UNKNOWN:
        return thaw(known, order.instrument_id, FROZEN_BY_UNKNOWN, event)
    return known, []


def _on_order_accepted(state: State, event: e.OrderAccepted) -> Step:
    state, commands = _moved(state, event.client_order_id, OrderMove.ACCEPT, event)
    order = state.orders.get(event.client_order_id)
    if order is not None and order.broker_order_id != event.broker_order_id:
        named = replace(order, broker_order_id=event.broker_order_id)
        state = replace(state, orders={**state.orders, event.client_order_id: named})
    return state, commands


def _on_order_filled(state: State, event: e.OrderFilled) -> Step:
    order = state.orders.get(event.client_order_id)
    if order is None:
        return _external_fill(state, event)
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
    state, commands = _moved(state, event.client_order_id, how, event)
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
    return state, commands


def _external_fill(state: State, event: e.OrderFilled) -> Step:
    """A fill of an order that is not ours: nothing is booked; entries stop until reconciliation and a person explain it."""
    cause = f"fill {event.fill_id} of unknown order {event.client_order_id}"
    alert = Record(e.AlertRaised(ts=event.ts, severity="critical", message=cause))
    ladder = escalate(state.ladder, Level.REDUCING, Scope.ACCOUNT, cause=cause, session=event.session)
    return _with_ladder(state, ladder, event, (alert,)) if ladder != state.ladder else (state, [alert])


def _on_order_rejected(state: State, event: e.OrderRejected) -> Step:
    state, commands = _moved(state, event.client_order_id, OrderMove.REJECT, event)
    order = state.orders.get(event.client_order_id)
    if order is not None and order.status is OrderStatus.REJECTED:
        state = replace(state, orders={**state.orders, event.client_order_id: replace(order, reason=event.reason)})
    return state, commands


def _on_order_canceled(state: State, event: e.OrderCanceled) -> Step:
    return _moved(state, event.client_order_id, OrderMove.CANCEL, event)


def _on_order_expired(state: State, event: e.OrderExpired) -> Step:
    return _moved(state, event.client_order_id, OrderMove.EXPIRE, event)


def _on_cash_posted(state: State, event: e.CashPosted) -> Step:
    return replace(state, ledger=post_cash(state.ledger, event.cash_kind, event.amount)), []


def _on_split_processed(state: State, event: e.SplitProcessed) -> Step:
    """Adjust position, cost and mark once. The quantity is our own arithmetic: reconciliation compares it with the broker's."""
    if not event.ratio.is_finite() or event.ratio <= ZERO:
        message = f"impossible split of {event.instrument_id}: {event.ratio}"
        raise InvariantViolation(message)
    lots = {instrument.instrument_id: instrument.lot for instrument in state.instruments}
    held = state.ledger.quantity(event.instrument_id)
    after, _ = split_quantity(held, event.ratio, lots.get(event.instrument_id, Decimal(1)))
    ledger = apply_split(state.ledger, instrument_id=event.instrument_id, quantity_after=after, cash_in_lieu=event.cash_in_lieu)
    return split_marks(replace(state, ledger=ledger), event.instrument_id, event.ratio), []


def _on_order_outcome_unknown(state: State, event: e.OrderOutcomeUnknown) -> Step:
    state, commands = _moved(state, event.client_order_id, OrderMove.LOSE, event)
    order = state.orders.get(event.client_order_id)
    if order is not None and order.status is OrderStatus.UNKNOWN:  # not where the news has overtaken the lost answer
        state, frozen = freeze(state, order.instrument_id, FROZEN_BY_UNKNOWN, event)
        commands += frozen
    return state, [*commands, LookUpOrder(event.client_order_id)]


def _on_order_absent(state: State, event: e.OrderAbsent) -> Step:
    """The broker surely has no such order: send it again under the same id, which is the only id this intent ever has.

    Not if its session is over (it would trade at another auction than the one it was judged for), nor if the ladder has moved
    since: what may not be sent now may not be sent again either.
    """
    before = state.orders.get(event.client_order_id)
    how = OrderMove.ABSENT if before is None else _fate_of_absent(state, before)
    state, commands = _moved(state, event.client_order_id, how, event)
    order = state.orders.get(event.client_order_id)
    if before is None or order is None or not (how is OrderMove.ABSENT and order.status is OrderStatus.PENDING_NEW):
        return state, commands
    return state, [*commands, SubmitOrder(order)]


def _fate_of_absent(state: State, order: Order) -> OrderMove:
    if not order.is_working:
        return OrderMove.ABSENT
    if order.session < state.session or (order.session == state.session and session_closed(state)):
        return OrderMove.EXPIRE
    level = state.ladder.level
    exits = (level is Level.REDUCING and order.leg is Leg.CLOSE) or (level is Level.FLATTENING and order.purpose is Purpose.FLATTEN)
    return OrderMove.ABSENT if level is Level.ACTIVE or exits else OrderMove.CANCEL


def _on_broker_reported(state: State, event: e.BrokerReported) -> Step:
    """Reconcile. A position difference freezes its instrument; a cash difference stops entries until a person explains it."""
    if event.last_broker_seq != state.broker_seq:
        message = f"the broker's books at news {event.last_broker_seq} cannot be compared with ours at {state.broker_seq}"
        return state, [Record(e.AlertRaised(ts=event.ts, severity="warning", message=message))]
    symbols = {instrument.instrument_id: instrument.symbol for instrument in state.instruments}
    found = differences(state.ledger, state.orders, event, symbols)
    commands: list[Command] = [Record(e.Reconciled(ts=event.ts, session=event.session, ok=not found, differences=found))]
    differing = {difference.symbol for difference in found if difference.kind == "position"}
    for instrument_id, symbol in symbols.items():
        change = freeze if symbol in differing else thaw
        state, changed = change(state, instrument_id, FROZEN_BY_DIFFERENCE, event)
        commands += changed
    outside = sorted(differing - set(symbols.values()))
    cash = [difference for difference in found if difference.kind == "cash"]
    if cash or outside:
        cause = f"cash {cash[0].ours} against the broker's {cash[0].broker}" if cash else f"unknown instruments held: {', '.join(outside)}"
        ladder = escalate(state.ladder, Level.REDUCING, Scope.ACCOUNT, cause=cause, session=event.session)
        if ladder != state.ladder:
            state, moved = _with_ladder(state, ladder, event)
            commands += moved
    return state, [*commands, *_asked_again(state, event)]


def _asked_again(state: State, event: e.BrokerReported) -> list[Command]:
    """Orders that the broker does not show are looked up; a cancel is repeated until the broker shows that it worked."""
    lost: list[Command] = [LookUpOrder(order.client_order_id) for order in state.working if order.client_order_id not in event.open_orders]
    open_here = {order.client_order_id for order in state.working if order.status is not OrderStatus.PENDING_CANCEL}
    level = state.ladder.level
    strangers_too = level in {Level.CANCELLING, Level.FLATTENING}
    again: list[Command] = [
        CancelOrder(key)
        for key in event.open_orders
        if level is not Level.HALTED and key not in open_here and (strangers_too or (key in state.orders and state.orders[key].is_working))
    ]
    return [*lost, *again]


# ---- people -----------------------------------------------------------------------------------------------------------------


def _on_halt_requested(state: State, event: e.HaltRequested) -> Step:
    readable = Level.REDUCING <= event.level <= Level.HALTED
    level = Level(event.level) if readable else Level.HALTED  # a level that is none is taken as the strictest
    ladder = escalate(state.ladder, level, Scope.ACCOUNT, cause=event.reason, session=event.session, person=event.person)
    if ladder == state.ladder:
        return state, [MirrorHalt(on=True)]
    return _with_ladder(state, ladder, event, (MirrorHalt(on=True),))


def _on_resume_requested(state: State, event: e.ResumeRequested) -> Step:
    """A person resumes with a reason: drawdown is measured anew from here, and what only a person may thaw is thawed."""
    if not event.person.strip() or not event.reason.strip():
        alert = e.AlertRaised(ts=event.ts, severity="warning", message="a resume needs a person and a reason: nothing is resumed")
        return state, [Record(alert)]
    commands: list[Command] = []
    for instrument_id in tuple(state.frozen):
        for cause in FROZEN_FOR_A_PERSON:
            state, thawed = thaw(state, instrument_id, cause, event)
            commands += thawed
    if state.ladder.level is Level.ACTIVE:  # nothing is halted: the high-water mark stays
        return state, [*commands, MirrorHalt(on=False)]
    ladder = resume(event.session, person=event.person, reason=event.reason)
    state, moved = _with_ladder(replace(state, resume_mark=state.equity), ladder, event, (MirrorHalt(on=False),))
    return state, [*commands, *moved]


def _on_stand_in_resumed(state: State, event: e.StandInResumed) -> Step:
    if state.mode not in _REPLAYED_MODES:
        message = f"a stand-in may not resume in mode {state.mode}"
        raise InvariantViolation(message, mend="a person resumes: executor resume --reason …")
    if state.ladder.level is not Level.ACTIVE and state.ladder.person:
        message = f"a stand-in may not end what {state.ladder.person} began: {state.ladder.cause}"
        raise InvariantViolation(message, mend="a person resumes: executor resume --reason …")
    resumed = replace(state, resume_mark=state.equity, stand_ins=state.stand_ins + 1)
    return _with_ladder(resumed, resume(event.session, person="", reason="stand-in"), event)


_HANDLERS: dict[type[e.Event], Callable[[State, Any], Step]] = {
    e.AccountOpened: _on_account_opened,
    e.ConfigurationLoaded: _on_configuration_loaded,
    e.ModelLoaded: _on_model_loaded,
    e.SessionBegan: _on_session_began,
    e.HistoryLoaded: _on_history_loaded,
    e.BarsClosed: _on_bars_closed,
    e.DecisionDue: _on_decision_due,
    e.OrderAccepted: _on_order_accepted,
    e.OrderFilled: _on_order_filled,
    e.OrderRejected: _on_order_rejected,
    e.OrderCanceled: _on_order_canceled,
    e.OrderExpired: _on_order_expired,
    e.CashPosted: _on_cash_posted,
    e.SplitProcessed: _on_split_processed,
    e.OrderOutcomeUnknown: _on_order_outcome_unknown,
    e.OrderAbsent: _on_order_absent,
    e.BrokerReported: _on_broker_reported,
    e.HaltRequested: _on_halt_requested,
    e.ResumeRequested: _on_resume_requested,
    e.StandInResumed: _on_stand_in_resumed,
}
