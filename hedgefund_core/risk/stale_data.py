"""No entry on an old price. Source: FIA best practices (reasonability); daily bars age in completed sessions."""

from __future__ import annotations

from hedgefund_core.risk.compare import at_most
from hedgefund_core.risk.exposure import seldom_of_instrument
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Compare the age of the instrument's last bar with its bound; never a bar = not evaluable."""
    age = seldom_of_instrument(context.bar_age, batch, context)
    return at_most(age, mandate.limits.max_bar_age_sessions, "the last bar is too old")


RULE = Rule(name="stale_data", control=22, unit="sessions", applies_to_reductions=False, check=check)
