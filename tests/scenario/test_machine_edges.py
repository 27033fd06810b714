"""The machine at its edges: what is late, lost, impossible, contradictory or a person's. Each of these once moved the books wrongly."""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec
import pytest
from msgspec.structs import replace

from hedgefund_core.errors import DataInvalid, InvariantViolation
from hedgefund_core.freezes import FROZEN_BY_DIFFERENCE, FROZEN_BY_UNKNOWN
from hedgefund_core.machine import CancelOrder, LookUpOrder, MirrorHalt, SubmitOrder
from hedgefund_core.risk.limits import digest_payload
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.ledger import CashKind
from hedgefund_core.trading.order import OrderStatus
from hedgefund_core.trading.state import Level, Scope, escalate
from tests.builders import mandate
from tests.scenario.test_machine import Bench, at, pair, session


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.day(1)
    return made


def holding(bench: Bench, day: int = 1) -> list[e.Order]:
    """Fill a long and a short of 4 %."""
    orders = [command.order for command in bench.decide(day, pair())]
    for order in orders:
        bench.fill(order, order.quantity, name=f"fill-{order.symbol}")
    return orders


def halt(bench: Bench, level: int, day: int = 1, person: str = "ann") -> None:
    bench.feed(e.HaltRequested(ts=at(day, 20), level=level, reason="drill", person=person, session=session(day)))


# ---- news ---------------------------------------------------------------------------------------------------------------


def test_news_after_a_gap_is_refused_because_what_is_between_would_be_lost(bench: Bench) -> None:
    order = bench.decide(1, pair())[0].order
    bench.next_seq()
    before = bench.state
    with pytest.raises(InvariantViolation, match="what is between them is missing"):
        bench.fill(order, Decimal(10))
    assert bench.state is before


def test_books_at_different_news_are_not_compared(bench: Bench) -> None:
    holding(bench)
    bench.report(1, last_broker_seq=0, cash=Decimal(1_000_000), positions={})  # a snapshot older than the fills
    assert bench.frames(e.Reconciled) == []
    assert [alert.severity for alert in bench.frames(e.AlertRaised)] == ["warning"]
    assert bench.state.ladder.level is Level.ACTIVE
    assert bench.state.frozen == {}


def test_an_order_that_the_broker_does_not_show_is_looked_up(bench: Bench) -> None:
    order = bench.decide(1, pair())[0].order
    bench.feed(e.OrderAccepted(ts=at(1, 16), broker_seq=bench.next_seq(), client_order_id=order.client_order_id, broker_order_id="b"))
    commands = bench.report(1, open_orders=())
    assert LookUpOrder(order.client_order_id) in commands
    assert {d.symbol for d in bench.frames(e.Reconciled)[0].differences} == {order.client_order_id}  # pending ones are not expected there


def test_an_order_that_the_broker_forgot_expires_after_its_session_and_frees_the_way_out(bench: Bench) -> None:
    holding(bench)
    bench.day(2)
    lost = [command.order for command in bench.decide(2, {"S00": 0.0})]
    for day in (3, 4):
        bench.day(day)
    commands = bench.report(4, open_orders=())
    assert LookUpOrder(lost[0].client_order_id) in commands
    commands = bench.feed(e.OrderAbsent(ts=at(4, 1), client_order_id=lost[0].client_order_id))
    assert not any(isinstance(command, SubmitOrder) for command in commands)
    assert bench.state.orders[lost[0].client_order_id].status is OrderStatus.EXPIRED
    assert [command.order.symbol for command in bench.decide(4, {"S00": 0.0})] == ["S00"]


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_an_absent_entry_is_not_sent_again_once_entries_have_stopped(bench: Bench, level: int) -> None:
    order = bench.decide(1, pair())[0].order
    bench.feed(e.OrderOutcomeUnknown(ts=at(1, 16), client_order_id=order.client_order_id, reason="reset"))
    halt(bench, level)
    commands = bench.feed(e.OrderAbsent(ts=at(1, 21), client_order_id=order.client_order_id))
    assert not any(isinstance(command, SubmitOrder) for command in commands)
    assert bench.state.orders[order.client_order_id].status is OrderStatus.CANCELED
    assert bench.state.frozen == {}


def test_a_lost_answer_that_the_news_has_overtaken_freezes_nothing(bench: Bench) -> None:
    order = bench.decide(1, pair())[0].order
    bench.feed(e.OrderAccepted(ts=at(1, 16), broker_seq=bench.next_seq(), client_order_id=order.client_order_id, broker_order_id="b"))
    bench.feed(e.OrderOutcomeUnknown(ts=at(1, 17), client_order_id=order.client_order_id, reason="time-out"))
    assert bench.state.frozen == {}
    assert bench.state.orders[order.client_order_id].status is OrderStatus.ACCEPTED


def test_a_freeze_ends_with_its_last_cause(bench: Bench) -> None:
    order = next(command.order for command in bench.decide(1, pair()) if command.order.symbol == "S00")
    bench.report(1, positions={"S00": Decimal(7)})
    bench.feed(e.OrderOutcomeUnknown(ts=at(1, 16), client_order_id=order.client_order_id, reason="time-out"))
    assert bench.state.frozen["S00"] == f"{FROZEN_BY_DIFFERENCE}; {FROZEN_BY_UNKNOWN}"
    bench.report(1)  # positions agree again, the order is unknown still
    assert bench.state.frozen == {"S00": FROZEN_BY_UNKNOWN}
    assert bench.frames(e.InstrumentThawed) == []
    bench.feed(e.OrderAccepted(ts=at(1, 17), broker_seq=bench.next_seq(), client_order_id=order.client_order_id, broker_order_id="b"))
    assert bench.state.frozen == {}


def test_a_fill_of_a_rejected_order_is_booked_and_freezes_until_a_person_has_looked(bench: Bench) -> None:
    order = bench.decide(1, {"S00": 0.04})[0].order
    bench.feed(e.OrderRejected(ts=at(1), broker_seq=bench.next_seq(), client_order_id=order.client_order_id, reason="no"))
    bench.fill(order, Decimal(10))
    assert bench.state.ledger.quantity("S00") == Decimal(10)
    bench.report(1)
    assert "S00" in bench.state.frozen
    bench.feed(e.ResumeRequested(ts=at(1, 30), reason="the broker said sorry", person="ann", session=session(1)))
    assert bench.state.frozen == {}


@pytest.mark.parametrize("field", ["quantity", "price", "commission"])
def test_a_fill_that_is_no_number_breaks_off(bench: Bench, field: str) -> None:
    order = bench.decide(1, {"S00": 0.04})[0].order
    fill = e.OrderFilled(
        ts=at(2), broker_seq=1, client_order_id=order.client_order_id, broker_order_id="b", fill_id="f", quantity=Decimal(1),
        price=Decimal(101), commission=ZERO, session=session(2),
    )  # fmt: skip
    with pytest.raises(InvariantViolation, match="impossible fill"):
        bench.feed(replace(fill, **{field: Decimal("NaN")}))


# ---- time --------------------------------------------------------------------------------------------------------------------


def test_a_late_or_impossible_decision_trades_nothing_and_is_said(bench: Bench) -> None:
    for day in (2, 3, 4):
        bench.day(day)
    late = e.DecisionDue(
        ts=at(4, 15), session=session(1), for_session=session(2), time_in_force="cls", rebalance=True, target_weights=pair()
    )
    for due in (late, replace(late, session=session(4), for_session=session(4)), replace(late, session=session(5), for_session=session(6))):
        bench.feed(due)
        assert [type(frame).__name__ for frame in bench.frames(e.Event)] == ["AlertRaised"]
        assert bench.state.orders == {}


def test_a_decision_before_the_bars_of_its_session_waits(bench: Bench) -> None:
    bench.feed(e.SessionBegan(ts=at(2, -400), session=session(2)))
    assert bench.decide(2, pair()) == []
    assert bench.state.decisions == 0


def test_a_session_may_be_told_of_twice_but_never_backwards(bench: Bench) -> None:
    before = bench.state
    bench.feed(e.SessionBegan(ts=at(1, -400), session=session(1)))
    assert bench.state == before
    with pytest.raises(InvariantViolation, match="cannot begin after"):
        bench.feed(e.SessionBegan(ts=at(2), session=session(0)))


# ---- numbers -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_a_bar_that_is_no_price_is_refused_before_it_reaches_the_journal(bench: Bench, bad: float) -> None:
    with pytest.raises(DataInvalid, match="no number above zero"):
        bench.day(2, bars={3: bad})


def test_bars_of_another_number_of_instruments_are_refused(bench: Bench) -> None:
    with pytest.raises(DataInvalid, match="2 values for 12 instruments"):
        bench.feed(e.BarsClosed(ts=at(2), session=session(2), known_at=at(2), data_version="v", close=(1.0, 2.0)))


@pytest.mark.parametrize(("weights", "said"), [({"S00": math.nan}, "no number"), ({"S99": 0.1}, "not an instrument")])
def test_target_weights_must_be_numbers_of_known_instruments(bench: Bench, weights: dict[str, float], said: str) -> None:
    with pytest.raises(DataInvalid, match=said):
        bench.decide(1, weights)


def test_a_deposit_neither_hides_nor_a_withdrawal_makes_a_drawdown(bench: Bench) -> None:
    def flow(kind: CashKind, amount: int, day: int) -> None:
        line = e.CashPosted(
            ts=at(day), broker_seq=bench.next_seq(), activity_id=f"x{day}", cash_kind=kind, amount=Decimal(amount), session=session(day)
        )
        bench.feed(line)

    flow(CashKind.INTEREST, -50_000, 2)
    bench.day(2)
    assert bench.state.drawdown == pytest.approx(0.05)
    flow(CashKind.DEPOSIT, 9_000_000, 3)
    bench.day(3)
    assert bench.state.drawdown == pytest.approx(0.05)
    flow(CashKind.WITHDRAWAL, -9_500_000, 4)
    bench.day(4)
    assert bench.state.drawdown == pytest.approx(0.05)
    assert bench.frames(e.AccountMarked)[0].day_pnl == ZERO


def test_a_ruined_account_is_flattened_and_admits_nothing(bench: Bench) -> None:
    holding(bench)
    loss = e.CashPosted(
        ts=at(2), broker_seq=bench.next_seq(), activity_id="x", cash_kind=CashKind.INTEREST, amount=Decimal(-2_000_000), session=session(2)
    )
    bench.feed(loss)
    bench.day(2)
    assert bench.state.equity < ZERO
    assert (bench.state.ladder.level, bench.state.ladder.scope) == (Level.FLATTENING, Scope.ACCOUNT)
    assert {command.order.purpose.value for command in bench.decide(2, pair())} == {"flatten"}


def test_a_split_of_what_is_not_held_restates_the_last_price_when_there_is_no_bar() -> None:
    bench = Bench()
    ones = (1.0,) * 12
    rows = tuple((100.0,) * 12 for _ in range(3))
    days = tuple(f"2019-01-0{day}" for day in (1, 2, 3))
    bench.feed(e.HistoryLoaded(ts=at(0), data_version="v", sessions=days, close=rows, split_ratios=(ones,) * 3))
    before = bench.state.marks[0]
    assert before is not None
    bench.feed(e.SessionBegan(ts=at(1), session=session(1)))
    bench.feed(
        e.BarsClosed(
            ts=at(1), session=session(1), known_at=at(1), data_version="v", close=(None, *(100.0,) * 11), split_ratios=(2.0, *ones[1:])
        )
    )
    assert bench.state.marks[0] == before / 2


@pytest.mark.parametrize("ratio", ["0", "-2", "NaN"])
def test_an_impossible_split_breaks_off(bench: Bench, ratio: str) -> None:
    split = e.SplitProcessed(
        ts=at(2), broker_seq=1, activity_id="s", instrument_id="S00", ratio=Decimal(ratio), quantity_after=ZERO, cash_in_lieu=ZERO,
        session=session(2),
    )  # fmt: skip
    with pytest.raises(InvariantViolation, match="impossible split"):
        bench.feed(split)


# ---- people --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [-1, 0, 5, 99])
def test_a_level_that_is_none_is_the_strictest(bench: Bench, level: int) -> None:
    halt(bench, level)
    assert bench.state.ladder.level is Level.HALTED


def test_a_cancel_is_repeated_until_the_broker_shows_that_it_worked(bench: Bench) -> None:
    sent = [command.order.client_order_id for command in bench.decide(1, pair())]
    halt(bench, 2)
    again = bench.report(1, open_orders=(*sorted(sent), "stranger-r0"))
    assert {command.client_order_id for command in again if isinstance(command, CancelOrder)} == {*sent, "stranger-r0"}
    for name in sent:
        bench.feed(e.OrderCanceled(ts=at(1, 30), broker_seq=bench.next_seq(), client_order_id=name))
    assert [command for command in bench.report(1, open_orders=()) if isinstance(command, CancelOrder)] == []


def test_nothing_leaves_a_halted_account_not_even_a_cancel(bench: Bench) -> None:
    sent = [command.order.client_order_id for command in bench.decide(1, pair())]
    halt(bench, 2)
    halt(bench, 4)
    commands = bench.report(1, open_orders=tuple(sorted(sent)))
    assert not any(isinstance(command, CancelOrder | SubmitOrder) for command in commands)


@pytest.mark.parametrize("first", [1, 3])
def test_no_stand_in_ends_what_a_person_began(bench: Bench, first: int) -> None:
    """A person's L1 before an automatic flattening, or a person's L3 after one: either way a person resumes."""
    if first == 1:
        halt(bench, 1)
    loss = e.CashPosted(
        ts=at(2), broker_seq=bench.next_seq(), activity_id="x", cash_kind=CashKind.INTEREST, amount=Decimal(-100_000), session=session(2)
    )
    bench.feed(loss)
    bench.day(2)
    assert bench.state.ladder.level is Level.FLATTENING
    if first == 3:
        halt(bench, 3, 2)
    for day in range(3, 28):
        bench.day(day)
        assert not bench.state.stand_in_due
    with pytest.raises(InvariantViolation, match="ann"):
        bench.feed(e.StandInResumed(ts=at(28), session=session(27)))
    bench.feed(e.ResumeRequested(ts=at(28), reason="looked at", person="bob", session=session(27)))
    assert bench.state.ladder.level is Level.ACTIVE


@pytest.mark.parametrize(("person", "reason"), [("", "why"), ("ann", " ")])
def test_a_resume_needs_a_person_and_a_reason(bench: Bench, person: str, reason: str) -> None:
    halt(bench, 1)
    bench.feed(e.ResumeRequested(ts=at(1, 30), reason=reason, person=person, session=session(1)))
    assert bench.state.ladder.level is Level.REDUCING


def test_a_resume_of_what_is_not_halted_leaves_the_high_water_mark(bench: Bench) -> None:
    line = e.CashPosted(
        ts=at(2), broker_seq=bench.next_seq(), activity_id="x", cash_kind=CashKind.INTEREST, amount=Decimal(-2_000), session=session(2)
    )
    bench.feed(line)
    bench.day(2)
    commands = bench.feed(e.ResumeRequested(ts=at(2, 30), reason="please", person="ann", session=session(2)))
    assert commands == [MirrorHalt(on=False)]
    assert bench.state.drawdown == pytest.approx(0.002)


def test_an_account_scope_never_weakens_to_a_sessions() -> None:
    ladder = Bench().state.ladder
    ladder = escalate(ladder, Level.REDUCING, Scope.ACCOUNT, cause="cash", session="2020-01-01")
    ladder = escalate(ladder, Level.FLATTENING, Scope.SESSION, cause="loss", session="2020-01-01")
    assert (ladder.level, ladder.scope) == (Level.FLATTENING, Scope.ACCOUNT)


# ---- reductions --------------------------------------------------------------------------------------------------------------


def test_an_account_that_may_only_reduce_is_scaled_down_where_closing_a_hedge_would_raise_its_beta(bench: Bench) -> None:
    holding(bench)
    held = {name: bench.state.ledger.quantity(name) for name in ("S00", "S01")}
    bench.day(2)
    halt(bench, 1, 2)
    orders = {command.order.symbol: command.order for command in bench.decide(2, {"S01": 0.0})}  # the short alone
    assert set(orders) == {"S00", "S01"}
    assert all(order.leg.value == "close" for order in orders.values())
    assert {name: order.quantity for name, order in orders.items()} == {name: abs(quantity) // 2 for name, quantity in held.items()}


def test_a_reduction_without_a_fresh_price_may_pay_more_each_session(bench: Bench) -> None:
    holding(bench)
    edges = []
    for day in range(2, 8):
        bench.day(day, bars={0: None})
        order = next(command.order for command in bench.decide(day, {"S00": 0.0}) if command.order.symbol == "S00")
        assert order.limit_price is not None
        edges.append(float(order.reference_price - order.limit_price) / float(order.reference_price))
        bench.feed(e.OrderExpired(ts=at(day + 1), broker_seq=bench.next_seq(), client_order_id=order.client_order_id))
    widened = [edge - edges[0] for edge in edges]
    assert widened == pytest.approx([0.0, 0.005, 0.015, 0.045, 0.045, 0.045], abs=2e-3)
    assert edges[3] > edges[0]


def test_a_reload_in_the_middle_of_a_journal_changes_the_limits_from_then_on(bench: Bench) -> None:
    assert len(bench.decide(1, {"S00": 0.04})) == 1
    strict = mandate()
    strict = replace(strict, limits=replace(strict.limits, max_order_value=0.001, max_order_value_without_volume=0.001))
    bench.feed(e.ConfigurationLoaded(ts=at(1, 30), digest="new", mandate=msgspec.Raw(digest_payload(strict)), waived=("order_quantity",)))
    bench.day(2)
    assert bench.decide(2, {"S01": 0.04}) == []
    assert {order.denied_by for frame in bench.frames(e.OrdersDenied) for order in frame.orders} == {"order_value"}
    assert bench.state.configuration_digest == "new"
