"""``reconcile``: the journal against the simulated broker's own book, which has never seen the journal."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hedgefund_core.account import State
from hedgefund_core.backtest.exchange import report
from hedgefund_core.errors import BrokerUnavailable
from hedgefund_core.layout import broker_book_file
from hedgefund_core.machine import step
from hedgefund_core.trading.events import Difference
from hedgefund_core.trading.order import OrderStatus
from hedgefund_core.trading.reconcile import differences
from live_executor.brokers.book import DurableBook
from live_executor.queries.story import Story


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """Every unexplained difference. ``explained`` says what the next start of the executor will catch up with."""

    ok: bool
    differences: tuple[Difference, ...]
    explained: tuple[str, ...]


def reconcile(story: Story, data: Path) -> Reconciliation:
    """Compare; raises BrokerUnavailable where the broker has no book."""
    path = data / broker_book_file(story.state.account)
    if not path.exists():
        raise BrokerUnavailable(f"the broker has no book at {path}", mend="restore it from a backup: orders and fills are in it")
    book = DurableBook(path, story.state.ledger.cash)
    try:
        answer = report(book.load(), at=story.ts)
        news = book.news(story.state.broker_seq)
    finally:
        book.close()
    state, explained = story.state, list[str]()
    for item in news:
        state, _ = step(state, item)
    if news:
        explained.append(f"{len(news)} pieces of the broker's news are not booked yet")
    symbols = {instrument.instrument_id: instrument.symbol for instrument in state.instruments}
    found = differences(state.ledger, state.orders, answer, symbols)
    unsent = _unsent(state)
    if unsent:
        explained.append(f"{len(unsent)} orders were journaled and not acknowledged: they are looked up first")
    left = tuple(difference for difference in found if not (difference.kind == "order" and difference.symbol in unsent))
    return Reconciliation(ok=not left, differences=left, explained=tuple(explained))


def _unsent(state: State) -> set[str]:
    waiting = {OrderStatus.PENDING_NEW, OrderStatus.UNKNOWN}
    return {key for key, order in state.orders.items() if order.status in waiting}
