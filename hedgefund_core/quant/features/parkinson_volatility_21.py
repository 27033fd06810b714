"""Volatility per session from the ranges of 21 sessions; higher = riskier.

Reference: Parkinson (1980).
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params

_FOUR_LN_2 = 2.772588722239781


def _warm_up(params: Params) -> int:
    return int(params["window"])


def _values(bars: kernels.Bars, params: Params) -> Floats:
    window = int(params["window"])
    high, low = (bars.prices(window, field) for field in ("high", "low"))
    range_log = kernels.log_ratio(high, low)
    return np.sqrt(kernels.over_windows(kernels.ordered_mean, window, range_log * range_log, rows=bars.rows) / _FOUR_LN_2)


FEATURE = Feature(
    name="parkinson_volatility_21",
    description="Volatility per session from the ranges of 21 sessions; higher = riskier.",
    reference="Parkinson (1980)",
    inputs=("high", "low"),
    params={"window": 21},
    warm_up=_warm_up,
    kernel=_values,
)
