"""Largest fall from a high to a later low within 252 sessions, a positive fraction; higher = deeper.

Reference: Magdon-Ismail and Atiya (2004).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"])


def _values(bars: kernels.Bars, params: Params) -> Floats:
    return kernels.over_prices(kernels.deepest_fall, bars, int(params["window"]))


FEATURE = Feature(
    name="drawdown_252",
    description="Largest fall from a high to a later low within 252 sessions, a positive fraction; higher = deeper.",
    reference="Magdon-Ismail and Atiya (2004)",
    inputs=("close",),
    params={"window": 252},
    warm_up=_warm_up,
    kernel=_values,
)
