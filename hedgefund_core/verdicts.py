"""The border after the rules: the engine's arrays become the columns of the journal, and the orders they deny are named.

A column is kept as one value where it holds for every order, which most do: a limit is one number, and nearly always all are allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np
from msgspec.structs import replace

from hedgefund_core.risk.engine import ALLOW, Judged, RuleVerdicts
from hedgefund_core.risk.rule import Bools, Floats
from hedgefund_core.trading.capabilities import Asked, Market, refusal
from hedgefund_core.trading.order import Order, OrderStatus
from hedgefund_core.trading.outputs import DENY, Column, Judgements, RuleColumn

CAPABILITIES = "capabilities"
"""Name under which what the broker does not take at all is denied."""


def judgements_of(orders: Sequence[Order], judged: Judged) -> Judgements:
    """The judgement of a batch as it is journaled."""
    if not orders:
        return Judgements()
    measured = _columns([result.measured for result in judged.results])
    limits = _columns([result.limit for result in judged.results])
    return Judgements(
        orders=tuple([order.client_order_id for order in orders]),
        allowed=tuple(judged.allowed.tolist()),
        rules=tuple(_column(*row) for row in zip(judged.results, measured, limits, strict=True)),
    )


def _column(result: RuleVerdicts, measured: Column, limit: Column) -> RuleColumn:
    if result.is_clean:
        return RuleColumn(rule=result.rule, verdict=ALLOW, measured=measured, limit=limit)
    words: tuple[str, ...] = tuple(result.verdict.tolist())
    verdict = words[0] if len(set(words)) == 1 else words
    reason = result.reason if DENY in words else ""
    return RuleColumn(rule=result.rule, verdict=verdict, measured=measured, limit=limit, reason=reason)


def _columns(values: Sequence[Floats]) -> list[Column]:
    """Each rule's values: a number, absent, or one of these an order."""
    grid = np.array(values)
    finite = np.isfinite(grid)
    whole: Bools = np.all(finite, axis=1)
    single: Bools = ~np.any(finite, axis=1) | (whole & np.all(grid == grid[:, :1], axis=1))
    found: list[Column] = []
    for row, one, complete in zip(grid, single.tolist(), whole.tolist(), strict=True):
        if one:
            found.append(float(row[0]) if complete else None)
        else:
            found.append(tuple(row.tolist()) if complete else tuple(cell if isfinite(cell) else None for cell in row.tolist()))
    return found


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
    return refusal(asked, order.submitted_at, Market(), waits=True)


def parted(orders: Sequence[Order], judgements: Judgements) -> tuple[tuple[Order, ...], tuple[Order, ...]]:
    """Allowed orders, and denied ones with the first rule that denies each."""
    if all(judgements.allowed):
        return tuple(orders), ()
    allowed, denied = [], []
    for place, (order, passes) in enumerate(zip(orders, judgements.allowed, strict=True)):
        verdict = None if passes else judgements.at(place).denial
        if verdict is None:
            allowed.append(order)
        else:
            denied.append(replace(order, status=OrderStatus.DENIED, denied_by=verdict.rule, reason=verdict.reason))
    return tuple(allowed), tuple(denied)
