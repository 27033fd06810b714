"""The server's own book: orders, fills, positions, cash and activities, in Decimal. The truth of every test."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from tests.alpaca_server import shapes

ZERO = Decimal(0)
OPEN = frozenset(
    {"new", "accepted", "pending_new", "partially_filled", "pending_cancel", "pending_replace", "held", "suspended", "done_for_day"}
)


class Refused(Exception):
    """An order that the server will not have: status and body of the answer."""

    def __init__(self, status: int, body: shapes.Json) -> None:
        super().__init__(str(body))
        self.status, self.body = status, body


@dataclasses.dataclass(kw_only=True)
class ServerOrder:
    """One order."""

    serial: int
    id: str
    client_order_id: str
    asset_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    qty: Decimal
    limit_price: Decimal | None
    created_at: datetime
    updated_at: datetime
    extended_hours: bool = False
    status: str = "accepted"
    filled_qty: Decimal = ZERO
    filled_value: Decimal = ZERO
    ended_at: datetime | None = None
    replaced_by: str = ""
    replaces: str = ""
    short_sale: bool = False
    external: bool = False
    stuck: bool = False
    """A fault holds it: it neither fills nor ends by itself."""

    @property
    def filled_avg_price(self) -> Decimal | None:
        """Rounded as the real one is."""
        return round(self.filled_value / self.filled_qty, 6).normalize() if self.filled_qty else None

    @property
    def sign(self) -> int:
        return 1 if self.side == "buy" else -1

    @property
    def remaining(self) -> Decimal:
        return self.qty - self.filled_qty

    @property
    def is_open(self) -> bool:
        return self.status in OPEN


@dataclasses.dataclass(kw_only=True)
class Fill:
    """One execution."""

    execution_id: str
    activity_id: str
    order_id: str
    qty: Decimal
    price: Decimal
    cumulative: Decimal
    at: datetime
    previous_execution_id: str = ""
    busted: bool = False


@dataclasses.dataclass(kw_only=True)
class Held:
    """One position, signed, with its average price."""

    qty: Decimal = ZERO
    average: Decimal = ZERO

    def trade(self, signed: Decimal, price: Decimal) -> None:
        """Add a trade; the average follows what adds, and starts anew behind zero."""
        after = self.qty + signed
        if self.qty * signed >= 0:
            self.average = (self.qty * self.average + signed * price) / after if after else ZERO
        elif after * self.qty < 0:
            self.average = price
        self.qty = after


Emit = Callable[[str, ServerOrder, "Fill | None"], None]


class Book:
    """The account at the broker."""

    def __init__(self, *, cash: Decimal, now: Callable[[], datetime], multiplier: Decimal = Decimal(4)) -> None:
        self.now, self.multiplier = now, multiplier
        self.cash = self.last_equity = cash
        self.account_id = "904837e3-3b76-47ec-b432-046db621571b"
        self.account_number = "PA3TESTACCT1"
        self.flags: dict[str, object] = {}
        self.quotes: dict[str, tuple[Decimal, Decimal]] = {}
        self.assets: dict[str, dict[str, object]] = {}
        self.halted: set[str] = set()
        self.positions: dict[str, Held] = {}
        self.orders: dict[str, ServerOrder] = {}
        self.by_client: dict[str, str] = {}
        self.fills: list[Fill] = []
        self.activities: list[shapes.Json] = []
        self.emit: Emit = _silent
        self._serial = 0
        self._maybe_open: dict[str, dict[str, ServerOrder]] = {}
        self._ever_asked = ZERO

    # ------------------------------------------------------------------------------------------------ what it is worth
    def asset_id(self, symbol: str) -> str:
        return _asset_id(symbol)

    def price(self, symbol: str) -> Decimal:
        bid, ask = self.quotes.get(symbol, (ZERO, ZERO))
        return (bid + ask) / 2

    def market_value(self, sign: int) -> Decimal:
        return self._market_values()[0 if sign > 0 else 1]

    def _market_values(self) -> tuple[Decimal, Decimal]:
        """Of what is held long and of what is held short, which is below zero."""
        values = [held.qty * self.price(symbol) for symbol, held in self.positions.items()]
        longs = sum([value for value in values if value > 0], ZERO)
        return longs, sum(values, ZERO) - longs

    def equity(self) -> Decimal:
        return self.cash + sum(self._market_values())

    def _power(self) -> Decimal:
        """What may be bought, before what rests is taken off."""
        longs, shorts = self._market_values()
        return (self.cash + longs + shorts) * self.multiplier - (longs - shorts)

    def buying_power(self) -> Decimal:
        resting = sum((o.remaining * (o.limit_price or self.price(o.symbol)) for o in self.working() if self._opens(o)), ZERO)
        return max(self._power() - resting, ZERO)

    def _affords(self, value: Decimal) -> bool:
        if value + self._ever_asked <= self._power():  # whatever rests cannot matter
            return True
        return value <= self.buying_power()

    def working(self, symbol: str = "") -> list[ServerOrder]:
        """Open orders, oldest first; with a symbol its own."""
        if not symbol:
            return sorted((o for own in list(self._maybe_open) for o in self.working(own)), key=lambda order: order.serial)
        mine = self._maybe_open.get(symbol, {})
        for order in [order for order in mine.values() if not order.is_open]:
            del mine[order.id]
        return list(mine.values())

    def held(self, symbol: str) -> Decimal:
        return self.positions[symbol].qty if symbol in self.positions else ZERO

    def available(self, symbol: str) -> Decimal:
        """Held quantity that no open order of the opposite side claims."""
        qty = self.held(symbol)
        claimed = sum((o.remaining for o in self.working(symbol) if o.sign * qty < 0), ZERO)
        return max(abs(qty) - claimed, ZERO) * (1 if qty >= 0 else -1)

    def _opens(self, order: ServerOrder) -> bool:
        return order.sign * self.held(order.symbol) >= 0

    # ------------------------------------------------------------------------------------------------------ orders in
    def submit(self, request: shapes.Json, *, external: bool = False) -> ServerOrder:
        """Accept an order, or raise Refused with the answer of the real server."""
        order = self._read(request, external=external)
        self._check(order)
        self._ever_asked += order.qty * (order.limit_price or self.price(order.symbol))
        self.orders[order.id] = self._maybe_open.setdefault(order.symbol, {})[order.id] = order
        self.by_client[order.client_order_id] = order.id
        return order

    def _read(self, request: shapes.Json, *, external: bool) -> ServerOrder:
        symbol, side = str(request.get("symbol", "")), str(request.get("side", ""))
        self._serial += 1
        now = self.now()
        limit = request.get("limit_price")
        client = str(request.get("client_order_id") or uuid.UUID(int=self._serial))
        if client in self.by_client:
            raise Refused(422, {"code": 40010001, "message": "client_order_id must be unique"})
        if len(client) > 128 or side not in {"buy", "sell"} or request.get("qty") is None:
            raise Refused(422, {"code": 40010001, "message": "request body format is invalid"})
        return ServerOrder(
            serial=self._serial,
            id=str(uuid.UUID(hashlib.md5(f"order{self._serial}".encode()).hexdigest())),
            client_order_id=client,
            asset_id=self.asset_id(symbol),
            symbol=symbol,
            side=side,
            type=str(request.get("type", "market")),
            time_in_force=str(request.get("time_in_force", "day")),
            qty=Decimal(str(request["qty"])),
            limit_price=None if limit is None else Decimal(str(limit)),
            created_at=now,
            updated_at=now,
            extended_hours=bool(request.get("extended_hours", False)),
            short_sale=side == "sell" and self.held(symbol) <= 0,
            external=external,
        )

    def _check(self, order: ServerOrder) -> None:
        asset = self.assets.get(order.symbol)
        if asset is None:
            raise Refused(422, {"code": 42210000, "message": f'asset "{order.symbol}" not found'})
        if asset.get("tradable") is False:
            raise Refused(422, {"code": 42210000, "message": f'asset "{order.symbol}" is not tradable'})
        if order.qty <= 0:
            raise Refused(422, {"code": 42210000, "message": "qty must be > 0"})
        self._check_price(order)
        self._check_position(order, asset)
        if self._opens(order) and not self._affords(order.qty * (order.limit_price or self.price(order.symbol))):
            raise Refused(403, {"buying_power": shapes.text(self.buying_power()), "code": 40310000, "message": "insufficient buying power"})
        if self.flags.get("trading_blocked") or self.flags.get("trade_suspended_by_user"):
            raise Refused(403, {"code": 40310000, "message": "new orders are rejected by user request"})

    @staticmethod
    def _check_price(order: ServerOrder) -> None:
        if order.type == "limit" and order.limit_price is None:
            raise Refused(422, {"code": 42210000, "message": "limit orders require limit price"})
        if order.limit_price is not None:
            tick = Decimal("0.01") if order.limit_price >= 1 else Decimal("0.0001")
            if order.limit_price % tick:
                words = f"invalid limit_price {order.limit_price}. sub-penny increment does not fulfill minimum pricing criteria"
                raise Refused(422, {"code": 42210000, "message": words})
        if order.qty % 1 and (order.type != "market" or order.time_in_force != "day"):
            raise Refused(422, {"code": 42210000, "message": "fractional orders must be DAY orders"})

    def _check_position(self, order: ServerOrder, asset: dict[str, object]) -> None:
        for other in self.working(order.symbol):
            if other.side != order.side and _would_cross(other, order):
                raise Refused(
                    403,
                    {
                        "code": 40310000,
                        "existing_order_id": other.id,
                        "message": "potential wash trade detected. use complex orders",
                        "reject_reason": "opposite side limit order exists",
                    },
                )
        if self.held(order.symbol) * order.sign < 0 and order.qty > abs(self.available(order.symbol)):
            body: shapes.Json = {
                "available": shapes.text(abs(self.available(order.symbol))),
                "code": 40310000,
                "existing_qty": shapes.text(abs(self.held(order.symbol))),
                "held_for_orders": shapes.text(abs(self.held(order.symbol)) - abs(self.available(order.symbol))),
                "message": f"insufficient qty available for order (requested: {order.qty}, available: {self.available(order.symbol)})",
                "symbol": order.symbol,
            }
            raise Refused(403, body)
        if order.short_sale and (asset.get("shortable") is False or asset.get("easy_to_borrow") is False):
            raise Refused(422, {"code": 42210000, "message": f'asset "{order.symbol}" cannot be sold short'})
        if order.short_sale and order.qty % 1:
            raise Refused(422, {"code": 42210000, "message": "fractional orders cannot be sold short"})

    # -------------------------------------------------------------------------------------------------- what happens
    def set_status(self, order: ServerOrder, status: str, event: str | None = None) -> None:
        """Move an order and say so on the stream."""
        order.status, order.updated_at = status, self.now()
        if status not in OPEN:
            order.ended_at = order.updated_at
        self.emit(event or status, order, None)

    def fill(self, order: ServerOrder, qty: Decimal, price: Decimal) -> Fill:
        """Execute part or all of an order, whatever its state."""
        order.filled_qty += qty
        order.filled_value += qty * price
        at = self.now()
        serial = len(self.fills) + 1
        fill = Fill(
            execution_id=str(uuid.UUID(hashlib.md5(f"fill{serial}".encode()).hexdigest())),
            activity_id=self._activity_id(at),
            order_id=order.id,
            qty=qty,
            price=price,
            cumulative=order.filled_qty,
            at=at,
        )
        self.fills.append(fill)
        self._book(order.symbol, order.sign * qty, price)
        self.activities.append(shapes.fill_activity(fill, order))
        over = order.filled_qty >= order.qty
        if over or order.is_open:
            order.status = "filled" if over else order.status if order.status == "pending_cancel" else "partially_filled"
        order.updated_at = at
        if over:
            order.ended_at = at
        self.emit("fill" if over else "partial_fill", order, fill)
        return fill

    def match(self, order: ServerOrder, part: Decimal | None = None) -> bool:
        """Fill up to ``part`` of an order at the far side of the quote, where its price allows it."""
        if not order.is_open or order.stuck or order.symbol in self.halted or order.symbol not in self.quotes:
            return False
        bid, ask = self.quotes[order.symbol]
        price = ask if order.side == "buy" else bid
        if order.limit_price is not None and (order.limit_price - price) * order.sign < 0:
            return False
        self.fill(order, min(part or order.remaining, order.remaining), price)
        return True

    def cancel(self, order: ServerOrder) -> None:
        """End an order."""
        self.set_status(order, "canceled")

    def bust(self, fill: Fill, *, corrected: Decimal | None = None) -> None:
        """Take back an execution, or give it another price."""
        order = self.orders[fill.order_id]
        self._book(order.symbol, -order.sign * fill.qty, fill.price)
        order.filled_value -= fill.qty * fill.price
        new_price = corrected if corrected is not None else fill.price
        news = dataclasses.replace(
            fill,
            execution_id=str(uuid.UUID(int=len(self.fills) + 7)),
            previous_execution_id=fill.execution_id,
            price=new_price,
            at=self.now(),
        )
        fill.busted = True
        if corrected is None:
            order.filled_qty -= fill.qty
            self.emit("trade_bust", order, news)
            return
        self._book(order.symbol, order.sign * fill.qty, corrected)
        order.filled_value += fill.qty * corrected
        news.busted = False
        self.fills.append(news)
        self.emit("trade_correct", order, news)

    def _book(self, symbol: str, signed: Decimal, price: Decimal) -> None:
        held = self.positions.setdefault(symbol, Held())
        held.trade(signed, price)
        self.cash -= signed * price
        if held.qty == 0:
            del self.positions[symbol]

    # ---------------------------------------------------------------------------------------------- cash and actions
    def cash_line(self, kind: str, amount: Decimal, *, symbol: str = "", qty: Decimal | None = None, description: str = "") -> shapes.Json:
        """A line that is no trade: dividend, fee, interest, deposit."""
        self.cash += amount
        at = self.now()
        line: shapes.Json = {
            "activity_type": kind,
            "activity_sub_type": "CDIV" if kind == "DIV" else None,
            "id": self._activity_id(at),
            "date": at.date().isoformat(),
            "created_at": shapes.stamp(at),
            "net_amount": shapes.text(amount),
            "description": description,
            "status": "executed",
            "group_id": None,
            "currency": "USD",
        }
        if symbol:
            line |= {"symbol": symbol, "cusip": "037833100"}
        if qty is not None:
            line |= {"qty": shapes.text(qty), "per_share_amount": shapes.text(amount / qty) if qty else None}
        self.activities.append(line)
        return line

    def split(self, symbol: str, ratio: Decimal) -> None:
        """Overnight: quantity times ratio, prices by it, resting orders away."""
        for order in self.working(symbol):
            self.cancel(order)
        held = self.positions.get(symbol)
        before = held.qty if held else ZERO
        if held:
            held.qty, held.average = held.qty * ratio, held.average / ratio
        if symbol in self.quotes:
            bid, ask = self.quotes[symbol]
            self.quotes[symbol] = (round(bid / ratio, 2), round(ask / ratio, 2))
        for qty in (-before, before * ratio):
            if before:
                self.cash_line("SPLIT", ZERO, symbol=symbol, qty=qty, description=f"{symbol} split {ratio}:1")

    def _activity_id(self, at: datetime) -> str:
        serial = len(self.activities) + 1
        return f"{at.astimezone(UTC):%Y%m%d%H%M%S}{at.microsecond // 1000:03d}::{uuid.UUID(int=serial)}"

    def truth(self) -> shapes.Json:
        """Everything, for the test that compares."""
        return {
            "cash": shapes.text(self.cash),
            "equity": shapes.text(self.equity()),
            "positions": {symbol: shapes.text(held.qty) for symbol, held in sorted(self.positions.items())},
            "orders": [
                {**shapes.order_json(order), "external": order.external, "filled_value": shapes.text(order.filled_value)}
                for order in self.orders.values()
            ],
            "fills": [
                {
                    "execution_id": fill.execution_id,
                    "order_id": fill.order_id,
                    "client_order_id": self.orders[fill.order_id].client_order_id,
                    "symbol": self.orders[fill.order_id].symbol,
                    "side": self.orders[fill.order_id].side,
                    "qty": shapes.text(fill.qty),
                    "price": shapes.text(fill.price),
                    "cumulative": shapes.text(fill.cumulative),
                    "busted": fill.busted,
                }
                for fill in self.fills
            ],
            "activities": self.activities,
        }


def _would_cross(one: ServerOrder, other: ServerOrder) -> bool:
    """Whether two orders of opposite sides could trade with each other."""
    if one.limit_price is None or other.limit_price is None:
        return True
    buy, sell = (one, other) if one.side == "buy" else (other, one)
    return (buy.limit_price or ZERO) >= (sell.limit_price or ZERO)


@functools.cache
def _asset_id(symbol: str) -> str:
    return str(uuid.UUID(hashlib.md5(symbol.encode()).hexdigest()))


def _silent(event: str, order: ServerOrder, fill: Fill | None) -> None:
    """Nobody listens yet."""
