"""Every pair that a simulation has to meet, from the transition table and the list of crash points; which cannot be, and why."""

from __future__ import annotations

from hedgefund_core.trading.order import TRANSITIONS, OrderMove, OrderStatus
from live_executor.crash import CRASH_POINTS

Pair = tuple[str, str]
OUTCOMES = ("none", "absent", "working", "partly", "filled", "ended")
"""What the broker had of our newest order when the power went."""
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


def reachable_moves() -> list[Pair]:
    """Every pair of the transition table that an executor at a broker can meet."""
    return [(status.value, how.value) for status, how in TRANSITIONS if (status, how) not in UNREACHABLE]


def reachable_crashes() -> list[Pair]:
    """Every crash point with every outcome that can stand there."""
    return [(point, outcome) for point in CRASH_POINTS for outcome in OUTCOMES if (point, outcome) not in UNREACHABLE_CRASHES]
