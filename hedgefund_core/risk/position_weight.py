"""The position of one name at the worst case of all its working orders a side. Source: RTS 6 art. 8.

A long-only mandate has no room below zero.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.risk.compare import at_most
from hedgefund_core.risk.exposure import equity_of, of_instrument, worst_position
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Compare the absolute weight, if all orders on this side fill and none on the other, with its cap."""
    weight = worst_position(batch, context) * of_instrument(context.price, batch, context) / equity_of(context)
    cap = mandate.limits.max_position_weight
    limit = np.where(weight < 0.0, 0.0, cap) if mandate.long_only else cap
    return at_most(np.abs(weight), limit, "the position could exceed its cap")


RULE = Rule(name="position_weight", control=12, unit="fraction of equity", applies_to_reductions=False, check=check, sequential=True)
