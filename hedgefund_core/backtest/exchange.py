"""The simulated exchange and its broker's book, as a pure fold: orders in, fills and cash lines out, in Decimal.

The event-driven backtest keeps the book in memory; the simulated broker of the executor keeps the same book in its own
database, so that both fill alike. The book never sees the executor's journal: otherwise reconciliation could not fail.

Auctions: an order for session s fills at that session's open (``opg``) or close (``cls``), at most the configured share of
the session's volume where volume is known, within its limit; what is left expires. Costs: commission in basis points of
the traded value, borrow on shorts a session, dividends received by longs and paid by shorts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from math import isfinite

import msgspec
import numpy as np
from msgspec.structs import replace

from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.risk.limits import Costs
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO, Instrument, split_quantity, to_money, to_price
from hedgefund_core.trading.ledger import CashKind
from hedgefund_core.trading.order import Order, OrderStatus, OrderType, TimeInForce

_BASIS_POINT = Decimal("0.0001")


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """The broker's own truth. ``last_close`` prices borrow and fractions of splits."""

    cash: Decimal
    positions: dict[str, Decimal] = {}
    orders: dict[str, Order] = {}
    """Orders that are open, or were for the current session."""
    last_close: dict[str, Decimal] = {}
    broker_seq: int = 0
    session: str = ""
    closed: bool = True
    """Whether ``session`` has closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """The market the exchange trades on: a panel and the instruments of its columns."""

    panel: Panel
    instruments: tuple[Instrument, ...]
    costs: Costs

    def row(self, session: str) -> int:
        """Row of a session; raises KeyError for a day that is no session."""
        found = int(np.searchsorted(self.panel.sessions, np.datetime64(session)))
        if found >= len(self.panel.sessions) or str(self.panel.sessions[found]) != session:
            raise KeyError(session)
        return found

    def value(self, grid: Floats | None, row: int, column: int) -> float | None:
        """A cell, None where the field or the value is absent."""
        if grid is None or not np.isfinite(grid[row, column]):
            return None
        return float(grid[row, column])


Turn = tuple[Book, list[e.BrokerNews]]


def submit(book: Book, order: Order, known: Iterable[str], *, at: datetime) -> Turn:
    """Take an order. An id that was ever used is not a new order: nothing happens (``known`` are the instruments traded)."""
    if order.client_order_id in book.orders:
        return book, []
    refusal = _refusal(book, order, set(known))
    seq = book.broker_seq + 1
    if refusal:
        refused = replace(order, status=OrderStatus.REJECTED, reason=refusal)
        rejected = e.OrderRejected(ts=at, broker_seq=seq, client_order_id=order.client_order_id, reason=refusal)
        return replace(book, broker_seq=seq, orders={**book.orders, order.client_order_id: refused}), [rejected]
    name = broker_order_id(order.client_order_id)
    taken = replace(order, status=OrderStatus.ACCEPTED, broker_order_id=name)
    accepted = e.OrderAccepted(ts=at, broker_seq=seq, client_order_id=order.client_order_id, broker_order_id=name)
    return replace(book, broker_seq=seq, orders={**book.orders, order.client_order_id: taken}), [accepted]


def broker_order_id(client_order_id: str) -> str:
    """The broker's name of an order: derived, so that a repeated run gives the same book."""
    return f"sim-{client_order_id}"


def _refusal(book: Book, order: Order, known: set[str]) -> str:
    if order.instrument_id not in known:
        return f"unknown instrument {order.instrument_id}"
    if order.quantity <= ZERO:
        return f"quantity {order.quantity} is not positive"
    if order.session < book.session or (order.session == book.session and book.closed):
        return f"session {order.session} is over"
    if order.session == book.session and order.time_in_force is TimeInForce.OPG:
        return f"the opening auction of {order.session} is over"
    return ""


def cancel(book: Book, client_order_id: str, *, at: datetime) -> Turn:
    """Take an open order out of the market; an order that is over stays as it is."""
    order = book.orders.get(client_order_id)
    if order is None or not order.is_working:
        return book, []
    seq = book.broker_seq + 1
    canceled = {**book.orders, client_order_id: replace(order, status=OrderStatus.CANCELED)}
    return replace(book, broker_seq=seq, orders=canceled), [e.OrderCanceled(ts=at, broker_seq=seq, client_order_id=client_order_id)]


def open_session(book: Book, market: Market, session: str, *, at: datetime) -> Turn:
    """Begin a session: splits, dividends and borrow, then the opening auction. A session already begun changes nothing."""
    if session <= book.session:
        return book, []
    row = market.row(session)
    desk = _Desk(replace(book, session=session, closed=False, orders=_open_orders(book)), market, session, at)
    desk.split_positions(row)
    desk.pay_dividends(row)
    desk.charge_borrow()
    desk.auction(market.panel.open, row, TimeInForce.OPG)
    desk.expire({TimeInForce.OPG})
    return desk.book, desk.news


def close_session(book: Book, market: Market, session: str, *, at: datetime) -> Turn:
    """The closing auction; day and closing orders that are left expire. A session already closed changes nothing."""
    if session < book.session or (session == book.session and book.closed):
        return book, []
    book, news = open_session(book, market, session, at=at)  # a session that nobody opened has splits and borrow all the same
    row = market.row(session)
    desk = _Desk(book, market, session, at)
    desk.news += news
    desk.auction(market.panel.close, row, TimeInForce.CLS)
    desk.expire({TimeInForce.OPG, TimeInForce.CLS, TimeInForce.DAY})
    closes = dict(desk.book.last_close)
    for instrument, price in zip(market.instruments, market.panel.close[row].tolist(), strict=True):
        if isfinite(price):
            closes[instrument.instrument_id] = to_price(price)
    return replace(desk.book, closed=True, last_close=closes), desk.news


def report(book: Book, *, at: datetime) -> e.BrokerReported:
    """The broker's answer to a query of its books."""
    return e.BrokerReported(
        ts=at,
        session=book.session,
        cash=book.cash,
        positions={key: quantity for key, quantity in sorted(book.positions.items()) if quantity != ZERO},
        open_orders=tuple(sorted(key for key, order in book.orders.items() if order.is_working)),
        last_broker_seq=book.broker_seq,
    )


def _open_orders(book: Book) -> dict[str, Order]:
    """Orders carried into the next session, and those of the last one, so that a late duplicate is still recognised."""
    return {key: order for key, order in book.orders.items() if order.is_working or order.session >= book.session}


class _Desk:
    """One session's work on a book: collects news while the book changes."""

    def __init__(self, book: Book, market: Market, session: str, at: datetime) -> None:
        self.book, self.news = book, list[e.BrokerNews]()
        self._market, self._session, self._at = market, session, at
        self._columns = {instrument.instrument_id: column for column, instrument in enumerate(market.instruments)}
        self._traded: dict[str, Decimal] = {}

    def _next_seq(self) -> int:
        self.book = replace(self.book, broker_seq=self.book.broker_seq + 1)
        return self.book.broker_seq

    def _cash(self, kind: CashKind, amount: Decimal, instrument_id: str) -> None:
        if amount == ZERO:
            return
        self.book = replace(self.book, cash=self.book.cash + amount)
        activity = f"{self._session}-{kind.value}-{instrument_id}"
        posted = e.CashPosted(
            ts=self._at,
            broker_seq=self._next_seq(),
            activity_id=activity,
            cash_kind=kind,
            amount=amount,
            session=self._session,
            instrument_id=instrument_id,
        )
        self.news.append(posted)

    def split_positions(self, row: int) -> None:
        """Whole shares toward zero; the fraction is paid at the last close in new shares."""
        ratios = self._market.panel.split_ratios
        if ratios is None:
            return
        for column in np.flatnonzero(np.isfinite(ratios[row]) & (ratios[row] != 1.0)).tolist():
            instrument_id = self._market.instruments[column].instrument_id
            ratio = Decimal(str(float(ratios[row, column])))
            self._restate_close(instrument_id, ratio)
            self._cancel_orders(instrument_id)
            held = self.book.positions.get(instrument_id, ZERO)
            if held == ZERO:
                continue
            lot = self._market.instruments[column].lot
            after, fraction = split_quantity(held, ratio, lot)
            in_lieu = to_money(fraction * self.book.last_close.get(instrument_id, ZERO))
            self.book = replace(self.book, positions={**self.book.positions, instrument_id: after}, cash=self.book.cash + in_lieu)
            processed = e.SplitProcessed(
                ts=self._at,
                broker_seq=self._next_seq(),
                activity_id=f"{self._session}-split-{instrument_id}",
                instrument_id=instrument_id,
                ratio=ratio,
                quantity_after=after,
                cash_in_lieu=in_lieu,
                session=self._session,
            )
            self.news.append(processed)

    def _cancel_orders(self, instrument_id: str) -> None:
        """An order in old shares has no meaning in new ones: after 1 for 10, a sale of all would be a sale of ten times all."""
        for key, order in list(self.book.orders.items()):
            if order.instrument_id == instrument_id and order.is_working:
                self.book, news = cancel(self.book, key, at=self._at)
                self.news += news

    def _restate_close(self, instrument_id: str, ratio: Decimal) -> None:
        price = self.book.last_close.get(instrument_id)
        if price is not None:
            restated = to_price(float(price / ratio))
            self.book = replace(self.book, last_close={**self.book.last_close, instrument_id: restated})

    def pay_dividends(self, row: int) -> None:
        """Longs receive, shorts pay, on the shares held before the session's first trade."""
        for instrument_id, quantity in sorted(self.book.positions.items()):
            dividend = self._market.value(self._market.panel.dividends, row, self._columns[instrument_id])
            if dividend:
                self._cash(CashKind.DIVIDEND, to_money(quantity * to_price(dividend)), instrument_id)

    def charge_borrow(self) -> None:
        """One session's fee on each short, on its value at the last close."""
        per_session = (
            Decimal(str(self._market.costs.borrow_bps_per_year)) * _BASIS_POINT / Decimal(str(self._market.panel.sessions_per_year))
        )
        for instrument_id, quantity in sorted(self.book.positions.items()):
            price = self.book.last_close.get(instrument_id)
            if quantity < ZERO and price is not None:
                self._cash(CashKind.BORROW, to_money(quantity * price * per_session), instrument_id)

    def auction(self, prices: Floats | None, row: int, time_in_force: TimeInForce) -> None:
        """Fill what may fill at the auction's price, in the order in which the orders came."""
        for order in [order for order in self.book.orders.values() if order.is_working]:
            if order.time_in_force is not time_in_force or order.session != self._session:
                continue
            column = self._columns[order.instrument_id]
            value = self._market.value(prices, row, column)
            if value is None:
                continue
            price = to_price(value)
            quantity = min(order.remaining, self._available(order, row, column))
            if quantity > ZERO and _within_limit(order, price):
                self._fill(order, quantity, price)

    def _available(self, order: Order, row: int, column: int) -> Decimal:
        """Shares the auction still gives: the configured part of the session's volume, none where its volume is absent."""
        panel = self._market.panel
        if panel.volume is None:
            return order.remaining
        volume = self._market.value(panel.volume, row, column) or 0.0
        share = Decimal(volume) * Decimal(str(self._market.costs.auction_participation))
        lot = self._market.instruments[column].lot
        whole = (share / lot).to_integral_value(rounding=ROUND_DOWN) * lot
        return whole - self._traded.get(order.instrument_id, ZERO)

    def _fill(self, order: Order, quantity: Decimal, price: Decimal) -> None:
        value = to_money(quantity * price)
        commission = to_money(quantity * price * Decimal(str(self._market.costs.commission_bps)) * _BASIS_POINT)
        key, sign = order.instrument_id, order.side.sign
        self._traded[key] = self._traded.get(key, ZERO) + quantity
        filled = order.filled_quantity + quantity
        fill_id = f"{order.client_order_id}-{len(order.fill_ids) + 1}"
        after = replace(
            order,
            status=OrderStatus.FILLED if filled == order.quantity else OrderStatus.PARTIALLY_FILLED,
            filled_quantity=filled,
            filled_value=order.filled_value + quantity * price,
            fill_ids=(*order.fill_ids, fill_id),
        )
        held = self.book.positions.get(key, ZERO) + quantity * sign
        positions = {**self.book.positions, key: held}
        if held == ZERO:
            del positions[key]
        cash = self.book.cash - value * sign - commission
        self.book = replace(self.book, positions=positions, cash=cash, orders={**self.book.orders, order.client_order_id: after})
        news = e.OrderFilled(
            ts=self._at,
            broker_seq=self._next_seq(),
            client_order_id=order.client_order_id,
            broker_order_id=order.broker_order_id,
            fill_id=fill_id,
            quantity=quantity,
            price=price,
            commission=commission,
            session=self._session,
        )
        self.news.append(news)

    def expire(self, times: set[TimeInForce]) -> None:
        """End the orders of this session (or an earlier one) whose time in force is over."""
        for key, order in list(self.book.orders.items()):
            if order.is_working and order.time_in_force in times and order.session <= self._session:
                expired = replace(order, status=OrderStatus.EXPIRED)
                self.book = replace(self.book, orders={**self.book.orders, key: expired})
                self.news.append(e.OrderExpired(ts=self._at, broker_seq=self._next_seq(), client_order_id=key))


def _within_limit(order: Order, price: Decimal) -> bool:
    if order.order_type is OrderType.MARKET or order.limit_price is None:
        return True
    return price <= order.limit_price if order.side.sign > 0 else price >= order.limit_price
