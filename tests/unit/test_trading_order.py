"""The life of an order is its table: what is in it happens, what is not is said."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from hedgefund_core.trading.order import (
    TERMINAL,
    TRANSITIONS,
    Leg,
    Order,
    OrderMove,
    OrderStatus,
    OrderType,
    Purpose,
    Side,
    TimeInForce,
    move,
)

NOW = datetime(2020, 1, 2, 21, 15, tzinfo=UTC)


def an_order(status: OrderStatus = OrderStatus.PENDING_NEW) -> Order:
    return Order(
        client_order_id="a-r0",
        decision_id="d",
        instrument_id="AAPL",
        symbol="AAPL",
        side=Side.BUY,
        quantity=Decimal(10),
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.CLS,
        leg=Leg.OPEN,
        purpose=Purpose.MODEL,
        session="2020-01-03",
        reference_price=Decimal(100),
        submitted_at=NOW,
        limit_price=Decimal(103),
        status=status,
    )


@pytest.mark.parametrize(("before", "how", "after"), [(status, how, after) for (status, how), after in TRANSITIONS.items()])
def test_every_move_of_the_table_leads_where_it_says(before: OrderStatus, how: OrderMove, after: OrderStatus) -> None:
    moved = move(an_order(before), how, at=NOW)
    assert moved is not None
    assert moved.status is after
    assert moved.updated_at == NOW


def test_a_terminal_order_only_ever_stays_terminal() -> None:
    ends = {after for (before, _), after in TRANSITIONS.items() if before in TERMINAL}
    assert ends <= TERMINAL


def test_a_fill_after_a_cancel_is_real() -> None:
    moved = move(an_order(OrderStatus.CANCELED), OrderMove.FILL_REST, at=NOW)
    assert moved is not None
    assert moved.status is OrderStatus.FILLED


def test_an_unknown_order_is_sent_again_only_after_proof_of_absence() -> None:
    into_pending = {(before, how) for (before, how), after in TRANSITIONS.items() if after is OrderStatus.PENDING_NEW}
    assert {how for _, how in into_pending} == {OrderMove.ABSENT}


def test_a_move_outside_the_table_is_none() -> None:
    assert move(an_order(OrderStatus.DENIED), OrderMove.ACCEPT, at=NOW) is None
    assert move(an_order(OrderStatus.FILLED), OrderMove.FILL_PART, at=NOW) is None


def test_quantities_of_an_order() -> None:
    order = an_order()
    assert order.remaining == Decimal(10)
    assert order.average_fill_price is None
    assert order.is_working
    assert not an_order(OrderStatus.REJECTED).is_working
