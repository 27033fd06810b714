"""The simulated exchange, figures worked out by hand: fills, costs, partial fills, collars, corporate actions, and asking twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from hedgefund_core.backtest import exchange
from hedgefund_core.backtest.exchange import Book, Market
from hedgefund_core.quant.bars import Panel, PriceKind
from hedgefund_core.risk.limits import Costs
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import Instrument
from hedgefund_core.trading.order import Leg, Order, OrderStatus, OrderType, Purpose, Side, TimeInForce

NOW = datetime(2020, 1, 2, 21, tzinfo=UTC)
DAYS = ("2020-01-02", "2020-01-03", "2020-01-06")
COSTS = Costs(commission_bps=3.0, borrow_bps_per_year=50.0, auction_participation=0.001)


def market(**fields: Any) -> Market:
    given = {"close": [[100.0, 40.0], [102.0, 41.0], [104.0, 42.0]], "open": [[99.0, 39.0], [101.0, 40.5], [103.0, 41.5]]} | fields
    panel = Panel(
        sessions=np.array(DAYS, dtype="datetime64[D]"), symbols=("A", "B"), price_kind=PriceKind.RAW,
        **{name: None if values is None else np.array(values, dtype=np.float64) for name, values in given.items()},
    )  # fmt: skip
    return Market(panel=panel, instruments=tuple(Instrument(instrument_id=name, symbol=name) for name in "AB"), costs=COSTS)


def order(name: str = "o1", **changes: Any) -> Order:
    plain = {
        "client_order_id": name, "decision_id": "d", "instrument_id": "A", "symbol": "A", "side": Side.BUY, "quantity": Decimal(100),
        "order_type": OrderType.LIMIT, "limit_price": Decimal(110), "time_in_force": TimeInForce.OPG, "leg": Leg.OPEN,
        "purpose": Purpose.MODEL, "session": DAYS[1], "reference_price": Decimal(100), "submitted_at": NOW,
    }  # fmt: skip
    return Order(**(plain | changes))


def book_at_first_close(**positions: int) -> Book:
    held = {name: Decimal(quantity) for name, quantity in positions.items()}
    closes = {"A": Decimal(100), "B": Decimal(40)}
    return Book(cash=Decimal(100_000), positions=held, session=DAYS[0], closed=True, last_close=closes, broker_seq=7)


def send(book: Book, *orders: Order) -> Book:
    for one in orders:
        book, news = exchange.submit(book, one, "AB", at=NOW)
        assert [type(item) for item in news] == [e.OrderAccepted]
    return book


def kinds(news: list[e.BrokerNews]) -> list[str]:
    return [e.kind_of(item) for item in news]


def test_an_opening_order_fills_at_the_open_for_three_basis_points() -> None:
    book, news = exchange.open_session(send(book_at_first_close(), order()), market(), DAYS[1], at=NOW)
    assert kinds(news) == ["order_filled"]
    fill = news[0]
    assert isinstance(fill, e.OrderFilled)
    assert (fill.quantity, fill.price, fill.commission) == (Decimal(100), Decimal(101), Decimal("3.03"))
    assert book.cash == Decimal(100_000) - Decimal(10_100) - Decimal("3.03")
    assert book.positions == {"A": Decimal(100)}


def test_a_closing_order_waits_for_the_close_and_a_sale_pays_in() -> None:
    sale = order(side=Side.SELL, limit_price=Decimal(90), time_in_force=TimeInForce.CLS, leg=Leg.CLOSE)
    book, news = exchange.open_session(send(book_at_first_close(A=100), sale), market(), DAYS[1], at=NOW)
    assert news == []
    book, news = exchange.close_session(book, market(), DAYS[1], at=NOW)
    assert kinds(news) == ["order_filled"]
    assert book.cash == Decimal(100_000) + Decimal(10_200) - Decimal("3.06")
    assert book.positions == {}


def test_the_auction_gives_a_thousandth_of_the_volume_in_order_of_arrival_and_the_rest_expires() -> None:
    thin = market(volume=[[1e6, 1e6], [150_900.0, 1e6], [1e6, 1e6]])
    book, news = exchange.open_session(send(book_at_first_close(), order("o1"), order("o2")), thin, DAYS[1], at=NOW)
    fills = {item.client_order_id: item.quantity for item in news if isinstance(item, e.OrderFilled)}
    assert fills == {"o1": Decimal(100), "o2": Decimal(50)}  # 150.9 shares are 150
    assert [item.client_order_id for item in news if isinstance(item, e.OrderExpired)] == ["o2"]
    assert book.orders["o2"].status is OrderStatus.EXPIRED


@pytest.mark.parametrize(
    ("side", "limit", "fills"), [(Side.BUY, "100.999999", False), (Side.BUY, "101", True), (Side.SELL, "101.000001", False)]
)
def test_a_limit_beyond_the_auction_does_not_fill(side: Side, limit: str, fills: bool) -> None:
    book = send(book_at_first_close(A=100), order(side=side, limit_price=Decimal(limit)))
    _, news = exchange.open_session(book, market(), DAYS[1], at=NOW)
    assert kinds(news) == (["order_filled"] if fills else ["order_expired"])


@pytest.mark.parametrize("field", ["open", "volume"])
def test_without_a_bar_or_its_volume_nothing_fills(field: str) -> None:
    nan = float("nan")
    absent = {"open": [[99.0, 39.0], [nan, 40.5], [103.0, 41.5]], "volume": [[1e6, 1e6], [nan, 1e6], [1e6, 1e6]]}
    _, news = exchange.open_session(send(book_at_first_close(), order()), market(**{field: absent[field]}), DAYS[1], at=NOW)
    assert kinds(news) == ["order_expired"]


def test_a_short_pays_borrow_on_its_last_close_and_the_dividend() -> None:
    paying = market(dividends=[[0.0, 0.0], [0.25, 0.5], [0.0, 0.0]])
    book, news = exchange.open_session(book_at_first_close(A=-200, B=100), paying, DAYS[1], at=NOW)
    lines = [(item.cash_kind.value, item.instrument_id, item.amount) for item in news if isinstance(item, e.CashPosted)]
    borrow = Decimal("-0.396825")  # 200 x 100 x 50 bp / 252
    assert lines == [("dividend", "A", Decimal(-50)), ("dividend", "B", Decimal(50)), ("borrow", "A", borrow)]
    assert book.cash == Decimal(100_000) + borrow


@pytest.mark.parametrize(
    ("held", "ratio", "after", "in_lieu"),
    [
        (101, 1.5, "151", "33.333334"),  # 151.5 shares: half a share at 100 / 1.5
        (-101, 1.5, "-151", "-33.333334"),
        (15, 0.1, "1", "500"),  # one for ten: half a share at 1000
        (300, 1.0 / 3.0, "100", "0"),  # a ratio without end in decimals loses no share
        (100, 2.0, "200", "0"),
    ],
)
def test_a_split_keeps_whole_shares_and_pays_the_fraction(held: int, ratio: float, after: str, in_lieu: str) -> None:
    splitting = market(split_ratios=[[1.0, 1.0], [ratio, 1.0], [1.0, 1.0]])
    book, news = exchange.open_session(book_at_first_close(A=held), splitting, DAYS[1], at=NOW)
    split = news[0]
    assert isinstance(split, e.SplitProcessed)
    assert (split.quantity_after, split.cash_in_lieu) == (Decimal(after), Decimal(in_lieu))
    assert book.positions["A"] == Decimal(after)
    assert book.cash - Decimal(100_000) - Decimal(in_lieu) == sum(i.amount for i in news if isinstance(i, e.CashPosted))


def test_an_order_in_old_shares_is_cancelled_at_a_split_and_cannot_turn_the_position_over() -> None:
    reverse = market(split_ratios=[[1.0, 1.0], [0.1, 1.0], [1.0, 1.0]], open=[[99.0, 39.0], [1010.0, 40.5], [1030.0, 41.5]])
    sale = order(side=Side.SELL, quantity=Decimal(1000), limit_price=Decimal(95), leg=Leg.CLOSE)
    book, news = exchange.open_session(send(book_at_first_close(A=1000), sale), reverse, DAYS[1], at=NOW)
    assert kinds(news) == ["order_canceled", "split_processed"]
    assert book.positions["A"] == Decimal(100)


def test_two_splits_in_a_row_price_borrow_in_the_newest_shares() -> None:
    nan = float("nan")
    twice = market(split_ratios=[[1.0, 1.0], [2.0, 1.0], [2.0, 1.0]], close=[[100.0, 40.0], [nan, 41.0], [26.0, 42.0]])
    book, _ = exchange.open_session(book_at_first_close(A=-100), twice, DAYS[1], at=NOW)
    book, _ = exchange.close_session(book, twice, DAYS[1], at=NOW)
    book, news = exchange.open_session(book, twice, DAYS[2], at=NOW)
    assert book.positions["A"] == Decimal(-400)
    assert book.last_close["A"] == Decimal(25)
    assert [item.amount for item in news if isinstance(item, e.CashPosted)] == [Decimal("-0.198413")]  # 400 x 25 x 50 bp / 252


def test_moving_the_market_twice_changes_nothing() -> None:
    opened, _ = exchange.open_session(send(book_at_first_close(B=-10), order()), market(), DAYS[1], at=NOW)
    assert exchange.open_session(opened, market(), DAYS[1], at=NOW) == (opened, [])
    closed, _ = exchange.close_session(opened, market(), DAYS[1], at=NOW)
    assert exchange.close_session(closed, market(), DAYS[1], at=NOW) == (closed, [])
    assert exchange.open_session(closed, market(), DAYS[0], at=NOW) == (closed, [])


def test_a_session_that_only_closes_was_open_too() -> None:
    splitting = market(split_ratios=[[1.0, 1.0], [2.0, 1.0], [1.0, 1.0]])
    book, news = exchange.close_session(book_at_first_close(A=-100), splitting, DAYS[1], at=NOW)
    assert kinds(news) == ["split_processed", "cash_posted"]
    assert (book.session, book.closed, book.positions["A"]) == (DAYS[1], True, Decimal(-200))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"session": DAYS[0]}, "session 2020-01-02 is over"),
        ({"instrument_id": "Z"}, "unknown instrument Z"),
        ({"quantity": Decimal(0)}, "quantity 0 is not positive"),
    ],
)
def test_a_late_or_impossible_order_is_rejected_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    book, news = exchange.submit(book_at_first_close(), order(**changes), "AB", at=NOW)
    assert isinstance(news[0], e.OrderRejected)
    assert news[0].reason == reason
    assert book.broker_seq == 8


def test_the_opening_auction_takes_no_order_once_it_is_over() -> None:
    opened, _ = exchange.open_session(book_at_first_close(), market(), DAYS[1], at=NOW)
    _, news = exchange.submit(opened, order(), "AB", at=NOW)
    assert kinds(news) == ["order_rejected"]
    _, news = exchange.submit(opened, order("o2", time_in_force=TimeInForce.CLS), "AB", at=NOW)
    assert kinds(news) == ["order_accepted"]


def test_an_id_is_taken_once_and_a_cancel_of_what_is_over_changes_nothing() -> None:
    book = send(book_at_first_close(), order())
    assert exchange.submit(book, order(quantity=Decimal(5)), "AB", at=NOW) == (book, [])
    book, news = exchange.cancel(book, "o1", at=NOW)
    assert kinds(news) == ["order_canceled"]
    assert exchange.cancel(book, "o1", at=NOW) == (book, [])
    assert exchange.cancel(book, "nobody", at=NOW) == (book, [])


def test_the_report_shows_what_is_held_and_open() -> None:
    book = send(book_at_first_close(A=100, B=0), order("o2"), order("o1"))
    answer = exchange.report(book, at=NOW)
    assert (answer.positions, answer.open_orders, answer.last_broker_seq) == ({"A": Decimal(100)}, ("o1", "o2"), 9)
    assert exchange.Market.row(market(), DAYS[2]) == 2
    with pytest.raises(KeyError):
        market().row("2020-01-04")


def test_news_is_numbered_without_gaps() -> None:
    rich = replace(market(dividends=[[0.0] * 2, [0.25, 0.5], [0.0] * 2], split_ratios=[[1.0] * 2, [2.0, 1.0], [1.0] * 2]))
    book = send(book_at_first_close(A=-100, B=50), order(), order("o2", instrument_id="B", symbol="B"))
    book, opened = exchange.open_session(book, rich, DAYS[1], at=NOW)
    book, closed = exchange.close_session(book, rich, DAYS[1], at=NOW)
    assert [item.broker_seq for item in (*opened, *closed)] == list(range(10, book.broker_seq + 1))
