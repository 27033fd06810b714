"""Price less its mean over 20 sessions, in standard deviations; higher = stretched upwards.

Reference: Bollinger (2001).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"])


def _values(bars: kernels.Bars, params: Params) -> Floats:
    return kernels.over_prices(kernels.z_score, bars, int(params["window"]))


FEATURE = Feature(
    name="bollinger_z_20",
    description="Price less its mean over 20 sessions, in standard deviations; higher = stretched upwards.",
    reference="Bollinger (2001)",
    inputs=("close",),
    params={"window": 20},
    warm_up=_warm_up,
    kernel=_values,
)
