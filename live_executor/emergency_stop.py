"""The short path to the broker: cancel everything, close everything, without the daemon, its journal or its loop.

Used when the daemon hangs, its disk is full, or nobody runs: by `halt` and `flatten`, and by the watchdog. Each act is written to
the emergency log before it is done, and nothing is believed: the broker is asked until it shows nothing open (and nothing held).
Orders made here are closing ones only, for the day, under ids of a namespace of their own, so that trying again sends none twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

import msgspec

from hedgefund_core import errors
from hedgefund_core.identifiers import client_order_id
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.observed import OrderSighting, PositionSighting
from hedgefund_core.trading.order import Leg, Order, OrderType, Purpose, Side, TimeInForce
from hedgefund_core.trading.state import Level
from live_executor.journals.emergency import Act, EmergencyAct, EmergencyLog
from live_executor.logging import logger
from live_executor.ports import Clock, LiveBroker

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
_log = logger("emergency")
_PAUSE, _LONGEST = 0.25, 5.0
_SURE = 2
"""Queries in a row that must show nothing: reads of a broker lag for moments."""
BOOK = "emergency"


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker showed at the end. ``verified`` False: patience ended first, and what is left is named."""

    verified: bool
    orders_left: tuple[str, ...]
    positions_left: dict[str, Decimal]
    closing_orders: tuple[str, ...]
    queries: int
    trouble: str = ""

    @property
    def armed(self) -> bool:
        """Whether closing orders wait at the broker for the market to open."""
        return bool(self.closing_orders) and bool(self.positions_left)


class EmergencyStop:
    """One stop of one account."""

    def __init__(
        self, broker: LiveBroker, log: EmergencyLog, *, account: str, person: str, reason: str, clock: Clock, sleep: Sleep
    ) -> None:
        self._broker, self._log, self._account = broker, log, account
        self._person, self._reason, self._clock, self._sleep = person, reason, clock, sleep
        self._queries, self._trouble, self._started = 0, "", clock.now()
        self._sent: dict[str, Order] = {}

    async def run(self, level: Level, *, until: datetime) -> Stopped:
        """Do what a level asks of the broker: CANCELLING empties the order list, FLATTENING the positions too; others send nothing.

        Raises
        ------
        JournalError : the emergency log cannot be written, so nothing was sent.
        """
        if level not in {Level.CANCELLING, Level.FLATTENING}:
            return Stopped(verified=True, orders_left=(), positions_left={}, closing_orders=(), queries=0)
        left = await self._cancel_until_none(until)
        held: dict[str, Decimal] = {}
        if level is Level.FLATTENING and left is not None and not left:
            held = await self._close_until_flat(until)
        verified = left is not None and not left and not held
        if verified:
            self._write(Act.VERIFIED, note=f"{level.name}: nothing is open" + (", nothing is held" if level is Level.FLATTENING else ""))
        return Stopped(
            verified=verified,
            orders_left=tuple(order.client_order_id or order.broker_order_id for order in left or ()),
            positions_left=held,
            closing_orders=tuple(self._sent),
            queries=self._queries,
            trouble=self._trouble,
        )

    # ---- orders --------------------------------------------------------------------------------------------------------

    async def _cancel_until_none(self, until: datetime) -> Sequence[OrderSighting] | None:
        """Cancel and ask, until nothing is open twice in a row; None where the broker never answered."""
        self._write(Act.CANCEL_ALL)
        pause, empty, seen = _PAUSE, 0, None
        await self._try(self._broker.cancel_all)
        while True:
            found = await self._ask(self._broker.orders)
            if found is not None:
                seen = [order for order in found if order.client_order_id not in self._sent]
                empty = empty + 1 if not seen else 0
                if empty >= _SURE:
                    return seen
            if self._clock.now() >= until:
                return seen
            for order in seen or ():
                await self._try(lambda order=order: self._broker.cancel(_known(order)))  # type: ignore[misc]
            await self._sleep(pause)
            pause = _PAUSE if empty else min(pause * 1.5, _LONGEST)

    # ---- positions -----------------------------------------------------------------------------------------------------

    async def _close_until_flat(self, until: datetime) -> dict[str, Decimal]:
        """Send one closing order for each position and ask until nothing is held; what is left is armed at the broker."""
        pause, flat, attempts = _PAUSE, 0, dict[str, int]()
        held: dict[str, Decimal] = {}
        while True:
            found = await self._ask(self._broker.positions)
            if found is not None:
                held = {position.symbol: position.quantity for position in found if position.quantity != ZERO}
                flat = flat + 1 if not held else 0
                if flat >= _SURE:
                    return {}
                await self._close(found, attempts)
            if self._clock.now() >= until:
                return held
            await self._sleep(pause)
            pause = _PAUSE if flat else min(pause * 1.5, _LONGEST)

    async def _close(self, found: Sequence[PositionSighting], attempts: dict[str, int]) -> None:
        """A closing order for each position that none works for: a new one only once the broker shows that the last is over."""
        answer = await self._ask(self._broker.orders)
        if answer is None:
            return
        working = {order.symbol for order in answer}
        for position in found:
            if position.quantity == ZERO or position.symbol in working:
                continue
            attempt = attempts.get(position.symbol, -1) + 1
            order = self._closing(position, attempt)
            if order.client_order_id not in self._sent:
                self._write(Act.REDUCE, order=order)
                self._sent[order.client_order_id] = order
            if await self._send(order):
                attempts[position.symbol] = attempt

    async def _send(self, order: Order) -> bool:
        """Whether the broker has the order now, or surely never will: only then may another id be used."""
        try:
            await self._broker.submit(order)
        except errors.OrderRejected as error:
            self._trouble = error.message
            return True
        except errors.OrderOutcomeUnknown:
            return await self._ask(lambda: self._broker.look_up(order.client_order_id)) is not None
        except errors.BrokerUnavailable as error:
            self._trouble = error.message
            return False
        return True

    def _closing(self, position: PositionSighting, attempt: int) -> Order:
        now = self._clock.now()
        session = now.date().isoformat()
        side = Side.SELL if position.quantity > ZERO else Side.BUY
        name = client_order_id(
            account=self._account,
            book=BOOK,
            session=session,
            decision=f"{self._started:%Y%m%dT%H%M%S}",
            instrument_id=position.symbol,
            leg=Leg.CLOSE,
            attempt=attempt,
        )
        return Order(
            client_order_id=name,
            decision_id=f"emergency-{self._started:%Y%m%dT%H%M%S}",
            instrument_id=position.symbol,
            symbol=position.symbol,
            side=side,
            quantity=abs(position.quantity),
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.DAY,
            leg=Leg.CLOSE,
            purpose=Purpose.FLATTEN,
            session=session,
            reference_price=position.current_price or position.average_price,
            submitted_at=now,
        )

    # ---- asking ----------------------------------------------------------------------------------------------------------

    def _write(self, act: Act, *, order: Order | None = None, note: str = "") -> None:
        self._log.write(
            EmergencyAct(
                number=self._log.next_number,
                ts=self._clock.now(),
                act=act,
                person=self._person,
                reason=self._reason,
                client_order_id="" if order is None else order.client_order_id,
                order=order,
                note=note,
            )
        )

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T | None:
        self._queries += 1
        try:
            return await call()
        except (errors.BrokerUnavailable, errors.DataUnavailable) as error:
            self._trouble = error.message
            _log.warning("broker did not answer", reason=error.message)
            return None

    async def _try(self, call: Callable[[], Awaitable[None]]) -> None:
        """A cancel proves nothing, whatever is answered: the next query does."""
        try:
            await call()
        except (errors.BrokerUnavailable, errors.OrderOutcomeUnknown, errors.OrderRejected) as error:
            self._trouble = error.message


def _known(seen: OrderSighting) -> Order:
    """An order as far as a cancel needs it, of whoever sent it."""
    return Order(
        client_order_id=seen.client_order_id,
        decision_id="",
        instrument_id=seen.symbol,
        symbol=seen.symbol,
        side=Side.SELL if seen.side == Side.SELL else Side.BUY,
        quantity=seen.quantity or ZERO,
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
        leg=Leg.CLOSE,
        purpose=Purpose.MANUAL,
        session="",
        reference_price=ZERO,
        submitted_at=seen.at,
        broker_order_id=seen.broker_order_id,
    )
