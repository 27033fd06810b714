"""Correlation of the daily return with that of the equal-weight market over 63 sessions, in [-1, 1].

Reference: Asness, Frazzini, Gormsen and Pedersen (2020).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"]) + 1


def _values(panel: Panel, params: Params) -> Floats:
    returns = kernels.returns_of(panel)
    return kernels.over_windows(kernels.correlation, int(params["window"]), returns, kernels.market_returns(returns))


FEATURE = Feature(
    name="correlation_63",
    description="Correlation of the daily return with that of the equal-weight market over 63 sessions, in [-1, 1].",
    reference="Asness, Frazzini, Gormsen and Pedersen (2020)",
    inputs=("close",),
    params={"window": 63},
    warm_up=_warm_up,
    kernel=_values,
)
