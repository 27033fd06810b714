"""Volatility, value at risk and conditional value at risk. Losses are positive fractions."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.measures.measure import NORMAL, Z_95, Floats, Measure, clean

Method = Literal["historical", "parametric", "ewma"]
EWMA_DECAY = 0.94
"""RiskMetrics (1996) for daily data."""


def volatility(returns: Floats, *, sessions_per_year: float = 252.0) -> Measure:
    """Annual standard deviation (n - 1); the interval allows for fat tails: error = s x sqrt((kurtosis - 1) / 4n)."""
    checked = clean(returns)
    spread = float(checked.std(ddof=1))
    deviation = checked - checked.mean()
    square = float(np.mean(deviation**2))
    kurtosis = float(np.mean(deviation**4)) / square**2 if square > 0 else 3.0
    error = spread * math.sqrt(max(kurtosis - 1.0, 0.0) / (4.0 * checked.size))
    scale = math.sqrt(sessions_per_year)
    return Measure(
        value=spread * scale,
        low=max(0.0, spread - Z_95 * error) * scale,
        high=(spread + Z_95 * error) * scale,
        n=checked.size,
        unit="fraction/year",
        definition="annual standard deviation of net returns; interval with kurtosis",
    )


def ewma_volatility(returns: Floats, *, decay: float = EWMA_DECAY) -> float:
    """Volatility per session of the next session: weights fall by ``decay`` a session and sum to one (RiskMetrics 1996)."""
    checked = clean(returns, minimum=1)
    weights = decay ** np.arange(checked.size - 1, -1, -1, dtype=np.float64)
    return math.sqrt(float(weights @ checked**2) / float(weights.sum()))


def value_at_risk(returns: Floats, *, level: float = 0.95, method: Method = "historical") -> Measure:
    """Loss of one session that is not exceeded with probability ``level``.

    Parameters
    ----------
    returns : float64 (n,), simple returns per session.
    level : 0.5 < level < 1.
    method : "historical" (empirical quantile; interval from order statistics), "parametric" (normal),
        "ewma" (normal with exponentially weighted volatility and mean zero).

    Returns
    -------
    Measure : positive = a loss.

    References
    ----------
    Jorion (2006), Value at Risk, chapters 5 and 10.
    """
    checked = _checked(returns, level)
    definition = f"{method} loss of one session not exceeded with probability {level:g}"
    low: float | None = None
    high: float | None = None
    z = NORMAL.inv_cdf(level)
    if method == "historical":
        losses = np.sort(-checked)
        value = float(np.quantile(losses, level))
        error = Z_95 * math.sqrt(level * (1.0 - level) / checked.size)
        low, high = (float(np.quantile(losses, min(max(level + sign * error, 0.0), 1.0))) for sign in (-1.0, 1.0))
    elif method == "parametric":
        value = z * float(checked.std(ddof=1)) - float(checked.mean())
    else:
        value = z * ewma_volatility(checked)
    return Measure(value=value, low=low, high=high, n=checked.size, unit="fraction", definition=definition)


def conditional_value_at_risk(returns: Floats, *, level: float = 0.95, method: Method = "historical") -> Measure:
    """Mean loss of the sessions beyond the value at risk (Rockafellar & Uryasev 2000); positive = a loss."""
    checked = _checked(returns, level)
    definition = f"{method} mean loss of the worst {1.0 - level:.3g} of sessions (Rockafellar & Uryasev 2000)"
    density = math.exp(-(NORMAL.inv_cdf(level) ** 2) / 2.0) / math.sqrt(2.0 * math.pi) / (1.0 - level)
    if method == "historical":
        return Measure(value=_tail_mean(checked, level), n=checked.size, unit="fraction", definition=definition)
    normal = density * float(checked.std(ddof=1)) - float(checked.mean())
    value = normal if method == "parametric" else density * ewma_volatility(checked)
    return Measure(value=value, n=checked.size, unit="fraction", definition=definition)


def _tail_mean(returns: Floats, level: float) -> float:
    """Mean of the worst n(1 - level) sessions, the last one counted by its fraction so that the sum of weights is exact."""
    losses = np.sort(-returns)[::-1]
    count = returns.size * (1.0 - level)
    whole = min(int(count + 1e-9), losses.size - 1)
    part = max(count - whole, 0.0)
    return (float(losses[:whole].sum()) + part * float(losses[whole])) / count


def _checked(returns: Floats, level: float) -> Floats:
    if not 0.5 < level < 1.0:
        raise DataInvalid(f"level {level} of a value at risk is not between 0.5 and 1")
    return clean(returns)
