"""Sessions since the highest close of 252 sessions, as a share of the window; lower = a fresh high.

Reference: Bhootra and Hur (2013).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"])


def _values(bars: kernels.Bars, params: Params) -> Floats:
    window = int(params["window"])
    return kernels.over_prices(kernels.age_of_largest, bars, window) / window


FEATURE = Feature(
    name="age_of_high_252",
    description="Sessions since the highest close of 252 sessions, as a share of the window; lower = a fresh high.",
    reference="Bhootra and Hur (2013)",
    inputs=("close",),
    params={"window": 252},
    warm_up=_warm_up,
    kernel=_values,
)
