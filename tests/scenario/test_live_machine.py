"""A live account, event by event: targets in the session, what waits for an order before it, people, halts, splits, lagging reads."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from msgspec.structs import replace

from hedgefund_core.machine import CancelOrder, SubmitOrder, dispatch
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO, Instrument
from hedgefund_core.trading.order import Leg, OrderStatus
from tests.builders import mandate
from tests.scenario.live_bench import LiveBench, session


@pytest.fixture
def bench() -> LiveBench:
    return LiveBench()


def test_every_input_has_its_handler() -> None:
    assert {str(kind.__struct_config__.tag) for kind in dispatch.HANDLERS} == e.INPUT_KINDS


# ---- targets in the session --------------------------------------------------------------------------------------------------


def test_weights_become_marketable_limits_for_the_day(bench: LiveBench) -> None:
    (order,) = bench.decide({"AAA": 0.1})
    assert (order.quantity, order.side, order.leg, order.time_in_force) == (Decimal(100), e.Side.BUY, Leg.OPEN, e.TimeInForce.DAY)
    assert order.limit_price == Decimal("100.51")  # 50 bp beyond the ask of 100.01, down to the cent
    assert order.session == session()


def test_no_order_of_the_session_leaves_its_price_band(bench: LiveBench) -> None:
    bench.hold(BBB=10, CCC=10)
    bench.prices(bands=((None, 99.8, 90.0, None), (100.2, 101.0, 110.0, None)))
    orders = bench.decide(AAA=10, BBB=0, CCC=0, DDD=10)
    assert {order.symbol: order.limit_price for order in orders} == {
        "AAA": Decimal("100.2"), "BBB": Decimal("99.8"), "CCC": Decimal("99.5"), "DDD": Decimal("100.51"),
    }  # fmt: skip
    bench.feed(e.InstrumentsAdded(ts=bench.tick(), instruments=(Instrument(instrument_id="EEE", symbol="EEE"),)))
    assert bench.state.quotes is not None
    assert bench.state.quotes.bands == ((None, 99.8, 90.0, None, None), (100.2, 101.0, 110.0, None, None))


def test_a_quantity_is_reached_exactly_whatever_the_band_says(bench: LiveBench) -> None:
    bench.hold(AAA=100)
    assert [(o.side.value, o.quantity) for o in bench.decide(AAA=101)] == [("buy", Decimal(1))]
    bench.fill(bench.sent()[0])
    assert bench.decide({"AAA": 0.1012}) == []  # inside the no-trade band
    assert bench.decide(AAA=101) == []


@pytest.mark.parametrize(
    "weights", [{f"N{i:02}": 0.1 for i in range(20)}, {"N00": 0.5}, {"N00": 1.0}, {f"N{i:02}": (-1) ** i * 0.1 for i in range(20)}]
)
def test_the_mandate_of_people_allows_their_books(weights: dict[str, float]) -> None:
    bench = LiveBench(names=tuple(f"N{i:02}" for i in range(20)))
    bench.report()
    assert {order.symbol for order in bench.decide(weights)} == set(weights)


def test_a_rebalance_while_orders_work_does_not_double(bench: LiveBench) -> None:
    (order,) = bench.decide(AAA=100)
    assert bench.decide(AAA=100) == []
    bench.accept(order)
    bench.fill(order, 40)
    assert bench.decide(AAA=100) == []
    (more,) = bench.decide(AAA=150)
    assert more.quantity == 50
    assert more.client_order_id != order.client_order_id


def test_a_tick_without_anything_to_do_writes_nothing(bench: LiveBench) -> None:
    bench.hold(AAA=100)
    assert bench.decide(AAA=100) == []
    assert bench.commands == []


def test_the_same_denial_is_said_once(bench: LiveBench) -> None:
    bench.status("AAA", halted=True)
    bench.decide(AAA=100)
    assert bench.denied() == {"AAA": "frozen_instrument"}
    bench.decide(AAA=100)
    assert bench.commands == []
    bench.status("AAA")
    bench.prices()
    assert [order.quantity for order in bench.decide(AAA=100)] == [100]


def test_a_stale_quote_denies_entries_and_not_reductions(bench: LiveBench) -> None:
    bench.hold(AAA=100)
    bench.prices(age=40.0)
    assert bench.decide(BBB=10) == []
    assert bench.denied() == {"BBB": "quote_age"}
    assert [order.leg for order in bench.decide(AAA=0)] == [Leg.CLOSE]


def test_a_crossed_quote_is_none(bench: LiveBench) -> None:
    bench.prices(half_spread=-0.05)
    assert bench.decide(BBB=10) == []
    assert bench.denied() == {"BBB": "quote_age"}


def test_refusals_of_entries_do_not_keep_a_position_from_being_closed(bench: LiveBench) -> None:
    bench.hold(AAA=100)
    for shares in (110, 120, 130, 140):
        for order in bench.decide(AAA=shares):
            bench.news(e.OrderRejected, client_order_id=order.client_order_id, reason="no")
    assert bench.sent() == []
    assert [order.leg for order in bench.decide(AAA=0)] == [Leg.CLOSE]


def test_what_the_broker_refuses_again_and_again_is_tried_ever_more_rarely_and_goes_on_once_taken(bench: LiveBench) -> None:
    began, tried, said = bench.now, list[float](), 0
    while (seconds := (bench.now - began).total_seconds()) < 70:
        bench.prices()
        for order in bench.decide(AAA=100):
            tried.append(seconds)
            bench.news(e.OrderRejected, client_order_id=order.client_order_id, reason="insufficient buying power")
            said += sum("ever more rarely" in alert.message for alert in bench.frames(e.AlertRaised))
    assert len(tried) == 6, "a broker that takes the seventh has it within two minutes"
    assert tried[3] - tried[2] >= 10
    assert tried[5] - tried[4] >= 22
    assert said == 1
    bench.tick(60.0)
    bench.prices()
    (order,) = bench.decide(AAA=100)
    bench.fill(order)
    assert bench.held() == 100
    assert bench.state.barred_until == {}


def test_a_gate_holds_entries_and_not_reductions(bench: LiveBench) -> None:
    bench.hold(AAA=100)
    bench.feed(e.EntriesGated(ts=bench.tick(), cause="order stream down", closed=True))
    assert bench.decide(BBB=10) == []
    assert bench.denied() == {"BBB": "entries_gate"}
    assert len(bench.decide(AAA=50)) == 1
    bench.feed(e.EntriesGated(ts=bench.tick(), cause="order stream down", closed=False))
    assert len(bench.decide(BBB=10)) == 1


def test_what_cannot_be_borrowed_is_not_sold_short(bench: LiveBench) -> None:
    bench.status("AAA", easy_to_borrow=False)
    assert bench.decide(AAA=-10) == []
    assert bench.denied() == {"AAA": "short_availability"}
    assert len(bench.decide(BBB=-10)) == 1


def test_the_brokers_buying_power_binds_and_is_spent_by_what_is_sent(bench: LiveBench) -> None:
    bench.report(buying_power=Decimal(15_000))
    assert [order.symbol for order in bench.decide(AAA=100)] == ["AAA"]
    assert bench.decide(BBB=100) == []
    assert bench.denied() == {"BBB": "broker_buying_power"}


def test_orders_that_run_away_are_stopped() -> None:
    book = mandate("discretionary")
    bench = LiveBench()
    limit = int((book.limits.max_orders_per_minute_per_name or 0) * 50)
    bench.state = replace(bench.state, sent_at=bench.now, sent_minute=limit)
    assert bench.decide(AAA=10) == []
    assert bench.denied() == {"AAA": "orders_per_minute"}
    bench.state = replace(bench.state, sent_at=bench.now + timedelta(hours=1))  # the broker's clock was an hour ahead, and was set back
    assert len(bench.decide(AAA=10)) == 1


def test_a_decision_before_prices_of_the_session_decides_nothing() -> None:
    bench = LiveBench(ready=False)
    bench.feed(e.SessionBegan(ts=bench.now, session=session()))
    assert bench.decide(AAA=10) == []
    assert "no decision" in bench.frames(e.AlertRaised)[0].message


def test_with_the_market_closed_targets_become_orders_for_the_opening_auction(bench: LiveBench) -> None:
    bench.end()
    (order,) = bench.decide({"AAA": 0.1}, ahead=1, force="opg")
    assert (order.time_in_force, order.session) == (e.TimeInForce.OPG, session(1))
    assert bench.decide({"AAA": 0.1}, ahead=1, force="opg") == []
    bench.decide({"AAA": 0.05}, ahead=1, force="opg")
    assert bench.canceled() == [order.client_order_id]  # more than is wanted now: it leaves the market first
    bench.canceled_by_broker(order)
    assert [o.quantity for o in bench.sent()] == [50]


# ---- before and beyond -----------------------------------------------------------------------------------------------------------


def test_an_opposite_order_waits_for_the_cancel_of_the_working_one(bench: LiveBench) -> None:
    (buy,) = bench.decide(AAA=100)
    bench.accept(buy)
    bench.fill(buy, 30)
    assert bench.decide(AAA=0) == []
    assert bench.canceled() == [buy.client_order_id]
    assert bench.decide(AAA=0) == []  # asked again while it waits
    bench.fill(buy, 10)  # the cancel is slow
    bench.canceled_by_broker(buy)
    assert [(o.side.value, o.quantity, o.leg) for o in bench.sent()] == [("sell", Decimal(40), Leg.CLOSE)]


def test_what_waits_goes_on_at_fresh_prices_where_the_quote_is_old_at_the_proof(bench: LiveBench) -> None:
    (buy,) = bench.decide(AAA=100)
    bench.fill(buy, 30)
    bench.decide(AAA=0)
    bench.tick(60.0)
    bench.canceled_by_broker(buy)
    assert bench.sent() == []
    bench.prices()
    assert [o.quantity for o in bench.sent()] == [30]


def test_zero_is_crossed_in_two_orders_the_second_after_the_first_is_filled(bench: LiveBench) -> None:
    bench.hold(AAA=100)
    (close,) = bench.decide(AAA=-50)
    assert (close.quantity, close.leg) == (Decimal(100), Leg.CLOSE)
    bench.fill(close, 60)
    assert bench.sent() == []
    bench.fill(close)
    assert [(o.quantity, o.leg) for o in bench.sent()] == [(Decimal(50), Leg.OPEN)]
    bench.fill(bench.sent()[0])
    assert bench.held() == -50
    assert bench.state.pending == {}


def test_the_leg_beyond_zero_is_dropped_where_the_first_did_not_fill(bench: LiveBench) -> None:
    bench.hold(AAA=100)
    (close,) = bench.decide(AAA=-50)
    bench.fill(close, 60)
    bench.canceled_by_broker(close)
    assert bench.sent() == []
    assert bench.state.pending == {}
    assert bench.held() == 40


def test_an_order_that_the_market_has_left_is_replaced_after_proof(bench: LiveBench) -> None:
    (order,) = bench.decide(AAA=100)
    bench.accept(order)
    bench.prices(AAA=102.0)
    assert bench.decide(AAA=100) == []
    assert bench.canceled() == [order.client_order_id]
    bench.canceled_by_broker(order)
    (again,) = bench.sent()
    assert again.quantity == 100
    assert again.limit_price is not None
    assert again.limit_price > 102


def test_an_unknown_order_that_was_to_be_cancelled_is_cancelled_when_it_is_found_and_never_sent_again(bench: LiveBench) -> None:
    (order,) = bench.decide(AAA=100)
    bench.feed(e.OrderOutcomeUnknown(ts=bench.tick(), client_order_id=order.client_order_id, reason="time-out"))
    bench.decide(AAA=0)
    assert bench.canceled() == [order.client_order_id]
    found = LiveBench()
    found.state = bench.state
    found.accept(order)
    assert found.canceled() == [order.client_order_id]
    bench.feed(e.OrderAbsent(ts=bench.tick(), client_order_id=order.client_order_id))
    assert bench.state.orders[order.client_order_id].status is OrderStatus.CANCELED
    assert bench.sent() == []


@pytest.mark.parametrize("halted", [True, False])
def test_a_person_who_cancels_what_nobody_can_find_is_remembered_until_it_is_found_or_surely_not_there(
    bench: LiveBench, halted: bool
) -> None:
    (order,) = bench.decide(AAA=100)
    name = order.client_order_id
    bench.feed(e.OrderOutcomeUnknown(ts=bench.tick(), client_order_id=name, reason="time-out"))
    if halted:  # and resumed, before anybody knows
        bench.feed(e.HaltRequested(ts=bench.tick(), level=2, reason="r", person="ann", session=session()))
        bench.feed(e.ResumeRequested(ts=bench.tick(), reason="r", person="ann", session=session()))
    else:
        bench.feed(e.CancelRequested(ts=bench.tick(), request_id="c", client_order_id="", person="ann", reason=""))
    found = LiveBench()
    found.state = bench.state
    found.accept(order)
    assert found.canceled() == [name]
    assert found.state.orders[name].status is OrderStatus.PENDING_CANCEL
    bench.feed(e.OrderAbsent(ts=bench.tick(), client_order_id=name))
    assert bench.state.orders[name].status is OrderStatus.CANCELED
    assert bench.sent() == []
    assert (found.state.to_cancel, bench.state.to_cancel) == (frozenset(), frozenset())


# ---- the age of quotes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gap", "rule"), [(None, "quote_age"), (1.0, "quote_age"), (10.0, ""), (7.0, "quote_age")])
def test_a_quote_may_be_as_old_as_five_of_its_usual_gaps(bench: LiveBench, gap: float | None, rule: str) -> None:
    row = (100.0,) * 4
    seen = e.PricesSeen(ts=bench.tick(), session=session(), price=row, bid=row, ask=row, age_seconds=(40.0,) * 4, gap_seconds=(gap,) * 4)
    bench.feed(seen)
    sent = bench.decide(AAA=10)
    assert (len(sent), bench.denied().get("AAA", "")) == (0 if rule else 1, rule)
    bench.feed(e.InstrumentsAdded(ts=bench.tick(), instruments=(Instrument(instrument_id="EEE", symbol="EEE"),)))
    assert bench.replayed() == bench.outputs


# ---- slices ---------------------------------------------------------------------------------------------------------------------------


def sliced(shares: int = 350, closes_in: float | None = None) -> tuple[LiveBench, e.Order]:
    bench = LiveBench()
    rows = 25
    days = tuple(str(date(2026, 10, 1 + day)) for day in range(rows))
    cells = tuple((100.0,) * 4 for _ in range(rows))
    volume = tuple((10_000.0,) * 4 for _ in range(rows))
    bench.feed(e.HistoryLoaded(ts=bench.tick(), data_version="v", sessions=days, close=cells, volume=volume))
    if closes_in is not None:
        row, closes_at = (100.0,) * 4, bench.tick() + timedelta(seconds=closes_in)
        seen = e.PricesSeen(ts=bench.now, session=session(), price=row, bid=row, ask=row, age_seconds=(0.5,) * 4, closes_at=closes_at)
        bench.feed(seen)
    (first,) = bench.decide(AAA=shares)
    return bench, first


def test_an_order_beyond_a_hundredth_of_the_volume_is_worked_in_pieces_that_add_up() -> None:
    bench, first = sliced()
    (routed,) = bench.frames(e.OrderRouted)
    assert routed.strategy == "sliced"
    assert sum(routed.slices, ZERO) == routed.quantity == 350
    assert first.quantity == routed.slices[0] == 88
    bench.fill(first, 50)
    bench.canceled_by_broker(first)
    done = [bench.state.orders[first.client_order_id].filled_quantity]
    while routed.parent_id in bench.state.parents:
        bench.prices()
        bench.feed(e.SliceDue(ts=bench.tick(), parent_id=routed.parent_id, session=session()))
        for order in bench.sent():
            bench.fill(order)
            done.append(order.quantity)
    assert sum(done, ZERO) == bench.held() == 350
    assert bench.decide(AAA=350) == []


def test_a_target_that_changes_drops_the_pieces_to_come() -> None:
    bench, first = sliced()
    bench.fill(first)
    assert bench.decide(AAA=350) == []
    (sell,) = bench.decide(AAA=0)
    assert (sell.quantity, sell.side.value) == (Decimal(88), "sell")
    assert bench.state.parents == {}


def test_pieces_that_a_session_leaves_are_dropped_and_said() -> None:
    bench, _ = sliced()
    bench.end()
    assert "were not worked" in bench.frames(e.AlertRaised)[0].message
    assert bench.state.parents == {}


@pytest.mark.parametrize(
    ("closes_in", "between", "said"), [(7_201.0, 1440.0, ""), (601.0, 120.0, ""), (3.0, 1.0, "3 of 4 pieces fit before")]
)
def test_pieces_are_spread_over_what_is_left_of_the_session(closes_in: float, between: float, said: str) -> None:
    bench, _ = sliced(closes_in=closes_in)
    (routed,) = bench.frames(e.OrderRouted)
    assert (len(routed.slices), routed.seconds_between) == (4, between)
    assert said in routed.reason
    assert bench.replayed() == bench.outputs


def test_what_the_last_piece_leaves_is_said() -> None:
    bench, first = sliced(150)
    name = next(iter(bench.state.parents))
    orders = [first]
    while (parent := bench.state.parents[name]).released < parent.most_releases:
        bench.canceled_by_broker(orders[-1])
        bench.prices()
        bench.feed(e.SliceDue(ts=bench.tick(), parent_id=name, session=session()))
        orders += bench.sent()
    bench.canceled_by_broker(orders[-1])
    assert [alert.message for alert in bench.frames(e.AlertRaised)] == [f"150 AAA of order {name} could not be worked"]
    assert bench.state.parents == {}


def over_and_sent_again() -> tuple[LiveBench, e.Order]:
    """A piece that the broker took out of the market, and whose shares are in the pieces after it."""
    bench, first = sliced(150)
    bench.canceled_by_broker(first)
    for _ in range(2):
        bench.prices()
        bench.feed(e.SliceDue(ts=bench.tick(), parent_id=next(iter(bench.state.parents)), session=session()))
    return bench, first


@pytest.mark.parametrize("shares", [75, 90])
def test_a_piece_that_fills_after_its_end_is_booked_and_nothing_more_is_sent(shares: int) -> None:
    bench, first = over_and_sent_again()
    assert sum((order.remaining for order in bench.state.working), ZERO) == 150
    bench.fill(first, shares)
    assert bench.held() == shares
    bench.prices()
    for name in tuple(bench.state.parents):
        bench.feed(e.SliceDue(ts=bench.tick(), parent_id=name, session=session()))
        assert bench.sent() == []
    assert bench.replayed() == bench.outputs


def test_a_piece_whose_fill_was_taken_back_is_worked_on() -> None:
    bench, first = sliced(150)
    name = next(iter(bench.state.parents))
    bench.fill(first, 20)
    fill_id = bench.state.orders[first.client_order_id].fill_ids[0]
    busted = {"client_order_id": first.client_order_id, "fill_id": fill_id, "quantity": Decimal(20), "price": Decimal(100)}
    bench.news(e.FillBusted, session=session(), **busted)
    assert (bench.state.parents[name].filled, bench.state.parents[name].working) == (ZERO, 75)
    bench.canceled_by_broker(first)
    while name in bench.state.parents:
        bench.prices()
        bench.feed(e.SliceDue(ts=bench.tick(), parent_id=name, session=session()))
        for order in bench.sent():
            bench.fill(order)
    assert bench.held() == 150


# ---- the account ----------------------------------------------------------------------------------------------------------------------


def test_more_instruments_join_with_their_prices(bench: LiveBench) -> None:
    bench.feed(e.InstrumentsAdded(ts=bench.tick(), instruments=(Instrument(instrument_id="EEE", symbol="EEE"),)))
    bench.names = (*bench.names, "EEE")
    assert len(bench.state.marks) == 5
    bench.status("EEE")
    bench.prices(EEE=50.0)
    assert [order.quantity for order in bench.decide({"EEE": 0.1})] == [200]


def test_a_joining_instrument_leaves_the_history_of_the_others() -> None:
    bench, _ = sliced()
    bench.feed(e.InstrumentsAdded(ts=bench.tick(), instruments=(Instrument(instrument_id="EEE", symbol="EEE"),)))
    assert bench.state.ring is not None
    assert bench.state.ring.symbols[-1] == "EEE"
    assert bench.state.ring.volume is not None
    assert bench.state.ring.volume[-1][:2].tolist() == [10_000.0, 10_000.0]


def test_a_recall_of_lent_shares_is_said(bench: LiveBench) -> None:
    bench.hold(AAA=-100)
    bench.status("AAA", easy_to_borrow=False)
    assert "recalled" in bench.frames(e.AlertRaised)[0].message


def test_trouble_of_the_shell_becomes_an_alert(bench: LiveBench) -> None:
    bench.feed(e.TroubleSeen(ts=bench.tick(), severity="warning", message="targets file: AAPL: not a number"))
    assert bench.frames(e.AlertRaised)[0].message == "targets file: AAPL: not a number"


def test_a_halted_account_lets_nothing_leave(bench: LiveBench) -> None:
    bench.hold(AAA=100)
    bench.halt(4)
    assert bench.decide(AAA=0) == []
    assert bench.order("AAA", "sell", 10) == []
    assert bench.cancel() == []
    assert not any(isinstance(command, SubmitOrder | CancelOrder) for command in bench.prices())


def test_a_day_of_everything_folds_to_the_same_bytes(bench: LiveBench) -> None:
    bench.hold(AAA=100, BBB=-50)
    bench.decide(AAA=-20, BBB=10)
    bench.order("CCC", "buy", 10)
    bench.report()
    bench.halt(3)
    bench.prices()
    bench.end()
    assert bench.replayed() == bench.outputs
