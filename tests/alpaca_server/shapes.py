"""Alpaca's payloads as its documentation shows them: every documented field, money as text, and a few fields nobody asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.alpaca_server.book import Book, Fill, Held, ServerOrder

Json = dict[str, object]


def text(value: Decimal | None) -> str | None:
    """A number as Alpaca writes it: no exponent, no superfluous zeros."""
    if value is None:
        return None
    plain = format(value, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def stamp(at: datetime | None) -> str | None:
    """Nanoseconds, as the real server has them (Python's clock gives microseconds)."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "123Z"


def order_json(order: ServerOrder) -> Json:
    """The Order object."""
    ends = {name: stamp(order.ended_at) if order.status == status else None for name, status in _ENDS.items()}
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": stamp(order.created_at),
        "updated_at": stamp(order.updated_at),
        "submitted_at": stamp(order.created_at),
        **ends,
        "expires_at": None,
        "replaced_by": order.replaced_by or None,
        "replaces": order.replaces or None,
        "asset_id": order.asset_id,
        "symbol": order.symbol,
        "asset_class": "us_equity",
        "notional": None,
        "qty": text(order.qty),
        "filled_qty": text(order.filled_qty),
        "filled_avg_price": text(order.filled_avg_price),
        "order_class": "",
        "order_type": order.type,
        "type": order.type,
        "side": order.side,
        "time_in_force": order.time_in_force,
        "limit_price": text(order.limit_price),
        "stop_price": None,
        "status": order.status,
        "extended_hours": order.extended_hours,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "subtag": None,
        "source": "access_key",
        "position_intent": None,
        "_venue_hint": {"unknown": ["extra", 1, None]},
    }


_ENDS = {
    "filled_at": "filled",
    "expired_at": "expired",
    "canceled_at": "canceled",
    "failed_at": "rejected",
    "replaced_at": "replaced",
}


_ACCOUNT: Json = {
    "admin_configurations": {},
    "user_configurations": None,
    "crypto_status": "ACTIVE",
    "currency": "USD",
    "bod_dtbp": "0",
    "accrued_fees": "0",
    "pending_transfer_in": "0",
    "pending_transfer_out": "0",
    "transfers_blocked": False,
    "created_at": "2019-06-12T22:47:07.99658Z",
    "shorting_enabled": True,
    "last_maintenance_margin": "0",
    "sma": "0",
    "balance_asof": "2026-01-02",
    "intraday_adjustments": "0",
    "options_buying_power": None,
    "options_approved_level": 0,
    "options_trading_level": 0,
    "pending_reg_taf_fees": "0",
}
"""What an account says that this server never changes."""


def account_json(book: Book) -> Json:
    """The Account object; the fields of the pattern day trader rule left it in 2026."""
    equity, cash = book.equity(), book.cash
    longs, shorts = book.market_value(1), book.market_value(-1)
    return {
        **_ACCOUNT,
        "id": book.account_id,
        "account_number": book.account_number,
        "status": book.flags.get("status", "ACTIVE"),
        "buying_power": text(book.buying_power()),
        "regt_buying_power": text(book.buying_power()),
        "effective_buying_power": text(book.buying_power()),
        "non_marginable_buying_power": text(max(cash, Decimal(0))),
        "cash": text(cash),
        "portfolio_value": text(equity),
        "trading_blocked": bool(book.flags.get("trading_blocked")),
        "account_blocked": bool(book.flags.get("account_blocked")),
        "trade_suspended_by_user": bool(book.flags.get("trade_suspended_by_user")),
        "multiplier": text(book.multiplier),
        "equity": text(equity),
        "last_equity": text(book.last_equity),
        "long_market_value": text(longs),
        "short_market_value": text(shorts),
        "position_market_value": text(longs + shorts),
        "initial_margin": text((longs - shorts) / 2),
        "maintenance_margin": text((longs - shorts) * Decimal("0.3")),
    }


def position_json(book: Book, symbol: str, position: Held) -> Json:
    """The Position object; a short one has a negative quantity."""
    price = book.price(symbol)
    value, basis = position.qty * price, position.qty * position.average
    gain = value - basis
    ratio = gain / abs(basis) if basis else Decimal(0)
    return {
        "asset_id": book.asset_id(symbol),
        "symbol": symbol,
        "exchange": "NASDAQ",
        "asset_class": "us_equity",
        "asset_marginable": True,
        "qty": text(position.qty),
        "qty_available": text(book.available(symbol)),
        "avg_entry_price": text(position.average),
        "side": "long" if position.qty > 0 else "short",
        "market_value": text(value),
        "cost_basis": text(basis),
        "unrealized_pl": text(gain),
        "unrealized_plpc": text(round(ratio, 12)),
        "unrealized_intraday_pl": text(gain),
        "unrealized_intraday_plpc": text(round(ratio, 12)),
        "current_price": text(price),
        "lastday_price": text(price),
        "change_today": "0",
        "avg_entry_swap_rate": None,
    }


def fill_activity(fill: Fill, order: ServerOrder) -> Json:
    """A TradeActivity."""
    return {
        "activity_type": "FILL",
        "id": fill.activity_id,
        "cum_qty": text(fill.cumulative),
        "leaves_qty": text(max(order.qty - fill.cumulative, Decimal(0))),
        "price": text(fill.price),
        "qty": text(fill.qty),
        "side": "sell_short" if order.short_sale else order.side,
        "symbol": order.symbol,
        "transaction_time": stamp(fill.at),
        "order_id": order.id,
        "type": "fill" if fill.cumulative >= order.qty else "partial_fill",
        "order_status": "filled" if fill.cumulative >= order.qty else "partially_filled",
    }


def trade_update(event: str, order: ServerOrder, at: datetime, *, fill: Fill | None = None, position: Decimal | None = None) -> Json:
    """A message of the order stream."""
    data: Json = {
        "at": stamp(at),
        "event_id": f"01{order.serial:08d}{event}",
        "event": event,
        "timestamp": stamp(at),
        "order": order_json(order),
    }
    if fill is not None:
        data |= {
            "execution_id": fill.execution_id,
            "price": text(fill.price),
            "qty": text(fill.qty),
            "position_qty": text(position),
        }
        if fill.previous_execution_id:
            data["previous_execution_id"] = fill.previous_execution_id
    return {"stream": "trade_updates", "data": data}


def asset_json(book: Book, symbol: str) -> Json:
    """The Asset object."""
    flags = book.assets[symbol]
    return {
        "id": book.asset_id(symbol),
        "class": "us_equity",
        "cusip": None,
        "exchange": "NASDAQ",
        "symbol": symbol,
        "name": f"{symbol} Common Stock",
        "status": "active",
        "tradable": True,
        "marginable": True,
        "maintenance_margin_requirement": 30,
        "margin_requirement_long": "30",
        "margin_requirement_short": "30",
        "shortable": True,
        "easy_to_borrow": True,
        "fractionable": True,
        "borrow_status": "easy_to_borrow",
        "attributes": ["has_options", "overnight_tradable"],
        **flags,
    }


def quote_json(bid: Decimal, ask: Decimal, at: datetime) -> Json:
    """A quote of the data API."""
    return {"t": stamp(at), "ax": "V", "ap": float(ask), "as": 3, "bx": "V", "bp": float(bid), "bs": 4, "c": ["R"], "z": "C"}


def trade_json(price: Decimal, at: datetime) -> Json:
    """A trade of the data API."""
    return {"t": stamp(at), "x": "V", "p": float(price), "s": 100, "c": ["@"], "i": 96921, "z": "C"}
