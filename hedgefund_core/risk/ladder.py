"""No new exposure unless the ladder is ACTIVE. Source: Nautilus trading states; 15c3-5(c)(1)(i)."""

from __future__ import annotations

from hedgefund_core.risk.compare import none_of
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Deny every entry while the account may only reduce."""
    return none_of(not context.admits_entries, "the ladder admits no new exposure")


RULE = Rule(name="ladder", control=42, unit="rungs below ACTIVE", applies_to_reductions=False, check=check)
