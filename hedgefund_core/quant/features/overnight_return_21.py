"""Mean return from the close to the next open over 21 sessions, a fraction; higher = bought overnight.

Reference: Lou, Polk and Skouras (2019).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"]) + 1


def _values(bars: kernels.Bars, params: Params) -> Floats:
    window = int(params["window"])
    before = kernels.price_ago(bars, 1, rows=bars.rows + window - 1)
    overnight = bars.prices(window, "open")[-len(before) :] / before - 1.0
    return kernels.over_windows(kernels.ordered_mean, window, overnight, rows=bars.rows)


FEATURE = Feature(
    name="overnight_return_21",
    description="Mean return from the close to the next open over 21 sessions, a fraction; higher = bought overnight.",
    reference="Lou, Polk and Skouras (2019)",
    inputs=("open", "close"),
    params={"window": 21},
    warm_up=_warm_up,
    kernel=_values,
)
