"""Root mean square of the negative daily returns over 63 sessions, per session; higher = riskier.

Reference: Sortino and Price (1994).
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"]) + 1


def _values(bars: kernels.Bars, params: Params) -> Floats:
    window = int(params["window"])
    losses = np.minimum(bars.returns(window), 0.0)
    return np.sqrt(kernels.over_windows(kernels.ordered_mean, window, losses * losses, rows=bars.rows))


FEATURE = Feature(
    name="downside_volatility_63",
    description="Root mean square of the negative daily returns over 63 sessions, per session; higher = riskier.",
    reference="Sortino and Price (1994)",
    inputs=("close",),
    params={"window": 63},
    warm_up=_warm_up,
    kernel=_values,
)
