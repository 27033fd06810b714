"""MACD line less its signal line, over the price, a fraction; higher = rising faster.

Exponential means are cut off after a stated window, so that a value does not depend on where the data begin.

Reference: Appel (2005).
"""

from __future__ import annotations

from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["line_window"]) + int(params["signal_window"]) - 1


def _values(panel: Panel, params: Params) -> Floats:
    weights = _weights(params)
    lags = kernels.price_lags(panel, len(weights))
    gap = kernels.weighted_sum(lags, weights)
    price = kernels.price_ago(panel, 0, len(weights))
    return kernels.padded(gap / price, len(weights), panel.shape[0])


def _weights(params: Params) -> list[float]:
    """Weights on past prices, newest first: a line less an exponential mean of lines is one weighted sum."""
    n_line = int(params["line_window"])
    fast, slow = (kernels.ema_weights(params[span], n_line) for span in ("fast", "slow"))
    line = [a - b for a, b in zip(fast, slow, strict=True)]
    total = [*line, *[0.0] * (int(params["signal_window"]) - 1)]
    for shift, weight in enumerate(kernels.ema_weights(params["signal"], int(params["signal_window"]))):
        for lag, value in enumerate(line):
            total[shift + lag] -= weight * value
    return total


FEATURE = Feature(
    name="macd",
    description="MACD line less its signal line, over the price, a fraction; higher = rising faster.",
    reference="Appel (2005)",
    inputs=("close",),
    params={"fast": 12, "slow": 26, "signal": 9, "line_window": 130, "signal_window": 45},
    warm_up=_warm_up,
    kernel=_values,
)
