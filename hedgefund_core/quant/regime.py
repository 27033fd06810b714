"""Regime of the market by its realized volatility, from the past only: reports are split by it."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid

Floats = NDArray[np.float64]


class Regime(IntEnum):
    """State of a session; the order is that of volatility."""

    UNKNOWN = -1
    CALM = 0
    NORMAL = 1
    TURBULENT = 2


def realized_volatility(returns: Floats, *, window: int = 21, sessions_per_year: float = 252.0) -> Floats:
    """Annual root mean square of the last ``window`` returns, float64 (n,); NaN until full or with a NaN inside."""
    if window < 2:
        raise DataInvalid("realized volatility needs a window of at least two sessions")
    total = np.zeros(returns.size)
    for lag in range(window):
        shifted = np.full(returns.size, np.nan)
        shifted[lag:] = returns[: returns.size - lag]
        total = total + shifted * shifted
    return np.sqrt(total / window * sessions_per_year)


def volatility_regimes(
    returns: Floats, *, window: int = 21, history: int = 756, calm: float = 0.33, turbulent: float = 0.80
) -> NDArray[np.int64]:
    """Regime of each session: where its realized volatility stands among those of the last ``history`` sessions.

    Parameters
    ----------
    returns : float64 (n,), returns of an index or of the equal-weight book.
    window : sessions of the realized volatility.
    history : sessions compared with, the present one included; earlier sessions are UNKNOWN.
    calm, turbulent : shares below and above which a session is calm or turbulent.

    Returns
    -------
    int64 (n,) of ``Regime``. The value at t reads returns up to t only.
    """
    if not 0.0 < calm < turbulent < 1.0:
        raise DataInvalid(f"regime bounds {calm} and {turbulent} must rise between 0 and 1")
    levels = realized_volatility(returns, window=window)
    regimes = np.full(levels.size, int(Regime.UNKNOWN), dtype=np.int64)
    if levels.size < history:
        return regimes
    past = np.lib.stride_tricks.sliding_window_view(levels, history)
    present = levels[history - 1 :]
    share = (past <= present[:, None]).mean(axis=1)
    known = np.isfinite(past).all(axis=1)
    state = np.where(share <= calm, int(Regime.CALM), np.where(share > turbulent, int(Regime.TURBULENT), int(Regime.NORMAL)))
    regimes[history - 1 :] = np.where(known, state, int(Regime.UNKNOWN))
    return regimes


def by_regime(values: Floats, regimes: NDArray[np.int64]) -> dict[Regime, Floats]:
    """Split a series (n,) by the regime known *before* each session, so that no session explains itself."""
    if values.shape != regimes.shape:
        raise DataInvalid(f"{values.shape} values for {regimes.shape} regimes")
    before = np.concatenate([[int(Regime.UNKNOWN)], regimes[:-1]])
    return {state: values[before == int(state)] for state in Regime}
