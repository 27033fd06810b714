"""Minus the return over the last 5 sessions, a fraction; higher = recent loser.

Reference: Jegadeesh (1990); Lehmann (1990).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"]) + 1


def _values(bars: kernels.Bars, params: Params) -> Floats:
    return -kernels.return_between(bars, int(params["window"]), 0)


FEATURE = Feature(
    name="reversal_5",
    description="Minus the return over the last 5 sessions, a fraction; higher = recent loser.",
    reference="Jegadeesh (1990); Lehmann (1990)",
    inputs=("close",),
    params={"window": 5},
    warm_up=_warm_up,
    kernel=_values,
)
