"""Dollar- and beta-neutral book from ranks: the default construction of the market-neutral mandate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.portfolio.scaling import known_betas
from hedgefund_core.quant.portfolio.weights import centred_ranks, infeasible, is_flat, normalised

Floats = NDArray[np.float64]

MINIMUM_NAMES = 3
"""Two constraints (dollars, beta) leave a direction to trade from three names on."""


def rank_neutral(scores: Floats, betas: Floats, volatilities: Floats, gross: float) -> Floats:
    """Residual of the centred ranks on [1, beta], normalised to the gross.

    Ranks instead of scores: one outlier cannot own the book (Asness, Moskowitz & Pedersen 2013, eq. 1). The residual is the
    nearest book, in least squares, that holds no dollars and no beta.

    Parameters
    ----------
    scores : float64 (n,), higher = more attractive, NaN = not scored: weight 0 (an instrument that lost its score is left).
    betas : float64 (n,), NaN counts as 1. volatilities : float64 (n,), not used. gross : sum of absolute weights, a fraction of equity.

    Returns
    -------
    float64 (n,) with sum 0, beta 0 and gross ``gross``; NaN everywhere where that is infeasible: fewer than three scores, scores that
    are all alike, or nothing left beside the constraints.

    References
    ----------
    Asness, Moskowitz & Pedersen (2013), Value and momentum everywhere, J. Finance 68.
    """
    scored = np.isfinite(scores)
    count = int(scored.sum())
    if count < MINIMUM_NAMES or is_flat(scores):
        return infeasible(scores)
    ranks = centred_ranks(scores)
    known = np.where(scored, known_betas(betas), 0.0)
    tilt = np.where(scored, known - known.sum() / count, 0.0)
    spread = float((tilt * tilt).sum())
    if spread > 1e-12 * count:  # betas that are all alike are neutral already
        ranks = ranks - tilt * ((ranks * tilt).sum() / spread)
    ranks = np.where(scored, ranks - ranks.sum() / count, 0.0)
    if float(np.abs(ranks).sum()) < 1e-9 * count:
        return infeasible(scores)
    return normalised(ranks, gross)
