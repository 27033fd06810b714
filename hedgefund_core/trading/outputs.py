"""Outputs: the frames that the machine makes of its inputs. Stepping through the inputs again regenerates them byte for byte."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from decimal import Decimal
from math import isfinite

import msgspec

from hedgefund_core.trading.frame import Event, Row
from hedgefund_core.trading.instrument import to_price
from hedgefund_core.trading.order_table import OrderTable

DENY = "deny"


class Scaler(msgspec.Struct, frozen=True, kw_only=True):
    """A multiplier on weights and what it was measured from."""

    name: str
    measured: float | None
    limit: float
    scale: float


class RuleVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule said of one order, read from `Judgements`."""

    rule: str
    verdict: str
    """allow, deny or not_evaluable"""
    measured: float | None
    limit: float | None
    reason: str = ""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """All verdicts on one order, also those after a denial."""

    client_order_id: str
    allowed: bool
    verdicts: tuple[RuleVerdict, ...]

    @property
    def denial(self) -> RuleVerdict | None:
        """The first denial, which names the order's; None where it is allowed."""
        return next((verdict for verdict in self.verdicts if verdict.verdict == DENY), None)


Column = float | None | bytes
"""One value for all orders, or one each: float64, little-endian, NaN where there is none. As text they took ten times as long."""
_FLOAT = struct.Struct("<d")


def unpacked(column: bytes) -> Row:
    """A column of float64 bytes as numbers, None where there is none."""
    return tuple([value if isfinite(value) else None for (value,) in _FLOAT.iter_unpack(column)])


class RuleColumn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one rule said of all orders of a decision: a value an order, or a single one that holds for all of them."""

    rule: str
    verdict: str | tuple[str, ...]
    measured: Column
    limit: Column
    reason: str | tuple[str, ...] = ""
    """Of the denials."""

    def of(self, place: int) -> RuleVerdict:
        """The verdict on the order at ``place``."""
        verdict = self.verdict if isinstance(self.verdict, str) else self.verdict[place]
        reason = self.reason if isinstance(self.reason, str) else self.reason[place]
        measured, limit = _cell(self.measured, place), _cell(self.limit, place)
        return RuleVerdict(rule=self.rule, verdict=verdict, measured=measured, limit=limit, reason=reason if verdict == DENY else "")


def _cell(column: Column, place: int) -> float | None:
    if not isinstance(column, bytes):
        return column
    (value,) = _FLOAT.unpack_from(column, place * _FLOAT.size)
    return value if isfinite(value) else None


class Judgements(msgspec.Struct, frozen=True, kw_only=True):
    """Every rule's verdict on every order of a decision, a column a rule: 500 orders under 22 rules are 22 records and not 11,000."""

    orders: tuple[str, ...] = ()
    allowed: tuple[bool, ...] = ()
    rules: tuple[RuleColumn, ...] = ()

    def __len__(self) -> int:
        """Number of orders."""
        return len(self.orders)

    def of(self, client_order_id: str) -> Judgement | None:
        """The judgement of one order; None where it was not judged here."""
        return self.at(self.orders.index(client_order_id)) if client_order_id in self.orders else None

    def at(self, place: int) -> Judgement:
        """The judgement of the order at ``place``."""
        verdicts = tuple(column.of(place) for column in self.rules)
        return Judgement(client_order_id=self.orders[place], allowed=self.allowed[place], verdicts=verdicts)

    def __iter__(self) -> Iterator[Judgement]:
        """Order by order."""
        return (self.at(place) for place in range(len(self.orders)))


class DecisionMade(Event, tag="decision_made", frozen=True, kw_only=True):
    """The whole decision: scores, weights, scalers, orders and verdicts; ``digest`` covers inputs and result."""

    decision_id: str
    session: str
    for_session: str
    model_digest: str
    instruments: tuple[str, ...]
    scores: bytes
    target_weights: bytes
    """On the grid of a millionth. Both by instrument, as ``unpacked`` reads them."""
    scalers: tuple[Scaler, ...]
    judgements: Judgements
    inputs_digest: str
    digest: str
    note: str = ""

    @property
    def weights(self) -> dict[str, Decimal]:
        """Target weights by instrument; one that was left alone has none."""
        pairs = zip(self.instruments, unpacked(self.target_weights), strict=True)
        return {key: to_price(weight) for key, weight in pairs if weight is not None}


class OrdersIntended(Event, tag="orders_intended", frozen=True, kw_only=True):
    """The allowed orders of a decision, durable before any byte of them leaves."""

    orders: OrderTable


class OrdersDenied(Event, tag="orders_denied", frozen=True, kw_only=True):
    """The orders of a decision that we refused ourselves."""

    orders: OrderTable


class OrderRouted(Event, tag="order_routed", frozen=True, kw_only=True):
    """How an order that is too large for one piece is worked, and why. The children's quantities add up to the parent's."""

    parent_id: str
    strategy: str
    """whole, sliced (equal pieces in time) or participation"""
    quantity: Decimal
    slices: tuple[Decimal, ...]
    seconds_between: float
    reason: str


class RequestAnswered(Event, tag="request_answered", frozen=True, kw_only=True):
    """What became of a person's request: the orders it made, or why none."""

    request_id: str
    orders: tuple[str, ...]
    reason: str = ""
    conflict: bool = False
    """The id was used for something else before: nothing is done."""


class LadderMoved(Event, tag="ladder_moved", frozen=True, kw_only=True):
    """The ladder changed."""

    session: str
    before: str
    after: str
    scope: str
    cause: str
    person: str = ""


class InstrumentFrozen(Event, tag="instrument_frozen", frozen=True, kw_only=True):
    """No new exposure in one instrument until the cause is gone."""

    instrument_id: str
    cause: str


class InstrumentThawed(Event, tag="instrument_thawed", frozen=True, kw_only=True):
    """The cause of a freeze is gone."""

    instrument_id: str


class AccountMarked(Event, tag="account_marked", frozen=True, kw_only=True):
    """The account at a close: everything a report needs of a session. Ratios are fractions; losses are positive."""

    session: str
    equity: Decimal
    cash: Decimal
    external_flow: Decimal
    day_pnl: Decimal
    gross: float
    net: float
    drawdown: float
    high_water_mark: Decimal
    beta: float | None
    volatility: float | None
    """Ex-ante, a year."""
    value_at_risk: float | None
    """Ex-ante, 95 %, one session, as a fraction of equity."""
    weights: Row
    since_resume_drawdown: float


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One disagreement between our books and the broker's."""

    kind: str
    symbol: str
    ours: str
    broker: str


class CashRounded(Event, tag="cash_rounded", frozen=True, kw_only=True):
    """The broker keeps whole cents: what that made of so many fills is booked, less than a cent each, seen in two reports in a row."""

    amount: Decimal
    fills: int
    session: str


class Reconciled(Event, tag="reconciled", frozen=True, kw_only=True):
    """Result of comparing our books with the broker's."""

    session: str
    ok: bool
    differences: tuple[Difference, ...] = ()


class AlertRaised(Event, tag="alert_raised", frozen=True, kw_only=True):
    """Something a person should know."""

    severity: str
    message: str
