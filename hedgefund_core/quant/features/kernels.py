"""Window kernels: the only arithmetic features are made of.

A function sees the stack of a window: (window, rows, n_symbols), newest row first. Every output at row t reads rows
t - window + 1 … t only, elementwise and by sums in a fixed order (newest first), so that the length of the array, its
memory order and the rows before the window cannot change a bit of the result. Running sums, ``np.sum`` (which adds in
pairs, depending on the shape) and convolutions do not have this property. Only + - * / and square root are used: IEEE 754
rounds those exactly on every processor, which it does not ask of ``log``, ``exp`` and ``pow``.

NaN rule: a NaN in the window of an instrument makes its output NaN, unless a function says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hedgefund_core.quant.bars import Floats, Panel, PriceKind

_LOG_TERMS = 16
_STACK_VALUES = 60_000
"""Values in a stack at once: half a megabyte, which a processor's cache holds: larger stacks measured three times slower."""


def over_windows(function: Callable[..., Floats], window: int, *series: Floats) -> Floats:
    """Apply ``function`` to the windows of every row.

    Parameters
    ----------
    function : stacks (window, rows, n_symbols or 1), one a series, newest row first -> (rows, n_symbols or 1).
    window : rows of a window.
    series : float64 (n, n_symbols) or (n, 1) each.

    Returns
    -------
    float64 (n, n_symbols); the first window - 1 rows are NaN.
    """
    n_rows, width = len(series[0]), max(values.shape[1] for values in series)
    out = np.full((n_rows, width), np.nan)
    step = max(1, _STACK_VALUES // max(window * width, 1))
    for start in range(window - 1, n_rows, step):
        stop = min(start + step, n_rows)
        rows = slice(start - window + 1, stop)
        out[start:stop] = function(*(_stack(values[rows], window) for values in series))
    return out


def _stack(values: Floats, window: int) -> Floats:
    return np.ascontiguousarray(sliding_window_view(values, window, axis=0).transpose(2, 0, 1)[::-1])


def ordered_sum(stack: Floats) -> Floats:
    """Sum over the first axis, one after the other from the newest on.

    ``np.add.reduce`` adds in pairs along the fast axis in memory only (numpy.sum, Notes). The first axis of a contiguous
    stack is its slowest one, unless all others have length 1: then ``accumulate``, in order by definition, does the same
    (it always would, at ten times the time).
    """
    rows = np.ascontiguousarray(stack)
    total: Floats = np.add.accumulate(rows, axis=0)[-1] if rows[0].size == 1 else np.add.reduce(rows, axis=0)
    return total


def ordered_mean(stack: Floats) -> Floats:
    """Mean over the first axis, by `ordered_sum`."""
    return ordered_sum(stack) / len(stack)


def positive(x: Floats) -> Floats:
    """``x`` with NaN where it is not above zero: a zero price is no price."""
    return np.where(x > 0.0, x, np.nan)


# --- prices and returns -------------------------------------------------------------------------------------------------


def splits_of(panel: Panel) -> Floats | None:
    """Split ratios still to be applied to the prices of the panel: those of raw panels, else None."""
    return panel.split_ratios if panel.price_kind is PriceKind.RAW else None


def _shares_since(splits: Floats) -> Floats:
    """Shares of today that one share of each row of a stack has become, by the splits after that row."""
    shares = np.ones_like(splits)
    shares[1:] = np.multiply.accumulate(splits[:-1], axis=0)
    return shares


def over_prices(function: Callable[[Floats], Floats], panel: Panel, window: int, field: str = "close") -> Floats:
    """`over_windows` of prices in the shares of the row's own session.

    Raw prices are divided by the splits effective between their session and the row's: known by then, so no later split
    can leak into an earlier value.
    """
    prices, splits = positive(panel.field(field)), splits_of(panel)
    if splits is None:
        return over_windows(function, window, prices)
    return over_windows(lambda price, split: function(price / _shares_since(split)), window, prices, splits)


def over_volumes(function: Callable[[Floats], Floats], panel: Panel, window: int) -> Floats:
    """`over_windows` of volumes in the shares of the row's own session (see `over_prices`)."""
    volumes, splits = panel.field("volume"), splits_of(panel)
    if splits is None:
        return over_windows(function, window, volumes)
    return over_windows(lambda volume, split: function(volume * _shares_since(split)), window, volumes, splits)


def price_ago(panel: Panel, lag: int, field: str = "close") -> Floats:
    """Price ``lag`` sessions back in the shares of the row's own session, (n, n_symbols); the first ``lag`` rows are NaN."""
    prices, splits = positive(panel.field(field)), splits_of(panel)
    if lag == 0:
        return prices
    past = np.full_like(prices, np.nan)
    past[lag:] = prices[:-lag]
    if splits is None:
        return past
    return past / over_windows(lambda split: np.multiply.accumulate(split, axis=0)[-1], lag, splits)


def return_between(panel: Panel, far: int, near: int) -> Floats:
    """Simple return of the close from ``far`` to ``near`` sessions back (far > near ≥ 0), (n, n_symbols); far + 1 rows.

    Split-adjusted as of each row; on raw panels dividends are left out (a price return).
    """
    return price_ago(panel, near) / price_ago(panel, far) - 1.0


def returns_of(panel: Panel, lag: int = 1) -> Floats:
    """Simple return of the close over ``lag`` sessions, (n, n_symbols); see `return_between`."""
    return return_between(panel, lag, 0)


def market_returns(returns: Floats) -> Floats:
    """Equal-weight mean return of the names that have one, (n, 1); NaN where none has.

    NaN rule: a name without a return is left out of that session's mean. Names are added in column order.
    """
    known = ~np.isnan(returns)
    total = np.add.accumulate(np.where(known, returns, 0.0), axis=1)[:, -1:]
    count = known.sum(axis=1, keepdims=True)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


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


# --- statistics of the stack of one series ------------------------------------------------------------------------------


def largest(stack: Floats) -> Floats:
    """Largest of a window."""
    top: Floats = np.maximum.reduce(stack, axis=0)
    return top


def age_of_largest(stack: Floats) -> Floats:
    """Rows back to the largest of a window (the most recent of equals), as float64."""
    age = np.argmax(stack, axis=0).astype(np.float64)
    return np.where(np.isnan(largest(stack)), np.nan, age)


def deepest_fall(stack: Floats) -> Floats:
    """Largest fall from a value to a later one, a fraction in [0, 1)."""
    return largest(1.0 - np.minimum.accumulate(stack, axis=0) / stack)


def moment(stack: Floats, power: int) -> Floats:
    """Mean of (value - mean) ** power, in two passes."""
    gap = stack - ordered_mean(stack)
    term = gap
    for _ in range(power - 1):
        term = term * gap
    return ordered_mean(term)


def standard_deviation(stack: Floats) -> Floats:
    """Sample standard deviation (divisor window - 1)."""
    variance = moment(stack, 2) * (len(stack) / (len(stack) - 1))
    return np.sqrt(variance)


def z_score(stack: Floats) -> Floats:
    """(Newest - mean) / sample standard deviation; NaN where the window does not vary."""
    newest: Floats = stack[0]
    return (newest - ordered_mean(stack)) / positive(standard_deviation(stack))


def skewness(stack: Floats) -> Floats:
    """Third standardized moment; NaN where the window does not vary."""
    variance = positive(moment(stack, 2))
    return moment(stack, 3) / (variance * np.sqrt(variance))


def rank_of_newest(stack: Floats) -> Floats:
    """Share of the window at or below its newest value, in (0, 1]."""
    return ordered_mean(np.where(np.isnan(stack - stack[0]), np.nan, stack <= stack[0]))


def weighted_sum(stack: Floats, weights: Floats) -> Floats:
    """Sum of weights[k] times the value k rows back."""
    return ordered_sum(stack * weights[:, None, None])


def ema_weights(span: float, window: int) -> Floats:
    """Weights of an exponential mean of ``span`` cut off after ``window`` rows, newest first, adding to 1.

    Wilder's mean of ``period`` rows is the exponential mean of span 2 * period - 1.
    """
    decay = np.full(window, 1.0 - 2.0 / (span + 1.0))
    decay[0] = 1.0
    weights: Floats = np.multiply.accumulate(decay)
    total: np.float64 = np.add.accumulate(weights)[-1]
    return weights / total


# --- statistics of the stacks of two series: y (window, rows, n_symbols), x (window, rows, 1) ---------------------------


def beta(y: Floats, x: Floats) -> Floats:
    """Slope of y on x; NaN where x does not move."""
    return _slope(y - ordered_mean(y), x - ordered_mean(x))


def _slope(gap_y: Floats, gap_x: Floats) -> Floats:
    return ordered_sum(gap_y * gap_x) / positive(ordered_sum(gap_x * gap_x))


def correlation(y: Floats, x: Floats) -> Floats:
    """Correlation of y and x, clipped to [-1, 1]; NaN where either does not move."""
    gap_y, gap_x = y - ordered_mean(y), x - ordered_mean(x)
    scale = np.sqrt(positive(ordered_sum(gap_y * gap_y))) * np.sqrt(positive(ordered_sum(gap_x * gap_x)))
    clipped: Floats = np.clip(ordered_sum(gap_y * gap_x) / scale, -1.0, 1.0)
    return clipped


def residual_score(y: Floats, x: Floats, far: int, near: int) -> Floats:
    """Mean over sample standard deviation of the residuals near … far - 1 rows back of y = a + b x fitted on the window.

    NaN where these residuals do not vary.
    """
    gap_y, gap_x = y - ordered_mean(y), x - ordered_mean(x)
    residuals = gap_y[near:far] - _slope(gap_y, gap_x) * gap_x[near:far]
    return ordered_mean(residuals) / positive(standard_deviation(residuals))
