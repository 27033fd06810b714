"""The emergency stop: cancels and closes everything at the broker without the daemon, its journal or its event loop.

Used by `halt`, `flatten` and the watchdog when the daemon hangs or does not run, and by the daemon when its journal cannot be written.
Each act is written to the emergency log before it is done. No answer to a request counts as proof: the broker is queried until it
shows nothing open (and, when flattening, nothing held).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

import msgspec

from hedgefund_core import errors
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.observed import OrderSighting
from hedgefund_core.trading.order import Leg, Order, OrderType, Purpose, Side, TimeInForce
from hedgefund_core.trading.state import Level
from live_executor.emergency_close import Closing
from live_executor.journals.emergency import Act, EmergencyAct, EmergencyLog
from live_executor.logging import logger
from live_executor.ports import Clock, LiveBroker, Sleep

T = TypeVar("T")
_log = logger("emergency")
PAUSE, LONGEST = 0.25, 5.0
SURE, SURE_FOR = 2, timedelta(seconds=1)
"""So many queries in a row, over at least so long, must show no open order: reads lag, and an order may be accepted late."""


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker showed at the end. ``verified`` False: the time was up before nothing was left; what was left is named.

    Fractions of names that the broker trades in whole shares only are left by a verified stop too: no order can close them.
    """

    verified: bool
    answered: bool
    """Whether the broker answered any question at all."""
    orders_left: tuple[str, ...] = ()
    positions_left: dict[str, Decimal] = {}
    closing_orders: tuple[str, ...] = ()
    """Ids of orders that were sent to close positions; what is not filled waits at the broker."""
    queries: int = 0
    trouble: str = ""

    @property
    def armed(self) -> bool:
        """Whether closing orders wait at the broker for the market to open, or for a halt to end."""
        return bool(self.closing_orders) and bool(self.positions_left)


class EmergencyStop:
    """One stop of one account."""

    def __init__(
        self, broker: LiveBroker, log: EmergencyLog, *, account: str, person: str, reason: str, clock: Clock, sleep: Sleep
    ) -> None:
        self.broker, self.clock, self.sleep, self.account = broker, clock, sleep, account
        self._log, self._person, self._reason = log, person, reason
        self._queries, self._answers, self._trouble = 0, 0, ""
        self._open: Sequence[OrderSighting] = ()
        """What the newest answered query showed."""

    async def run(self, level: Level, *, until: datetime) -> Stopped:
        """Do what a level asks of the broker: CANCELLING empties the order list, FLATTENING the positions too; others send nothing.

        Raises
        ------
        ConfigError : the broker refuses the keys. JournalError : a closing order cannot be written down, so that none was sent.
        """
        if level not in {Level.CANCELLING, Level.FLATTENING}:
            return Stopped(verified=True, answered=True)
        closing, flatten = Closing(self), level is Level.FLATTENING
        self._note_if_possible(Act.HALT, level=int(level))
        self._note_if_possible(Act.CANCEL_ALL)
        await self.attempt(self.broker.cancel_all)
        # An order that the broker does not let go must not keep every position open: half of the time belongs to closing.
        none_open = await self._cancel_until_none(_half_way(self.clock.now(), until) if flatten else until)
        held: dict[str, Decimal] | None = {}
        if flatten:
            held = await closing.until_flat(until)
            none_open = none_open or await self._cancel_until_none(until)
        verified = none_open and closing.is_flat(held)
        if verified:
            what = "nothing is open" + (", nothing is held that an order can close" if flatten else "")
            self._note_if_possible(Act.VERIFIED, note=f"{level.name.lower()}: {what}")
        others = (order for order in self._open if order.client_order_id not in closing.sent)
        return Stopped(
            verified=verified,
            answered=self._answers > 0,
            orders_left=tuple(order.client_order_id or order.broker_order_id for order in others),
            positions_left=held or {},
            closing_orders=tuple(closing.sent),
            queries=self._queries,
            trouble="" if verified else self._trouble,
        )

    async def _cancel_until_none(self, until: datetime) -> bool:
        """Ask what is open and cancel it, again and again; whether nothing was open for long enough before the time was up."""
        pause, empties = PAUSE, list[datetime]()
        while True:
            found = await self.ask(self.broker.orders)
            now = self.clock.now()
            if found is not None:
                self._open = found
                empties = [] if found else [*empties, now]
                if len(empties) >= SURE and empties[-1] - empties[0] >= SURE_FOR:
                    return True
            if now >= until:
                return False
            for order in self._open:
                if self.clock.now() < until:
                    await self.cancel(order)
            await self.sleep(pause)
            pause = PAUSE if empties else min(pause * 1.5, LONGEST)

    # ---- what both halves do ---------------------------------------------------------------------------------------------

    async def cancel(self, order: OrderSighting) -> None:
        """Ask for a cancel of an order, whoever sent it."""
        await self.attempt(lambda: self.broker.cancel(_known(order)))

    async def ask(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """An answer; None where none came."""
        self._queries += 1
        try:
            answer = await call()
        except (errors.BrokerUnavailable, errors.DataUnavailable, errors.OrderOutcomeUnknown) as error:
            self.trouble(error.message)
            return None
        self._answers += 1
        return answer

    async def attempt(self, call: Callable[[], Awaitable[None]]) -> None:
        """Make a request and take no notice of how it is answered: the next query shows what it did."""
        try:
            await call()
        except (errors.BrokerUnavailable, errors.OrderOutcomeUnknown, errors.OrderRejected) as error:
            self.trouble(error.message)

    def trouble(self, words: str) -> None:
        """Remember what went wrong last, to be told at the end."""
        self._trouble = words
        _log.warning("the broker", said=words)

    def write(self, act: Act, *, order: Order | None = None, note: str = "", level: int = 0) -> None:
        """Write an act down; raises JournalError."""
        entry = EmergencyAct(
            number=self._log.next_number,
            ts=self.clock.now(),
            act=act,
            person=self._person,
            reason=self._reason,
            level=level,
            client_order_id="" if order is None else order.client_order_id,
            order=order,
            note=note,
        )
        self._log.write(entry)

    def _note_if_possible(self, act: Act, *, note: str = "", level: int = 0) -> None:
        """Write an act down if that is possible. Cancels leave in any case: they can only reduce risk."""
        try:
            self.write(act, note=note, level=level)
        except errors.JournalError as error:
            self.trouble(error.message)


def _half_way(now: datetime, until: datetime) -> datetime:
    return now + (until - now) / 2


def _known(seen: OrderSighting) -> Order:
    """An order as far as a cancel needs it; it may be somebody else's."""
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
