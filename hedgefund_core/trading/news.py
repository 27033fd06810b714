"""Inputs that are news of the broker, each with a sequence number: what became of orders, cash, splits, and trades of others."""

from __future__ import annotations

from decimal import Decimal

from hedgefund_core.trading.frame import BrokerEvent
from hedgefund_core.trading.ledger import CashKind
from hedgefund_core.trading.order import Side


class OrderAccepted(BrokerEvent, tag="order_accepted", frozen=True, kw_only=True):
    """The broker has the order."""

    client_order_id: str
    broker_order_id: str


class OrderFilled(BrokerEvent, tag="order_filled", frozen=True, kw_only=True):
    """Some or all of an order traded."""

    client_order_id: str
    broker_order_id: str
    fill_id: str
    quantity: Decimal
    price: Decimal
    commission: Decimal
    session: str


class OrderRejected(BrokerEvent, tag="order_rejected", frozen=True, kw_only=True):
    """The broker's definite no."""

    client_order_id: str
    reason: str


class OrderCanceled(BrokerEvent, tag="order_canceled", frozen=True, kw_only=True):
    """The order is out of the market."""

    client_order_id: str


class OrderExpired(BrokerEvent, tag="order_expired", frozen=True, kw_only=True):
    """The order's time in force ended before it was filled."""

    client_order_id: str


class CashPosted(BrokerEvent, tag="cash_posted", frozen=True, kw_only=True):
    """A cash line of the broker: dividend, borrow, interest, deposit."""

    activity_id: str
    cash_kind: CashKind
    amount: Decimal
    session: str
    instrument_id: str = ""


class SplitProcessed(BrokerEvent, tag="split_processed", frozen=True, kw_only=True):
    """The broker adjusted a position for a split before the session's open."""

    activity_id: str
    instrument_id: str
    ratio: Decimal
    quantity_after: Decimal
    cash_in_lieu: Decimal
    session: str


class OrderReplaced(BrokerEvent, tag="order_replaced", frozen=True, kw_only=True):
    """The broker has put another order in this one's place. Somebody else asked for that: we never replace, but cancel and send anew."""

    client_order_id: str
    replaced_by: str


class OrderDoneForDay(BrokerEvent, tag="order_done_for_day", frozen=True, kw_only=True):
    """The order trades no more today; it may still be filled or corrected until it is over."""

    client_order_id: str


class FillBusted(BrokerEvent, tag="fill_busted", frozen=True, kw_only=True):
    """A fill was taken back by the exchange."""

    client_order_id: str
    fill_id: str
    quantity: Decimal
    price: Decimal
    session: str


class FillCorrected(BrokerEvent, tag="fill_corrected", frozen=True, kw_only=True):
    """A fill was changed by the exchange: what was booked, and what it is now."""

    client_order_id: str
    fill_id: str
    quantity: Decimal
    price: Decimal
    new_quantity: Decimal
    new_price: Decimal
    session: str


class ExternalFilled(BrokerEvent, tag="external_filled", frozen=True, kw_only=True):
    """Somebody else traded on this account. It is booked and alerted, and allows no entry in the instrument until a person resumes."""

    instrument_id: str
    broker_order_id: str
    fill_id: str
    side: Side
    quantity: Decimal
    price: Decimal
    commission: Decimal
    session: str


class NewsNotUnderstood(BrokerEvent, tag="news_not_understood", frozen=True, kw_only=True):
    """The broker sent something that we do not understand: people are told, and the books are reconciled."""

    what: str
    payload: str
