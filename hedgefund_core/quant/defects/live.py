"""The detectors on bars as they arrive: what they ask for is kept from row to row instead of worked out again.

``LiveRules.update`` says of the newest row what ``find_defects`` says of the whole history with that ``known_row``, in the same
bits: each number of a row is made by the same operations in the same order, once, and then only read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import FIELDS, Floats, Panel
from hedgefund_core.quant.defects import CLOSE_DETECTORS, DETECTORS, RING_ROWS
from hedgefund_core.quant.defects.defect import Defect, Detector
from hedgefund_core.quant.defects.grid import NEIGHBOUR_ROWS, VOLUME_ROWS, Grid, log_prices

CAPACITY = 2 * RING_ROWS
"""Rows are appended until the buffers are full; then the last ``RING_ROWS`` move to the front."""
_LOGS = {"open": "open", "high": "high", "low": "low", "close": "close", "log_volume": "volume"}
_MADE = (*_LOGS, "move", "gap", "intraday", "volume_ratio")
_CARRIED = (*FIELDS, "dividends", "split_ratios")


class LiveRules:
    """Rings of prices and of what detectors derive from them, for a fixed set of symbols.

    Parameters
    ----------
    history : panel of the rows so far (the last ``RING_ROWS`` count; fewer only where the history is shorter). Its symbols, kind
        of price, tick and fields are those of every later row.
    detectors : rules to apply; by default all of them, or those of closes where a field of the history is absent.
    """

    def __init__(self, history: Panel, *, detectors: tuple[Detector, ...] | None = None) -> None:
        complete = all(getattr(history, name) is not None for name in FIELDS)
        self._detectors = detectors or (DETECTORS if complete else CLOSE_DETECTORS)
        self._facts = replace(history.rows(0, 0), benchmark=None, known_at=None, close_at=None)
        shape = (CAPACITY, len(history.symbols))
        self._sessions = np.full(CAPACITY, np.datetime64(0, "D"))
        self._given: dict[str, Floats] = {n: np.full(shape, np.nan) for n in _CARRIED if getattr(history, n) is not None}
        self._made: dict[str, Floats] = {name: np.full(shape, np.nan) for name in _MADE}
        self._made["intraday_market"] = np.zeros(CAPACITY)
        self._present = np.zeros(shape, dtype=bool)
        self._before, self._after = np.full(shape, -1), np.full(shape, -1)
        self._last = np.full(shape[1], -1)
        self._rows = 0
        if history.shape[0]:
            self._fill(history.rows(max(0, history.shape[0] - RING_ROWS), history.shape[0]))

    @property
    def symbols(self) -> tuple[str, ...]:
        """Columns, in order."""
        return self._facts.symbols

    @property
    def last_session(self) -> np.datetime64 | None:
        """Session of the newest row, None where there is none."""
        return self._sessions[self._rows - 1] if self._rows else None

    def update(self, newest: Panel) -> list[Defect]:
        """Findings the newest row reveals, at it or at earlier rows that waited for it; row numbers count in the ring.

        Raises
        ------
        DataInvalid
            If the row is not exactly one, is not later than the last, or has other symbols, fields or kind of price.
        """
        self._refuse(newest)
        if self._rows == CAPACITY:
            self._to_front()
        row = self._rows
        self._sessions[row] = newest.sessions[0]
        for name, values in self._given.items():
            values[row] = newest.field(name)[0]
        self._rows = row + 1
        self._neighbours(row)
        self._derive(row)
        grid = self._grid()
        return sorted(item for detector in self._detectors for item in detector.find(grid, row))

    def close_of(self, item: Defect) -> float:
        """Close of the bar a finding of the last update speaks of."""
        return float(self._given["close"][item.row, item.column])

    def _refuse(self, newest: Panel) -> None:
        if newest.shape[0] != 1 or newest.symbols != self._facts.symbols or newest.price_kind is not self._facts.price_kind:
            message = f"{newest.source}: not one session of the symbols and kind of price of {self._facts.source}"
            raise DataInvalid(message, mend="give one session at a time, of the same source")
        last = self.last_session
        if last is not None and newest.sessions[0] <= last:
            message = f"{newest.source}: session {newest.sessions[0]} is not later than {last}"
            raise DataInvalid(message, mend="give sessions in order, each once")

    def _fill(self, history: Panel) -> None:
        """Take over a history: everything derived is made once, as the detectors would."""
        grid, end = Grid(history), history.shape[0]
        self._sessions[:end] = history.sessions
        for name, values in self._given.items():
            values[:end] = history.field(name)
        for name, values in self._made.items():
            values[:end] = getattr(grid, name)
        self._present[:end], self._before[:end], self._after[:end] = grid.present, grid.before, grid.after
        rows = np.arange(end)[:, None]
        self._last = np.max(np.where(grid.present, rows, -1), axis=0)
        self._rows = end

    def _neighbours(self, row: int) -> None:
        """Bars beside the newest row, and the newest row as the neighbour of those before it."""
        close = self._given["close"][row]
        present = np.isfinite(close) & (close > 0)
        self._present[row] = present
        self._before[row] = np.where(row - self._last <= NEIGHBOUR_ROWS, self._last, -1)
        near = self._after[max(0, row - NEIGHBOUR_ROWS) : row]
        near[(near < 0) & present] = row
        self._last = np.where(present, row, self._last)

    def _derive(self, row: int) -> None:
        """Logs, moves against the market and volume against its mean, of one row."""
        made, shape = self._made, (1, self._present.shape[1])
        for log, name in _LOGS.items():
            made[log][row] = log_prices(self._given[name][row : row + 1] if name in self._given else None, shape)[0]
        before = self._before[row]
        last = np.where(before >= 0, made["close"][np.maximum(before, 0), np.arange(shape[1])], np.nan)
        for name, raw in (("move", made["close"][row] - last), ("gap", made["open"][row] - last)):
            made[name][row] = raw - Grid.market(raw[None])[0]
        intraday = made["close"][row] - made["open"][row]
        made["intraday"][row] = intraday
        made["intraday_market"][row] = Grid.market(intraday[None])[0]
        made["volume_ratio"][row] = self._volume_ratio(row)

    def _volume_ratio(self, row: int) -> Floats:
        """As ``Grid.volume_ratio``: the lags are added in the same order."""
        log_volume = self._made["log_volume"]
        total, count = np.zeros(log_volume.shape[1]), np.zeros(log_volume.shape[1])
        for lag in range(1, min(VOLUME_ROWS, row) + 1):
            past = log_volume[row - lag]
            there = np.isfinite(past)
            total += np.where(there, past, 0.0)
            count += there
        usual = np.divide(total, count, out=np.full(len(total), np.nan), where=count >= VOLUME_ROWS / 2)
        raw = log_volume[row] - usual
        return np.asarray(raw - Grid.market(raw[None])[0])

    def _grid(self) -> Grid:
        """The grid of all rows kept: views, nothing is copied and nothing left to be worked out."""
        end = slice(0, self._rows)
        given: dict[str, Any] = {name: values[end] for name, values in self._given.items()}  # replace() takes fields of every type
        panel = replace(self._facts, sessions=self._sessions[end], **given)
        made: dict[str, NDArray[Any]] = {name: values[end] for name, values in self._made.items()}
        return Grid.made(panel, {**made, "present": self._present[end], "before": self._before[end], "after": self._after[end]})

    def _to_front(self) -> None:
        """Keep the last rows only; rows are numbered from the new front."""
        shift = CAPACITY - RING_ROWS
        for values in (self._sessions, self._present, *self._given.values(), *self._made.values()):
            values[:RING_ROWS] = values[shift:]
        for rows in (self._before, self._after):
            rows[:RING_ROWS] = np.maximum(rows[shift:] - shift, -1)
            rows[RING_ROWS:] = -1
        self._last = np.maximum(self._last - shift, -1)
        self._rows = RING_ROWS
