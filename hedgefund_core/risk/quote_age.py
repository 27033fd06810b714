"""No entry on an old quote. Source: FIA best practices (reasonability); age by the source's own time.

An auction has no quote to be fresh: its price is found by the auction, and the age of the last bar is judged by ``stale_data``.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.risk.compare import at_most
from hedgefund_core.risk.exposure import of_instrument
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.risk.rule import OrderBatch, RiskContext, Rule, RuleResult


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Compare the age of the instrument's price with its bound; no price in the session, or no bound = not evaluable.

    The bound is the mandate's, or five of the instrument's own usual gaps where its prices come more rarely than that.
    """
    nothing = np.full(len(context.price), np.nan)
    age = of_instrument(nothing if context.quote_age is None else context.quote_age, batch, context)
    age = np.where(batch.auction, 0.0, age)
    floor = mandate.limits.max_quote_age_seconds
    patience = of_instrument(nothing if context.quote_patience is None else context.quote_patience, batch, context)
    limit = np.fmax(floor, patience) if floor is not None else np.full(len(batch), np.nan)
    return at_most(age, limit, "the quote is too old")


RULE = Rule(name="quote_age", control=22, unit="seconds", applies_to_reductions=False, check=check)
