"""Cash, splits, the broker's own report, and what a person adopts."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from msgspec.structs import replace

from hedgefund_core.account import split_marks
from hedgefund_core.account_state import State, column_of, residues, symbol_of
from hedgefund_core.commands import CancelOrder, Command, LookUpOrder, Record
from hedgefund_core.errors import InvariantViolation
from hedgefund_core.freezes import FROZEN_BY_DIFFERENCE, FROZEN_BY_SPLIT, causes_of, freeze, thaw
from hedgefund_core.live_account import is_priced_before, with_equity, with_position
from hedgefund_core.machine import follow
from hedgefund_core.machine.ladders import Step, alert, with_ladder
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ONE, ZERO, split_quantity
from hedgefund_core.trading.ledger import CashKind, apply_split, post_cash
from hedgefund_core.trading.order import OrderStatus
from hedgefund_core.trading.reconcile import LIVE_CASH_TOLERANCE, differences, rounding_bound
from hedgefund_core.trading.state import Level, Scope, escalate

_SAME_SPLIT = timedelta(days=7)
"""Activity list, position report and announcement tell of one split within days of each other."""


def on_cash_posted(state: State, event: e.CashPosted) -> Step:
    """A cash line."""
    return replace(state, ledger=post_cash(state.ledger, event.cash_kind, event.amount)), []


def on_cash_adopted(state: State, event: e.CashAdopted) -> Step:
    """A difference that a person explains: it shows in the result, where an unexplained one belongs."""
    if not event.person.strip() or not event.reason.strip():
        return state, [alert(event, "an adoption needs a person and a reason: nothing is adopted")]
    adopted = replace(state, ledger=post_cash(state.ledger, CashKind.ADJUSTMENT, event.amount), suspected=())
    return with_equity(adopted), [alert(event, f"{event.person} adopts {event.amount} of cash: {event.reason}", severity="info")]


def on_position_adopted(state: State, event: e.PositionAdopted) -> Step:
    """A position as the broker has it. Nothing is traded."""
    if column_of(state, event.instrument_id) < 0:
        message = f"position in {event.instrument_id}, which the account does not know"
        raise InvariantViolation(message, mend="add the instrument first")
    began = not state.marked and not state.orders
    if not began and not (event.person.strip() and event.reason.strip()):
        return state, [alert(event, "an adoption needs a person and a reason: nothing is adopted")]
    held = state.ledger.quantity(event.instrument_id)
    state = replace(with_position(state, event.instrument_id, event.quantity, event.average_price), suspected=())
    state, thawed = thaw(state, event.instrument_id, FROZEN_BY_DIFFERENCE, event)
    who = event.person or "the opening of the account"
    text = f"{who} adopts {event.quantity} {symbol_of(state, event.instrument_id)} (before: {held}): {event.reason or 'held at the broker'}"
    return state, [alert(event, text, severity="info"), *thawed]


# ---- splits -----------------------------------------------------------------------------------------------------------------------


def on_split_announced(state: State, event: e.SplitAnnounced) -> Step:
    """Before the open: resting orders of the instrument leave the market, and come back in new shares once they are surely gone.

    What is held waits for the broker's word, and nothing is added to it before. Nobody will tell of a split of nothing: that nothing
    is held must then be the broker's word too, since a fill in old shares may not be known here yet.
    """
    known, key = state.announced.get(event.instrument_id), event.instrument_id
    if known is not None and (known.session, known.ratio) == (event.session, event.ratio):
        return state, []
    _check_ratio(key, event.ratio)
    if column_of(state, key) < 0:
        return state, [alert(event, f"a split of {key}, which the account does not know")]
    state = replace(state, announced={**state.announced, key: event})
    if _is_applied(state, key, event.ratio, event.session):
        return state, []
    frozen: list[Command] = []
    if event.session > state.session or state.ledger.quantity(key) == ZERO:
        state, frozen = freeze(state, key, FROZEN_BY_SPLIT, event)
    state, commands = follow.withdraw(state, key, event.ratio, event, adjusted=False, before=event.session)
    return state, [*frozen, *commands]


def splits_overdue(state: State, event: e.SessionEnded) -> Step:
    """The session of an announced split is over and the broker never told of it: what was held back for it goes on."""
    commands: list[Command] = []
    for key, split in state.announced.items():
        if split.session <= event.session:
            state, thawed = thaw(state, key, FROZEN_BY_SPLIT, event)
            if thawed:
                thawed = [*thawed, alert(event, f"the split of {key} announced for {split.session} was not seen at the broker")]
            commands += thawed
    near = {key: split for key, split in state.announced.items() if split.session > event.session or _is_near(split.session, event.session)}
    return replace(state, announced=near), commands  # one that never came must not explain a difference of another day


def on_split_processed(state: State, event: e.SplitProcessed) -> Step:
    """Adjust position, cost and mark once. The quantity is our own arithmetic: reconciliation compares it with the broker's."""
    _check_ratio(event.instrument_id, event.ratio)
    if not state.is_replayed and _is_applied(state, event.instrument_id, event.ratio, event.session):
        return replace(state, ledger=post_cash(state.ledger, CashKind.CASH_IN_LIEU, event.cash_in_lieu)), []
    return _split(state, event, event.instrument_id, event.ratio, event.session, event.cash_in_lieu)


def _check_ratio(instrument_id: str, ratio: Decimal) -> None:
    if not ratio.is_finite() or ratio <= ZERO:
        message = f"impossible split of {instrument_id}: {ratio}"
        raise InvariantViolation(message)


def _is_applied(state: State, instrument_id: str, ratio: Decimal, session: str) -> bool:
    last = state.splits.get(instrument_id)
    if last is None or last.ratio != ratio:
        return False
    return _is_near(last.session, session)


def _is_near(one: str, other: str) -> bool:
    return abs(date.fromisoformat(one) - date.fromisoformat(other)) <= _SAME_SPLIT


def _split(state: State, event: e.Event, instrument_id: str, ratio: Decimal, session: str, cash_in_lieu: Decimal) -> Step:
    lots = {instrument.instrument_id: instrument.lot for instrument in state.instruments}
    held = state.ledger.quantity(instrument_id)
    after, _ = split_quantity(held, ratio, lots.get(instrument_id, ONE))
    ledger = apply_split(state.ledger, instrument_id=instrument_id, quantity_after=after, cash_in_lieu=cash_in_lieu)
    state = replace(state, ledger=ledger)
    if state.is_replayed:  # the simulated exchange takes orders in old shares out of the market itself
        return split_marks(state, instrument_id, ratio), []
    known = state.announced.get(instrument_id)
    is_announced = known is not None and known.ratio == ratio and _is_near(known.session, session)
    if known is not None and is_announced:
        session = known.session  # the activity list dates it by the day on which it was booked
    if known is None or is_priced_before(state, instrument_id, session):
        state = split_marks(state, instrument_id, ratio)
        state = replace(state, quotes=follow.without_quote(state, instrument_id))
    done = e.SplitAnnounced(ts=event.ts, instrument_id=instrument_id, ratio=ratio, session=session)
    state, thawed = thaw(replace(state, splits={**state.splits, instrument_id: done}), instrument_id, FROZEN_BY_SPLIT, event)
    state, commands = follow.withdraw(state, instrument_id, ratio, event, adjusted=True, before=session if is_announced else "")
    return with_equity(state), [*thawed, *commands]


# ---- the broker's own books ---------------------------------------------------------------------------------------------------------


def on_broker_reported(state: State, event: e.BrokerReported) -> Step:
    """Reconcile. A position difference freezes its instrument; a cash difference stops entries until a person explains it.

    A live broker's reads lag: there a difference counts when two reports in a row show the same one.
    """
    if event.last_broker_seq != state.broker_seq:
        message = f"the broker's books at news {event.last_broker_seq} cannot be compared with ours at {state.broker_seq}"
        return state, [alert(event, message)]
    commands: list[Command] = []
    if event.lagging:
        state, commands = _splits_in_report(replace(state, buying_power=event.buying_power), event)
        state, rounded = _rounded(state, event)
        commands += rounded
    symbols = {instrument.instrument_id: instrument.symbol for instrument in state.instruments}
    found = _found(state, event, symbols)
    counts = tuple(difference for difference in found if not event.lagging or difference in state.suspected)
    fresh = {d for d in counts if event.lagging and d.kind == "position"}
    state = replace(state, suspected=found if event.lagging else ())
    commands.append(Record(e.Reconciled(ts=event.ts, session=event.session, ok=not found, differences=found)))
    doubtful, differing = ({d.symbol for d in these if d.kind == "position"} for these in (found, counts))
    for instrument_id, symbol in symbols.items():
        if (symbol in doubtful and symbol not in differing) or (symbol not in differing and instrument_id not in state.frozen):
            continue
        change = freeze if symbol in differing else thaw
        state, changed = change(state, instrument_id, FROZEN_BY_DIFFERENCE, event)
        commands += changed
        if changed and symbol in differing and fresh:
            commands.append(alert(event, f"position of {symbol} differs from the broker's", severity="critical"))
    state, more = _unexplained(state, event, counts, differing - set(symbols.values()))
    state, kept = _residues(state, event)
    state, said = _flat(state, event, ok=not found)
    return state, [*commands, *more, *kept, *said, *_asked_again(state, event)]


def _found(state: State, event: e.BrokerReported, symbols: dict[str, str]) -> tuple[e.Difference, ...]:
    if not event.lagging:
        return differences(state.ledger, state.orders, event, symbols)
    tolerance = LIVE_CASH_TOLERANCE + rounding_bound(state.ledger)
    return differences(state.ledger, state.orders, event, symbols, working=state.working, cash_tolerance=tolerance)


def _rounded(state: State, event: e.BrokerReported) -> Step:
    """Book what the rounding of fills explains, once two reports in a row show the same: it never adds up unseen."""
    off, fills = event.cash - state.ledger.cash, state.ledger.odd_fills
    if off == ZERO:  # equal to the last place: nothing so far was rounded
        return replace(state, cash_off=off, ledger=replace(state.ledger, odd_fills=0)), []
    if off != state.cash_off or abs(off) > rounding_bound(state.ledger):
        return replace(state, cash_off=off), []
    ledger = replace(post_cash(state.ledger, CashKind.ROUNDING, off), odd_fills=0)
    record = Record(e.CashRounded(ts=event.ts, amount=off, fills=fills, session=event.session))
    return with_equity(replace(state, ledger=ledger, cash_off=ZERO)), [record]


def _unexplained(state: State, event: e.BrokerReported, counts: tuple[e.Difference, ...], outside: set[str]) -> Step:
    """Cash that differs, or instruments that we do not know: the account may only reduce."""
    cash = [difference for difference in counts if difference.kind == "cash"]
    if not cash and not outside:
        return state, []
    cause = f"unknown instruments held: {', '.join(sorted(outside))}"
    if cash:
        cause = f"cash {cash[0].ours} against the broker's {cash[0].broker}"
    ladder = escalate(state.ladder, Level.REDUCING, Scope.ACCOUNT, cause=cause, session=event.session)
    return with_ladder(state, ladder, event) if ladder != state.ladder else (state, [])


def _splits_in_report(state: State, event: e.BrokerReported) -> Step:
    """A split that is done: the report shows a position in new shares before the activity list does, or there never will be any in old."""
    commands: list[Command] = []
    for instrument_id, split in state.announced.items():
        held, theirs = state.ledger.quantity(instrument_id), event.positions.get(instrument_id, ZERO)
        lot = next((i.lot for i in state.instruments if i.instrument_id == instrument_id), ONE)
        done = split.session <= event.session and held != theirs and split_quantity(held, split.ratio, lot)[0] == theirs
        waits = FROZEN_BY_SPLIT in causes_of(state, instrument_id)
        nothing = waits and held == theirs == ZERO and not _may_fill_before(state, split)
        if (done or nothing) and not _is_applied(state, instrument_id, split.ratio, split.session):
            state, more = _split(state, event, instrument_id, split.ratio, split.session, ZERO)
            commands += more
    return state, commands


def _may_fill_before(state: State, split: e.SplitAnnounced) -> bool:
    """Whether an order of a session before the split may still bring old shares, that are perhaps filled and not booked yet."""
    return any(order.instrument_id == split.instrument_id and order.session < split.session for order in state.working)


def _residues(state: State, event: e.BrokerReported) -> Step:
    """Say once of each fraction that no order can close that it stays."""
    found = residues(state)
    fresh = found.keys() - state.residues_told
    if found.keys() != state.residues_told:
        state = replace(state, residues_told=frozenset(found))
    words = "stays, whatever the target: the broker trades it in whole shares only. Once it is paid out: executor reconcile --adopt"
    return state, [alert(event, f"{found[key]} {symbol_of(state, key)} {words}") for key in sorted(fresh)]


def _flat(state: State, event: e.BrokerReported, *, ok: bool) -> Step:
    """A flattening is done when the broker's own books say so."""
    if state.ladder.level is not Level.FLATTENING or not event.lagging or not state.is_flat or not ok or state.flat_confirmed:
        return state, []
    kept = residues(state)
    if any(quantity != kept.get(key, ZERO) for key, quantity in event.positions.items()):
        return state, []
    rest = ", ".join(f"{quantity} {symbol_of(state, key)}" for key, quantity in sorted(kept.items()))
    but = f", but for what only whole shares are traded of: {rest}" if rest else ""
    return replace(state, flat_confirmed=True), [alert(event, f"flat: the broker's books confirm it{but}", severity="info")]


def _asked_again(state: State, event: e.BrokerReported) -> list[Command]:
    """Orders that the broker does not show are looked up; a cancel is repeated until the broker shows that it worked."""
    lost: list[Command] = [
        LookUpOrder(order.client_order_id)
        for order in state.working
        if order.client_order_id not in event.open_orders and not (event.lagging and order.status is OrderStatus.PENDING_NEW)
    ]
    open_here = {order.client_order_id for order in state.working if order.status is not OrderStatus.PENDING_CANCEL}
    level = state.ladder.level
    strangers_too = level in {Level.CANCELLING, Level.FLATTENING}
    again: list[Command] = [
        CancelOrder(key)
        for key in event.open_orders
        if level is not Level.HALTED and key not in open_here and (strangers_too or (key in state.orders and state.orders[key].is_working))
    ]
    return [*lost, *again]
