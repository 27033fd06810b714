"""Sample standard deviation of daily returns over 21 sessions, per session; higher = riskier.

Reference: Ang, Hodrick, Xing and Zhang (2006).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"]) + 1


def _values(bars: kernels.Bars, params: Params) -> Floats:
    window = int(params["window"])
    return kernels.over_windows(kernels.standard_deviation, window, bars.returns(window), rows=bars.rows)


FEATURE = Feature(
    name="volatility_21",
    description="Sample standard deviation of daily returns over 21 sessions, per session; higher = riskier.",
    reference="Ang, Hodrick, Xing and Zhang (2006)",
    inputs=("close",),
    params={"window": 21},
    warm_up=_warm_up,
    kernel=_values,
)
