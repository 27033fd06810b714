"""An order is a small part of the account. Source: RTS 6 art. 15(1)(b); one name's full re-entry must fit in one order.

Where an instrument has no known volume, the cap that stands in for ``order_quantity`` applies as well.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.risk.compare import at_most, some
from hedgefund_core.risk.exposure import equity_of, of_instrument
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Compare the order's value with a share of equity."""
    cap, stand_in = mandate.limits.max_order_value, mandate.limits.max_order_value_without_volume
    unknown = np.isnan(of_instrument(context.adv, batch, context))
    limit = np.where(unknown, min(cap, stand_in), cap) if some(unknown) else cap
    return at_most(np.abs(batch.value) / equity_of(context), limit, "order value is too large a part of equity")


RULE = Rule(name="order_value", control=3, unit="fraction of equity", applies_to_reductions=False, check=check)
