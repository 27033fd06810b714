"""How many orders may work at once, in one instrument and in all. Source: FIA best practices 2015; Knight 2012 had millions.

The total scales with the number of names in the universe.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.risk.compare import at_most
from hedgefund_core.risk.exposure import earlier, earlier_same, seldom_of_instrument
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check_instrument(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Orders in the instrument with this one."""
    count = seldom_of_instrument(context.working_orders.astype(np.float64), batch, context) + earlier_same(1.0, batch) + 1.0
    return at_most(count, mandate.limits.max_open_orders_per_instrument, "too many orders work in the instrument")


def check_total(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Orders in all instruments with this one."""
    count = context.working_orders.sum() + earlier(1.0, batch) + 1.0
    limit = mandate.limits.max_open_orders_per_name * len(context.price)
    return at_most(count, limit, "too many orders work")


RULES = (
    Rule(name="open_orders", control=11, unit="orders", applies_to_reductions=False, check=check_instrument, sequential=True),
    Rule(name="open_orders_total", control=11, unit="orders", applies_to_reductions=False, check=check_total, sequential=True),
)
