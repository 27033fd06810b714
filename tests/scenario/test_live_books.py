"""The books when the broker says something else: differences, strangers, busts, splits, cents."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.order import Order, OrderStatus
from hedgefund_core.trading.state import Level, Scope
from tests.scenario.live_bench import LiveBench, session


@pytest.fixture
def bench() -> LiveBench:
    return LiveBench()


# ---- the broker says something else ----------------------------------------------------------------------------------------------------


def test_a_difference_counts_when_two_reports_show_the_same(bench: LiveBench) -> None:
    bench.report(positions={"AAA": Decimal(7)})
    assert not bench.frames(e.Reconciled)[0].ok
    assert bench.state.frozen == {}
    bench.report(positions={"AAA": Decimal(9)})
    assert bench.state.frozen == {}
    bench.report(positions={"AAA": Decimal(9)})
    assert set(bench.state.frozen) == {"AAA"}
    assert bench.frames(e.AlertRaised)[0].severity == "critical"
    bench.feed(
        e.PositionAdopted(
            ts=bench.tick(), instrument_id="AAA", quantity=Decimal(9), average_price=Decimal(99), person="ann", reason="traded by phone"
        )
    )
    assert (bench.held(), bench.state.frozen) == (Decimal(9), {})
    assert bench.sent() == []  # never an opposite trade


def test_cash_that_differs_twice_stops_entries_and_cents_do_not(bench: LiveBench) -> None:
    for _ in range(3):
        bench.report(cash=bench.state.ledger.cash + Decimal("0.04"))
    assert bench.state.ladder.level is Level.ACTIVE
    for _ in range(2):
        bench.report(cash=bench.state.ledger.cash - 5)
    assert (bench.state.ladder.level, bench.state.ladder.scope) == (Level.REDUCING, Scope.ACCOUNT)
    bench.feed(e.CashAdopted(ts=bench.tick(), amount=Decimal(-5), person="ann", reason="wire fee", session=session()))
    bench.report()
    assert bench.frames(e.Reconciled)[0].ok


def test_an_adoption_without_person_and_reason_adopts_nothing(bench: LiveBench) -> None:
    bench.hold(BBB=1)
    adopted = e.PositionAdopted(ts=bench.tick(), instrument_id="AAA", quantity=Decimal(9), average_price=Decimal(99), person="", reason="")
    bench.feed(adopted)
    bench.feed(e.CashAdopted(ts=bench.tick(), amount=Decimal(5), person="ann", reason=" ", session=session()))
    assert (bench.held(), bench.state.ledger.cash) == (ZERO, Decimal(99_900))


def test_what_an_account_is_opened_with_is_no_gain() -> None:
    bench = LiveBench(ready=False)
    bench.feed(
        e.PositionAdopted(ts=bench.tick(), instrument_id="AAA", quantity=Decimal(100), average_price=Decimal(40), person="", reason="")
    )
    assert bench.state.equity == Decimal(104_000)
    bench.feed(e.SessionBegan(ts=bench.tick(), session=session()))
    bench.prices(AAA=100.0)
    assert bench.state.equity == Decimal(110_000)  # the market is at 100: what it is worth came with it
    bench.end()
    (marked,) = bench.frames(e.AccountMarked)
    assert (marked.equity, marked.day_pnl, marked.external_flow) == (Decimal(110_000), ZERO, Decimal(110_000))
    assert bench.state.ladder.level is Level.ACTIVE


def test_what_somebody_else_trades_is_booked_said_and_frozen_until_a_person_resumes(bench: LiveBench) -> None:
    bench.news(
        e.ExternalFilled, instrument_id="AAA", broker_order_id="x", fill_id="x:10", side=e.Side.SELL, quantity=Decimal(10),
        price=Decimal(100), commission=ZERO, session=session(),
    )  # fmt: skip
    assert bench.held() == -10
    assert bench.state.ledger.cash == 101_000
    assert bench.frames(e.AlertRaised)[0].severity == "critical"
    assert bench.decide(AAA=-20) == []
    bench.feed(e.ResumeRequested(ts=bench.tick(), reason="it was me", person="ann", session=session()))
    assert bench.state.frozen == {}
    bench.prices()
    assert len(bench.decide(AAA=-20)) == 1


def test_a_late_fill_of_an_old_order_is_ours(bench: LiveBench) -> None:
    (order,) = bench.decide(AAA=100)
    bench.news(e.OrderExpired, client_order_id=order.client_order_id)
    for day in (1, 2, 3):
        bench.begin(day)
    assert order.client_order_id not in bench.state.orders
    bench.fill(order, 40)
    assert bench.held() == 40
    assert bench.state.ladder.level is Level.ACTIVE


def test_a_bust_and_a_correction_change_the_books_once(bench: LiveBench) -> None:
    (order,) = bench.decide(AAA=100)
    bench.fill(order, 60)
    bench.fill(order, 40, price="101")
    name = f"b-{order.client_order_id}"
    busted = {"client_order_id": order.client_order_id, "quantity": Decimal(40), "price": Decimal(101), "session": session()}
    bench.news(e.FillBusted, fill_id=f"{name}:100", **busted)
    bench.news(e.FillBusted, fill_id=f"{name}:100", **busted)
    assert (bench.held(), bench.state.ledger.cash) == (Decimal(60), Decimal(94_000))
    assert bench.state.orders[order.client_order_id].status is OrderStatus.FILLED
    bench.news(
        e.FillCorrected, client_order_id=order.client_order_id, fill_id=f"{name}:60", quantity=Decimal(60), price=Decimal(100),
        new_quantity=Decimal(50), new_price=Decimal(99), session=session(),
    )  # fmt: skip
    assert (bench.held(), bench.state.ledger.cash) == (Decimal(50), Decimal(95_050))


def test_news_nobody_understands_is_said(bench: LiveBench) -> None:
    bench.news(e.NewsNotUnderstood, what="order_teleported", payload="{}")
    assert "order_teleported" in bench.frames(e.AlertRaised)[0].message
    (order,) = bench.decide(AAA=1)
    bench.news(e.OrderReplaced, client_order_id=order.client_order_id, replaced_by="other")
    assert bench.state.orders[order.client_order_id].status is OrderStatus.REPLACED
    assert bench.decide(AAA=2) == [], "what stands in its place may still fill"
    (other,) = bench.decide(BBB=2)
    bench.news(e.OrderDoneForDay, client_order_id=other.client_order_id)
    assert bench.state.orders[other.client_order_id].is_working


def test_an_order_not_sent_yet_is_not_looked_up_by_a_report_that_lags(bench: LiveBench) -> None:
    (order,) = bench.decide(AAA=1)
    bench.report(open_orders=())
    assert bench.looked_up() == []
    bench.accept(order)
    bench.report(open_orders=())
    assert bench.looked_up() == [order.client_order_id]


# ---- splits ---------------------------------------------------------------------------------------------------------------------


def split(bench: LiveBench, ratio: str = "4") -> list[object]:
    return list(
        bench.news(
            e.SplitProcessed, activity_id="s", instrument_id="AAA", ratio=Decimal(ratio), quantity_after=ZERO, cash_in_lieu=ZERO,
            session=session(bench.day),
        )
    )  # fmt: skip


def taken_out_before_a_split(bench: LiveBench) -> Order:
    """An order for the opening that rests, and leaves once a split of its name is announced."""
    (order,) = bench.decide(ahead=1, force="opg", AAA=60)
    bench.accept(order)
    bench.feed(e.SplitAnnounced(ts=bench.tick(), instrument_id="AAA", ratio=Decimal(4), session=session(1)))
    assert bench.canceled() == [order.client_order_id]
    bench.canceled_by_broker(order)
    return order


def test_resting_orders_leave_before_a_split_and_come_back_in_new_shares_after_both_proofs(bench: LiveBench) -> None:
    bench.hold(AAA=100)
    bench.end()
    order = taken_out_before_a_split(bench)
    assert bench.sent() == []  # the position is in old shares still
    split(bench)
    assert bench.held() == 400
    (again,) = bench.sent()
    assert (again.quantity, again.reference_price) == (Decimal(160), Decimal(25))
    assert again.client_order_id == order.client_order_id.replace("-r0", "-r1")
    assert bench.state.reissues == {}


@pytest.mark.parametrize("how", ["the order", "all", "a halt"])
def test_what_was_called_off_does_not_come_back_in_new_shares(bench: LiveBench, how: str) -> None:
    bench.hold(AAA=100)
    bench.end()
    order = taken_out_before_a_split(bench)
    if how == "a halt":
        bench.halt(2)
        bench.feed(e.ResumeRequested(ts=bench.tick(), reason="over", person="ann", session=session()))
    else:
        bench.cancel(order.client_order_id if how == "the order" else "")
        assert bench.frames(e.RequestAnswered)[0].reason == ""
    split(bench)
    assert bench.held() == 400
    assert bench.sent() == []


def test_a_split_that_never_comes_is_over_with_its_session_and_explains_no_later_difference(bench: LiveBench) -> None:
    bench.hold(AAA=100)
    bench.end()
    taken_out_before_a_split(bench)
    bench.begin(1)
    bench.end()
    assert (bench.state.reissues, bench.state.frozen) == ({}, {})
    bench.begin(9)
    bench.end()
    assert bench.state.announced == {}
    for _ in range(2):
        bench.report(positions={"AAA": Decimal(400)})
    assert bench.held() == 100, "somebody else may have bought: a person has to look"
    assert "AAA" in bench.state.frozen
    assert bench.replayed() == bench.outputs


@pytest.mark.parametrize("report_first", [True, False])
def test_a_split_adjusts_a_position_once_whoever_tells_first(bench: LiveBench, report_first: bool) -> None:
    bench.hold(AAA=100)
    bench.end()
    bench.feed(e.SplitAnnounced(ts=bench.tick(), instrument_id="AAA", ratio=Decimal(4), session=session(1)))
    assert bench.frames(e.InstrumentFrozen), "nothing is added in old shares"
    bench.begin(1)
    bench.prices(AAA=25.0)
    tell = [lambda: bench.report(positions={"AAA": Decimal(400)}), lambda: split(bench)]
    for step in tell if report_first else reversed(tell):
        step()
        assert bench.held() == 400
    assert bench.state.frozen == {}
    assert bench.state.equity == 100_000
    assert bench.replayed() == bench.outputs


def test_a_split_of_what_is_not_held_restates_orders_and_yesterdays_prices_with_the_next_report(bench: LiveBench) -> None:
    bench.end()
    taken_out_before_a_split(bench)
    assert bench.sent() == []  # old shares may be held that are not booked yet
    bench.report()
    (again,) = bench.sent()  # nobody will tell of a split of nothing: it waits no longer
    assert (again.quantity, again.reference_price) == (Decimal(240), Decimal(25))
    bench.prices(AAA=100.0)
    assert bench.state.marks[0] == Decimal(25)
    bench.begin(1)
    bench.prices(AAA=25.5)
    assert bench.state.marks[0] == Decimal("25.5")
    assert bench.replayed() == bench.outputs


def test_a_fill_of_the_day_before_that_is_booked_after_the_announcement_is_of_old_shares(bench: LiveBench) -> None:
    (order,) = bench.decide(AAA=60)
    bench.accept(order)
    bench.feed(e.SplitAnnounced(ts=bench.tick(), instrument_id="AAA", ratio=Decimal(4), session=session(1)))
    bench.fill(order)
    assert bench.held() == 60
    bench.end()
    bench.begin(1)
    split(bench)
    assert bench.held() == 240


@pytest.mark.parametrize("is_late", [False, True], ids=["announced the evening before", "announced after the split"])
def test_a_fill_in_old_shares_of_an_order_that_was_given_up_is_split_with_the_rest(bench: LiveBench, is_late: bool) -> None:
    (order,) = bench.decide(AAA=60)
    bench.feed(e.OrderOutcomeUnknown(ts=bench.tick(), client_order_id=order.client_order_id, reason="no answer"))
    bench.end()
    bench.feed(e.OrderAbsent(ts=bench.tick(), client_order_id=order.client_order_id))
    assert bench.state.frozen == {}
    if is_late:
        bench.begin(1)
        bench.prices(AAA=25.0)
    bench.feed(e.SplitAnnounced(ts=bench.tick(), instrument_id="AAA", ratio=Decimal(4), session=session(1)))
    theirs = {"positions": {"AAA": Decimal(240 if is_late else 60)}, "cash": Decimal(94_000)}
    bench.report(**theirs)
    assert "AAA" in bench.state.frozen
    bench.fill(order)
    bench.report(**theirs)
    if not is_late:
        assert (bench.held(), bench.state.marks[0]) == (60, 100)
        split(bench)
    assert (bench.held(), bench.state.marks[0], bench.state.equity) == (240, 25, 100_000)
    assert bench.state.frozen == {}
    assert bench.replayed() == bench.outputs


def test_an_order_of_the_day_before_that_ends_unfilled_holds_its_name_no_longer_than_the_next_report(bench: LiveBench) -> None:
    (order,) = bench.decide(AAA=60)
    bench.accept(order)
    bench.feed(e.SplitAnnounced(ts=bench.tick(), instrument_id="AAA", ratio=Decimal(4), session=session(1)))
    bench.end()
    bench.report()
    assert "AAA" in bench.state.frozen, "it may still be filled in old shares"
    bench.news(e.OrderExpired, client_order_id=order.client_order_id)
    bench.report()
    assert bench.state.frozen == {}
    bench.begin(1)
    bench.prices(AAA=25.0)
    assert [order.quantity for order in bench.decide(AAA=240)] == [Decimal(240)]
    assert bench.replayed() == bench.outputs


def test_before_its_split_is_booked_no_target_and_no_person_adds_to_a_position_in_old_shares(bench: LiveBench) -> None:
    bench.hold(AAA=100)
    bench.end()
    bench.feed(e.SplitAnnounced(ts=bench.tick(), instrument_id="AAA", ratio=Decimal("0.1"), session=session(1)))
    assert bench.decide(ahead=1, force="opg", AAA=0, BBB=10)[0].symbol == "BBB"
    bench.tick(10 * 3600)
    assert bench.order("AAA", "buy", 5, session=session(1), time_in_force=e.TimeInForce.OPG) == []
    assert bench.denied() == {"AAA": "frozen_instrument"}
    bench.begin(1)
    bench.end()
    assert [alert.message for alert in bench.frames(e.AlertRaised) if "was not seen at the broker" in alert.message]
    assert bench.state.frozen == {}


def test_orders_made_in_the_session_of_a_split_are_in_new_shares_already(bench: LiveBench) -> None:
    (order,) = bench.decide(AAA=10)
    bench.accept(order)
    bench.feed(e.SplitAnnounced(ts=bench.tick(), instrument_id="AAA", ratio=Decimal(4), session=session()))
    assert bench.canceled() == []
    assert bench.state.marks[0] == 100


# ---- whole cents ---------------------------------------------------------------------------------------------------------------------


def test_what_a_broker_makes_of_odd_fills_is_booked_as_rounding_once_two_reports_show_it(bench: LiveBench) -> None:
    for _ in range(6):
        for order in bench.decide(AAA=int(bench.held()) + 10):
            bench.fill(order, price="100.0005")
    theirs = bench.state.ledger.cash - Decimal("0.03")  # half a cent up, six times
    bench.report(cash=theirs)
    assert bench.frames(e.CashRounded) == []
    bench.report(cash=theirs)
    assert [(line.amount, line.fills) for line in bench.frames(e.CashRounded)] == [(Decimal("-0.03"), 6)]
    assert bench.state.ledger.cash == theirs
    bench.report(cash=theirs)
    assert bench.frames(e.Reconciled)[0].ok
    assert bench.replayed() == bench.outputs


def test_cents_that_no_fill_explains_are_not_rounded_away_and_add_up_to_a_difference(bench: LiveBench) -> None:
    bench.hold(AAA=10)
    exact = bench.state.ledger.cash
    for off, ok in (("0.04", True), ("0.06", False)):
        for _ in range(2):
            bench.report(cash=exact - Decimal(off))
        assert (bench.frames(e.CashRounded), bench.frames(e.Reconciled)[0].ok) == ([], ok)
    assert bench.state.ladder.level.name == "REDUCING"
