"""The closing half of an emergency stop: one market order at a time for each position.

The orders are for the day, can only close, and have ids in a namespace of their own. A second order for a position is sent only once
the broker shows how the first one ended and a position that fits its fills. Reads of positions lag behind fills, and closing a
position twice would open one on the other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from hedgefund_core import errors
from hedgefund_core.identifiers import client_order_id
from hedgefund_core.trading.instrument import ONE, ZERO
from hedgefund_core.trading.observed import OVER, PositionSighting
from hedgefund_core.trading.order import Leg, Order, OrderType, Purpose, Side, TimeInForce
from live_executor.journals.emergency import Act

if TYPE_CHECKING:
    from live_executor.emergency_stop import EmergencyStop

BOOK = "emergency"
_PAUSE, _LONGEST = 0.25, 5.0
_LAG = timedelta(seconds=10)
"""If a position does not fit our fills for so long, it is no lag: somebody else trades, and the position shown counts."""
_MOST_REFUSALS = 5


@dataclass(slots=True, kw_only=True)
class _Work:
    """What was done for one position."""

    order: Order
    before: Decimal
    """Signed quantity that the order was sized by."""
    attempt: int
    refusals: int = 0
    over: bool = False
    """Rejected: the next order for this position needs another id."""


@dataclass(slots=True, kw_only=True)
class _Shown:
    quantity: Decimal
    since: datetime


class Closing:
    """Closes what is held."""

    def __init__(self, stop: EmergencyStop) -> None:
        self._stop = stop
        self._started = stop.clock.now()
        self._work: dict[str, _Work] = {}
        self._shown: dict[str, _Shown] = {}
        self.sent: dict[str, Order] = {}
        self._whole_only: dict[str, bool] = {}
        """Whether the broker trades a name in whole shares only; asked where a fraction is held."""
        self._residues: dict[str, Decimal] = {}

    async def until_flat(self, until: datetime) -> dict[str, Decimal] | None:
        """Ask until twice in a row nothing is held that can be closed; gives what is left, None where the broker never said."""
        pause, flat = _PAUSE, 0
        held: dict[str, Decimal] | None = None
        while True:
            found = await self._stop.ask(self._stop.broker.positions)
            if found is not None:
                held = {position.symbol: position.quantity for position in found if position.quantity != ZERO}
                self._residues = {position.symbol: await self._residue(position) for position in found}
                flat = flat + 1 if self.is_flat(held) else 0
                if flat >= 2:
                    return held
                await self._close(found)
            if self._stop.clock.now() >= until:
                return held
            await self._stop.sleep(pause)
            pause = _PAUSE if flat else min(pause * 1.5, _LONGEST)

    def is_flat(self, held: dict[str, Decimal] | None) -> bool:
        """Whether the broker has shown that nothing is held which an order could close."""
        return held is not None and all(quantity == self._residues[symbol] for symbol, quantity in held.items())

    async def _residue(self, position: PositionSighting) -> Decimal:
        """What no order can close of a position: the fraction of a name that the broker trades in whole shares only."""
        part, symbol = position.quantity % ONE, position.symbol
        if part == ZERO:
            return ZERO
        if symbol not in self._whole_only:
            asset = await self._stop.ask(lambda: self._stop.broker.asset(symbol))
            if asset is None:  # what is not known refuses nothing
                return ZERO
            self._whole_only[symbol] = asset.tradable and not asset.fractionable
        return part if self._whole_only[symbol] else ZERO

    async def _close(self, found: Sequence[PositionSighting]) -> None:
        open_orders = await self._stop.ask(self._stop.broker.orders)
        if open_orders is None:
            return
        for order in open_orders:
            if order.client_order_id not in self.sent:
                await self._stop.cancel(order)
        working = {order.symbol for order in open_orders}
        for position in found:
            steady = self._is_steady(position)
            if position.quantity != self._residues[position.symbol] and position.symbol not in working and steady:
                await self._close_one(position)

    def _is_steady(self, position: PositionSighting) -> bool:
        """Whether two reads in a row show the same quantity."""
        last = self._shown.get(position.symbol)
        if last is None or last.quantity != position.quantity:
            self._shown[position.symbol] = _Shown(quantity=position.quantity, since=self._stop.clock.now())
            return False
        return True

    async def _close_one(self, position: PositionSighting) -> None:
        work = self._work.get(position.symbol)
        if work is None:
            work = self._work[position.symbol] = self._begin(position, 0, 0)
        elif not work.over:
            name = work.order.client_order_id
            seen = await self._stop.ask(lambda: self._stop.broker.look_up(name))
            if seen is not None:
                if seen.status not in OVER or not self._fits(position, work, seen.filled_quantity):
                    return
                work = self._work[position.symbol] = self._begin(position, work.attempt + 1, work.refusals)
        elif work.refusals < _MOST_REFUSALS:
            work = self._work[position.symbol] = self._begin(position, work.attempt + 1, work.refusals)
        else:
            return
        await self._send(work)

    def _fits(self, position: PositionSighting, work: _Work, filled: Decimal) -> bool:
        """Whether the position shown is what our fills leave of it, or has differed for too long to be a lag."""
        expected = work.before + filled * work.order.side.sign
        return position.quantity == expected or self._stop.clock.now() - self._shown[position.symbol].since >= _LAG

    def _begin(self, position: PositionSighting, attempt: int, refusals: int) -> _Work:
        """A closing order, written down before it is sent. It may be sent repeatedly, because it keeps its id."""
        order = self._order(position, attempt)
        self._stop.write(Act.REDUCE, order=order)
        self.sent[order.client_order_id] = order
        return _Work(order=order, before=position.quantity, attempt=attempt, refusals=refusals)

    async def _send(self, work: _Work) -> None:
        try:
            await self._stop.broker.submit(work.order)
        except errors.OrderRejected as error:
            work.over, work.refusals = True, work.refusals + 1
            self._stop.trouble(f"{work.order.symbol}: {error.message}")
        except (errors.BrokerUnavailable, errors.OrderOutcomeUnknown) as error:
            self._stop.trouble(error.message)

    def _order(self, position: PositionSighting, attempt: int) -> Order:
        started, key = f"{self._started:%Y%m%dT%H%M%S%f}", position.asset_id or position.symbol
        session = self._started.date().isoformat()
        return Order(
            client_order_id=client_order_id(
                account=self._stop.account,
                book=BOOK,
                session=session,
                decision=started,
                instrument_id=key,
                leg=Leg.CLOSE,
                attempt=attempt,
            ),
            decision_id=f"{BOOK}-{started}",
            instrument_id=key,
            symbol=position.symbol,
            side=Side.SELL if position.quantity > ZERO else Side.BUY,
            quantity=abs(position.quantity - self._residues[position.symbol]),
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.DAY,
            leg=Leg.CLOSE,
            purpose=Purpose.FLATTEN,
            session=session,
            reference_price=position.current_price or position.average_price,
            submitted_at=self._stop.clock.now(),
        )
