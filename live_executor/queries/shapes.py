"""The JSON shapes of the reading commands: public, fields may be added and not renamed.

Money, prices and quantities are decimal strings, ratios and ages numbers, times RFC 3339 in UTC.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec


class _Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One row or object as printed."""


class ModelInUse(_Shape, frozen=True, kw_only=True):
    """The account's model now."""

    name: str
    version: str
    alias: str
    age_seconds: float


class FeedState(_Shape, frozen=True, kw_only=True):
    """Whether bars arrive, and how old the newest are (by the account's own time)."""

    connected: bool
    age_seconds: float | None


class JournalState(_Shape, frozen=True, kw_only=True):
    """The newest entry."""

    seq: int
    head: str


class Status(_Shape, frozen=True, kw_only=True):
    """What is."""

    account: str
    state: str
    cause: str
    mode: str
    broker: str
    running: bool
    session: str
    equity: Decimal
    cash: Decimal
    day_pnl: Decimal
    drawdown: float
    model: ModelInUse | None
    feed: FeedState
    orders_open: int
    unknown_orders: int
    frozen: dict[str, str]
    stand_ins: int
    journal: JournalState
    reconciled_at: datetime | None
    reconciled_ok: bool | None = None
    gates: tuple[str, ...] = ()
    """Why new exposure is held back now; empty where it is not."""
    market_open: bool | None = None
    """None of a replay, and where no executor runs."""
    order_stream: bool | None = None
    """Whether the broker's order stream is connected."""
    clock_offset_seconds: float | None = None
    targets_trouble: str = ""
    """Why the file of targets is not followed at the moment."""
    residues: dict[str, Decimal] = {}
    """Fractions that are held of names which the broker trades in whole shares only: no order can close them."""


class PositionRow(_Shape, frozen=True, kw_only=True):
    """A position; the quantity is signed."""

    symbol: str
    quantity: Decimal
    average_price: Decimal
    last_price: Decimal | None
    market_value: Decimal | None
    unrealized_pnl: Decimal | None
    weight: float | None


class OrderRow(_Shape, frozen=True, kw_only=True):
    """An order with all that happened to it."""

    client_order_id: str
    broker_order_id: str
    symbol: str
    side: str
    quantity: Decimal
    type: str
    limit_price: Decimal | None
    time_in_force: str
    status: str
    filled_quantity: Decimal
    average_fill_price: Decimal | None
    decision_id: str
    submitted_at: datetime
    updated_at: datetime | None
    denied_by: str
    reason: str
    session: str
    leg: str


class FillRow(_Shape, frozen=True, kw_only=True):
    """A fill."""

    fill_id: str
    client_order_id: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    commission: Decimal
    ts: datetime
    session: str
    external: bool = False
    """Whether somebody else traded it on this account."""


class RiskRow(_Shape, frozen=True, kw_only=True):
    """A limit: what is measured, from where on it warns, where it ends."""

    rule: str
    measured: float | None
    warn: float | None
    limit: float | None
    unit: str
    status: str
    """ok, warn, breach, not_evaluable or idle (nothing to measure now)"""
    reason: str = ""


class SignalRow(_Shape, frozen=True, kw_only=True):
    """An instrument in the newest decision: rank 1 is the most attractive."""

    symbol: str
    score: float | None
    rank: int | None
    target_weight: Decimal | None
    weight: float | None


class ModelRow(_Shape, frozen=True, kw_only=True):
    """A model the account used."""

    name: str
    version: str
    alias: str
    kind: str
    digest: str
    loaded_at: datetime
    trained_through: str
    expires_on: str
    age_days: int
    expired: bool
    gate: str
    in_use: bool
    usable: bool
    mlflow_run_id: str
    dagster_run_id: str
    note: str


class InstrumentPnl(_Shape, frozen=True, kw_only=True):
    """Profit of an instrument: realized and unrealized before costs, and its commissions."""

    symbol: str
    realized: Decimal
    unrealized: Decimal
    commission: Decimal
    total: Decimal


class Pnl(_Shape, frozen=True, kw_only=True):
    """Profit and loss, net of every cost unless it says gross."""

    session: str
    day: Decimal
    month: Decimal
    total: Decimal
    gross_of_costs: Decimal
    commission: Decimal
    borrow: Decimal
    dividends: Decimal
    time_weighted_return: float
    by_instrument: tuple[InstrumentPnl, ...]


class StatementLine(_Shape, frozen=True, kw_only=True):
    """One kind of cash line in the period."""

    kind: str
    lines: int
    amount: Decimal


class Statement(_Shape, frozen=True, kw_only=True):
    """Cash and performance of a period; ``cash_ties_out`` says that opening cash plus every line is closing cash."""

    account: str
    period: str
    first_session: str
    last_session: str
    opening_cash: Decimal
    closing_cash: Decimal
    lines: tuple[StatementLine, ...]
    opening_equity: Decimal
    closing_equity: Decimal
    external_flow: Decimal
    time_weighted_return: float
    cash_ties_out: bool
    reconciled: bool
    reconciled_at: datetime | None
