"""Prices, bars and announced splits by query: what a smaller or a broken server still gives."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from hedgefund_core.errors import DataUnavailable
from hedgefund_core.trading.observed import Channel
from tests.alpaca_server.acts import act
from tests.alpaca_server.faults import Fault
from tests.alpaca_server.server import AlpacaServer, Scenario
from tests.alpaca_server.support import feed_of, run


def test_the_latest_price_is_a_quote_else_a_trade_else_a_bar() -> None:
    async def body() -> None:
        scenario = Scenario(bars={"OLD": {"2026-11-19": Decimal("12.5")}}, assets={"OLD": {}})
        async with AlpacaServer(scenario) as server:
            feed = feed_of(server)
            server.book.quotes["KO"] = (Decimal(0), Decimal("60.02"))
            server.market.quoteless.add("MSFT")
            found = {quote.symbol: quote for quote in await feed.latest(["AAPL", "MSFT", "KO", "OLD", "NOPE"])}
            assert (found["AAPL"].bid, found["AAPL"].ask, found["AAPL"].source) == (Decimal("99.99"), Decimal("100.01"), "quote")
            assert (found["MSFT"].source, found["MSFT"].last) == ("trade", Decimal(110))
            assert found["KO"].source == "trade", "a one-sided quote is no price"
            assert (found["OLD"].source, found["OLD"].last) == ("bar", Decimal("12.5"))
            assert "NOPE" not in found
            assert found["AAPL"].channel is Channel.QUERY
            await feed.close()

    run(body())


def test_a_list_that_is_missing_or_spoilt_hides_no_price() -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            feed = feed_of(server)
            server.market.quoteless.add("MSFT")
            for route in ("trades", "snapshots"):
                server.faults.arm(Fault(kind="status", route=f"GET /v2/stocks/{route}", status=404, body="no such thing", times=99))
            assert [quote.symbol for quote in await feed.latest(["AAPL", "MSFT"])] == ["AAPL"]
            body = '{"quotes":{"AAPL":{"t":"?","bp":[]},"KO":{"t":"2026-11-20T15:00:00Z","bp":"1.5","ap":1.6},"X":null},"feed":"iex"}'
            server.faults.arm(Fault(kind="status", route="GET /v2/stocks/quotes", status=200, body=body))
            (quote,) = await feed.latest(["AAPL", "KO"])
            assert (quote.symbol, quote.bid, quote.ask) == ("KO", Decimal("1.5"), Decimal("1.6"))
            await feed.close()

    run(body())


def test_all_pages_of_daily_bars() -> None:
    async def body() -> None:
        days = [f"2026-11-{day:02d}" for day in range(2, 21)]
        scenario = Scenario(bars={symbol: {day: Decimal(n + 10) for n, day in enumerate(days)} for symbol in ("AAPL", "KO", "MSFT")})
        async with AlpacaServer(scenario) as server:
            server.market.page_size = 7
            feed = feed_of(server)
            bars = await feed.daily_bars(["AAPL", "KO", "MSFT"], days[3], days[-1])
            assert len(bars) == 3 * (len(days) - 3)
            assert [bar.at for bar in bars] == sorted(bar.at for bar in bars)
            assert bars[0].at == datetime(2026, 11, 5, 21, 0, tzinfo=UTC), "a daily bar ends at the regular close"
            assert (bars[0].close, bars[0].resolution) == (13.0, "1d")
            again = '{"bars":{"AAPL":[{"t":"2026-11-05T05:00:00Z","o":1,"h":1,"l":1,"c":1}]},"next_page_token":"the same"}'
            server.faults.arm(Fault(kind="status", route="GET /v2/stocks/bars", status=200, body=again, times=9))
            assert len(await feed.daily_bars(["AAPL"], days[3], days[-1])) == 2, "a page that names itself is the last one"
            await feed.close()

    run(body())


def test_announced_splits() -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            feed = feed_of(server)
            for symbol, day, new, old in (("AAPL", "2026-11-23", 4, 1), ("KO", "2026-11-20", 1, 10), ("MSFT", "2026-12-30", 2, 1)):
                act(server, {"do": "announce", "symbol": symbol, "ex_date": day, "new_rate": new, "old_rate": old})
            act(server, {"do": "announce", "symbol": "AMZN", "ex_date": "2026-11-23", "new_rate": 3, "old_rate": 0})
            found = await feed.splits(["AAPL", "KO", "MSFT", "AMZN"], "2026-11-20", "2026-11-27")
            assert [(split.symbol, split.ratio, split.session) for split in found] == [
                ("KO", Decimal("0.1"), "2026-11-20"),
                ("AAPL", Decimal(4), "2026-11-23"),
            ]
            good = '{"symbol":"KO","ex_date":"2026-11-20","new_rate":1,"old_rate":10}'
            odd = (
                good.replace("2026-11-20", "soon"),
                good.replace(":10", ":null"),
                good.replace(":10", ":1e-30"),
                good.replace(":1,", ':"NaN",'),
            )
            page = f'{{"corporate_actions":{{"forward_splits":[7,{",".join(odd)},{good}]}}}}'
            server.faults.arm(Fault(kind="status", route="GET /v1/corporate-actions", status=200, body=page))
            assert [split.session for split in await feed.splits(["KO"], "2026-11-20", "2026-11-27")] == ["2026-11-20"]
            await feed.close()

    run(body())


@pytest.mark.parametrize("kind", ["html", "empty", "truncated", "reset"])
def test_a_vendor_that_does_not_answer(kind: str) -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            feed = feed_of(server)
            server.faults.arm(Fault(kind=kind, route="GET /v2/stocks", when="after", times=99))
            with pytest.raises(DataUnavailable):
                await feed.latest(["AAPL"])
            with pytest.raises(DataUnavailable):
                await feed.daily_bars(["AAPL"], "2026-11-02", "2026-11-20")
            await feed.close()

    run(body())


def test_a_server_with_snapshots_alone_has_prices() -> None:
    named = '{"snapshots":{"AAPL":{"latestQuote":null,"latestTrade":{"t":"2026-11-20T15:00:00Z","p":55.5}},"MSFT":7}}'

    async def body() -> None:
        async with AlpacaServer() as server:
            feed = feed_of(server)
            for source in ("quotes", "trades", "bars"):
                server.faults.arm(Fault(kind="status", route=f"GET /v2/stocks/{source}/latest", status=404, body="none", times=2))
            (quote,) = await feed.latest(["AAPL"])
            assert quote.bid is not None
            server.faults.arm(Fault(kind="status", route="GET /v2/stocks/snapshots", status=200, body=named))
            (trade,) = await feed.latest(["AAPL", "MSFT"])
            assert (trade.symbol, trade.last, trade.source) == ("AAPL", Decimal("55.5"), "trade")
            await feed.close()

    run(body())


def test_a_server_without_lists_of_prices_is_asked_for_each_symbol() -> None:
    async def body() -> None:
        async with AlpacaServer() as server:
            feed = feed_of(server)
            for route in ("quotes/latest", "trades/latest", "bars/latest", "snapshots"):
                server.faults.arm(Fault(kind="status", route=f"GET /v2/stocks/{route}", status=404, body='{"message":"no route"}', times=9))
            server.market.quoteless.add("MSFT")
            found = {price.symbol: price.source for price in await feed.latest(["AAPL", "MSFT", "NOPE"])}
            assert found == {"AAPL": "quote", "MSFT": "trade"}
            with pytest.raises(DataUnavailable, match="no route"):
                await feed.latest(["NOPE"])
            await feed.close()

    run(body())


@pytest.mark.parametrize("body", ['{"quotes":null}', '{"quotes":[]}', "{}"])
def test_a_list_of_prices_without_any_hides_no_other_list(body: str) -> None:
    async def scene() -> None:
        async with AlpacaServer() as server:
            feed = feed_of(server)
            server.faults.arm(Fault(kind="status", route="GET /v2/stocks/quotes/latest", status=200, body=body))
            assert [quote.source for quote in await feed.latest(["AAPL"])] == ["trade"]
            await feed.close()

    run(scene())


def test_a_data_server_that_does_not_answer_is_not_asked_for_every_list() -> None:
    async def scene() -> None:
        async with AlpacaServer() as server:
            feed = feed_of(server)
            server.faults.arm(Fault(kind="status", route="GET /v2/stocks", status=503, times=99))
            with pytest.raises(DataUnavailable):
                await feed.latest(["AAPL"])
            assert {route for route in server.requests if "/stocks/" in route} == {"GET /v2/stocks/quotes/latest"}
            await feed.close()

    run(scene())
