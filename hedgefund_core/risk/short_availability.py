"""A short needs shares to borrow. Source: Regulation SHO; Alpaca lends what is easy to borrow only, and recalls it without notice."""

from __future__ import annotations

import numpy as np

from hedgefund_core.risk.compare import none_of, some
from hedgefund_core.risk.exposure import of_instrument, worst_position
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Deny a sale that could leave the position short where nothing can be borrowed."""
    short = (batch.sign < 0.0) & ~(worst_position(batch, context) >= 0.0)
    if some(short):
        barred = np.zeros(len(context.price)) if context.no_short is None else context.no_short.astype(np.float64)
        short &= ~(of_instrument(barred, batch, context) == 0.0)
    return none_of(short, "the instrument cannot be sold short")


RULE = Rule(name="short_availability", control=16, unit="faults", applies_to_reductions=False, check=check, sequential=True)
