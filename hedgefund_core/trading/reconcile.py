"""Compares our books with the broker's report. Pure: it lists every difference and explains none of them away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from hedgefund_core.trading.events import BrokerReported, Difference
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.ledger import Ledger
from hedgefund_core.trading.order import Order, OrderStatus

CASH_TOLERANCE = Decimal("0.000001")
LIVE_CASH_TOLERANCE = Decimal("0.05")
"""USD by which a live broker's cash may differ at any time, apart from rounded fills: a fee is often taken before its line is listed."""
ROUNDING_A_FILL = Decimal("0.01")
"""USD. A broker that keeps cash in whole cents rounds each fill, by less than this; it does not say which way."""
_NOT_EXPECTED = frozenset({OrderStatus.PENDING_NEW, OrderStatus.UNKNOWN})


def rounding_bound(ledger: Ledger) -> Decimal:
    """Largest difference of cash (USD) that the rounding of the fills since the last booked rounding can explain."""
    return ROUNDING_A_FILL * ledger.odd_fills


def differences(
    ledger: Ledger,
    orders: Mapping[str, Order],
    report: BrokerReported,
    symbols: Mapping[str, str],
    *,
    working: Iterable[Order] | None = None,
    cash_tolerance: Decimal = CASH_TOLERANCE,
) -> tuple[Difference, ...]:
    """Every difference of cash, positions and open orders.

    Parameters
    ----------
    ledger, orders : our books; orders by client order id. report : the broker's.
    symbols : instrument id -> symbol, for people; an id without one is shown itself.
    working : those of ``orders`` that may still trade, if the caller has them; None = they are picked from ``orders``.
    cash_tolerance : absolute, in account currency; a difference of cash up to it is none.

    An order that is pending or unknown here is not missed at the broker, because it may not have arrived there.
    """
    found: list[Difference] = []
    if abs(ledger.cash - report.cash) > cash_tolerance:
        found.append(Difference(kind="cash", symbol="", ours=str(ledger.cash), broker=str(report.cash)))
    for key in sorted(set(ledger.positions) | set(report.positions)):
        ours, theirs = ledger.quantity(key), report.positions.get(key, ZERO)
        if ours != theirs:
            found.append(Difference(kind="position", symbol=symbols.get(key, key), ours=str(ours), broker=str(theirs)))
    at_broker = set(report.open_orders)
    for order_id in sorted(at_broker):
        if order_id not in orders or not orders[order_id].is_working:
            ours_status = orders[order_id].status.value if order_id in orders else "none"
            found.append(Difference(kind="order", symbol=order_id, ours=ours_status, broker="open"))
    open_here = (order for order in orders.values() if order.is_working) if working is None else working
    expected = {order.client_order_id: order for order in open_here if order.status not in _NOT_EXPECTED}
    lost = sorted(expected.keys() - at_broker)
    return (*found, *(Difference(kind="order", symbol=key, ours=expected[key].status.value, broker="none") for key in lost))
