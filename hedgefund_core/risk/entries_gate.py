"""No new exposure while a condition outside the ladder is not met: order stream down, not reconciled, market data stale.

Source: LEAN Alpaca plugin PR 60 (orders sent while the order stream was down lost their fills); 15c3-5(c)(1)(i).
"""

from __future__ import annotations

from hedgefund_core.risk.compare import none_of
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Deny every entry while a gate is closed."""
    return none_of(bool(context.gates), f"entries are held: {'; '.join(context.gates) or 'no cause'}")


RULE = Rule(name="entries_gate", control=44, unit="closed gates", applies_to_reductions=False, check=check)
