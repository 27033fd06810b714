"""Positions and cash as a fold over fills and cash lines: the only way the books change.

Sign: a position's quantity is signed (short < 0); cash rises with sales and dividends, falls with buys and fees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from hedgefund_core.errors import InvariantViolation
from hedgefund_core.trading.instrument import SIX_PLACES, ZERO, to_money
from hedgefund_core.trading.order import Side


class CashKind(StrEnum):
    """Kinds of cash lines, in the words of a broker's activity list."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    TRADE = "trade"
    COMMISSION = "commission"
    DIVIDEND = "dividend"
    BORROW = "borrow"
    INTEREST = "interest"
    CASH_IN_LIEU = "cash_in_lieu"
    FEE = "fee"
    ADJUSTMENT = "adjustment"
    """An unexplained difference of cash that a person booked, with a reason."""
    ROUNDING = "rounding"
    """Difference that a broker makes which keeps cash in whole cents: less than a cent for each fill."""


EXTERNAL_FLOWS = frozenset({CashKind.DEPOSIT, CashKind.WITHDRAWAL})
"""Flows from outside: performance is adjusted for them."""


_CENT = Decimal("0.01")


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """What is held of one instrument."""

    quantity: Decimal = ZERO
    average_price: Decimal = ZERO
    realized_pnl: Decimal = ZERO


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """Cash, positions and the sum of each kind of cash line."""

    cash: Decimal = ZERO
    positions: dict[str, Position] = {}
    totals: dict[str, Decimal] = {}
    in_kind: Decimal = ZERO
    """Value of positions that came into the account or left it without a trade: an external flow, like a deposit."""
    odd_fills: int = 0
    """Fills whose cash was no whole number of cents, since the last rounding was booked."""

    def quantity(self, instrument_id: str) -> Decimal:
        """Signed quantity held; zero where nothing is."""
        position = self.positions.get(instrument_id)
        return ZERO if position is None else position.quantity

    @property
    def external_flow(self) -> Decimal:
        """Net deposits so far, of money and of positions."""
        return sum((self.totals.get(kind, ZERO) for kind in EXTERNAL_FLOWS), self.in_kind)


def post_cash(ledger: Ledger, kind: CashKind, amount: Decimal) -> Ledger:
    """Add a signed cash line, in account currency. Raises InvariantViolation for an amount that is not finite."""
    if not amount.is_finite():
        message = f"impossible {kind.value} of {amount}"
        raise InvariantViolation(message)
    totals = {**ledger.totals, kind.value: ledger.totals.get(kind.value, ZERO) + amount}
    return replace(ledger, cash=ledger.cash + amount, totals=totals)


def apply_fill(ledger: Ledger, *, instrument_id: str, side: Side, quantity: Decimal, price: Decimal, commission: Decimal) -> Ledger:
    """Book one fill: the position at average cost, realized profit on the part that closes, cash to six places.

    ``quantity`` is in shares and above zero, ``price`` and ``commission`` in account currency; raises InvariantViolation otherwise.
    """
    numbers = all(value.is_finite() for value in (quantity, price, commission))
    if not numbers or quantity <= ZERO or price <= ZERO or commission < ZERO:
        message = f"impossible fill of {instrument_id}: {quantity} at {price}, commission {commission}"
        raise InvariantViolation(message)
    held = ledger.positions.get(instrument_id, Position())
    signed = quantity * side.sign
    positions = {**ledger.positions, instrument_id: _book(held, signed, price)}
    if positions[instrument_id].quantity == ZERO and positions[instrument_id].realized_pnl == ZERO:
        del positions[instrument_id]
    moved = -to_money(signed * price)
    booked = replace(ledger, positions=positions, odd_fills=ledger.odd_fills + (moved % _CENT != ZERO))
    booked = post_cash(booked, CashKind.TRADE, moved)
    return post_cash(booked, CashKind.COMMISSION, -commission) if commission else booked


def _book(held: Position, signed: Decimal, price: Decimal) -> Position:
    after = held.quantity + signed
    if held.quantity * signed >= ZERO:  # opens or adds: average the cost
        total = held.average_price * abs(held.quantity) + price * abs(signed)
        return replace(held, quantity=after, average_price=to_money(total / abs(after)))
    closed = min(abs(signed), abs(held.quantity))
    direction = 1 if held.quantity > ZERO else -1
    realized = held.realized_pnl + to_money((price - held.average_price) * closed * direction)
    if after == ZERO:
        return Position(realized_pnl=realized)
    average = held.average_price if after * held.quantity > ZERO else price
    return Position(quantity=after, average_price=average, realized_pnl=realized)


def adopt(ledger: Ledger, *, instrument_id: str, quantity: Decimal, average_price: Decimal) -> Ledger:
    """Set a position without a trade, so that no cash moves. Raises InvariantViolation for impossible numbers."""
    if not quantity.is_finite() or not average_price.is_finite() or average_price < ZERO:
        message = f"impossible position of {instrument_id}: {quantity} at {average_price}"
        raise InvariantViolation(message)
    held = ledger.positions.get(instrument_id, Position())
    taken = replace(held, quantity=quantity, average_price=average_price if quantity != ZERO else ZERO)
    positions = {**ledger.positions, instrument_id: taken}
    if taken == Position():
        del positions[instrument_id]
    return replace(ledger, positions=positions)


def apply_split(ledger: Ledger, *, instrument_id: str, quantity_after: Decimal, cash_in_lieu: Decimal) -> Ledger:
    """Set the quantity (signed shares) after a split. The total cost stays, so that the average price changes with the ratio."""
    held = ledger.positions.get(instrument_id)
    if held is None or held.quantity == ZERO:
        return ledger
    average = held.average_price if quantity_after == ZERO else to_money(held.average_price * held.quantity / quantity_after)
    changed = replace(held, quantity=quantity_after, average_price=average)
    adjusted = replace(ledger, positions={**ledger.positions, instrument_id: changed})
    return post_cash(adjusted, CashKind.CASH_IN_LIEU, cash_in_lieu) if cash_in_lieu else adjusted


def market_values(ledger: Ledger, prices: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Signed value of each position, not rounded. Raises InvariantViolation if a held instrument has no price."""
    try:
        return {key: position.quantity * prices[key] for key, position in ledger.positions.items() if position.quantity}
    except KeyError as error:
        message = f"no price for held instrument {error.args[0]}"
        raise InvariantViolation(message) from error


def worth(cash: Decimal, values: Iterable[Decimal]) -> Decimal:
    """Cash plus values, each value rounded to six places. If the plain sum has six places no term has more, and nothing is to round."""
    terms = list(values)
    total = sum(terms, cash)
    return total if not terms or total.same_quantum(SIX_PLACES) else sum(map(to_money, terms), cash)


def equity(ledger: Ledger, prices: Mapping[str, Decimal]) -> Decimal:
    """Cash plus positions at ``prices``."""
    return worth(ledger.cash, market_values(ledger, prices).values())
