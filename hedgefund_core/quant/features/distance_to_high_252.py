"""Price over its highest close of 252 sessions less 1, at most 0; higher = nearer to the high.

Reference: George and Hwang (2004).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"])


def _values(bars: kernels.Bars, params: Params) -> Floats:
    return kernels.over_prices(lambda stack: stack[0] / kernels.largest(stack) - 1.0, bars, int(params["window"]))


FEATURE = Feature(
    name="distance_to_high_252",
    description="Price over its highest close of 252 sessions less 1, at most 0; higher = nearer to the high.",
    reference="George and Hwang (2004)",
    inputs=("close",),
    params={"window": 252},
    warm_up=_warm_up,
    kernel=_values,
)
