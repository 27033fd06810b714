"""No new exposure in an instrument under a freeze: an UNKNOWN order, an unexplained difference, a halt.

Source: Nautilus reconciliation policies; 15c3-5(c)(2). What we do not know of an instrument must not grow.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.risk.compare import none_of
from hedgefund_core.risk.exposure import seldom_of_instrument
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Deny entries in frozen instruments, and in unknown ones."""
    frozen = seldom_of_instrument(context.frozen.astype(np.float64), batch, context)
    return none_of(frozen != 0.0, "the instrument is frozen")


RULE = Rule(name="frozen_instrument", control=21, unit="freezes", applies_to_reductions=False, check=check)
