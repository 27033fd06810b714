"""What trading costs in both engines: commission on notional, borrow on shorts, and the rounding of money.

Money and prices carry six places, half-even, as in the live ledger; a float64 holds a multiple of 1e-6 exactly enough
up to 9e9, so that sums of rounded amounts agree with the Decimal ledger to the last place that matters.
"""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from hedgefund_core.errors import ConfigError
from hedgefund_core.risk.limits import Costs

Floats = NDArray[np.float64]

MICRO = 1e6
"""Units of money in one currency unit: amounts are rounded to whole units of 1e-6."""

TIE_ULPS = 1e-15
"""A product of three factors is off by up to four units in the last place (2.2e-16 each)."""
TIE_FLOOR = 1e-9
BLOCK = 16_384
"""Numbers worked on at once: 128 kB, a part of the second-level cache."""

FREE = Costs(commission_bps=0.0, borrow_bps_per_year=0.0, auction_participation=1.0)
"""No cost at all: what a book earns before anybody is paid."""


def round_money(amounts: Floats) -> Floats:
    """Amounts to six places, half-even as the Decimal ledger rounds them: float64, same shape; NaN stays NaN.

    A price of three decimals at 3 bp has seven: every tenth commission is a tie, and binary digits put it on either side at
    random. What lies within a few units in the last place of a tie is therefore taken for one and goes to the even neighbour.
    """
    if amounts.ndim == 2 and amounts.size > BLOCK:  # by blocks that stay in the processor's cache
        rounded = np.empty_like(amounts)
        rows = max(1, BLOCK // amounts.shape[1])
        for start in range(0, len(amounts), rows):
            rounded[start : start + rows] = _rounded(amounts[start : start + rows])
        return rounded
    return _rounded(amounts)


def _rounded(amounts: Floats) -> Floats:
    units = amounts * MICRO
    rounded = np.rint(units)
    near = np.abs(units - rounded) > 0.49
    if near.any():
        close = units[near]
        below = np.floor(close)
        tied = np.abs(close - below - 0.5) <= np.maximum(np.abs(close) * TIE_ULPS, TIE_FLOOR)
        rounded[near] = np.where(tied, below + np.remainder(below, 2.0), rounded[near])
    rounded /= MICRO
    return np.asarray(rounded, dtype=np.float64)


def commission(quantity: Floats, price: Floats, costs: Costs) -> Floats:
    """Commission of each fill, never negative: round6(|quantity| x price x bps / 1e4)."""
    return round_money(np.abs(quantity) * price * (costs.commission_bps / 1e4))


def borrow_fee(quantity: Floats, last_price: Floats, costs: Costs, sessions_per_year: float) -> Floats:
    """Fee of one session on each short, float64 (n_symbols,), never negative; longs pay nothing."""
    short = np.minimum(quantity, 0.0)
    return round_money(short * last_price * (-costs.borrow_bps_per_year / 1e4 / sessions_per_year))


def times(costs: Costs, factor: float) -> Costs:
    """Costs ``factor`` times as high, for the question whether a result survives them; the share of an auction stays."""
    if not factor >= 0.0:
        message = f"costs cannot be multiplied by {factor}"
        raise ConfigError(message, mend="give a factor of zero or more")
    return replace(costs, commission_bps=costs.commission_bps * factor, borrow_bps_per_year=costs.borrow_bps_per_year * factor)
