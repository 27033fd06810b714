"""Orders: their life is a transition table, not a set of methods.

The table admits what the real world does (a fill may arrive after a cancel, an acknowledgement after a fill).
A pair that is not in the table is an event we do not understand: the machine raises an alert and leaves the rest to reconciliation. A
fill that its order cannot have is booked, because the position did change, and freezes the instrument.
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
    DECAY = "decay"
    """The book of an expired model, wound down."""


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
    DONE_FOR_DAY = "done_for_day"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    REPLACED = "replaced"


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
    REPLACE = "replace"
    """Another order stands in its place."""
    END_DAY = "end_day"
    """It trades no more today."""
    BUST = "bust"
    CORRECT = "correct"


_S, _M = OrderStatus, OrderMove
TERMINAL = frozenset({_S.DENIED, _S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED, _S.REPLACED})

_MAY_HAVE_FILLS = (
    _S.PARTIALLY_FILLED, _S.PENDING_CANCEL, _S.DONE_FOR_DAY, _S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED, _S.REPLACED,
)  # fmt: skip

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
    (_S.PENDING_NEW, _M.REPLACE): _S.REPLACED,
    (_S.PENDING_NEW, _M.END_DAY): _S.DONE_FOR_DAY,
    (_S.UNKNOWN, _M.ACCEPT): _S.ACCEPTED,
    (_S.UNKNOWN, _M.FILL_PART): _S.PARTIALLY_FILLED,
    (_S.UNKNOWN, _M.FILL_REST): _S.FILLED,
    (_S.UNKNOWN, _M.REJECT): _S.REJECTED,
    (_S.UNKNOWN, _M.CANCEL): _S.CANCELED,
    (_S.UNKNOWN, _M.EXPIRE): _S.EXPIRED,
    (_S.UNKNOWN, _M.LOSE): _S.UNKNOWN,
    (_S.UNKNOWN, _M.ABSENT): _S.PENDING_NEW,
    (_S.UNKNOWN, _M.CANCEL_REQUEST): _S.UNKNOWN,  # nothing to cancel before it is found
    (_S.UNKNOWN, _M.REPLACE): _S.REPLACED,
    (_S.UNKNOWN, _M.END_DAY): _S.DONE_FOR_DAY,
    (_S.ACCEPTED, _M.ACCEPT): _S.ACCEPTED,
    (_S.ACCEPTED, _M.FILL_PART): _S.PARTIALLY_FILLED,
    (_S.ACCEPTED, _M.FILL_REST): _S.FILLED,
    (_S.ACCEPTED, _M.REJECT): _S.REJECTED,
    (_S.ACCEPTED, _M.CANCEL): _S.CANCELED,
    (_S.ACCEPTED, _M.EXPIRE): _S.EXPIRED,
    (_S.ACCEPTED, _M.CANCEL_REQUEST): _S.PENDING_CANCEL,
    (_S.ACCEPTED, _M.REPLACE): _S.REPLACED,
    (_S.ACCEPTED, _M.END_DAY): _S.DONE_FOR_DAY,
    (_S.PARTIALLY_FILLED, _M.ACCEPT): _S.PARTIALLY_FILLED,
    (_S.PARTIALLY_FILLED, _M.FILL_PART): _S.PARTIALLY_FILLED,
    (_S.PARTIALLY_FILLED, _M.FILL_REST): _S.FILLED,
    (_S.PARTIALLY_FILLED, _M.REJECT): _S.REJECTED,  # the rest was refused; what was filled stays booked
    (_S.PARTIALLY_FILLED, _M.CANCEL): _S.CANCELED,
    (_S.PARTIALLY_FILLED, _M.EXPIRE): _S.EXPIRED,
    (_S.PARTIALLY_FILLED, _M.CANCEL_REQUEST): _S.PENDING_CANCEL,
    (_S.PARTIALLY_FILLED, _M.REPLACE): _S.REPLACED,
    (_S.PARTIALLY_FILLED, _M.END_DAY): _S.DONE_FOR_DAY,
    (_S.PENDING_CANCEL, _M.ACCEPT): _S.PENDING_CANCEL,
    (_S.PENDING_CANCEL, _M.FILL_PART): _S.PENDING_CANCEL,
    (_S.PENDING_CANCEL, _M.FILL_REST): _S.FILLED,
    (_S.PENDING_CANCEL, _M.CANCEL): _S.CANCELED,
    (_S.PENDING_CANCEL, _M.EXPIRE): _S.EXPIRED,
    (_S.PENDING_CANCEL, _M.REJECT): _S.REJECTED,
    (_S.PENDING_CANCEL, _M.CANCEL_REQUEST): _S.PENDING_CANCEL,
    (_S.PENDING_CANCEL, _M.LOSE): _S.PENDING_CANCEL,  # still to be cancelled, wherever it is
    (_S.PENDING_CANCEL, _M.ABSENT): _S.CANCELED,  # surely not there: never sent again
    (_S.PENDING_CANCEL, _M.REPLACE): _S.REPLACED,
    (_S.PENDING_CANCEL, _M.END_DAY): _S.PENDING_CANCEL,  # until it is over it is still to be cancelled
    # done for the day: out of the market until it is over, which the broker says later
    (_S.DONE_FOR_DAY, _M.ACCEPT): _S.DONE_FOR_DAY,
    (_S.DONE_FOR_DAY, _M.FILL_PART): _S.DONE_FOR_DAY,
    (_S.DONE_FOR_DAY, _M.FILL_REST): _S.FILLED,
    (_S.DONE_FOR_DAY, _M.REJECT): _S.REJECTED,
    (_S.DONE_FOR_DAY, _M.CANCEL): _S.CANCELED,
    (_S.DONE_FOR_DAY, _M.EXPIRE): _S.EXPIRED,
    (_S.DONE_FOR_DAY, _M.CANCEL_REQUEST): _S.PENDING_CANCEL,
    (_S.DONE_FOR_DAY, _M.REPLACE): _S.REPLACED,
    (_S.DONE_FOR_DAY, _M.END_DAY): _S.DONE_FOR_DAY,
    # late news about an order that is over: the fill is real and counts, the state stays
    (_S.FILLED, _M.ACCEPT): _S.FILLED,
    (_S.FILLED, _M.CANCEL_REQUEST): _S.FILLED,
    (_S.FILLED, _M.CANCEL): _S.CANCELED,  # something of it was taken back since, and the broker says that it trades no more
    (_S.FILLED, _M.EXPIRE): _S.EXPIRED,
    (_S.FILLED, _M.END_DAY): _S.FILLED,
    (_S.CANCELED, _M.ACCEPT): _S.CANCELED,
    (_S.CANCELED, _M.FILL_PART): _S.CANCELED,
    (_S.CANCELED, _M.FILL_REST): _S.FILLED,
    (_S.CANCELED, _M.CANCEL): _S.CANCELED,
    (_S.CANCELED, _M.CANCEL_REQUEST): _S.CANCELED,
    (_S.CANCELED, _M.END_DAY): _S.CANCELED,
    (_S.EXPIRED, _M.ACCEPT): _S.EXPIRED,
    (_S.EXPIRED, _M.FILL_PART): _S.EXPIRED,
    (_S.EXPIRED, _M.FILL_REST): _S.FILLED,
    (_S.EXPIRED, _M.EXPIRE): _S.EXPIRED,
    (_S.EXPIRED, _M.CANCEL_REQUEST): _S.EXPIRED,
    (_S.EXPIRED, _M.END_DAY): _S.EXPIRED,
    (_S.REJECTED, _M.REJECT): _S.REJECTED,
    (_S.REJECTED, _M.CANCEL_REQUEST): _S.REJECTED,
    (_S.REPLACED, _M.ACCEPT): _S.REPLACED,
    (_S.REPLACED, _M.FILL_PART): _S.REPLACED,
    (_S.REPLACED, _M.FILL_REST): _S.FILLED,
    (_S.REPLACED, _M.REPLACE): _S.REPLACED,
    (_S.REPLACED, _M.CANCEL): _S.REPLACED,
    (_S.REPLACED, _M.CANCEL_REQUEST): _S.REPLACED,
    (_S.REPLACED, _M.END_DAY): _S.REPLACED,
    # an exchange takes back or changes a fill whenever it likes; what is over stays over
    **{(status, how): status for status in _MAY_HAVE_FILLS for how in (_M.BUST, _M.CORRECT)},
}

_ANSWERED = (_S.ACCEPTED, _S.PARTIALLY_FILLED, _S.DONE_FOR_DAY, _S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED, _S.REPLACED)
"""The broker has shown that it has the order, or had it."""

REFUSED: dict[tuple[OrderStatus, OrderMove], str] = {
    **{(status, how): "nothing of it was filled" for status in (_S.PENDING_NEW, _S.UNKNOWN, _S.ACCEPTED) for how in (_M.BUST, _M.CORRECT)},
    **{(_S.DENIED, how): "we never sent it" for how in _M},
    **{(status, _M.LOSE): "its answer came by other news" for status in _ANSWERED},
    **{(status, _M.ABSENT): "the broker had it before" for status in _ANSWERED},
    (_S.FILLED, _M.FILL_PART): "more than was ordered",
    (_S.FILLED, _M.FILL_REST): "more than was ordered",
    (_S.FILLED, _M.REJECT): "nothing of it is left",
    (_S.FILLED, _M.REPLACE): "nothing of it is left",
    (_S.CANCELED, _M.REJECT): "it ended in another way",
    (_S.CANCELED, _M.EXPIRE): "it ended in another way",
    (_S.CANCELED, _M.REPLACE): "it ended in another way",
    (_S.EXPIRED, _M.REJECT): "it ended in another way",
    (_S.EXPIRED, _M.CANCEL): "it ended in another way",
    (_S.EXPIRED, _M.REPLACE): "it ended in another way",
    (_S.REPLACED, _M.REJECT): "it ended in another way",
    (_S.REPLACED, _M.EXPIRE): "it ended in another way",
    **{
        (_S.REJECTED, how): "the broker refused it"
        for how in (_M.ACCEPT, _M.FILL_PART, _M.FILL_REST, _M.CANCEL, _M.EXPIRE, _M.REPLACE, _M.END_DAY)
    },
}
"""Every pair that is not in TRANSITIONS, with the reason: together they cover all states and moves."""


class Order(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One order and what has happened to it so far. Fields with their defaults are left out of the journal."""

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
