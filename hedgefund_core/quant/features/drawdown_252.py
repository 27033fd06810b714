"""Largest fall from a high to a later low within 252 sessions, a positive fraction; higher = deeper.

Reference: Magdon-Ismail and Atiya (2004).
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"])


def _values(panel: Panel, params: Params) -> Floats:
    window = int(params["window"])
    lags = kernels.price_lags(panel, window)
    low_since = next(lags)
    deepest = low_since * 0.0
    for price in lags:
        low_since = np.minimum(low_since, price)
        deepest = np.maximum(deepest, 1.0 - low_since / price)
    return kernels.padded(deepest, window, panel.shape[0])


FEATURE = Feature(
    name="drawdown_252",
    description="Largest fall from a high to a later low within 252 sessions, a positive fraction; higher = deeper.",
    reference="Magdon-Ismail and Atiya (2004)",
    inputs=("close",),
    params={"window": 252},
    warm_up=_warm_up,
    kernel=_values,
)
