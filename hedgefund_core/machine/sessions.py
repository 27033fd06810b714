"""Account, configuration and model; sessions, bars, prices and what the market allows."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import msgspec
from msgspec.structs import replace

from hedgefund_core.account import mark, rows_kept, with_bars, with_history
from hedgefund_core.account_state import State, column_of, symbol_of
from hedgefund_core.commands import Command, Record
from hedgefund_core.errors import ConfigError, InvariantViolation, ModelMismatch, ModelUnavailable
from hedgefund_core.freezes import FROZEN_BY_BAN, FROZEN_BY_HALT, freeze, thaw
from hedgefund_core.live_account import aged, repriced, with_equity, with_instruments, with_name, with_prices
from hedgefund_core.machine import books, follow
from hedgefund_core.machine.ladders import Step, alert, triggered, triggered_in_session, with_ladder
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO, Instruments
from hedgefund_core.trading.ledger import CashKind, post_cash
from hedgefund_core.trading.order import Order
from hedgefund_core.trading.state import begin_session

ARCHIVED = 2_000
"""Orders of older sessions that are kept: a fill that is later than so many orders is not believed to be late."""


def on_account_opened(state: State, event: e.AccountOpened) -> Step:
    """The first frame."""
    if state.account:
        message = f"account {state.account} is open already"
        raise InvariantViolation(message)
    n = len(event.instruments)
    opened = replace(
        state,
        account=event.account,
        opened_at=event.ts,
        book=event.book,
        mode=event.mode,
        instruments=Instruments.of(event.instruments),
        source=event.source,
        price_kind=event.price_kind,
        sessions_per_year=event.sessions_per_year,
        marks=(None,) * n,
        mark_ages=(0,) * n,
        ledger=post_cash(state.ledger, CashKind.DEPOSIT, event.initial_cash),
        equity=event.initial_cash,
        marked_equity=event.initial_cash,
        external_flow=event.initial_cash,
        high_water_mark=event.initial_cash,
        resume_mark=event.initial_cash,
    )
    return opened, []


def on_configuration_loaded(state: State, event: e.ConfigurationLoaded) -> Step:
    """The mandate from here on."""
    try:
        mandate = msgspec.json.decode(event.mandate, type=Mandate)
    except msgspec.ValidationError as error:
        message = f"journaled mandate is not valid: {error}"
        raise ConfigError(message) from error
    if event.waived and not state.is_replayed:
        message = f"rules cannot be waived in mode {state.mode}: {', '.join(event.waived)}"
        raise ConfigError(message, mend="remove them from `waived` in config/trading.yaml, or use a source with the data they need")
    return replace(state, mandate=mandate, configuration_digest=event.digest, waived=frozenset(event.waived)), []


def on_model_loaded(state: State, event: e.ModelLoaded) -> Step:
    """The model from here on; refused where it was not made for this account."""
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
    said = f"{event.person} rolls back to model {event.name} version {event.version}: {event.reason}"
    return replace(state, model_digest=event.digest), [alert(event, said)] if event.person else []


# ---- sessions and bars ----------------------------------------------------------------------------------------------------


def on_session_began(state: State, event: e.SessionBegan) -> Step:
    """Session-scoped states expire; orders of sessions before the last one go to the archive (the journal keeps them all)."""
    if event.session < state.session:
        message = f"session {event.session} cannot begin after {state.session}"
        raise InvariantViolation(message, mend="replay later sessions, or open a new account")
    ladder = begin_session(state.ladder, event.session)
    kept = {key: order for key, order in state.orders.items() if order.is_working or order.session >= state.session}
    begun = replace(state, session=event.session, orders=kept, archive=_archived(state, kept), sent_session=0, refused=())
    begun = replace(begun, rejections={}, barred_until={})
    if event.session == state.ended:  # the market is open again, or still: what its clock says counts
        begun = replace(begun, ended="")
    begun, said = follow.drop_overdue(begun, event)
    if ladder == state.ladder:
        return begun, said
    begun, moved = with_ladder(begun, ladder, event)
    return begun, [*said, *moved]


def _archived(state: State, kept: Mapping[str, Order]) -> dict[str, Order]:
    if len(kept) == len(state.orders):
        return state.archive
    merged = {**state.archive, **{key: order for key, order in state.orders.items() if key not in kept}}
    return dict(islice(merged.items(), max(0, len(merged) - ARCHIVED), None))


def on_session_ended(state: State, event: e.SessionEnded) -> Step:
    """Nothing more goes out for the session; an account without bars is marked at the last prices seen."""
    state, commands = follow.drop_overdue(replace(state, ended=event.session), event)
    state, thawed = books.splits_overdue(state, event)
    commands = [*commands, *thawed]
    marked_here = state.mandate is not None and state.mandate.discretionary and state.marked != event.session
    if not marked_here or event.session < state.session:
        return state, commands
    expected = state.expected_volatility
    state, record, fraction = mark(with_equity(aged(state)), event)
    state, moved = triggered(state, event, event.session, expected, fraction)
    return state, [*commands, Record(record), *moved]


def on_history_loaded(state: State, event: e.HistoryLoaded) -> Step:
    """Bars of the past."""
    return with_history(state, event), []


def on_bars_closed(state: State, event: e.BarsClosed) -> Step:
    """Mark the account, then let the triggers speak. A session that was marked at its end is not marked twice."""
    expected, again = state.expected_volatility, state.marked == event.session and state.ended == event.session
    state = repriced(state, with_bars(state, event, rows_kept(state)), event.close)
    if again:
        return with_equity(state), []
    state, record, fraction = mark(state, event)
    state, moved = triggered(state, event, event.session, expected, fraction)
    return state, [Record(record), *moved]


# ---- in the session ---------------------------------------------------------------------------------------------------------


def on_prices_seen(state: State, event: e.PricesSeen) -> Step:
    """Marks of the moment; the triggers speak, and what waited for fresh prices goes on."""
    if event.session < state.session:
        return state, [alert(event, f"prices of session {event.session} came in {state.session}: not used")]
    state, commands = with_prices(state, event), list[Command]()
    if state.in_session:
        state, commands = triggered_in_session(state, event)
    state, more = follow.on_fresh_prices(state, event)
    return state, [*commands, *more]


def on_instruments_added(state: State, event: e.InstrumentsAdded) -> Step:
    """More columns."""
    return with_instruments(state, event), []


def on_instrument_renamed(state: State, event: e.InstrumentRenamed) -> Step:
    """Position, past and resting orders stay the instrument's: only its name is another."""
    column = column_of(state, event.instrument_id)
    if column < 0:
        return state, [alert(event, f"a new name of {event.instrument_id}, which the account does not trade")]
    before = state.instruments[column].symbol
    text = f"{before} is {event.symbol} from here on: the same instrument, its position and orders"
    return with_name(state, event), [alert(event, text)]


def on_instrument_status_seen(state: State, event: e.InstrumentStatusSeen) -> Step:
    """What the market allows: entries stop where it allows nothing, a recall of lent shares is said."""
    if column_of(state, event.instrument_id) < 0:
        return state, [alert(event, f"status of {event.instrument_id}, which the account does not trade")]
    before = state.statuses.get(event.instrument_id)
    state, commands = replace(state, statuses={**state.statuses, event.instrument_id: event}), list[Command]()
    for bad, cause in ((event.halted, FROZEN_BY_HALT), (not event.tradable, FROZEN_BY_BAN)):
        state, changed = (freeze if bad else thaw)(state, event.instrument_id, cause, event)
        commands += changed
    lent_before = before is None or (before.shortable and before.easy_to_borrow)
    recalled = lent_before and not (event.shortable and event.easy_to_borrow)
    if recalled and state.ledger.quantity(event.instrument_id) < ZERO:
        commands.append(
            alert(event, f"shares of {symbol_of(state, event.instrument_id)} are no longer easy to borrow: the short may be recalled")
        )
    if before is not None and (before.halted or not before.tradable) and not event.halted and event.tradable:
        state, more = follow.on_fresh_prices(state, event)
        commands += more
    return state, commands


def on_entries_gated(state: State, event: e.EntriesGated) -> Step:
    """A condition outside the ladder begins or ends."""
    gates = state.gates | {event.cause} if event.closed else state.gates - {event.cause}
    return replace(state, gates=gates), []


def on_segment_recorded(state: State, _event: e.SegmentRecorded) -> Step:
    """Kept for the proof; nothing follows from it."""
    return state, []


def on_trouble_seen(state: State, event: e.TroubleSeen) -> Step:
    """What the shell met becomes an alert."""
    return state, [alert(event, event.message, severity=event.severity)]
