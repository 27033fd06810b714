"""From target weights to orders, a column at a time: sizes, the no-trade band, legs, identity and the collar's edge as the limit.

float64 finds what a trade comes to; where a float lies too near an edge to be sure of the share (or a quantity is no whole number)
Decimal decides, as ``trading.rebalance`` does for one trade. So the orders are those of Decimal, in a tenth of its time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import msgspec
import numpy as np

from hedgefund_core.border import float_views, to_prices
from hedgefund_core.identifiers import IntentHash
from hedgefund_core.risk.limits import Limits
from hedgefund_core.risk.price_collar import table_width, widening
from hedgefund_core.risk.rule import Bools, Floats, Ints, OrderBatch
from hedgefund_core.trading.capabilities import to_tick
from hedgefund_core.trading.instrument import ONE, ZERO, Instrument, to_price
from hedgefund_core.trading.order import Leg, Order, OrderType, Purpose, Side, TimeInForce
from hedgefund_core.trading.rebalance import Intent, NoTradeBand, intents_toward, target_quantity

_NEAR = 1e-12
"""Relative: six roundings of a float64 are off by less than a thousandth of it."""
_LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz234567", dtype=np.uint8)
_ID_LENGTH = 32
_BUY, _SELL, _CLOSE, _OPEN, _LIMIT, _DAY = Side.BUY, Side.SELL, Leg.CLOSE, Leg.OPEN, OrderType.LIMIT, TimeInForce.DAY
_CLOSE_WORD, _OPEN_WORD = _CLOSE.value, _OPEN.value
"""Named once: an enum looks a member or its value up anew at every use, which is a third of an order's time."""


class Trade(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One wanted trade in the instrument at ``place``."""

    place: int
    side: Side
    quantity: Decimal
    size: float
    """The quantity as the rules read it."""
    leg: Leg


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the orders of a decision share."""

    account: str
    book: str
    session: str
    """In which they may trade."""
    decision_id: str
    time_in_force: TimeInForce
    purpose: Purpose
    at: datetime
    on_tick: bool
    """Whether limits lie on the broker's grid of prices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """The instruments as an order needs them: ``price`` float64 (m,), NaN = none; ``sigma``, ``age`` as in ``RiskContext``."""

    instruments: Sequence[Instrument]
    prices: Sequence[Decimal | None]
    price: Floats
    sigma: Floats
    age: Floats


# ---- sizes ------------------------------------------------------------------------------------------------------------------


def as_trades(intents: Sequence[Intent], instruments: Sequence[Instrument]) -> list[Trade]:
    """Intents in their order."""
    places = {instrument.instrument_id: place for place, instrument in enumerate(instruments)}
    return [_trade(places[i.instrument.instrument_id], i) for i in intents]


def _trade(place: int, intent: Intent) -> Trade:
    return Trade(place=place, side=intent.side, quantity=intent.quantity, size=float(intent.quantity), leg=intent.leg)


def rebalanced(market: Market, weights: Floats, held: Mapping[str, Decimal], equity: Decimal, band: NoTradeBand) -> list[Trade]:
    """Trades toward ``weights`` (m,) on the grid of 1e-6, closing legs first, then by instrument id. NaN, or no price: left alone."""
    names = [instrument.instrument_id for instrument in market.instruments]
    holds = np.array([float(held[name]) if name in held else 0.0 for name in names]) if held else np.zeros(len(names))
    value = weights * float(equity)
    with np.errstate(invalid="ignore"):
        raw = value / market.price
        shares = np.trunc(raw)
        size = np.abs(shares - holds) * market.price
        least, part = float(band.minimum_change) * float(equity), float(band.relative_change) * np.abs(value)
        small = (size <= least) & (size <= part) & (weights != 0.0)
        moves = np.isfinite(raw) & (shares != holds) & ~small
        unsure = np.isfinite(raw) & _unsure(market, holds, raw) | (moves | small) & (_near(size, least) | _near(size, part))
    closes, opens = _legs(np.flatnonzero(moves & ~unsure), shares, holds)
    for place in np.flatnonzero(unsure).tolist():
        for trade in _exact(market, place, float(weights[place]), held.get(names[place], ZERO), equity, band):
            (closes if trade.leg is _CLOSE else opens).append(trade)
    closes.sort(key=lambda trade: names[trade.place])
    opens.sort(key=lambda trade: names[trade.place])
    return closes + opens


def _unsure(market: Market, holds: Floats, raw: Floats) -> Bools:
    """Where a float cannot say how many whole shares it is."""
    odd = np.array([instrument.lot != ONE for instrument in market.instruments], dtype=np.bool_)
    found: Bools = odd | (holds != np.rint(holds)) | (_near(raw, np.rint(raw)) & (raw != 0.0))
    return found


def _near(values: Floats, edge: Floats | float) -> Bools:
    found: Bools = np.abs(values - edge) <= _NEAR * np.maximum(np.abs(values), 1.0)
    return found


def _legs(rows: Ints, shares: Floats, holds: Floats) -> tuple[list[Trade], list[Trade]]:
    """A change that crosses zero takes a closing and an opening leg; one toward zero a closing leg; any other an opening one."""
    closes: list[Trade] = []
    opens: list[Trade] = []
    for place, target, held in zip(rows.tolist(), shares[rows].tolist(), holds[rows].tolist(), strict=True):
        side = _BUY if target > held else _SELL
        if held * target < 0.0:
            closes.append(Trade(place=place, side=side, quantity=Decimal(int(abs(held))), size=abs(held), leg=_CLOSE))
            opens.append(Trade(place=place, side=side, quantity=Decimal(int(abs(target))), size=abs(target), leg=_OPEN))
        elif abs(target) < abs(held):
            closes.append(Trade(place=place, side=side, quantity=Decimal(int(abs(target - held))), size=abs(target - held), leg=_CLOSE))
        else:
            opens.append(Trade(place=place, side=side, quantity=Decimal(int(abs(target - held))), size=abs(target - held), leg=_OPEN))
    return closes, opens


def _exact(market: Market, place: int, weight: float, held: Decimal, equity: Decimal, band: NoTradeBand) -> list[Trade]:
    price, instrument, wanted = market.prices[place], market.instruments[place], to_price(weight)
    if price is None:
        return []
    target = target_quantity(wanted, equity, price, instrument.lot)
    if band.skips((target - held) * price, wanted * equity, equity):
        return []
    legs = intents_toward(instrument, held, target, price)
    return [_trade(place, leg) for leg in legs]


# ---- identity and price --------------------------------------------------------------------------------------------------------


def orders_of(
    trades: Sequence[Trade], market: Market, terms: Terms, limits: Limits, sent: Collection[str]
) -> tuple[list[Order], OrderBatch]:
    """Trades with identity and price, and the same as the rules read them.

    Auction orders carry the collar's edge as their limit: no fill beyond what was judged.

    Without a fresh price the edge of a reduction widens, as the rule does that judges it.
    """
    places = np.array([trade.place for trade in trades], dtype=np.int64)
    sign = np.array([1.0 if trade.side is _BUY else -1.0 for trade in trades], dtype=np.float64)
    closing = np.array([trade.leg is _CLOSE for trade in trades], dtype=np.bool_)
    edges = _edges(places, sign, closing, market, limits)
    edge_prices = to_prices(edges)
    rows = zip(trades, _names(trades, market, terms), edge_prices, strict=True)
    orders = [_order(trade, name, edge, market, terms) for trade, name, edge in rows]
    lots = [market.instruments[place].lot for place in places.tolist()]
    return orders, OrderBatch(
        instrument=places,
        sign=sign,
        quantity=np.array([trade.size for trade in trades], dtype=np.float64),
        price=market.price[places],
        limit_price=np.array([o.limit_price for o in orders], dtype=np.float64) if terms.on_tick else float_views(edges, edge_prices),
        reduction=closing,
        auction=np.full(len(orders), terms.time_in_force is not _DAY),
        duplicate=np.array([order.client_order_id in sent for order in orders], dtype=np.bool_),
        lot=np.ones(len(orders)) if all(lot == ONE for lot in lots) else np.array(lots, dtype=np.float64),
    )


def _order(trade: Trade, name: str, limit: Decimal, market: Market, terms: Terms) -> Order:
    place, price = trade.place, market.prices[trade.place]
    instrument = market.instruments[place]
    return Order(
        client_order_id=name,
        decision_id=terms.decision_id,
        instrument_id=instrument.instrument_id,
        symbol=instrument.symbol,
        side=trade.side,
        quantity=trade.quantity,
        order_type=_LIMIT,
        limit_price=to_tick(limit, up=trade.side is _SELL) if terms.on_tick else limit,
        time_in_force=terms.time_in_force,
        leg=trade.leg,
        purpose=terms.purpose,
        session=terms.session,
        reference_price=ZERO if price is None else price,
        submitted_at=terms.at,
    )


def _edges(places: Ints, sign: Floats, closing: Bools, market: Market, limits: Limits) -> Floats:
    """The worst price of each trade: the wider of the table and so many daily sigmas from the last good price."""
    price = market.price[places]
    width = np.fmax(table_width(price, limits), limits.collar_daily_sigmas * market.sigma[places])
    width = np.where(closing, width + widening(market.age[places], limits), width)
    return price * (1.0 + sign * width)


def _names(trades: Sequence[Trade], market: Market, terms: Terms) -> list[str]:
    """What ``client_order_id`` gives of each, hashed from one prefix and written together."""
    intent = IntentHash(account=terms.account, book=terms.book, session=terms.session, decision=terms.decision_id)
    instruments = market.instruments
    pairs = [(instruments[trade.place].instrument_id, _CLOSE_WORD if trade.leg is _CLOSE else _OPEN_WORD) for trade in trades]
    text = _base32(intent.digests(pairs))
    return [f"{text[start : start + _ID_LENGTH]}-r0" for start in range(0, len(text), _ID_LENGTH)]


def _base32(content: bytes) -> str:
    """Lower-case base32 of many times five bytes."""
    fives = np.unpackbits(np.frombuffer(content, dtype=np.uint8)).reshape(-1, 5)
    eights = np.zeros((len(fives), 8), dtype=np.uint8)
    eights[:, 3:] = fives
    return _LETTERS[np.packbits(eights)].tobytes().decode()


# ---- the border again: Decimals become numpy columns for the rules -------------------------------------------------------------


def batch_of(orders: Sequence[Order], instruments: Sequence[Instrument], sent: Collection[str]) -> OrderBatch:
    """Orders as the rules read them."""
    column = {instrument.instrument_id: index for index, instrument in enumerate(instruments)}
    places = [column.get(order.instrument_id, -1) for order in orders]
    nothing = float("nan")
    return OrderBatch(
        instrument=np.array(places, dtype=np.int64),
        sign=np.array([1.0 if order.side is _BUY else -1.0 for order in orders], dtype=np.float64),
        quantity=np.array([order.quantity for order in orders], dtype=np.float64),
        price=np.array([order.reference_price for order in orders], dtype=np.float64),
        limit_price=np.array([nothing if order.limit_price is None else order.limit_price for order in orders], dtype=np.float64),
        reduction=np.array([order.leg is _CLOSE for order in orders], dtype=np.bool_),
        auction=np.array([order.time_in_force is not _DAY for order in orders], dtype=np.bool_),
        duplicate=np.array([order.client_order_id in sent for order in orders], dtype=np.bool_),
        lot=np.array([nothing if place < 0 else instruments[place].lot for place in places], dtype=np.float64),
    )
