"""No entry on an old quote. Source: FIA best practices (reasonability); age by the source's own time.

An auction has no quote to be fresh: its price is found by the auction, and the age of the last bar is judged by ``stale_data``.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.risk.compare import at_most
from hedgefund_core.risk.exposure import of_instrument
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult, Values


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Compare the age of the instrument's price with its bound; no price in the session, or no bound = not evaluable.

    The bound is the mandate's, or five of the instrument's own usual gaps where its prices come more rarely than that.
    """
    age = np.nan if context.quote_age is None else of_instrument(context.quote_age, batch, context)
    floor = mandate.limits.max_quote_age_seconds
    limit: Values = np.nan if floor is None else floor
    if floor is not None and context.quote_patience is not None:
        limit = np.fmax(floor, of_instrument(context.quote_patience, batch, context))
    return at_most(np.where(batch.auction, 0.0, age), limit, "the quote is too old")


RULE = Rule(name="quote_age", control=22, unit="seconds", applies_to_reductions=False, check=check)
