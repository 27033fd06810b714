"""Weights in inverse proportion to volatility: every scored name brings about the same risk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.portfolio.weights import normalised

Floats = NDArray[np.float64]


def inverse_volatility(scores: Floats, betas: Floats, volatilities: Floats, gross: float) -> Floats:
    """Long-only weights proportional to one over volatility, whatever the scores say.

    Parameters
    ----------
    scores : float64 (n,); NaN = not held. betas : float64 (n,), not used. gross : sum of weights.
    volatilities : float64 (n,), in any one unit; NaN or not above zero = not held, since nothing is known of its risk.

    Returns
    -------
    float64 (n,), none negative, sum ``gross``; NaN everywhere where no instrument has both score and volatility.

    References
    ----------
    Maillard, Roncalli & Teiletche (2010), The properties of equally weighted risk contribution portfolios, J. Portfolio Management 36
    (equal correlations).
    """
    usable = np.isfinite(scores) & np.isfinite(volatilities) & (volatilities > 0.0)
    return normalised(np.where(usable, 1.0 / np.where(usable, volatilities, 1.0), 0.0), gross)
