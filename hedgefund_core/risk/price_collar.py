"""Price collar. Source: RTS 6 art. 15(1)(a); widths of the clearly erroneous execution rules (NYSE 7.10: 10 / 5 / 3 % by price).

The aggressive side of the limit (and the reference price, either way) may not lie beyond the band around the last good price; no good
price = deny. An auction has the wider of the table and eight daily sigmas, because an overnight gap is no error. For a reduction
without a fresh price the band widens step by step with the sessions passed: a book must stay closable while a feed is down.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from hedgefund_core.risk.compare import at_most, some
from hedgefund_core.risk.exposure import of_instrument
from hedgefund_core.risk.limits import CollarBand, Limits, Mandate
from hedgefund_core.risk.rule import Floats, OrderBatch, RiskContext, Rule, RuleResult

PRICE_GRID = 1e-6
"""Prices carry six decimals, so a limit at the band's edge may be rounded over it by this much."""


def check(batch: OrderBatch, context: RiskContext, mandate: Mandate) -> RuleResult:
    """Measure the distance from the last good price, positive = against us."""
    price = of_instrument(context.price, batch, context)
    good = np.where(price > 0.0, price, np.nan)
    reference = np.abs(batch.price / good - 1.0)
    aggressive = np.where(np.isnan(batch.limit_price), 0.0, batch.sign * (batch.limit_price / good - 1.0))
    width = table_width(good, mandate.limits)
    sigmas = mandate.limits.collar_daily_sigmas * of_instrument(context.daily_sigma, batch, context)
    width = np.where(batch.auction, np.fmax(width, sigmas), width)
    if some(batch.reduction):
        width = width + np.where(batch.reduction, widening(of_instrument(context.bar_age, batch, context), mandate.limits), 0.0)
    measured = np.maximum(reference, aggressive)
    return at_most(measured, width, "price is outside the band around the last good price", slack=PRICE_GRID / good)


def table_width(price: Floats, limits: Limits) -> Floats:
    """Width of the band by price: float64 (n,), NaN where the price is."""
    tops, widths = _table(limits.collar_bands)
    return widths[tops.searchsorted(price)]


@cache
def _table(bands: tuple[CollarBand, ...]) -> tuple[Floats, Floats]:
    tops = np.array([*(np.inf if band.up_to is None else band.up_to for band in bands[:-1]), np.inf])
    return tops, np.array([*(band.width for band in bands), np.nan])


def widening(age: Floats, limits: Limits) -> Floats:
    """What a reduction may pay beyond the table: nothing with a fresh price, then one step a session up to the last."""
    steps = np.array([0.0, *limits.reduction_band_steps])
    last = len(steps) - 1
    return steps[np.maximum(np.fmin(age, last), 0.0).astype(np.int64)]


RULE = Rule(name="price_collar", control=4, unit="fraction of price", applies_to_reductions=True, check=check)
