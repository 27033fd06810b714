"""The server as a whole: REST, both streams, the truth channel and the controls of a test."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Self

import msgspec
from aiohttp import web

from tests.alpaca_server import shapes
from tests.alpaca_server.acts import act
from tests.alpaca_server.book import Book, Fill, Held, ServerOrder
from tests.alpaca_server.faults import REST, Fault, Faults
from tests.alpaca_server.hours import ServerClock
from tests.alpaca_server.hub import Connection, Hub
from tests.alpaca_server.market import MarketData, daily_bar
from tests.alpaca_server.trading import Settings, Trading, answer

SYMBOLS = ("AAPL", "MSFT", "GOOG", "AMZN", "NVDA", "META", "TSLA", "JPM", "XOM", "KO")
CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Scenario(msgspec.Struct, kw_only=True):
    """How the server begins."""

    key: str = "test-key"
    secret: str = "test-secret"
    cash: Decimal = Decimal(100_000)
    multiplier: Decimal = Decimal(4)
    quotes: dict[str, tuple[Decimal, Decimal]] = {}
    positions: dict[str, tuple[Decimal, Decimal]] = {}
    """Symbol -> quantity and average price"""
    assets: dict[str, dict[str, bool]] = {}
    bars: dict[str, dict[str, Decimal]] = {}
    """Symbol -> session -> close"""
    settings: Settings = msgspec.field(default_factory=Settings)
    hours: str = "always"
    now: str = ""
    rate_limit: int = 0
    """Requests a minute; 0: none"""
    frames: str = "binary"
    """Of the order stream: binary or text"""
    quote_every: float = 0.0
    """Seconds between repetitions of every quote on the data stream; 0: only when it moves"""
    one_connection: bool = False


def _default_quotes() -> dict[str, tuple[Decimal, Decimal]]:
    return {symbol: (Decimal(100 + 10 * n) - Decimal("0.01"), Decimal(100 + 10 * n) + Decimal("0.01")) for n, symbol in enumerate(SYMBOLS)}


class AlpacaServer:
    """Start it with ``async with AlpacaServer(scenario) as server``; addresses are in ``env``."""

    def __init__(self, scenario: Scenario | None = None) -> None:
        self.scenario = scenario or Scenario()
        self.clock, self.faults = ServerClock(hours=self.scenario.hours), Faults()
        if self.scenario.now:
            self.clock.set(now=self.scenario.now)
        self.book = Book(cash=self.scenario.cash, now=self.clock.now, multiplier=self.scenario.multiplier)
        self.trading = Trading(self.book, self.clock, self.faults)
        self.trading.settings = self.scenario.settings
        self.market = MarketData(self.book)
        self.trade_hub = Hub("trade", self.faults, self._answer_trade, frames=self.scenario.frames)
        self.data_hub = Hub("data", self.faults, self._answer_data, hello=[{"T": "success", "msg": "connected"}])
        self.data_hub.one_connection = self.trade_hub.one_connection = self.scenario.one_connection
        self.requests: Counter[str] = Counter()
        self.rate_limit, self._tokens = self.scenario.rate_limit, float(self.scenario.rate_limit)
        self._filled_at, self.port = 0.0, 0
        self._runner: web.AppRunner | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._fill_book()

    def _fill_book(self) -> None:
        self.book.quotes = dict(self.scenario.quotes or _default_quotes())
        self.book.assets = {symbol: {} for symbol in self.book.quotes} | {s: dict(flags) for s, flags in self.scenario.assets.items()}
        self.book.positions = {s: Held(qty=qty, average=price) for s, (qty, price) in self.scenario.positions.items()}
        self.market.daily = {s: [daily_bar(day, close) for day, close in sorted(days.items())] for s, days in self.scenario.bars.items()}
        self.book.emit = self._emit

    # -------------------------------------------------------------------------------------------------------- life
    async def start(self, port: int = 0) -> None:
        """Listen on loopback."""
        app = web.Application(middlewares=[self._middleware])
        app.add_routes([*self.trading.routes(), *self.market.routes(), *self._control_routes()])
        app.add_routes([web.get("/stream", self.trade_hub.handle), web.get("/v2/iex", self.data_hub.handle)])
        app.add_routes([web.get("/v2/sip", self.data_hub.handle)])
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Stop, dropping everybody."""
        if self._ticker is not None:
            self._ticker.cancel()
        for hub in (self.trade_hub, self.data_hub):
            for connection in list(hub.connections):
                connection.abort()
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def env(self) -> dict[str, str]:
        """The documented variables of the environment that lead here."""
        base = f"127.0.0.1:{self.port}"
        return {
            "ALPACA_API_KEY": self.scenario.key,
            "ALPACA_SECRET_KEY": self.scenario.secret,
            "ALPACA_TRADING_URL": f"http://{base}",
            "ALPACA_DATA_URL": f"http://{base}",
            "ALPACA_TRADING_STREAM_URL": f"ws://{base}/stream",
            "ALPACA_DATA_STREAM_URL": f"ws://{base}/v2/iex",
        }

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self.scenario.quote_every or 3600)
            for symbol in self.book.quotes:
                self.publish_quote(symbol)

    # -------------------------------------------------------------------------------------------------------- REST
    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        route = f"{request.method} {request.path}"
        if request.path.startswith("/_") or request.path in {"/stream", "/v2/iex", "/v2/sip"}:
            return await handler(request)
        self.requests[route.split("/orders/", maxsplit=1)[0] if "/orders/" in route else route] += 1
        before = self.faults.take("rest", REST, route=route, when="before")
        if before is not None:
            return await self._spoil(request, before, answer({}))
        refused = self._authorize(request) or self._limit()
        if refused is not None:
            return refused
        await asyncio.sleep(self.trading.settings.answer_delay)
        after = self.faults.take("rest", REST, route=route, when="after")
        response = await handler(request)
        if self.rate_limit:
            self._add_limit_headers(response)
        return response if after is None else await self._spoil(request, after, response)

    def _authorize(self, request: web.Request) -> web.Response | None:
        given = request.headers.get("APCA-API-KEY-ID"), request.headers.get("APCA-API-SECRET-KEY")
        if given == (self.scenario.key, self.scenario.secret):
            return None
        return answer({"message": "unauthorized."}, 401)

    def _limit(self) -> web.Response | None:
        if not self.rate_limit:
            return None
        now = asyncio.get_running_loop().time()
        self._tokens = min(self._tokens + (now - (self._filled_at or now)) * self.rate_limit / 60, self.rate_limit)
        self._filled_at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return None
        response = answer({"code": 42910000, "message": "too many requests."}, 429)
        self._add_limit_headers(response)
        return response

    def _add_limit_headers(self, response: web.StreamResponse) -> None:
        response.headers["X-RateLimit-Limit"] = str(self.rate_limit)
        response.headers["X-RateLimit-Remaining"] = str(int(self._tokens))
        response.headers["X-RateLimit-Reset"] = str(int(self.clock.now().timestamp()) + 1)

    async def _spoil(self, request: web.Request, fault: Fault, response: web.StreamResponse) -> web.StreamResponse:
        """Give the client what the fault says instead of the answer."""
        if fault.kind == "timeout":
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(fault.seconds)
        if fault.kind in {"timeout", "reset"}:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if fault.kind == "status":
            body = fault.body or '{"code": 50010000, "message": "internal server error occurred"}'
            return web.Response(status=fault.status, text=body, headers=fault.headers, content_type="application/json")
        if fault.kind == "html":
            return web.Response(text="<html><body>Just a moment...</body></html>", content_type="text/html")
        if fault.kind == "empty":
            return web.Response(body=b"", content_type="application/json")
        body_bytes = response.body if isinstance(response, web.Response) and isinstance(response.body, bytes) else b"{}"
        if fault.kind == "truncated":
            return web.Response(body=body_bytes[: len(body_bytes) // 2], content_type="application/json")
        return await self._slowly(request, fault, body_bytes)

    @staticmethod
    async def _slowly(request: web.Request, fault: Fault, body: bytes) -> web.StreamResponse:
        slow = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
        await slow.prepare(request)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            for n in range(len(body)):
                await slow.write(body[n : n + 1])
                await asyncio.sleep(fault.seconds / max(len(body), 1))
        return slow

    # ----------------------------------------------------------------------------------------------------- streams
    async def _answer_trade(self, connection: Connection, asked: shapes.Json) -> list[object]:
        data = asked.get("data")
        inner = data if isinstance(data, dict) else {}
        if asked.get("action") in {"auth", "authenticate"}:
            given = asked.get("key") or inner.get("key_id"), asked.get("secret") or inner.get("secret_key")
            connection.authenticated = given == (self.scenario.key, self.scenario.secret)
            words = "authorized" if connection.authenticated else "unauthorized"
            return [{"stream": "authorization", "data": {"status": words, "action": "authenticate"}}]
        if asked.get("action") == "listen" and connection.authenticated:
            streams = [name for name in inner.get("streams", []) if name == "trade_updates"]
            connection.channels = {"trade_updates": set(streams)}
            return [{"stream": "listening", "data": {"streams": streams}}]
        return [{"stream": "listening", "data": {"error": "unauthorized"}}]

    async def _answer_data(self, connection: Connection, asked: shapes.Json) -> list[object]:
        if asked.get("action") == "auth":
            if connection.authenticated:
                return [[{"T": "error", "code": 403, "msg": "already authenticated"}]]
            connection.authenticated = (asked.get("key"), asked.get("secret")) == (self.scenario.key, self.scenario.secret)
            good = [{"T": "success", "msg": "authenticated"}]
            return [good if connection.authenticated else [{"T": "error", "code": 402, "msg": "auth failed"}]]
        if not connection.authenticated:
            return [[{"T": "error", "code": 401, "msg": "not authenticated"}]]
        if asked.get("action") in {"subscribe", "unsubscribe"}:
            for channel in CHANNELS:
                symbols = asked.get(channel)
                mine = connection.channels.setdefault(channel, set())
                if isinstance(symbols, list):
                    (mine.update if asked["action"] == "subscribe" else mine.difference_update)(map(str, symbols))
            return [[{"T": "subscription", **{channel: sorted(connection.channels[channel]) for channel in CHANNELS}}]]
        return [[{"T": "error", "code": 400, "msg": "invalid syntax"}]]

    def _emit(self, event: str, order: ServerOrder, fill: Fill | None) -> None:
        self.trading.remember(moved=fill is not None)
        message = shapes.trade_update(event, order, self.clock.now(), fill=fill, position=self.book.held(order.symbol))
        self.trade_hub.publish(message, wants=lambda c: message if c.channels.get("trade_updates") else None, spoil=_spoil_trade)

    def publish_quote(self, symbol: str) -> None:
        """Say a quote and the trade in its middle on the data stream."""
        now = self.clock.now()
        quote: shapes.Json = {"T": "q", "S": symbol, **shapes.quote_json(*self.book.quotes[symbol], now)}
        self.publish("quotes", [quote])
        self.publish("trades", [{"T": "t", "S": symbol, **shapes.trade_json(self.book.price(symbol), now)}])

    def publish(self, channel: str, rows: list[shapes.Json]) -> None:
        """Send rows to those who follow their symbols, in one frame."""

        def wanted(connection: Connection) -> object:
            mine = connection.channels.get(channel, set())
            return [row for row in rows if "*" in mine or row["S"] in mine]

        self.data_hub.publish(rows, wants=wanted, spoil=_spoil_data)

    # --------------------------------------------------------------------------------------------- truth and controls
    def _control_routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_book", self._truth),
            web.post("/_market", self._move),
            web.post("/_fault", self._arm),
            web.post("/_act", self._act),
            web.post("/_clock", self._set_clock),
            web.post("/_settings", self._set_settings),
        ]

    def truth(self) -> shapes.Json:
        """What the executor is compared with."""
        return self.book.truth() | {
            "requests": dict(self.requests),
            "faults_taken": self.faults.taken,
            "connections": {"trade": self.trade_hub.opened, "data": self.data_hub.opened},
        }

    def move(self, quotes: dict[str, tuple[Decimal, Decimal]]) -> None:
        """New quotes: said on the stream, then matched."""
        self.book.quotes |= quotes
        for symbol in quotes:
            self.book.assets.setdefault(symbol, {})
            self.publish_quote(symbol)
        self.trading.rematch()

    async def _truth(self, _request: web.Request) -> web.Response:
        return answer(self.truth())

    async def _move(self, request: web.Request) -> web.Response:
        self.move(msgspec.json.decode(await request.read(), type=dict[str, tuple[Decimal, Decimal]], strict=False))
        return answer({})

    async def _arm(self, request: web.Request) -> web.Response:
        self.faults.arm(Fault(**msgspec.json.decode(await request.read())))
        return answer({})

    async def _act(self, request: web.Request) -> web.Response:
        done = act(self, msgspec.json.decode(await request.read()))
        self.trading.remember()  # a split moves positions as a fill does: those who are shown older ones are shown it, too
        return answer(done)

    async def _set_clock(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read())
        if "is_open" in asked:
            self.clock.is_open_override = asked.pop("is_open")
        self.clock.set(**asked)
        return answer(self.clock.clock_json())

    async def _set_settings(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read())
        self.rate_limit = asked.pop("rate_limit", self.rate_limit)
        self._tokens = min(self._tokens or self.rate_limit, self.rate_limit)
        self.trading.settings = msgspec.convert(msgspec.to_builtins(self.trading.settings) | asked, Settings)
        return answer({})


def _spoil_trade(message: object, fault: Fault) -> object:
    """A message nobody knows how to read."""
    if fault.kind == "odd_shape":
        return {"stream": "trade_updates", "data": ["surprise", 7]}
    spoilt = msgspec.json.decode(msgspec.json.encode(message))
    if fault.kind == "unknown_event":
        spoilt["data"]["event"] = "quantum_flux"
    if fault.kind == "unknown_status":
        spoilt["data"]["order"]["status"] = "transmogrified"
    return spoilt


def _spoil_data(message: object, fault: Fault) -> object:
    rows = msgspec.json.decode(msgspec.json.encode(message))
    if fault.kind == "unknown_event":
        return [{"T": "zz", "S": "AAPL", "x": 1}, *rows]
    if fault.kind == "bad_element":
        return [rows[0] | {"t": "not a time", "bp": "NaN?", "o": [], "p": {}}, 17, *rows]
    return {"not": "a list"}
