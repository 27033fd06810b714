"""Our own reservation of buying power, before the broker's. Source: Regulation T; Alpaca: a short reserves max(limit, price x 1.03).

What is held, what works and what this batch enters must fit into a multiple of equity; an unfilled sale replenishes nothing.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.risk.compare import at_most
from hedgefund_core.risk.exposure import earlier, equity_of, of_instrument, only, total
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Compare all that is reserved with the usable multiple of equity."""
    limits = mandate.limits
    price = of_instrument(context.price, batch, context)
    floor = np.where(batch.sign > 0.0, price, price * (1.0 + limits.short_price_markup))
    dearest = np.where(np.isnan(batch.limit_price), floor, np.maximum(floor, batch.limit_price))
    need = only(~batch.reduction, batch.quantity * dearest)
    held = total(np.abs(context.quantity) + context.working_buy + context.working_sell, context)
    reserved = (held + earlier(need, batch) + need) / equity_of(context)
    limit = limits.buying_power_use * limits.buying_power_multiple
    return at_most(reserved, limit, "not enough buying power")


RULE = Rule(name="buying_power", control=17, unit="fraction of equity", applies_to_reductions=False, check=check, sequential=True)
