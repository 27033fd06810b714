"""No entry against an own working order. Source: CME and FIA self-match prevention; brokers refuse it as a wash trade.

The machine takes the resting order out of the market first and sends the other one after proof; this rule is the net below.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.risk.compare import at_most
from hedgefund_core.risk.exposure import seldom_of_instrument
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Shares of own orders that work on the other side."""
    buys = seldom_of_instrument(context.working_buy, batch, context)
    sells = seldom_of_instrument(context.working_sell, batch, context)
    return at_most(np.where(batch.sign > 0.0, sells, buys), 0.0, "an own order works on the other side")


RULE = Rule(name="self_cross", control=25, unit="shares", applies_to_reductions=False, check=check)
