"""The tests' own server speaks Alpaca's protocol: the vendor's client reads everything it says, and its controls work from outside."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = {"positions": {"KO": ["-5", "190"]}, "bars": {"AAPL": {"2026-11-19": "99", "2026-11-20": "100"}}, "settings": {"slices": 2}}


@pytest.fixture
def server() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.alpaca_server", "--port", "0", "--scenario", json.dumps(SCENARIO)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        started = json.loads(process.stdout.readline())
        yield started["env"]["ALPACA_TRADING_URL"]
        process.terminate()
        assert process.wait(10) == 0


def ask(server: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(server + path, data=data), timeout=5) as answer:
        return json.loads(answer.read())


def test_the_vendors_client_reads_all_of_it(server: str) -> None:
    from alpaca.data.historical import StockHistoricalDataClient
    from alpaca.data.requests import StockLatestQuoteRequest, StockSnapshotRequest
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import OrderSide, OrderStatus, TimeInForce
    from alpaca.trading.models import TradeActivity, TradeUpdate
    from alpaca.trading.requests import GetOrdersRequest, LimitOrderRequest

    client = TradingClient("test-key", "test-secret", url_override=server)
    assert client.get_clock().is_open
    assert client.get_account().status == "ACTIVE"
    assert client.get_calendar()
    assert {asset.symbol for asset in client.get_all_assets()} >= {"AAPL", "KO"}
    wanted = LimitOrderRequest(
        symbol="AAPL", qty=4, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, limit_price=101, client_order_id="v"
    )
    assert client.submit_order(wanted).status is OrderStatus.PENDING_NEW
    assert {position.symbol: position.qty for position in client.get_all_positions()} == {"AAPL": "4", "KO": "-5"}
    assert client.get_order_by_client_id("v").status is OrderStatus.FILLED
    assert [order.client_order_id for order in client.get_orders(GetOrdersRequest(status="closed"))] == ["v"]
    lines = client.get("/account/activities", {"direction": "asc"})
    account = {"account_id": "904837e3-3b76-47ec-b432-046db621571b"}
    assert [TradeActivity(**line, **account).cum_qty for line in lines if line["activity_type"] == "FILL"] == [2, 4]
    update = {"event": "fill", "timestamp": "2026-11-20T15:00:00Z", "order": ask(server, "/_book")["orders"][0]}
    assert TradeUpdate(**update).order.status is OrderStatus.FILLED
    data = StockHistoricalDataClient("test-key", "test-secret", url_override=server)
    assert data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="KO"))["KO"].ask_price > 0
    assert data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="AAPL"))["AAPL"].daily_bar.close == 100


def test_the_controls_work_from_outside(server: str) -> None:
    ask(server, "/_market", {"MSFT": ["49.99", "50.01"]})
    ask(server, "/_act", {"do": "external", "symbol": "MSFT", "side": "buy", "qty": "2"})
    ask(server, "/_act", {"do": "cash", "kind": "DIV", "amount": "3.25", "symbol": "KO"})
    book = ask(server, "/_book")
    while book["positions"].get("MSFT") != "2":
        book = ask(server, "/_book")
    assert [fill["price"] for fill in book["fills"] if fill["symbol"] == "MSFT"] == ["50.01", "50.01"]
    spent = sum(Decimal(fill["qty"]) * Decimal(fill["price"]) for fill in book["fills"])
    assert Decimal(book["cash"]) == Decimal(100_000) - spent + Decimal("3.25")
    ask(server, "/_fault", {"kind": "status", "route": "GET /v2/account", "status": 503, "when": "after"})
    request = urllib.request.Request(server + "/v2/account", headers={"APCA-API-KEY-ID": "test-key", "APCA-API-SECRET-KEY": "test-secret"})
    with pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(request, timeout=5)
    assert ask(server, "/_book")["faults_taken"] == {"status": 1}
    assert ask(server, "/_clock", {"now": "2026-11-21T15:00:00+00:00", "hours": "regular"})["is_open"] is False
    assert ask(server, "/_settings", {"rate_limit": 1, "fill_delay": 0.5}) == {}
