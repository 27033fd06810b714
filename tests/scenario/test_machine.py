"""The machine, event by event: what it does with news, doubts, differences and people. No clock, no broker, no disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from hedgefund_core.account import State
from hedgefund_core.errors import ConfigError, InvariantViolation, ModelUnavailable
from hedgefund_core.machine import CancelOrder, Command, LookUpOrder, MirrorHalt, Record, SubmitOrder, step
from hedgefund_core.risk.limits import Mandate, digest_payload
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO, Instrument
from hedgefund_core.trading.ledger import CashKind
from hedgefund_core.trading.order import OrderStatus
from hedgefund_core.trading.state import Level, Scope
from tests.builders import mandate

START = datetime(2020, 1, 1, 21, tzinfo=UTC)
SYMBOLS = tuple(f"S{number:02d}" for number in range(12))


def at(day: int, minutes: int = 0) -> datetime:
    return START + timedelta(days=day, minutes=minutes)


def session(day: int) -> str:
    return str(at(day).date())


class Bench:
    """Feeds events and keeps what came out."""

    def __init__(self, mode: str = "replay", book: Mandate | None = None) -> None:
        self.state, self.commands = State(), list[Command]()
        self.seq = 0
        chosen = book or mandate()
        instruments = tuple(Instrument(instrument_id=name, symbol=name) for name in SYMBOLS)
        self.feed(
            e.AccountOpened(
                ts=at(0), account="a", book=chosen.name, mode=mode, broker="simulated", instruments=instruments,
                initial_cash=Decimal(1_000_000), source="test", price_kind="split_adjusted",
            )
        )  # fmt: skip
        self.feed(e.ConfigurationLoaded(ts=at(0), digest="d", mandate=msgspec.Raw(digest_payload(chosen)), waived=("order_quantity",)))
        rows = tuple(tuple(100.0 + (day * (column + 3) % 7) * 0.5 for column in range(12)) for day in range(140))
        history = tuple(str((START - timedelta(days=141 - day)).date()) for day in range(140))
        self.feed(e.HistoryLoaded(ts=at(0), data_version="v", sessions=history, close=rows))

    def feed(self, event: e.Input) -> list[Command]:
        self.state, self.commands = step(self.state, event)
        return self.commands

    def frames(self, kind: type[e.Event]) -> list[Any]:
        return [command.frame for command in self.commands if isinstance(command, Record) and isinstance(command.frame, kind)]

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def day(self, day: int, price: float = 101.0, *, bars: dict[int, float | None] | None = None) -> None:
        self.feed(e.SessionBegan(ts=at(day, -400), session=session(day)))
        close = tuple((bars or {}).get(column, price) for column in range(12))
        self.feed(e.BarsClosed(ts=at(day), session=session(day), known_at=at(day, 15), data_version="v", close=close))

    def decide(self, day: int, weights: dict[str, float]) -> list[SubmitOrder]:
        due = e.DecisionDue(
            ts=at(day, 15), session=session(day), for_session=session(day + 1), time_in_force="cls", rebalance=True, target_weights=weights
        )
        return [command for command in self.feed(due) if isinstance(command, SubmitOrder)]

    def fill(self, order: e.Order, quantity: Decimal, price: str = "101", day: int = 2, name: str = "f1") -> list[Command]:
        return self.feed(
            e.OrderFilled(
                ts=at(day), broker_seq=self.next_seq(), client_order_id=order.client_order_id, broker_order_id="b", fill_id=name,
                quantity=quantity, price=Decimal(price), commission=ZERO, session=session(day),
            )
        )  # fmt: skip

    def report(self, day: int, **changes: object) -> list[Command]:
        open_orders = tuple(sorted(order.client_order_id for order in self.state.working))
        report = e.BrokerReported(
            ts=at(day), session=session(day), cash=self.state.ledger.cash,
            positions={key: p.quantity for key, p in self.state.ledger.positions.items()}, open_orders=open_orders,
            last_broker_seq=self.seq,
        )  # fmt: skip
        return self.feed(replace(report, **changes))


def pair() -> dict[str, float]:
    return {"S00": 0.04, "S01": -0.04}


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.day(1)
    return made


def test_a_decision_is_recorded_and_intended_before_anything_is_sent(bench: Bench) -> None:
    orders = bench.decide(1, pair())
    assert {order.order.symbol for order in orders} == {"S00", "S01"}
    kinds = [type(command).__name__ for command in bench.commands]
    assert kinds.index("SubmitOrder") > max(index for index, name in enumerate(kinds) if name == "Record")
    assert all(order.order.session == session(2) for order in orders)
    assert all(order.order.limit_price is not None for order in orders)


def test_the_same_decision_asked_twice_sends_nothing_twice(bench: Bench) -> None:
    first = bench.decide(1, pair())
    again = bench.decide(1, pair())
    assert len(first) == 2
    assert again == []
    assert {order.denied_by for frame in bench.frames(e.OrdersDenied) for order in frame.orders} == {"duplicate_intent"}


def test_fills_are_booked_once_by_number_and_by_fill_id(bench: Bench) -> None:
    order = next(o.order for o in bench.decide(1, pair()) if o.order.symbol == "S00")
    bench.fill(order, Decimal(10))
    held = bench.state.ledger.quantity("S00")
    bench.seq -= 1
    bench.fill(order, Decimal(10))  # the same number again
    bench.fill(order, Decimal(10))  # a new number, the same fill
    assert bench.state.ledger.quantity("S00") == held == Decimal(10)
    bench.fill(order, order.quantity - 10, name="f2")
    assert bench.state.orders[order.client_order_id].status is OrderStatus.FILLED
    assert bench.state.ledger.quantity("S00") == order.quantity


def test_an_unknown_outcome_freezes_the_instrument_and_is_looked_up_never_resent(bench: Bench) -> None:
    order = next(o.order for o in bench.decide(1, pair()) if o.order.symbol == "S00")
    commands = bench.feed(e.OrderOutcomeUnknown(ts=at(1, 16), client_order_id=order.client_order_id, reason="time-out"))
    assert LookUpOrder(order.client_order_id) in commands
    assert not any(isinstance(command, SubmitOrder) for command in commands)
    assert "S00" in bench.state.frozen
    again = bench.decide(1, {"S00": 0.09})
    assert again == []
    bench.feed(e.OrderAccepted(ts=at(1, 17), broker_seq=bench.next_seq(), client_order_id=order.client_order_id, broker_order_id="b"))
    assert bench.state.frozen == {}
    assert bench.state.orders[order.client_order_id].status is OrderStatus.ACCEPTED


def test_proof_of_absence_sends_the_same_id_again(bench: Bench) -> None:
    order = bench.decide(1, pair())[0].order
    bench.feed(e.OrderOutcomeUnknown(ts=at(1, 16), client_order_id=order.client_order_id, reason="reset"))
    commands = bench.feed(e.OrderAbsent(ts=at(1, 17), client_order_id=order.client_order_id))
    sent = [command.order for command in commands if isinstance(command, SubmitOrder)]
    assert [order.client_order_id for order in sent] == [order.client_order_id]
    assert bench.state.frozen == {}


def test_a_fill_after_an_expiry_counts_and_an_overfill_freezes(bench: Bench) -> None:
    order = next(o.order for o in bench.decide(1, pair()) if o.order.symbol == "S00")
    bench.feed(e.OrderExpired(ts=at(2), broker_seq=bench.next_seq(), client_order_id=order.client_order_id))
    bench.fill(order, order.quantity)
    assert bench.state.orders[order.client_order_id].status is OrderStatus.FILLED
    bench.fill(order, Decimal(1), name="f2")
    assert bench.state.ledger.quantity("S00") == order.quantity + 1
    assert "S00" in bench.state.frozen


def test_a_fill_of_an_order_that_is_not_ours_books_nothing_and_stops_entries(bench: Bench) -> None:
    stranger = bench.decide(1, pair())[0].order
    bench.fill(replace(stranger, client_order_id="stranger-r0"), Decimal(5))
    assert bench.state.is_flat
    assert bench.state.ladder.level is Level.REDUCING
    assert bench.state.ladder.scope is Scope.ACCOUNT


def test_reconciliation_freezes_a_differing_position_and_thaws_it_when_it_agrees(bench: Bench) -> None:
    bench.report(1)
    assert bench.frames(e.Reconciled)[0].ok
    bench.report(1, positions={"S03": Decimal(7)})
    assert [d.symbol for d in bench.frames(e.Reconciled)[0].differences] == ["S03"]
    assert set(bench.state.frozen) == {"S03"}
    assert bench.state.ladder.level is Level.ACTIVE
    bench.report(1)
    assert bench.state.frozen == {}


def test_a_cash_difference_stops_entries_until_a_person_resumes(bench: Bench) -> None:
    bench.report(1, cash=Decimal(999_999))
    assert (bench.state.ladder.level, bench.state.ladder.scope) == (Level.REDUCING, Scope.ACCOUNT)
    bench.day(2)
    assert bench.state.ladder.level is Level.REDUCING
    assert bench.decide(2, pair()) == []
    bench.feed(e.ResumeRequested(ts=at(2, 30), reason="explained", person="ann", session=session(2)))
    assert bench.state.ladder.level is Level.ACTIVE


@pytest.mark.parametrize(("level", "expected"), [(1, Level.REDUCING), (2, Level.CANCELLING), (3, Level.FLATTENING), (4, Level.HALTED)])
def test_a_halt_is_latched_over_sessions_and_cancels_what_it_must(bench: Bench, level: int, expected: Level) -> None:
    sent = bench.decide(1, pair())
    commands = bench.feed(e.HaltRequested(ts=at(1, 20), level=level, reason="drill", person="ann", session=session(1)))
    assert MirrorHalt(on=True) in commands
    cancels = [command for command in commands if isinstance(command, CancelOrder)]
    assert len(cancels) == (0 if expected is Level.HALTED else len(sent))
    for day in (2, 3):
        bench.day(day)
        assert bench.state.ladder.level is expected
    weaker = bench.feed(e.HaltRequested(ts=at(3, 20), level=1, reason="weaker", person="bob", session=session(3)))
    assert bench.state.ladder.level is expected
    assert MirrorHalt(on=True) in weaker


def test_flattening_closes_every_position_with_reductions_and_stays_armed(bench: Bench) -> None:
    for number, command in enumerate(bench.decide(1, pair())):
        bench.fill(command.order, command.order.quantity, name=f"x{number}")
    bench.day(2)
    bench.feed(e.HaltRequested(ts=at(2, 1), level=3, reason="drill", person="ann", session=session(2)))
    for day in (2, 3):  # nothing filled on the first attempt: it tries again
        if day > 2:
            bench.day(day)
        orders = bench.decide(day, {"S05": 0.05})
        assert {order.order.purpose.value for order in orders} == {"flatten"}
        assert {order.order.symbol for order in orders} == {"S00", "S01"}
        for order in orders:
            bench.feed(e.OrderExpired(ts=at(day + 1), broker_seq=bench.next_seq(), client_order_id=order.order.client_order_id))


def test_a_session_scoped_reduction_expires_and_an_account_scoped_flattening_does_not(bench: Bench) -> None:
    for number, command in enumerate(bench.decide(1, {"S00": 0.1, "S01": 0.1, "S02": -0.1, "S03": -0.1})):
        bench.fill(command.order, command.order.quantity, name=f"x{number}", price="101")
    bench.day(2)
    bench.day(3, bars={0: 96.0, 1: 96.0})
    loss = [frame for frame in bench.frames(e.LadderMoved) if "intraday_loss" in frame.cause]
    assert loss
    assert bench.state.ladder.level in {Level.REDUCING, Level.FLATTENING}
    bench.day(4, bars={0: 50.0, 1: 50.0})
    assert (bench.state.ladder.level, bench.state.ladder.scope) == (Level.FLATTENING, Scope.ACCOUNT)
    bench.day(5)
    assert bench.state.ladder.level is Level.FLATTENING


def test_the_stand_in_is_legal_in_replay_only(bench: Bench) -> None:
    bench.feed(e.StandInResumed(ts=at(1), session=session(1)))
    assert bench.state.stand_ins == 1
    paper = msgspec.structs.replace(bench.state, mode="paper")
    with pytest.raises(InvariantViolation, match="stand-in"):
        step(paper, e.StandInResumed(ts=at(1), session=session(1)))


def test_paper_and_live_refuse_a_waived_rule() -> None:
    with pytest.raises(ConfigError, match="order_quantity"):
        Bench(mode="paper")


def test_a_model_whose_bundle_is_not_at_hand_is_refused(bench: Bench) -> None:
    loaded = e.ModelLoaded(
        ts=at(1),
        name="m",
        version="1",
        digest="f" * 64,
        alias="champion",
        model_kind="rule",
        trained_through="2019-12-31",
        expires_after_days=90,
    )
    with pytest.raises(ModelUnavailable, match="not at hand"):
        bench.feed(loaded)


def test_a_split_changes_shares_and_mark_once_and_not_the_equity(bench: Bench) -> None:
    order = next(o.order for o in bench.decide(1, pair()) if o.order.symbol == "S00")
    bench.fill(order, order.quantity)
    bench.day(2)
    before = bench.state.equity
    held = bench.state.ledger.quantity("S00")
    split = e.SplitProcessed(
        ts=at(3), broker_seq=bench.next_seq(), activity_id="s", instrument_id="S00", ratio=Decimal(2), quantity_after=held * 2,
        cash_in_lieu=ZERO, session=session(3),
    )  # fmt: skip
    bench.feed(split)
    bench.feed(split)
    assert bench.state.ledger.quantity("S00") == held * 2
    bench.day(3, bars={0: 50.5})
    assert bench.state.equity == before


def test_a_missing_bar_keeps_the_last_good_price_and_denies_only_increases(bench: Bench) -> None:
    order = next(o.order for o in bench.decide(1, pair()) if o.order.symbol == "S00")
    bench.fill(order, order.quantity)
    for day in (2, 3, 4):
        bench.day(day, bars={0: None})
    assert bench.state.mark_ages[0] == 3
    assert bench.state.marks[0] == Decimal(101)
    assert bench.decide(4, {"S00": 0.09}) == []
    assert {order.denied_by for frame in bench.frames(e.OrdersDenied) for order in frame.orders} == {"stale_data"}
    exits = bench.decide(4, {"S00": 0.0})
    assert [order.order.symbol for order in exits] == ["S00"]


def test_cash_lines_reach_the_ledger_and_the_mark(bench: Bench) -> None:
    bench.feed(
        e.CashPosted(
            ts=at(2), broker_seq=bench.next_seq(), activity_id="x", cash_kind=CashKind.DIVIDEND, amount=Decimal("12.5"), session=session(2)
        )
    )
    bench.day(2)
    assert bench.state.equity == Decimal("1000012.5")
    assert [frame.day_pnl for frame in bench.frames(e.AccountMarked)] == [Decimal("12.5")]


def test_a_step_changes_nothing_in_the_state_before() -> None:
    bench = Bench()
    before = bench.state
    frozen = msgspec.structs.asdict(before)
    step(before, e.HaltRequested(ts=at(1), level=3, reason="x", person="y", session=session(1)))
    assert all(value is frozen[name] for name, value in msgspec.structs.asdict(before).items())
