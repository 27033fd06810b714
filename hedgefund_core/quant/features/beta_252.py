"""Slope of the daily return on that of the equal-weight market over 252 sessions; higher = more market risk.

Reference: Frazzini and Pedersen (2014).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"]) + 1


def _values(bars: kernels.Bars, params: Params) -> Floats:
    window = int(params["window"])
    return kernels.over_windows(kernels.beta, window, bars.returns(window), bars.market(window), rows=bars.rows)


FEATURE = Feature(
    name="beta_252",
    description="Slope of the daily return on that of the equal-weight market over 252 sessions; higher = more market risk.",
    reference="Frazzini and Pedersen (2014)",
    inputs=("close",),
    params={"window": 252},
    warm_up=_warm_up,
    kernel=_values,
)
