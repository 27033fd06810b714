"""Correlation of the daily return with that of the equal-weight market over 63 sessions, in [-1, 1].

Reference: Asness, Frazzini, Gormsen and Pedersen (2020).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"]) + 1


def _values(bars: kernels.Bars, params: Params) -> Floats:
    window = int(params["window"])
    return kernels.over_windows(kernels.correlation, window, bars.returns(window), bars.market(window), rows=bars.rows)


FEATURE = Feature(
    name="correlation_63",
    description="Correlation of the daily return with that of the equal-weight market over 63 sessions, in [-1, 1].",
    reference="Asness, Frazzini, Gormsen and Pedersen (2020)",
    inputs=("close",),
    params={"window": 63},
    warm_up=_warm_up,
    kernel=_values,
)
