"""Slope of the daily return on that of the equal-weight market over 252 sessions; higher = more market risk.

Reference: Frazzini and Pedersen (2014).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"]) + 1


def _values(panel: Panel, params: Params) -> Floats:
    returns = kernels.returns_of(panel)
    return kernels.over_windows(kernels.beta, int(params["window"]), returns, kernels.market_returns(returns))


FEATURE = Feature(
    name="beta_252",
    description="Slope of the daily return on that of the equal-weight market over 252 sessions; higher = more market risk.",
    reference="Frazzini and Pedersen (2014)",
    inputs=("close",),
    params={"window": 252},
    warm_up=_warm_up,
    kernel=_values,
)
