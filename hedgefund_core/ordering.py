"""From target weights to orders, a column at a time: sizes, the no-trade band, legs, identity and the collar's edge as the limit.

float64 finds what a trade comes to; where a float lies too near an edge to be sure of the share (or a quantity is no whole number)
Decimal decides, as ``trading.rebalance`` does for one trade. So the orders are those of Decimal, in a tenth of its time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np

from hedgefund_core.border import priced
from hedgefund_core.identifiers import decision_letters, written
from hedgefund_core.risk.limits import Limits
from hedgefund_core.risk.price_collar import table_width, widening
from hedgefund_core.risk.rule import Bools, Floats, Ints, OrderBatch
from hedgefund_core.trading.capabilities import to_tick
from hedgefund_core.trading.instrument import ONE, ZERO, Instrument, Instruments, to_price
from hedgefund_core.trading.order import Leg, Order, OrderType, Purpose, Side, TimeInForce
from hedgefund_core.trading.order_table import Orders
from hedgefund_core.trading.rebalance import Intent, NoTradeBand, intents_toward, target_quantity

_NEAR = 1e-12
"""Relative: six roundings of a float64 are off by less than a thousandth of it."""
_BUY, _SELL, _CLOSE, _OPEN, _LIMIT, _DAY = Side.BUY, Side.SELL, Leg.CLOSE, Leg.OPEN, OrderType.LIMIT, TimeInForce.DAY
"""Named once: an enum looks a member up anew at every use, which is a third of an order's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trades:
    """``n`` wanted trades in columns, closing legs first, then by instrument id.

    Attributes
    ----------
    place : int64 (n,), the instrument's in the market. sign : float64 (n,), +1 buy, -1 sell. closing : bool (n,).
    quantities : shares, positive. size : float64 (n,), the same as the rules read them.
    """

    place: Ints
    sign: Floats
    closing: Bools
    quantities: Sequence[Decimal]
    size: Floats


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

    instruments: Instruments
    prices: Sequence[Decimal | None]
    price: Floats
    sigma: Floats
    age: Floats


# ---- sizes ------------------------------------------------------------------------------------------------------------------


def as_trades(intents: Sequence[Intent], instruments: Sequence[Instrument]) -> Trades:
    """Intents in their order."""
    places = Instruments.of(instruments).places
    return _columns([(places[intent.instrument.instrument_id], intent) for intent in intents])


def _columns(intents: Sequence[tuple[int, Intent]]) -> Trades:
    quantities = [intent.quantity for _, intent in intents]
    return Trades(
        place=np.array([place for place, _ in intents], dtype=np.int64),
        sign=np.array([1.0 if intent.side is _BUY else -1.0 for _, intent in intents], dtype=np.float64),
        closing=np.array([intent.leg is _CLOSE for _, intent in intents], dtype=np.bool_),
        quantities=quantities,
        size=np.array(quantities, dtype=np.float64),
    )


def rebalanced(market: Market, weights: Floats, held: Mapping[str, Decimal], holds: Floats, equity: Decimal, band: NoTradeBand) -> Trades:
    """Trades toward ``weights`` (m,) on the grid of 1e-6, closing legs first, then by instrument id. NaN, or no price: left alone.

    ``held`` are signed shares by id, ``holds`` float64 (m,) the same as floats.
    """
    names = market.instruments.ids
    value = weights * float(equity)
    with np.errstate(invalid="ignore"):
        raw = value / market.price
        shares = np.trunc(raw)
        size = np.abs(shares - holds) * market.price
        least, part = float(band.minimum_change) * float(equity), float(band.relative_change) * np.abs(value)
        small = (size <= least) & (size <= part) & (weights != 0.0)
        moves = np.isfinite(raw) & (shares != holds) & ~small
        unsure = np.isfinite(raw) & _unsure(market, holds, raw) | (moves | small) & (_near(size, least) | _near(size, part))
    sure = _legs(np.flatnonzero(moves & ~unsure), shares, holds)
    doubtful = [
        (place, intent)
        for place in np.flatnonzero(unsure).tolist()
        for intent in _exact(market, place, float(weights[place]), held.get(names[place], ZERO), equity, band)
    ]
    if not doubtful and not market.instruments.ranks:
        return sure  # in order already, as the market is
    return _in_order(_joined(sure, _columns(doubtful)), market.instruments)


def _unsure(market: Market, holds: Floats, raw: Floats) -> Bools:
    """Where a float cannot say how many whole shares it is."""
    lots = market.instruments.lots
    odd = np.array([lot != ONE for lot in lots], dtype=np.bool_) if lots else np.zeros(len(holds), dtype=np.bool_)
    found: Bools = odd | (holds != np.rint(holds)) | (_near(raw, np.rint(raw)) & (raw != 0.0))
    return found


def _near(values: Floats, edge: Floats | float) -> Bools:
    found: Bools = np.abs(values - edge) <= _NEAR * np.maximum(np.abs(values), 1.0)
    return found


def _legs(rows: Ints, shares: Floats, holds: Floats) -> Trades:
    """A change that crosses zero takes a closing and an opening leg; one toward zero a closing leg; any other an opening one."""
    target, held = shares[rows], holds[rows]
    signed = target - held
    change = np.abs(signed)
    crosses = held * target < 0.0
    lowers = crosses | (np.abs(target) < np.abs(held))
    opens = crosses | ~lowers
    sign = np.sign(signed)
    size = np.concatenate((np.where(crosses, np.abs(held), change)[lowers], np.where(crosses, np.abs(target), change)[opens]))
    return Trades(
        place=np.concatenate((rows[lowers], rows[opens])),
        sign=np.concatenate((sign[lowers], sign[opens])),
        closing=np.arange(len(size)) < np.count_nonzero(lowers),
        quantities=[ONE * shares for shares in size.astype(np.int64).tolist()],
        size=size,
    )


def _joined(some: Trades, others: Trades) -> Trades:
    return Trades(
        place=np.concatenate((some.place, others.place)),
        sign=np.concatenate((some.sign, others.sign)),
        closing=np.concatenate((some.closing, others.closing)),
        quantities=[*some.quantities, *others.quantities],
        size=np.concatenate((some.size, others.size)),
    )


def _in_order(trades: Trades, instruments: Instruments) -> Trades:
    """Closing legs first, then by instrument id."""
    rank = np.array(instruments.ranks, dtype=np.int64)[trades.place] if instruments.ranks else trades.place
    order = np.lexsort((rank, ~trades.closing))
    return Trades(
        place=trades.place[order],
        sign=trades.sign[order],
        closing=trades.closing[order],
        quantities=[trades.quantities[row] for row in order.tolist()],
        size=trades.size[order],
    )


def _exact(market: Market, place: int, weight: float, held: Decimal, equity: Decimal, band: NoTradeBand) -> list[Intent]:
    price, instrument, wanted = market.prices[place], market.instruments[place], to_price(weight)
    if price is None:
        return []
    target = target_quantity(wanted, equity, price, instrument.lot)
    if band.skips((target - held) * price, wanted * equity, equity):
        return []
    return intents_toward(instrument, held, target, price)


# ---- identity and price --------------------------------------------------------------------------------------------------------


def orders_of(trades: Trades, market: Market, terms: Terms, limits: Limits, sent: AbstractSet[str]) -> tuple[Orders, OrderBatch]:
    """Trades with identity and price, and the same as the rules read them.

    Auction orders carry the collar's edge as their limit: no fill beyond what was judged.

    Without a fresh price the edge of a reduction widens, as the rule does that judges it.
    """
    names = _names(trades, market.instruments, terms)
    edges = _edges(trades.place, trades.sign, trades.closing, market, limits)
    prices, price_views = priced(edges)
    if terms.on_tick:
        prices = [to_tick(price, up=sign < 0.0) for price, sign in zip(prices, trades.sign.tolist(), strict=True)]
        price_views = np.array(prices, dtype=np.float64)
    lots = market.instruments.lots
    return _orders(trades, names, prices, market, terms), OrderBatch(
        instrument=trades.place,
        sign=trades.sign,
        quantity=trades.size,
        price=market.price[trades.place],
        limit_price=price_views,
        reduction=trades.closing,
        auction=np.full(len(names), terms.time_in_force is not _DAY),
        duplicate=np.zeros(len(names), dtype=np.bool_) if sent.isdisjoint(names) else np.array([name in sent for name in names]),
        lot=np.array(lots, dtype=np.float64)[trades.place] if lots else np.ones(len(names)),
    )


def _orders(trades: Trades, names: Sequence[str], limits: Sequence[Decimal], market: Market, terms: Terms) -> Orders:
    places, ids, symbols, known = trades.place.tolist(), market.instruments.ids, market.instruments.symbols, market.prices
    columns = {
        "client_order_id": names,
        "instrument_id": [ids[place] for place in places],
        "symbol": [symbols[place] for place in places],
        "side": [_BUY if sign > 0.0 else _SELL for sign in trades.sign.tolist()],
        "quantity": trades.quantities,
        "leg": [_CLOSE if closing else _OPEN for closing in trades.closing.tolist()],
        "reference_price": [known[place] or ZERO for place in places],
        "limit_price": limits,
    }
    return Orders.made(
        columns,
        decision_id=terms.decision_id,
        order_type=_LIMIT,
        time_in_force=terms.time_in_force,
        purpose=terms.purpose,
        session=terms.session,
        submitted_at=terms.at,
    )


def _edges(places: Ints, sign: Floats, closing: Bools, market: Market, limits: Limits) -> Floats:
    """The worst price of each trade: the wider of the table and so many daily sigmas from the last good price."""
    price = market.price[places]
    width = np.fmax(table_width(price, limits), limits.collar_daily_sigmas * market.sigma[places])
    width = np.where(closing, width + widening(market.age[places], limits), width)
    return price * (1.0 + sign * width)


def _names(trades: Trades, instruments: Instruments, terms: Terms) -> list[str]:
    """What ``client_order_id`` gives of each, written together."""
    shared = decision_letters(account=terms.account, book=terms.book, session=terms.session, decision=terms.decision_id)
    own = np.frombuffer(instruments.order_letters, dtype=np.uint8).reshape(-1, 2, len(shared))
    return written((own[trades.place, trades.closing.view(np.uint8)] ^ np.frombuffer(shared, dtype=np.uint8)).tobytes())


# ---- the border again: Decimals become numpy columns for the rules -------------------------------------------------------------


def batch_of(orders: Sequence[Order], instruments: Sequence[Instrument], sent: Collection[str]) -> OrderBatch:
    """Orders as the rules read them."""
    column = Instruments.of(instruments).places
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
