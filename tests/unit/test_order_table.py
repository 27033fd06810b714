"""Every pair of an order's status and what can happen to it is a move or a refusal with its reason: there is no third."""

from __future__ import annotations

import itertools

import pytest

from hedgefund_core.trading.order import REFUSED, TERMINAL, TRANSITIONS, OrderMove, OrderStatus, move
from tests.unit.test_trading_order import NOW, an_order

PAIRS = list(itertools.product(OrderStatus, OrderMove))


@pytest.mark.parametrize(("status", "how"), PAIRS)
def test_a_pair_is_a_move_or_a_refusal(status: OrderStatus, how: OrderMove) -> None:
    moved = move(an_order(status), how, at=NOW)
    if (status, how) in TRANSITIONS:
        assert moved is not None
        assert moved.status is TRANSITIONS[status, how]
        assert (status, how) not in REFUSED
    else:
        assert moved is None
        assert REFUSED[status, how]


def test_the_two_tables_together_are_the_whole_square() -> None:
    assert len(TRANSITIONS) + len(REFUSED) == len(PAIRS) == len(OrderStatus) * len(OrderMove)


@pytest.mark.parametrize("how", [OrderMove.CANCEL, OrderMove.EXPIRE, OrderMove.REJECT, OrderMove.REPLACE])
def test_an_end_ends_every_order_that_works(how: OrderMove) -> None:
    for status in set(OrderStatus) - TERMINAL:
        assert TRANSITIONS[status, how] in TERMINAL


def test_what_has_been_filled_whole_is_filled_whatever_it_was() -> None:
    living = {status for status in OrderStatus if (status, OrderMove.FILL_REST) in TRANSITIONS}
    assert {TRANSITIONS[status, OrderMove.FILL_REST] for status in living} == {OrderStatus.FILLED}
    assert living == set(OrderStatus) - {OrderStatus.DENIED, OrderStatus.FILLED, OrderStatus.REJECTED}


def test_no_news_brings_an_order_that_is_over_back_into_the_market() -> None:
    for (status, how), after in TRANSITIONS.items():
        if status in TERMINAL:
            assert after in TERMINAL, (status, how)


def test_a_cancel_that_was_asked_for_is_not_forgotten_before_the_order_is_over() -> None:
    after = {TRANSITIONS[OrderStatus.PENDING_CANCEL, how] for how in OrderMove if (OrderStatus.PENDING_CANCEL, how) in TRANSITIONS}
    assert after - TERMINAL == {OrderStatus.PENDING_CANCEL}
