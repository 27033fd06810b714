"""The broker's own buying power, after our own reservation of it. Source: Alpaca: an unfilled sale replenishes nothing.

Where the broker has not said a figure our own rule stands alone. Valued at the price, not at the limit: a limit lies beyond the market
by a collar that is hardly ever paid, and a book of the whole account must not fail by it; the broker's own arithmetic comes last.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.risk.compare import at_most, not_applicable
from hedgefund_core.risk.exposure import earlier, of_instrument, only
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult

REASON = "the broker's buying power is not enough"


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """What the order and those before it need, against what the broker says is left."""
    if np.isnan(context.broker_buying_power):
        return not_applicable(np.nan, REASON)
    markup = mandate.limits.short_price_markup
    price = of_instrument(context.price, batch, context)
    need = only(~batch.reduction, batch.quantity * np.where(batch.sign > 0.0, price, price * (1.0 + markup)))
    return at_most(earlier(need, batch) + need, context.broker_buying_power, REASON)


RULE = Rule(name="broker_buying_power", control=17, unit="account currency", applies_to_reductions=False, check=check, sequential=True)
