"""The Alpaca adapter against a server with its own book: what each answer means, and that nothing is ever sent twice."""

from __future__ import annotations

import subprocess
import sys
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgefund_core.errors import BrokerUnavailable, ConfigError, OrderOutcomeUnknown, OrderRejected
from hedgefund_core.trading.capabilities import to_tick
from hedgefund_core.trading.order import Leg, Order, OrderType, Side, TimeInForce
from live_executor.brokers.alpaca import transport
from live_executor.brokers.alpaca.broker import order_body
from live_executor.brokers.alpaca.budget import Lane
from tests.alpaca_server.faults import Fault
from tests.alpaca_server.server import AlpacaServer, Scenario
from tests.alpaca_server.support import an_order, broker_of, desk, run
from tests.alpaca_server.trading import Settings

QUIET = Scenario(settings=Settings(autofill=False))
ROOT = Path(__file__).resolve().parents[2]


def body_of(order: Order) -> dict[str, str]:
    """What leaves."""
    return msgspec.json.decode(order_body(order), type=dict[str, str])


UNKNOWN = [
    ("timeout", {"seconds": 5.0}),
    ("reset", {}),
    ("status", {"status": 500}),
    ("status", {"status": 502}),
    ("status", {"status": 503, "body": "<html>busy</html>"}),
    ("status", {"status": 504}),
    ("status", {"status": 408}),
    ("status", {"status": 403, "body": "<html>who are you</html>"}),
    ("html", {}),
    ("empty", {}),
    ("truncated", {}),
    ("slow", {"seconds": 20.0}),
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("kind", "more"), UNKNOWN, ids=lambda value: value if isinstance(value, str) else str(value.get("status", "")))
def test_no_clear_answer_is_unknown_and_the_broker_has_one_order_at_most(kind: str, more: dict[str, object], when: str) -> None:
    async def body() -> None:
        async with desk(QUIET) as (server, broker):
            await broker.account()  # from here on the connection is a kept one, which libraries like to try again
            server.faults.arm(Fault(kind=kind, route="POST /v2/orders", when=when, **more))
            with pytest.raises(OrderOutcomeUnknown):
                await broker.submit(an_order())
            accepted = when == "after"
            assert server.requests["POST /v2/orders"] == 1, "a POST must never leave twice by itself"
            found = await broker.look_up("c1")
            assert (found is not None) == accepted
            again = await broker.submit(an_order())
            assert again.client_order_id == "c1"
            assert len(server.book.orders) == 1

    run(body())


def test_an_order_that_may_not_leave_any_more_is_surely_not_sent() -> None:
    async def body() -> None:
        async with desk(QUIET) as (server, broker):
            with pytest.raises(BrokerUnavailable, match="may not leave"):
                await broker.submit(an_order(), may_leave=lambda: False)
            assert (server.requests["POST /v2/orders"], broker.budget.in_flight) == (0, 0)
            assert (await broker.submit(an_order(), may_leave=lambda: True)).status == "pending_new"

    run(body())


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0.2"}, {"X-RateLimit-Limit": "200", "X-RateLimit-Remaining": "0"}])
def test_too_many_requests_is_surely_not_done_and_the_pause_is_kept(headers: dict[str, str]) -> None:
    async def body() -> None:
        async with desk(QUIET) as (server, broker):
            server.faults.arm(Fault(kind="status", route="POST /v2/orders", status=429, headers=headers))
            with pytest.raises(BrokerUnavailable):
                await broker.submit(an_order())
            assert server.book.orders == {}
            assert broker.budget.delay(Lane.CANCEL) > 0.1
            if "Retry-After" in headers:
                assert broker.budget.delay(Lane.CANCEL) <= 0.2
                assert (await broker.submit(an_order())).status == "pending_new"

    run(body())


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (422, '{"code":42210000,"message":"invalid limit_price"}', OrderRejected),
        (403, '{"code":40310000,"message":"insufficient buying power","buying_power":"1"}', OrderRejected),
        (400, '{"code":40010000,"message":"request body format is invalid"}', OrderRejected),
        (401, '{"message":"unauthorized."}', BrokerUnavailable),  # once, while queries are answered: a mistake
        (401, "", BrokerUnavailable),
        (403, '{"message":"forbidden."}', BrokerUnavailable),
        (403, '{"error":"insufficient funds"}', OrderRejected),
        (403, '{"code":"40310000","message":{"text":"no funds"}}', OrderRejected),
        (403, '{"code":40310000,"buying_power":"0"}', OrderRejected),
        (404, '{"code":40410000,"message":"asset not found"}', OrderRejected),
        (404, "nothing here", BrokerUnavailable),
        (307, "", BrokerUnavailable),
        (422, "not json", OrderOutcomeUnknown),
        pytest.param(422, '{"message":' + "[" * 100_000, OrderOutcomeUnknown, id="a deep refusal"),
        pytest.param(200, '{"id":' + "[" * 100_000, OrderOutcomeUnknown, id="a deep order"),
    ],
)
def test_what_the_other_answers_mean(status: int, body: str, error: type[Exception]) -> None:
    async def scene() -> None:
        async with desk(QUIET) as (server, broker):
            headers = {"Location": "http://127.0.0.1:9/"} if status == 307 else {}
            server.faults.arm(Fault(kind="status", route="POST /v2/orders", status=status, body=body, headers=headers))
            with pytest.raises(error) as raised:
                await broker.submit(an_order())
            if error is OrderRejected:
                words = next(value for key, value in msgspec.json.decode(body).items() if key != "code")
                assert (words["text"] if isinstance(words, dict) else words) in str(raised.value)
            assert server.book.orders == {}
            assert "test-secret" not in str(raised.value)

    run(scene())


def test_an_answer_without_end_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_LARGEST", 10_000)

    async def scene() -> None:
        async with desk(QUIET) as (server, broker):
            server.faults.arm(Fault(kind="status", route="POST /v2/orders", when="after", status=200, body=" " * 20_000))
            with pytest.raises(OrderOutcomeUnknown, match="more than"):
                await broker.submit(an_order())
            assert await broker.look_up(an_order().client_order_id) is not None

    run(scene())


def test_keys_that_are_refused_for_orders_only_are_believed_the_third_time() -> None:
    async def scene() -> None:
        async with desk(QUIET) as (server, broker):
            server.faults.arm(Fault(kind="status", route="POST /v2/orders", status=401, times=5))
            for error in (BrokerUnavailable, BrokerUnavailable, ConfigError):
                with pytest.raises(error):
                    await broker.submit(an_order())
            server.faults.arm(Fault(kind="status", route="GET /v2/account", status=401, times=2))
            assert (await broker.account()).cash == 100_000

    run(scene())


def test_a_refused_connection_is_surely_not_done() -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            broker = broker_of(server)
        with pytest.raises(BrokerUnavailable):
            await broker.submit(an_order())
        with pytest.raises(BrokerUnavailable):
            await broker.account()
        await broker.close()

    run(body())


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"symbol": "NOPE"}, "not found"),
        ({"quantity": "5000"}, "buying power"),
        ({"symbol": "KO", "side": Side.SELL, "limit": "10"}, "sold short"),
        ({"symbol": "MSFT", "side": Side.SELL, "quantity": "50", "limit": "100"}, "insufficient qty"),
        ({"symbol": "JPM", "side": Side.SELL, "limit": "1"}, "wash trade"),
        ({"quantity": "1.5"}, "fractional"),
    ],
)
def test_the_broker_says_why_it_refuses(order: dict[str, object], words: str) -> None:
    scenario = msgspec.structs.replace(QUIET, assets={"KO": {"easy_to_borrow": False}}, positions={"MSFT": (Decimal(10), Decimal(90))})

    async def body() -> None:
        async with desk(scenario) as (server, broker):
            await broker.submit(an_order("resting", "JPM", quantity="1", limit="10"))
            with pytest.raises(OrderRejected, match=words):
                await broker.submit(an_order(**order))
            assert set(server.book.by_client) == {"resting"}

    run(body())


@pytest.mark.parametrize("words", ["Duplicate clientOrderId", "order with client-order-id x already exists"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_other_words_for_an_id_that_is_taken_are_believed_where_the_broker_shows_the_order(words: str, when: str) -> None:
    async def body() -> None:
        async with desk(QUIET) as (server, broker):
            refusal = msgspec.json.encode({"message": words}).decode()
            server.faults.arm(Fault(kind="status", route="POST /v2/orders", when=when, status=422, body=refusal))
            if when == "after":
                assert (await broker.submit(an_order())).client_order_id == an_order().client_order_id
            else:
                with pytest.raises(OrderRejected, match=words):
                    await broker.submit(an_order())

    run(body())


def test_an_id_that_is_taken_gives_back_the_order_that_has_it() -> None:
    async def body() -> None:
        async with desk(QUIET) as (server, broker):
            first, second = await broker.submit(an_order()), await broker.submit(an_order())
            assert first.broker_order_id == second.broker_order_id
            server.faults.arm(Fault(kind="status", route="GET /v2/orders:by", status=503, times=3))
            with pytest.raises(OrderOutcomeUnknown):
                await broker.submit(an_order())
            assert len(server.book.orders) == 1

    run(body())


# ------------------------------------------------------------------------------------------------------------- cancels
def test_cancels() -> None:
    async def body() -> None:
        async with desk(QUIET) as (server, broker):
            order = an_order()
            await broker.cancel(order)  # never sent: no error
            sent = await broker.submit(order)
            await broker.cancel(order)  # the broker's id is not known: looked up
            assert server.book.orders[sent.broker_order_id].status == "canceled"
            known = an_order(broker_order_id=sent.broker_order_id)
            await broker.cancel(known)  # over already: no error
            await broker.cancel(an_order(broker_order_id="00000000-0000-0000-0000-000000000000"))
            for name in ("a", "b", "c"):
                await broker.submit(an_order(name))
            await broker.cancel_all()
            assert await broker.orders() == []

    run(body())


def test_a_cancel_that_is_acknowledged_and_not_done_is_seen_by_query() -> None:
    async def body() -> None:
        async with desk(QUIET) as (server, broker):
            sent = await broker.submit(an_order())
            server.faults.arm(Fault(kind="cancel_stays_open", target="order", times=2))
            await broker.cancel(an_order(broker_order_id=sent.broker_order_id))
            await broker.cancel_all()
            assert [order.client_order_id for order in await broker.orders()] == ["c1"]

    run(body())


@pytest.mark.parametrize(("kind", "more"), [("reset", {}), ("status", {"status": 503}), ("status", {"status": 429})])
def test_a_cancel_is_asked_for_again(kind: str, more: dict[str, int]) -> None:
    async def body() -> None:
        async with desk(QUIET) as (server, broker):
            sent = await broker.submit(an_order())
            headers = {"Retry-After": "0.1"}
            server.faults.arm(Fault(kind=kind, route="DELETE", headers=headers, **more))
            await broker.cancel(an_order(broker_order_id=sent.broker_order_id))
            assert await broker.orders() == []

    run(body())


# ------------------------------------------------------------------------------------------------------- requests out
def test_the_request_is_the_one_alpaca_documents() -> None:
    from alpaca.trading.enums import OrderSide, OrderStatus
    from alpaca.trading.enums import TimeInForce as TheirTimeInForce
    from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

    from hedgefund_core.trading import evidence

    ours = body_of(an_order(side=Side.SELL, quantity="15", limit="107.25", time_in_force=TimeInForce.OPG))
    theirs = LimitOrderRequest(
        symbol="AAPL", qty=15, side=OrderSide.SELL, time_in_force=TheirTimeInForce.OPG, limit_price=107.25, client_order_id="c1"
    ).to_request_fields()
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert Decimal(ours[key]) == Decimal(str(value)) if key in {"qty", "limit_price"} else ours[key] == getattr(value, "value", value)
    market = MarketOrderRequest(symbol="AAPL", qty=10, side=OrderSide.BUY, time_in_force=TheirTimeInForce.DAY, client_order_id="c1")
    assert body_of(an_order(limit=None)).keys() == market.to_request_fields().keys()
    assert {status.value for status in OrderStatus} <= evidence._STATUSES, "every documented word is understood"


@pytest.mark.parametrize(
    ("price", "side", "expected"),
    [
        ("99.89999999999999", Side.BUY, "99.89"),
        ("99.891", Side.SELL, "99.90"),
        ("99.90", Side.BUY, "99.90"),
        ("0.99999", Side.BUY, "0.9999"),
        ("0.12341", Side.SELL, "0.1235"),
        ("1.005", Side.SELL, "1.01"),
    ],
)
def test_prices_are_on_the_tick_and_never_worse(price: str, side: Side, expected: str) -> None:
    assert to_tick(Decimal(price), up=side is Side.SELL) == Decimal(expected)
    assert Decimal(body_of(an_order(side=side, limit=price))["limit_price"]) == Decimal(expected)


numbers = st.builds("{}E{}".format, st.integers(1, 10**9), st.integers(-9, 9))
"""Also with zeros at their end, far below a tick, and of more shares than there are."""


@settings(max_examples=50)
@given(symbol=st.sampled_from(["A", 'Q"\\', "BRK.B", "Ä\n"]), side=st.sampled_from(Side), quantity=numbers, limit=numbers)
def test_a_body_says_what_exact_arithmetic_says_in_plain_text(symbol: str, side: Side, quantity: str, limit: str) -> None:
    tick = Decimal("0.01") if Decimal(limit) >= 1 else Decimal("0.0001")
    ticks = int((Decimal(limit) / tick).to_integral_value(ROUND_CEILING if side is Side.SELL else ROUND_FLOOR))
    assert body_of(an_order(symbol=symbol, side=side, quantity=quantity, limit=limit)) == {
        "symbol": symbol, "side": side, "type": "limit", "time_in_force": "day", "client_order_id": "c1",
        "qty": format(Decimal(quantity).normalize(), "f"), "limit_price": format(max(ticks, 1) * tick, "f"),
    }  # fmt: skip


def test_a_market_order_leaves_without_a_price() -> None:
    assert "limit_price" not in body_of(an_order(limit=None, order_type=OrderType.MARKET))


# ------------------------------------------------------------------------------------------------------------ the limit
def test_entries_leave_a_fifth_of_the_limit_to_cancels() -> None:
    async def body() -> None:
        async with desk(msgspec.structs.replace(QUIET, rate_limit=20)) as (server, broker):
            sent = [(await broker.submit(an_order("n0"))).broker_order_id]
            while (left := broker.budget.available(Lane.ENTER)) is None or left > 0:
                sent.append((await broker.submit(an_order(f"n{len(sent)}"))).broker_order_id)
            with pytest.raises(BrokerUnavailable, match="no request is allowed"):
                await broker.submit(an_order("too-many"))
            assert 14 <= len(sent) <= 17, "four of twenty are kept back"
            assert server.faults.taken == {}
            for broker_order_id in sent[:3]:
                await broker.cancel(an_order(broker_order_id=broker_order_id))
            assert sum(order.status == "canceled" for order in server.book.orders.values()) == 3

    run(body())


def test_the_trading_process_stays_small() -> None:
    script = (
        "import sys, aiohttp\n"
        "import live_executor.brokers.alpaca.broker, live_executor.feeds.alpaca\n"
        "assert not {'pandas', 'alpaca', 'requests'} & sys.modules.keys()\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) / 1024 <= 120


def test_reductions_go_before_entries() -> None:
    from live_executor.brokers.alpaca.broker import lane_of

    assert lane_of(an_order(leg=Leg.CLOSE)) is Lane.REDUCE
    assert lane_of(an_order()) is Lane.ENTER
