"""Measures of a track record: every number of a report, defined once. ``MEASURES`` is what ``all_measures`` prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.measures.activity import monthly_win_rate, profit_factor, turnover, win_rate
from hedgefund_core.quant.measures.bootstrap import annual_sharpes, bootstrap_interval, stationary_indices
from hedgefund_core.quant.measures.dependence import beta, correlation
from hedgefund_core.quant.measures.dispersion import conditional_value_at_risk, ewma_volatility, value_at_risk, volatility
from hedgefund_core.quant.measures.drawdown import annual_return, calmar_ratio, drawdowns, equity_curve, max_drawdown
from hedgefund_core.quant.measures.information_coefficient import information_coefficient, session_rank_correlations, t_statistic
from hedgefund_core.quant.measures.measure import Floats, Measure
from hedgefund_core.quant.measures.overfitting import effective_number_of_trials, probability_of_backtest_overfitting, trial_correlations
from hedgefund_core.quant.measures.sharpe import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    implausible,
    is_flat,
    probabilistic_sharpe_ratio,
    sharpe_ratio,
    sortino_ratio,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A track record.

    Attributes
    ----------
    returns : float64 (n,), simple net returns per session.
    sessions : datetime64[D] (n,).
    sessions_per_year : of the calendar.
    benchmark : float64 (n,), benchmark returns, or None.
    traded : float64 (n,), absolute notional traded over equity at each session, or None.
    """

    returns: Floats
    sessions: NDArray[np.datetime64]
    sessions_per_year: float = 252.0
    benchmark: Floats | None = None
    traded: Floats | None = None


MEASURES: dict[str, Callable[[Track], Measure | None]] = {
    "annual_return": lambda t: annual_return(t.returns, sessions_per_year=t.sessions_per_year),
    "volatility": lambda t: volatility(t.returns, sessions_per_year=t.sessions_per_year),
    "sharpe_ratio": lambda t: sharpe_ratio(t.returns, sessions_per_year=t.sessions_per_year),
    "probabilistic_sharpe_ratio": lambda t: probabilistic_sharpe_ratio(t.returns, sessions_per_year=t.sessions_per_year),
    "sortino_ratio": lambda t: sortino_ratio(t.returns, sessions_per_year=t.sessions_per_year),
    "max_drawdown": lambda t: max_drawdown(equity_curve(t.returns)),
    "calmar_ratio": lambda t: calmar_ratio(t.returns, sessions_per_year=t.sessions_per_year),
    "value_at_risk_95": lambda t: value_at_risk(t.returns, level=0.95),
    "conditional_value_at_risk_95": lambda t: conditional_value_at_risk(t.returns, level=0.95),
    "beta": lambda t: None if t.benchmark is None else beta(t.returns, t.benchmark),
    "correlation": lambda t: None if t.benchmark is None else correlation(t.returns, t.benchmark),
    "turnover": lambda t: None if t.traded is None else turnover(t.traded, sessions_per_year=t.sessions_per_year),
    "win_rate": lambda t: win_rate(t.returns),
    "monthly_win_rate": lambda t: monthly_win_rate(t.returns, t.sessions),
    "profit_factor": lambda t: profit_factor(t.returns),
}


def all_measures(track: Track) -> dict[str, Measure]:
    """Every measure whose inputs the track has, in report order."""
    results = {name: function(track) for name, function in MEASURES.items()}
    return {name: result for name, result in results.items() if result is not None}


__all__ = [
    "MEASURES",
    "Measure",
    "Track",
    "all_measures",
    "annual_return",
    "annual_sharpes",
    "beta",
    "bootstrap_interval",
    "calmar_ratio",
    "conditional_value_at_risk",
    "correlation",
    "deflated_sharpe_ratio",
    "drawdowns",
    "effective_number_of_trials",
    "equity_curve",
    "ewma_volatility",
    "expected_maximum_sharpe",
    "implausible",
    "information_coefficient",
    "is_flat",
    "max_drawdown",
    "monthly_win_rate",
    "probabilistic_sharpe_ratio",
    "probability_of_backtest_overfitting",
    "profit_factor",
    "session_rank_correlations",
    "sharpe_ratio",
    "sortino_ratio",
    "stationary_indices",
    "t_statistic",
    "trial_correlations",
    "turnover",
    "value_at_risk",
    "volatility",
    "win_rate",
]
