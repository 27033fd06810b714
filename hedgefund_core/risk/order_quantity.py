"""An order is a small part of a day's trading. Source: RTS 6 art. 15(1)(c); FIA best practices: 1 % of average daily volume.

Where a source has no volume the rule cannot be evaluated; such a source names it as waived,
and the dollar cap of ``order_value`` stands in. In a discretionary account, whose names come as people name them, that cap stands in by
itself where a name's volume is not known yet.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.risk.compare import at_most
from hedgefund_core.risk.exposure import of_instrument
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Compare the quantity with a share of the average daily volume."""
    limit = mandate.limits.max_order_adv * of_instrument(context.adv, batch, context)
    if mandate.discretionary:
        limit = np.where(np.isnan(limit), batch.quantity, limit)
    return at_most(batch.quantity, limit, "order is too large a part of the average daily volume")


RULE = Rule(name="order_quantity", control=2, unit="shares", applies_to_reductions=False, check=check)
