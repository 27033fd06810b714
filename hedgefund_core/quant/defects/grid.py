"""A panel with what every detector asks of it: neighbours in time, moves against the market, scales of the past.

Everything at a row is a function of that row and a finite number of earlier ones, so that a ring of the last rows gives the
same bits as the whole history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.bars import Floats, Panel

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]

SCALE_ROWS = 60
"""A quarter of trading: long enough for a median, short enough to follow volatility."""
SCALE_MIN = 15
"""Fewer observations give no scale; the fallback is used."""
SCALE_FALLBACK = 0.02
"""Daily volatility of an ordinary share, for instruments too young to have their own."""
SCALE_FLOOR = 0.002
MAD_TO_SIGMA = 1.4826
NEIGHBOUR_ROWS = 10
"""A neighbour further away than this is none: what happened in between is unknown."""
VOLUME_ROWS = 20
VOLUME_SPREAD_FLOOR = 0.15


@dataclass(frozen=True)
class Levels:
    """Log prices and neighbours in time, made when asked for; arrays of shape (n_sessions, n_symbols), NaN where a bar is absent."""

    panel: Panel

    @property
    def shape(self) -> tuple[int, int]:
        """(n_sessions, n_symbols)."""
        return self.panel.shape

    @cached_property
    def present(self) -> Flags:
        """A bar stands here (it has a usable close)."""
        return np.isfinite(self.panel.close) & (self.panel.close > 0)

    @cached_property
    def open(self) -> Floats:
        """Log open."""
        return log_prices(self.panel.open, self.shape)

    @cached_property
    def high(self) -> Floats:
        """Log high."""
        return log_prices(self.panel.high, self.shape)

    @cached_property
    def low(self) -> Floats:
        """Log low."""
        return log_prices(self.panel.low, self.shape)

    @cached_property
    def close(self) -> Floats:
        """Log close."""
        return log_prices(self.panel.close, self.shape)

    @cached_property
    def log_volume(self) -> Floats:
        """Log volume; NaN where nothing was traded."""
        return log_prices(self.panel.volume, self.shape)

    @cached_property
    def before(self) -> Rows:
        """Row of the previous bar of the symbol, -1 where there is none near."""
        rows = np.arange(self.shape[0])[:, None]
        last = np.maximum.accumulate(np.where(self.present, rows, -1), axis=0)
        earlier = np.vstack([np.full((1, self.shape[1]), -1), last[:-1]])
        return np.where(rows - earlier <= NEIGHBOUR_ROWS, earlier, -1)

    @cached_property
    def after(self) -> Rows:
        """Row of the next bar of the symbol, -1 where there is none near."""
        n = self.shape[0]
        rows = np.arange(n)[:, None]
        first = np.minimum.accumulate(np.where(self.present, rows, n)[::-1], axis=0)[::-1]
        later = np.vstack([first[1:], np.full((1, self.shape[1]), n)])
        return np.where((later < n) & (later - rows <= NEIGHBOUR_ROWS), later, -1)

    @property
    def tick(self) -> float:
        """Smallest price step, 0 where the source does not say."""
        return self.panel.tick or 0.0


@dataclass(frozen=True)
class Grid(Levels):
    """Moves against the market and scales of the past, on top of the levels."""

    @classmethod
    def made(cls, panel: Panel, known: Mapping[str, NDArray[Any]]) -> Grid:
        """A grid whose derived arrays are known already, by name: they are not worked out again."""
        grid = cls(panel)
        grid.__dict__.update(known)  # where cached_property keeps what it made
        return grid

    def at(self, values: Floats, rows: Rows) -> Floats:
        """``values`` at the given row of each cell; NaN where the row is -1."""
        found = np.take_along_axis(values, np.maximum(rows, 0), axis=0)
        return np.where(rows >= 0, found, np.nan)

    @cached_property
    def move(self) -> Floats:
        """Log return against the previous bar, less the market's median of the session."""
        raw = self.close - self.at(self.close, self.before)
        return raw - self.market(raw)[:, None]

    @cached_property
    def gap(self) -> Floats:
        """Log open against the previous close, less the market's median of the session."""
        raw = self.open - self.at(self.close, self.before)
        return raw - self.market(raw)[:, None]

    @cached_property
    def intraday(self) -> Floats:
        """Log close against the open of the same bar."""
        return self.close - self.open

    @cached_property
    def intraday_market(self) -> Floats:
        """Median of ``intraday`` in each session."""
        return self.market(self.intraday)

    @staticmethod
    def market(values: Floats) -> Floats:
        """Median over symbols in each session; 0 where fewer than three symbols have a value (no cross-section)."""
        enough = np.isfinite(values).sum(axis=1) >= 3
        medians = np.zeros(len(values))
        if enough.any():
            medians[enough] = _row_medians(values[enough])
        return medians

    def scale(self, values: Floats, rows: Rows, columns: Rows, window: int = SCALE_ROWS) -> Floats:
        """Robust sigma of ``values`` over the ``window`` rows before each cell (1.4826 times the median size)."""
        past = np.abs(self.past(values, rows, columns, window))
        return np.maximum(_medians_or(past, SCALE_FALLBACK / MAD_TO_SIGMA) * MAD_TO_SIGMA, SCALE_FLOOR)

    @staticmethod
    def past(values: Floats, rows: Rows, columns: Rows, window: int) -> Floats:
        """The ``window`` values before each cell, shape (n_cells, window); NaN before the first row."""
        places = rows[:, None] - np.arange(window, 0, -1)[None, :]
        found = values[np.maximum(places, 0), columns[:, None]]
        return np.asarray(np.where(places >= 0, found, np.nan))

    @cached_property
    def volume_ratio(self) -> Floats:
        """Log volume against the mean log volume of the 20 rows before, less the market's median of the session.

        The mean, not the median, because it is a sum of lags and costs nothing; 10 of the 20 rows must be there.
        """
        total = np.zeros(self.shape)
        count = np.zeros(self.shape)
        for lag in range(1, min(VOLUME_ROWS, self.shape[0] - 1) + 1):
            past = self.log_volume[:-lag]
            there = np.isfinite(past)
            total[lag:] += np.where(there, past, 0.0)
            count[lag:] += there
        usual = np.divide(total, count, out=np.full(self.shape, np.nan), where=count >= VOLUME_ROWS / 2)
        raw = self.log_volume - usual
        return np.asarray(raw - self.market(raw)[:, None])


def log_prices(values: Floats | None, shape: tuple[int, int]) -> Floats:
    """Logs of what is positive and finite; NaN elsewhere, and everywhere where the source has no such field."""
    if values is None:
        return np.full(shape, np.nan)
    return np.asarray(np.log(values, out=np.full(shape, np.nan), where=(values > 0) & np.isfinite(values)))


def _row_medians(values: Floats) -> Floats:
    """Median of each row without NaN: sort puts NaN last, so the middle of the finite ones is a place in the row."""
    ordered = np.sort(values, axis=1)
    count = np.isfinite(values).sum(axis=1)
    rows = np.arange(len(values))
    return np.asarray(0.5 * (ordered[rows, (count - 1) // 2] + ordered[rows, count // 2]))


def _medians_or(values: Floats, fallback: float) -> Floats:
    """Row medians where there are enough values, else ``fallback``."""
    enough = np.isfinite(values).sum(axis=1) >= SCALE_MIN
    medians = np.full(len(values), fallback)
    if enough.any():
        medians[enough] = _row_medians(values[enough])
    return medians
