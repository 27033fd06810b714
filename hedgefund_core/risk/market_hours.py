"""An entry must reach its auction or session before the cut-off. Source: exchange calendars; a late MOC order is a new order."""

from __future__ import annotations

from hedgefund_core.risk.compare import none_of
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Deny entries for a session that is over."""
    return none_of(not context.session_open, "the session's cut-off has passed")


RULE = Rule(name="market_hours", control=24, unit="cut-offs missed", applies_to_reductions=False, check=check)
