"""Inputs other than news of the broker: account, configuration, sessions, bars and prices, schedule, requests of people, doubts."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from hedgefund_core.trading.frame import Event, Row
from hedgefund_core.trading.instrument import Instrument
from hedgefund_core.trading.order import Order, OrderType, Side, TimeInForce


class AccountOpened(Event, tag="account_opened", frozen=True, kw_only=True):
    """First frame of a journal: who trades what, with which money."""

    account: str
    book: str
    mode: str
    broker: str
    instruments: tuple[Instrument, ...]
    initial_cash: Decimal
    source: str
    price_kind: str
    sessions_per_year: float = 252.0
    activities: tuple[str, ...] = ()
    """Ids of activities listed before the opening, whose money is in the initial cash. Their times cannot tell: they have a date only."""
    activities_through: str = ""
    """Id of the last line that was there."""
    broker_account: str = ""
    """Name of the account at the broker that does not tell its number; empty where the broker gives none."""


class ConfigurationLoaded(Event, tag="configuration_loaded", frozen=True, kw_only=True):
    """The mandate with all its limits, whole, so that a replay judges by the same numbers."""

    digest: str
    mandate: msgspec.Raw
    waived: tuple[str, ...] = ()
    """Rules declared not evaluable for this source (replay and simulation only)."""


class ModelLoaded(Event, tag="model_loaded", frozen=True, kw_only=True):
    """A verified bundle becomes the account's model."""

    name: str
    version: str
    digest: str
    alias: str
    model_kind: str
    trained_through: str
    expires_after_days: int
    mlflow_run_id: str = ""
    dagster_run_id: str = ""
    person: str = ""
    """Who went back to an earlier model, and why; empty where the alias was followed."""
    reason: str = ""


class SessionBegan(Event, tag="session_began", frozen=True, kw_only=True):
    """A trading session begins: session-scoped states expire."""

    session: str


class BarsClosed(Event, tag="bars_closed", frozen=True, kw_only=True):
    """The bars of a session, in the order of the account's instruments; null = no bar."""

    session: str
    known_at: datetime
    data_version: str
    close: Row
    open: Row | None = None
    high: Row | None = None
    low: Row | None = None
    volume: Row | None = None
    dividends: Row | None = None
    split_ratios: Row | None = None
    benchmark: float | None = None


class HistoryLoaded(Event, tag="history_loaded", frozen=True, kw_only=True):
    """Bars before the first traded session (or before a model with a longer warm-up), oldest first, in instrument order."""

    data_version: str
    sessions: tuple[str, ...]
    close: tuple[Row, ...]
    open: tuple[Row, ...] | None = None
    high: tuple[Row, ...] | None = None
    low: tuple[Row, ...] | None = None
    volume: tuple[Row, ...] | None = None
    dividends: tuple[Row, ...] | None = None
    split_ratios: tuple[Row, ...] | None = None
    benchmark: Row | None = None

    @property
    def has_prices(self) -> bool:
        """Whether it holds more than volumes."""
        return any(cell is not None for row in self.close for cell in row)


class DecisionDue(Event, tag="decision_due", frozen=True, kw_only=True):
    """The schedule (or a person's target file) asks for a decision for ``for_session``."""

    session: str
    for_session: str
    time_in_force: str
    rebalance: bool
    target_weights: dict[str, float] | None = None
    """Weights given from outside instead of by the model."""
    target_quantities: dict[str, Decimal] | None = None
    """Signed quantities given from outside; an instrument that is in neither is left alone."""
    origin: str = ""
    """sha256 and name of the file that they are from."""


class OrderOutcomeUnknown(Event, tag="order_outcome_unknown", frozen=True, kw_only=True):
    """No answer after a send: neither sent nor not sent."""

    client_order_id: str
    reason: str


class OrderAbsent(Event, tag="order_absent", frozen=True, kw_only=True):
    """A look-up proved that the broker does not have the order: it may go out again under the same id."""

    client_order_id: str


class BrokerReported(Event, tag="broker_reported", frozen=True, kw_only=True):
    """The broker's own books, read by query: the input of reconciliation."""

    session: str
    cash: Decimal
    positions: dict[str, Decimal]
    open_orders: tuple[str, ...]
    last_broker_seq: int
    lagging: bool = False
    """True of a live broker, whose answers lag by seconds: a difference counts only if two reports in a row show the same one."""
    buying_power: Decimal | None = None


class HaltRequested(Event, tag="halt_requested", frozen=True, kw_only=True):
    """A person (or the HALT file) stops trading at level 1 to 4."""

    level: int
    reason: str
    person: str
    session: str


class ResumeRequested(Event, tag="resume_requested", frozen=True, kw_only=True):
    """A person resumes, with a reason."""

    reason: str
    person: str
    session: str


class StandInResumed(Event, tag="stand_in_resumed", frozen=True, kw_only=True):
    """In a replay or backtest nobody is there to resume: this input does, 21 sessions after flat; illegal elsewhere."""

    session: str


class InstrumentsAdded(Event, tag="instruments_added", frozen=True, kw_only=True):
    """The account may trade more: a target file or a person named them, and the broker knows them."""

    instruments: tuple[Instrument, ...]


class InstrumentRenamed(Event, tag="instrument_renamed", frozen=True, kw_only=True):
    """An instrument trades under another symbol from here on: ids are stable, symbols are dated names of them."""

    instrument_id: str
    symbol: str


class PositionAdopted(Event, tag="position_adopted", frozen=True, kw_only=True):
    """A position at the broker becomes ours as it is: at the opening of an account, or by a person with a reason. Nothing is traded."""

    instrument_id: str
    quantity: Decimal
    """Signed, the whole position after adoption."""
    average_price: Decimal
    person: str
    reason: str


class CashAdopted(Event, tag="cash_adopted", frozen=True, kw_only=True):
    """An unexplained difference of cash is booked by a person with a reason, as an adjustment."""

    amount: Decimal
    person: str
    reason: str
    session: str


class PricesSeen(Event, tag="prices_seen", frozen=True, kw_only=True):
    """Prices in a session, in the order of the account's instruments: what a decision in the session knows. null = none."""

    session: str
    price: Row
    """Middle of the quote, else the last trade."""
    bid: Row
    ask: Row
    age_seconds: Row
    """Since the price was known to hold, by the broker's clock."""
    gap_seconds: Row | None = None
    """Median time between two prices of each as the feed has shown them; null = too few to say."""
    closes_at: datetime | None = None
    """End of the session's regular hours by the broker's word: large orders are worked until then."""
    bands: tuple[Row, Row] | None = None
    """Lowest and highest price at which each may trade now (limit up/limit down); null = not known, None = of none of them."""


class InstrumentStatusSeen(Event, tag="instrument_status_seen", frozen=True, kw_only=True):
    """What the market allows in an instrument now. ``cause`` is why it is halted or not tradable."""

    instrument_id: str
    tradable: bool
    halted: bool
    shortable: bool
    easy_to_borrow: bool
    fractionable: bool = False
    cause: str = ""


class SplitAnnounced(Event, tag="split_announced", frozen=True, kw_only=True):
    """An instrument splits before the open of ``session``: orders in old shares are taken out of the market and sent again in new ones."""

    instrument_id: str
    ratio: Decimal
    session: str


class EntriesGated(Event, tag="entries_gated", frozen=True, kw_only=True):
    """A gate closes or opens: a condition outside the ladder that keeps entries from being sent (order stream down, not reconciled)."""

    cause: str
    closed: bool


class OrderRequested(Event, tag="order_requested", frozen=True, kw_only=True):
    """A person orders, through the same rules as everything else. ``request_id`` makes asking twice the same as asking once."""

    request_id: str
    instrument_id: str
    side: Side
    quantity: Decimal
    order_type: OrderType
    limit_price: Decimal | None
    time_in_force: TimeInForce
    session: str
    person: str
    reason: str
    usual_time: bool = False
    """The person gave no time in force; the shell chose the usual one of the moment."""


class CancelRequested(Event, tag="cancel_requested", frozen=True, kw_only=True):
    """A person cancels one order, or all that work (empty id)."""

    request_id: str
    client_order_id: str
    person: str
    reason: str


class SliceDue(Event, tag="slice_due", frozen=True, kw_only=True):
    """Time to release the next child of a parent order."""

    parent_id: str
    session: str


class SessionEnded(Event, tag="session_ended", frozen=True, kw_only=True):
    """A session's regular hours are over: what was for the day is over too once the broker says so; the account is marked."""

    session: str


class RunBegan(Event, tag="run_began", frozen=True, kw_only=True):
    """A process begins to trade the account. If ``budget`` starts within ``window_seconds`` did not end in order, the account is halted."""

    budget: int
    window_seconds: float


class RunEnded(Event, tag="run_ended", frozen=True, kw_only=True):
    """A process ends in order, whatever the reason; a journal without it says that the process was killed or failed."""

    reason: str


class TroubleSeen(Event, tag="trouble_seen", frozen=True, kw_only=True):
    """The shell met something that a person should know (a bad target file, a task that ended): the machine raises the alert."""

    severity: str
    message: str
    request_id: str = ""
    """The person's request that is given up for it."""


class EmergencyAdopted(Event, tag="emergency_adopted", frozen=True, kw_only=True):
    """An act of the emergency log (done at the broker while journal or process could not) is taken over into the journal."""

    number: int
    """Of the act in the emergency log; each is adopted once."""
    act: str
    done_at: datetime
    person: str
    reason: str
    session: str
    level: int = 0
    """Of a halt; 0 for every other act."""
    order: Order | None = None
    """A reduction as it was sent: its fills are ours and no stranger's."""
    note: str = ""


class SegmentRecorded(Event, tag="segment_recorded", frozen=True, kw_only=True):
    """A closed segment of recorded market data: too much for the journal, which keeps its sha256."""

    segment: str
    """Below the account's folder."""
    first_at: datetime
    last_at: datetime
    messages: int
    size: int
    sha256: str
