"""Mean return of the 21 sessions that followed the same point of the year in each of the last 5 years, a fraction.

A year is a stated number of sessions, as in the paper's annual lags: calendar months would need a window of unknown length.
A NaN in one of the two prices of any of the years makes the value NaN.

Reference: Heston and Sadka (2008).
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["years"]) * int(params["sessions_per_year"]) + 1


def _values(bars: kernels.Bars, params: Params) -> Floats:
    year, horizon = int(params["sessions_per_year"]), int(params["horizon"])
    years = int(params["years"])
    rows = max(min(bars.rows, bars.panel.shape[0] - years * year), 0)
    past = [kernels.return_between(bars, ago * year, ago * year - horizon, rows=rows) for ago in range(1, years + 1)]
    return kernels.ordered_mean(np.stack(past))


FEATURE = Feature(
    name="seasonality",
    description="Mean return of the 21 sessions that followed the same point of the year in each of the last 5 years, a fraction.",
    reference="Heston and Sadka (2008)",
    inputs=("close",),
    params={"years": 5, "horizon": 21, "sessions_per_year": 252},
    warm_up=_warm_up,
    kernel=_values,
)
