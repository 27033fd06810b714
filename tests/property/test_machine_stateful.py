"""The machine against an exchange with its own book, through holes, gaps, splits, dividends, halts, doubt, delay and crashes.

What must hold after every step: positions are the sum of distinct fills adjusted for splits; an intent is at most one order at the
broker; nothing is sent that was not on record before; worst-case exposure stays inside the limits; a person's halt stays; folding
the inputs again gives the same state and the same bytes; no NaN is ever encoded. Once all news has come, both books are equal.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from hedgefund_core.account import State
from hedgefund_core.backtest import exchange
from hedgefund_core.backtest.event_driven import bars_closed, history_loaded
from hedgefund_core.errors import InvariantViolation
from hedgefund_core.machine import CancelOrder, Command, LookUpOrder, Record, SubmitOrder, step
from hedgefund_core.quant.bars import Panel, PriceKind
from hedgefund_core.risk.limits import digest_payload
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO, Instrument, split_quantity
from hedgefund_core.trading.order import Leg
from hedgefund_core.trading.state import Level
from tests.builders import mandate

NAMES = tuple(f"S{number}" for number in range(8))
WARM_UP, SESSIONS = 70, 24
CASH = Decimal(1_000_000)
BOOK = mandate()
WEIGHTS = st.lists(st.sampled_from([0.0, 0.08, -0.08, 0.04, -0.04, 0.5, math.nan]), min_size=len(NAMES), max_size=len(NAMES))


def wild_panel(seed: int) -> Panel:
    """Seventy quiet sessions, then holes, gaps, splits (one reverse, one in thirds), dividends, thin volume and a late listing."""
    rng = np.random.default_rng(seed)
    n, m = WARM_UP + SESSIONS, len(NAMES)
    moves = 0.01 * rng.standard_normal((n, m))
    moves[WARM_UP:] += np.where(rng.random((SESSIONS, m)) < 0.04, 0.25 * rng.standard_normal((SESSIONS, m)), 0.0)
    splits = np.ones((n, m))
    splits[WARM_UP:] = np.where(rng.random((SESSIONS, m)) < 0.08, rng.choice([2.0, 1.5, 0.1, 1.0 / 3.0], (SESSIONS, m)), 1.0)
    close = 60.0 * np.cumprod(np.maximum(1.0 + moves, 0.3) / splits, axis=0)
    opened = close * (1.0 + 0.01 * rng.standard_normal((n, m)))
    volume = np.round(10.0 ** rng.uniform(5.0, 7.5, (n, m)))
    holes = np.zeros((n, m), dtype=np.bool_)
    holes[WARM_UP:] = rng.random((SESSIONS, m)) < 0.06
    holes[: WARM_UP + 5, -1] = True  # listed later
    dividends = np.zeros((n, m))
    dividends[WARM_UP:] = np.where(rng.random((SESSIONS, m)) < 0.05, 0.37, 0.0)
    days = np.datetime64("2012-01-02") + np.arange(n)
    fields = {"open": opened, "close": close, "volume": volume}
    return Panel(
        sessions=days.astype("datetime64[D]"), symbols=NAMES, price_kind=PriceKind.RAW, split_ratios=splits, dividends=dividends,
        source="wild", **{name: np.where(holes, np.nan, values) for name, values in fields.items()},
    )  # fmt: skip


class Trading(RuleBasedStateMachine):
    """One account; ``mailbox`` holds batches of news on their way."""

    @initialize(seed=st.integers(0, 2**20))
    def open_account(self, seed: int) -> None:
        self.panel = wild_panel(seed)
        instruments = tuple(Instrument(instrument_id=name, symbol=name) for name in NAMES)
        self.market = exchange.Market(panel=self.panel, instruments=instruments, costs=BOOK.costs)
        self.book = exchange.Book(cash=CASH)
        self.ever: dict[str, int] = {}  # every id that reached the broker, and how often it was taken as new
        self.state, self.inputs = State(), list[e.Input]()
        self.outputs, self.intended = list[bytes](), dict[str, e.Order]()
        self.mailbox, self.heard = list[list[e.BrokerNews]](), list[e.BrokerNews]()
        self.halted_by_person, self.row, self.phase, self.lose_next = Level.ACTIVE, WARM_UP, "begin", False
        at = datetime(2012, 1, 1, tzinfo=UTC)
        self.feed(
            e.AccountOpened(
                ts=at, account="a", book=BOOK.name, mode="replay", broker="simulated", instruments=instruments, initial_cash=CASH,
                source="wild", price_kind="raw",
            )
        )  # fmt: skip
        self.feed(e.ConfigurationLoaded(ts=at, digest="d", mandate=msgspec.Raw(digest_payload(BOOK))))
        self.feed(history_loaded(self.panel.rows(0, WARM_UP), at=at))

    # ---- the shell, small: journal first, then the outside ---------------------------------------------------------------------

    def feed(self, event: e.Input) -> list[Command]:
        self.state, commands = step(self.state, event)
        self.inputs.append(event)
        for command in commands:
            if isinstance(command, Record):
                self.outputs.append(e.encode(command.frame))
                assert_no_nan(command.frame)
                if isinstance(command.frame, e.OrdersIntended):
                    self.intended.update({order.client_order_id: order for order in command.frame.orders})
        if not isinstance(event, e.ConfigurationLoaded):
            assert_no_nan(event)
        for command in commands:
            self.carry_out(command)
        return commands

    def carry_out(self, command: Command) -> None:
        match command:
            case SubmitOrder(order=order):
                name = order.client_order_id
                assert name in self.intended, "an order left without a durable intent"
                assert self.state.ladder.level is not Level.HALTED
                lost, self.lose_next = self.lose_next, False
                if not lost or len(name) % 2 == 0 or self.row % 2 == 0:  # lost: sometimes the order, sometimes only the answer
                    self.take(order)
                if lost:
                    self.feed(e.OrderOutcomeUnknown(ts=self.now(), client_order_id=name, reason="time-out"))
            case CancelOrder(client_order_id=name):
                self.turn(exchange.cancel(self.book, name, at=self.now()))
            case LookUpOrder(client_order_id=name):
                if name not in self.ever:
                    self.feed(e.OrderAbsent(ts=self.now(), client_order_id=name))
            case _:
                pass

    def take(self, order: e.Order) -> None:
        if order.client_order_id not in self.ever:
            self.ever[order.client_order_id] = 1
            self.turn(exchange.submit(self.book, order, NAMES, at=self.now()))
        else:
            raise AssertionError("an id that the broker has was sent again")

    def turn(self, turn: exchange.Turn) -> None:
        self.book, news = turn
        if news:
            self.mailbox.append(news)

    def now(self) -> datetime:
        return datetime(2012, 1, 2, 15, tzinfo=UTC) + timedelta(days=self.row)

    def session(self, ahead: int = 0) -> str:
        return str(self.panel.sessions[self.row + ahead])

    def hear(self, batch: list[e.BrokerNews]) -> None:
        for item in batch:
            if item.broker_seq == self.state.broker_seq + 1:
                self.heard.append(item)
                self.feed(item)
            elif item.broker_seq <= self.state.broker_seq:  # a duplicate changes nothing
                before = self.state
                after, commands = step(self.state, item)
                assert after is before
                assert commands == []
            else:  # ahead of what is missing: refused, and nothing has changed
                with pytest.raises(InvariantViolation, match="missing"):
                    step(self.state, item)

    def hear_all(self) -> None:
        while self.mailbox:
            batches, self.mailbox = sorted(self.mailbox, key=lambda batch: batch[0].broker_seq), []
            for batch in batches:
                self.hear(batch)

    # ---- what happens ------------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.phase == "begin" and self.row < WARM_UP + SESSIONS - 1)
    @rule(opens=st.booleans())
    def begin(self, opens: bool) -> None:
        self.feed(e.SessionBegan(ts=self.now(), session=self.session()))
        if opens:
            self.turn(exchange.open_session(self.book, self.market, self.session(), at=self.now()))
        self.phase = "open"

    @precondition(lambda self: self.phase == "open")
    @rule()
    def close(self) -> None:
        self.turn(exchange.open_session(self.book, self.market, self.session(), at=self.now()))
        self.turn(exchange.close_session(self.book, self.market, self.session(), at=self.now()))
        self.hear_all()
        self.feed(bars_closed(self.panel, self.row))
        self.feed(exchange.report(self.book, at=self.now()))
        self.hear_all()
        self.phase = "decide"

    @precondition(lambda self: self.phase == "decide" and self.row < WARM_UP + SESSIONS - 1)
    @rule(weights=WEIGHTS, auction=st.sampled_from(["opg", "cls"]), lose=st.booleans())
    def decide(self, weights: list[float], auction: str, lose: bool) -> None:
        self.lose_next = lose
        given = {name: weight for name, weight in zip(NAMES, weights, strict=True) if math.isfinite(weight)}
        due = e.DecisionDue(
            ts=self.now(), session=self.session(), for_session=self.session(1), time_in_force=auction, rebalance=True,
            target_weights=given or None,
        )  # fmt: skip
        before = self.state
        commands = self.feed(due)
        sent = [command.order for command in commands if isinstance(command, SubmitOrder)]
        assert_inside_limits(before, sent)
        assert [c for c in self.feed(due) if isinstance(c, SubmitOrder)] == []  # asked again, nothing goes out again
        self.phase = "done"

    @precondition(lambda self: self.phase in {"decide", "done"} and self.row < WARM_UP + SESSIONS - 1)
    @rule()
    def next_session(self) -> None:
        self.lose_next = False
        self.row, self.phase = self.row + 1, "begin"

    @rule(weights=WEIGHTS, auction=st.sampled_from(["opg", "cls"]), lose=st.booleans(), days=st.integers(1, 4))
    def ordinary_days(self, weights: list[float], auction: str, lose: bool, days: int) -> None:
        """Most days nothing is odd: without them little would ever be held."""
        for _ in range(days):
            self.ordinary_day(weights, auction, lose)

    def ordinary_day(self, weights: list[float], auction: str, lose: bool) -> None:
        if self.phase == "done":
            self.next_session()
        if self.row >= WARM_UP + SESSIONS - 1:
            return
        if self.phase == "begin":
            self.begin(opens=True)
        if self.phase == "open":
            self.close()
        self.decide(weights, auction, lose)
        self.next_session()

    @rule(level=st.integers(-1, 6), rarely=st.integers(0, 3))
    def halt(self, level: int, rarely: int) -> None:
        if rarely:
            return
        self.feed(e.HaltRequested(ts=self.now(), level=level, reason="drill", person="ann", session=self.session()))
        self.halted_by_person = max(self.halted_by_person, Level(level) if 1 <= level <= 4 else Level.HALTED)

    @rule(person=st.sampled_from(["bob", ""]))
    def resume(self, person: str) -> None:
        self.feed(e.ResumeRequested(ts=self.now(), reason="looked at", person=person, session=self.session()))
        if person:
            self.halted_by_person = Level.ACTIVE

    @precondition(lambda self: self.mailbox)
    @rule(data=st.data())
    def hear_one_batch(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.mailbox) - 1))
        batch = self.mailbox[place]
        self.hear(batch)
        if self.state.broker_seq >= batch[-1].broker_seq:
            self.mailbox.remove(batch)

    @precondition(lambda self: self.heard)
    @rule(back=st.integers(1, 6))
    def hear_again(self, back: int) -> None:
        self.hear(self.heard[-back:])

    @rule()
    def stale_report(self) -> None:
        if self.mailbox:
            before = self.state.ladder
            self.feed(exchange.report(self.book, at=self.now()))
            assert self.state.ladder == before  # books at different news are not compared

    @rule()
    def crash(self) -> None:
        """The process dies; the journal is folded again from nothing, and its outputs are the bytes on record."""
        state, outputs = State(), list[bytes]()
        for event in self.inputs:
            decoded = e.decode(e.encode(event))
            state, commands = step(state, decoded)  # type: ignore[arg-type]
            outputs += [e.encode(command.frame) for command in commands if isinstance(command, Record)]
        assert outputs == self.outputs
        assert comparable(state) == comparable(self.state)
        self.state = state

    # ---- what must hold -----------------------------------------------------------------------------------------------------------

    @invariant()
    def positions_are_the_sum_of_distinct_fills(self) -> None:
        held, seen = dict.fromkeys(NAMES, ZERO), set[str]()
        for item in self.heard:
            if isinstance(item, e.OrderFilled) and item.fill_id not in seen:
                seen.add(item.fill_id)
                order = self.intended[item.client_order_id]
                held[order.instrument_id] += item.quantity * order.side.sign
            elif isinstance(item, e.SplitProcessed):
                held[item.instrument_id] = split_quantity(held[item.instrument_id], item.ratio, Decimal(1))[0]
        assert {name: self.state.ledger.quantity(name) for name in NAMES} == held

    @invariant()
    def once_all_news_has_come_both_books_are_equal(self) -> None:
        if not self.mailbox:
            assert self.state.ledger.cash == self.book.cash
            theirs = {key: quantity for key, quantity in self.book.positions.items() if quantity}
            assert {key: p.quantity for key, p in self.state.ledger.positions.items() if p.quantity} == theirs

    @invariant()
    def a_halt_of_a_person_stays(self) -> None:
        assert self.state.ladder.level >= self.halted_by_person

    @invariant()
    def cash_is_the_sum_of_its_lines(self) -> None:
        assert self.state.ledger.cash == sum(self.state.ledger.totals.values(), ZERO)

    @invariant()
    def an_order_of_a_past_session_does_not_work_for_ever(self) -> None:
        if self.phase == "decide" and not self.mailbox:
            assert [order for order in self.state.working if order.session <= self.session()] == []


def comparable(state: State) -> dict[str, Any]:
    """The state without arrays and bundles."""
    apart = {"window", "bundles", "expected_volatility"}
    facts = {name: value for name, value in msgspec.structs.asdict(state).items() if name not in apart}
    facts["volatility"] = repr(state.expected_volatility)
    facts["window"] = None if state.ring is None else (str(state.ring.sessions[-1]), np.nan_to_num(state.ring.close, nan=-1.0).tobytes())
    return facts


def assert_no_nan(frame: object) -> None:
    """A NaN would be encoded as null without a word."""
    found = [msgspec.to_builtins(frame)]
    while found:
        value = found.pop()
        if isinstance(value, float):
            assert math.isfinite(value), f"{type(frame).__name__} holds {value}"
        elif isinstance(value, dict):
            found += value.values()
        elif isinstance(value, list | tuple):
            found += value


def assert_inside_limits(state: State, sent: list[e.Order]) -> None:
    """If every opening order fills and no closing one does, each name stays inside its cap; all together, gross and net do."""
    limits, equity = BOOK.limits, float(state.equity)
    marks = {i.instrument_id: price for i, price in zip(state.instruments, state.marks, strict=True)}
    opened = [order for order in sent if order.leg is Leg.OPEN]
    if not opened:
        return
    for order in opened:
        price = marks[order.instrument_id]
        assert price is not None
        others = sum((o.quantity * o.side.sign for o in sent if o.instrument_id == order.instrument_id), ZERO)
        after = (state.ledger.quantity(order.instrument_id) + others) * price
        assert abs(float(after)) <= limits.max_position_weight * equity * (1 + 1e-9)
    traded = {name: sum((o.quantity * o.side.sign for o in sent if o.instrument_id == name), ZERO) for name in NAMES}
    book = {name: state.ledger.quantity(name) + traded[name] for name in NAMES}
    values = [float(quantity * (marks[name] or ZERO)) for name, quantity in book.items()]
    assert sum(map(abs, values)) <= limits.max_gross * equity * (1 + 1e-9)
    before = sum(float(state.ledger.quantity(name) * (marks[name] or ZERO)) for name in NAMES)
    assert abs(sum(values)) <= max(limits.max_net * equity, abs(before)) * (1 + 1e-9)


def run(examples: int, steps: int) -> None:
    bounds = settings(max_examples=examples, stateful_step_count=steps, suppress_health_check=list(HealthCheck), deadline=None)
    run_state_machine_as_test(Trading, settings=bounds)


def test_trading_holds_its_invariants_in_every_interleaving() -> None:
    run(examples=14, steps=40)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_trading_holds_its_invariants_in_many_more_interleavings() -> None:
    run(examples=50, steps=80)
