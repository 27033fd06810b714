"""Information coefficient: rank correlation of scores and outcomes, session by session (Grinold & Kahn 2000)."""

from __future__ import annotations

import math

import numpy as np

from hedgefund_core.quant.measures.measure import Z_95, Floats, Measure

MIN_NAMES = 3
_DEFINITION = "mean over sessions of the Spearman correlation between score and label; interval from the t statistic (lag-corrected)"


def ranks(values: Floats) -> Floats:
    """Rank each row of (n_sessions, n_symbols) from 1 up, ties averaged, NaN kept."""
    result = np.full(values.shape, np.nan)
    order = np.argsort(values, axis=1, kind="stable")  # NaN sorts last
    ordered = np.take_along_axis(values, order, axis=1)
    position = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    new = np.ones(values.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(new, position, 0), axis=1)
    ends = np.ones(values.shape, dtype=bool)
    ends[:, :-1] = new[:, 1:]
    last = np.minimum.accumulate(np.where(ends, position, values.shape[1])[:, ::-1], axis=1)[:, ::-1]
    average = np.where(np.isnan(ordered), np.nan, (first + last) / 2.0 + 1.0)
    np.put_along_axis(result, order, average, axis=1)
    return result


def session_rank_correlations(first: Floats, second: Floats) -> Floats:
    """Spearman correlation of each session.

    Parameters
    ----------
    first, second : float64 (n_sessions, n_symbols); a name counts where both are finite.

    Returns
    -------
    float64 (n_sessions,): NaN where fewer than three names count or one side is constant.
    """
    both = np.isfinite(first) & np.isfinite(second)
    left, right = (ranks(np.where(both, side, np.nan)) for side in (first, second))
    count = both.sum(axis=1)
    centre = ((count + 1) / 2.0)[:, None]
    left, right = (np.where(both, side - centre, 0.0) for side in (left, right))
    scale = np.sqrt((left * left).sum(axis=1) * (right * right).sum(axis=1))
    product = (left * right).sum(axis=1)
    good = (count >= MIN_NAMES) & (scale > 0)
    return np.where(good, product / np.where(good, scale, 1.0), np.nan)


def information_coefficient(scores: Floats, labels: Floats, *, overlap: int = 0) -> Measure:
    """Mean rank correlation of scores and labels.

    Parameters
    ----------
    scores, labels : float64 (n_sessions, n_symbols); NaN = not scored or outcome unknown.
    overlap : sessions by which neighbouring labels overlap (horizon - 1 for daily rows); the standard error then
        adds that many autocovariances with Bartlett weights (Newey & West 1987).

    Returns
    -------
    Measure : value in [-1, 1]; ``n`` is the number of sessions; the value is NaN without one.
    """
    per_session = session_rank_correlations(scores, labels)
    per_session = per_session[np.isfinite(per_session)]
    n = per_session.size
    if n == 0:
        return Measure(value=math.nan, n=0, unit="ratio", definition=_DEFINITION)
    mean = float(per_session.mean())
    error = standard_error(per_session, overlap)
    if math.isnan(error):
        return Measure(value=mean, n=n, unit="ratio", definition=_DEFINITION)
    return Measure(value=mean, low=mean - Z_95 * error, high=mean + Z_95 * error, n=n, unit="ratio", definition=_DEFINITION)


def standard_error(values: Floats, lags: int) -> float:
    """Newey-West standard error of a mean; NaN with fewer than three values."""
    n = values.size
    if n < 3:
        return math.nan
    deviation = values - values.mean()
    variance = float(deviation @ deviation) / n
    for lag in range(1, min(lags, n - 1) + 1):
        weight = 1.0 - lag / (lags + 1.0)
        variance += 2.0 * weight * float(deviation[lag:] @ deviation[:-lag]) / n
    return math.sqrt(max(variance, 0.0) / n)


def t_statistic(scores: Floats, labels: Floats, *, overlap: int = 0) -> Measure:
    """Mean information coefficient over its standard error; |t| below about 2 is indistinguishable from luck."""
    per_session = session_rank_correlations(scores, labels)
    per_session = per_session[np.isfinite(per_session)]
    definition = "mean information coefficient divided by its Newey-West standard error"
    error = standard_error(per_session, overlap)
    value = float(per_session.mean()) / error if per_session.size and error > 0 else math.nan
    return Measure(value=value, n=per_session.size, unit="statistic", definition=definition)
