"""What a test lets happen at the broker: busts, corporate actions, strangers' orders, sessions that open and close."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.alpaca_server import shapes
from tests.alpaca_server.book import ServerOrder

if TYPE_CHECKING:
    from tests.alpaca_server.server import AlpacaServer

Asked = dict[str, Any]


def act(server: AlpacaServer, asked: Asked) -> object:
    """Carry out ``{"do": name, ...}``; an unknown name is a mistake of the test."""
    return ACTS[asked.pop("do")](server, asked)


def _order(server: AlpacaServer, asked: Asked) -> ServerOrder:
    key = str(asked["order"])
    return server.book.orders[server.book.by_client.get(key, key)]


def _fill(server: AlpacaServer, asked: Asked) -> object:
    order = _order(server, asked)
    bid, ask = server.book.quotes[order.symbol]
    price = Decimal(str(asked.get("price") or (ask if order.side == "buy" else bid)))
    server.book.fill(order, Decimal(str(asked.get("qty") or order.remaining)), price)
    return shapes.order_json(order)


def _status(server: AlpacaServer, asked: Asked) -> object:
    """``{"do": "status", "order": id, "status": "expired"}``: any word, known or not."""
    order = _order(server, asked)
    server.book.set_status(order, str(asked["status"]), asked.get("event"))
    return shapes.order_json(order)


def _bust(server: AlpacaServer, asked: Asked) -> object:
    order = _order(server, asked)
    fill = [fill for fill in server.book.fills if fill.order_id == order.id and not fill.busted][-1]
    price = asked.get("price")
    server.book.bust(fill, corrected=None if price is None else Decimal(str(price)))
    return shapes.order_json(order)


def _replace(server: AlpacaServer, asked: Asked) -> object:
    return shapes.order_json(server.trading.replace_order(_order(server, asked), asked))


def _external(server: AlpacaServer, asked: Asked) -> object:
    """Somebody trades by hand in the same account."""
    order = server.book.submit({"type": "market", "time_in_force": "day", **asked}, external=True)
    server.trading.start(order)
    return shapes.order_json(order)


def _cash(server: AlpacaServer, asked: Asked) -> object:
    """``{"do": "cash", "kind": "DIV", "amount": "12.50", "symbol": "AAPL"}``."""
    qty = asked.get("qty")
    return server.book.cash_line(
        str(asked["kind"]),
        Decimal(str(asked["amount"])),
        symbol=str(asked.get("symbol", "")),
        qty=None if qty is None else Decimal(str(qty)),
        description=str(asked.get("description", "")),
    )


def _split(server: AlpacaServer, asked: Asked) -> object:
    server.book.split(str(asked["symbol"]), Decimal(str(asked["ratio"])))
    return {}


def _announce(server: AlpacaServer, asked: Asked) -> object:
    """``{"do": "announce", "symbol": "AAPL", "ex_date": "2026-11-23", "new_rate": 4, "old_rate": 1}``."""
    day = asked["ex_date"]
    dates = {"process_date": day, "record_date": day, "payable_date": day, "due_bill_redemption_date": None}
    server.market.splits.append({"id": f"split-{len(server.market.splits)}", "cusip": "037833100", **dates, **asked})
    return {}


def _halt(server: AlpacaServer, asked: Asked) -> object:
    symbol, halted = str(asked["symbol"]), bool(asked.get("halted", True))
    (server.book.halted.add if halted else server.book.halted.discard)(symbol)
    now = shapes.stamp(server.clock.now())
    code, words, reason = ("H", "Trading Halt", "T1") if halted else ("T", "Trading Resumption", "R4")
    status = {"T": "s", "S": symbol, "sc": code, "sm": words, "rc": reason, "rm": words, "t": now, "z": "C"}
    server.publish("statuses", [dict(status)])
    server.trading.rematch()
    return {}


def _band(server: AlpacaServer, asked: Asked) -> object:
    """``{"do": "band", "symbol": "AAPL", "lower": 95.0, "upper": 105.0}``: limit up/limit down."""
    now = shapes.stamp(server.clock.now())
    server.publish("lulds", [{"T": "l", "S": asked["symbol"], "u": asked["upper"], "d": asked["lower"], "i": "B", "t": now, "z": "C"}])
    return {}


def _asset(server: AlpacaServer, asked: Asked) -> object:
    """``{"do": "asset", "symbol": "KO", "shortable": false}``."""
    server.book.assets.setdefault(str(asked.pop("symbol")), {}).update(asked)
    return {}


def _flags(server: AlpacaServer, asked: Asked) -> object:
    server.book.flags |= asked
    return {}


def _position(server: AlpacaServer, asked: Asked) -> object:
    """A position changes without any evidence."""
    from tests.alpaca_server.book import Held

    qty = Decimal(str(asked["qty"]))
    symbol = str(asked["symbol"])
    server.book.positions.pop(symbol, None)
    if qty:
        server.book.positions[symbol] = Held(qty=qty, average=server.book.price(symbol))
    return {}


def _bar(server: AlpacaServer, asked: Asked) -> object:
    """Bars of a minute on the data stream, all in one frame."""
    now = shapes.stamp(server.clock.now())
    rows = [{"T": "b", "S": s, "o": c, "h": c, "l": c, "c": c, "v": 100, "t": now, "n": 3, "vw": c} for s, c in asked["closes"].items()]
    server.publish("bars", [dict(row) for row in rows])
    return {}


def _publish(server: AlpacaServer, asked: Asked) -> object:
    """Anything at all on the data stream."""
    server.publish(str(asked["channel"]), list(asked["rows"]))
    return {}


def _session(server: AlpacaServer, asked: Asked) -> object:
    """``open``: the opening auction; ``close``: the closing auction, and what lived for the day ends."""
    opening = asked["moment"] == "open"
    server.clock.is_open_override = True
    kind = "opg" if opening else "cls"
    server.trading.rematch(lambda order: order.time_in_force == kind)
    if opening:
        server.trading.rematch()
    for order in server.book.working():
        if order.time_in_force == kind or (not opening and order.time_in_force == "day"):
            server.book.set_status(order, "canceled" if order.time_in_force == kind else "expired")
    server.clock.is_open_override = None if asked.get("by_clock") else opening
    return {}


def _disconnect(server: AlpacaServer, asked: Asked) -> object:
    """Every connection of a stream ends."""
    hub = server.trade_hub if asked.get("stream", "trade") == "trade" else server.data_hub
    for connection in list(hub.connections):
        connection.abort()
    return {}


def _data_error(server: AlpacaServer, asked: Asked) -> object:
    """An error frame after authentication: 405, 407 ..."""
    for connection in server.data_hub.connections:
        body = connection.encode([{"T": "error", "code": asked["code"], "msg": asked.get("msg", "trouble")}])
        connection.outbox.put_nowait((body, asyncio.get_running_loop().time()))
    return {}


ACTS = {
    "fill": _fill,
    "status": _status,
    "bust": _bust,
    "correct": _bust,
    "replace": _replace,
    "external": _external,
    "cash": _cash,
    "split": _split,
    "announce": _announce,
    "halt": _halt,
    "band": _band,
    "asset": _asset,
    "flags": _flags,
    "position": _position,
    "bars": _bar,
    "publish": _publish,
    "session": _session,
    "disconnect": _disconnect,
    "data_error": _data_error,
}
