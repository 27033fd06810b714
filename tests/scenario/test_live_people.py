"""People and the account they stop: their orders and cancels, losses, flattening."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Leg
from hedgefund_core.trading.state import Level, Scope
from tests.scenario.live_bench import LiveBench


@pytest.fixture
def bench() -> LiveBench:
    return LiveBench()


# ---- people ----------------------------------------------------------------------------------------------------------------------


def test_an_order_of_a_person_goes_through_the_rules_and_is_answered(bench: LiveBench) -> None:
    (order,) = bench.order("AAA", "buy", 100)
    (answer,) = bench.frames(e.RequestAnswered)
    assert answer.orders == (order.client_order_id,)
    assert order.purpose.value == "manual"
    assert [frame.note for frame in bench.frames(e.DecisionMade)] == ["ann"]


def test_asking_twice_is_asking_once(bench: LiveBench) -> None:
    first = bench.order("AAA", "buy", 100)
    assert bench.order("AAA", "buy", 100) == []
    assert bench.frames(e.RequestAnswered)[0].orders == (first[0].client_order_id,)
    assert len(bench.order("AAA", "buy", 100, request="q2")) == 1


def test_what_the_executor_asks_itself_crowds_out_no_request_of_a_person(bench: LiveBench) -> None:
    (order,) = bench.order("AAA", "buy", 100)
    bench.accept(order)
    assert bench.cancel(order.client_order_id, request="") == [order.client_order_id]
    assert bench.frames(e.RequestAnswered)[0].orders == (order.client_order_id,)
    assert set(bench.state.answered) == {"q1"}


def test_a_request_id_that_comes_again_with_other_content_does_nothing_and_says_so(bench: LiveBench) -> None:
    bench.order("AAA", "buy", 100, usual_time=True)
    assert bench.order("AAA", "buy", 100, time_in_force=e.TimeInForce.CLS, usual_time=True) == [], "the usual time of another moment"
    assert not bench.frames(e.RequestAnswered)[0].conflict
    for changes in ({}, {"usual_time": True, "instrument_id": "BBB"}, {"order_type": e.OrderType.LIMIT, "limit_price": Decimal(99)}):
        assert bench.order("AAA", "buy", 100, **changes) == []
        (answer,) = bench.frames(e.RequestAnswered)
        assert (answer.conflict, answer.orders) == (True, ())
        assert "was used for `buy 100 AAA market`" in answer.reason
    assert bench.cancel(request="q1") == []
    assert bench.frames(e.RequestAnswered)[0].conflict


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"instrument_id": "ZZZ"}, "not an instrument"),
        ({"quantity": Decimal(0)}, "not above zero"),
        ({"quantity": Decimal("NaN")}, "no number of shares"),
        ({"quantity": Decimal("1E+30")}, "no number of shares"),
        ({"quantity": Decimal("1E-999999")}, "no number of shares"),
        ({"quantity": Decimal("1.5")}, "whole shares"),
        ({"order_type": e.OrderType.LIMIT, "limit_price": Decimal("1E+30")}, "no price"),
        ({"order_type": e.OrderType.LIMIT, "limit_price": Decimal("sNaN")}, "no price"),
        ({"order_type": e.OrderType.LIMIT, "limit_price": Decimal(-100)}, "no price"),
        ({"request_id": ""}, "needs an id"),
        ({"quantity": Decimal(2_000)}, "order_value"),
        ({"order_type": e.OrderType.LIMIT, "limit_price": Decimal("100.005")}, "tick"),
        ({"order_type": e.OrderType.LIMIT, "limit_price": Decimal(150)}, "price_collar"),
        ({"time_in_force": e.TimeInForce.OPG}, "09:28"),
        ({"session": "2026-11-13"}, "is over"),
    ],
)
def test_a_refused_request_names_its_reason(bench: LiveBench, changes: dict[str, object], why: str) -> None:
    assert bench.order("AAA", "buy", 10, **changes) == []
    assert why in bench.frames(e.RequestAnswered)[0].reason


def test_a_limit_of_a_person_rests(bench: LiveBench) -> None:
    (order,) = bench.order("AAA", "buy", 10, order_type=e.OrderType.LIMIT, limit_price=Decimal("95.00"))
    assert order.limit_price == Decimal("95.00")
    bench.accept(order)
    assert bench.decide(AAA=10) == []  # it counts toward the target, and is not chased
    assert bench.canceled() == []


def test_a_person_crosses_zero_and_reverses_as_the_machine_does(bench: LiveBench) -> None:
    bench.hold(AAA=100)
    (close,) = bench.order("AAA", "sell", 150)
    assert close.quantity == 100
    assert "beyond zero" in bench.frames(e.RequestAnswered)[0].reason
    bench.fill(close)
    (beyond,) = bench.sent()
    assert (beyond.quantity, beyond.leg, beyond.purpose.value) == (Decimal(50), Leg.OPEN, "manual")


def test_an_order_whose_part_beyond_zero_would_be_denied_closes_nothing(bench: LiveBench) -> None:
    bench.hold(AAA=100)
    assert bench.order("AAA", "sell", 100_000) == []
    (said,) = bench.frames(e.RequestAnswered)
    assert said.orders == ()
    assert "part beyond zero would be denied" in said.reason
    assert [order.quantity for order in bench.order("AAA", "sell", 100, request="q2")] == [100]


def test_a_persons_order_against_a_working_one_waits_for_its_cancel(bench: LiveBench) -> None:
    bench.hold(AAA=100)
    (sell,) = bench.order("AAA", "sell", 100, order_type=e.OrderType.LIMIT, limit_price=Decimal("105.00"))
    assert bench.order("AAA", "buy", 10, request="q2") == []
    assert bench.canceled() == [sell.client_order_id]
    bench.canceled_by_broker(sell)
    assert [(o.side.value, o.quantity) for o in bench.sent()] == [("buy", Decimal(10))]


def test_a_cancel_takes_one_order_or_all_and_is_idempotent(bench: LiveBench) -> None:
    first, second = bench.decide(AAA=100, BBB=50)
    assert bench.cancel(first.client_order_id) == [first.client_order_id]
    assert bench.cancel(first.client_order_id) == []
    assert set(bench.cancel(request="c2")) == {first.client_order_id, second.client_order_id}
    assert bench.cancel("nobody", request="c3") == []
    assert "works here" in bench.frames(e.RequestAnswered)[0].reason


# ---- losses and flattening --------------------------------------------------------------------------------------------------------


def test_a_loss_in_the_session_moves_the_ladder_at_once(bench: LiveBench) -> None:
    bench.hold(AAA=900)
    bench.prices(AAA=88.0)
    assert bench.state.equity == Decimal(89_200)
    assert (bench.state.ladder.level, bench.state.ladder.scope) == (Level.REDUCING, Scope.SESSION)
    bench.end()
    assert bench.frames(e.AccountMarked)[0].day_pnl == Decimal(-10_800)
    bench.begin(1)
    assert bench.state.ladder.level is Level.ACTIVE


def test_everything_is_closed_when_two_looks_say_so_and_not_by_one_wrong_price(bench: LiveBench) -> None:
    bench.hold(AAA=900)
    bench.prices(AAA=60.0)
    assert bench.state.ladder.level is Level.REDUCING
    assert "next prices" in bench.frames(e.AlertRaised)[0].message
    bench.prices(AAA=100.0)
    bench.prices(AAA=60.0)
    assert bench.state.ladder.level is Level.REDUCING
    bench.prices(AAA=60.0)
    assert (bench.state.ladder.level, bench.state.ladder.scope) == (Level.FLATTENING, Scope.ACCOUNT)
    assert [order.quantity for order in bench.sent()] == [900]


def test_flatten_stays_armed_over_refusals_halts_and_closed_nights_until_the_broker_confirms(bench: LiveBench) -> None:
    bench.hold(AAA=100, BBB=-50)
    bench.status("BBB", halted=True)
    bench.halt(3)
    (close,) = bench.sent()  # at once, and not the halted name
    assert (close.symbol, close.purpose.value, close.leg) == ("AAA", "flatten", Leg.CLOSE)
    bench.prices()
    assert bench.sent() == []
    bench.fill(close, 60)
    bench.end()
    bench.news(e.OrderExpired, client_order_id=close.client_order_id)
    assert bench.sent() == []  # the market is closed
    bench.begin(1)
    bench.status("BBB", halted=True)
    rest = [o for o in bench.state.working if o.purpose.value == "flatten"]
    assert [(o.symbol, o.quantity) for o in rest if o.symbol == "AAA"] == [("AAA", Decimal(40))]
    for order in rest:
        bench.fill(order)
    for order in bench.state.working:
        bench.fill(order)
    bench.status("BBB")
    for order in bench.sent():
        bench.fill(order)
    assert bench.state.is_flat
    assert not bench.state.flat_confirmed
    bench.report()
    assert bench.state.flat_confirmed
    assert bench.state.ladder.level is Level.FLATTENING


def test_a_closing_that_is_refused_three_times_is_not_sent_a_fourth_in_the_session(bench: LiveBench) -> None:
    bench.hold(AAA=100)
    bench.halt(3)
    sent = 0
    for _ in range(8):
        for order in bench.sent():
            sent += 1
            bench.news(e.OrderRejected, client_order_id=order.client_order_id, reason="no")
        bench.prices()
    assert sent == 3
    bench.begin(1)
    assert len(bench.state.working) == 1  # a new session tries again
