"""Labels: what a decision could have earned, from the fill on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import ConfigError
from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.features.kernels import positive, splits_of

FILL_FIELDS = {"next_open": "open", "next_close": "close"}
_MIN_NAMES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Forward returns, one row a decision session.

    Attributes
    ----------
    values : float64 (n_sessions, n_symbols), a fraction; NaN where a price is absent and in the last horizon + 1 rows.
    start : int64 (n_sessions,), position of the fill session, t + 1.
    end : int64 (n_sessions,), position of the last session the label reads, t + 1 + horizon: what purging needs.
    horizon : sessions held.
    """

    values: Floats
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    horizon: int


def forward_returns(panel: Panel, horizon: int, *, fill: str = "next_close", demean: bool = True) -> Labels:
    """Return over ``horizon`` sessions of a position decided at t and filled at t + 1.

    Parameters
    ----------
    panel : prices; those of a raw panel are adjusted for the splits within the label, dividends are left out.
    horizon : sessions from fill to the same auction of the exit, at least 1.
    fill : ``next_close`` or ``next_open``: the auction of session t + 1 the position is entered at.
    demean : take away the mean of the session's names with a label, so that labels rank names and not markets; a session
        with fewer than two names has no label.

    Returns
    -------
    Labels. A label is NaN where the entry or exit price is absent or not positive.

    Raises
    ------
    ConfigError
        Unknown fill or a horizon below 1.
    DataInvalid
        ``next_open`` on a panel without opens.

    Notes
    -----
    A label looks ahead on purpose: it may only be compared with features of rows whose label has ended (splits.py).
    """
    if fill not in FILL_FIELDS or horizon < 1:
        message = f"no labels for fill {fill!r} and horizon {horizon}"
        raise ConfigError(message, mend=f"use fill {' or '.join(FILL_FIELDS)} and a horizon of at least 1")
    prices = positive(panel.field(FILL_FIELDS[fill]))
    n_sessions = panel.shape[0]
    values = np.full(panel.shape, np.nan)
    span = n_sessions - 1 - horizon
    if span > 0:
        held = prices[1 + horizon :] / prices[1 : 1 + span]
        splits = splits_of(panel)
        for step in range(2, horizon + 2) if splits is not None else ():
            held = held * np.asarray(splits)[step : step + span]
        values[:span] = held - 1.0
    rows = np.arange(n_sessions, dtype=np.int64)
    return Labels(values=cross_sectionally_demeaned(values) if demean else values, start=rows + 1, end=rows + 1 + horizon, horizon=horizon)


def cross_sectionally_demeaned(values: Floats) -> Floats:
    """``values`` (n_sessions, n_symbols) less the mean of each session's names; NaN where fewer than two have a value."""
    known = ~np.isnan(values)
    count = known.sum(axis=1, keepdims=True)
    mean = np.where(known, values, 0.0).sum(axis=1, keepdims=True) / np.maximum(count, 1)
    return np.where(count >= _MIN_NAMES, values - mean, np.nan)
