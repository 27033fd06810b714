"""Gross and net exposure of the book with every working order. Source: RTS 6 art. 8 and 15(2); numbers by mandate.

Gross counts each name at its worst case, closing auction orders as filled. Net counts auction orders as filled (they fill
together) and other working orders on the side where they hurt.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.risk.compare import at_most, not_worse
from hedgefund_core.risk.exposure import earlier, equity_of, exposures, of_instrument, only, total
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check_gross(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Sum of absolute exposures over equity."""
    found = exposures(batch, context)
    step = found.after - found.before
    gross = (found.base.sum() + earlier(step, batch) + step) / equity_of(context)
    return at_most(gross, mandate.limits.max_gross, "gross exposure could exceed its cap")


def check_net(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Absolute sum of signed exposures over equity; an order that brings it back is not denied."""
    price = of_instrument(context.price, batch, context)
    value = batch.sign * batch.quantity * price
    resting = ~batch.auction
    together, up, down = only(batch.auction, value), only(resting, np.maximum(value, 0.0)), only(resting, np.maximum(-value, 0.0))
    base = total(context.quantity, context) + earlier(together, batch)
    high = base + total(context.working_buy, context) + earlier(up, batch)
    low = base - total(context.working_sell, context) - earlier(down, batch)
    equity = equity_of(context)
    after = np.maximum(np.abs(high + together + up), np.abs(low + together - down)) / equity
    return not_worse(
        after,
        lambda: np.maximum(np.abs(high), np.abs(low)) / equity,
        mandate.limits.max_net,
        "net exposure could exceed its cap",
    )


RULES = (
    Rule(name="gross_exposure", control=13, unit="fraction of equity", applies_to_reductions=False, check=check_gross, sequential=True),
    Rule(name="net_exposure", control=13, unit="fraction of equity", applies_to_reductions=False, check=check_net, sequential=True),
)
