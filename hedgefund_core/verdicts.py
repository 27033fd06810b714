"""The border after the rules: the engine's arrays become the columns of the journal, and the orders they deny are named.

A column is kept as one value where it holds for every order, which most do: a limit is one number, and nearly always all are allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np
from msgspec.structs import replace

from hedgefund_core.border import packed
from hedgefund_core.risk.compare import every, some
from hedgefund_core.risk.engine import ALLOW, Judged, RuleVerdicts
from hedgefund_core.risk.rule import Values
from hedgefund_core.trading.capabilities import Asked, Market, refusal
from hedgefund_core.trading.order import Order, OrderStatus
from hedgefund_core.trading.outputs import DENY, Column, Judgements, RuleColumn

CAPABILITIES = "capabilities"
"""Name under which what the broker does not take at all is denied."""
_UNKNOWN = Market()
"""What is not known of an instrument refuses nothing."""


def judgements_of(orders: Sequence[Order], judged: Judged) -> Judgements:
    """The judgement of a batch as it is journaled."""
    if not orders:
        return Judgements()
    return Judgements(
        orders=tuple([order.client_order_id for order in orders]),
        allowed=tuple(judged.allowed.tolist()),
        rules=tuple([_said(result) for result in judged.results]),
    )


def _said(result: RuleVerdicts) -> RuleColumn:
    measured, limit = _column(result.measured), _column(result.limit)
    if result.is_clean:
        return RuleColumn(rule=result.rule, verdict=ALLOW, measured=measured, limit=limit)
    words: tuple[str, ...] = tuple(result.verdict.tolist())
    verdict = words[0] if len(set(words)) == 1 else words
    reason = result.reason if DENY in words else ""
    return RuleColumn(rule=result.rule, verdict=verdict, measured=measured, limit=limit, reason=reason)


def _column(values: Values) -> Column:
    """A rule's values: a number, absent, or a value an order."""
    if not isinstance(values, np.ndarray):
        return float(values) if isfinite(values) else None
    first = float(values[0])
    differs = isfinite(first) and first != values[-1]  # as nearly always, and then nobody has to look at the others
    if not differs and (every(values == first) or not some(np.isfinite(values))):
        return first if isfinite(first) else None
    return packed(values)


def taken_by_broker(orders: Sequence[Order], judgements: Judgements) -> Judgements:
    """Deny what the broker does not take at all; an order that is early for its auction waits for the window at the sender."""
    reasons = [_refusal(order) for order in orders]
    if not any(reasons):
        return judgements
    column = RuleColumn(
        rule=CAPABILITIES,
        verdict=tuple(DENY if why else ALLOW for why in reasons),
        measured=None,
        limit=None,
        reason=tuple(why or "" for why in reasons),
    )
    allowed = tuple(before and not why for before, why in zip(judgements.allowed, reasons, strict=True))
    return replace(judgements, allowed=allowed, rules=(*judgements.rules, column))


def _refusal(order: Order) -> str | None:
    asked = Asked(
        side=order.side, quantity=order.quantity, order_type=order.order_type, time_in_force=order.time_in_force,
        limit_price=order.limit_price,
    )  # fmt: skip
    return refusal(asked, order.submitted_at, _UNKNOWN, waits=True)


def parted(orders: Sequence[Order], judgements: Judgements) -> tuple[tuple[Order, ...], tuple[Order, ...]]:
    """Allowed orders, and denied ones with the first rule that denies each."""
    if all(judgements.allowed):
        return orders if isinstance(orders, tuple) else tuple(orders), ()
    allowed, denied = [], []
    for place, (order, passes) in enumerate(zip(orders, judgements.allowed, strict=True)):
        verdict = None if passes else judgements.at(place).denial
        if verdict is None:
            allowed.append(order)
        else:
            denied.append(replace(order, status=OrderStatus.DENIED, denied_by=verdict.rule, reason=verdict.reason))
    return tuple(allowed), tuple(denied)
