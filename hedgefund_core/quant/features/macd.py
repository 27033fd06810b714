"""MACD line less its signal line, over the price, a fraction; higher = rising faster.

Exponential means are cut off after a stated window, so that a value does not depend on where the data begin.

Reference: Appel (2005).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features import kernels
from hedgefund_core.quant.features.feature import Feature, Params


def _warm_up(params: Params) -> int:
    return int(params["line_window"]) + int(params["signal_window"]) - 1


def _values(bars: kernels.Bars, params: Params) -> Floats:
    weights = _weights(
        *(float(params[name]) for name in ("fast", "slow", "signal")), int(params["line_window"]), int(params["signal_window"])
    )
    return kernels.over_prices(lambda stack: kernels.weighted_sum(stack, weights) / stack[0], bars, len(weights))


@cache
def _weights(fast: float, slow: float, signal: float, n_line: int, n_signal: int) -> Floats:
    """Weights on past prices, newest first: a line less an exponential mean of lines is one weighted sum."""
    line = kernels.ema_weights(fast, n_line) - kernels.ema_weights(slow, n_line)
    total = np.zeros(n_line + n_signal - 1)
    total[:n_line] = line
    for shift, weight in enumerate(kernels.ema_weights(signal, n_signal)):
        total[shift : shift + n_line] -= weight * line
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
