"""How an order that is large against its market is worked: whole, in equal pieces over time, or as a part of the volume. Pure.

Source: RTS 6 art. 15 and FIA best practices: one order is at most 1 % of average daily volume; Almgren & Chriss 2001: equal pieces over
time are optimal for a trader without risk aversion and need no forecast. A parent never trades more than was asked for: its filled,
working and remaining quantities always add up to the order's.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal

import msgspec
from msgspec.structs import replace

from hedgefund_core.errors import InvariantViolation
from hedgefund_core.trading.instrument import ZERO, to_lots
from hedgefund_core.trading.order import Order

WHOLE, SLICED, PARTICIPATION = "whole", "sliced", "participation"
MOST_SLICES = 50
"""With more pieces than this the last ones would come too late. A larger order trades a tenth of the usual volume, minute by minute."""
_SESSION_SECONDS = 23_400.0
_SPREAD_OVER = 0.8
"""Fraction of the time left over which the pieces are spread, so that the last ones have time to fill before the close."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A plan: pieces in the order in which they go out."""

    strategy: str
    slices: tuple[Decimal, ...]
    seconds_between: float
    reason: str


class Parent(msgspec.Struct, frozen=True, kw_only=True):
    """An order that is worked in children."""

    order: Order
    """As it was judged, with the whole quantity; it never goes out itself."""
    route: Route
    released: int = 0
    children: tuple[str, ...] = ()
    filled: Decimal = ZERO
    working: Decimal = ZERO
    remaining: Decimal = ZERO
    """Not sent yet, or sent in a child that ended without filling it."""

    def __post_init__(self) -> None:
        """Raises InvariantViolation if the parts do not add up: such a parent could send more than was asked for.

        A fill that comes late, or is larger than its order, may fill more than that; then nothing remains to be sent.
        """
        if self.remaining != max(self.order.quantity - self.filled - self.working, ZERO) or self.working < ZERO:
            message = (
                f"parent {self.order.client_order_id}: {self.filled} filled, {self.working} working and {self.remaining} left "
                f"are not {self.order.quantity}"
            )
            raise InvariantViolation(message)

    @property
    def is_over(self) -> bool:
        """Whether nothing works and no piece is to come."""
        return self.working == ZERO and (self.remaining == ZERO or self.released >= self.most_releases)

    @property
    def most_releases(self) -> int:
        """Most children that may be sent: twice as many as planned, since what one does not fill goes out again."""
        return 2 * len(self.route.slices)


def route(quantity: Decimal, lot: Decimal, *, adv: float | None, max_share: float, seconds_left: float) -> Route:
    """How to work an order.

    Parameters
    ----------
    quantity : shares to trade, above zero. lot : smallest quantity of a piece, in shares.
    adv : average daily volume in shares; None or not above zero (NaN too) = not known. max_share : fraction of it in one order.
    seconds_left : until the close of the session.

    Returns
    -------
    Route whose slices add up to ``quantity``.
    """
    if adv is None or not adv > 0.0:
        return _whole(quantity, "volume is not known: the dollar cap stands in")
    cap = to_lots(Decimal(max_share * adv), lot)
    share = float(quantity) / adv
    if quantity <= cap:
        return _whole(quantity, f"{share:.4%} of average daily volume")
    if cap <= ZERO:
        return _whole(quantity, "one lot is more than the part of volume one order may be")
    count = int((quantity / cap).to_integral_value(rounding=ROUND_CEILING))
    if count <= MOST_SLICES:
        between = max(1.0, round(_SPREAD_OVER * max(seconds_left, 0.0) / count, 3))
        why = f"{share:.2%} of average daily volume: {count} equal pieces over {_SPREAD_OVER:.0%} of the time left"
        why += _beyond(count, between, seconds_left)
        return Route(strategy=SLICED, slices=_equal(quantity, lot, count), seconds_between=between, reason=why)
    minute = max(to_lots(Decimal(0.1 * adv * 60.0 / _SESSION_SECONDS), lot), lot)
    piece = min(minute, cap)
    pieces = int((quantity / piece).to_integral_value(rounding=ROUND_CEILING))
    sizes = (*(piece for _ in range(pieces - 1)), quantity - piece * (pieces - 1))
    why = f"{share:.2%} of average daily volume: a tenth of what is usually traded, minute by minute"
    why += _beyond(pieces, 60.0, seconds_left)
    return Route(strategy=PARTICIPATION, slices=sizes, seconds_between=60.0, reason=why)


def _whole(quantity: Decimal, reason: str) -> Route:
    return Route(strategy=WHOLE, slices=(quantity,), seconds_between=0.0, reason=reason)


def _beyond(pieces: int, between: float, seconds_left: float) -> str:
    """How many of the pieces fit before the close, in words; empty if all of them do."""
    fit = 1 + int(max(seconds_left, 0.0) // between)
    return "" if fit >= pieces else f"; {fit} of {pieces} pieces fit before the close"


def _equal(quantity: Decimal, lot: Decimal, count: int) -> tuple[Decimal, ...]:
    """Pieces that differ by at most one lot, the larger first; the first has the fraction of a lot, if there is one."""
    whole = to_lots(quantity, lot)
    each, rest = divmod(whole / lot, count)
    first, *others = [(each + (1 if place < rest else 0)) * lot for place in range(count)]
    return first + quantity - whole, *others


def parent_of(order: Order, plan: Route) -> Parent:
    """An order as the parent of its pieces, none of which has gone out."""
    return Parent(order=order, route=plan, remaining=order.quantity)


def next_quantity(parent: Parent) -> Decimal:
    """Size of the next child: how far the parent is behind its plan, but at most the largest piece; zero if none is to come."""
    if parent.released >= parent.most_releases:
        return ZERO
    planned = sum(parent.route.slices[: parent.released + 1], ZERO)
    return min(max(planned - parent.filled - parent.working, ZERO), parent.remaining, max(parent.route.slices))


def released(parent: Parent, child: Order) -> Parent:
    """The parent after a child has gone out."""
    return replace(
        parent,
        released=parent.released + 1,
        children=(*parent.children, child.client_order_id),
        working=parent.working + child.quantity,
        remaining=parent.remaining - child.quantity,
    )


def skipped(parent: Parent) -> Parent:
    """The parent after a slice that was not allowed to be sent: its shares go into the next one."""
    return replace(parent, released=parent.released + 1)


def settled(parent: Parent, children: Iterable[Order]) -> Parent:
    """The parent as its children stand now, whatever happened to them: what none of them has filled or may still fill is to be sent."""
    orders = tuple(children)
    filled = sum((order.filled_quantity for order in orders), ZERO)
    working = sum((order.remaining for order in orders if order.is_working), ZERO)
    return replace(parent, filled=filled, working=working, remaining=max(parent.order.quantity - filled - working, ZERO))
