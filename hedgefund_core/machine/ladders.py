"""Moving the ladder, and what it takes out of the market."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from hedgefund_core.account_state import State
from hedgefund_core.commands import CancelOrder, Command, Record
from hedgefund_core.live_account import day_return
from hedgefund_core.risk.triggers import Trigger, triggers
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Leg, Order, OrderMove, OrderStatus, Purpose, move
from hedgefund_core.trading.state import Ladder, Level, Scope, escalate

Step = tuple[State, list[Command]]


def alert(event: e.Event, message: str, *, severity: str = "warning") -> Record:
    """Something a person should know."""
    return Record(e.AlertRaised(ts=event.ts, severity=severity, message=message))


def with_ladder(state: State, ladder: Ladder, event: e.Event, extra: tuple[Command, ...] = ()) -> Step:
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
    state = replace(state, ladder=ladder, sessions_flat=-1, flat_confirmed=False)
    if state.pending or state.parents or state.reissues:
        state = _without_what_was_to_come(state, ladder)
    if ladder.level in {Level.CANCELLING, Level.FLATTENING}:
        state, cancels = cancel_orders(state, (order for order in state.working if not _is_wanted(ladder, order)), event)
        commands += cancels
    elif ladder.level is Level.REDUCING:
        state, cancels = cancel_orders(state, (order for order in state.working if order.leg is not Leg.CLOSE), event)
        commands += cancels
    return state, commands


def _without_what_was_to_come(state: State, ladder: Ladder) -> State:
    """What was still to come was judged on another rung; a resume ends a flattening, and leaves what somebody asked for meanwhile."""
    if ladder.level > Level.ACTIVE:
        again = state.reissues if ladder.level is Level.REDUCING else {}  # there a rule judges each of them when it is to go out
        return replace(state, pending={}, parents={}, reissues=again)
    return replace(
        state,
        pending={key: pending for key, pending in state.pending.items() if pending.purpose is not Purpose.FLATTEN},
        parents={key: parent for key, parent in state.parents.items() if parent.order.purpose is not Purpose.FLATTEN},
    )


def _is_wanted(ladder: Ladder, order: Order) -> bool:
    """A close that nobody can find yet: under its one id it may go out again, and a second one beside it might sell twice."""
    return ladder.level is Level.FLATTENING and order.purpose is Purpose.FLATTEN and order.status is OrderStatus.UNKNOWN


def cancel_orders(state: State, wanted: Iterable[Order], event: e.Event) -> Step:
    """Ask for cancels of orders that may still be asked to."""
    orders, commands, unfound = dict(state.orders), list[Command](), set[str]()
    for order in wanted:
        asked = move(order, OrderMove.CANCEL_REQUEST, at=event.ts)
        if asked is not None and order.client_order_id in orders:
            orders[order.client_order_id] = asked
            commands.append(CancelOrder(order.client_order_id))
            if asked.status is OrderStatus.UNKNOWN:
                unfound.add(order.client_order_id)
    return replace(state, orders=orders, to_cancel=state.to_cancel | unfound), commands


def triggered(state: State, event: e.Event, session: str, expected_volatility: float, fraction: float) -> Step:
    """Let the account's triggers speak at a mark."""
    daily = expected_volatility / state.sessions_per_year**0.5
    if state.mandate is None:
        return state, []
    return _spoken(state, event, session, triggers(fraction, daily, state.drawdown, state.mandate, state.sessions_per_year))


def triggered_in_session(state: State, event: e.PricesSeen) -> Step:
    """Let the triggers speak at prices of a moment. One price may be wrong: everything is closed when the next look says so too."""
    daily = state.expected_volatility / state.sessions_per_year**0.5
    if state.mandate is None:
        return state, []
    found = triggers(day_return(state), daily, state.drawdown, state.mandate, state.sessions_per_year)
    worst = [trigger for trigger in found if Level[trigger.level_name] is Level.FLATTENING]
    if not worst or state.alarmed:
        return _spoken(replace(state, alarmed=bool(worst)), event, event.session, found)
    state, commands = _spoken(replace(state, alarmed=True), event, event.session, [trigger for trigger in found if trigger not in worst])
    if state.ladder.level >= Level.FLATTENING:
        return state, commands
    text = f"{worst[0].name} {worst[0].measured:.4f} beyond {worst[0].limit:.4f}: everything is closed if the next prices say so too"
    return state, [*commands, alert(event, text, severity="critical")]


def _spoken(state: State, event: e.Event, session: str, found: Sequence[Trigger]) -> Step:
    commands: list[Command] = []
    for trigger in found:
        cause = f"{trigger.name} {trigger.measured:.4f} beyond {trigger.limit:.4f}"
        ladder = escalate(state.ladder, Level[trigger.level_name], Scope(trigger.scope), cause=cause, session=session)
        if ladder != state.ladder:
            state, moved = with_ladder(state, ladder, event)
            commands += moved
    return state, commands
