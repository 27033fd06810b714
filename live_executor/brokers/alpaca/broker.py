"""`AlpacaBroker`: orders to Alpaca (paper or live) or to any server that speaks like it.

An order is sent once, always with our own id. This module alone decides what the answer means: accepted, a definite no, surely nothing
done, or unknown. An unknown outcome is looked up by the caller; nothing is sent again from here.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

import msgspec

from hedgefund_core.errors import BrokerUnavailable, ConfigError, HedgefundError, OrderOutcomeUnknown, OrderRejected
from hedgefund_core.trading.capabilities import to_tick
from hedgefund_core.trading.observed import BrokerUpdate, OrderSighting
from hedgefund_core.trading.order import Leg, Order, OrderType, Purpose, Side, TimeInForce
from live_executor.brokers.alpaca import wire
from live_executor.brokers.alpaca.budget import Budget, Lane
from live_executor.brokers.alpaca.endpoints import Endpoints
from live_executor.brokers.alpaca.order_stream import ANSWER_SECONDS, OrderConversation, Said
from live_executor.brokers.alpaca.queries import AlpacaQueries
from live_executor.brokers.alpaca.transport import (
    CREDENTIALS_MEND,
    MEND,
    Answer,
    NoAnswerError,
    NothingSentError,
    RequestTiming,
    Transport,
    problem_of,
    trading_reason,
)
from live_executor.ports import MayLeave
from live_executor.streams import StreamTiming, Surroundings, WatchedStream

_DUPLICATE = "client_order_id must be unique"
_LIKE_DUPLICATE = re.compile(r"client.?order.?id|duplicate|already exist", re.IGNORECASE)
"""Other servers' words for it, which may mean something else."""
_MAYBE_DONE = frozenset({408, 409, 425})
"""Answers below 500 after which the server may still act."""
_REFUSALS = 3
_NOT_THERE = frozenset({404, 405, 301, 302, 303, 307, 308})
_SELL = Side.SELL
_encode = msgspec.json.Encoder().encode


class AlpacaTiming(msgspec.Struct, frozen=True, kw_only=True):
    """Durations of requests and of the stream."""

    requests: RequestTiming = RequestTiming()
    stream: StreamTiming = StreamTiming(quiet=0.0)
    """No watchdog on silence: an order stream may rightly say nothing for hours. Pings and the regular queries watch it."""


class AlpacaBroker(AlpacaQueries):
    """A `LiveBroker`."""

    def __init__(
        self, endpoints: Endpoints, surroundings: Surroundings, *, timing: AlpacaTiming | None = None, locks: Path | None = None
    ) -> None:
        timing = timing or AlpacaTiming()
        clock = surroundings.clock
        self._refusals = 0
        self.budget = Budget(now=lambda: clock.now().timestamp())
        super().__init__(
            Transport(endpoints.trading, endpoints, budget=self.budget, surroundings=surroundings, timing=timing.requests), clock
        )
        self.stream: WatchedStream[Said] = WatchedStream(
            endpoints.trading_stream,
            OrderConversation(endpoints, clock, min(ANSWER_SECONDS, timing.stream.ready / 2)),
            surroundings,
            timing=timing.stream,
            lock=None if locks is None else locks / f"orders-{endpoints.holder}.lock",
        )

    async def submit(self, order: Order, *, may_leave: MayLeave | None = None) -> OrderSighting:
        """Send an order once; see the module and `LiveBroker` for what an error means."""
        path = "/v2/orders"
        try:
            answer = await self._transport.post(path, order_body(order), lane_of(order), may_leave)
        except NothingSentError as error:
            raise BrokerUnavailable(f"order {order.client_order_id} was not sent: {error}", mend=MEND) from error
        except NoAnswerError as error:
            raise _unknown(order, str(error)) from error
        if answer.status not in {401, 403}:
            self._refusals = 0
        if 200 <= answer.status < 300:
            return self._accepted(order, answer)
        return await self._not_accepted(order, answer)

    async def cancel(self, order: Order) -> None:
        """Ask for a cancel. Success proves nothing; an order that is over or not there is no error."""
        broker_order_id = order.broker_order_id
        if not broker_order_id:
            found = await self.look_up(order.client_order_id)
            if found is None:
                return
            broker_order_id = found.broker_order_id
        path = f"/v2/orders/{broker_order_id}"
        answer = await self._transport.delete(path)
        gone = answer.status in {404, 422} and problem_of(answer) is not None
        if not (200 <= answer.status < 300 or gone):
            raise BrokerUnavailable(f"DELETE {path}: HTTP {answer.status} {trading_reason(answer)}", mend=MEND)

    async def cancel_all(self) -> None:
        """Ask for a cancel of everything that is open, whoever sent it; what is left is seen by query."""
        answer = await self._transport.delete("/v2/orders")
        if not 200 <= answer.status < 300:
            raise BrokerUnavailable(f"DELETE /v2/orders: HTTP {answer.status} {trading_reason(answer)}", mend=MEND)

    async def updates(self) -> AsyncIterator[BrokerUpdate]:
        """The order stream for ever. Rows of queried lists that could not be read are reported here as well."""
        news: asyncio.Queue[BrokerUpdate | None] = asyncio.Queue()
        self._oddities.on_new = _waker(news)
        reader = asyncio.create_task(self._forward(news))
        try:
            while True:
                update = await news.get()
                for odd in self._oddities.take():
                    yield odd
                if update is not None:
                    yield update
                elif reader.done():
                    reader.result()
                    return
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader

    async def _forward(self, news: asyncio.Queue[BrokerUpdate | None]) -> None:
        try:
            async with contextlib.aclosing(self.stream.updates()) as updates:
                async for update in updates:
                    news.put_nowait(update)
        finally:
            news.put_nowait(None)

    async def close(self) -> None:
        """Let go of connections."""
        await self._transport.close()

    # ------------------------------------------------------------------------------------------------ answers to a POST
    def _accepted(self, order: Order, answer: Answer) -> OrderSighting:
        try:
            found = self._order(wire.decode(answer.body, wire.WireOrder))
        except wire.Unreadable as error:
            raise _unknown(order, f"unreadable answer: {error}"[:300]) from error
        if found.client_order_id != order.client_order_id:
            raise _unknown(order, f"the answer is about {found.client_order_id!r}")
        return found

    async def _not_accepted(self, order: Order, answer: Answer) -> OrderSighting:
        status, problem = answer.status, problem_of(answer)
        if status == 429:
            raise BrokerUnavailable(f"order {order.client_order_id} was not sent: too many requests", mend="it is sent again in a moment")
        if status in _NOT_THERE and not (status == 404 and problem):
            raise BrokerUnavailable(f"POST /v2/orders: HTTP {status}: no order desk at this address", mend="check ALPACA_TRADING_URL")
        if status >= 500 or status in _MAYBE_DONE or (problem is None and status != 401):
            raise _unknown(order, f"HTTP {status}" + (f": {problem[1]}" if problem else ""))
        if status == 401 or problem is None or (status == 403 and not trading_reason(answer)):
            await self._doubt_the_keys(order, status)
        if _LIKE_DUPLICATE.search(problem[1]):
            found = await self._already_there(order, surely=_DUPLICATE in problem[1].lower())
            if found is not None:
                return found
        raise OrderRejected(problem[1] or f"HTTP {status}", mend="the reason is the broker's; nothing is sent again")

    async def _doubt_the_keys(self, order: Order, status: int) -> NoReturn:
        """A refusal of the keys means that nothing was done. If a query shows that they are good, it was a mistake of the server's, but not
        three times in a row.
        """
        self._refusals += 1
        if self._refusals < _REFUSALS:
            await self.account()
            raise BrokerUnavailable(
                f"order {order.client_order_id} was not sent: HTTP {status}, while the keys are good elsewhere",
                mend="it is sent again in a moment",
            )
        raise ConfigError(f"POST /v2/orders: the broker refuses the credentials (HTTP {status})", mend=CREDENTIALS_MEND)

    async def _already_there(self, order: Order, *, surely: bool) -> OrderSighting | None:
        """The broker has an order of this id already: this very order, sent before. It is looked up and returned; None where the words of
        the refusal may mean something else, and the broker has none.
        """
        try:
            found = await self.look_up(order.client_order_id)
        except HedgefundError as error:
            raise _unknown(order, f"the broker has this id already, and did not say what became of it: {error.message}") from error
        if found is None and surely:
            raise _unknown(order, "the broker has this id already and does not show it yet")
        return found


def _waker(news: asyncio.Queue[BrokerUpdate | None]) -> Callable[[], None]:
    """Let the reader of updates look at the oddities."""
    return lambda: news.put_nowait(None)


def _unknown(order: Order, why: str) -> OrderOutcomeUnknown:
    return OrderOutcomeUnknown(f"order {order.client_order_id}: {why}", mend="it is looked up by its id")


class OrderRequest(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The body of an order's request, money and quantities as text."""

    symbol: str
    qty: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    client_order_id: str
    limit_price: str | None = None


def order_body(order: Order) -> bytes:
    """What leaves of an order; the limit on the tick, never worse than the order's own."""
    quantity, limit = str(order.quantity), order.limit_price
    return _encode(
        OrderRequest(
            order.symbol,
            quantity if quantity.isdecimal() else _plain(quantity),
            order.side,
            order.order_type,
            order.time_in_force,
            order.client_order_id,
            None if limit is None else str(to_tick(limit, up=order.side is _SELL)),  # a whole number of ticks has no exponent
        )
    )


def lane_of(order: Order) -> Lane:
    """Orders that only lower a position go before those that add."""
    return Lane.REDUCE if order.leg is Leg.CLOSE or order.purpose is Purpose.FLATTEN else Lane.ENTER


def _plain(number: str) -> str:
    """A Decimal's text without an exponent, and without zeros that end its fraction."""
    text = format(Decimal(number), "f") if "E" in number else number
    return text.rstrip("0").rstrip(".") if "." in text else text
