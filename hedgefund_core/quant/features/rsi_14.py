"""Relative strength index of 14 sessions, in [0, 100]; higher = bought. NaN where the price did not move at all.

Wilder's mean is cut off after ``window`` sessions, where a weight is below 1e-4 of the first: a recursive mean would depend on
where the data begin. Moves are relative, so that a split within the window changes nothing.

Reference: Wilder (1978).
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
    weights = kernels.ema_weights(2 * int(params["period"]) - 1, window)

    def index(changes: Floats) -> Floats:
        gain = kernels.weighted_sum(np.maximum(changes, 0.0), weights)
        loss = -kernels.weighted_sum(np.minimum(changes, 0.0), weights)
        return 100.0 * (gain / (gain + loss))

    return kernels.over_windows(index, window, bars.returns(window), rows=bars.rows)


FEATURE = Feature(
    name="rsi_14",
    description="Relative strength index of 14 sessions, in [0, 100]; higher = bought. NaN where the price did not move at all.",
    reference="Wilder (1978)",
    inputs=("close",),
    params={"period": 14, "window": 140},
    warm_up=_warm_up,
    kernel=_values,
)
