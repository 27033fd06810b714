"""Orders: their life is a transition table, not a set of methods.

The table admits what the real world does (a fill may arrive after a cancel, an acknowledgement after a fill).
A pair that is not in the table is an event we do not understand: the machine says so and leaves it to reconciliation; a fill
that its order could not have freezes the instrument.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from hedgefund_core.trading.instrument import ZERO


class Side(StrEnum):
    """Direction of an order; quantities are never negative."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    """How the order is priced."""

    MARKET = "market"
    LIMIT = "limit"


class TimeInForce(StrEnum):
    """When the order may trade: opening auction, closing auction, or the day."""

    OPG = "opg"
    CLS = "cls"
    DAY = "day"


class Purpose(StrEnum):
    """Namespace of the order's identity: who wanted it."""

    MODEL = "model"
    TARGETS = "targets"
    MANUAL = "manual"
    FLATTEN = "flatten"


class Leg(StrEnum):
    """``close`` can only lower the position, ``open`` adds to it. Crossing zero takes one of each."""

    CLOSE = "close"
    OPEN = "open"


class OrderStatus(StrEnum):
    """States in the broker's American spelling; ``denied`` is ours, ``rejected`` is the broker's."""

    DENIED = "denied"
    PENDING_NEW = "pending_new"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"


class OrderMove(StrEnum):
    """What can happen to an order."""

    ACCEPT = "accept"
    FILL_PART = "fill_part"
    FILL_REST = "fill_rest"
    CANCEL_REQUEST = "cancel_request"
    CANCEL = "cancel"
    EXPIRE = "expire"
    REJECT = "reject"
    LOSE = "lose"
    """No answer after the send."""
    ABSENT = "absent"
    """The broker surely does not have it."""


_S, _M = OrderStatus, OrderMove
TERMINAL = frozenset({_S.DENIED, _S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED})

TRANSITIONS: dict[tuple[OrderStatus, OrderMove], OrderStatus] = {
    (_S.PENDING_NEW, _M.ACCEPT): _S.ACCEPTED,
    (_S.PENDING_NEW, _M.FILL_PART): _S.PARTIALLY_FILLED,  # the fill may overtake the acknowledgement
    (_S.PENDING_NEW, _M.FILL_REST): _S.FILLED,
    (_S.PENDING_NEW, _M.REJECT): _S.REJECTED,
    (_S.PENDING_NEW, _M.CANCEL): _S.CANCELED,
    (_S.PENDING_NEW, _M.EXPIRE): _S.EXPIRED,
    (_S.PENDING_NEW, _M.LOSE): _S.UNKNOWN,
    (_S.PENDING_NEW, _M.ABSENT): _S.PENDING_NEW,  # sent again under the same id
    (_S.PENDING_NEW, _M.CANCEL_REQUEST): _S.PENDING_CANCEL,
    (_S.UNKNOWN, _M.ACCEPT): _S.ACCEPTED,
    (_S.UNKNOWN, _M.FILL_PART): _S.PARTIALLY_FILLED,
    (_S.UNKNOWN, _M.FILL_REST): _S.FILLED,
    (_S.UNKNOWN, _M.REJECT): _S.REJECTED,
    (_S.UNKNOWN, _M.CANCEL): _S.CANCELED,
    (_S.UNKNOWN, _M.EXPIRE): _S.EXPIRED,
    (_S.UNKNOWN, _M.LOSE): _S.UNKNOWN,
    (_S.UNKNOWN, _M.ABSENT): _S.PENDING_NEW,
    (_S.UNKNOWN, _M.CANCEL_REQUEST): _S.UNKNOWN,  # nothing to cancel before it is found
    (_S.ACCEPTED, _M.ACCEPT): _S.ACCEPTED,
    (_S.ACCEPTED, _M.FILL_PART): _S.PARTIALLY_FILLED,
    (_S.ACCEPTED, _M.FILL_REST): _S.FILLED,
    (_S.ACCEPTED, _M.REJECT): _S.REJECTED,
    (_S.ACCEPTED, _M.CANCEL): _S.CANCELED,
    (_S.ACCEPTED, _M.EXPIRE): _S.EXPIRED,
    (_S.ACCEPTED, _M.CANCEL_REQUEST): _S.PENDING_CANCEL,
    (_S.PARTIALLY_FILLED, _M.ACCEPT): _S.PARTIALLY_FILLED,
    (_S.PARTIALLY_FILLED, _M.FILL_PART): _S.PARTIALLY_FILLED,
    (_S.PARTIALLY_FILLED, _M.FILL_REST): _S.FILLED,
    (_S.PARTIALLY_FILLED, _M.CANCEL): _S.CANCELED,
    (_S.PARTIALLY_FILLED, _M.EXPIRE): _S.EXPIRED,
    (_S.PARTIALLY_FILLED, _M.CANCEL_REQUEST): _S.PENDING_CANCEL,
    (_S.PENDING_CANCEL, _M.ACCEPT): _S.PENDING_CANCEL,
    (_S.PENDING_CANCEL, _M.FILL_PART): _S.PENDING_CANCEL,
    (_S.PENDING_CANCEL, _M.FILL_REST): _S.FILLED,
    (_S.PENDING_CANCEL, _M.CANCEL): _S.CANCELED,
    (_S.PENDING_CANCEL, _M.EXPIRE): _S.EXPIRED,
    (_S.PENDING_CANCEL, _M.REJECT): _S.REJECTED,
    (_S.PENDING_CANCEL, _M.CANCEL_REQUEST): _S.PENDING_CANCEL,
    (_S.PENDING_CANCEL, _M.LOSE): _S.PENDING_CANCEL,  # still to be cancelled, wherever it is
    (_S.PENDING_CANCEL, _M.ABSENT): _S.CANCELED,  # surely not there: never sent again
    # late news about an order that is over: the fill is real and counts, the state stays
    (_S.FILLED, _M.ACCEPT): _S.FILLED,
    (_S.FILLED, _M.CANCEL_REQUEST): _S.FILLED,
    (_S.CANCELED, _M.ACCEPT): _S.CANCELED,
    (_S.CANCELED, _M.FILL_PART): _S.CANCELED,
    (_S.CANCELED, _M.FILL_REST): _S.FILLED,
    (_S.CANCELED, _M.CANCEL): _S.CANCELED,
    (_S.CANCELED, _M.CANCEL_REQUEST): _S.CANCELED,
    (_S.EXPIRED, _M.ACCEPT): _S.EXPIRED,
    (_S.EXPIRED, _M.FILL_PART): _S.EXPIRED,
    (_S.EXPIRED, _M.FILL_REST): _S.FILLED,
    (_S.EXPIRED, _M.EXPIRE): _S.EXPIRED,
    (_S.EXPIRED, _M.CANCEL_REQUEST): _S.EXPIRED,
    (_S.REJECTED, _M.REJECT): _S.REJECTED,
    (_S.REJECTED, _M.CANCEL_REQUEST): _S.REJECTED,
}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order and what has happened to it so far."""

    client_order_id: str
    decision_id: str
    instrument_id: str
    symbol: str
    side: Side
    quantity: Decimal
    order_type: OrderType
    time_in_force: TimeInForce
    leg: Leg
    purpose: Purpose
    session: str
    """The session in which it may trade."""
    reference_price: Decimal
    submitted_at: datetime
    limit_price: Decimal | None = None
    status: OrderStatus = OrderStatus.PENDING_NEW
    filled_quantity: Decimal = ZERO
    filled_value: Decimal = ZERO
    """Sum of quantity times price over the fills."""
    fill_ids: tuple[str, ...] = ()
    broker_order_id: str = ""
    updated_at: datetime | None = None
    denied_by: str = ""
    reason: str = ""

    @property
    def remaining(self) -> Decimal:
        """Quantity not filled yet."""
        return self.quantity - self.filled_quantity

    @property
    def is_working(self) -> bool:
        """Whether it may still trade, as far as we know."""
        return self.status not in TERMINAL

    @property
    def average_fill_price(self) -> Decimal | None:
        """Mean price of the fills, None before the first."""
        return None if self.filled_quantity == ZERO else self.filled_value / self.filled_quantity


def move(order: Order, step: OrderMove, *, at: datetime) -> Order | None:
    """The order after ``step``; None where the table has no such move."""
    status = TRANSITIONS.get((order.status, step))
    return None if status is None else replace(order, status=status, updated_at=at)
