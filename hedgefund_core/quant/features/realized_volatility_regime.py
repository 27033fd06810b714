"""Share of the last 504 sessions on which the 21-session volatility of the equal-weight market was no higher, in (0, 1].

One value a session, the same for every instrument: it is NaN only where the market has no return, so an absent bar of one
instrument does not erase it.

Reference: Moreira and Muir (2017).
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["window"]) + int(params["volatility_window"])


def _values(panel: Panel, params: Params) -> Floats:
    market = kernels.market_returns(kernels.returns_of(panel))
    volatility = kernels.over_windows(kernels.standard_deviation, int(params["volatility_window"]), market)
    rank = kernels.over_windows(kernels.rank_of_newest, int(params["window"]), volatility)
    return np.broadcast_to(rank, panel.shape)


FEATURE = Feature(
    name="realized_volatility_regime",
    description="Share of the last 504 sessions on which the 21-session volatility of the equal-weight market was no higher, in (0, 1].",
    reference="Moreira and Muir (2017)",
    inputs=("close",),
    params={"window": 504, "volatility_window": 21},
    warm_up=_warm_up,
    kernel=_values,
)
