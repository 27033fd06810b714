"""Mean over standard deviation of the returns not explained by the equal-weight market, 252 to 21 sessions ago.

The regression is fitted on a longer window than the residuals are taken from: with an intercept, residuals over the whole
fitting window add to zero, and leaving out the last month alone would make this a reversal.

Reference: Blitz, Huij and Martens (2011).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"]) + 1


def _values(bars: kernels.Bars, params: Params) -> Floats:
    far, near = int(params["far"]), int(params["near"])
    window = int(params["window"])
    score = lambda y, x: kernels.residual_score(y, x, far, near)  # noqa: E731
    return kernels.over_windows(score, window, bars.returns(window), bars.market(window), rows=bars.rows)


FEATURE = Feature(
    name="residual_momentum",
    description="Mean over standard deviation of the returns not explained by the equal-weight market, 252 to 21 sessions ago.",
    reference="Blitz, Huij and Martens (2011)",
    inputs=("close",),
    params={"window": 504, "far": 252, "near": 21},
    warm_up=_warm_up,
    kernel=_values,
)
