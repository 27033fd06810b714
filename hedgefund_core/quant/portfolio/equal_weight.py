"""The same weight for every scored name: the baseline that is hard to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.portfolio.weights import normalised

Floats = NDArray[np.float64]


def equal_weight(scores: Floats, betas: Floats, volatilities: Floats, gross: float) -> Floats:
    """One over n, whatever the scores say.

    Parameters
    ----------
    scores : float64 (n,); NaN = not held. betas, volatilities : float64 (n,), not used. gross : sum of weights.

    Returns
    -------
    float64 (n,), none negative, sum ``gross``; NaN everywhere where no instrument is scored.

    References
    ----------
    DeMiguel, Garlappi & Uppal (2009), Optimal versus naive diversification, Rev. Financial Studies 22.
    """
    return normalised(np.isfinite(scores).astype(np.float64), gross)
