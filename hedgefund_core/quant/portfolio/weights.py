"""What the constructions share: which scores count, and what they say when a book cannot be built."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.signals import ranks_with_ties_by_id

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def infeasible(scores: Floats) -> Floats:
    """No book: NaN everywhere, which trades nothing, as opposed to zeros, which would sell everything."""
    return np.full(scores.shape[0], np.nan)


def is_flat(scores: Floats) -> bool:
    """Whether the scores do not tell instruments apart (none scored, or all alike)."""
    scored = scores[np.isfinite(scores)]
    return scored.size == 0 or bool((scored == scored[0]).all())


def centred_ranks(scores: Floats) -> Floats:
    """Ranks minus their mean, ties by instrument order; zero where there is no score: (n,) -> (n,), sum zero."""
    ranks = ranks_with_ties_by_id(scores)
    scored = ranks >= 0
    return np.where(scored, ranks - (int(scored.sum()) - 1) / 2.0, 0.0)


def normalised(weights: Floats, gross: float) -> Floats:
    """Weights whose absolute values sum to ``gross``; NaN everywhere where they are all zero."""
    total = float(np.abs(weights).sum())
    return weights * (gross / total) if total > 0.0 else infeasible(weights)
