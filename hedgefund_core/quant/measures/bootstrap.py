"""Stationary bootstrap: intervals that survive serial correlation (Politis & Romano 1994)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.measures.measure import Floats, clean

Statistic = Callable[[Floats], Floats]
_ROWS_AT_ONCE = 2_000_000


def stationary_indices(n: int, draws: int, *, mean_block: float, generator: np.random.Generator) -> NDArray[np.int64]:
    """Positions of ``draws`` resampled histories, int64 (draws, n).

    Blocks start anywhere, have geometric length with mean ``mean_block`` and wrap around the end.
    """
    starts = generator.integers(0, n, size=(draws, n))
    new = generator.random((draws, n)) < 1.0 / mean_block
    new[:, 0] = True
    position = np.arange(n)
    last = np.maximum.accumulate(np.where(new, position, 0), axis=1)
    return (np.take_along_axis(starts, last, axis=1) + position - last) % n


def bootstrap_interval(
    returns: Floats, statistic: Statistic, *, seed: int, draws: int = 1000, mean_block: float = 21.0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of a statistic.

    Parameters
    ----------
    returns : float64 (n,), finite.
    statistic : maps (draws, n) to (draws,), for example ``annual_sharpes``.
    seed : the same seed gives the same interval.
    mean_block : mean block length in sessions; a month keeps the clustering of volatility.

    Returns
    -------
    (low, high) of the central ``level``.
    """
    checked = clean(returns, minimum=3)
    generator = np.random.default_rng(seed)
    chunk = max(1, _ROWS_AT_ONCE // checked.size)
    parts = []
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        parts.append(statistic(checked[stationary_indices(checked.size, size, mean_block=mean_block, generator=generator)]))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(np.concatenate(parts), [tail, 1.0 - tail])
    return float(low), float(high)


def annual_sharpes(samples: Floats, sessions_per_year: float = 252.0) -> Floats:
    """Annual Sharpe ratio of each row of (draws, n); a row that does not vary gives 0."""
    spread = samples.std(axis=1, ddof=1)
    moving = spread > 1e-15
    return np.where(moving, samples.mean(axis=1) / np.where(moving, spread, 1.0) * np.sqrt(sessions_per_year), 0.0)
