"""Long-only book from ranks: the default construction of the long-only mandate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.portfolio.weights import centred_ranks, infeasible, is_flat, normalised

Floats = NDArray[np.float64]


def rank_long_only(scores: Floats, betas: Floats, volatilities: Floats, gross: float) -> Floats:
    """Weights in proportion to the rank above the middle, over the better half.

    Parameters
    ----------
    scores : float64 (n,), higher = more attractive, NaN = not scored: weight 0.
    betas, volatilities : float64 (n,), not used. gross : sum of weights, a fraction of equity.

    Returns
    -------
    float64 (n,), none negative, sum ``gross``; NaN everywhere where that is infeasible (fewer than two scores, or all alike).

    References
    ----------
    Jegadeesh & Titman (1993), Returns to buying winners and selling losers, J. Finance 48 (the long side, rank-weighted).
    """
    if is_flat(scores):
        return infeasible(scores)
    return normalised(np.maximum(centred_ranks(scores), 0.0), gross)
