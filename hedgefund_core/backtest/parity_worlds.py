"""The worlds a session is compared in: the same books before it, other orders, other bars, the simulated exchange after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from msgspec.structs import replace

from hedgefund_core.account import State
from hedgefund_core.backtest import exchange
from hedgefund_core.backtest.event_driven import DECISION_DELAY, close_time
from hedgefund_core.machine import Record, step
from hedgefund_core.quant.bars import FIELDS, Floats, Panel
from hedgefund_core.quant.features.window import Window
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO, to_money, to_price
from hedgefund_core.trading.ledger import EXTERNAL_FLOWS, CashKind
from hedgefund_core.trading.order import Order, OrderStatus, TimeInForce

_TRADES_AND_FLOWS = {CashKind.COMMISSION, CashKind.TRADE, *EXTERNAL_FLOWS}
COST_LINES = frozenset(kind.value for kind in CashKind if kind not in _TRADES_AND_FLOWS)
"""Lines of the cash ledger that are neither trades nor money from outside."""
_GRIDS = (*FIELDS, "dividends", "split_ratios")
_BASIS_POINT = Decimal("0.0001")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A session as the simulated exchange would have it."""

    pnl: Decimal
    fills: tuple[e.OrderFilled, ...]
    lines: Decimal
    """Sum of its cash lines: dividends, borrow, cash in lieu."""


def terms(orders: Iterable[Order]) -> dict[tuple[str, str, str], str]:
    """What makes two orders the same intent, and what they ask for."""
    return {
        (order.symbol, order.side.value, order.leg.value): f"{order.quantity.normalize():f} {order.order_type.value} "
        f"{'' if order.limit_price is None else format(order.limit_price.normalize(), 'f')} {order.time_in_force.value}"
        for order in orders
    }


# ---- bars ------------------------------------------------------------------------------------------------------------------------


def journaled_bars(state: State) -> Panel:
    """The bars of the session just closed, as the machine took them."""
    if state.ring is None:  # pragma: no cover - it was just extended
        message = "a session closed without bars"
        raise ValueError(message)
    return state.ring.rows(len(state.ring.sessions) - 1, len(state.ring.sessions))


def lake_bars(state: State, panel: Panel | None, session: str) -> Panel | None:
    """The lake's bars of that session where they are not the journaled ones; None where they are."""
    mine = journaled_bars(state)
    theirs = None if panel is None else _rows(panel, mine, session, 1)
    return None if theirs is None or _same(mine, theirs) else theirs


def lake_inputs(state: State, panel: Panel | None) -> State | None:
    """The state before a decision with the lake's bars in place of the journaled ones; None where they are the same."""
    ring = state.ring
    if panel is None or ring is None or not len(ring.sessions):
        return None
    theirs = _rows(panel, ring, str(ring.sessions[-1]), len(ring.sessions))
    if theirs is None or _same(ring, theirs):
        return None
    last = theirs.close[-1].tolist()
    marks = tuple(mark if price != price else to_price(price) for mark, price in zip(state.marks, last, strict=True))  # noqa: PLR0124
    return replace(state, window=Window.of(theirs), marks=marks)


def _rows(panel: Panel, like: Panel, session: str, count: int) -> Panel | None:
    """The lake's rows of the sessions of ``like``, in its columns; None where the lake does not reach back so far or so long."""
    stop = int(np.searchsorted(panel.sessions, np.datetime64(session, "D"), side="right"))
    if stop < count or str(panel.sessions[stop - 1]) != session:
        return None
    rows = panel.rows(stop - count, stop)
    if not np.array_equal(rows.sessions.astype("datetime64[D]"), like.sessions.astype("datetime64[D]")):
        return None
    place = {symbol: column for column, symbol in enumerate(panel.symbols)}
    columns, there = [place.get(symbol, 0) for symbol in like.symbols], [symbol in place for symbol in like.symbols]
    fields: dict[str, Any] = {name: _columns(getattr(rows, name), columns, there) for name in _GRIDS}
    return dataclasses.replace(like, benchmark=rows.benchmark if like.benchmark is not None else None, **fields)


def _columns(grid: Floats | None, columns: Sequence[int], there: Sequence[bool]) -> Floats | None:
    return None if grid is None else np.where(there, grid[:, columns], np.nan)


def _same(mine: Panel, theirs: Panel) -> bool:
    for name in (*_GRIDS, "benchmark"):
        ours, other = getattr(mine, name), getattr(theirs, name)
        if (ours is None) != (other is None) or (ours is not None and not np.array_equal(ours, other, equal_nan=True)):
            return False
    return True


# ---- orders ----------------------------------------------------------------------------------------------------------------------


def decided(state: State, due: e.DecisionDue) -> list[Order]:
    """Orders that the kernel makes of a state now."""
    _, commands = step(state, due)
    frames = (command.frame for command in commands if isinstance(command, Record))
    return [order for frame in frames if isinstance(frame, e.OrdersIntended) for order in frame.orders]


def simulate(before: State, orders: Sequence[Order], bars: Panel, session: str) -> World:
    """A session at the simulated exchange, from the account's books before it.

    Orders for the day are taken to the opening auction: the simulated exchange knows auctions only, and their limits hold there too.
    """
    held = {key: position.quantity for key, position in before.ledger.positions.items() if position.quantity != ZERO}
    marks = {i.instrument_id: mark for i, mark in zip(before.instruments, before.marks, strict=True) if mark is not None}
    last = str(np.datetime64(session, "D") - np.timedelta64(1, "D"))
    book = exchange.Book(cash=before.ledger.cash, positions=held, last_close=marks, session=last)
    market = exchange.Market(panel=bars, instruments=_instruments(before, bars), costs=_mandate(before).costs)
    at = close_time(bars, 0) + DECISION_DELAY
    news: list[e.BrokerNews] = []
    known = [instrument.instrument_id for instrument in market.instruments]
    for order in orders:
        book, some = exchange.submit(book, _fresh(order, opens=bars.open is not None), known, at=at)
        news += some
    for turn in (exchange.open_session, exchange.close_session):
        book, some = turn(book, market, session, at=at)
        news += some
    lines = sum((item.amount for item in news if isinstance(item, e.CashPosted)), ZERO)
    lines += sum((item.cash_in_lieu for item in news if isinstance(item, e.SplitProcessed)), ZERO)
    worth = _worth(book.cash, book.positions, book.last_close) - _worth(before.ledger.cash, held, marks)
    return World(pnl=worth, fills=tuple(item for item in news if isinstance(item, e.OrderFilled)), lines=lines)


def _worth(cash: Decimal, positions: Mapping[str, Decimal], prices: Mapping[str, Decimal]) -> Decimal:
    return cash + sum((to_money(quantity * prices[key]) for key, quantity in positions.items() if key in prices), ZERO)


def _instruments(before: State, bars: Panel) -> tuple[e.Instrument, ...]:
    by_symbol = {instrument.symbol: instrument for instrument in before.instruments}
    return tuple(by_symbol.get(symbol, e.Instrument(instrument_id=symbol, symbol=symbol)) for symbol in bars.symbols)


def _fresh(order: Order, *, opens: bool) -> Order:
    """The order as it was before anything happened to it."""
    auction = order.time_in_force
    if auction is TimeInForce.DAY:
        auction = TimeInForce.OPG if opens else TimeInForce.CLS
    return replace(
        order, status=OrderStatus.PENDING_NEW, filled_quantity=ZERO, filled_value=ZERO, fill_ids=(), broker_order_id="",
        time_in_force=auction,
    )  # fmt: skip


def extra_cost(before: State, fills: Sequence[e.OrderFilled], cash: Mapping[str, Decimal], simulated: World) -> Decimal:
    """What trading brought beyond the cost schedule: more cash lines than the simulator's, less commission than is due on the fills."""
    rate = Decimal(str(_mandate(before).costs.commission_bps)) * _BASIS_POINT
    scheduled = sum((to_money(fill.quantity * fill.price * rate) for fill in fills), ZERO)
    paid = sum((fill.commission for fill in fills), ZERO)
    return sum(cash.values(), ZERO) - simulated.lines - (paid - scheduled)


def _mandate(state: State) -> Mandate:
    if state.mandate is None:  # pragma: no cover - the caller looks before
        message = "an account without a mandate"
        raise ValueError(message)
    return state.mandate
