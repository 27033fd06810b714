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


def _fold(x: Floats, window: int, step: Callable[[Floats, Floats], Floats]) -> Floats:
    total = lag_view(x, 0, window).copy()
    for lag in range(1, window):
        total = step(total, lag_view(x, lag, window))
    return total


def rolling_sum(x: Floats, window: int) -> Floats:
    """Sum of the last ``window`` rows, same shape as ``x``."""
    return padded(_fold(x, window, np.add), window, x.shape[0])


def rolling_mean(x: Floats, window: int) -> Floats:
    """Mean of the last ``window`` rows."""
    return rolling_sum(x, window) / window


def rolling_min(x: Floats, window: int) -> Floats:
    """Smallest of the last ``window`` rows."""
    return padded(_fold(x, window, np.minimum), window, x.shape[0])


def rolling_max(x: Floats, window: int) -> Floats:
    """Largest of the last ``window`` rows."""
    return padded(_fold(x, window, np.maximum), window, x.shape[0])


def rolling_argmax(x: Floats, window: int) -> Floats:
    """Rows back from t to the largest of the last ``window`` rows (the most recent of equals), as float64."""
    best = lag_view(x, 0, window).copy()
    age = np.zeros_like(best)
    for lag in range(1, window):
        value = lag_view(x, lag, window)
        age = np.where(value > best, float(lag), age)
        best = np.maximum(best, value)
    return padded(np.where(np.isnan(best), np.nan, age), window, x.shape[0])


def rolling_moment(x: Floats, window: int, power: int) -> Floats:
    """Mean of (value - window mean) ** power over the last ``window`` rows."""
    centre = _fold(x, window, np.add) / window
    total = np.zeros_like(centre)
    for lag in range(window):
        gap = lag_view(x, lag, window) - centre
        term = gap
        for _ in range(power - 1):
            term = term * gap
        total = total + term
    return padded(total / window, window, x.shape[0])


def rolling_std(x: Floats, window: int) -> Floats:
    """Sample standard deviation (divisor window - 1) of the last ``window`` rows, in two passes."""
    return np.sqrt(rolling_moment(x, window, 2) * (window / (window - 1)))


def rolling_rank(x: Floats, window: int) -> Floats:
    """Share of the last ``window`` rows at or below the current one, in (0, 1]."""
    now = lag_view(x, 0, window)
    count = np.zeros_like(now)
    for lag in range(window):
        past = lag_view(x, lag, window)
        count = count + np.where(np.isnan(past), np.nan, past <= now)
    return padded(count / window, window, x.shape[0])


def weighted_sum(lags: Iterator[Floats], weights: Sequence[float]) -> Floats:
    """Sum of weights[k] × the k-th array of ``lags``."""
    total = weights[0] * next(lags)
    for weight in weights[1:]:
        total = total + weight * next(lags)
    return total


def ema_weights(span: int, window: int) -> list[float]:
    """Weights of an exponential mean of ``span`` cut off after ``window`` rows, newest first, adding to 1."""
    decay = 1.0 - 2.0 / (span + 1.0)
    weights = [1.0]
    for _ in range(window - 1):
        weights.append(weights[-1] * decay)
    total = sum(weights)
    return [weight / total for weight in weights]


def wilder_weights(period: int, window: int) -> list[float]:
    """Weights of Wilder's mean (decay 1 - 1/period) cut off after ``window`` rows, newest first, adding to 1."""
    return ema_weights(2 * period - 1, window)


# --- rolling statistics of two series -----------------------------------------------------------------------------------


def rolling_moments_of_two(y: Floats, x: Floats, window: int) -> tuple[Floats, Floats, Floats]:
    """Variance of y, variance of x and covariance over the last ``window`` rows (divisor window).

    ``y`` is (n, n_symbols); ``x`` is (n, 1) or (n, n_symbols). Each result has (n - window + 1, n_symbols or 1) rows.
    """
    mean_y = _fold(y, window, np.add) / window
    mean_x = _fold(x, window, np.add) / window
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
    mean_y = _fold(y, window, np.add) / window
    mean_x = _fold(x, window, np.add) / window
    _, var_x, covariance = rolling_moments_of_two(y, x, window)
    beta = covariance / positive(var_x)
    residuals = [lag_view(y, lag, window) - mean_y - beta * (lag_view(x, lag, window) - mean_x) for lag in range(near, far)]
    centre = residuals[0]
    for residual in residuals[1:]:
        centre = centre + residual
    centre = centre / len(residuals)
    variance = np.zeros_like(centre)
    for residual in residuals:
        variance = variance + (residual - centre) * (residual - centre)
    return padded(centre / np.sqrt(positive(variance / (len(residuals) - 1))), window, y.shape[0])
