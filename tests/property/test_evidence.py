"""Whatever a broker's updates go through on their way, the booked story of an order is the true one.

A true story is drawn (fills, an end, perhaps before everything is filled), told on two channels with repetitions, in any order and with
parts of it lost; the reader asks for what is missing, as the runtime does. What is booked must not depend on any of it.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hedgefund_core.machine import step
from hedgefund_core.trading import events as e
from hedgefund_core.trading.evidence import Booked, Evidence, External, news_of, numbered, split_news
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.ledger import CashKind
from hedgefund_core.trading.observed import ActivitySighting, Channel, FillSighting, OrderSighting
from hedgefund_core.trading.order import Order, OrderStatus
from tests.scenario.live_bench import LiveBench, session

AT = datetime(2026, 11, 16, 15, 30, tzinfo=UTC)
ENDS = {"canceled": OrderStatus.CANCELED, "expired": OrderStatus.EXPIRED, "replaced": OrderStatus.REPLACED}


@dataclass
class Story:
    """What really happened to an order of 100."""

    order: Order
    fills: list[tuple[Decimal, Decimal]]
    end: str

    @property
    def total(self) -> Decimal:
        return sum((quantity for quantity, _ in self.fills), ZERO)

    @property
    def value(self) -> Decimal:
        return sum((quantity * price for quantity, price in self.fills), ZERO)

    def at(self, place: int) -> datetime:
        return AT + timedelta(seconds=place)

    def seen(self, place: int, status: str, event: str = "", channel: Channel = Channel.STREAM) -> OrderSighting:
        """The order after ``place`` fills, with the last of them if it is a fill's event."""
        done = self.fills[:place]
        total = sum((quantity for quantity, _ in done), ZERO)
        value = sum((quantity * price for quantity, price in done), ZERO)
        fill = None
        if event in {"fill", "partial_fill"}:
            quantity, price = done[-1]
            fill = FillSighting(execution_id=f"x{place}", quantity=quantity, price=price, cumulative_quantity=total, at=self.at(place))
        return OrderSighting(
            client_order_id=self.order.client_order_id, broker_order_id="B1", symbol="AAA", side="buy", quantity=self.order.quantity,
            filled_quantity=total, average_price=value / total if total else None, status=status, channel=channel, at=self.at(place),
            event=event, fill=fill,
        )  # fmt: skip

    def told(self) -> list[OrderSighting]:
        """Every update of the stream and a query's picture after each."""
        updates = [self.seen(0, "new", "new"), self.seen(0, "new", channel=Channel.QUERY)]
        for place in range(1, len(self.fills) + 1):
            whole = sum((quantity for quantity, _ in self.fills[:place]), ZERO) == self.order.quantity
            status = "filled" if whole else "partially_filled"
            updates += [self.seen(place, status, "fill" if whole else "partial_fill"), self.seen(place, status, channel=Channel.QUERY)]
        if self.end:
            updates += [self.seen(len(self.fills), self.end, self.end), self.seen(len(self.fills), self.end, channel=Channel.QUERY)]
        return updates

    def lines(self) -> list[ActivitySighting]:
        """The activity list."""
        total, found = ZERO, []
        for place, (quantity, price) in enumerate(self.fills, start=1):
            total += quantity
            found.append(
                ActivitySighting(
                    activity_id=f"a{place}", activity_type="FILL", at=self.at(place), symbol="AAA", broker_order_id="B1", side="buy",
                    quantity=quantity, price=price, cumulative_quantity=total,
                )
            )  # fmt: skip
        return found


@dataclass
class Reader:
    """Books what follows, and asks for what is missing."""

    bench: LiveBench
    story: Story
    silent: bool = False
    seen: list[e.BrokerNews] = field(default_factory=list)

    def booked(self) -> Booked:
        state = self.bench.state
        held = {key: position.quantity for key, position in state.ledger.positions.items()}
        return Booked(orders=state.known_orders, external={}, instruments={name: name for name in self.bench.names}, held=held)

    def show(self, seen: OrderSighting | ActivitySighting, *, settle: bool = False) -> Evidence:
        found = news_of(self.booked(), seen, session=session(), settle=settle)
        for item in numbered(found.news, self.bench.state.broker_seq):
            assert not isinstance(item, e.NewsNotUnderstood), item.what
            self.bench.feed(item)
            self.seen.append(item)
        return found

    def hear(self, seen: OrderSighting) -> None:
        if not self.show(seen).gap:
            return
        if not self.silent:  # the list of fills may lag: then only the order itself is known
            for line in self.story.lines():
                self.show(line)
        assert not self.show(seen, settle=True).gap

    @property
    def order(self) -> Order:
        return self.bench.state.orders[self.story.order.client_order_id]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    cuts = sorted(draw(st.sets(st.integers(1, 99), max_size=4)))
    pieces = [Decimal(b - a) for a, b in zip([0, *cuts], [*cuts, 100], strict=True)]
    prices = [Decimal(draw(st.integers(9_800, 10_200))) / 100 for _ in pieces]
    fills = list(zip(pieces, prices, strict=True))
    kept = draw(st.integers(0, len(fills)))
    end = "" if kept == len(fills) else draw(st.sampled_from(["", *ENDS]))
    return Story(order=ordered()[1], fills=fills[:kept], end=end)


@functools.cache
def ordered() -> tuple[LiveBench, Order]:
    """A bench that has sent a buy of 100: states are values, so every reader may begin from this one."""
    bench = LiveBench()
    (order,) = bench.decide(AAA=100)
    return bench, order


def reader(story: Story, *, silent: bool = False) -> Reader:
    return Reader(bench=copy.copy(ordered()[0]), story=story, silent=silent)


def check(found: Reader) -> None:
    story, order = found.story, found.order
    assert order.filled_quantity == story.total == found.bench.held()
    assert abs(order.filled_value - story.value) <= Decimal("1e-6")
    assert abs(found.bench.state.ledger.cash - (100_000 - story.value)) <= Decimal("1e-5")
    if story.total == 100:
        assert order.status is OrderStatus.FILLED
    elif story.end:
        assert order.status is ENDS[story.end]
    else:
        assert order.status in {OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED}
    replaced = order.status is OrderStatus.REPLACED  # its stand-in is a stranger's order, and may still fill
    assert set(found.bench.state.frozen) == ({"AAA"} if replaced else set())
    totals = [item.fill_id for item in found.seen if isinstance(item, e.OrderFilled)]
    assert len(set(totals)) == len(totals)


@settings(max_examples=60, deadline=None)
@given(story=stories(), data=st.data())
def test_any_order_and_repetition_of_updates_books_the_same(story: Story, data: st.DataObject) -> None:
    told = story.told()
    found = reader(story)
    for seen in data.draw(st.permutations([*told, *data.draw(st.lists(st.sampled_from(told), max_size=6))])):
        found.hear(seen)
    check(found)
    again = found.bench.state
    for seen in told:
        assert found.show(seen) == Evidence()
    assert found.bench.state is again


@settings(max_examples=60, deadline=None)
@given(story=stories(), data=st.data(), silent=st.booleans())
def test_what_was_lost_is_got_by_a_query_later(story: Story, data: st.DataObject, silent: bool) -> None:
    told = story.told()
    kept = data.draw(st.lists(st.sampled_from(told), max_size=len(told), unique_by=id))
    found = reader(story, silent=silent)
    for seen in kept:
        found.hear(seen)
    found.hear(told[-1] if story.end else story.seen(len(story.fills), told[-1].status, channel=Channel.QUERY))
    check(found)


@settings(max_examples=40, deadline=None)
@given(story=stories(), data=st.data())
def test_an_older_picture_never_undoes_a_newer_one(story: Story, data: st.DataObject) -> None:
    found = reader(story)
    for seen in story.told():
        found.hear(seen)
    before = found.bench.state
    for seen in data.draw(st.lists(st.sampled_from(story.told()), min_size=1, max_size=5)):
        found.hear(seen)
    assert found.bench.state is before


def test_a_hole_books_nothing_and_says_so() -> None:
    story = Story(order=ordered()[1], fills=[(Decimal(40), Decimal(100)), (Decimal(60), Decimal(101))], end="")
    found = reader(story)
    evidence = found.show(story.seen(2, "filled", "fill"))
    assert evidence.gap
    assert [type(item).__name__ for item in evidence.news] == ["OrderAccepted"]
    assert found.show(story.lines()[1]).gap
    assert not found.show(story.lines()[0]).gap
    assert not found.show(story.lines()[1]).gap
    check(found)


def test_the_end_waits_for_the_fills_before_it() -> None:
    story = Story(order=ordered()[1], fills=[(Decimal(40), Decimal(100))], end="canceled")
    found = reader(story)
    assert found.show(story.seen(1, "canceled", "canceled")).gap
    assert found.order.status is OrderStatus.ACCEPTED
    found.show(story.lines()[0])
    found.show(story.seen(1, "canceled", "canceled"))
    check(found)


def test_a_bust_and_a_correction_are_booked_once_and_a_fill_after_a_bust_has_its_own_name() -> None:
    story = Story(order=ordered()[1], fills=[(Decimal(40), Decimal(100)), (Decimal(30), Decimal(101))], end="")
    found = reader(story)
    for seen in story.told():
        found.hear(seen)
    taken = FillSighting(execution_id="x2", quantity=Decimal(30), price=Decimal(101), cumulative_quantity=Decimal(40), at=story.at(9))
    bust = replace(story.seen(1, "partially_filled", "trade_bust"), fill=taken)
    found.show(bust)
    found.show(bust)
    assert (found.bench.held(), found.order.filled_value) == (Decimal(40), Decimal(4000))
    found.show(story.seen(2, "partially_filled", "partial_fill"))  # the old fill told again
    assert found.bench.held() == 40
    anew = replace(taken, execution_id="x3", cumulative_quantity=Decimal(70), at=story.at(20))
    found.show(replace(story.seen(2, "partially_filled", "partial_fill"), fill=anew, at=story.at(20)))
    assert found.bench.held() == 70
    better = FillSighting(execution_id="x1", quantity=Decimal(40), price=Decimal(99), cumulative_quantity=Decimal(70), at=story.at(30))
    changed = replace(story.seen(2, "partially_filled", "trade_correct"), fill=better, average_price=None)
    found.show(changed)
    assert found.bench.held() == 70
    older = replace(story.seen(2, "partially_filled"), channel=Channel.QUERY, event="", fill=None, at=story.at(8))
    found.show(replace(older, filled_quantity=Decimal(80), average_price=Decimal(100)))
    assert found.bench.held() == 70, "a picture from before the bust books nothing again"


def test_a_bust_is_booked_at_its_own_price_though_the_broker_still_shows_the_average_of_before() -> None:
    story = Story(order=ordered()[1], fills=[(Decimal(40), Decimal(100)), (Decimal(30), Decimal(101))], end="")
    found = reader(story)
    for seen in story.told():
        found.hear(seen)
    taken = FillSighting(execution_id="x2", quantity=Decimal(30), price=Decimal(101), cumulative_quantity=Decimal(40), at=story.at(9))
    bust = story.seen(1, "partially_filled", "trade_bust")
    found.show(replace(bust, fill=taken, average_price=found.order.average_fill_price))
    assert (found.bench.held(), found.order.filled_value) == (Decimal(40), Decimal(4000))


@pytest.mark.parametrize(
    ("word", "status"), [("canceled", "canceled"), ("expired", "expired"), ("filled", "filled"), ("partially_filled", "filled")]
)
@pytest.mark.parametrize("at_once", [True, False])
def test_an_order_that_a_bust_left_unfilled_is_what_its_broker_calls_it(word: str, status: str, *, at_once: bool) -> None:
    story = Story(order=ordered()[1], fills=[(Decimal(60), Decimal(100)), (Decimal(40), Decimal(101))], end="")
    found = reader(story)
    for seen in story.told():
        found.hear(seen)
    found.show(replace(story.seen(2, "canceled"), channel=Channel.QUERY))
    assert found.order.status is OrderStatus.FILLED, "nothing is left of it"
    taken = FillSighting(execution_id="x2", quantity=Decimal(40), price=Decimal(101), cumulative_quantity=Decimal(60), at=story.at(9))
    found.show(replace(story.seen(1, word if at_once else "filled", "trade_bust"), fill=taken))
    found.show(replace(story.seen(1, word), channel=Channel.QUERY, event="", fill=None, at=story.at(20)))
    assert (found.order.status, found.bench.held(), found.order.filled_value) == (OrderStatus(status), Decimal(60), Decimal(6000))
    assert all("took back" in frame.message for frame in found.bench.frames(e.AlertRaised)), "nothing of it is strange"


def test_a_correction_told_again_after_another_fill_changes_nothing() -> None:
    story = Story(order=ordered()[1], fills=[(Decimal(40), Decimal(100)), (Decimal(30), Decimal(101)), (Decimal(10), Decimal(103))], end="")
    found = reader(story)
    told = list(story.told())
    for seen in told[:-2]:
        found.hear(seen)
    fill = FillSighting(execution_id="x2", quantity=Decimal(30), price=Decimal(99), cumulative_quantity=Decimal(70), at=story.at(9))
    average = Decimal(40 * 100 + 30 * 99) / 70
    changed = replace(story.seen(2, "partially_filled", "trade_correct"), fill=fill, average_price=average)
    found.show(changed)
    assert found.order.filled_value == pytest.approx(Decimal(6970))
    found.hear(told[-2])
    value = found.order.filled_value
    found.show(changed)
    assert found.order.filled_value == value


def test_unknown_words_are_said_by_the_stream_and_not_at_every_query() -> None:
    story = Story(order=ordered()[1], fills=[], end="")
    booked = reader(story).booked()
    strange = story.seen(0, "levitating", "levitated")
    assert [type(i).__name__ for i in news_of(booked, strange, session="s").news] == ["OrderAccepted", "NewsNotUnderstood"]
    asked = replace(strange, channel=Channel.QUERY, event="")
    assert [type(i).__name__ for i in news_of(booked, asked, session="s").news] == ["OrderAccepted"]


# ---- others ------------------------------------------------------------------------------------------------------------------


def stranger(total: int, *, fill: int | None = None, symbol: str = "AAA", side: str = "sell") -> OrderSighting:
    piece = None
    if fill is not None:
        piece = FillSighting(execution_id="x", quantity=Decimal(fill), price=Decimal(100), cumulative_quantity=Decimal(total), at=AT)
    return OrderSighting(
        client_order_id="theirs", broker_order_id="X1", symbol=symbol, side=side, quantity=Decimal(100), filled_quantity=Decimal(total),
        average_price=Decimal(100), status="partially_filled", channel=Channel.STREAM, at=AT, fill=piece,
    )  # fmt: skip


EMPTY = Booked(orders={}, external={}, instruments={"AAA": "AAA"}, held={})


def test_a_strangers_fills_are_booked_piece_by_piece_and_once() -> None:
    (first,) = news_of(EMPTY, stranger(30, fill=30), session="s").news
    assert isinstance(first, e.ExternalFilled)
    assert (first.quantity, first.side.value, first.fill_id) == (Decimal(30), "sell", "X1:30")
    known = replace(EMPTY, external={"X1": External(quantity=Decimal(30), value=Decimal(3000))})
    assert news_of(known, stranger(30), session="s") == Evidence(external=True)
    assert news_of(known, stranger(90, fill=20), session="s").gap
    (rest,) = news_of(known, stranger(90), session="s", settle=True).news
    assert isinstance(rest, e.ExternalFilled)
    assert (rest.quantity, rest.price) == (Decimal(60), Decimal(100))


def test_a_stranger_is_not_booked_from_before_the_opening_nor_in_an_unknown_instrument() -> None:
    late = replace(EMPTY, opened_at=AT + timedelta(minutes=1))
    assert news_of(late, stranger(30), session="s") == Evidence(external=True)
    assert news_of(EMPTY, stranger(30, symbol="ZZZ"), session="s").stranger == "ZZZ"


def line(kind: str, amount: str | None = None, **changes: object) -> ActivitySighting:
    plain = ActivitySighting(
        activity_id="a", activity_type=kind, at=AT, symbol="AAA", net_amount=None if amount is None else Decimal(amount)
    )
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("kind", "amount", "expected"),
    [
        ("DIV", "1.2", CashKind.DIVIDEND),
        ("DIVNRA", "-0.2", CashKind.DIVIDEND),
        ("FEE", "-0.01", CashKind.FEE),
        ("INT", "-3", CashKind.INTEREST),
        ("CSD", "100", CashKind.DEPOSIT),
        ("CSW", "-100", CashKind.WITHDRAWAL),
        ("JNLC", "-5", CashKind.WITHDRAWAL),
    ],
)
def test_cash_lines_are_booked_once_under_our_words(kind: str, amount: str, expected: CashKind) -> None:
    (posted,) = news_of(EMPTY, line(kind, amount), session="s").news
    assert isinstance(posted, e.CashPosted)
    assert (posted.cash_kind, posted.amount) == (expected, Decimal(amount))
    assert news_of(replace(EMPTY, activities=frozenset("a")), line(kind, amount), session="s") == Evidence()


def test_a_line_that_is_not_understood_is_said() -> None:
    (said,) = news_of(EMPTY, line("SPIN"), session="s").news
    assert isinstance(said, e.NewsNotUnderstood)


@pytest.mark.parametrize(("quantity", "price"), [("0", "10"), ("-5", "10"), ("5", "0"), ("5", "-1")])
def test_a_fill_line_of_nothing_is_said_and_books_nothing(quantity: str, price: str) -> None:
    seen = line("FILL", broker_order_id="B9", side="buy", quantity=Decimal(quantity), price=Decimal(price))
    (said,) = news_of(EMPTY, seen, session="s").news
    assert isinstance(said, e.NewsNotUnderstood)


def test_money_under_a_word_we_do_not_know_is_booked_and_said() -> None:
    posted, said = news_of(EMPTY, line("SPIN", "4.20"), session="s").news
    assert isinstance(posted, e.CashPosted)
    assert (posted.cash_kind, posted.amount) == (CashKind.ADJUSTMENT, Decimal("4.20"))
    assert isinstance(said, e.NewsNotUnderstood)
    assert news_of(replace(EMPTY, activities=frozenset("a")), line("SPIN", "4.20"), session="s") == Evidence()


@pytest.mark.parametrize(
    "lines",
    [
        [line("SPLIT", quantity=Decimal(300))],
        [line("SPLIT", quantity=Decimal(400), description="AAA 4 for 1 forward split")],
        [line("SPLIT", quantity=Decimal(-100)), line("SPLIT", quantity=Decimal(400), activity_id="b")],
    ],
)
def test_a_split_is_one_split_however_its_lines_are_told(lines: list[ActivitySighting]) -> None:
    (news,) = split_news(replace(EMPTY, held={"AAA": Decimal(100)}), lines, session="s").news
    assert isinstance(news, e.SplitProcessed)
    assert (news.ratio, news.quantity_after) == (Decimal(4), Decimal(400))
    after = replace(EMPTY, held={"AAA": Decimal(400)}, activities=frozenset({news.activity_id}))
    assert split_news(after, lines, session="s") == Evidence(), "the list is read again"


@pytest.mark.parametrize("status", [OrderStatus.PENDING_NEW, OrderStatus.UNKNOWN, OrderStatus.CANCELED])
def test_a_fill_line_that_may_be_of_an_order_without_a_brokers_name_is_no_strangers_before_that_is_asked_for(status: OrderStatus) -> None:
    state = ordered()[0].state
    orders = {name: replace(order, status=status) for name, order in state.orders.items()}
    booked, session = replace(EMPTY, orders=orders), state.session
    fill = line("FILL", broker_order_id="B9", side="buy", quantity=Decimal(1), price=Decimal(100))
    assert news_of(booked, fill, session=session) == Evidence(gap=True)
    over = status is OrderStatus.CANCELED  # what works still may have been filled in a later session, unseen
    assert news_of(booked, fill, session="9999-01-04").gap is not over
    (stranger,) = news_of(booked, fill, session=session, settle=True).news
    assert isinstance(stranger, e.ExternalFilled)
    refused = replace(booked, orders={name: replace(order, status=OrderStatus.REJECTED) for name, order in orders.items()})
    assert news_of(refused, fill, session=session).news == (stranger,)


def test_fills_that_were_booked_as_a_strangers_are_not_booked_again_when_the_order_turns_out_to_be_ours() -> None:
    state = ordered()[0].state
    orders = {name: replace(order, status=OrderStatus.CANCELED) for name, order in state.orders.items()}
    order = next(iter(orders.values()))
    fill = line("FILL", broker_order_id="B9", side="buy", quantity=Decimal(1), price=Decimal(100))
    (stranger,) = news_of(replace(EMPTY, orders=orders), fill, session=state.session, settle=True).news
    assert isinstance(stranger, e.ExternalFilled)
    booked = replace(EMPTY, orders=orders, external={"B9": External(quantity=stranger.quantity, value=stranger.quantity * stranger.price)})
    seen = OrderSighting(
        client_order_id=order.client_order_id, broker_order_id="B9", symbol="AAA", side="buy", quantity=order.quantity,
        filled_quantity=Decimal(1), average_price=Decimal(100), status="canceled", channel=Channel.QUERY, at=AT,
    )  # fmt: skip
    assert not news_of(booked, seen, session=state.session).news
    (more,) = news_of(booked, replace(seen, filled_quantity=Decimal(3)), session=state.session, settle=True).news
    assert isinstance(more, e.ExternalFilled)
    assert more.quantity == Decimal(2)


def test_payloads_of_what_is_not_understood_can_be_read_again() -> None:
    (said,) = news_of(EMPTY, line("SPIN"), session="s").news
    assert isinstance(said, e.NewsNotUnderstood)
    assert msgspec.json.decode(said.payload)["activity_type"] == "SPIN"
    state = LiveBench().state
    assert step(state, replace(said, broker_seq=1))[0].broker_seq == 1
