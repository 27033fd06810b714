"""A live account against a broker with its own book: what is told is lost, doubled and reordered, sends time out, people interfere.

What must hold: nothing leaves without a durable, allowed intent (I1); an intent is at most one order at the broker, and what is unknown is
never sent again before proof of absence (I2, I9); once everything has been asked for, positions and cash are the broker's to the cent (I3);
folding the inputs again gives the same bytes (I4, I8); what could fill stays inside the limits (I5); two own orders never stand against
each other, and no order sells more than is there; a flattening ends flat, confirmed by the broker's books.
"""

from __future__ import annotations

import copy
import functools
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from hedgefund_core.commands import CancelOrder, Command, LookUpOrder, Record, SubmitOrder
from hedgefund_core.trading import events as e
from hedgefund_core.trading.evidence import Booked, External, news_of, numbered
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.observed import ActivitySighting, Channel, FillSighting, OrderSighting
from hedgefund_core.trading.order import Leg, OrderStatus
from hedgefund_core.trading.state import Level
from tests.builders import mandate
from tests.scenario.live_bench import LiveBench, session

LIMITS = mandate("discretionary").limits
TARGETS = st.dictionaries(st.sampled_from(["AAA", "BBB", "CCC"]), st.sampled_from([0, 50, 120, -50, -120, 300]), min_size=1, max_size=3)
OPEN = frozenset({"new", "partially_filled"})


@functools.cache
def opened() -> LiveBench:
    """A bench with history, so that large orders are cut into pieces."""
    bench = LiveBench()
    days = tuple(f"2026-10-{day:02}" for day in range(1, 26))
    grids = {name: tuple((value,) * 4 for _ in days) for name, value in (("close", 100.0), ("volume", 20_000.0))}
    bench.feed(e.HistoryLoaded(ts=bench.tick(), data_version="v", sessions=days, **grids))
    bench.report()
    return bench


class Book:
    """The broker's own truth."""

    def __init__(self) -> None:
        self.cash, self.held = Decimal(100_000), dict[str, Decimal]()
        self.orders, self.status = dict[str, e.Order](), dict[str, str]()
        self.filled, self.value = dict[str, Decimal](), dict[str, Decimal]()
        self.lines, self.telling = list[ActivitySighting](), list[OrderSighting]()
        self.strangers = False

    def take(self, order: e.Order, bench: LiveBench) -> None:
        name, key = order.client_order_id, order.instrument_id
        assert name not in self.orders, "an order that the broker has was sent again"
        mine = [o for n, o in self.orders.items() if self.status[n] in OPEN and o.instrument_id == key]
        if not self.strangers:
            assert all(o.side is order.side for o in mine), "two own orders stand against each other"
            held = self.held.get(key, ZERO)
            left = held * -order.side.sign - sum((o.quantity - self.filled[o.client_order_id] for o in mine), ZERO)
            assert held * order.side.sign >= ZERO or order.quantity <= left, "an order beyond what is there"
        self.orders[name], self.status[name], self.filled[name], self.value[name] = order, "new", ZERO, ZERO
        self.tell(name, "new", bench)

    def sighting(self, name: str, bench: LiveBench, *, event: str = "", fill: FillSighting | None = None) -> OrderSighting:
        order, total = self.orders[name], self.filled[name]
        return OrderSighting(
            client_order_id=name, broker_order_id=f"B{name}", symbol=order.symbol, side=order.side.value, quantity=order.quantity,
            filled_quantity=total, average_price=self.value[name] / total if total else None, status=self.status[name],
            channel=Channel.STREAM if event else Channel.QUERY, at=bench.tick(0.001), event=event, fill=fill,
        )  # fmt: skip

    def tell(self, name: str, event: str, bench: LiveBench, fill: FillSighting | None = None) -> None:
        self.telling.append(self.sighting(name, bench, event=event, fill=fill))

    def fill(self, name: str, quantity: Decimal, price: Decimal, bench: LiveBench) -> None:
        order = self.orders[name]
        self.filled[name] += quantity
        self.value[name] += quantity * price
        self.move(order.instrument_id, quantity * order.side.sign, price)
        self.status[name] = "filled" if self.filled[name] == order.quantity else "partially_filled"
        line = ActivitySighting(
            activity_id=f"a{len(self.lines)}", activity_type="FILL", at=bench.tick(0.001), symbol=order.symbol, broker_order_id=f"B{name}",
            side=order.side.value, quantity=quantity, price=price, cumulative_quantity=self.filled[name],
        )  # fmt: skip
        self.lines.append(line)
        fill = FillSighting(
            execution_id=line.activity_id, quantity=quantity, price=price, cumulative_quantity=self.filled[name], at=line.at
        )
        self.tell(name, "fill" if self.status[name] == "filled" else "partial_fill", bench, fill)

    def move(self, key: str, shares: Decimal, price: Decimal) -> None:
        self.held[key] = self.held.get(key, ZERO) + shares
        self.cash -= shares * price

    def over(self, name: str, word: str, bench: LiveBench) -> None:
        if self.status[name] in OPEN:
            self.status[name] = word
            self.tell(name, word, bench)

    @property
    def working(self) -> list[str]:
        return [name for name, status in self.status.items() if status in OPEN]


class Live(RuleBasedStateMachine):
    """One account, one broker, and everything between them."""

    @initialize()
    def begin(self) -> None:
        self.bench = copy.copy(opened())
        self.bench.inputs, self.bench.outputs = list(self.bench.inputs), list(self.bench.outputs)
        self.book, self.day, self.external = Book(), 0, dict[str, External]()
        self.intended, self.absent, self.asked = dict[str, e.Order](), set[str](), 0
        self.outcome, self.deaf = "ok", False

    # ---- the runtime, small ------------------------------------------------------------------------------------------------

    def act(self, commands: list[Command]) -> None:
        """Journal first (the bench), then the outside."""
        for command in commands:
            for order in command.frame.orders if isinstance(command, Record) and isinstance(command.frame, e.OrdersIntended) else ():
                assert order.client_order_id not in self.intended, "one intent, two orders"
                self.intended[order.client_order_id] = order
                self.check_limits(order)
        for command in commands:
            match command:
                case SubmitOrder(order=order):
                    self.submit(order)
                case CancelOrder(client_order_id=name):
                    if name in self.book.orders and not self.deaf:  # an answer of success proves nothing
                        self.book.over(name, "canceled", self.bench)
                case LookUpOrder(client_order_id=name):
                    self.look_up(name)
                case _:
                    pass

    def submit(self, order: e.Order) -> None:
        name = order.client_order_id
        assert name in self.intended
        assert self.bench.state.ladder.level is not Level.HALTED
        assert self.bench.state.orders[name].status is not OrderStatus.UNKNOWN
        outcome, self.outcome = self.outcome, "ok"
        if outcome in {"ok", "accepted, unknown"}:
            self.book.take(order, self.bench)
        if outcome == "rejected":
            self.book.take(order, self.bench)
            self.book.over(name, "rejected", self.bench)
        if outcome.endswith("unknown"):
            self.act(self.bench.feed(e.OrderOutcomeUnknown(ts=self.bench.tick(), client_order_id=name, reason="time-out")))

    def look_up(self, name: str) -> None:
        if name in self.book.orders:
            self.hear(self.book.sighting(name, self.bench))
        elif name in self.bench.state.orders:
            self.act(self.bench.feed(e.OrderAbsent(ts=self.bench.tick(), client_order_id=name)))

    def booked(self) -> Booked:
        state = self.bench.state
        return Booked(orders=state.known_orders, external=self.external, instruments={n: n for n in self.bench.names}, held={})

    def show(self, seen: OrderSighting | ActivitySighting, *, settle: bool = False) -> bool:
        found = news_of(self.booked(), seen, session=session(self.day), settle=settle)
        for news in found.news:
            (item,) = numbered([news], self.bench.state.broker_seq)
            if isinstance(item, e.ExternalFilled):
                known = self.external.get(item.broker_order_id, External())
                grown = External(quantity=known.quantity + item.quantity, value=known.value + item.quantity * item.price)
                self.external[item.broker_order_id] = grown
            self.act(self.bench.feed(item))
        return found.gap

    def hear(self, seen: OrderSighting) -> None:
        if self.show(seen):
            for line in [line for line in self.book.lines if line.broker_order_id == seen.broker_order_id]:
                self.show(line)
            self.show(seen, settle=True)

    def ask(self) -> None:
        """Every query there is: orders, fills, what is not shown."""
        for name in list(self.book.orders):
            self.hear(self.book.sighting(name, self.bench))
        for line in list(self.book.lines):
            self.show(line)
        for order in self.bench.state.working:
            if order.client_order_id not in self.book.orders:
                self.look_up(order.client_order_id)

    # ---- what happens --------------------------------------------------------------------------------------------------------

    @rule(wanted=TARGETS, outcome=st.sampled_from(["ok", "ok", "ok", "accepted, unknown", "lost, unknown", "rejected"]))
    def rebalance(self, wanted: dict[str, int], outcome: str) -> None:
        self.outcome = outcome
        self.bench.decide(**wanted)
        self.act(self.bench.commands)

    @rule(name=st.sampled_from(["AAA", "BBB"]), side=st.sampled_from(["buy", "sell"]), quantity=st.sampled_from([10, 150]))
    def person_orders(self, name: str, side: str, quantity: int) -> None:
        self.asked += 1
        self.bench.order(name, side, quantity, request=f"q{self.asked}")
        self.act(self.bench.commands)
        before = self.bench.state
        assert self.bench.order(name, side, quantity, request=f"q{self.asked}") == []
        assert self.bench.state is before

    @rule()
    def person_cancels(self) -> None:
        self.asked += 1
        self.bench.cancel(request=f"c{self.asked}")
        self.act(self.bench.commands)

    @rule(move=st.sampled_from([-2.0, -0.5, 0.0, 0.5, 2.0]))
    def prices(self, move: float) -> None:
        now = {name: max(round(self.bench._last(name) + move, 2), 50.0) for name in self.bench.names}
        self.act(self.bench.prices(**now))

    @precondition(lambda self: self.book.working)
    @rule(data=st.data(), part=st.sampled_from([1, 2, 3]))
    def broker_fills(self, data: st.DataObject, part: int) -> None:
        name = data.draw(st.sampled_from(self.book.working))
        order = self.book.orders[name]
        left = order.quantity - self.book.filled[name]
        self.book.fill(name, max(left // part, Decimal(1)), order.limit_price or Decimal(100), self.bench)

    @precondition(lambda self: self.book.working)
    @rule(data=st.data(), word=st.sampled_from(["canceled", "expired"]))
    def broker_ends(self, data: st.DataObject, word: str) -> None:
        self.book.over(data.draw(st.sampled_from(self.book.working)), word, self.bench)

    @precondition(lambda self: self.book.telling)
    @rule(data=st.data(), fate=st.sampled_from(["told", "told", "told", "lost", "twice"]))
    def stream_tells(self, data: st.DataObject, fate: str) -> None:
        place = data.draw(st.integers(0, len(self.book.telling) - 1))
        seen = self.book.telling[place]
        if fate != "twice":
            del self.book.telling[place]
        if fate != "lost":
            self.hear(seen)

    @rule()
    def queries(self) -> None:
        self.ask()

    @rule(deaf=st.booleans())
    def broker_hears_cancels(self, deaf: bool) -> None:
        self.deaf = deaf

    @rule()
    def somebody_trades(self) -> None:
        """Rarely anything else than a sale of ten by phone."""
        if len(self.external) < 1 and self.asked % 3 == 2:
            self.book.strangers = True
            self.book.move("CCC", Decimal(-10), Decimal(100))
            seen = OrderSighting(
                client_order_id="", broker_order_id="phone", symbol="CCC", side="sell", quantity=Decimal(10), filled_quantity=Decimal(10),
                average_price=Decimal(100), status="filled", channel=Channel.QUERY, at=self.bench.tick(0.001),
            )  # fmt: skip
            self.hear(seen)
            assert "CCC" in self.bench.state.frozen

    @rule(cause=st.sampled_from(["stream", "data"]), closed=st.booleans())
    def gate(self, cause: str, closed: bool) -> None:
        self.act(self.bench.feed(e.EntriesGated(ts=self.bench.tick(), cause=cause, closed=closed)))

    @rule(halted=st.booleans())
    def market_halts(self, halted: bool) -> None:
        self.act(self.bench.status("BBB", halted=halted))

    @precondition(lambda self: self.bench.state.parents)
    @rule()
    def slice_due(self) -> None:
        key = next(iter(self.bench.state.parents))
        self.act(self.bench.feed(e.SliceDue(ts=self.bench.tick(), parent_id=key, session=session(self.day))))

    @rule()
    def next_day(self) -> None:
        if self.day >= 6:
            return
        self.act(self.bench.end())
        for name in self.book.working:
            self.book.over(name, "expired", self.bench)
        self.ask()
        self.day += 1
        self.bench.day = self.day
        self.act(self.bench.feed(e.SessionBegan(ts=self.bench.tick(60.0), session=session(self.day))))
        self.act(self.bench.prices())

    @rule()
    def crash(self) -> None:
        """The process dies: the journal folded again is the state, byte for byte."""
        assert self.bench.replayed() == self.bench.outputs

    # ---- what must hold --------------------------------------------------------------------------------------------------------

    def check_limits(self, order: e.Order) -> None:
        """If everything that works on a side fills, and nothing on the other, the name stays inside its cap; all together, gross does."""
        if order.leg is Leg.CLOSE:
            return
        state = self.bench.state
        marks = dict(zip(self.bench.names, state.marks, strict=True))
        gross = ZERO
        for name in self.bench.names:
            mine = [o for o in state.working if o.instrument_id == name]
            sides = [sum((o.remaining for o in mine if o.side.sign == sign), ZERO) for sign in (1, -1)]
            worst = max(abs(state.ledger.quantity(name) + sides[0]), abs(state.ledger.quantity(name) - sides[1])) * (marks[name] or ZERO)
            gross += worst
            if name == order.instrument_id:
                assert float(worst) <= LIMITS.max_position_weight * float(state.equity) * (1 + 1e-9)
        assert float(gross) <= LIMITS.max_gross * float(state.equity) * (1 + 1e-9)

    @invariant()
    def cash_is_the_sum_of_its_lines(self) -> None:
        if hasattr(self, "bench"):
            assert self.bench.state.ledger.cash == sum(self.bench.state.ledger.totals.values(), ZERO)

    def teardown(self) -> None:
        """Ask for everything: the books are equal. Then close everything: the account ends flat."""
        if not hasattr(self, "bench"):
            return
        self.deaf, self.outcome = False, "ok"
        self.ask()
        self.equal()
        for cause in list(self.bench.state.gates):
            self.act(self.bench.feed(e.EntriesGated(ts=self.bench.tick(), cause=cause, closed=False)))
        self.act(self.bench.status("BBB"))
        self.act(self.bench.halt(3))
        for _ in range(6):
            self.ask()
            self.act(self.bench.prices())
            for name in self.book.working:
                order = self.book.orders[name]
                self.book.fill(name, order.quantity - self.book.filled[name], order.limit_price or Decimal(100), self.bench)
        self.ask()
        self.equal()
        if not any(count >= 3 for count in self.bench.state.rejections.values()):
            assert self.bench.state.is_flat, dict(self.book.held)
            self.bench.report(cash=self.book.cash, positions={k: q for k, q in self.book.held.items() if q}, open_orders=())
            assert self.bench.state.flat_confirmed
        self.crash()

    def equal(self) -> None:
        state = self.bench.state
        ours = {key: position.quantity for key, position in state.ledger.positions.items() if position.quantity}
        assert ours == {key: quantity for key, quantity in self.book.held.items() if quantity}
        assert state.ledger.cash == self.book.cash
        assert {order.client_order_id for order in state.working} == set(self.book.working)
        for order in state.known_orders.values():
            if order.client_order_id in self.book.orders:
                assert order.filled_quantity == self.book.filled[order.client_order_id]


def run(examples: int, steps: int) -> None:
    bounds = settings(max_examples=examples, stateful_step_count=steps, suppress_health_check=list(HealthCheck), deadline=None)
    run_state_machine_as_test(Live, settings=bounds)


def test_a_live_account_holds_its_invariants_whatever_a_broker_tells() -> None:
    run(examples=60, steps=30)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_live_account_holds_its_invariants_in_many_more_interleavings() -> None:
    run(examples=300, steps=60)


def test_the_bench_of_this_test_cuts_large_orders() -> None:
    bench = opened.__wrapped__()  # one of its own: a shallow copy shares its lists
    assert bench.decide(AAA=300)[0].quantity == 150
    assert replace(bench.frames(e.OrderRouted)[0]).strategy == "sliced"
