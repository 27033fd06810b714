"""What is asked of Alpaca, and where: pages, rows that cannot be read, absence, refused keys, addresses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from hedgefund_core.errors import BrokerUnavailable, ConfigError
from hedgefund_core.trading.observed import UnknownUpdate
from live_executor.brokers.alpaca import queries
from live_executor.brokers.alpaca.endpoints import read_endpoints
from live_executor.brokers.alpaca.queries import MANY_ASSETS
from tests.alpaca_server.acts import act
from tests.alpaca_server.faults import Fault
from tests.alpaca_server.server import AlpacaServer, Scenario
from tests.alpaca_server.support import broker_of, desk, listening, run
from tests.alpaca_server.trading import Settings

QUIET = Scenario(settings=Settings(autofill=False))


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


def test_a_server_with_smaller_pages_than_asked_for_hides_nothing() -> None:
    """Fifty orders are no end of the list only because five hundred were asked for."""

    async def body() -> None:
        small = Scenario(cash=Decimal(10**9), settings=Settings(autofill=False, page_most=50))
        async with desk(small) as (server, broker):
            for n in range(120):
                server.book.submit({"symbol": "AAPL", "side": "buy", "qty": "1", "type": "market", "client_order_id": f"n{n}"})
            assert len(await broker.orders()) == 120
            for order in list(server.book.orders.values()):
                server.book.match(order)
            assert len(await broker.activities("")) == 120

    run(body())


def test_a_time_that_cannot_be_read_ends_no_query() -> None:
    row = '{"id":"1","client_order_id":"c","qty":"1","status":"new",%s}'
    times = (('"submitted_at":"yesterday"', []), ('"submitted_at":"0001-01-01T00:00:00Z"', ["c"]), ('"updated_at":"soon"', []))

    async def body() -> None:
        async with desk() as (server, broker):
            for since in (None, server.clock.now()):
                for when, readable in times:
                    asked = 1 if since is None else 2
                    server.faults.arm(Fault(kind="status", route="GET /v2/orders", status=200, body=f"[{row % when}]", times=asked))
                    assert [order.client_order_id for order in await broker.orders(since=since)] == readable
            server.faults.arm(Fault(kind="status", route="GET /v2/clock", status=200, body='{"timestamp":"soon","is_open":true}', times=3))
            with pytest.raises(BrokerUnavailable, match="soon"):
                await broker.market_clock()

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
            act(server, {"do": "flags", "status": "PAPER_ONLY"})
            assert (await broker.account()).trouble == (), "that it may trade no money is the live address's to say"
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


@pytest.mark.parametrize("status", [0, 404, 503])
def test_many_names_are_one_question_and_where_the_list_cannot_be_had_one_each(status: int) -> None:
    names = [f"N{n:02d}" for n in range(30)]

    async def body() -> None:
        async with desk(Scenario(assets={name: {} for name in names})) as (server, broker):
            for name in names[: MANY_ASSETS - 1]:
                assert (await broker.asset(name)) is not None
            if status:
                server.faults.arm(Fault(kind="status", route="GET /v2/assets", status=status, times=1 if status == 404 else 3))
            for name in names[MANY_ASSETS - 1 :]:
                assert (await broker.asset(name)) is not None
            singles = sum(count for route, count in server.requests.items() if route.startswith("GET /v2/assets/"))
            assert singles == (len(names) if status else MANY_ASSETS - 1)

    run(body())


def test_what_a_smaller_server_does_not_have_is_made_up_for() -> None:
    """No clock, half a clock, no list of assets, an asset that does not say whether it trades, hours over midnight."""
    noon = Scenario(hours="regular", now="2026-11-20T15:00:00+00:00")
    late = '[{"date":"2026-11-20","open":"21:30","close":"03:30"}]'

    async def body() -> None:
        async with desk(noon) as (server, broker):
            whole = await broker.market_clock()
            half = '{"timestamp":"2026-11-20T15:00:00Z","is_open":true,"next_open":null}'
            server.faults.arm(Fault(kind="status", route="GET /v2/clock", status=200, body=half))
            found = await broker.market_clock()
            assert (found.is_open, found.next_open, found.next_close) == (whole.is_open, whole.next_open, whole.next_close)
            server.faults.arm(Fault(kind="status", route="GET /v2/clock", status=404, body="404 page not found"))
            ours = await broker.market_clock()
            assert ours.is_open == (ours.next_close < ours.next_open)
            assert ours.next_open > ours.at
            server.faults.arm(Fault(kind="status", route="GET /v2/clock", status=404, body="none"))
            server.faults.arm(Fault(kind="status", route="GET /v2/calendar", status=404, body="none"))
            with pytest.raises(BrokerUnavailable, match="the clock does not say is_open, next_open, next_close, and the calendar"):
                await broker.market_clock()
            server.faults.arm(Fault(kind="status", route="GET /v2/clock", status=200, body=half))
            server.faults.arm(Fault(kind="status", route="GET /v2/calendar", status=200, body="[]"))
            with pytest.raises(BrokerUnavailable, match="the clock does not say next_open, next_close, and the calendar"):
                await broker.market_clock()
            server.faults.arm(Fault(kind="status", route="GET /v2/calendar", status=200, body=late))
            (day,) = await broker.market_days("2026-11-20", "2026-11-20")
            assert day.closes_at - day.opens_at == timedelta(hours=6)
            server.faults.arm(Fault(kind="status", route="GET /v2/assets", status=404, body='{"message":"no such page"}', times=2))
            mine = await broker.asset("ANY")
            assert mine is not None
            assert (mine.tradable, mine.shortable, mine.asset_id) == (True, False, "")
            server.faults.arm(Fault(kind="status", route="GET /v2/assets/HALF", status=200, body='{"symbol":"HALF","status":"ACTIVE"}'))
            half_said = await broker.asset("HALF")
            assert half_said is not None
            assert half_said.tradable
            server.faults.arm(Fault(kind="status", route="GET /v2/assets/GONE", status=200, body='{"symbol":"GONE","status":"inactive"}'))
            gone = await broker.asset("GONE")
            assert gone is not None
            assert not gone.tradable

    run(body())


def test_a_page_that_is_not_implemented_is_one_that_is_not_there() -> None:
    async def body() -> None:
        async with desk(Scenario(hours="regular", now="2026-11-20T15:00:00+00:00")) as (server, broker):
            whole = await broker.market_clock()
            server.faults.arm(Fault(kind="status", route="GET /v2/clock", status=501, body="not implemented", times=3))
            ours = await broker.market_clock()
            assert ours.at != whole.at, "this computer's time"
            assert (await broker.market_days("2026-11-20", "2026-11-20")) != []

    run(body())


def test_names_that_are_in_the_list_only_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with desk(Scenario(assets={"KO": {"shortable": False}, "PEP": {}})) as (server, broker):
            for symbol in ("KO", "NONE", "PEP"):
                missing = '{"code":40410000,"message":"asset not found"}'
                server.faults.arm(Fault(kind="status", route=f"GET /v2/assets/{symbol}", status=404, body=missing, times=9))
            for _ in range(2):
                found = {symbol: await broker.asset(symbol) for symbol in ("NONE", "KO", "PEP")}
                assert {symbol: asset and asset.shortable for symbol, asset in found.items()} == {"KO": False, "PEP": True, "NONE": None}
                monkeypatch.setattr(queries, "ASSET_EXPIRY", timedelta(0))
            assert server.requests["GET /v2/assets"] == 3

    run(body())


def test_cash_lines_and_splits_are_activities() -> None:
    async def body() -> None:
        async with desk(Scenario(positions={"AAPL": (Decimal(10), Decimal(95))})) as (server, broker):
            act(server, {"do": "cash", "kind": "DIV", "amount": "12.50", "symbol": "AAPL", "qty": "10"})
            act(server, {"do": "cash", "kind": "FEE", "amount": "-0.02", "description": "TAF fee for proceed of 10 shares"})
            for status in ("canceled", "pending"):
                act(server, {"do": "cash", "kind": "CSD", "amount": "5"})
                server.book.activities[-1]["status"] = status
            act(server, {"do": "split", "symbol": "AAPL", "ratio": "4"})
            lines = await broker.activities("")
            assert [(line.activity_type, line.net_amount) for line in lines[:2]] == [("DIV", Decimal("12.5")), ("FEE", Decimal("-0.02"))]
            assert [line.quantity for line in lines[2:]] == [-10, 40]

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
    quoted = read_endpoints({name: f' "{value}" ' for name, value in keys.items()} | {"ALPACA_TRADING_URL": "'http://127.0.0.1:9000/'"})
    assert (quoted.api_key, quoted.secret_key, quoted.trading) == ("k", "very-secret", "http://127.0.0.1:9000")
    with pytest.raises(ConfigError, match="ALPACA_DATA_URL") as raised:
        read_endpoints(keys | {"ALPACA_DATA_URL": "https://me:hidden@127.0.0.1:9000"})
    assert "hidden" not in f"{raised.value} {raised.value.mend}"


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
