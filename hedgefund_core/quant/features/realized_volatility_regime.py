"""Share of the last 504 sessions on which the 21-session volatility of the equal-weight market was no higher, in (0, 1].

One value a session, the same for every instrument: it is NaN only where the market has no return, so an absent bar of one
instrument does not erase it.

Reference: Moreira and Muir (2017).
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"]) + int(params["volatility_window"])


def _values(bars: kernels.Bars, params: Params) -> Floats:
    window, short = int(params["window"]), int(params["volatility_window"])
    market = bars.market(window + short - 1)
    volatility = kernels.over_windows(kernels.standard_deviation, short, market, rows=bars.rows + window - 1)
    rank = kernels.over_windows(kernels.rank_of_newest, window, volatility, rows=bars.rows)
    return np.broadcast_to(rank, (len(rank), bars.panel.shape[1]))


FEATURE = Feature(
    name="realized_volatility_regime",
    description="Share of the last 504 sessions on which the 21-session volatility of the equal-weight market was no higher, in (0, 1].",
    reference="Moreira and Muir (2017)",
    inputs=("close",),
    params={"window": 504, "volatility_window": 21},
    warm_up=_warm_up,
    kernel=_values,
)
