"""Which handler takes which input. The table is total: a test compares it with the union of inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from hedgefund_core.account_state import State
from hedgefund_core.bundle import Bundle
from hedgefund_core.errors import InvariantViolation
from hedgefund_core.machine import books, decisions, emergencies, orders, people, runs, sessions
from hedgefund_core.machine.ladders import Step
from hedgefund_core.trading import events as e


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
    InvariantViolation : the event contradicts the books; DataInvalid : bars, prices or weights that are no numbers, or bars out of order;
    ModelMismatch, ModelUnavailable, ConfigError : see the events.
    """
    if isinstance(event, e.BrokerEvent):
        if event.broker_seq <= state.broker_seq:
            return state, []
        if event.broker_seq != state.broker_seq + 1:
            message = f"news {event.broker_seq} of the broker came after {state.broker_seq}: what is between them is missing"
            raise InvariantViolation(message, mend="run again: news is asked for from the last one booked")
        state = replace(state, broker_seq=event.broker_seq)
    handler: Callable[[State, Any], Step] = HANDLERS[type(event)]  # each handler takes its own event type
    return handler(state, event)


def fold(state: State, inputs: Iterable[e.Input]) -> State:
    """The state after many inputs, without their commands."""
    for event in inputs:
        state, _ = step(state, event)
    return state


HANDLERS: dict[type[e.Event], Callable[[State, Any], Step]] = {
    e.AccountOpened: sessions.on_account_opened,
    e.ConfigurationLoaded: sessions.on_configuration_loaded,
    e.ModelLoaded: sessions.on_model_loaded,
    e.SessionBegan: sessions.on_session_began,
    e.SessionEnded: sessions.on_session_ended,
    e.HistoryLoaded: sessions.on_history_loaded,
    e.BarsClosed: sessions.on_bars_closed,
    e.PricesSeen: sessions.on_prices_seen,
    e.InstrumentsAdded: sessions.on_instruments_added,
    e.InstrumentRenamed: sessions.on_instrument_renamed,
    e.InstrumentStatusSeen: sessions.on_instrument_status_seen,
    e.EntriesGated: sessions.on_entries_gated,
    e.TroubleSeen: sessions.on_trouble_seen,
    e.SegmentRecorded: sessions.on_segment_recorded,
    e.DecisionDue: decisions.on_decision_due,
    e.SliceDue: decisions.on_slice_due,
    e.OrderAccepted: orders.on_order_accepted,
    e.OrderFilled: orders.on_order_filled,
    e.OrderRejected: orders.on_order_rejected,
    e.OrderCanceled: orders.on_order_canceled,
    e.OrderExpired: orders.on_order_expired,
    e.OrderReplaced: orders.on_order_replaced,
    e.OrderDoneForDay: orders.on_order_done_for_day,
    e.FillBusted: orders.on_fill_busted,
    e.FillCorrected: orders.on_fill_corrected,
    e.ExternalFilled: orders.on_external_filled,
    e.NewsNotUnderstood: orders.on_news_not_understood,
    e.OrderOutcomeUnknown: orders.on_order_outcome_unknown,
    e.OrderAbsent: orders.on_order_absent,
    e.CashPosted: books.on_cash_posted,
    e.SplitProcessed: books.on_split_processed,
    e.SplitAnnounced: books.on_split_announced,
    e.BrokerReported: books.on_broker_reported,
    e.PositionAdopted: books.on_position_adopted,
    e.CashAdopted: books.on_cash_adopted,
    e.HaltRequested: people.on_halt_requested,
    e.ResumeRequested: people.on_resume_requested,
    e.StandInResumed: people.on_stand_in_resumed,
    e.OrderRequested: people.on_order_requested,
    e.CancelRequested: people.on_cancel_requested,
    e.EmergencyAdopted: emergencies.on_emergency_adopted,
    e.RunBegan: runs.on_run_began,
    e.RunEnded: runs.on_run_ended,
}
