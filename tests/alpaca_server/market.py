"""REST v2 of the data side: bars, quotes, trades, snapshots, from the quotes of the book and the bars a test gave."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from aiohttp import web

from tests.alpaca_server import shapes
from tests.alpaca_server.book import Book
from tests.alpaca_server.trading import answer

Bars = dict[str, list[shapes.Json]]


class MarketData:
    """Handlers of the data API."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.daily: Bars = {}
        self.quoteless: set[str] = set()
        self.tradeless: set[str] = set()
        self.page_size = 10_000
        self.splits: list[shapes.Json] = []

    def routes(self) -> list[web.RouteDef]:
        """All of them."""
        return [
            web.get("/v2/stocks/bars", self.bars),
            web.get("/v2/stocks/bars/latest", self.latest_bars),
            web.get("/v2/stocks/quotes/latest", self.latest_quotes),
            web.get("/v2/stocks/trades/latest", self.latest_trades),
            web.get("/v2/stocks/snapshots", self.snapshots),
            web.get("/v2/stocks/{symbol}/quotes/latest", self.latest_quote),
            web.get("/v2/stocks/{symbol}/trades/latest", self.latest_trade),
            web.get("/v1/corporate-actions", self.corporate_actions),
        ]

    async def bars(self, request: web.Request) -> web.Response:
        """Paged over all symbols together, as the real one."""
        query, symbols = request.query, _symbols(request)
        first, last = query.get("start", ""), query.get("end", "9999")
        rows = [(symbol, bar) for symbol in symbols for bar in self.daily.get(symbol, []) if first[:10] <= str(bar["t"])[:10] <= last[:10]]
        start, size = int(query.get("page_token") or 0), min(int(query.get("limit", 1000)), self.page_size)
        page: Bars = {}
        for symbol, bar in rows[start : start + size]:
            page.setdefault(symbol, []).append(bar)
        token = str(start + size) if start + size < len(rows) else None
        return answer({"bars": page, "next_page_token": token})

    async def latest_quotes(self, request: web.Request) -> web.Response:
        now = datetime.now(UTC)
        known = [s for s in _symbols(request) if s in self.book.quotes and s not in self.quoteless]
        return answer({"quotes": {s: shapes.quote_json(*self.book.quotes[s], now) for s in known}})

    async def latest_trades(self, request: web.Request) -> web.Response:
        now = datetime.now(UTC)
        known = [s for s in _symbols(request) if s in self.book.quotes and s not in self.tradeless]
        return answer({"trades": {s: shapes.trade_json(self.book.price(s), now) for s in known}})

    async def latest_quote(self, request: web.Request) -> web.Response:
        return self._of_one(request, "quote", self.quoteless, lambda s, now: shapes.quote_json(*self.book.quotes[s], now))

    async def latest_trade(self, request: web.Request) -> web.Response:
        return self._of_one(request, "trade", self.tradeless, lambda s, now: shapes.trade_json(self.book.price(s), now))

    def _of_one(self, request: web.Request, name: str, without: set[str], row: Callable[[str, datetime], shapes.Json]) -> web.Response:
        symbol = request.match_info["symbol"]
        if symbol not in self.book.quotes or symbol in without:
            return answer({"message": f"no {name} found for {symbol}"}, 404)
        return answer({"symbol": symbol, name: row(symbol, datetime.now(UTC))})

    async def latest_bars(self, request: web.Request) -> web.Response:
        return answer({"bars": {s: self.daily[s][-1] for s in _symbols(request) if self.daily.get(s)}})

    async def snapshots(self, request: web.Request) -> web.Response:
        now = datetime.now(UTC)
        return answer({s: self._snapshot(s, now) for s in _symbols(request) if s in self.book.assets})

    def _snapshot(self, symbol: str, now: datetime) -> shapes.Json:
        quoted, bars = symbol in self.book.quotes, self.daily.get(symbol, [])
        found: shapes.Json = {"prevDailyBar": bars[-2] if len(bars) > 1 else None, "minuteBar": None}
        if quoted and symbol not in self.quoteless:
            found["latestQuote"] = shapes.quote_json(*self.book.quotes[symbol], now)
        if quoted and symbol not in self.tradeless:
            found["latestTrade"] = shapes.trade_json(self.book.price(symbol), now)
        if bars:
            found["dailyBar"] = bars[-1]
        return found

    async def corporate_actions(self, request: web.Request) -> web.Response:
        """Announced splits, as the data API lists them."""
        query, symbols = request.query, _symbols(request)
        first, last = query.get("start", ""), query.get("end", "9999")
        rows = [row for row in self.splits if row["symbol"] in symbols and first <= str(row["ex_date"]) <= last]
        forward = [row for row in rows if Decimal(str(row["new_rate"])) > Decimal(str(row["old_rate"]))]
        found = {"forward_splits": forward, "reverse_splits": [row for row in rows if row not in forward]}
        return answer({"corporate_actions": {kind: some for kind, some in found.items() if some}, "next_page_token": None})


def daily_bar(session: str, close: Decimal) -> shapes.Json:
    """A bar as the data API writes one."""
    price = float(close)
    bar = {
        "t": f"{session}T05:00:00Z",
        "o": price,
        "h": price * 1.01,
        "l": price * 0.99,
        "c": price,
        "v": 1_000_000,
        "n": 5000,
        "vw": price,
    }
    return dict(bar)


def _symbols(request: web.Request) -> list[str]:
    return [symbol for symbol in request.query.get("symbols", "").split(",") if symbol]
