"""Largest daily return of 21 sessions, a fraction; higher = more lottery-like.

Reference: Bali, Cakici and Whitelaw (2011).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"]) + 1


def _values(bars: kernels.Bars, params: Params) -> Floats:
    window = int(params["window"])
    return kernels.over_windows(kernels.largest, window, bars.returns(window), rows=bars.rows)


FEATURE = Feature(
    name="max_return_21",
    description="Largest daily return of 21 sessions, a fraction; higher = more lottery-like.",
    reference="Bali, Cakici and Whitelaw (2011)",
    inputs=("close",),
    params={"window": 21},
    warm_up=_warm_up,
    kernel=_values,
)
