"""The simulated broker's account: the pure exchange of the core, made durable.

How orders fill and what they cost is decided by ``hedgefund_core.backtest.exchange``, the code of the backtest. This module makes a
broker of it: a book on disk, one transaction per call, every id remembered for ever, numbered news, and a time that cannot skip sessions.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

from msgspec.structs import replace

from hedgefund_core.backtest import exchange
from hedgefund_core.errors import DataInvalid, OrderRejected
from hedgefund_core.quant.bars import Panel
from hedgefund_core.risk.limits import Costs
from hedgefund_core.trading.events import BrokerNews, BrokerReported
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.order import Order, OrderStatus
from live_executor.brokers.book import DurableBook
from live_executor.panels import instruments_of
from live_executor.ports import BrokerOrder, MarketMoment


class Exchange:
    """One account at the simulated exchange."""

    def __init__(self, path: Path, panel: Panel, costs: Costs, initial_cash: Decimal) -> None:
        self._book = DurableBook(path, initial_cash)
        self._market = exchange.Market(panel=panel, instruments=instruments_of(panel), costs=costs)
        self._known = frozenset(instrument.instrument_id for instrument in self._market.instruments)
        self._sessions = tuple(str(session) for session in panel.sessions)

    def submit(self, order: Order) -> BrokerOrder:
        """Take an order in; an id that was ever used gives back the order that has it.

        Raises
        ------
        OrderRejected : unknown instrument, impossible quantity, a session or auction that is over. It is in the news too.
        """
        with self._book.transaction():
            known = self._book.order(order.client_order_id)
            if known is None:
                before = self._book.load()
                after, news = exchange.submit(before, _terms(order), self._known, at=self._book.tell_time(order.submitted_at))
                self._book.store(before, after, news)
                known = after.orders[order.client_order_id]
        if known.status is OrderStatus.REJECTED:
            message = f"order {known.client_order_id} of {known.symbol} was rejected: {known.reason}"
            raise OrderRejected(message, mend="see `executor orders`")
        return _view(known)

    def cancel(self, client_order_id: str) -> None:
        """Take an order out of the market; nothing happens to one that is over or not here."""
        with self._book.transaction():
            now = self._book.now
            if now is not None:
                before = self._book.load()
                after, news = exchange.cancel(before, client_order_id, at=now)
                self._book.store(before, after, news)

    def look_up(self, client_order_id: str) -> BrokerOrder | None:
        """An order by its client id, however old."""
        known = self._book.order(client_order_id)
        return None if known is None else _view(known)

    def orders(self) -> list[Order]:
        """Every order that ever came, in order of arrival."""
        return self._book.orders()

    def news(self, after_seq: int) -> list[BrokerNews]:
        """Everything that happened after ``after_seq``."""
        return self._book.news(after_seq)

    def report(self, session: str, ts: datetime) -> BrokerReported:
        """The account as the book has it, labelled with the session of the question."""
        answer = exchange.report(self._book.load(), at=ts)
        return BrokerReported(
            ts=ts,
            session=session,
            cash=answer.cash,
            positions=answer.positions,
            open_orders=answer.open_orders,
            last_broker_seq=answer.last_broker_seq,
        )

    def advance(self, session: str, moment: MarketMoment, ts: datetime) -> None:
        """Move time to a moment, through every session on the way; a moment already passed does nothing."""
        if session not in self._sessions:
            message = f"session {session} is not in the panel of the simulated market"
            raise DataInvalid(message, mend="ingest it first, or choose other dates")
        with self._book.transaction():
            before = book = self._book.load()
            now, news = self._book.tell_time(ts), list[BrokerNews]()
            for row in self._rows_until(book, session):
                label = self._sessions[row]
                book, opened = exchange.open_session(book, self._market, label, at=now)
                news += opened
                if label != session or moment is MarketMoment.CLOSE:
                    book, shut = exchange.close_session(book, self._market, label, at=now)
                    news += shut
            self._book.store(before, book, news)

    def _rows_until(self, book: exchange.Book, session: str) -> range:
        """Rows of the panel from the session the book stands in (it may be open still) through ``session``."""
        last = self._sessions.index(session)
        first = self._sessions.index(book.session) if book.session in self._sessions else last
        return range(first, last + 1)

    def close(self) -> None:
        """Release the book."""
        self._book.close()


def _terms(order: Order) -> Order:
    """What a broker is told of an order: not the executor's own notes on it."""
    return replace(
        order,
        status=OrderStatus.PENDING_NEW,
        filled_quantity=ZERO,
        filled_value=ZERO,
        fill_ids=(),
        broker_order_id="",
        updated_at=None,
        denied_by="",
        reason="",
    )


def _view(order: Order) -> BrokerOrder:
    return BrokerOrder(
        client_order_id=order.client_order_id,
        broker_order_id=order.broker_order_id,
        status=order.status.value,
        quantity=order.quantity,
        filled_quantity=order.filled_quantity,
        reason=order.reason,
    )
