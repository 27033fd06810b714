"""Volatility per session from the ranges of 21 sessions; higher = riskier.

Reference: Parkinson (1980).
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params

_FOUR_LN_2 = 2.772588722239781


def _warm_up(params: Params) -> int:
    return int(params["window"])


def _values(panel: Panel, params: Params) -> Floats:
    range_log = kernels.log_ratio(kernels.positive(panel.field("high")), kernels.positive(panel.field("low")))
    return np.sqrt(kernels.over_windows(kernels.ordered_mean, int(params["window"]), range_log * range_log) / _FOUR_LN_2)


FEATURE = Feature(
    name="parkinson_volatility_21",
    description="Volatility per session from the ranges of 21 sessions; higher = riskier.",
    reference="Parkinson (1980)",
    inputs=("high", "low"),
    params={"window": 21},
    warm_up=_warm_up,
    kernel=_values,
)
