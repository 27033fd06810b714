"""Lag-loop kernels: the only arithmetic features are made of.

Every output at row t reads rows t - window + 1 … t only, by elementwise operations in a fixed order (oldest lag last), so
that the length of the array, its memory order and the rows before the window cannot change a bit of the result. Running
sums, ``np.mean`` over an axis and convolutions do not have this property. Only + - * / and square root are used: IEEE 754
rounds those exactly on every processor, which ``log``, ``exp`` and ``pow`` do not promise.

NaN rule: a NaN in the window of an instrument makes its output NaN, unless a function says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from hedgefund_core.quant.bars import Floats, Panel, PriceKind

_LOG_TERMS = 16


def lag_view(x: Floats, lag: int, window: int) -> Floats:
    """Rows of ``x`` that lie ``lag`` back from each row that has a whole window: (n - window + 1, …)."""
    n_rows = x.shape[0]
    return x[window - 1 - lag : max(n_rows - lag, window - 1 - lag)]


def lags_of(x: Floats, window: int) -> Iterator[Floats]:
    """Rows 0, 1, … window - 1 back, each (n - window + 1, …)."""
    for lag in range(window):
        yield lag_view(x, lag, window)


def padded(values: Floats, window: int, n_rows: int) -> Floats:
    """``values`` of the rows with a whole window, under NaN rows for those without: (n_rows, …)."""
    out = np.full((n_rows, *values.shape[1:]), np.nan)
    if n_rows >= window:
        out[window - 1 :] = values
    return out


def positive(x: Floats) -> Floats:
    """``x`` with NaN where it is not above zero: a zero price is no price."""
    return np.where(x > 0.0, x, np.nan)


# --- prices and returns -------------------------------------------------------------------------------------------------


def splits_of(panel: Panel) -> Floats | None:
    """Split ratios still to be applied to the prices of the panel: those of raw panels, else None."""
    return panel.split_ratios if panel.price_kind is PriceKind.RAW else None


def price_lags(panel: Panel, window: int, field: str = "close") -> Iterator[Floats]:
    """Prices 0, 1, … window - 1 sessions back, each (n - window + 1, n_symbols), in the shares of the row's own session.

    Raw prices are divided by the splits effective between the lagged session and the row's: known by then, so no later
    split can leak into an earlier value.
    """
    prices, splits = positive(panel.field(field)), splits_of(panel)
    factor: Floats | None = None
    for lag in range(window):
        price = lag_view(prices, lag, window)
        yield price if factor is None else price / factor
        if splits is not None:
            step = lag_view(splits, lag, window)
            factor = step if factor is None else factor * step


def price_ago(panel: Panel, lag: int, window: int, field: str = "close") -> Floats:
    """Price ``lag`` sessions back in the shares of the row's own session, (n - window + 1, n_symbols)."""
    splits = splits_of(panel)
    price = lag_view(positive(panel.field(field)), lag, window)
    if splits is None or lag == 0:
        return price
    factor = lag_view(splits, 0, window)
    for back in range(1, lag):
        factor = factor * lag_view(splits, back, window)
    return price / factor


def volume_lags(panel: Panel, window: int) -> Iterator[Floats]:
    """Share volumes 0, 1, … window - 1 sessions back, in the shares of the row's own session (see `price_lags`)."""
    volumes, splits = panel.field("volume"), splits_of(panel)
    factor: Floats | None = None
    for lag in range(window):
        volume = lag_view(volumes, lag, window)
        yield volume if factor is None else volume * factor
        if splits is not None:
            step = lag_view(splits, lag, window)
            factor = step if factor is None else factor * step


def returns_of(panel: Panel, lag: int = 1) -> Floats:
    """Simple return of the close over ``lag`` sessions, (n, n_symbols), split-adjusted as of each row; needs lag + 1 rows.

    On raw panels dividends are left out (a price return).
    """
    window = lag + 1
    return padded(price_ago(panel, 0, window) / price_ago(panel, lag, window) - 1.0, window, panel.shape[0])


def return_between(panel: Panel, far: int, near: int) -> Floats:
    """Simple return of the close from ``far`` to ``near`` sessions back (far > near ≥ 0), (n, n_symbols); far + 1 rows."""
    window = far + 1
    return padded(price_ago(panel, near, window) / price_ago(panel, far, window) - 1.0, window, panel.shape[0])


def market_returns(returns: Floats) -> Floats:
    """Equal-weight mean return of the names that have one, (n, 1); NaN where none has.

    NaN rule: a name without a return is left out of that session's mean. Names are added in column order.
    """
    total = np.zeros(returns.shape[0])
    count = np.zeros(returns.shape[0])
    for column in range(returns.shape[1]):
        value = returns[:, column]
        known = ~np.isnan(value)
        total = total + np.where(known, value, 0.0)
        count = count + known
    return np.where(count > 0, total / np.maximum(count, 1.0), np.nan)[:, None]


def log_ratio(high: Floats, low: Floats) -> Floats:
    """Natural log of high / low as 2 artanh((high - low) / (high + low)), by its series: portable to the last bit.

    Exact to 1e-15 for ratios below 1.5 and to 1e-9 below 3, far beyond a daily range.
    """
    z = (high - low) / (high + low)
    square = z * z
    total = np.full_like(z, 1.0 / (2 * _LOG_TERMS - 1))
    for term in range(_LOG_TERMS - 2, -1, -1):
        total = total * square + 1.0 / (2 * term + 1)
    return 2.0 * z * total


# --- rolling statistics of one series -----------------------------------------------------------------------------------


def fold(lags: Iterator[Floats], step: Callable[[Floats, Floats], Floats]) -> Floats:
    """Combine the arrays of ``lags``, newest first: step(step(lag 0, lag 1), lag 2) …"""
    total = next(lags)
    for value in lags:
        total = step(total, value)
    return total


def largest(lags: Iterator[Floats]) -> Floats:
    """Largest of the lagged arrays, element by element."""
    return fold(lags, np.maximum)


def age_of_largest(lags: Iterator[Floats]) -> Floats:
    """Rows back to the largest of the lagged arrays (the most recent of equals), as float64."""
    best = next(lags)
    age = np.where(np.isnan(best), np.nan, 0.0)
    for lag, value in enumerate(lags, start=1):
        age = np.where(value > best, float(lag), age)
        best = np.maximum(best, value)
    return np.where(np.isnan(best), np.nan, age)


def z_score(lags: Iterator[Floats]) -> Floats:
    """(lag 0 - mean) / sample standard deviation of the lagged arrays; NaN where they do not vary."""
    held = list(lags)
    mean = fold(iter(held), np.add) / len(held)
    variance = fold(((value - mean) * (value - mean) for value in held), np.add) / (len(held) - 1)
    return (held[0] - mean) / np.sqrt(positive(variance))


def weighted_sum(lags: Iterator[Floats], weights: Sequence[float]) -> Floats:
    """Sum of weights[k] times the k-th array of ``lags``."""
    return fold((weight * value for weight, value in zip(weights, lags, strict=True)), np.add)


def rolling_mean(x: Floats, window: int) -> Floats:
    """Mean of the last ``window`` rows, same shape as ``x``."""
    return padded(fold(lags_of(x, window), np.add) / window, window, x.shape[0])


def rolling_max(x: Floats, window: int) -> Floats:
    """Largest of the last ``window`` rows."""
    return padded(largest(lags_of(x, window)), window, x.shape[0])


def rolling_moment(x: Floats, window: int, power: int) -> Floats:
    """Mean of (value - window mean) ** power over the last ``window`` rows, in two passes."""
    centre = fold(lags_of(x, window), np.add) / window
    total = np.zeros_like(centre)
    for value in lags_of(x, window):
        gap = value - centre
        term = gap
        for _ in range(power - 1):
            term = term * gap
        total = total + term
    return padded(total / window, window, x.shape[0])


def rolling_std(x: Floats, window: int) -> Floats:
    """Sample standard deviation (divisor window - 1) of the last ``window`` rows."""
    return np.sqrt(rolling_moment(x, window, 2) * (window / (window - 1)))


def rolling_rank(x: Floats, window: int) -> Floats:
    """Share of the last ``window`` rows at or below the current one, in (0, 1]."""
    now = lag_view(x, 0, window)
    at_or_below = (np.where(np.isnan(past - now), np.nan, past <= now) for past in lags_of(x, window))
    return padded(fold(at_or_below, np.add) / window, window, x.shape[0])


def ema_weights(span: float, window: int) -> list[float]:
    """Weights of an exponential mean of ``span`` cut off after ``window`` rows, newest first, adding to 1.

    Wilder's mean of ``period`` rows is the exponential mean of span 2 * period - 1.
    """
    decay = 1.0 - 2.0 / (span + 1.0)
    weights = [1.0]
    for _ in range(window - 1):
        weights.append(weights[-1] * decay)
    total = sum(weights)
    return [weight / total for weight in weights]


# --- rolling statistics of two series -----------------------------------------------------------------------------------


def rolling_moments_of_two(y: Floats, x: Floats, window: int) -> tuple[Floats, Floats, Floats]:
    """Variance of y, variance of x and covariance over the last ``window`` rows (divisor window).

    ``y`` is (n, n_symbols); ``x`` is (n, 1) or (n, n_symbols). Each result has (n - window + 1, n_symbols or 1) rows.
    """
    mean_y = fold(lags_of(y, window), np.add) / window
    mean_x = fold(lags_of(x, window), np.add) / window
    var_y, var_x, covariance = np.zeros_like(mean_y), np.zeros_like(mean_x), np.zeros_like(mean_y)
    for lag in range(window):
        gap_y = lag_view(y, lag, window) - mean_y
        gap_x = lag_view(x, lag, window) - mean_x
        var_y = var_y + gap_y * gap_y
        var_x = var_x + gap_x * gap_x
        covariance = covariance + gap_y * gap_x
    return var_y / window, var_x / window, covariance / window


def rolling_beta(y: Floats, x: Floats, window: int) -> Floats:
    """Slope of y on x over the last ``window`` rows, (n, n_symbols); NaN where x does not move."""
    _, var_x, covariance = rolling_moments_of_two(y, x, window)
    return padded(covariance / positive(var_x), window, y.shape[0])


def rolling_correlation(y: Floats, x: Floats, window: int) -> Floats:
    """Correlation of y and x over the last ``window`` rows, clipped to [-1, 1]; NaN where either does not move."""
    var_y, var_x, covariance = rolling_moments_of_two(y, x, window)
    ratio = covariance / (np.sqrt(positive(var_y)) * np.sqrt(positive(var_x)))
    return padded(np.clip(ratio, -1.0, 1.0), window, y.shape[0])


def residual_score(y: Floats, x: Floats, window: int, far: int, near: int) -> Floats:
    """Mean residual over standard deviation of the residuals at lags near … far - 1 of y = a + b x fitted on ``window`` rows.

    Shapes as `rolling_moments_of_two`; NaN where the residuals do not vary.
    """
    mean_y = fold(lags_of(y, window), np.add) / window
    mean_x = fold(lags_of(x, window), np.add) / window
    _, var_x, covariance = rolling_moments_of_two(y, x, window)
    beta = covariance / positive(var_x)

    def residuals() -> Iterator[Floats]:  # twice computed, never stored: 231 arrays of a big universe do not fit in memory
        for lag in range(near, far):
            yield lag_view(y, lag, window) - mean_y - beta * (lag_view(x, lag, window) - mean_x)

    centre = fold(residuals(), np.add) / (far - near)
    variance = fold(((residual - centre) * (residual - centre) for residual in residuals()), np.add) / (far - near - 1)
    return padded(centre / np.sqrt(positive(variance)), window, y.shape[0])
