"""What a run has met: moves of orders in each state, and power cuts at each point with what the broker had by then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hedgefund_core.account import State
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import TRANSITIONS, Order, OrderMove, OrderStatus
from live_executor.crash import CRASH_POINTS
from live_executor.simulation.plan import OUTCOMES

Pair = tuple[str, str]
_S, _M = OrderStatus, OrderMove
_ACCEPTED_FIRST = "evidence tells of the acceptance before anything else of an order"
_ACCEPTED_ONCE = "an order is accepted once: then its broker's name is known"
_OVER = "nothing is told of the end of what is over"
_ASKED = "only what works is asked to be cancelled"
UNREACHABLE: dict[tuple[OrderStatus, OrderMove], str] = {
    **{
        (status, how): _ACCEPTED_FIRST
        for status in (_S.PENDING_NEW, _S.UNKNOWN)
        for how in (_M.FILL_PART, _M.FILL_REST, _M.REPLACE, _M.END_DAY)
    },
    (_S.PENDING_NEW, _M.CANCEL): _ACCEPTED_FIRST,
    (_S.PENDING_NEW, _M.EXPIRE): _ACCEPTED_FIRST,
    (_S.PENDING_NEW, _M.ABSENT): "nobody looks for an order before its answer is lost",
    (_S.UNKNOWN, _M.LOSE): "it goes out again as a new one before an answer can be lost again",
    **{(status, _M.ACCEPT): _ACCEPTED_ONCE for status in (_S.ACCEPTED, _S.PARTIALLY_FILLED, _S.DONE_FOR_DAY, _S.FILLED, _S.REPLACED)},
    **{(status, _M.CANCEL_REQUEST): _ASKED for status in (_S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED, _S.REPLACED)},
    **{(status, _M.END_DAY): _OVER for status in (_S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REPLACED)},
    (_S.CANCELED, _M.CANCEL): _OVER,
    (_S.EXPIRED, _M.EXPIRE): _OVER,
    (_S.REJECTED, _M.REJECT): _OVER,
    (_S.REPLACED, _M.REPLACE): _OVER,
    (_S.REPLACED, _M.CANCEL): _OVER,
    (_S.DONE_FOR_DAY, _M.END_DAY): "said once",
    (_S.PENDING_CANCEL, _M.END_DAY): "it is still to be cancelled: evidence leaves the end of the day out",
}
"""Pairs of the transition table that no story of a broker leads to, and why: the table admits more than evidence lets through."""
UNREACHABLE_CRASHES: dict[Pair, str] = {
    **{
        (point, "none"): "no order has been intended yet"
        for point in ("before_send", "after_send", "after_acknowledgement", "before_fill", "after_fill")
    },
}
"""Outcomes that cannot stand at a point. A stranger's fill is booked elsewhere."""
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
        if order.status is OrderStatus.PENDING_CANCEL or now is OrderStatus.PENDING_NEW:
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


def reachable_moves() -> list[Pair]:
    """Every pair of the transition table that an executor at a broker can meet."""
    return [(status.value, how.value) for status, how in TRANSITIONS if (status, how) not in UNREACHABLE]


def reachable_crashes() -> list[Pair]:
    """Every crash point with every outcome that can stand there."""
    return [(point, outcome) for point in CRASH_POINTS for outcome in OUTCOMES if (point, outcome) not in UNREACHABLE_CRASHES]
