"""Fractions of shares that an account already holds: closed with the position or brought to whole shares, never bought."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hedgefund_core.machine import Command, Record
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Leg
from hedgefund_core.trading.router import route
from tests.scenario.live_bench import LiveBench


@pytest.fixture
def bench() -> LiveBench:
    found = LiveBench()
    found.status("AAA", fractionable=True)
    held = {"instrument_id": "AAA", "average_price": Decimal(100), "person": "ann", "reason": "held before"}
    found.feed(e.PositionAdopted(ts=found.tick(), quantity=Decimal("10.25"), **held))
    return found


@pytest.mark.parametrize(("target", "sold"), [(0, "10.25"), (5, "5.25"), (10, "0.25")])
def test_a_reduction_leaves_whole_shares_or_nothing(bench: LiveBench, target: int, sold: str) -> None:
    (order,) = bench.decide(AAA=target)
    assert (order.side, order.leg, order.quantity) == (e.Side.SELL, Leg.CLOSE, Decimal(sold))
    bench.fill(order)
    assert bench.held() == target
    assert bench.decide(AAA=target) == []


def test_a_flattening_closes_the_fraction_too(bench: LiveBench) -> None:
    bench.halt(3)
    (close,) = bench.sent()
    assert close.quantity == Decimal("10.25")
    bench.fill(close)
    assert bench.state.is_flat


def told(commands: list[Command]) -> str:
    return " ".join(c.frame.message for c in commands if isinstance(c, Record) and isinstance(c.frame, e.AlertRaised))


def test_of_a_name_in_whole_shares_only_the_whole_ones_are_closed_and_the_rest_is_said_once(bench: LiveBench) -> None:
    bench.status("AAA", fractionable=False)
    assert "0.25 AAA stays" in told(bench.report())
    bench.halt(3)
    (close,) = bench.sent()
    assert close.quantity == 10
    bench.fill(close)
    assert bench.state.is_flat
    bench.report(positions={"AAA": Decimal("1.25")})
    assert not bench.state.flat_confirmed
    flat = told(bench.report())
    assert ("flat:" in flat, "0.25 AAA" in flat, "stays" in flat) == (True, True, False)
    assert told([*bench.prices(), *bench.report()]) == ""
    bench.status("AAA", fractionable=True)  # the broker takes fractions by now
    bench.prices()
    assert [order.quantity for order in bench.sent()] == [Decimal("0.25")]


@pytest.mark.parametrize(("target", "sold"), [(0, 10), (5, 5), (-3, 10)])
def test_a_target_is_met_in_whole_shares_where_nothing_else_is_traded(bench: LiveBench, target: int, sold: int) -> None:
    bench.status("AAA", fractionable=False)
    (order,) = bench.decide(AAA=target)
    assert (order.side, order.leg, order.quantity) == (e.Side.SELL, Leg.CLOSE, sold)
    bench.fill(order)
    assert bench.decide(AAA=target) == []
    assert bench.denied() == {}


def test_an_increase_is_in_whole_shares_and_then_at_rest(bench: LiveBench) -> None:
    (order,) = bench.decide(AAA=20)
    assert (order.side, order.quantity) == (e.Side.BUY, 9)
    bench.fill(order)
    assert bench.decide(AAA=20) == []
    assert bench.denied() == {}


def test_a_fractional_target_is_cut_toward_zero_and_one_that_is_held_already_is_left_alone(bench: LiveBench) -> None:
    due = {"AAA": Decimal("10.25"), "BBB": Decimal("2.7"), "CCC": Decimal("-2.7"), "DDD": Decimal("0.4")}
    seen = e.DecisionDue(
        ts=bench.tick(), session=bench.state.session, for_session=bench.state.session, time_in_force="day", rebalance=True,
        target_quantities=due,
    )  # fmt: skip
    bench.feed(seen)
    assert {order.symbol: order.quantity * order.side.sign for order in bench.sent()} == {"BBB": 2, "CCC": -2}


def test_an_auction_takes_whole_shares_only(bench: LiveBench) -> None:
    bench.end()
    (order,) = bench.decide(AAA=0, ahead=1, force="opg")
    assert order.quantity == 10


def test_zero_is_crossed_from_a_fraction(bench: LiveBench) -> None:
    (close,) = bench.decide(AAA=-3)
    assert close.quantity == Decimal("10.25")
    bench.fill(close)
    (short,) = bench.sent()
    assert (short.leg, short.quantity) == (Leg.OPEN, 3)


def test_pieces_of_an_order_add_up_to_its_fraction() -> None:
    way = route(Decimal("350.25"), Decimal(1), adv=10_000.0, max_share=0.01, seconds_left=10_000.0)
    assert sum(way.slices) == Decimal("350.25")
    assert all(piece % 1 == 0 for piece in way.slices[1:])
    assert all(piece <= 100 + 1 for piece in way.slices)
