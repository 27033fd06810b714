"""Are the scores behind the decision sane? Four rules: coverage, dispersion, same sign, turnover.

Source: practice of model monitoring (Google, "The ML test score", 2017): a broken feature shows as missing scores, as scores
that are all alike, as scores all on one side, or as a book turned over at once.
"""

from __future__ import annotations

from math import nextafter

from hedgefund_core.risk.compare import at_least, at_most, not_applicable
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.model_age import uses_model
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check_coverage(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Enough of the instruments are scored."""
    limit, reason = mandate.limits.min_signal_coverage, "too few instruments are scored"
    if not uses_model(context):
        return not_applicable(limit, reason)
    return at_least(context.signal_coverage, limit, reason)


def check_dispersion(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """The scores tell instruments apart."""
    reason = "the scores are all alike"
    if not uses_model(context):
        return not_applicable(0.0, reason)
    return at_least(context.signal_dispersion, nextafter(0.0, 1.0), reason)


def check_same_sign(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Of a neutral book's scores not nearly all lie on one side of their mean; a long-only book may like everything."""
    limit, reason = mandate.limits.max_same_sign_share, "nearly all scores lie on one side of their mean"
    if mandate.long_only or not uses_model(context):
        return not_applicable(limit, reason)
    return at_most(context.signal_same_sign, limit, reason)


def check_turnover(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """One decision, whoever made it, does not turn over more than so many times the gross cap."""
    limit = mandate.limits.max_turnover_of_gross * mandate.limits.max_gross
    return at_most(context.batch_turnover, limit, "the decision turns over too much")


RULES = (
    Rule(name="signal_coverage", control=40, unit="fraction of instruments", applies_to_reductions=False, check=check_coverage),
    Rule(name="signal_dispersion", control=40, unit="standard deviation", applies_to_reductions=False, check=check_dispersion),
    Rule(name="signal_same_sign", control=40, unit="fraction of scores", applies_to_reductions=False, check=check_same_sign),
    Rule(name="decision_turnover", control=40, unit="fraction of equity", applies_to_reductions=False, check=check_turnover),
)
