"""The Alpaca adapter against a server with its own book: what each answer means, and that nothing is ever sent twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from hedgefund_core.errors import BrokerUnavailable, ConfigError, OrderOutcomeUnknown, OrderRejected
from hedgefund_core.trading.capabilities import to_tick
from hedgefund_core.trading.observed import UnknownUpdate
from hedgefund_core.trading.order import Leg, OrderType, Side, TimeInForce
from live_executor.brokers.alpaca.broker import order_body
from live_executor.brokers.alpaca.budget import Budget, Lane
from live_executor.brokers.alpaca.endpoints import read_endpoints
from tests.alpaca_server.acts import act
from tests.alpaca_server.faults import Fault
from tests.alpaca_server.server import AlpacaServer, Scenario
from tests.alpaca_server.support import an_order, broker_of, desk, listening, run
from tests.alpaca_server.trading import Settings

QUIET = Scenario(settings=Settings(autofill=False))
ROOT = Path(__file__).resolve().parents[2]

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
        (401, '{"message":"unauthorized."}', ConfigError),
        (401, "", ConfigError),
        (403, '{"message":"forbidden."}', ConfigError),
        (404, "nothing here", BrokerUnavailable),
        (307, "", BrokerUnavailable),
        (422, "not json", OrderOutcomeUnknown),
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
                assert msgspec.json.decode(body)["message"] in str(raised.value)
            assert "test-secret" not in str(raised.value)

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


def test_queries_are_asked_again_within_bounds() -> None:
    async def body() -> None:
        async with desk() as (server, broker):
            for kind in ("reset", "timeout"):
                server.faults.arm(Fault(kind=kind, route="GET /v2/account", seconds=5.0))
            assert (await broker.account()).cash == 100_000
            assert server.requests["GET /v2/account"] == 3
            server.faults.arm(Fault(kind="status", route="GET /v2/account", status=503, times=9))
            with pytest.raises(BrokerUnavailable):
                await broker.account()
            assert server.requests["GET /v2/account"] == 6

    run(body())


@pytest.mark.parametrize("kind", ["html", "empty", "truncated"])
def test_an_unreadable_answer_to_a_query_tells_nothing(kind: str) -> None:
    async def body() -> None:
        async with desk(Scenario(positions={"AAPL": (Decimal(3), Decimal(99))})) as (server, broker):
            for route, ask in (
                ("GET /v2/account", broker.account),
                ("GET /v2/positions", broker.positions),
                ("GET /v2/orders", broker.orders),
                ("GET /v2/clock", broker.market_clock),
            ):
                server.faults.arm(Fault(kind=kind, route=route, when="after"))
                with pytest.raises(BrokerUnavailable):
                    await ask()

    run(body())


def test_only_the_brokers_own_word_proves_absence() -> None:
    async def body() -> None:
        async with desk() as (server, broker):
            assert await broker.look_up("never-sent") is None
            page = "<html>404 not found</html>"
            server.faults.arm(Fault(kind="status", route="GET /v2/orders:by", status=404, body=page))
            with pytest.raises(BrokerUnavailable):
                await broker.look_up("never-sent")
            server.faults.arm(Fault(kind="status", route="GET /v2/orders:by", status=200, body='{"id":"x","client_order_id":"other"}'))
            with pytest.raises(BrokerUnavailable):
                await broker.look_up("never-sent")

    run(body())


def test_refused_keys_are_a_mistake_of_the_configuration() -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            server.scenario.secret = "changed"
            good = broker_of(server)
            server.scenario.secret = "test-secret"
            for ask in (good.account, good.positions, good.orders, good.cancel_all):
                with pytest.raises(ConfigError) as raised:
                    await ask()
                assert "changed" not in str(raised.value)
            await good.close()

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


# --------------------------------------------------------------------------------------------------------------- lists
def test_all_pages_of_orders_and_activities() -> None:
    async def body() -> None:
        async with desk(msgspec.structs.replace(QUIET, cash=Decimal(10**9))) as (server, broker):
            for n in range(1203):
                server.book.submit({"symbol": "AAPL", "side": "buy", "qty": "1", "type": "market", "client_order_id": f"n{n}"})
            assert {order.client_order_id for order in await broker.orders()} == {f"n{n}" for n in range(1203)}
            for order in list(server.book.orders.values())[:1100]:
                server.book.match(order)
            assert len(await broker.orders()) == 103
            now = server.clock.now()
            assert len(await broker.orders(since=now - timedelta(minutes=5))) == 1203
            assert len(await broker.orders(since=now + timedelta(minutes=5))) == 103
            lines = await broker.activities("")
            assert len(lines) == 1100
            assert [line.activity_id for line in lines] == sorted(line.activity_id for line in lines)
            assert len(await broker.activities(lines[-251].activity_id)) == 250
            assert await broker.activities(lines[-1].activity_id) == []

    run(body())


def test_a_row_that_cannot_be_read_hides_no_other_and_is_said() -> None:
    rows = '[{"id":"1","client_order_id":"a","status":"held_for_moonrise","qty":"1"},{"id":7,"qty":{}},{"id":"3","qty":"many"}]'

    async def body() -> None:
        async with desk() as (server, broker), listening(broker.updates()) as listener:
            await listener.until(lambda heard: len(heard) == 1)
            server.faults.arm(Fault(kind="status", route="GET /v2/orders", status=200, body=rows))
            found = await broker.orders()
            assert [(order.broker_order_id, order.status) for order in found] == [("1", "held_for_moonrise")]
            heard = await listener.until(lambda heard: sum(isinstance(update, UnknownUpdate) for update in heard) == 2)
            assert all(isinstance(update, UnknownUpdate) for update in heard[1:])

    run(body())


def test_a_position_that_cannot_be_read_is_no_answer_at_all() -> None:
    rows = '[{"symbol":"AAPL","qty":"5"},{"symbol":"MSFT","qty":null}]'

    async def body() -> None:
        async with desk() as (server, broker):
            server.faults.arm(Fault(kind="status", route="GET /v2/positions", status=200, body=rows))
            with pytest.raises(BrokerUnavailable):
                await broker.positions()

    run(body())


def test_account_positions_assets_clock_and_calendar() -> None:
    scenario = Scenario(
        positions={"AAPL": (Decimal(10), Decimal(95)), "KO": (Decimal(-4), Decimal(200))},
        assets={"KO": {"shortable": False}, "BRK.B": {}},
        hours="regular",
        now="2026-11-20T15:00:00+00:00",
    )

    async def body() -> None:
        async with desk(scenario) as (server, broker):
            held = {position.symbol: position for position in await broker.positions()}
            assert (held["AAPL"].quantity, held["KO"].quantity) == (10, -4)
            assert held["KO"].average_price == 200
            account = await broker.account()
            assert (account.status, account.trouble, account.multiplier) == ("ACTIVE", (), 4)
            act(server, {"do": "flags", "trading_blocked": True, "status": "ACCOUNT_CLOSED"})
            assert (await broker.account()).trouble == ("status ACCOUNT_CLOSED", "trading_blocked")
            clock = await broker.market_clock()
            assert clock.is_open
            assert clock.next_close == datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
            days = await broker.market_days("2026-11-20", "2026-11-24")
            assert [day.session for day in days] == ["2026-11-20", "2026-11-23", "2026-11-24"]
            assert days[0].opens_at == datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
            ko = await broker.asset("KO")
            assert ko is not None
            assert (ko.shortable, ko.easy_to_borrow) == (False, True)
            assert (await broker.asset("BRK.B")) is not None
            assert await broker.asset("NOPE") is None
            before = sum(server.requests.values())
            await broker.asset("KO")
            assert sum(server.requests.values()) == before, "assets are remembered"

    run(body())


def test_cash_lines_and_splits_are_activities() -> None:
    async def body() -> None:
        async with desk(Scenario(positions={"AAPL": (Decimal(10), Decimal(95))})) as (server, broker):
            act(server, {"do": "cash", "kind": "DIV", "amount": "12.50", "symbol": "AAPL", "qty": "10"})
            act(server, {"do": "cash", "kind": "FEE", "amount": "-0.02", "description": "TAF fee for proceed of 10 shares"})
            act(server, {"do": "split", "symbol": "AAPL", "ratio": "4"})
            lines = await broker.activities("")
            assert [(line.activity_type, line.net_amount) for line in lines[:2]] == [("DIV", Decimal("12.5")), ("FEE", Decimal("-0.02"))]
            assert [line.quantity for line in lines if line.activity_type == "SPLIT"] == [-10, 40]

    run(body())


# ------------------------------------------------------------------------------------------------------- requests out
def test_the_request_is_the_one_alpaca_documents() -> None:
    from alpaca.trading.enums import OrderSide, OrderStatus
    from alpaca.trading.enums import TimeInForce as TheirTimeInForce
    from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

    from hedgefund_core.trading import evidence

    ours = order_body(an_order(side=Side.SELL, quantity="15", limit="107.25", time_in_force=TimeInForce.OPG))
    theirs = LimitOrderRequest(
        symbol="AAPL", qty=15, side=OrderSide.SELL, time_in_force=TheirTimeInForce.OPG, limit_price=107.25, client_order_id="c1"
    ).to_request_fields()
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert Decimal(ours[key]) == Decimal(str(value)) if key in {"qty", "limit_price"} else ours[key] == getattr(value, "value", value)
    market = MarketOrderRequest(symbol="AAPL", qty=10, side=OrderSide.BUY, time_in_force=TheirTimeInForce.DAY, client_order_id="c1")
    assert order_body(an_order(limit=None)).keys() == market.to_request_fields().keys()
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
    assert order_body(an_order(side=side, limit=price))["limit_price"] == format(Decimal(expected).normalize(), "f")


def test_numbers_leave_as_plain_text() -> None:
    body = order_body(an_order(quantity="1E+2", limit="1E+2"))
    assert (body["qty"], body["limit_price"]) == ("100", "100")
    assert "limit_price" not in order_body(an_order(limit=None, order_type=OrderType.MARKET))


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


def test_who_goes_first_when_all_have_to_wait() -> None:
    async def body() -> None:
        budget, went = Budget(now=lambda: 0.0, most_in_flight=8), list[str]()
        for _ in range(8):
            await budget.enter(Lane.CANCEL, 1.0)

        async def ask(lane: Lane, name: str) -> None:
            await budget.enter(lane, 2.0)
            went.append(name)
            budget.leave()

        tasks = [
            asyncio.create_task(ask(lane, name))
            for lane, name in ((Lane.ENTER, "entry"), (Lane.REDUCE, "exit"), (Lane.READ, "read"), (Lane.CANCEL, "cancel"))
        ]
        await asyncio.sleep(0)
        for _ in range(8):
            budget.leave()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        assert went == ["cancel", "read", "exit", "entry"]
        assert budget.in_flight == 0

    run(body())


def test_pauses_after_refusals_grow_but_not_for_cancels() -> None:
    async def body() -> None:
        budget = Budget(now=lambda: 1000.0)
        for _ in range(6):
            budget.refused({})
        assert budget.delay(Lane.READ) > 14
        assert budget.delay(Lane.CANCEL) <= 1.0
        budget.refused({"X-RateLimit-Reset": "1030"})
        assert 29 < budget.delay(Lane.CANCEL) < 31
        budget.in_flight += 1
        budget.leave({"X-RateLimit-Limit": "200", "X-RateLimit-Remaining": "199", "X-RateLimit-Reset": "1060"})
        assert budget.available(Lane.ENTER) == 159
        assert budget.available(Lane.CANCEL) == 199

    run(body())


def test_a_waiter_that_gives_up_keeps_no_place() -> None:
    async def body() -> None:
        budget = Budget(now=lambda: 0.0, most_in_flight=1)
        await budget.enter(Lane.CANCEL, 1.0)
        with pytest.raises(BrokerUnavailable):
            await budget.enter(Lane.CANCEL, 0.01)
        waiting = asyncio.create_task(budget.enter(Lane.CANCEL, 5.0))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        budget.leave()
        assert (budget.in_flight, budget.delay(Lane.CANCEL)) == (0, 0.0)

    run(body())


# ----------------------------------------------------------------------------------------------------------- addresses
def test_addresses_of_the_environment() -> None:
    keys = {"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "very-secret"}
    paper = read_endpoints(keys)
    assert (paper.trading, paper.data) == ("https://paper-api.alpaca.markets", "https://data.alpaca.markets")
    assert paper.trading_stream == "wss://paper-api.alpaca.markets/stream"
    assert paper.data_stream == "wss://stream.data.alpaca.markets/v2/iex"
    assert "very-secret" not in repr(paper)
    live = read_endpoints(keys, live=True)
    assert (live.trading, live.trading_stream) == ("https://api.alpaca.markets", "wss://api.alpaca.markets/stream")
    own = read_endpoints(keys | {"ALPACA_TRADING_URL": "http://127.0.0.1:9000/v2/", "ALPACA_DATA_STREAM_URL": "ws://127.0.0.1:9000/v2/sip"})
    assert (own.trading, own.trading_stream, own.feed) == ("http://127.0.0.1:9000", "ws://127.0.0.1:9000/stream", "sip")
    assert own.holder != paper.holder


@pytest.mark.parametrize(
    "env",
    [
        {"ALPACA_API_KEY": ""},
        {"ALPACA_SECRET_KEY": ""},
        {"ALPACA_TRADING_URL": "https://api.alpaca.markets"},
        {"ALPACA_TRADING_STREAM_URL": "wss://api.alpaca.markets/stream"},
        {"ALPACA_TRADING_URL": "paper-api.alpaca.markets"},
        {"ALPACA_DATA_STREAM_URL": "http://127.0.0.1:1/v2/iex"},
        {"ALPACA_DATA_URL": "http://127.0.0.1:notaport"},
    ],
)
def test_a_wrong_address_or_a_live_one_not_asked_for_is_refused(env: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(env))):
        read_endpoints({"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "s"} | env)


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
