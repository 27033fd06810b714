"""REST v2 of the trading side, over the book."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec
from aiohttp import web

from tests.alpaca_server import shapes
from tests.alpaca_server.book import Book, Held, Refused, ServerOrder
from tests.alpaca_server.faults import ORDER, Faults
from tests.alpaca_server.hours import EASTERN, ServerClock

PAGE = 500


def answer(body: object, status: int = 200) -> web.Response:
    """JSON."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


class Settings(msgspec.Struct, kw_only=True):
    """How the exchange behaves."""

    accept_delay: float = 0.0
    """Seconds between pending_new and new"""
    fill_delay: float = 0.0
    """Seconds before each fill"""
    slices: int = 1
    """An order is filled in so many parts"""
    autofill: bool = True
    answer_delay: float = 0.0
    """Seconds before each REST answer"""
    auction_windows: bool = False
    """Whether opg and cls orders are refused outside their windows"""
    page_most: int = PAGE
    """Rows of a list, however many are asked for"""
    positions_lag: float = 0.0
    activities_lag: float = 0.0
    """Seconds that positions and activities lag behind the orders"""


class Trading:
    """Handlers of ``/v2``."""

    def __init__(self, book: Book, clock: ServerClock, faults: Faults) -> None:
        self.book, self.clock, self.faults, self.settings = book, clock, faults, Settings()
        self._tasks: set[asyncio.Task[None]] = set()
        self._positions_then: deque[tuple[datetime, dict[str, Held]]] = deque(maxlen=500)

    def routes(self) -> list[web.RouteDef]:
        """All of them."""
        return [
            web.get("/v2/account", self.account),
            web.get("/v2/positions", self.positions),
            web.get("/v2/positions/{symbol}", self.position),
            web.post("/v2/orders", self.submit),
            web.get("/v2/orders", self.orders),
            web.delete("/v2/orders", self.cancel_all),
            web.get("/v2/orders:by_client_order_id", self.by_client),
            web.get("/v2/orders/{id}", self.order),
            web.delete("/v2/orders/{id}", self.cancel),
            web.patch("/v2/orders/{id}", self.replace),
            web.get("/v2/clock", self.market_clock),
            web.get("/v2/calendar", self.calendar),
            web.get("/v2/assets", self.assets),
            web.get("/v2/assets/{symbol}", self.asset),
            web.get("/v2/account/activities", self.activities),
            web.get("/v2/account/activities/{kind}", self.activities),
            web.get("/v2/corporate_actions/announcements", self.announcements),
        ]

    # ------------------------------------------------------------------------------------------------------- account
    async def account(self, request: web.Request) -> web.Response:
        return answer(shapes.account_json(self.book))

    async def positions(self, request: web.Request) -> web.Response:
        return answer(self._lagged_positions())

    async def position(self, request: web.Request) -> web.Response:
        symbol = request.match_info["symbol"]
        if symbol not in self.book.positions:
            return answer({"code": 40410000, "message": "position does not exist"}, 404)
        return answer(shapes.position_json(self.book, symbol, self.book.positions[symbol]))

    def _lagged_positions(self) -> list[shapes.Json]:
        newest, shown = self.clock.now() - timedelta(seconds=self.settings.positions_lag), self.book.positions
        if self.settings.positions_lag:
            shown = next((held for at, held in reversed(self._positions_then) if at <= newest), shown)
        return [shapes.position_json(self.book, symbol, shown[symbol]) for symbol in sorted(shown)]

    def remember(self, *, moved: bool = True) -> None:
        """Note the positions of this moment, for those who are shown older ones; those before the first move count, too."""
        if not moved and self._positions_then:
            return
        held = {symbol: Held(qty=held.qty, average=held.average) for symbol, held in self.book.positions.items()}
        self._positions_then.append((self.clock.now(), held))

    async def activities(self, request: web.Request) -> web.Response:
        query = request.query
        kinds = request.match_info.get("kind") or query.get("activity_types", "")
        newest = self.clock.now() - timedelta(seconds=self.settings.activities_lag)
        horizon = f"{newest.astimezone(UTC):%Y%m%d%H%M%S}{newest.microsecond // 1000:03d}~"
        rows = [row for row in self.book.activities if not kinds or row["activity_type"] in kinds.split(",")]
        if self.settings.activities_lag:
            rows = [row for row in rows if str(row["id"]) <= horizon]
        if after := query.get("after"):
            rows = [row for row in rows if str(row.get("transaction_time") or row.get("created_at")) > after]
        if day := query.get("date"):
            rows = [row for row in rows if str(row["id"]).startswith(day[:10].replace("-", ""))]
        if query.get("direction", "desc") == "desc":
            rows = rows[::-1]
        if token := query.get("page_token"):
            ids = [str(row["id"]) for row in rows]
            rows = rows[ids.index(token) + 1 :] if token in ids else [row for row in rows if str(row["id"]) > token]
        return answer(rows[: min(int(query.get("page_size", 100)), 100, self.settings.page_most)])

    # -------------------------------------------------------------------------------------------------------- orders
    async def submit(self, request: web.Request) -> web.Response:
        body = msgspec.json.decode(await request.read())
        try:
            if self.settings.auction_windows:
                self._check_window(str(body.get("time_in_force")))
            order = self.book.submit(body)
        except Refused as refused:
            return answer(refused.body, refused.status)
        self.start(order)
        return answer(shapes.order_json(order))

    def start(self, order: ServerOrder) -> None:
        """Let an accepted order live."""
        order.status = "pending_new"
        self.book.emit("pending_new", order, None)
        task = asyncio.get_running_loop().create_task(self._live(order, self.faults.take("order", ORDER - _CANCELS, symbol=order.symbol)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self, order: ServerOrder, fault: object) -> None:
        kind = getattr(fault, "kind", "")
        await asyncio.sleep(self.settings.accept_delay)
        if kind == "no_ack" or not order.is_open:
            return
        if kind == "reject_after_accept":
            self.book.set_status(order, "rejected")
            return
        self.book.set_status(order, "new")
        order.stuck = kind == "stuck"
        if kind == "overfill":
            bid, ask = self.book.quotes[order.symbol]
            self.book.fill(order, order.qty + Decimal(getattr(fault, "qty", "1")), ask if order.side == "buy" else bid)
        elif self.settings.autofill and order.time_in_force not in {"opg", "cls"}:
            await self.work(order)

    async def work(self, order: ServerOrder) -> None:
        """Fill it in slices as long as its price allows."""
        part = (order.qty / self.settings.slices).to_integral_value(rounding="ROUND_UP")
        while order.is_open and self._may_trade():
            if self.settings.fill_delay:
                await asyncio.sleep(self.settings.fill_delay)
            if not self.book.match(order, part):
                return

    def _may_trade(self) -> bool:
        return bool(self.clock.clock_json()["is_open"])

    def rematch(self, only: Callable[[ServerOrder], bool] = lambda order: order.time_in_force not in {"opg", "cls"}) -> None:
        """Quotes have moved: see which resting orders trade now."""
        if self.settings.autofill and self._may_trade():
            for order in self.book.working():
                if order.status != "pending_new" and only(order):
                    self.book.match(order)

    def _check_window(self, time_in_force: str) -> None:
        local = self.clock.now().astimezone(EASTERN)
        minute = local.hour * 60 + local.minute
        closed = {"opg": 9 * 60 + 28 <= minute < 19 * 60, "cls": 15 * 60 + 50 <= minute < 19 * 60}
        if closed.get(time_in_force):
            raise Refused(403, {"code": 40310000, "message": f"{time_in_force} orders are not accepted at this time"})

    async def orders(self, request: web.Request) -> web.Response:
        query = request.query
        wanted = query.get("status", "open")
        rows = [order for order in self.book.orders.values() if wanted == "all" or order.is_open == (wanted == "open")]
        if after := query.get("after"):
            rows = [order for order in rows if order.created_at > datetime.fromisoformat(after)]
        if until := query.get("until"):
            rows = [order for order in rows if order.created_at < datetime.fromisoformat(until)]
        if symbols := query.get("symbols"):
            rows = [order for order in rows if order.symbol in symbols.split(",")]
        if query.get("direction", "desc") == "desc":
            rows = rows[::-1]
        return answer([shapes.order_json(order) for order in rows[: min(int(query.get("limit", 50)), self.settings.page_most)]])

    async def order(self, request: web.Request) -> web.Response:
        order = self.book.orders.get(request.match_info["id"])
        if order is None:
            return answer({"code": 40410000, "message": f"order not found for {request.match_info['id']}"}, 404)
        return answer(shapes.order_json(order))

    async def by_client(self, request: web.Request) -> web.Response:
        known = self.book.by_client.get(request.query.get("client_order_id", ""))
        if known is None:
            return answer({"code": 40410000, "message": "order not found for " + request.query.get("client_order_id", "")}, 404)
        return answer(shapes.order_json(self.book.orders[known]))

    async def cancel(self, request: web.Request) -> web.Response:
        order = self.book.orders.get(request.match_info["id"])
        if order is None:
            return answer({"code": 40410000, "message": f"order not found for {request.match_info['id']}"}, 404)
        if not order.is_open:
            return answer({"code": 42210000, "message": f'order is already in "{order.status}" state'}, 422)
        self.cancel_order(order)
        return web.Response(status=204)

    def cancel_order(self, order: ServerOrder) -> None:
        """As asked for by a client: with what is armed."""
        fault = self.faults.take("order", _CANCELS, symbol=order.symbol)
        kind = fault.kind if fault else ""
        if kind == "cancel_stays_open":
            return
        self.book.set_status(order, "pending_cancel")
        if kind == "cancel_pending":
            return
        if kind == "fill_on_cancel":
            bid, ask = self.book.quotes[order.symbol]
            self.book.fill(order, order.remaining, ask if order.side == "buy" else bid)
            return
        self.book.cancel(order)
        if fault is not None and kind == "fill_after_cancel":
            bid, ask = self.book.quotes[order.symbol]
            self.book.fill(order, min(Decimal(fault.qty), order.remaining), ask if order.side == "buy" else bid)

    async def cancel_all(self, request: web.Request) -> web.Response:
        rows = []
        for order in self.book.working():
            self.cancel_order(order)
            rows.append({"id": order.id, "status": 200, "body": shapes.order_json(order)})
        return answer(rows, 207)

    async def replace(self, request: web.Request) -> web.Response:
        old = self.book.orders.get(request.match_info["id"])
        if old is None or not old.is_open:
            return answer({"code": 42210000, "message": "order is not open"}, 422)
        body = msgspec.json.decode(await request.read())
        return answer(shapes.order_json(self.replace_order(old, body)))

    def replace_order(self, old: ServerOrder, body: shapes.Json) -> ServerOrder:
        """A new order takes the place of an old one."""
        old.status = "pending_replace"
        old.stuck = True
        asked: shapes.Json = {
            "symbol": old.symbol,
            "side": old.side,
            "type": old.type,
            "time_in_force": old.time_in_force,
            "qty": str(body.get("qty") or old.remaining),
            "limit_price": body.get("limit_price") or (None if old.limit_price is None else str(old.limit_price)),
            "client_order_id": body.get("client_order_id"),
        }
        old.status = "replaced"
        new = self.book.submit(asked)
        new.replaces, old.replaced_by = old.id, new.id
        self.book.set_status(old, "replaced")
        self.start(new)
        return new

    # -------------------------------------------------------------------------------------------------------- market
    async def market_clock(self, request: web.Request) -> web.Response:
        return answer(self.clock.clock_json())

    async def calendar(self, request: web.Request) -> web.Response:
        today = self.clock.now().astimezone(EASTERN).date()
        first = date.fromisoformat(request.query.get("start", today.isoformat())[:10])
        last = date.fromisoformat(request.query.get("end", (first + timedelta(days=30)).isoformat())[:10])
        return answer(self.clock.calendar_json(first, last))

    async def assets(self, request: web.Request) -> web.Response:
        return answer([shapes.asset_json(self.book, symbol) for symbol in sorted(self.book.assets)])

    async def asset(self, request: web.Request) -> web.Response:
        symbol = request.match_info["symbol"]
        if symbol not in self.book.assets:
            return answer({"code": 40410000, "message": f"asset not found for {symbol}"}, 404)
        return answer(shapes.asset_json(self.book, symbol))

    async def announcements(self, request: web.Request) -> web.Response:
        return answer([])


_CANCELS = frozenset({"cancel_stays_open", "cancel_pending", "fill_on_cancel", "fill_after_cancel"})
