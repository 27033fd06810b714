"""Adapter to the simulated broker's process. No request is ever sent twice by itself.

A submit whose bytes may have left and whose answer did not come is OrderOutcomeUnknown; everything else here can be asked
again safely and raises BrokerUnavailable.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import cast

import msgspec

from hedgefund_core import errors
from hedgefund_core.layout import broker_book_file
from hedgefund_core.trading.events import BrokerNews, BrokerReported, decode
from hedgefund_core.trading.order import Order
from live_executor.brokers import wire
from live_executor.ports import BrokerOrder, MarketMoment

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
_MEND = "start the broker's process: python -m live_executor.brokers.simulated_server --account … --source …"
_DEFINITE: dict[str, type[errors.HedgefundError]] = {
    kind.__name__: kind for kind in (errors.OrderRejected, errors.DataInvalid, errors.DataUnavailable, errors.InvariantViolation)
}


def port_file(data: Path, account: str) -> Path:
    """Where the broker's process writes its port."""
    return (data / broker_book_file(account)).with_name("port")


class SimulatedClient:
    """Broker and SimulatedMarket over one connection."""

    def __init__(self, announced: Path, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._announced, self._answer_seconds = announced, answer_seconds
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def submit(self, order: Order) -> BrokerOrder:
        """Send an order; see the module for what an error means."""
        await self._connect()  # BrokerUnavailable: not a byte has left
        try:
            reply = await self._exchange(wire.Submit(order=order))
        except errors.BrokerUnavailable as error:
            raise errors.OrderOutcomeUnknown(
                f"no answer to order {order.client_order_id}: {error.message}", mend="it is looked up"
            ) from error
        if not isinstance(reply, wire.Found) or reply.order is None:
            raise errors.OrderOutcomeUnknown(f"unreadable answer to order {order.client_order_id}", mend="it is looked up")
        return reply.order

    async def cancel(self, client_order_id: str) -> None:
        """Ask for a cancel."""
        await self._ask(wire.Cancel(client_order_id=client_order_id))

    async def look_up(self, client_order_id: str) -> BrokerOrder | None:
        """The broker's evidence about an order."""
        reply = await self._ask(wire.LookUp(client_order_id=client_order_id))
        if not isinstance(reply, wire.Found):
            raise errors.BrokerUnavailable("unreadable answer to a look-up", mend=_MEND)
        return reply.order

    async def news(self, after_seq: int) -> list[BrokerNews]:
        """Everything after a number."""
        return [cast("BrokerNews", decode(payload)) for payload in await self._frames(wire.AskNews(after_seq=after_seq))]

    async def report(self, session: str, ts: datetime) -> BrokerReported:
        """The account as the broker has it."""
        payloads = await self._frames(wire.AskReport(session=session, ts=ts))
        return cast("BrokerReported", decode(payloads[0]))

    async def advance(self, session: str, moment: MarketMoment, ts: datetime) -> None:
        """Move the market."""
        await self._ask(wire.Advance(session=session, moment=moment, ts=ts))

    async def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _frames(self, request: wire.Request) -> list[bytes]:
        reply = await self._ask(request)
        if not isinstance(reply, wire.Frames):
            raise errors.BrokerUnavailable("unreadable answer", mend=_MEND)
        return [bytes(payload) for payload in reply.payloads]

    async def _ask(self, request: wire.Request) -> wire.Reply:
        await self._connect()
        return await self._exchange(request)

    async def _connect(self) -> None:
        if self._streams is not None and not self._streams[0].at_eof():
            return
        await self.close()
        try:
            port = int(self._announced.read_text())
            opening = asyncio.open_connection("127.0.0.1", port, limit=wire.LINE_LIMIT)
            self._streams = await asyncio.wait_for(opening, CONNECT_SECONDS)
        except (OSError, ValueError, TimeoutError) as error:
            raise errors.BrokerUnavailable(f"cannot reach the simulated broker: {error}", mend=_MEND) from error

    async def _exchange(self, request: wire.Request) -> wire.Reply:
        """One request, one answer; after any doubt the connection is dropped, so that answers never get out of step."""
        if self._streams is None:
            raise errors.BrokerUnavailable("not connected", mend=_MEND)
        reader, writer = self._streams
        try:
            writer.write(wire.to_line(request))
            await writer.drain()
            line = await asyncio.wait_for(reader.readline(), self._answer_seconds)
            reply = wire.read_reply(line)
        except (OSError, TimeoutError, ValueError, msgspec.MsgspecError) as error:
            await self.close()
            raise errors.BrokerUnavailable(f"no readable answer: {str(error) or type(error).__name__}", mend=_MEND) from error
        if isinstance(reply, wire.Refused):
            raise _DEFINITE.get(reply.error, errors.BrokerUnavailable)(reply.message, mend=reply.mend)
        return reply
