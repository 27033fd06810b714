"""Sharpe ratios and what they are worth: intervals, probability of skill, and the price of many trials."""

from __future__ import annotations

import math

import numpy as np

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.measures.measure import NORMAL, Z_95, Floats, Measure, clean

EULER_GAMMA = 0.5772156649015329
IMPLAUSIBLE_SHARPE = 3.0
_FLAT = 1e-12


def implausible(sharpe: float) -> bool:
    """Whether an annual Sharpe ratio is too good to be believed before a person looked (> 3; NaN is not)."""
    return sharpe > IMPLAUSIBLE_SHARPE


def sharpe_ratio(returns: Floats, *, sessions_per_year: float = 252.0) -> Measure:
    """Annual Sharpe ratio with the interval of Mertens.

    Parameters
    ----------
    returns : float64 (n,), simple returns per session in excess of cash; finite.
    sessions_per_year : sessions of the calendar.

    Returns
    -------
    Measure : mean / standard deviation (n - 1) x sqrt(sessions_per_year); NaN when the returns do not vary.
        The interval allows for skew and fat tails, not for serial correlation (see ``bootstrap_interval``).

    Raises
    ------
    DataInvalid : a return is not finite, or fewer than three.

    References
    ----------
    Lo (2002), The statistics of Sharpe ratios; Mertens (2002), Comments on variance of the IID estimator in Lo.
    """
    clean(returns, minimum=3)
    per_session, error, n = _estimate(returns)
    definition = "annual mean / standard deviation of net returns; 95 % interval with skew and kurtosis (Mertens 2002)"
    scale = math.sqrt(sessions_per_year)
    if math.isnan(per_session):
        return Measure(value=math.nan, n=n, unit="ratio", definition=definition)
    low, high = (scale * (per_session + sign * Z_95 * error) for sign in (-1.0, 1.0))
    return Measure(value=scale * per_session, low=low, high=high, n=n, unit="ratio", definition=definition)


def probabilistic_sharpe_ratio(returns: Floats, *, benchmark: float = 0.0, sessions_per_year: float = 252.0) -> Measure:
    """Probability that the true Sharpe ratio exceeds ``benchmark`` (annual).

    For a challenger pass the *paired difference* of its returns and its baseline's: the common market noise cancels.

    References
    ----------
    Bailey & Lopez de Prado (2012), The Sharpe ratio efficient frontier.
    """
    clean(returns, minimum=3)
    per_session, error, n = _estimate(returns)
    definition = f"probability that the true annual Sharpe ratio exceeds {benchmark:.3f} (Bailey & Lopez de Prado 2012)"
    if math.isnan(per_session):
        return Measure(value=math.nan, n=n, unit="probability", definition=definition)
    z = (per_session - benchmark / math.sqrt(sessions_per_year)) / error
    return Measure(value=NORMAL.cdf(z), n=n, unit="probability", definition=definition)


def expected_maximum_sharpe(n_trials: float, sharpe_variance: float) -> float:
    """Sharpe ratio that the best of ``n_trials`` worthless strategies shows on average.

    Parameters
    ----------
    n_trials : independent trials (the effective number); 1 or fewer give 0.
    sharpe_variance : variance of the trials' Sharpe ratios, in the unit (squared) of the result.

    References
    ----------
    Bailey & Lopez de Prado (2014), The deflated Sharpe ratio, equation 1.
    """
    if n_trials < 0 or sharpe_variance < 0:
        raise DataInvalid("number of trials and variance of their Sharpe ratios cannot be negative")
    if n_trials <= 1:
        return 0.0
    upper = NORMAL.inv_cdf(1.0 - 1.0 / n_trials)
    tail = NORMAL.inv_cdf(1.0 - 1.0 / (n_trials * math.e))
    # Below about 1.4 trials the approximation is negative; no trial lowers the bar below zero.
    return max(0.0, math.sqrt(sharpe_variance) * ((1.0 - EULER_GAMMA) * upper + EULER_GAMMA * tail))


def deflated_sharpe_ratio(returns: Floats, *, trial_sharpes: Floats, effective_trials: float, sessions_per_year: float = 252.0) -> Measure:
    """Probability of skill after paying for the search.

    Parameters
    ----------
    returns : float64 (n,), returns of the selected strategy.
    trial_sharpes : float64 (N,), annual Sharpe ratios of every trial made, the selected one included.
    effective_trials : number of independent trials among them (``effective_number_of_trials``).

    Returns
    -------
    Measure : the probabilistic Sharpe ratio against the expected maximum of ``effective_trials`` worthless ones.

    References
    ----------
    Bailey & Lopez de Prado (2014), The deflated Sharpe ratio.
    """
    trials = clean(trial_sharpes, name="Sharpe ratios of the trials", minimum=1)
    # The spread of a single trial is unknown: that of a worthless strategy over the same time stands in for it.
    variance = float(trials.var(ddof=1)) if trials.size > 1 else sessions_per_year / max(int(np.size(returns)), 1)
    hurdle = expected_maximum_sharpe(effective_trials, variance)
    plain = probabilistic_sharpe_ratio(returns, benchmark=hurdle, sessions_per_year=sessions_per_year)
    definition = (
        f"probabilistic Sharpe ratio against {hurdle:.3f}, the expected maximum of {effective_trials:.1f} effective "
        f"of {trials.size} trials (Bailey & Lopez de Prado 2014)"
    )
    return Measure(value=plain.value, n=plain.n, unit="probability", definition=definition)


def sortino_ratio(returns: Floats, *, sessions_per_year: float = 252.0) -> Measure:
    """Annual mean over downside deviation below zero (Sortino & Price 1994); NaN without a loss."""
    checked = clean(returns)
    downside = math.sqrt(float(np.mean(np.minimum(checked, 0.0) ** 2)))
    value = float(checked.mean()) / downside * math.sqrt(sessions_per_year) if downside > 0 else math.nan
    definition = "annual mean / root mean square of negative returns (Sortino & Price 1994)"
    return Measure(value=value, n=checked.size, unit="ratio", definition=definition)


def is_flat(returns: Floats) -> bool:
    """Whether returns vary by no more than rounding, so that a ratio of them would be noise."""
    return bool(returns.std() <= _FLAT * max(1e-3, float(np.abs(returns).max())))


def _estimate(returns: Floats) -> tuple[float, float, int]:
    """Return Sharpe ratio per session, its standard error, and n; NaN when the returns are flat."""
    values = np.asarray(returns, dtype=np.float64)
    n = values.size
    if is_flat(values):
        return math.nan, math.nan, n
    deviation = values - values.mean()
    spread = math.sqrt(float(np.mean(deviation**2)))
    skew = float(np.mean(deviation**3)) / spread**3
    kurtosis = float(np.mean(deviation**4)) / spread**4
    ratio = float(values.mean()) / float(values.std(ddof=1))
    variance = (1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio**2) / (n - 1)
    return ratio, math.sqrt(max(variance, 1e-18)), n
