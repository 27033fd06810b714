"""Mean absolute return per million dollars traded over 21 sessions; higher = less liquid.

Needs dollars that were traded (no volume in a session makes the value NaN), so total-return prices are refused.

Reference: Amihud (2002).
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import TRADED_PRICE_KINDS, Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"]) + 1


def _values(bars: kernels.Bars, params: Params) -> Floats:
    window = int(params["window"])
    returns = bars.returns(window)
    dollars = bars.prices(window)[-len(returns) :] * bars.prices(window, "volume")[-len(returns) :]
    return kernels.over_windows(kernels.ordered_mean, window, np.abs(returns) / (dollars / 1e6), rows=bars.rows)


FEATURE = Feature(
    name="amihud_illiquidity_21",
    description="Mean absolute return per million dollars traded over 21 sessions; higher = less liquid.",
    reference="Amihud (2002)",
    inputs=("close", "volume"),
    params={"window": 21},
    warm_up=_warm_up,
    kernel=_values,
    price_kinds=TRADED_PRICE_KINDS,
)
