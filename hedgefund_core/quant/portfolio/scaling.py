"""Scalers: the book's size from its ex-ante volatility, drawdown and beta, then the caps. They only ever make a book smaller.

Shared by the decision kernel and the vectorized engine, so the arithmetic is elementwise products and sums over contiguous
arrays in one fixed order: no BLAS call, whose blocking differs between builds and thread counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import isfinite

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MINIMUM_SESSIONS = 20
"""Sessions below which a volatility or a value at risk is not stated."""
MINIMUM_BETA_SESSIONS = 60
MINIMUM_COLUMNS = 2
"""Columns that numpy adds row by row: a single one it adds in pairs (numpy.sum, Notes)."""
BETA_SHRINKAGE = 1.0 / 3.0
"""Weight of the prior beta 1 (Vasicek 1973; one third is Blume's 1975 adjustment as used by vendors)."""
PRIOR_BETA = 1.0
WEIGHT_QUANTUM = 1e-6
_BLOCK_VALUES = 16_000
CAP_USE = 0.98
"""Share of the gross and net caps that a book is built up to: names inside the no-trade band keep what they drifted to, and an
order that is right by its target must not be denied for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """One scaler: what was measured, what it may be, and the multiplier (0 to 1) that follows from the two."""

    name: str
    measured: float
    limit: float
    scale: float


def daily_returns(close: Floats) -> Floats:
    """Simple returns from one session to the next.

    Parameters
    ----------
    close : float64 (T, n), prices of one kind (adjust raw prices for splits first).

    Returns
    -------
    float64 (T - 1, n); NaN where either price is absent or not above zero.
    """
    prices = np.where(close > 0.0, close, np.nan)
    returns: Floats = prices[1:] / prices[:-1] - 1.0
    return returns


def market_returns(returns: Floats, benchmark_returns: Floats | None) -> Floats:
    """The market of a panel: the benchmark where there is one, else the equally weighted mean of the names that have a return.

    Parameters
    ----------
    returns : float64 (T, n). benchmark_returns : float64 (T,) or None.

    Returns
    -------
    float64 (T,); NaN where the benchmark is absent, or no name has a return.
    """
    if benchmark_returns is not None:
        return np.asarray(benchmark_returns, dtype=np.float64)
    present = np.isfinite(returns)
    count = present.sum(axis=1)
    total = _filled(returns).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def book_returns(weights: Floats, returns: Floats) -> Floats:
    """What the book with today's weights would have earned at each session: (n,), (T, n) -> (T,).

    A missing return, or a weight that is not given, counts zero.
    """
    held, rows = _filled(weights), np.ascontiguousarray(returns)
    if not held.any():
        return np.zeros(len(rows))
    with np.errstate(invalid="ignore"):
        totals: Floats = (rows * held).sum(axis=1)
    return totals if np.isfinite(totals).all() else _returns_with_holes(held, rows)


def _returns_with_holes(held: Floats, rows: Floats) -> Floats:
    """As `book_returns`, a few sessions at a time: what a processor's cache holds."""
    totals = np.empty(len(rows))
    step = max(1, _BLOCK_VALUES // max(len(held), 1))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        totals[start : start + step] = (_filled(block) * held).sum(axis=1)
    return totals


def book_volatility(weights: Floats, returns: Floats, decay: float, sessions_per_year: float) -> float:
    """Ex-ante volatility of a book, annualised.

    Square root of the exponentially weighted mean of squared book returns (mean return taken as zero), over the finite window given.

    Parameters
    ----------
    weights : float64 (n,), fractions of equity, signed; NaN counts zero.
    returns : float64 (T, n), oldest first, known at the decision; a missing return counts zero for its instrument.
    decay : lambda of the weights, in (0, 1].
    sessions_per_year : to annualise.

    Returns
    -------
    Volatility a year as a fraction; NaN with fewer than 20 sessions.

    References
    ----------
    J.P. Morgan/Reuters (1996), RiskMetrics Technical Document, 4th ed.
    """
    return volatility_of(book_returns(weights, returns), decay, sessions_per_year)


def volatility_of(moves: Floats, decay: float, sessions_per_year: float) -> float:
    """`book_volatility` of a book whose `book_returns` are known: (T,)."""
    sessions = moves.shape[0]
    if sessions < MINIMUM_SESSIONS:
        return float("nan")
    importance, total = _importance(sessions, decay)
    variance = (importance * moves**2).sum() / total
    return float(np.sqrt(variance * sessions_per_year))


@cache
def _importance(sessions: int, decay: float) -> tuple[Floats, float]:
    """What each session counts, the newest 1 (a running product, since pow() may differ between processors), and all together."""
    steps = np.full(sessions, decay)
    steps[0] = 1.0
    importance = np.cumprod(steps)[::-1].copy()
    importance.flags.writeable = False  # it is handed to every caller
    return importance, float(importance.sum())


def betas(returns: Floats, market: Floats) -> Floats:
    """Beta of each instrument to the market, shrunk one third of the way to 1.

    Parameters
    ----------
    returns : float64 (T, n). market : float64 (T,). A session counts for an instrument where both are present.

    Returns
    -------
    float64 (n,); NaN where fewer than 60 sessions count, or the market did not move in them.

    References
    ----------
    Vasicek (1973), A note on using cross-sectional information in Bayesian estimation of security betas, J. Finance 28.
    """
    column = np.asarray(market, dtype=np.float64)[:, None]
    with np.errstate(invalid="ignore"):
        total = np.add.reduce(returns, axis=0)
    holes = np.flatnonzero(~np.isfinite(total))
    if not (returns.size and np.isfinite(column).all()) or (holes.size and returns.shape[1] < MINIMUM_COLUMNS):
        return _betas_of_some(returns, column)
    with np.errstate(invalid="ignore"):
        found = _betas_of_all(returns, column, total)
    if holes.size:
        wanted = np.resize(holes, max(holes.size, MINIMUM_COLUMNS))
        found[holes] = _betas_of_some(np.take(returns, wanted, axis=1), column)[: holes.size]
    return found


def _betas_of_some(returns: Floats, column: Floats) -> Floats:
    """Where any session may be missing."""
    present = np.isfinite(returns) & np.isfinite(column)
    count = present.sum(axis=0).astype(np.float64)
    divisor = np.maximum(count, 1.0)
    x = np.where(present, column, 0.0)
    y = np.where(present, returns, 0.0)
    x = np.where(present, x - x.sum(axis=0) / divisor, 0.0)
    y = np.where(present, y - y.sum(axis=0) / divisor, 0.0)
    covariance, variance = (x * y).sum(axis=0), (x * x).sum(axis=0)
    return _shrunk(covariance, variance, count)


def _betas_of_all(returns: Floats, column: Floats, total: Floats) -> Floats:
    """The same sums in the same order where nothing is missing: the market's are of one column, and nothing has to be left out."""
    sessions = returns.shape[0]
    x = column - np.add.accumulate(column, axis=0)[-1] / sessions
    y = returns - total / sessions
    variance = np.add.accumulate(x * x, axis=0)[-1]
    covariance = np.add.reduce(np.multiply(x, y, out=y), axis=0)
    return _shrunk(covariance, variance, np.array([float(sessions)]))


def _shrunk(covariance: Floats, variance: Floats, count: Floats) -> Floats:
    """(n,) each; variance and count may be of length 1, one for all."""
    stated = (count >= MINIMUM_BETA_SESSIONS) & (variance > 0.0)
    raw = covariance / np.where(stated, variance, 1.0)
    shrunk = (1.0 - BETA_SHRINKAGE) * raw + BETA_SHRINKAGE * PRIOR_BETA
    return np.where(stated, shrunk, np.nan)


def daily_sigmas(returns: Floats) -> Floats:
    """Standard deviation of each instrument's daily returns (divisor count - 1): (T, n) -> (n,), NaN under 20 values."""
    total = returns.sum(axis=0)
    whole = bool(np.isfinite(total).all())
    known = None if whole else ~np.isnan(returns)
    count = np.array([len(returns)]) if known is None else known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (total if known is None else np.where(known, returns, 0.0).sum(axis=0)) / count
        gap = returns - mean
        squares = np.multiply(gap, gap, out=gap)
        variance = (squares if known is None else np.where(known, squares, 0.0)).sum(axis=0) / (count - 1)
    return np.where(count >= MINIMUM_SESSIONS, np.sqrt(np.maximum(variance, 0.0)), np.nan)


def known_betas(instrument_betas: Floats) -> Floats:
    """Betas with the prior 1 where there is none: (n,) -> (n,). That is where shrinkage leaves what nobody has observed."""
    return np.where(np.isfinite(instrument_betas), instrument_betas, PRIOR_BETA)


def book_beta(weights: Floats, instrument_betas: Floats) -> float:
    """Beta of a book: (n,), (n,) -> signed float; an instrument without a beta counts with the prior 1."""
    return float((_filled(weights) * known_betas(instrument_betas)).sum())


def historical_var(weights: Floats, returns: Floats, level: float = 0.95) -> tuple[float, float]:
    """Value at risk and conditional value at risk of today's book over one session, by historical simulation.

    Parameters
    ----------
    weights : float64 (n,). returns : float64 (T, n). level : confidence, in (0, 1).

    Returns
    -------
    (VaR, CVaR) as positive losses, fractions of equity: the loss at, and the mean loss in, the worst ``ceil((1 - level) T)`` sessions;
    (NaN, NaN) with fewer than 20 sessions.

    References
    ----------
    Rockafellar & Uryasev (2000), Optimization of conditional value-at-risk, J. Risk 2.
    """
    return value_at_risk_of(book_returns(weights, returns), level)


def value_at_risk_of(moves: Floats, level: float = 0.95) -> tuple[float, float]:
    """`historical_var` of a book whose `book_returns` are known: (T,)."""
    sessions = moves.shape[0]
    if sessions < MINIMUM_SESSIONS:
        return float("nan"), float("nan")
    tail = max(1, int(np.ceil((1.0 - level) * sessions - 1e-9)))
    worst = np.sort(moves)[:tail]
    return float(-worst[-1]), float(-worst.sum() / tail)


def scale_weights(  # noqa: PLR0913 - each limit is a number of the mandate, and quant knows no mandate
    raw: Floats,
    returns: Floats,
    betas: Floats,
    *,
    target_volatility: float,
    decay: float,
    sessions_per_year: float,
    max_beta: float,
    drawdown_scale: float,
    max_gross: float,
    max_net: float,
    max_position: float,
) -> tuple[Floats, tuple[Scaling, ...]]:
    """Scale a raw book down to what the mandate promises.

    The scalers volatility, drawdown and beta are combined by their minimum, never their product (three answers to one storm
    would cut three times). Then positions are clipped, gross and net are cut pro rata, and volatility and beta are measured
    again on the clipped book, because clipping one leg of a hedge can raise both. Never levers up.

    Parameters
    ----------
    raw : float64 (n,), signed fractions of equity; NaN = no target: the instrument is left alone and counts zero in the measures.
    returns : float64 (T, n), oldest first. betas : float64 (n,), NaN counts as 1.
    target_volatility, decay, sessions_per_year : as in `book_volatility`.
    max_beta, max_gross, max_net, max_position : absolute caps. drawdown_scale : 0 to 1.

    Returns
    -------
    weights : float64 (n,), quantized to 1e-6 half-even, NaN where ``raw`` is NaN; all NaN (hold what there is) where volatility or
        drawdown cannot be measured: a book whose risk is unknown must not be traded into. A book of zeros needs no measure.
    scalings : the multipliers in the order in which they were applied.
    """
    given = np.isfinite(raw)  # an infinite weight is no target either
    book, exposures = np.where(given, raw, 0.0), known_betas(betas)
    room = 0.5 * WEIGHT_QUANTUM * raw.shape[0]  # rounding to the quantum must not step over a cap
    sigma = book_volatility(book, returns, decay, sessions_per_year)
    beta_room = room * (float(np.abs(exposures).max()) if exposures.size else PRIOR_BETA)
    first = (
        _scaling("volatility", sigma, target_volatility),
        Scaling(name="drawdown", measured=drawdown_scale, limit=1.0, scale=_clipped_scale(drawdown_scale)),
        _scaling("beta", abs(float((book * exposures).sum())), max_beta, beta_room),
    )
    volatility, drawdown, beta = (scaling.scale for scaling in first)
    risk_scale = min(volatility, beta)
    weights = book * risk_scale
    cap = np.floor(max_position / WEIGHT_QUANTUM + 1e-6) * WEIGHT_QUANTUM
    clipped = np.minimum(np.maximum(weights, -cap), cap)
    caps = (
        _scaling("gross", float(np.abs(clipped).sum()), CAP_USE * max_gross, room),
        _scaling("net", abs(float(clipped.sum())), CAP_USE * max_net, room),
    )
    weights = clipped * min(scaling.scale for scaling in caps)
    last = (
        _scaling("volatility_after_caps", book_volatility(weights, returns, decay, sessions_per_year), target_volatility),
        _scaling("beta_after_caps", abs(float((weights * exposures).sum())), max_beta, beta_room),
    )
    # The drawdown enters against the capped book: entered before the caps, a smaller book would be clipped less, and a deeper
    # drawdown could leave a larger one.
    beyond = 1.0 if drawdown >= risk_scale else drawdown / risk_scale
    weights = _quantized(weights * min(beyond, *(scaling.scale for scaling in last)))
    measured = isfinite(sigma) and isfinite(drawdown_scale)
    traded = given if measured or not book.any() else np.zeros_like(given)  # an exit needs no measure
    return np.where(traded, weights, np.nan), (*first, *caps, *last)


def _scaling(name: str, measured: float, limit: float, room: float = 0.0) -> Scaling:
    """The multiplier that brings ``measured`` under ``limit``; zero where it cannot be measured."""
    bound = max(limit - room, 0.0)
    if not isfinite(measured):
        scale = 0.0
    elif measured <= bound:
        scale = 1.0
    else:
        scale = bound / measured
    return Scaling(name=name, measured=measured, limit=limit, scale=scale)


def _clipped_scale(scale: float) -> float:
    return float(min(max(scale, 0.0), 1.0)) if isfinite(scale) else 0.0


def _filled(values: Floats) -> Floats:
    """Contiguous, with zero for what is absent: the order of a sum must not depend on the memory layout of the caller."""
    known = np.isfinite(values)
    return np.ascontiguousarray(values if known.all() else np.where(known, values, 0.0))


def _quantized(weights: Floats) -> Floats:
    """Weights on the grid of 1e-6, half-even; minus zero becomes zero."""
    return np.rint(weights * 1e6) / 1e6 + 0.0
