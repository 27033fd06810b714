"""Is the order an order at all? Source: Nautilus RiskEngine; 15c3-5(c)(1)(ii). The only rule with no way around in any state.

A reduction is checked here to be one: opposite to the position, and not more than what is left of it once every order that is
already working on that side, and every earlier reduction of the batch, has filled.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.risk.compare import TOLERANCE, at_most, some
from hedgefund_core.risk.exposure import earlier_same, of_instrument, only, strangers
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import Bools, Floats, OrderBatch, RiskContext, Rule, RuleResult


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Count the faults of each order; one denies."""
    faults = {
        "quantity is not above zero": ~_above_zero(batch.quantity),
        "side is neither buy nor sell": np.abs(batch.sign) != 1.0,
        "no reference price above zero": ~_above_zero(batch.price),
        "limit price is not above zero": (batch.limit_price <= 0.0) | (batch.limit_price == np.inf),
        "instrument is not in the universe": strangers(batch, context),
        "quantity is not a multiple of the lot": _broken_lots(batch, context),
        "a reduction would exceed the position": _beyond_position(batch, context),
    }
    seen = {name: np.asarray(found) for name, found in faults.items() if some(found)}
    count = np.sum(list(seen.values()), axis=0, dtype=np.float64) if seen else 0.0
    return at_most(count, 0.0, "; ".join(seen) or "well formed")


def _above_zero(values: Floats) -> Bools:
    return (values > 0.0) & (values < np.inf)


def _broken_lots(batch: OrderBatch, context: RiskContext) -> Bools:
    """A reduction may also be what leaves whole lots behind: a fraction that is held must not be held for ever."""
    broken = ~_whole(batch.quantity, batch)
    return broken & ~(batch.reduction & _whole(_left(batch, context), batch)) if some(broken & batch.reduction) else broken


def _whole(quantity: Floats, batch: OrderBatch) -> Bools:
    lots = quantity / batch.lot
    within: Bools = np.abs(lots - np.rint(lots)) <= TOLERANCE * np.maximum(1.0, np.abs(lots))
    return within & (batch.lot > 0.0)


def _left(batch: OrderBatch, context: RiskContext) -> Floats:
    """What is left of the position once the order, and all before it on its side, has filled."""
    held = of_instrument(context.quantity, batch, context)
    buying = batch.sign > 0.0
    working = np.where(buying, of_instrument(context.working_buy, batch, context), of_instrument(context.working_sell, batch, context))
    bought = earlier_same(only(batch.reduction & buying, batch.quantity), batch)
    sold = earlier_same(only(batch.reduction & ~buying, batch.quantity), batch)
    left: Floats = -batch.sign * held - working - np.where(buying, bought, sold) - batch.quantity
    return left


def _beyond_position(batch: OrderBatch, context: RiskContext) -> Bools:
    if not some(batch.reduction):
        return batch.reduction
    left = _left(batch, context)
    fits: Bools = left >= -np.abs(left + batch.quantity) * TOLERANCE
    return batch.reduction & ~fits


RULE = Rule(name="order_sanity", control=1, unit="faults", applies_to_reductions=True, check=check, sequential=True)
