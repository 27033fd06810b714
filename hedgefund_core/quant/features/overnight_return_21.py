"""Mean return from the close to the next open over 21 sessions, a fraction; higher = bought overnight.

Reference: Lou, Polk and Skouras (2019).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"]) + 1


def _values(panel: Panel, params: Params) -> Floats:
    overnight = kernels.price_ago(panel, 0, "open") / kernels.price_ago(panel, 1) - 1.0
    return kernels.over_windows(kernels.ordered_mean, int(params["window"]), overnight)


FEATURE = Feature(
    name="overnight_return_21",
    description="Mean return from the close to the next open over 21 sessions, a fraction; higher = bought overnight.",
    reference="Lou, Polk and Skouras (2019)",
    inputs=("open", "close"),
    params={"window": 21},
    warm_up=_warm_up,
    kernel=_values,
)
