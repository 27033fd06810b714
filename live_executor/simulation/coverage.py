"""What a run has met: moves of orders in each state, and power cuts at each point with what the broker had by then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hedgefund_core.account import State
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Order, OrderMove, OrderStatus
from live_executor.simulation.pairs import Pair

_MOVES: dict[type[e.Event], OrderMove] = {
    e.OrderAccepted: OrderMove.ACCEPT,
    e.OrderRejected: OrderMove.REJECT,
    e.OrderCanceled: OrderMove.CANCEL,
    e.OrderExpired: OrderMove.EXPIRE,
    e.OrderReplaced: OrderMove.REPLACE,
    e.OrderDoneForDay: OrderMove.END_DAY,
    e.FillBusted: OrderMove.BUST,
    e.FillCorrected: OrderMove.CORRECT,
    e.OrderOutcomeUnknown: OrderMove.LOSE,
}


class Coverage:
    """Counts of pairs."""

    def __init__(self) -> None:
        self.moves: Counter[Pair] = Counter()
        self.crashes: Counter[Pair] = Counter()
        self.happened: Counter[str] = Counter()
        """Faults that really took place, in words: what was planned may have found nothing to strike."""
        self.awaits: Counter[str] = Counter()
        """Awaits at which the power went, beside the named points."""

    def add(self, other: Coverage) -> None:
        """Take another run's counts in."""
        self.moves += other.moves
        self.crashes += other.crashes
        self.happened += other.happened
        self.awaits += other.awaits

    def step(self, before: State, event: e.Input, after: State) -> None:
        """Count the moves of one step."""
        named = getattr(event, "client_order_id", "")
        order = before.known_orders.get(named) if named else None
        if order is not None:
            how = _move(order, event, after)
            if how is not None:
                self.moves[order.status.value, how.value] += 1
        if after.orders is not before.orders:
            for place in _asked_to_cancel(before, after.orders.values(), "" if isinstance(event, e.CancelRequested) else named):
                self.moves[place, OrderMove.CANCEL_REQUEST.value] += 1


def _move(order: Order, event: e.Input, after: State) -> OrderMove | None:
    if isinstance(event, e.OrderFilled):
        if event.fill_id in order.fill_ids:
            return None
        return OrderMove.FILL_REST if order.filled_quantity + event.quantity >= order.quantity else OrderMove.FILL_PART
    if isinstance(event, e.OrderAbsent):
        now = after.known_orders[order.client_order_id].status
        if order.status in {OrderStatus.PENDING_CANCEL, now} or now is OrderStatus.PENDING_NEW:
            return OrderMove.ABSENT
        return OrderMove.EXPIRE if now is OrderStatus.EXPIRED else OrderMove.CANCEL if now is OrderStatus.CANCELED else OrderMove.ABSENT
    return _MOVES.get(type(event))


def _asked_to_cancel(before: State, orders: Iterable[Order], named: str) -> Iterable[str]:
    """States of orders that were asked to be cancelled in a step: they moved there, or stayed where they were and were touched."""
    for order in orders:
        was = before.orders.get(order.client_order_id)
        if was is None or was is order or order.client_order_id == named:
            continue
        if order.status is OrderStatus.PENDING_CANCEL or (order.status is was.status and order.updated_at != was.updated_at):
            yield was.status.value
