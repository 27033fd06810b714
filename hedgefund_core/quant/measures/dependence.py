"""Beta and correlation to a benchmark, with their intervals."""

from __future__ import annotations

import math

from hedgefund_core.quant.measures.measure import Z_95, Floats, Measure, paired


def beta(returns: Floats, benchmark: Floats) -> Measure:
    """Least-squares slope of ``returns`` (n,) on ``benchmark`` (n,); NaN when the benchmark does not move."""
    own, market = paired(returns, benchmark)
    definition = "least-squares slope of net returns on the benchmark's; 95 % interval"
    centred, driver = own - own.mean(), market - market.mean()
    square = float(driver @ driver)
    if square <= 0.0:
        return Measure(value=math.nan, n=own.size, unit="ratio", definition=definition)
    slope = float(centred @ driver) / square
    residual = centred - slope * driver
    error = math.sqrt(float(residual @ residual) / (own.size - 2) / square)
    return Measure(value=slope, low=slope - Z_95 * error, high=slope + Z_95 * error, n=own.size, unit="ratio", definition=definition)


def correlation(first: Floats, second: Floats) -> Measure:
    """Pearson correlation with the interval of Fisher (1915); NaN when one side does not move."""
    left, right = paired(first, second)
    definition = "Pearson correlation; 95 % interval by Fisher's z"
    left, right = left - left.mean(), right - right.mean()
    scale = math.sqrt(float(left @ left) * float(right @ right))
    if scale <= 0.0:
        return Measure(value=math.nan, n=left.size, unit="ratio", definition=definition)
    value = min(1.0, max(-1.0, float(left @ right) / scale))
    if abs(value) == 1.0 or left.size < 4:
        return Measure(value=value, n=left.size, unit="ratio", definition=definition)
    z, error = math.atanh(value), 1.0 / math.sqrt(left.size - 3)
    low, high = math.tanh(z - Z_95 * error), math.tanh(z + Z_95 * error)
    return Measure(value=value, low=low, high=high, n=left.size, unit="ratio", definition=definition)
