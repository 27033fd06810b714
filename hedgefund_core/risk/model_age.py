"""No entry on an expired model. Source: SR 11-7 (model risk): a model is approved for a time, not for ever."""

from __future__ import annotations

from math import isnan

from hedgefund_core.risk.compare import at_most, not_applicable
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult

REASON = "the model has expired"


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Compare days since the end of training with the bundle's bound; a decision without a model has none."""
    if not uses_model(context):
        return not_applicable(context.model_expires_days, REASON)
    return at_most(context.model_age_days, context.model_expires_days, REASON)


def uses_model(context: RiskContext) -> bool:
    """Whether the decision came from a model's scores: any trace of one makes every figure of it obligatory."""
    traces = (
        context.model_age_days,
        context.model_expires_days,
        context.signal_coverage,
        context.signal_dispersion,
        context.signal_same_sign,
    )
    return not all(map(isnan, traces))


RULE = Rule(name="model_age", control=41, unit="days", applies_to_reductions=False, check=check)
