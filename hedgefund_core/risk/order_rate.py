"""A book that orders far more often than it has names is running away. Source: RTS 6 art. 15(3); Knight 2012: 4 million orders.

Counts of orders sent in the minute and in the session, scaled with the names of the account; a small account counts as fifty names.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.risk.compare import at_most
from hedgefund_core.risk.exposure import earlier
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult

FEWEST_NAMES = 50


def check_minute(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Orders of this minute with this one."""
    return _rate(batch, context, context.sent_minute, mandate.limits.max_orders_per_minute_per_name, "too many orders in a minute")


def check_session(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Orders of this session with this one."""
    return _rate(batch, context, context.sent_session, mandate.limits.max_orders_per_session_per_name, "too many orders in a session")


def _rate(batch: OrderBatch, context: RiskContext, sent: int, per_name: float | None, reason: str) -> RuleResult:
    count = sent + earlier(1.0, batch) + 1.0
    limit = np.nan if per_name is None else per_name * max(len(context.price), FEWEST_NAMES)
    return at_most(count, limit, reason)


RULES = (
    Rule(name="orders_per_minute", control=10, unit="orders", applies_to_reductions=False, check=check_minute, sequential=True),
    Rule(name="orders_per_session", control=10, unit="orders", applies_to_reductions=False, check=check_session, sequential=True),
)
