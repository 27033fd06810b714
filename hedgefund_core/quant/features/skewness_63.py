"""Skewness of daily returns over 63 sessions; higher = more lottery-like.

Reference: Amaya, Christoffersen, Jacobs and Vasquez (2015).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"]) + 1


def _values(bars: kernels.Bars, params: Params) -> Floats:
    window = int(params["window"])
    return kernels.over_windows(kernels.skewness, window, bars.returns(window), rows=bars.rows)


FEATURE = Feature(
    name="skewness_63",
    description="Skewness of daily returns over 63 sessions; higher = more lottery-like.",
    reference="Amaya, Christoffersen, Jacobs and Vasquez (2015)",
    inputs=("close",),
    params={"window": 63},
    warm_up=_warm_up,
    kernel=_values,
)
