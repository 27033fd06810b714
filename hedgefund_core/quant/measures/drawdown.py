"""Drawdown and growth of an equity curve. Losses are positive fractions."""

from __future__ import annotations

import math

import numpy as np

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.measures.measure import Floats, Measure, clean


def equity_curve(returns: Floats) -> Floats:
    """Compound simple returns (n,) from 1: float64 (n + 1,), the start included."""
    return np.concatenate([np.ones(1), np.cumprod(1.0 + clean(returns, minimum=1))])


def drawdowns(equity: Floats) -> Floats:
    """Loss below the high-water mark so far, float64 (n,) >= 0; needs positive equity."""
    checked = clean(equity, name="equity", minimum=1)
    if not bool(np.all(checked > 0)):
        raise DataInvalid("equity is not positive: the account is ruined, a drawdown says nothing more")
    return 1.0 - checked / np.maximum.accumulate(checked)


def max_drawdown(equity: Floats) -> Measure:
    """Largest loss below a high-water mark; ``equity`` (n,) starts at the first capital."""
    worst = float(drawdowns(equity).max())
    return Measure(value=worst, n=int(equity.size), unit="fraction", definition="largest loss below the high-water mark so far")


def annual_return(returns: Floats, *, sessions_per_year: float = 252.0) -> Measure:
    """Geometric growth a year of simple returns (n,)."""
    checked = clean(returns, minimum=1)
    growth = float(np.prod(1.0 + checked))
    value = growth ** (sessions_per_year / checked.size) - 1.0 if growth > 0 else -1.0
    return Measure(value=value, n=checked.size, unit="fraction/year", definition="compound annual growth of net returns")


def calmar_ratio(returns: Floats, *, sessions_per_year: float = 252.0) -> Measure:
    """Annual growth over maximum drawdown (Young 1991); NaN without a drawdown."""
    worst = max_drawdown(equity_curve(returns)).value
    growth = annual_return(returns, sessions_per_year=sessions_per_year)
    value = growth.value / worst if worst > 0 else math.nan
    return Measure(value=value, n=growth.n, unit="ratio", definition="compound annual growth / maximum drawdown (Young 1991)")
