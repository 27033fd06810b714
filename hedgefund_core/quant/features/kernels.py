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
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from hedgefund_core.quant.bars import Floats, Panel, PriceKind

_LOG_TERMS = 16
_STACK_VALUES = 60_000
"""Values in a stack at once: half a megabyte, which a processor's cache holds: larger stacks measured three times slower."""
_ROW_VALUES = 32_000
"""Values of one row's window at once, in as many columns as that are: memory of a megabyte is asked of the system anew each time."""


class Bars:
    """A panel as kernels read it: how many of its last sessions are asked for, and what several features need of it, made once.

    Series made of a panel end at its last session, and have no rows before the first one that they can be known at.

    Attributes
    ----------
    panel : the bars. rows : sessions, counted from the last one, of which values are wanted. Returns and their market may be known.
    """

    __slots__ = ("_market", "_prices", "_returns", "_split_columns", "panel", "rows")

    def __init__(self, panel: Panel, rows: int, *, returns: Floats | None = None, market: Floats | None = None) -> None:
        self.panel, self.rows, self._market = panel, rows, market
        self._returns = None if returns is None else self._laid(returns)
        self._prices: dict[str, Floats] = {}
        self._split_columns: NDArray[np.intp] | None = None

    def prices(self, window: int, field: str = "close") -> Floats:
        """Prices above zero that windows of ``window`` rows need, (rows + window - 1, n_symbols) or as many as there are; NaN = none."""
        wanted, made = self._reach(window, 0), self._prices.get(field)
        if made is None or len(made) < wanted:
            made = self._prices[field] = self._laid(price_ago(self, 0, field, rows=wanted))
        return made[len(made) - wanted :]

    def returns(self, window: int) -> Floats:
        """As `prices`, simple returns of the close from one session to the next; see `return_between`."""
        wanted = self._reach(window, 1)
        if self._returns is None or len(self._returns) < wanted:
            self._returns = self._laid(return_between(self, 1, 0, rows=wanted))
        return self._returns[len(self._returns) - wanted :]

    def market(self, window: int) -> Floats:
        """As `returns`, of the equal-weight market, (rows, 1); see `market_returns`."""
        wanted = self._reach(window, 1)
        if self._market is None or len(self._market) < wanted:
            self._market = market_returns(self.returns(window))
        return self._market[len(self._market) - wanted :]

    def _laid(self, values: Floats) -> Floats:
        """Where one row is wanted, with the newest row first in memory: the stack of a window is then a part of it and no copy."""
        return np.ascontiguousarray(values[::-1])[::-1] if self.rows == 1 else values

    def _reach(self, window: int, lag: int) -> int:
        return max(min(self.rows + window - 1, self.panel.shape[0] - lag), 0)

    @property
    def split_columns(self) -> NDArray[np.intp]:
        """Columns of raw prices in which a split (or no knowledge of one) is still to be applied: all others stay as they are."""
        if self._split_columns is None:
            splits = splits_of(self.panel)
            whole = np.empty(0, dtype=np.intp)
            self._split_columns = whole if splits is None else np.flatnonzero((splits != 1.0).any(axis=0))
        return self._split_columns

    def splits(self) -> Floats:
        """Split ratios of those columns, (n, columns)."""
        return self.panel.field("split_ratios")[:, self.split_columns]


def over_windows(function: Callable[..., Floats], window: int, *series: Floats, rows: int) -> Floats:
    """Apply ``function`` to the windows of the last ``rows`` rows.

    Parameters
    ----------
    function : stacks (window, rows, n_symbols or 1), one a series, newest row first -> (rows, n_symbols or 1).
    window : rows of a window.
    series : float64 (n, n_symbols) or (n, 1) each; they end at the same session, and the shortest says how far back.
    rows : rows wanted; fewer come back where there are fewer whole windows.

    Returns
    -------
    float64 (rows, n_symbols), the newest last.
    """
    length, width = min(len(values) for values in series), max(values.shape[1] for values in series)
    count = max(min(rows, length - window + 1), 0)
    out = np.empty((count, width))
    columns = min(width, max(1, _ROW_VALUES // window))
    step = max(1, _STACK_VALUES // max(window * columns, 1))
    for start in range(0, count, step):
        stop = min(start + step, count)
        cut = slice(start - count - window + 1, (stop - count) or None)  # from the end, where the series meet
        for left in range(0, width, max(columns, 1)):
            block = slice(left, left + columns)
            stacks = (_stack(values[cut] if values.shape[1] < width else values[cut, block], window) for values in series)
            out[start:stop, block] = function(*stacks)
    return out


def _stack(values: Floats, window: int) -> Floats:
    """(window, rows, n_symbols), newest row first and first in memory; to be read only."""
    if len(values) == window:
        newest_first = values[::-1, None]
        return newest_first if newest_first.strides[0] > 0 else newest_first.copy()
    return np.array(sliding_window_view(values, window, axis=0).transpose(2, 0, 1)[::-1], order="C")


def ordered_sum(stack: Floats) -> Floats:
    """Sum over the first axis, one after the other from the newest on.

    ``np.add.reduce`` adds in pairs along the fast axis in memory only (numpy.sum, Notes). The first axis of a contiguous
    stack is its slowest one, unless all others have length 1: then ``accumulate``, in order by definition, does the same
    (it always would, at ten times the time).
    """
    in_order = stack.shape[-1] > 1 and stack.strides[-1] == stack.itemsize and stack.shape[1:-1] in {(), (1,)} and stack.strides[0] > 0
    rows = stack if in_order else np.ascontiguousarray(stack)
    total: Floats = np.add.accumulate(rows, axis=0)[-1] if rows[0].size == 1 else np.add.reduce(rows, axis=0)
    return total


def ordered_mean(stack: Floats) -> Floats:
    """Mean over the first axis, by `ordered_sum`."""
    return ordered_sum(stack) / len(stack)


def positive(x: Floats) -> Floats:
    """``x`` with NaN where it is not above zero: a zero price is no price. ``x`` itself where all of it is."""
    above = x > 0.0
    return x if above.all() else np.where(above, x, np.nan)


# --- prices and returns -------------------------------------------------------------------------------------------------


def splits_of(panel: Panel) -> Floats | None:
    """Split ratios still to be applied to the prices of the panel: those of raw panels, else None."""
    return panel.split_ratios if panel.price_kind is PriceKind.RAW else None


def _shares_since(splits: Floats) -> Floats:
    """Shares of today that one share of each row of a stack has become, by the splits after that row."""
    shares = np.ones_like(splits)
    shares[1:] = np.multiply.accumulate(splits[:-1], axis=0)
    return shares


def over_prices(function: Callable[[Floats], Floats], bars: Bars, window: int, field: str = "close") -> Floats:
    """`over_windows` of prices in the shares of the row's own session.

    Raw prices are divided by the splits effective between their session and the row's: known by then, so no later split
    can leak into an earlier value.
    """
    return _over_shares(function, bars, window, bars.prices(window, field), np.divide)


def over_volumes(function: Callable[[Floats], Floats], bars: Bars, window: int) -> Floats:
    """`over_windows` of volumes in the shares of the row's own session (see `over_prices`)."""
    return _over_shares(function, bars, window, bars.panel.field("volume"), np.multiply)


def _over_shares(function: Callable[[Floats], Floats], bars: Bars, window: int, values: Floats, restate: np.ufunc) -> Floats:
    out = over_windows(function, window, values, rows=bars.rows)
    columns = bars.split_columns
    if columns.size:
        restated = over_windows(
            lambda stack, splits: function(restate(stack, _shares_since(splits))), window, values[:, columns], bars.splits(), rows=bars.rows
        )
        out[:, columns] = restated
    return out


def price_ago(bars: Bars, lag: int, field: str = "close", *, rows: int | None = None) -> Floats:
    """Price ``lag`` sessions back in the shares of the row's own session, (rows, n_symbols); at most n - lag rows.

    ``rows`` wanted are those of ``bars`` unless given.
    """
    prices = bars.panel.field(field)
    stop = max(len(prices) - lag, 0)
    past = positive(prices[max(stop - (bars.rows if rows is None else rows), 0) : stop])
    columns = bars.split_columns if lag else np.empty(0, dtype=np.intp)
    if columns.size:
        past = past.copy()
        past[:, columns] /= over_windows(lambda split: np.multiply.accumulate(split, axis=0)[-1], lag, bars.splits(), rows=len(past))
    return past


def return_between(bars: Bars, far: int, near: int, *, rows: int | None = None) -> Floats:
    """Simple return of the close from ``far`` to ``near`` sessions back (far > near ≥ 0), (rows, n_symbols); at most n - far rows.

    Split-adjusted as of each row; on raw panels dividends are left out (a price return).
    """
    then = price_ago(bars, far, rows=rows)
    return price_ago(bars, near, rows=len(then)) / then - 1.0


def returns_of(panel: Panel, lag: int = 1) -> Floats:
    """Simple return of the close over ``lag`` sessions, (n, n_symbols), the first ``lag`` rows NaN; see `return_between`."""
    out = np.full(panel.shape, np.nan)
    out[lag:] = return_between(Bars(panel, panel.shape[0]), lag, 0)
    return out


def market_returns(returns: Floats) -> Floats:
    """Equal-weight mean return of the names that have one, (n, 1); NaN where none has.

    NaN rule: a name without a return is left out of that session's mean. Names are added in column order.
    """
    out = np.empty((len(returns), 1))
    step = max(1, _ROW_VALUES // max(returns.shape[1], 1))
    for start in range(0, len(returns), step):
        rows = returns[start : start + step]
        known = ~np.isnan(rows)
        total, count = ordered_sum(np.where(known, rows, 0.0).T), known.sum(axis=1)
        out[start : start + step, 0] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return out


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
    top = largest(stack)
    ages = np.arange(len(stack), dtype=np.float64)[:, None, None]
    age = np.minimum.reduce(np.where(stack == top, ages, np.inf), axis=0)  # np.argmax along the slow axis takes twice as long
    return np.where(np.isnan(top), np.nan, age)


def deepest_fall(stack: Floats) -> Floats:
    """Largest fall from a value to a later one, a fraction in [0, 1)."""
    lowest, spare, reach = stack.copy(), np.empty_like(stack), 1
    while reach < len(stack):  # each pass doubles the rows looked back on: less time than np.minimum.accumulate along the slow axis
        spare[:reach] = lowest[:reach]
        np.minimum(lowest[reach:], lowest[:-reach], out=spare[reach:])
        lowest, spare, reach = spare, lowest, 2 * reach
    share: Floats = np.minimum.reduce(np.divide(lowest, stack, out=spare), axis=0)
    return 1.0 - share


def standard_deviation(stack: Floats) -> Floats:
    """Sample standard deviation (divisor window - 1)."""
    gap = stack - ordered_mean(stack)
    variance = ordered_mean(np.multiply(gap, gap, out=gap)) * (len(stack) / (len(stack) - 1))
    return np.sqrt(variance)


def z_score(stack: Floats) -> Floats:
    """(Newest - mean) / sample standard deviation; NaN where the window does not vary."""
    newest: Floats = stack[0]
    return (newest - ordered_mean(stack)) / positive(standard_deviation(stack))


def skewness(stack: Floats) -> Floats:
    """Third standardized moment; NaN where the window does not vary."""
    gap = stack - ordered_mean(stack)
    square = gap * gap
    variance = positive(ordered_mean(square))
    return ordered_mean(square * gap) / (variance * np.sqrt(variance))


def rank_of_newest(stack: Floats) -> Floats:
    """Share of the window at or below its newest value, in (0, 1]."""
    return ordered_mean(np.where(np.isnan(stack - stack[0]), np.nan, stack <= stack[0]))


def weighted_sum(stack: Floats, weights: Floats) -> Floats:
    """Sum of weights[k] times the value k rows back."""
    return ordered_sum(stack * weights[:, None, None])


@cache
def ema_weights(span: float, window: int) -> Floats:
    """Weights of an exponential mean of ``span`` cut off after ``window`` rows, newest first, adding to 1.

    Wilder's mean of ``period`` rows is the exponential mean of span 2 * period - 1.
    """
    decay = np.full(window, 1.0 - 2.0 / (span + 1.0))
    decay[0] = 1.0
    weights: Floats = np.multiply.accumulate(decay)
    total: np.float64 = np.add.accumulate(weights)[-1]
    weights /= total
    weights.flags.writeable = False  # it is handed to every caller
    return weights


# --- statistics of the stacks of two series: y (window, rows, n_symbols), x (window, rows, 1) ---------------------------


def beta(y: Floats, x: Floats) -> Floats:
    """Slope of y on x; NaN where x does not move."""
    gap_y, gap_x = y - ordered_mean(y), x - ordered_mean(x)
    return ordered_sum(np.multiply(gap_y, gap_x, out=gap_y)) / positive(ordered_sum(gap_x * gap_x))


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
