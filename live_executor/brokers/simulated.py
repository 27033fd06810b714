"""The simulated exchange inside the trading process: no network, the same durable book."""

from __future__ import annotations

from datetime import datetime

from hedgefund_core.layout import broker_book_file
from hedgefund_core.trading.events import BrokerNews, BrokerReported
from hedgefund_core.trading.order import Order
from live_executor.brokers import BrokerSetup
from live_executor.brokers.exchange import Exchange
from live_executor.panels import read_panel
from live_executor.ports import BrokerOrder, MarketMoment


def open_exchange(setup: BrokerSetup) -> Exchange:
    """The exchange of an account on its own reading of the panel."""
    path = setup.data / broker_book_file(setup.account)
    return Exchange(path, read_panel(setup.data, setup.source), setup.costs, setup.initial_cash)


class SimulatedBroker:
    """Broker and SimulatedMarket in one."""

    def __init__(self, setup: BrokerSetup) -> None:
        self._exchange = open_exchange(setup)

    async def submit(self, order: Order) -> BrokerOrder:
        """Send an order; it is in the book when this returns."""
        return self._exchange.submit(order)

    async def cancel(self, client_order_id: str) -> None:
        """Cancel at once; the news says so."""
        self._exchange.cancel(client_order_id)

    async def look_up(self, client_order_id: str) -> BrokerOrder | None:
        """The order as the book has it."""
        return self._exchange.look_up(client_order_id)

    async def news(self, after_seq: int) -> list[BrokerNews]:
        """Everything after a number."""
        return self._exchange.news(after_seq)

    async def report(self, session: str, ts: datetime) -> BrokerReported:
        """The account as the book has it."""
        return self._exchange.report(session, ts)

    async def advance(self, session: str, moment: MarketMoment, ts: datetime) -> None:
        """Move the market to a moment."""
        self._exchange.advance(session, moment, ts)

    async def close(self) -> None:
        """Release the book."""
        self._exchange.close()
