"""The same intent never goes out twice. Source: 15c3-5 ("duplicative" orders); Knight 2012: child orders sent again and again.

Keyed by intent, not by content: two equal orders of two decisions are two intents.
"""

from __future__ import annotations

from hedgefund_core.risk.compare import none_of
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Deny what has gone out before."""
    return none_of(batch.duplicate, "this intent has gone out before")


RULE = Rule(name="duplicate_intent", control=7, unit="times sent", applies_to_reductions=True, check=check)
