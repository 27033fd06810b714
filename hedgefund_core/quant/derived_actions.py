"""Splits and dividends read off the jumps of a vendor's adjustment factor (adjusted close over close).

Where nothing jumps by more than rounding can, nothing is derived: an unknown dividend stays unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.panel_build import DIVIDEND, SPLIT

_FORWARD = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 50.0, 1.5, 4.0 / 3.0, 1.25)
SPLIT_RATIOS = np.array(sorted((*_FORWARD, *(1.0 / ratio for ratio in _FORWARD))))
"""Ratios companies use; any other jump of the factor is read as a dividend, if it is positive."""
DIVIDEND_BESIDE_SPLIT = 0.05
"""A dividend paid at the same session as a split is taken to be at most 5 % of the price."""
MAX_DIVIDEND = 0.5
_MAX_DECIMALS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedAction:
    """One action at the row ``row``; ``noise`` is the half width rounding leaves in ``value``."""

    row: int
    kind: str
    value: float
    noise: float


def derive_actions(close: Floats, adjusted: Floats, *, tick: float = 0.01) -> list[DerivedAction]:
    """Actions of one symbol.

    The factor ``adjusted / close`` jumps by ``split · (1 + dividend / close)`` at the ex-session, in the convention of
    the vendors that back-adjust multiplicatively on the ex-session's close (Quandl WIKI, CRSP's cumulative factor).

    Parameters
    ----------
    close, adjusted : shape (n_sessions,), one symbol in session order, positive; NaN = absent.
    tick : smallest step of ``close``: a dividend below a tenth of it is noise whatever the factor says.

    Returns
    -------
    Actions in row order. Splits are new shares per old share; dividends are cash per (new) share.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = adjusted / close
    rows = np.flatnonzero(np.isfinite(factor) & (factor > 0))
    if len(rows) < 2:
        return []
    jump = factor[rows[1:]] / factor[rows[:-1]]
    step = 0.5 * 10.0 ** -_decimals(adjusted[rows])
    noise = step / adjusted[rows[1:]] + step / adjusted[rows[:-1]] + 1e-9
    actions: list[DerivedAction] = []
    for i in np.flatnonzero(np.abs(jump - 1.0) > 2.0 * noise):
        actions.extend(_read(int(rows[i + 1]), float(jump[i]), float(noise[i]), float(close[rows[i + 1]]), tick))
    return actions


def _read(row: int, jump: float, noise: float, close: float, tick: float) -> list[DerivedAction]:
    """A jump as a split, a dividend, or both."""
    split, left = 1.0, jump
    near = SPLIT_RATIOS[np.abs(jump / SPLIT_RATIOS - 1.0) <= 2.0 * noise]
    beside = SPLIT_RATIOS[(jump / SPLIT_RATIOS >= 1.0 - 2.0 * noise) & (jump / SPLIT_RATIOS <= 1.0 + DIVIDEND_BESIDE_SPLIT)]
    if len(near):
        split, left = float(near[np.argmin(np.abs(jump / near - 1.0))]), 1.0
    elif len(beside) and not 1.0 < jump < 1.0 + MAX_DIVIDEND:
        split = float(beside[-1])
        left = jump / split
    found = [] if split == 1.0 else [DerivedAction(row=row, kind=SPLIT, value=split, noise=noise * split)]
    dividend = (left - 1.0) * close
    if 1.0 + 2.0 * noise < left < 1.0 + MAX_DIVIDEND and dividend > 0.1 * tick:
        found.append(DerivedAction(row=row, kind=DIVIDEND, value=_to_known_digits(dividend, noise * close), noise=noise * close))
    return found


def _to_known_digits(value: float, noise: float) -> float:
    """``value`` rounded to the last digit that its noise leaves."""
    return round(value, max(0, int(np.floor(-np.log10(2.0 * noise)))))


def _decimals(values: NDArray[np.float64]) -> int:
    """Decimals the values are given with, at most ten: the rounding that limits what can be derived."""
    for decimals in range(_MAX_DECIMALS):
        if np.allclose(values, np.round(values, decimals), rtol=0.0, atol=1e-9 * 10.0**-decimals):
            return decimals
    return _MAX_DECIMALS
