"""The price of search: effective number of trials, and the probability that the choice was luck."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.measures.measure import Floats, Measure

SAME_IDEA = 0.7
"""Trials whose average correlation reaches this are one idea tried again; a higher number counts more trials, which is stricter."""


def trial_correlations(returns: Floats) -> Floats:
    """Correlation matrix (N, N) of trial returns (n_sessions, N); a trial that does not move correlates with none."""
    deviation = returns - returns.mean(axis=0)
    scale = np.sqrt((deviation * deviation).sum(axis=0))
    moving = scale > 0
    unit = np.where(moving, deviation / np.where(moving, scale, 1.0), 0.0)
    matrix: Floats = np.clip(unit.T @ unit, -1.0, 1.0)
    np.fill_diagonal(matrix, 1.0)
    return matrix


def effective_number_of_trials(returns: Floats, *, same_idea: float = SAME_IDEA) -> Measure:
    """Number of clusters of trials, by average linkage on their correlations.

    Parameters
    ----------
    returns : float64 (n_sessions, N), net returns of every trial on the same sessions; finite.
    same_idea : two clusters are one while their average correlation is at least this.

    Returns
    -------
    Measure : between 1 (all the same idea) and N; ``n`` is N.

    References
    ----------
    Lopez de Prado & Lewis (2019), Detection of false investment strategies using unsupervised learning.
    """
    checked = _matrix(returns, minimum=1)
    similarity = trial_correlations(checked)
    clusters = [[trial] for trial in range(similarity.shape[0])]
    while len(clusters) > 1:
        best, pair = -2.0, (0, 0)
        for (i, left), (j, right) in combinations(enumerate(clusters), 2):
            average = float(similarity[np.ix_(left, right)].mean())
            if average > best:
                best, pair = average, (i, j)
        if best < same_idea:
            break
        clusters[pair[0]] += clusters.pop(pair[1])
    definition = f"clusters of trials whose average correlation is below {same_idea:g} (Lopez de Prado & Lewis 2019)"
    return Measure(value=float(len(clusters)), n=checked.shape[1], unit="count", definition=definition)


def probability_of_backtest_overfitting(returns: Floats, *, blocks: int = 16) -> Measure:
    """Probability that the best trial in one half of history is below the median in the other (CSCV).

    Parameters
    ----------
    returns : float64 (n_sessions, N), net returns of N >= 2 trials on the same sessions.
    blocks : even number of contiguous blocks; all ways to choose half of them are tried (16 -> 12,870).
        The oldest n_sessions mod blocks sessions are left out.

    Returns
    -------
    Measure : share of splits whose best in-sample trial ranks at or below the median out of sample.

    Raises
    ------
    DataInvalid : odd number of blocks, fewer than two trials or two sessions a block.

    References
    ----------
    Bailey, Borwein, Lopez de Prado & Zhu (2017), The probability of backtest overfitting.
    """
    checked = _matrix(returns, minimum=2)
    if blocks < 2 or blocks % 2 or checked.shape[0] < 2 * blocks:
        raise DataInvalid(f"{blocks} blocks for {checked.shape[0]} sessions: an even number with two sessions a block is needed")
    length = checked.shape[0] // blocks
    cut = checked[checked.shape[0] - length * blocks :].reshape(blocks, length, -1)
    sums, squares = cut.sum(axis=1), (cut * cut).sum(axis=1)
    halves = list(combinations(range(blocks), blocks // 2))
    chosen = np.zeros((len(halves), blocks))
    np.put_along_axis(chosen, np.array(halves), 1.0, axis=1)
    count = length * blocks // 2
    inside = _sharpes(chosen @ sums, chosen @ squares, count)
    outside = _sharpes((1.0 - chosen) @ sums, (1.0 - chosen) @ squares, count)
    best = inside.argmax(axis=1)[:, None]
    own = np.take_along_axis(outside, best, axis=1)
    rank = (outside < own).sum(axis=1) + ((outside == own).sum(axis=1) + 1) / 2.0
    relative = rank / (checked.shape[1] + 1)
    definition = f"share of {len(halves)} symmetric splits whose best trial falls to the median or below (Bailey et al. 2017)"
    return Measure(value=float((relative <= 0.5).mean()), n=checked.shape[1], unit="probability", definition=definition)


def _sharpes(total: Floats, squares: Floats, count: int) -> Floats:
    mean = total / count
    variance = np.maximum(squares / count - mean * mean, 0.0)
    moving = variance > 1e-24
    return np.where(moving, mean / np.sqrt(np.where(moving, variance, 1.0)), 0.0)


def _matrix(returns: Floats, *, minimum: int) -> Floats:
    checked = np.asarray(returns, dtype=np.float64)
    if checked.ndim != 2 or checked.shape[1] < minimum or checked.shape[0] < 3:
        raise DataInvalid(f"trial returns have shape {checked.shape}; (sessions, at least {minimum} trials) is needed")
    if not bool(np.all(np.isfinite(checked))):
        raise DataInvalid("trial returns contain values that are not finite")
    return checked
