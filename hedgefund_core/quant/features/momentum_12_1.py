"""Return from 252 to 21 sessions ago, a fraction; higher = past winner.

Reference: Jegadeesh and Titman (1993).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["far"]) + 1


def _values(bars: kernels.Bars, params: Params) -> Floats:
    return kernels.return_between(bars, int(params["far"]), int(params["near"]))


FEATURE = Feature(
    name="momentum_12_1",
    description="Return from 252 to 21 sessions ago, a fraction; higher = past winner.",
    reference="Jegadeesh and Titman (1993)",
    inputs=("close",),
    params={"far": 252, "near": 21},
    warm_up=_warm_up,
    kernel=_values,
)
