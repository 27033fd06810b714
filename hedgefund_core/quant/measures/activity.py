"""How much is traded, how often it wins, and by how much."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.measures.measure import Z_95, Floats, Measure, clean


def turnover(traded: Floats, *, sessions_per_year: float = 252.0) -> Measure:
    """Notional traded a year as a multiple of equity, both sides counted.

    ``traded`` (n,) is the absolute notional traded at each session over equity (0 where nothing was traded).
    """
    checked = clean(traded, name="traded fractions", minimum=1)
    if bool(np.any(checked < 0)):
        raise DataInvalid("traded notional is an absolute value and cannot be negative")
    value = float(checked.mean()) * sessions_per_year
    return Measure(value=value, n=checked.size, unit="ratio", definition="notional bought and sold a year / equity")


def win_rate(returns: Floats) -> Measure:
    """Share of positive sessions among those that moved, with the interval of Wilson (1927); NaN if none moved."""
    return _wins(clean(returns, minimum=1), "session")


def monthly_win_rate(returns: Floats, sessions: NDArray[np.datetime64]) -> Measure:
    """Share of calendar months with a gain; ``sessions`` (n,) are the dates of ``returns`` (n,)."""
    checked = clean(returns, minimum=1)
    if sessions.shape != checked.shape:
        raise DataInvalid(f"{sessions.shape} sessions for {checked.shape} returns")
    months = sessions.astype("datetime64[M]")
    first = np.flatnonzero(np.r_[True, months[1:] != months[:-1]])
    return _wins(np.multiply.reduceat(1.0 + checked, first) - 1.0, "month")


def profit_factor(returns: Floats) -> Measure:
    """Sum of gains over sum of losses; NaN without a loss."""
    checked = clean(returns, minimum=1)
    losses = -float(checked[checked < 0].sum())
    value = float(checked[checked > 0].sum()) / losses if losses > 0 else math.nan
    return Measure(value=value, n=checked.size, unit="ratio", definition="sum of positive / sum of negative session returns")


def _wins(returns: Floats, period: str) -> Measure:
    moved = returns[returns != 0.0]
    n = moved.size
    definition = f"share of {period}s with a gain among those that moved; 95 % interval by Wilson (1927)"
    if n == 0:
        return Measure(value=math.nan, n=0, unit="fraction", definition=definition)
    share = float((moved > 0).mean())
    centre = (share + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    half = Z_95 / (1 + Z_95**2 / n) * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n * n))
    return Measure(value=share, low=centre - half, high=centre + half, n=n, unit="fraction", definition=definition)
