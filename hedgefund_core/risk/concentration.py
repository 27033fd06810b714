"""Concentration of the book over equity weights: the five largest names, and the Herfindahl index.

Source: mission (five names at the position cap); Herfindahl 1950. Weights are of equity, so a small book is never concentrated.
A discretionary mandate has neither.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.risk.compare import at_most, not_applicable, not_worse
from hedgefund_core.risk.exposure import earlier, equity_of, exposures, largest_sums
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check_top_five(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Sum of the five largest absolute weights; an order in a smaller name does not raise it."""
    limit, reason = mandate.limits.max_top_five, "the five largest names could exceed their cap"
    if limit is None:
        return not_applicable(np.nan, reason)
    found, equity = exposures(batch, context), equity_of(context)
    after = largest_sums(batch, found, 5, including=True) / equity
    return not_worse(after, lambda: largest_sums(batch, found, 5, including=False) / equity, limit, reason)


def check_herfindahl(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Sum of squared weights."""
    limit, reason = mandate.limits.max_herfindahl, "the book could be too concentrated"
    if limit is None:
        return not_applicable(np.nan, reason)
    found = exposures(batch, context)
    step = found.after**2 - found.before**2
    squares = (found.base**2).sum() + earlier(step, batch) + step
    return at_most(squares / equity_of(context) ** 2, limit, reason)


RULES = (
    Rule(name="top_five", control=14, unit="fraction of equity", applies_to_reductions=False, check=check_top_five, sequential=True),
    Rule(name="herfindahl", control=14, unit="sum of squares", applies_to_reductions=False, check=check_herfindahl, sequential=True),
)
